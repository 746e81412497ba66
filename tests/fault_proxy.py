"""An HTTP proxy between a client and the cloud's API that records calls and makes chosen ones fail.

    with FaultProxy() as proxy:
        proxy.rule("cut", "POST", r"/servers$")  # carried out, and no answer
        operator.run(…, HTTP_PROXY=proxy.url)
    assert ("POST", "/v2.1/servers") in proxy.calls

For http:// only, which is all that the sandbox has.
"""

import os
import re
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Action = Literal["drop", "cut", "delay", "answer", "shift", "kill", "kill after"]
"""drop: close, nothing is forwarded. cut: forward, and close without an answer. delay: wait `seconds`, then forward.
answer: `status`, `headers`, `body` instead of forwarding. shift: a Date `seconds` from now. kill, kill after:
SIGKILL to the process in `proxy.victim` (which may be set once it runs) instead of forwarding, or after it."""

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
UPSTREAM_SECONDS = 180


@dataclass
class Rule:
    """What happens to the n-th call, and to the `times` - 1 after it, whose method, path and body match."""

    action: Action
    method: str
    path: str
    nth: int
    times: float
    seconds: float
    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: bytes
    met: int = 0

    def strikes(self, method: str, target: str, sent: bytes) -> bool:
        """Count a call; whether it is the one. `target` is the path with its query."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, target) and re.search(self.sent, sent)):
            return False
        self.met += 1
        return self.nth <= self.met < self.nth + self.times


@dataclass
class Answer:
    """An answer, whole."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class FaultProxy:
    """A context manager; `url` goes into HTTP_PROXY."""

    def __init__(self) -> None:
        self.victim: int | None = None
        """The process that `kill` ends."""
        self.calls: list[tuple[str, str]] = []
        """Method and path of every call, in order."""
        self.sent: list[bytes] = []
        """Their bodies: all that is asked of a server has one path, and says what it is in its body."""
        self.struck: list[tuple[str, str]] = []
        """Those of them that a rule met."""
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(self)

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; a call that is waiting goes on at once."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def rule(  # noqa: PLR0913 - each is for one action
        self,
        action: Action,
        method: str = ".*",
        path: str = "",
        *,
        nth: int = 1,
        times: float = 1,
        seconds: float = 0,
        status: int = 503,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sent: bytes = b"",
    ) -> None:
        """Add a rule; the first that strikes counts. `method`, `path` and `sent` are regular expressions.

        `path` and `sent`, of the call's body, are searched; `body` is what is answered.
        """
        self._rules.append(Rule(action, method, path, nth, times, seconds, status, headers or {}, body, sent))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def treat(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer | None:
        """Do what the rules say about a call; None closes the connection."""
        rule = self._strike(method, url, body)
        action = rule.action if rule else None
        if rule and action == "answer":
            return Answer(rule.status, "", list(rule.headers.items()), rule.body)
        if rule and action == "delay":
            self._over.wait(rule.seconds)
        if action == "kill":
            self._kill()
        if action in ("drop", "kill"):
            return None
        answer = _forward(method, url, headers, body)
        if action == "kill after":
            self._kill()
        if action in ("cut", "kill after"):
            return None
        return _shifted(answer, rule.seconds) if rule and action == "shift" else answer

    def _strike(self, method: str, url: str, sent: bytes) -> Rule | None:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}".rstrip("?")
        with self._lock:
            self.calls.append((method, parts.path))
            self.sent.append(sent)
            striking = [rule for rule in self._rules if rule.strikes(method, target, sent)]
            self.struck += [(method, parts.path)] if striking else []
        return striking[0] if striking else None

    def _kill(self) -> None:
        while self.victim is None and not self._over.wait(0.01):
            pass
        if self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def _call(self) -> None:
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP]
        answer = self.server.proxy.treat(self.command, self.path, headers, self._body())
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response_only(answer.status, answer.reason or None)
        for name, value in answer.headers:
            self.send_header(name, value)
        # An answer to HEAD has the length of a body that is not sent, and a 204 or 304 has no body at all.
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _call

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body


def _forward(method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
    parts = urlsplit(url)
    there = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=UPSTREAM_SECONDS)
    try:
        target = parts.path or "/"
        there.putrequest(method, f"{target}?{parts.query}" if parts.query else target, True, True)
        for name, value in headers:
            if name.lower() != "content-length":
                there.putheader(name, value)
        if body or method in ("POST", "PUT", "PATCH"):
            there.putheader("Content-Length", str(len(body)))
        there.endheaders(body)
        answer = there.getresponse()
        left_out = HOP_BY_HOP if method == "HEAD" else HOP_BY_HOP | {"content-length"}
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in left_out]
        return Answer(answer.status, answer.reason, kept, answer.read())
    except (OSError, HTTPException) as error:
        return Answer(502, "", [("Content-Type", "text/plain")], f"the proxy: {error!r}".encode())
    finally:
        there.close()


def _shifted(answer: Answer, seconds: float) -> Answer:
    """With a Date so far from now; that of uwsgi has none."""
    date = ("Date", format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True))
    answer.headers = [date, *(header for header in answer.headers if header[0].lower() != "date")]
    return answer
