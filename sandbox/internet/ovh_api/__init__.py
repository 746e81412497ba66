"""A stand-in for the part of OVH's HTTP API that manages DNS zones and states prices, as strict as the original.

OVH publishes no implementation, so this one keeps the rules in tables that a reader can hold against
https://eu.api.ovh.com/console/?section=%2Fdomain: `routes` (which calls exist, who may make them), `schema` (what they
take), `records` (what a record may be), `errors` (what the gateway says), `catalogue` (what is for sale); and what can
go wrong on demand in `fault_kinds`. Standard library only: it runs inside the internet machine.
"""
