"""An HTTP server that answers as told and remembers what it carried out: enough of a cloud to be patient with."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class SmallCloud(ThreadingHTTPServer):
    """Answers 200 and `{}` to everything that `answers` does not name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.done: list[str] = []
        """What was carried out, as "GET /path"."""
        self.bodies: list[bytes] = []
        """What came with each."""
        self.dates = True
        """Whether answers have a Date."""
        self.breaks_off = 0
        """How many of the next answers end early: the last of them by one byte, and so on."""
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """Method and path, with the query if there is one → status, headers and body."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answers_json(self, what: str, body: Any, status: int = 200, **headers: str) -> None:
        """Answer this call so from now on."""
        headers |= {"Content-Type": "application/json"}
        self.answers[what] = status, headers, json.dumps(body).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SmallCloud

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def _call(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        what = f"{self.command} {self.path}"
        self.server.done.append(what)
        status, headers, body = self.server.answers.get(what, (200, {}, b"{}"))
        self.send_response_only(status)
        if self.server.dates:
            self.send_header("Date", self.date_time_string())
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) + self.server.breaks_off))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if self.server.breaks_off:
            self.server.breaks_off -= 1
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _call


@contextmanager
def running() -> Iterator[SmallCloud]:
    """One that runs."""
    cloud = SmallCloud()
    threading.Thread(target=cloud.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield cloud
    finally:
        cloud.shutdown()
        cloud.server_close()
