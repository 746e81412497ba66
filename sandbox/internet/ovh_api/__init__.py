"""A stand-in for the part of OVH's HTTP API that manages DNS zones and states prices, as strict as the original.

OVH publishes no implementation, so this one keeps the rules in tables that a reader can hold against
https://eu.api.ovh.com/console/?section=%2Fdomain: `access` (who may call what), `records` (what a record
may be), `catalogue` (what is for sale), `routes` (which calls exist). Standard library only: it runs inside
the internet machine.
"""
