"""DNS records wanted against those that a zone has, as plain data; no network.

Only records of the wanted names and types are ever created, changed or deleted. Whatever else a zone holds is not
even looked at, but for what stands in the way of a wanted name: a delegation, an alias, a web redirection, a DynHost.
That is reported and left.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cloud.dns.plan import Change, Plan
from cloud.dns.record import (
    ADDRESSES,
    ALIAS,
    CAA,
    DELEGATION,
    Have,
    Row,
    Service,
    Wanted,
    subdomain,
    within,
    zone_of,
)
from cloud.plan import Action


def difference(want: Wanted, have: Have, ttl: int, *, replace_foreign: bool = False) -> Plan:
    """What has to change for `want`, given the rows and services of the wanted names.

    A single address of somebody else's is changed to the wanted one. Several, or one beside the wanted one, are a
    problem that asks the operator, unless `replace_foreign`.
    """
    sets = _sets(have.rows)
    changes: list[Change] = []
    problems: list[str] = []
    by_zone: dict[str, dict[tuple[str, str], frozenset[str]]] = defaultdict(dict)
    for (name, kind), targets in sorted(want.items()):
        zone = zone_of(name, have.zones)
        rows = [row for row in sets.get((name, kind), []) if kind in ADDRESSES or row.value in targets]
        if zone is None:
            problems.append(_homeless(name, have.zones))
        elif problem := (
            _delegated(name, zone, sets)
            or _obstacle(name, kind, sets, have.services)
            or (None if replace_foreign else _question(rows, targets))
        ):
            problems.append(problem)
        else:
            by_zone[zone][(name, kind)] = targets
            changes += _of_one_set(Row(zone, subdomain(name, zone), kind, "", ttl), targets, rows)
    once = tuple(dict.fromkeys(problems))
    notes = tuple(_notes(want, sets))
    return Plan(tuple(_in_order(changes)), dict(by_zone), ttl=ttl, problems=once, notes=notes)


def disputed(plan: Plan, want: Wanted, rows: Iterable[Row]) -> set[str]:
    """The names with an address that the plan changes or asks about: a service of OVH may keep it."""
    touched = {change.row.name for change in plan.changes if change.action is not Action.CREATE}
    addresses = (row for row in rows if row.kind in ADDRESSES)
    return touched | {row.name for row in addresses if row.value not in want.get((row.name, row.kind), ())}


def _sets(rows: Iterable[Row]) -> Mapping[tuple[str, str], list[Row]]:
    """(name, type) → its rows, oldest first."""
    sets: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda each: each.id):
        sets[(row.name, row.kind)].append(row)
    return dict(sets)


def _homeless(name: str, zones: Sequence[str]) -> str:
    there_is = ", ".join(sorted(zones)) or "none"
    return (
        f"{name} is in no DNS zone of this OVH account (it has: {there_is})."
        " Check the name, and that the OVH_* keys are those of the account that has the zone; a service account sees"
        " only the zones that it may read (dnsZone:apiovh:get)."
    )


def _delegated(name: str, zone: str, sets: Mapping[tuple[str, str], list[Row]]) -> str | None:
    """That a record here would never be served, since the zone hands the name to other servers."""
    for parent in within(name, zone):
        if rows := sets.get((parent, DELEGATION)):
            servers = ", ".join(row.target.rstrip(".") for row in rows)
            return (
                f"{parent} is delegated (NS) to {servers}, so records of {name} in {zone} have no effect."
                " Write them there, or remove the delegation in OVH's console, then run again."
            )
    return None


def _obstacle(
    name: str, kind: str, sets: Mapping[tuple[str, str], list[Row]], services: Iterable[Service]
) -> str | None:
    """What of the operator's stands where a record should be made or changed."""
    if alias := sets.get((name, ALIAS)):
        target = alias[0].target.rstrip(".")
        return (
            f"{name} is an alias (CNAME) of {target}, beside which no other record can stand."
            " Remove that record in OVH's console, then run again."
        )
    for service in services:
        if service.name == name and kind in ADDRESSES:
            return (
                f"{name} has a {service.kind} to {service.target}, which keeps an address record of its own."
                " Remove it in OVH's console, then run again."
            )
    return None


def _question(have: Sequence[Row], targets: frozenset[str]) -> str | None:
    """Why the rows of one name and type are not ours to change without being asked; None if they are."""
    foreign = sorted({row.value for row in have if row.value not in targets})
    beside = len(foreign) < len({row.value for row in have})
    if len(foreign) > 1 or (foreign and beside):
        return (
            f"{have[0].name} leads elsewhere{' as well' if beside else ''}, by {have[0].kind}: {', '.join(foreign)}."
            " If they may go: python -m cloud.dns apply --replace"
        )
    return None


def _of_one_set(new: Row, targets: frozenset[str], have: Sequence[Row]) -> Iterator[Change]:
    """The changes that leave exactly one row, like `new`, for each target among the rows of one name and type."""
    spare = list[Row]()
    best: dict[str, Row] = {}
    for row in sorted(have, key=lambda each: each.ttl != new.ttl):
        if row.value in best:
            yield Change(Action.DELETE, row, duplicate=True)
        else:
            best[row.value] = row
            spare += [row] * (row.value not in targets)
    for target in sorted(targets):
        if kept := best.get(target):
            if kept.ttl != new.ttl:
                yield Change(Action.CHANGE, replace(kept, ttl=new.ttl), kept)
        elif spare:
            old = spare.pop(0)
            yield Change(Action.CHANGE, replace(old, target=target, ttl=new.ttl), old)
        else:
            yield Change(Action.CREATE, replace(new, target=target))
    for row in spare:
        yield Change(Action.DELETE, row)


def _in_order(changes: Iterable[Change]) -> list[Change]:
    """Duplicates first: whatever ends the run in between, no name is without an address, and the next run goes on.

    Then what is created and changed, and last what is deleted: a name has its new address before it loses the old.
    """
    return sorted(changes, key=lambda change: 0 if change.duplicate else 2 if change.action is Action.DELETE else 1)


def _notes(want: Wanted, sets: Mapping[tuple[str, str], list[Row]]) -> Iterator[str]:
    for name in sorted({name for name, _ in want}):
        others = sets.get((name, "AAAA"))
        if others and (name, "AAAA") not in want:
            yield (
                f"{name} has the AAAA record {others[0].target} and the server has no IPv6 address:"
                " visitors with IPv6, Let's Encrypt among them, go there. Remove it in OVH's console."
            )
    for (name, kind), rows in sorted(sets.items()):
        if kind == CAA and (name, CAA) in want and (others := [r for r in rows if r.value not in want[(name, CAA)]]):
            yield f"{name} has the CAA record {others[0].target} as well, which stays."
