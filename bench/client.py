"""One HTTPS request after the other over raw asyncio: every connection is this module's own decision.

No request is ever repeated: what a client's library would hide by a second try counts as lost here.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from dataclasses import dataclass

TIMEOUT = 10.0
"""Seconds for connection, TLS, request and answer together."""
IDLE = 30.0
"""Seconds after which a connection is no longer used, long before a server would close it."""


@dataclass(frozen=True)
class Ask:
    """A request, and what a good answer has to have."""

    host: str
    path: str
    status: int
    holds: bytes
    body: bytes | None = None
    """To be sent by POST; None for a GET."""

    def text(self, *, keep: bool) -> bytes:
        """Return it as it is sent."""
        head = [f"{'GET' if self.body is None else 'POST'} {self.path} HTTP/1.1", f"Host: {self.host}"]
        head.append(f"Connection: {'keep-alive' if keep else 'close'}")
        if self.body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*head, "", ""]).encode() + (self.body or b"")


class Lost(Exception):
    """A request without a good answer; the text is a reason of a word or two, alike for alike faults."""


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: float

    @property
    def usable(self) -> bool:
        """Whether it is not known to be closed, and was used lately."""
        fresh = asyncio.get_running_loop().time() - self.used < IDLE
        return fresh and not self.reader.at_eof() and not self.writer.is_closing()

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.close()


class Client:
    """Asks one address for several names; certificates are verified with `ca_file` (PEM) and nothing else."""

    def __init__(self, address: str, port: int, ca_file: str) -> None:
        self._address, self._port = address, port
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._kept: dict[str, deque[_Connection]] = {}

    async def ask(self, ask: Ask, *, keep: bool) -> None:
        """Get a good answer, or raise Lost. With `keep`, over a connection used before if there is a usable one."""
        connection = None
        try:
            async with asyncio.timeout(TIMEOUT):
                connection = (self._take(ask.host) if keep else None) or await self._connect(ask.host)
                connection.writer.write(ask.text(keep=keep))
                status, body, stays = await answer(connection.reader)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            if connection:
                connection.close()
            raise Lost(reason(error)) from None
        if keep and stays:
            connection.used = asyncio.get_running_loop().time()
            self._kept.setdefault(ask.host, deque()).append(connection)
        else:
            connection.close()
        judge(ask, status, body)

    def close(self) -> None:
        """Close the connections that are kept."""
        for connections in self._kept.values():
            for connection in connections:
                connection.close()

    def _take(self, host: str) -> _Connection | None:
        """Take the connection that was idle for longest: so all stay in use, and none grows old."""
        waiting = self._kept.get(host, deque())
        while waiting:
            connection = waiting.popleft()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _connect(self, host: str) -> _Connection:
        made = await asyncio.open_connection(self._address, self._port, ssl=self._tls, server_hostname=host)
        return _Connection(*made, asyncio.get_running_loop().time())


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Read an answer: status, body, and whether the connection stays open. Raises EOFError, ValueError or OSError."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0][9:12])  # "HTTP/1.1 200 OK"
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines[1:])}
    body = await reader.readexactly(int(headers["content-length"])) if "content-length" in headers else None
    if body is None:
        raise ValueError("no Content-Length")
    return status, body, headers.get("connection", "").lower() != "close"


def judge(ask: Ask, status: int, body: bytes) -> None:
    """Raise Lost unless this is the answer that was asked for."""
    if status != ask.status:
        raise Lost(f"status {status}")
    if ask.holds not in body:
        raise Lost("wrong body")


def reason(error: Exception) -> str:
    """Say in a word or two why there was no answer."""
    kinds: list[tuple[type[Exception], str]] = [
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "refused"),
        (ConnectionError, "reset"),
        (EOFError, "closed"),
        (ssl.SSLCertVerificationError, "certificate"),
        (ssl.SSLError, "TLS"),
        (OSError, "unreachable"),
    ]
    return next((text for kind, text in kinds if isinstance(error, kind)), "no HTTP")
