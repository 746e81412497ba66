"""HTTP around the routes: URLs as the client wrote them, JSON bodies, the X-OVH-QUERYID header."""

import os
import secrets
import socket
import struct
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from .access import Account, Request
from .answers import Answer
from .faults import Cut, Faults, Victim, answer
from .routes import handle
from .store import Store

BASES = ("/1.0", "/v1")


class Server(ThreadingHTTPServer):
    """Serves the API on `address` until `shutdown`."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], account: Account, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        self.account = account
        self.store = store
        self.clock = clock
        self.faults = Faults()
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection; python-ovh keeps it open between calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; with it, each answer took 40 ms
    server: Server

    def _answer(self) -> None:
        server, request = self.server, self._request()

        def carry_out() -> Answer:
            return handle(server.account, server.store, request, server.clock() + server.faults.skew)

        try:
            rule = server.faults.hit(request)
            victim = Victim(request, rule, server.faults, server.account, server.store, carry_out) if rule else None
            answered = answer(victim) if victim else carry_out()
        except Cut:
            server.faults.log(request, 0)
            self._cut()
            return
        # Before the client has its answer, so that it finds its call in the log.
        server.faults.log(request, answered.status)
        self._send(answered)

    def _cut(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log every call but those for the time, which every client makes."""
        if not self.path.endswith("/auth/time"):
            super().log_request(code)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        base = next((b for b in BASES if parts.path.startswith(b + "/")), "")
        # Behind a TLS proxy on this machine the client signed an https URL.
        scheme = self.headers.get("X-Forwarded-Proto", "http")
        return Request(
            method=self.command,
            url=f"{scheme}://{self.headers.get('Host', '')}{self.path}",
            path=unquote(parts.path.removeprefix(base)) if base else "",
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
        )

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("X-OVH-QUERYID", f"EU.ext-3.{secrets.token_hex(4)}.{secrets.token_hex(8)}")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.kind:  # 204 has neither body nor length
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
