"""What a zone's own name servers answer. They know first; resolvers elsewhere follow within the TTL."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

from cloud.dns.record import ADDRESSES, CAA, Wanted, canonical
from cloud.trouble import CloudError

SECONDS_PER_QUESTION = 3.0


@dataclass(frozen=True)
class Answer:
    """What one name server said."""

    server: str
    name: str
    kind: str
    wanted: frozenset[str]
    found: frozenset[str] | None
    """None for silence."""
    other_ttl: int | None = None
    """Seconds; None if that is not known to be another one than the wanted."""

    @property
    def right(self) -> bool:
        """Whether it is as wanted. Of CAA, others than the wanted ones may be there too."""
        if self.found is None or self.other_ttl is not None:
            return False
        return (self.found & self.wanted if self.kind == CAA else self.found) == self.wanted

    def __str__(self) -> str:
        """As in: ns1.test answers 192.0.2.1 for A www.example.org."""
        said = "does not answer" if self.found is None else f"answers {', '.join(sorted(self.found)) or 'nothing'}"
        with_ttl = "" if self.other_ttl is None else f" with ttl {self.other_ttl}"
        return f"{self.server} {said}{with_ttl} for {self.kind} {self.name}"

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
            if ask(address, zone, "SOA"):
                found[server] = address
                break
    return found


def resolvers_of(zone: str, resolvers: Sequence[str]) -> dict[str, str]:
    """The resolvers themselves in the place of name servers that cannot be asked; only those that know the zone.

    What they answer may be as old as its TTL, but if it is as wanted, then it was served.
    """
    every = [str(server) for server in _resolver(resolvers).nameservers]
    return {f"resolver {address}": address for address in every if ask(address, zone, "SOA")}


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


def ask(address: str, name: str, kind: str) -> frozenset[str] | None:
    """What a name server answers for a name and type; None if it does not answer, or not for this zone."""
    reply = _reply(address, name, kind)
    return None if reply is None else _targets(reply, kind)


def differences(want: Wanted, gone: Wanted, servers: dict[str, str], ttl: int | None = None) -> list[str]:
    """Where the name servers (name → address) do not answer what is wanted, or still answer what is to be gone.

    One line each; silence is no difference. Of CAA others than the wanted ones may be answered too. With `ttl`
    (seconds) addresses are to have it.
    """
    found = []
    for server, address in servers.items():
        for (name, kind), targets in sorted(want.items()):
            reply = _reply(address, name, kind)
            other = _other_ttl(reply, kind, ttl) if reply and ttl else None
            answer = Answer(server, name, kind, targets, _targets(reply, kind) if reply else None, other)
            if not (answer.right or answer.found is None):
                found.append(str(answer))
        for (name, kind), targets in sorted(gone.items()):
            if left := (ask(address, name, kind) or frozenset()) & targets:
                found.append(f"{server} still answers {', '.join(sorted(left))} for {kind} {name}")
    return found


def answers(want: Wanted, resolvers: Sequence[str]) -> Iterator[Answer]:
    """What each name server of each wanted name's zone answers. Raises CloudError if they cannot be found or asked."""
    resolver = _resolver(resolvers)
    servers: dict[str, dict[str, str]] = {}
    for (name, kind), targets in sorted(want.items()):
        try:
            zone = dns.resolver.zone_for_name(name, resolver=resolver).to_text(omit_final_dot=True)
        except dns.exception.DNSException as error:
            raise CloudError(f"Nobody tells who serves {name}: {error} Check the network and the name.") from None
        if zone not in servers:
            servers[zone] = addresses(zone, sorted(delegation(zone, resolvers)), resolvers)
        if not servers[zone]:
            raise CloudError(f"No name server of {zone} answers. Check the network, and that it lets UDP port 53 out.")
        for server, address in servers[zone].items():
            yield Answer(server, name, kind, targets, ask(address, name, kind))


def _reply(address: str, name: str, kind: str) -> dns.message.Message | None:
    """The answer of a name server, that there is no such record included; None if it cannot tell."""
    question = dns.message.make_query(f"{name}.", kind)
    try:
        reply, _ = dns.query.udp_with_fallback(question, address, timeout=SECONDS_PER_QUESTION)
    except (dns.exception.DNSException, OSError):
        return None
    return reply if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) else None


def _rrsets(reply: dns.message.Message, kind: str) -> Iterator[dns.rrset.RRset]:
    wanted = dns.rdatatype.from_text(kind)
    return (rrset for rrset in reply.answer if rrset.rdtype == wanted)


def _targets(reply: dns.message.Message, kind: str) -> frozenset[str]:
    return frozenset(canonical(record.to_text()) for rrset in _rrsets(reply, kind) for record in rrset)


def _other_ttl(reply: dns.message.Message, kind: str, ttl: int) -> int | None:
    """The seconds that addresses are served with, if not `ttl`; None where that cannot be told.

    A cache counts down, and CAA records of others have a time of their own, which the whole set is served with.
    """
    if kind not in ADDRESSES or not reply.flags & dns.flags.AA:
        return None
    return next((rrset.ttl for rrset in _rrsets(reply, kind) if rrset.ttl != ttl), None)


def _resolver(resolvers: Sequence[str]) -> dns.resolver.Resolver:
    """Whom to ask; nobody answers where the system has no resolver."""
    try:
        resolver = dns.resolver.Resolver(configure=not resolvers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.resolver.Resolver(configure=False)
    if resolvers:
        resolver.nameservers = list(resolvers)
    return resolver
