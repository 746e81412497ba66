"""DNS records wanted against those that a zone has, as plain data; no network.

Only A and AAAA records of the wanted names are ever created, changed or deleted. Whatever else a zone holds is not
even looked at, but for a CNAME of a wanted name, which stands in the way and is reported.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from cloud.plan import Action

KINDS = ("A", "AAAA", "CNAME")
"""The types that have to be read to make a plan."""

ADDRESSES = ("A", "AAAA")
"""Those that are ever written."""

Wanted = Mapping[tuple[str, str], frozenset[str]]
"""(name, "A" or "AAAA") → addresses."""


@dataclass(frozen=True, order=True)
class Row:
    """A record as OVH keeps it. The apex has the subdomain ""; a ttl of 0 (seconds) is the zone's default."""

    zone: str
    subdomain: str
    kind: str
    target: str
    ttl: int
    id: int = 0

    @property
    def name(self) -> str:
        """The full name, in lower case and without the final dot."""
        return (f"{self.subdomain}.{self.zone}" if self.subdomain else self.zone).lower()

    @property
    def address(self) -> str:
        """The target in the one spelling that the wanted addresses have."""
        return canonical(self.target)


@dataclass(frozen=True)
class Change:
    """One line of a plan: `row` as it will be (CREATE, CHANGE) or as it is (DELETE)."""

    action: Action
    row: Row
    before: Row | None = None

    def __str__(self) -> str:
        """The line to be printed: what happens, type, name, address (old → new)."""
        head = f"{self.action} {self.row.kind:<4} {self.row.name}"
        if self.before is None:
            return f"{head} {self.row.target}"
        parts = [
            f"{old} → {new}"
            for old, new in (
                (self.before.target, self.row.target),
                (f"ttl {self.before.ttl}", f"ttl {self.row.ttl}"),
            )
            if old != new
        ]
        return f"{head} {', '.join(parts)}"


@dataclass(frozen=True)
class Plan:
    """What will be written, in this order, and which zones are refreshed after it."""

    changes: tuple[Change, ...] = ()
    want: Mapping[str, Wanted] = field(default_factory=dict)
    """Zone → what its servers have to answer in the end."""
    gone: Mapping[str, Wanted] = field(default_factory=dict)
    """Zone → what its servers may no longer answer in the end, whatever else they answer."""
    unserved: tuple[str, ...] = ()
    """Zones whose records are right and were never served: an earlier run ended before its refresh."""
    problems: tuple[str, ...] = ()
    """Why nothing can be written, each with what to do."""
    notes: tuple[str, ...] = ()
    """What an operator should know and nothing is done about."""

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that are refreshed."""
        return tuple(sorted({change.row.zone for change in self.changes} | set(self.unserved)))

    @property
    def lines(self) -> list[str]:
        """The plan, to be printed."""
        unserved = [f"{Action.CHANGE} zone {zone}: written earlier and not served yet" for zone in self.unserved]
        return [*(str(change) for change in self.changes), *unserved]


def wanted(names: Iterable[str], ipv4: str, ipv6: str | None) -> dict[tuple[str, str], frozenset[str]]:
    """The records that make every name lead to the server."""
    result = {}
    for name in names:
        result[(name.lower(), "A")] = frozenset({canonical(ipv4)})
        if ipv6:
            result[(name.lower(), "AAAA")] = frozenset({canonical(ipv6)})
    return result


def canonical(address: str) -> str:
    """One spelling for an address; anything else is returned as it is."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def zone_of(name: str, zones: Iterable[str]) -> str | None:
    """The zone that holds a name: the longest of `zones` that it is or ends in, however many labels that has."""
    labels = name.lower().split(".")
    known = {zone.lower(): zone for zone in zones}
    suffixes = (".".join(labels[i:]) for i in range(len(labels)))
    return next((known[suffix] for suffix in suffixes if suffix in known), None)


def subdomain(name: str, zone: str) -> str:
    """A name as it is written within its zone; the apex is ""."""
    return name.removesuffix(zone.lower()).removesuffix(".")


