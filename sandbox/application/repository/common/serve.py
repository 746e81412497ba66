"""An HTTP server that finishes the requests it has before it stops."""

import json
import signal
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """One thread per request; closing it waits for the threads that are still answering."""

    daemon_threads = False
    request_queue_size = 128

    def drain(self) -> None:
        """Answer the clients that were already queued when the loop ended, so none sees a reset."""
        self.socket.setblocking(False)
        while True:
            try:
                request, address = self.socket.accept()
            except BlockingIOError:
                return
            request.setblocking(True)
            self.process_request(request, address)


class Handler(BaseHTTPRequestHandler):
    """One request per connection (HTTP/1.0): no idle connection can hold up a stop."""

    timeout = 10  # seconds that a client may keep us waiting for its request

    def version_string(self) -> str:
        """Name the program to clients, but not which version of what it is written in."""
        return "koprogo"

    def answer(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer; a HEAD request gets its headers only."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": content_type}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """Send a value as JSON."""
        self.answer(status, json.dumps(value).encode() + b"\n", "application/json", headers)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the log of requests to Traefik, which has the client's address."""


def serve(handler: type[Handler], host: str, port: int) -> None:
    """Answer on host:port until SIGTERM or SIGINT, then finish what was begun."""
    server = Server((host, port), handler)

    def stop(_signal: int, _frame: object) -> None:
        # shutdown() waits for the loop, which is the thread that runs this very handler
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.1)
    server.drain()
    server.server_close()
