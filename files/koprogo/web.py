"""Asking the public addresses as a browser would, certificate included."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from koprogo.docker.routing import HEADER
from koprogo.problem import one_line

LAST_GOOD_STATUS = 399


@dataclass(frozen=True)
class Answer:
    """What one address answered. `trouble` is None when all is well."""

    url: str
    trouble: str | None
    certificate_trouble: bool = False
    """Whether only the certificate is wrong: it may come in a minute, and no other version would mend it."""
    reached: bool = True
    """Whether somebody answered at all."""
    days_left: float | None = None
    """Days until the certificate ends."""
    generation: int | None = None
    """Of the container that answered (see `routing.HEADER`); None where the answer does not say."""
    milliseconds: float | None = None
    """Until it answered, the connection included; None where it did not."""


class _Pinned(http.client.HTTPSConnection):
    """A connection to a given address that asks for, and verifies, a name."""

    def __init__(self, name: str, port: int, address: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(name, port, timeout=timeout, context=context)
        self._name, self._address, self._tls = name, address, context

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port or 443), self.timeout)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name, do_handshake_on_connect=False)
        self.sock.do_handshake()


def ask(
    url: str, ca_file: Path | None, *, address: str | None = None, verify: bool = True, timeout: float = 10
) -> Answer:
    """GET `url` once and judge the answer: a status of 200 to 399 and a certificate that verifies.

    `address` connects there instead of where the name resolves to.
    """
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or 443
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        return Answer(url, f"{ca_file}: {error.strerror or error}")
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = _Pinned(name, port, address or name, context, timeout)
    began = time.monotonic()
    late = threading.Event()
    watch = threading.Timer(timeout, _cut, (connection, late))
    watch.daemon = True
    try:
        watch.start()
        connection.connect()
        days = _days_left(connection.sock)
        connection.request("GET", path, headers={"User-Agent": "koprogo", "Connection": "close"})
        response = connection.getresponse()
        took = (time.monotonic() - began) * 1000
        status, said = response.status, response.headers.get(HEADER, "")
        generation = int(said) if said.isdigit() else None
    except ssl.SSLCertVerificationError as error:
        return Answer(url, f"certificate: {error.verify_message}", certificate_trouble=True)
    except (OSError, http.client.HTTPException) as error:
        silent = late.is_set() or isinstance(error, TimeoutError)
        return Answer(url, f"no answer within {timeout:.0f} s" if silent else _words(error), reached=False)
    finally:
        watch.cancel()
        connection.close()
    if status > LAST_GOOD_STATUS:
        return Answer(url, f"HTTP {status}", days_left=days, generation=generation, milliseconds=took)
    return Answer(url, None, days_left=days, generation=generation, milliseconds=took)


def ask_here(url: str, ca_file: Path | None, *, verify: bool = True, timeout: float = 10) -> Answer:
    """GET `url` from this very server, whatever DNS says; by its public name when nothing listens here."""
    answer = ask(url, ca_file, address=own_address(), verify=verify, timeout=timeout)
    if answer.reached:
        return answer
    by_name = ask(url, ca_file, verify=verify, timeout=timeout)
    return by_name if by_name.reached else answer


def own_address() -> str:
    """Return the address that this server uses towards the internet; no packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("1.1.1.1", 53))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _cut(connection: _Pinned, late: threading.Event) -> None:
    """End a connection on which an answer comes a letter at a time: each of them is in time."""
    late.set()
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _days_left(sock: socket.socket | ssl.SSLSocket) -> float | None:
    certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
    ends = (certificate or {}).get("notAfter")
    return (ssl.cert_time_to_seconds(ends) - time.time()) / 86400 if isinstance(ends, str) else None


def _words(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