def difference(want: Wanted, zones: Sequence[str], rows: Iterable[Row], ttl: int) -> Plan:
    """What has to change for `want`, given the account's zones and the rows (at least of KINDS) of the wanted names."""
    have: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda each: each.id):
        have[(row.name, row.kind)].append(row)
    changes: list[Change] = []
    problems: list[str] = []
    by_zone: dict[str, dict[tuple[str, str], frozenset[str]]] = defaultdict(dict)
    for (name, kind), targets in sorted(want.items()):
        zone = zone_of(name, zones)
        if zone is None:
            problems.append(_homeless(name, zones))
        elif problem := _obstacle(have.get((name, "CNAME"), []), have.get((name, kind), []), targets):
            problems.append(problem)
        else:
            by_zone[zone][(name, kind)] = targets
            new = Row(zone, subdomain(name, zone), kind, "", ttl)
            changes += _of_one_set(new, targets, have.get((name, kind), []))
    # A name has its new address before it loses the old one.
    changes.sort(key=lambda change: change.action is Action.DELETE)
    once = tuple(dict.fromkeys(problems))
    return Plan(tuple(changes), dict(by_zone), problems=once, notes=tuple(_notes(want, have)))


def wildcards(name: str, zone: str) -> list[str]:
    """The names of the wildcards of the zone that answer for a name without records of its own, nearest first."""
    labels = subdomain(name.lower(), zone).split(".")
    parents = (".".join(labels[i:]) for i in range(1, len(labels)))
    return [f"*.{parent}.{zone.lower()}" for parent in parents] + ([f"*.{zone.lower()}"] if labels != [""] else [])


def removal(names: Iterable[str], addresses: Iterable[str], zones: Sequence[str], rows: Iterable[Row]) -> Plan:
    """What has to be deleted so that no record of the names has one of the addresses.

    `zones` are the account's, `rows` those of KINDS of these names and of the wildcards above them. A record with
    another address stays, and so do aliases and wildcards; a name in no zone of the account has nothing to delete.
    """
    unwanted = frozenset(map(canonical, addresses))
    homes = {name.lower(): zone for name in names if (zone := zone_of(name, zones))}
    stars = {name: wildcards(name, zone) for name, zone in homes.items()}
    have = sorted(rows)
    ours = [row for row in have if row.name in homes and row.kind in ADDRESSES and row.address in unwanted]
    above = set(chain(*stars.values())) - set(homes)
    left = [row for row in have if row.name in above and row.kind in ADDRESSES and row.address in unwanted]
    # Where an alias or a wildcard answers for a name, the addresses may be served without a record of it.
    answering = {row.name for row in have if row.kind == "CNAME"} | {row.name for row in left}
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


def _homeless(name: str, zones: Sequence[str]) -> str:
    there_is = ", ".join(sorted(zones)) or "none"
    return (
        f"{name} is in no DNS zone of this OVH account (it has: {there_is})."
        " Check KOPROGO_DOMAIN, and that the OVH_* keys are those of the account that has the zone."
    )


def _obstacle(aliases: Sequence[Row], have: Sequence[Row], targets: frozenset[str]) -> str | None:
    """Why nothing may be written for a name and type, given its CNAMEs and its rows of that type; or None."""
    if aliases:
        return (
            f"{aliases[0].name} is an alias (CNAME) of {aliases[0].target}, beside which no address can stand."
            " Remove that record in OVH's console, then run again."
        )
    foreign = sorted({row.target for row in have if row.address not in targets})
    if len(foreign) > 1:
        return (
            f"{have[0].name} has {len(foreign)} {have[0].kind} records that are not ours: {', '.join(foreign)}."
            " Remove those that may go in OVH's console, then run again."
        )
    return None


def _of_one_set(new: Row, targets: frozenset[str], have: Sequence[Row]) -> Iterator[Change]:
    """The changes that leave exactly one row, like `new`, for each target among the rows of one name and type."""
    spare = list(have)
    missing = []
    for target in sorted(targets):
        same = [row for row in spare if row.address == target]
        if not same:
            missing.append(target)
            continue
        kept = next((row for row in same if row.ttl == new.ttl), same[0])
        spare.remove(kept)
        if kept.ttl != new.ttl:
            yield Change(Action.CHANGE, replace(kept, ttl=new.ttl), kept)
    for target in missing:
        if spare:
            old = spare.pop(0)
            yield Change(Action.CHANGE, replace(old, target=target, ttl=new.ttl), old)
        else:
            yield Change(Action.CREATE, replace(new, target=target))
    for row in spare:
        yield Change(Action.DELETE, row)


def _notes(want: Wanted, have: Mapping[tuple[str, str], list[Row]]) -> Iterator[str]:
    for name in sorted({name for name, _ in want}):
        others = have.get((name, "AAAA"))
        if others and (name, "AAAA") not in want:
            yield (
                f"{name} has the AAAA record {others[0].target} and the server has no IPv6 address:"
                " visitors with IPv6, Let's Encrypt among them, go there. Remove it in OVH's console."
            )
