"""The public names as the world sees them: asked from here, outside the server."""

import http.client
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.resolver

SECONDS = 5
_MOVED = (301, 302, 307, 308)


@dataclass(frozen=True)
class Site:
    """What has to answer: addresses over HTTPS; where their names have to lead; whom to ask, and whom to believe."""

    urls: Sequence[str]
    ipv4: str
    resolvers: Sequence[str]
    authority: Path | None

    @property
    def names(self) -> list[str]:
        """The host names, in order."""
        return [str(urlsplit(url).hostname) for url in self.urls]


def lookup(name: str, resolvers: Sequence[str]) -> list[str]:
    """The IPv4 addresses of a name, from these name servers or else the system's. Raises dns.exception.DNSException."""
    resolver = dns.resolver.Resolver(configure=not resolvers)
    if resolvers:
        resolver.nameservers = list(resolvers)
    return [record.to_text() for record in resolver.resolve(name, "A", lifetime=SECONDS)]


def misdirected(site: Site, name: str) -> str | None:
    """Why a name does not lead to the server, or None if it does."""
    try:
        found = lookup(name, site.resolvers)
    except dns.resolver.NXDOMAIN:
        return f"{name} does not exist in DNS; its A record has to be {site.ipv4}"
    except dns.exception.DNSException as error:
        return f"{name} cannot be looked up ({type(error).__name__}); its A record has to be {site.ipv4}"
    if found != [site.ipv4]:
        return f"{name} leads to {', '.join(found)}; its A record has to be {site.ipv4}"
    return None


def unanswered(site: Site, url: str) -> str | None:
    """Why an address does not answer as it should, or None.

    It should: 200 over HTTPS with a certificate that verifies, and a redirect to HTTPS over HTTP.
    """
    parts = urlsplit(url)
    name, path = str(parts.hostname), parts.path or "/"
    if problem := misdirected(site, name):
        return problem
    try:
        status, _ = _ask(site.ipv4, 443, name, path, ssl.create_default_context(cafile=site.authority))
        if status != http.client.OK:
            return f"{url} answers {status}"
        status, location = _ask(site.ipv4, 80, name, path, None)
    except ssl.SSLCertVerificationError as error:
        return f"{url}: the certificate does not verify ({error.verify_message})"
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error or type(error).__name__}"
    if status not in _MOVED or not location.startswith(f"https://{name}"):
        return f"http://{name}{path} answers {status} and does not redirect to HTTPS"
    return None


def _ask(address: str, port: int, name: str, path: str, tls: ssl.SSLContext | None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(name, port, timeout=SECONDS)
    plain = socket.create_connection((address, port), timeout=SECONDS)
    with tls.wrap_socket(plain, server_hostname=name) if tls else plain as connection.sock:
        connection.request("GET", path, headers={"User-Agent": "koprogo-infrastructure"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location") or ""


def all_misdirected(site: Site) -> list[str]:
    """What is wrong with the names."""
    with ThreadPoolExecutor(len(site.urls)) as pool:
        return [problem for problem in pool.map(lambda name: misdirected(site, name), site.names) if problem]


def all_unanswered(site: Site) -> list[str]:
    """What is wrong with the addresses."""
    with ThreadPoolExecutor(len(site.urls)) as pool:
        return [problem for problem in pool.map(lambda url: unanswered(site, url), site.urls) if problem]
