"""The DNS records of the server's names in an OVH account: plan, apply exactly that, wait until it is served."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from cloud.dns import served as dns_served
from cloud.dns.plan import Plan, Row, Wanted, difference, removal, subdomain, wanted, wildcards, zone_of
from cloud.ovh.account import Account, Keys
from cloud.trouble import CloudError
from settings import Settings

TTL = 300
"""Seconds. Short enough to move to another server within minutes, and well above OVH's minimum of 60."""

SECONDS = 300
"""How long a zone's servers may take. OVH's take seconds, at busy times a few minutes."""


def account(settings: Settings) -> Account:
    """The account that the OVH_* variables lead to. Raises CloudError."""
    ovh = settings.ovh
    secrets = {
        name: value.get_secret_value() if (value := getattr(ovh, name)) else None
        for name in ("application_key", "application_secret", "consumer_key", "client_secret")
    }
    return Account(Keys(ovh.endpoint, client_id=ovh.client_id or None, **secrets))


def plan(account: Account, want: Wanted, resolvers: Sequence[str] = ()) -> Plan:
    """Read the account and return what has to change. Raises CloudError.

    `resolvers` (the system's, if none) only tell where a zone's own servers are.
    """
    zones = account.zones()
    rows = list(_rows(account, {name for name, _ in want}, zones))
    return _with_unserved(account, difference(want, zones, rows, TTL), resolvers)


def plan_removal(
    account: Account, names: Iterable[str], addresses: Iterable[str], resolvers: Sequence[str] = ()
) -> Plan:
    """Read the account and return what has to be deleted so that no name leads to an address. Raises CloudError.

    Names that are in no zone of the account are left out: there is nothing to delete. `resolvers` as in `plan`.
    """
    zones, names = account.zones(), frozenset(names)
    above = {star for name in names if (zone := zone_of(name, zones)) for star in wildcards(name, zone)}
    rows = _rows(account, names | above, zones)
    return _with_unserved(account, removal(names, addresses, zones, rows), resolvers)


def _rows(account: Account, names: Iterable[str], zones: Sequence[str]) -> Iterator[Row]:
    for name in sorted(names):
        if zone := zone_of(name, zones):
            yield from account.rows(zone, subdomain(name.lower(), zone))


def _with_unserved(account: Account, found: Plan, resolvers: Sequence[str]) -> Plan:
    complete = sorted({*found.want, *found.gone} - set(found.zones))
    unserved = (zone for zone in complete if _missing(found, zone, _servers(account, zone, resolvers)))
    return replace(found, unserved=tuple(unserved))


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
    servers = _servers(account, zone, resolvers)
    if not servers:
        say(f"the name servers of {zone} cannot be asked from here; OVH has accepted the records")
        return
    if missing := dns_served.wait(lambda: _missing(found, zone, servers), SECONDS, say):
        raise CloudError(
            f"OVH has accepted the records of {zone}, and after {SECONDS} s {missing[0]}."
            " Wait some minutes, then run again; the zone's state is in OVH's console."
        )


def _servers(account: Account, zone: str, resolvers: Sequence[str]) -> dict[str, str]:
    return dns_served.addresses(account.name_servers(zone), resolvers)


def _missing(found: Plan, zone: str, servers: dict[str, str]) -> list[str]:
    return dns_served.differences(found.want.get(zone, {}), found.gone.get(zone, {}), servers)


__all__ = ["Account", "Keys", "account", "apply", "plan", "plan_removal", "wanted"]
