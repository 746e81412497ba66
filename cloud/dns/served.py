"""What a zone's own name servers answer. They know first; resolvers elsewhere follow within the TTL."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from cloud.dns.record import ADDRESSES, CAA, Wanted, canonical
from cloud.trouble import CloudError

SECONDS_PER_QUESTION = 3.0
SECONDS_TO_AGE = 1.5
"""In which a TTL that a cache counts down gets shorter."""


@dataclass(frozen=True)
class Reply:
    """What was answered for a name and type."""

    targets: frozenset[str] = frozenset()
    """None of them: there is no such record."""
    ttl: int | None = None
    """Seconds; None where they say nothing of the zone, since a cache counts them down."""


@dataclass(frozen=True)
class Answer:
    """What one name server said."""

    server: str
    name: str
    kind: str
    wanted: frozenset[str]
    reply: Reply | None
    """None for silence."""
    ttl: int | None = None
    """Seconds that addresses are to have; None if that does not matter."""

    @property
    def right(self) -> bool:
        """Whether it is as wanted. Of CAA, others than the wanted ones may be there too."""
        if self.reply is None or self._has_another_ttl(self.reply):
            return False
        return (self.reply.targets & self.wanted if self.kind == CAA else self.reply.targets) == self.wanted

    def __str__(self) -> str:
        """As in: ns1.test answers 192.0.2.1 for A www.example.org."""
        if self.reply is None:
            return f"{self.server} does not answer for {self.kind} {self.name}"
        said = ", ".join(sorted(self.reply.targets)) or "nothing"
        with_ttl = f" with ttl {self.reply.ttl}" if self._has_another_ttl(self.reply) else ""
        return f"{self.server} answers {said}{with_ttl} for {self.kind} {self.name}"

    def _has_another_ttl(self, reply: Reply) -> bool:
        """Not of CAA, where the whole set is served with one TTL, which may be that of others."""
        return self.kind in ADDRESSES and self.ttl is not None and reply.ttl not in (None, self.ttl)

    @property
    def line(self) -> str:
        """The same for a table, with what was wanted if that is something else."""
        return str(self) if self.right else f"{self}; wanted: {', '.join(sorted(self.wanted))}"


def addresses(zone: str, servers: Iterable[str], resolvers: Sequence[str]) -> dict[str, str]:
    """Name server → its address, asked of `resolvers` or else the system's; only those that answer for the zone."""
    resolver, found = _resolver(resolvers), {}
    for server in servers:
        for kind in ("A", "AAAA"):
            try:
                address = resolver.resolve(f"{server.rstrip('.')}.", kind, lifetime=SECONDS_PER_QUESTION)[0].to_text()
            except dns.exception.DNSException:
                continue
            if _serves(address, zone):
                found[server] = address
                break
    return found


def resolvers_of(zone: str, resolvers: Sequence[str]) -> dict[str, str]:
    """The resolvers themselves in the place of name servers that cannot be asked; only those that know the zone.

    What they answer may be as old as its TTL, but if it is as wanted, then it was served.
    """
    every = [str(server) for server in _resolver(resolvers).nameservers]
    return {f"resolver {address}": address for address in every if _serves(address, zone)}


def zone(name: str, resolvers: Sequence[str]) -> str:
    """The zone that the DNS has a name in; "" for the root. Raises DNSException if nobody tells."""
    resolver = _resolver(resolvers)
    found = dns.resolver.zone_for_name(name, resolver=resolver, lifetime=SECONDS_PER_QUESTION)
    return found.to_text().lower().rstrip(".")


def delegation(zone: str, resolvers: Sequence[str]) -> frozenset[str]:
    """The name servers that the rest of the world uses for a zone; none if nobody knows."""
    try:
        answer = _resolver(resolvers).resolve(f"{zone}.", "NS", lifetime=SECONDS_PER_QUESTION)
    except dns.exception.DNSException:
        return frozenset()
    return frozenset(record.to_text().lower().rstrip(".") for record in answer)


def _serves(address: str, zone: str) -> bool:
    return bool((ask(address, zone, "SOA") or Reply()).targets)


def ask(address: str, name: str, kind: str) -> Reply | None:
    """What a name server answers for a name and type; None if it does not answer, or not for this zone."""
    question = dns.message.make_query(f"{name}.", kind)
    try:
        answer, _ = dns.query.udp_with_fallback(question, address, timeout=SECONDS_PER_QUESTION)
    except (dns.exception.DNSException, OSError):
        return None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    rrsets = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
    ttl = rrsets[0].ttl if rrsets and answer.flags & dns.flags.AA else None
    return Reply(frozenset(canonical(record.to_text()) for rrset in rrsets for record in rrset), ttl)


def differences(want: Wanted, gone: Wanted, servers: dict[str, str], ttl: int | None = None) -> list[str]:
    """Where the name servers (name → address) do not answer what is wanted, or still answer what is to be gone.

    One line each; silence is no difference. Of CAA others than the wanted ones may be answered too. `ttl` (seconds), if
    given, is what addresses are to be served with.
    """
    found = []
    for server, address in servers.items():
        for (name, kind), targets in sorted(want.items()):
            answer = Answer(server, name, kind, targets, _with_sure_ttl(address, name, kind, ttl), ttl)
            if not (answer.right or answer.reply is None):
                found.append(str(answer))
        for (name, kind), targets in sorted(gone.items()):
            if left := (ask(address, name, kind) or Reply()).targets & targets:
                found.append(f"{server} still answers {', '.join(sorted(left))} for {kind} {name}")
    return found


def _with_sure_ttl(address: str, name: str, kind: str, ttl: int | None) -> Reply | None:
    """What is answered; with a TTL below the wanted one only if it stays as it is.

    In front of name servers there may be a cache that answers in their name and counts down, as dnsdist's does
    (https://dnsdist.org/guides/cache.html).
    """
    reply = ask(address, name, kind)
    if reply is None or ttl is None or kind not in ADDRESSES or reply.ttl is None or reply.ttl >= ttl:
        return reply
    time.sleep(SECONDS_TO_AGE)
    again = ask(address, name, kind)
    return again if again is None or again.ttl == reply.ttl else replace(again, ttl=None)


def answers(want: Wanted, resolvers: Sequence[str]) -> Iterator[Answer]:
    """What each name server of each wanted name's zone answers. Raises CloudError if they cannot be found or asked."""
    resolver = _resolver(resolvers)
    servers: dict[str, dict[str, str]] = {}
    for (name, kind), targets in sorted(want.items()):
        try:
            zone = dns.resolver.zone_for_name(name, resolver=resolver).to_text(omit_final_dot=True)
        except dns.exception.DNSException:
            raise CloudError(
                f"Nobody tells who serves {name}. Check the name, the network and DNS_RESOLVERS."
            ) from None
        if zone not in servers:
            servers[zone] = addresses(zone, sorted(delegation(zone, resolvers)), resolvers)
        if not servers[zone]:
            raise CloudError(f"No name server of {zone} answers. Check the network, and that it lets UDP port 53 out.")
        for server, address in servers[zone].items():
            yield Answer(server, name, kind, targets, ask(address, name, kind))


def _resolver(resolvers: Sequence[str]) -> dns.resolver.Resolver:
    """Whom to ask; nobody answers where the system has no resolver."""
    try:
        resolver = dns.resolver.Resolver(configure=not resolvers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.resolver.Resolver(configure=False)
    if resolvers:
        resolver.nameservers = list(resolvers)
    return resolver
