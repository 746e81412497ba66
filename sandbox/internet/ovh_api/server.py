"""HTTP around the routes: URLs as the client wrote them, JSON bodies, the X-OVH-QUERYID header."""

import json
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .access import Account, Request
from .errors import ApiError
from .routes import NO_CONTENT, handle
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
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection; python-ovh keeps it open between calls."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; with it, each answer took 40 ms
    server: Server

    def _answer(self) -> None:
        try:
            data = handle(self.server.account, self.server.store, self._request(), self.server.clock())
        except ApiError as error:
            self._send(error.status, error.body)
        else:
            self._send(204 if data is NO_CONTENT else 200, data)

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

    def _send(self, status: int, data: Any) -> None:
        body = b"" if data is NO_CONTENT else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("X-OVH-QUERYID", f"EU.ext-3.{secrets.token_hex(4)}.{secrets.token_hex(8)}")
        if status != 204:  # noqa: PLR2004 (No Content has neither body nor length)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
