"""The DNS records of the server's names in an OVH account: plan, apply exactly that, wait until it is served."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cloud import dns_served
from cloud.dns_plan import Plan, Wanted, difference, subdomain, wanted, zone_of
from cloud.ovh_account import Account, Keys
from cloud.trouble import CloudError

TTL = 300
"""Seconds. Short enough to move to another server within minutes, and well above OVH's minimum of 60."""

SECONDS = 300
"""How long a zone's servers may take. OVH's take seconds, at busy times a few minutes."""


def plan(account: Account, want: Wanted, resolvers: Sequence[str] = ()) -> Plan:
    """Read the account and return what has to change. Raises CloudError.

    `resolvers` (the system's, if none) only tell where a zone's own servers are.
    """
    zones = account.zones()
    names = sorted({name for name, _ in want})
    places = [(zone, name) for name in names if (zone := zone_of(name, zones))]
    rows = [row for zone, name in places for row in account.rows(zone, subdomain(name, zone))]
    found = difference(want, zones, rows, TTL)
    complete = sorted(set(found.want) - set(found.zones))
    return replace(found, unserved=tuple(zone for zone in complete if _missing(account, found, zone, resolvers)))


def apply(account: Account, found: Plan, resolvers: Sequence[str], say: Callable[[str], None]) -> None:
    """Write the plan, refresh each changed zone once, and wait until its servers answer as wanted.

    Raises CloudError; what was written until then is completed by the next run.
    """
    if found.problems:
        raise CloudError("\n".join(found.problems))
    for number, change in enumerate(found.changes):
        try:
            account.write(change.action, change.row)
        except CloudError as error:
            raise CloudError(f"{error} {_progress(number, len(found.changes))}") from None
    for zone in found.zones:
        try:
            account.refresh(zone)
        except CloudError as error:
            raise CloudError(f"{error} The records are written and not served: run again.") from None
    for zone in found.zones:
        _wait(account, found, zone, resolvers, say)


def _progress(done: int, total: int) -> str:
    if not done:
        return "No record was changed before that."
    return f"{done} of {total} changes are written and not served; the next run completes them."


def _wait(account: Account, found: Plan, zone: str, resolvers: Sequence[str], say: Callable[[str], None]) -> None:
    servers = dns_served.addresses(account.name_servers(zone), resolvers)
    if not servers:
        say(f"the name servers of {zone} cannot be asked from here; OVH has accepted the records")
        return
    if missing := dns_served.wait(found.want[zone], servers, SECONDS, say):
        raise CloudError(
            f"OVH has accepted the records of {zone}, and after {SECONDS} s {missing[0]}."
            " Wait some minutes, then run again; the zone's state is in OVH's console."
        )


def _missing(account: Account, found: Plan, zone: str, resolvers: Sequence[str]) -> list[str]:
    servers = dns_served.addresses(account.name_servers(zone), resolvers)
    return dns_served.differences(found.want[zone], servers)


__all__ = ["Account", "Keys", "apply", "plan", "wanted"]
