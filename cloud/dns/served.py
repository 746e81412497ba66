"""Whether a zone's own name servers answer as wanted. They know first; resolvers elsewhere follow within the TTL."""

import time
from collections.abc import Callable, Iterable, Sequence

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from cloud.dns.plan import Wanted, canonical

SECONDS_PER_QUESTION = 3.0
PAUSE = 1.0


def addresses(servers: Iterable[str], resolvers: Sequence[str]) -> dict[str, str]:
    """Name server → its address, asked of `resolvers` or else the system's; those without one are left out."""
    resolver = dns.resolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = list(resolvers)
    found = {}
    for server in servers:
        for kind in ("A", "AAAA"):
            try:
                answer = resolver.resolve(f"{server.rstrip('.')}.", kind, lifetime=SECONDS_PER_QUESTION)
            except dns.exception.DNSException:
                continue
            found[server] = answer[0].to_text()
            break
    return found


def ask(address: str, name: str, kind: str) -> frozenset[str] | None:
    """The addresses that a name server gives for a name; None if it does not answer, or not for this zone."""
    question = dns.message.make_query(f"{name}.", kind)
    try:
        answer, _ = dns.query.udp_with_fallback(question, address, timeout=SECONDS_PER_QUESTION)
    except (dns.exception.DNSException, OSError):
        return None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    wanted = dns.rdatatype.from_text(kind)
    return frozenset(
        canonical(record.to_text()) for rrset in answer.answer if rrset.rdtype == wanted for record in rrset
    )


def differences(want: Wanted, gone: Wanted, servers: dict[str, str]) -> list[str]:
    """Where the name servers (name → address) do not answer what is wanted, or still answer what is to be gone.

    One line each; silence is no difference.
    """
    found = []
    for server, address in servers.items():
        for (name, kind), targets in sorted(want.items()):
            answer = ask(address, name, kind)
            if answer is not None and answer != targets:
                found.append(f"{server} answers {', '.join(sorted(answer)) or 'nothing'} for {kind} {name}")
        for (name, kind), targets in sorted(gone.items()):
            if left := (ask(address, name, kind) or frozenset()) & targets:
                found.append(f"{server} still answers {', '.join(sorted(left))} for {kind} {name}")
    return found


def wait(missing: Callable[[], list[str]], seconds: float, say: Callable[[str], None]) -> list[str]:
    """Wait until nothing is missing, for `seconds` at most, saying what is whenever that changes.

    Returns what is still missing; empty is success.
    """
    deadline, said = time.monotonic() + seconds, ""
    while lines := missing():
        if time.monotonic() > deadline:
            break
        if lines[0] != said:
            said = lines[0]
            say(f"waiting: {said}")
        time.sleep(PAUSE)
    return lines
