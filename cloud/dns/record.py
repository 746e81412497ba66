"""Records and names of the DNS as plain data; no network."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ADDRESSES = ("A", "AAAA")
"""Types of which a name has exactly the records that are wanted."""

ALIAS = "CNAME"
"""Beside it no other record of its name may stand."""

DELEGATION = "NS"
"""Below the zone's own name it gives a name, and all names below that, to the servers of another zone."""

CAA = "CAA"
"""Who may issue certificates (RFC 8659): one of ours is added, and those of others stay."""

Wanted = Mapping[tuple[str, str], frozenset[str]]
"""(name, type) → targets, in the spelling of `canonical`."""


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
    def value(self) -> str:
        """The target in the one spelling that wanted targets have."""
        return canonical(self.target)


@dataclass(frozen=True, order=True)
class Service:
    """A web redirection or a DynHost of OVH: it keeps A records of its own among those of the zone."""

    zone: str
    subdomain: str
    kind: str
    """As OVH's console calls it."""
    target: str

    @property
    def name(self) -> str:
        """The full name, in lower case."""
        return (f"{self.subdomain}.{self.zone}" if self.subdomain else self.zone).lower()


@dataclass(frozen=True)
class Have:
    """What an account has, as far as it was read."""

    zones: Sequence[str]
    """All of them."""
    rows: Sequence[Row]
    services: Sequence[Service] = ()


def wanted(
    names: Iterable[str], ipv4: str, ipv6: str | None, issuer: str = ""
) -> dict[tuple[str, str], frozenset[str]]:
    """The records that make every name lead to the server, and with `issuer` let that CA give it certificates."""
    result = {}
    for name in names:
        result[(name.lower(), "A")] = frozenset({canonical(ipv4)})
        if ipv6:
            result[(name.lower(), "AAAA")] = frozenset({canonical(ipv6)})
        if issuer:
            result[(name.lower(), CAA)] = frozenset({canonical(f'0 issue "{issuer}"')})
    return result


def canonical(target: str) -> str:
    """One spelling for an address or the content of a CAA record; anything else is returned as it is."""
    if found := re.fullmatch(r'(\d+)\s+(\w+)\s+"?([^"]*?)"?', target.strip()):
        flags, tag, value = found.groups()
        return f'{int(flags)} {tag.lower()} "{value.strip().lower()}"'
    try:
        return str(ipaddress.ip_address(target))
    except ValueError:
        return target


def zone_of(name: str, zones: Iterable[str]) -> str | None:
    """The zone that holds a name: the longest of `zones` that it is or ends in, however many labels that has."""
    labels = name.lower().split(".")
    known = {zone.lower(): zone for zone in zones}
    suffixes = (".".join(labels[i:]) for i in range(len(labels)))
    return next((known[suffix] for suffix in suffixes if suffix in known), None)


def subdomain(name: str, zone: str) -> str:
    """A name as it is written within its zone; the apex is ""."""
    return name.lower().removesuffix(zone.lower()).removesuffix(".")


def cuts(name: str, zone: str) -> list[str]:
    """The names at which the zone could give a name away to another zone: itself and those above it in the zone."""
    labels = subdomain(name, zone).split(".")
    return [f"{'.'.join(labels[i:])}.{zone.lower()}" for i in range(len(labels))] if labels != [""] else []


def wildcards(name: str, zone: str) -> list[str]:
    """The names of the wildcards of the zone that answer for a name without records of its own, nearest first."""
    labels = subdomain(name, zone).split(".")
    parents = (".".join(labels[i:]) for i in range(1, len(labels)))
    return [f"*.{parent}.{zone.lower()}" for parent in parents] + ([f"*.{zone.lower()}"] if labels != [""] else [])
