"""HTTP around the API, the pages and the side door: URLs as the client wrote them, X-OVH-QUERYID on every answer."""

import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from . import pages, routes, side_door
from .access import Request
from .accounts import Account
from .answers import Answer
from .fault_kinds import Cut, Victim, answer
from .faults import Faults
from .store import Store

BASES = ("/1.0", "/v1")


class Server(ThreadingHTTPServer):
    """Serves the API on `address` until `shutdown`. `door` is the token of the side door, None to lock it."""

    daemon_threads = True
    scheme = "http"

    def __init__(
        self,
        address: tuple[str, int],
        account: Account,
        store: Store,
        clock: Callable[[], float] = time.time,
        door: str | None = None,
    ) -> None:
        self.account = account
        self.store = store
        self.clock = clock
        self.door = door
        self.faults = Faults()
        super().__init__(address, Handler)

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request, as it should be or as a fault has it; raises Cut."""

        def carry_out() -> Answer:
            now = self.clock() + self.faults.skew
            if request.base:
                return routes.handle(self.account, self.store, request, now)
            return pages.handle(self.account, request, now)

        rule = self.faults.hit(request)
        if rule is None:
            return carry_out()
        return answer(Victim(request, rule, self.faults, self.account, self.store, carry_out))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless the client went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection; python-ovh keeps it open between calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; with it, each answer took 40 ms
    server: Server

    def _answer(self) -> None:
        server, request = self.server, self._request()
        if not request.base and request.path == side_door.PATH:
            self._send(side_door.handle(server.faults, server.door, request))
            return
        try:
            answered = server.answer(request)
        except Cut:
            server.faults.log(request, 0)
            self._cut()
            return
        # Before the client has its answer, so that it finds its call in the log.
        server.faults.log(request, answered.status)
        self._send(answered)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def _cut(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log every call but those for the time, which every client makes."""
        if not self.path.endswith("/auth/time"):
            super().log_request(code)

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        base = next((b for b in BASES if parts.path.startswith(b + "/")), "")
        # Behind a TLS proxy on this machine the client signed an https URL.
        scheme = self.headers.get("X-Forwarded-Proto", self.server.scheme)
        return Request(
            method=self.command,
            url=f"{scheme}://{self.headers.get('Host', '')}{self.path}",
            base=base,
            path=unquote(parts.path.removeprefix(base)),
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer, that of the base class to something that is not HTTP included."""
        super().send_response(code, message)
        self.send_header("X-OVH-QUERYID", f"EU.ext-3.{secrets.token_hex(4)}.{secrets.token_hex(8)}")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.kind:
            self.send_header("Content-Type", answer.kind)
        if answer.status != 204:  # noqa: PLR2004 (No Content has no length)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
