"""Which DNS records have to go with a server, as plain data; no network."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from cloud.dns.plan import Change, Plan
from cloud.dns.record import ADDRESSES, ALIAS, CAA, Have, canonical, wildcards, zone_of
from cloud.plan import Action


def removal(names: Iterable[str], addresses: Iterable[str], have: Have, issuer: str = "") -> Plan:
    """What has to be deleted so that no record of the names has one of the addresses, or lets `issuer` certify them.

    `have` are the rows of these names and of the wildcards above them. A record with another address stays, and so do
    aliases, wildcards and what services of OVH keep; a name in no zone of the account has nothing to delete.
    """
    unwanted = frozenset(map(canonical, addresses))
    homes = {name.lower(): zone for name in names if (zone := zone_of(name, have.zones))}
    stars = {name: wildcards(name, zone) for name, zone in homes.items()}
    rows = sorted(have.rows)
    leading = [row for row in rows if row.kind in ADDRESSES and row.value in unwanted]
    kept = {(service.name, canonical(service.target)) for service in have.services}
    ours = [row for row in leading if row.name in homes and (row.name, row.value) not in kept]
    # Where other addresses remain, the name stays in use and its CAA with it.
    in_use = {row.name for row in rows if row.kind in (*ADDRESSES, ALIAS) and row not in ours}
    permits = [r for r in rows if r.kind == CAA and r.name in homes and r.value == canonical(f'0 issue "{issuer}"')]
    ours += [row for row in permits if issuer and row.name not in in_use]
    above = set(chain(*stars.values())) - set(homes)
    left = [row for row in leading if row.name in above or (row.name, row.value) in kept]
    # Where an alias, a wildcard or a service answers for a name, the addresses are served without a record of ours.
    answering = {row.name for row in rows if row.kind == ALIAS} | {row.name for row in left}
    gone: dict[str, dict[tuple[str, str], frozenset[str]]] = defaultdict(dict)
    for name, zone in sorted(homes.items()):
        if not answering & {name, *stars[name]}:
            gone[zone] |= {(name, kind): unwanted for kind in ADDRESSES}
    notes = (
        f"{row.name} has the {row.kind} record {row.target}, which is not one of those that are made here, and stays."
        " Remove it in OVH's console."
        for row in left
    )
    return Plan(tuple(Change(Action.DELETE, row) for row in ours), gone=dict(gone), notes=tuple(notes))
