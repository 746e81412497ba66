"""What goes out to mail servers and webhooks, byte for byte; real receivers on loopback."""

import json
import smtplib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from koprogo.alerts import channels, notify
from koprogo.alerts.channels import Channels, Message
from koprogo.problem import Problem
from loopback_tls import certificate
from test_koprogo_notify import config

BAD = Message("1a2b3c4 failed & was undone", "backend: <unhealthy>\n@everyone", good=False, at=1_795_000_000.0)
GOOD = Message("« été » is live", "Add a page", good=True, at=1_795_000_000.0)

Seen = list[tuple[str, str, dict[str, str], bytes]]


class Receiver(BaseHTTPRequestHandler):
    """Writes down what is asked; a path begins with the status to answer."""

    seen: ClassVar[Seen] = []

    def answer(self) -> None:
        """Answer any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, dict(self.headers), body))
        status = int(self.path.split("/")[1])
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = answer

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of a web server."""
    Receiver.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def sent(kind: str, webhook: str, message: Message) -> tuple[str, str, dict[str, str], bytes]:
    Receiver.seen.clear()
    (way,) = Channels("koprogo.test", webhook=webhook, kind=kind).ways.values()
    way(message)
    (found,) = Receiver.seen
    return found


def test_each_receiver_gets_the_form_that_it_wants(receiver: str) -> None:
    method, path, headers, body = sent("json", f"http://{receiver}/200/hook?key=s3cret", BAD)
    assert (method, path, headers["Content-Type"]) == ("POST", "/200/hook?key=s3cret", "application/json")
    assert json.loads(body) == {
        "server": "koprogo.test",
        "title": "1a2b3c4 failed & was undone",
        "text": "backend: <unhealthy>\n@everyone",
        "good": False,
        "at": 1795000000.0,
    }
    assert json.loads(sent("slack", f"http://{receiver}/200", BAD)[3]) == {
        "text": "⚠️ koprogo.test: 1a2b3c4 failed &amp; was undone\nbackend: &lt;unhealthy&gt;\n@everyone"
    }
    assert json.loads(sent("discord", f"http://{receiver}/204", BAD)[3]) == {
        "content": "⚠️ **koprogo.test: 1a2b3c4 failed & was undone**\nbackend: <unhealthy>\n@everyone",
        "allowed_mentions": {"parse": []},
    }


def test_ntfy_gets_the_title_as_a_header_and_a_token_as_a_password(receiver: str) -> None:
    _, path, headers, body = sent("ntfy", f"http://:tk_abc@{receiver}/200/topic", GOOD)
    assert (path, body) == ("/200/topic", b"Add a page")
    assert headers["Title"] == "=?utf-8?b?a29wcm9nby50ZXN0OiDCqyDDqXTDqSDCuyBpcyBsaXZl?="
    assert (headers["Priority"], headers["Tags"]) == ("default", "white_check_mark")
    assert headers["Authorization"] == "Basic OnRrX2FiYw=="
    assert sent("ntfy", f"http://{receiver}/200/topic", BAD)[2]["Priority"] == "high"


def test_a_message_is_as_long_as_its_receiver_takes_and_its_title_is_one_line(receiver: str) -> None:
    long = Message("a disk is full\nsee `df`", "x" + "é" * 9000, good=False, at=1_795_000_000.0)
    _, _, headers, body = sent("ntfy", f"http://{receiver}/200/topic", long)
    assert headers["Title"] == "koprogo.test: a disk is full see `df`"
    # Beyond 4096 bytes it would become a file, and be refused where files are.
    assert body.decode() == "x" + "é" * 2047
    content = json.loads(sent("discord", f"http://{receiver}/200", long)[3])["content"]
    assert (len(content), content[-1]) == (2000, "é")


def test_matrix_gets_the_same_transaction_for_the_same_message(receiver: str) -> None:
    room = "200/_matrix/client/v3/rooms/!room:example.org/send/m.room.message"
    method, path, headers, body = sent("matrix", f"http://:syt_token@{receiver}/{room}", BAD)
    assert (method, path) == ("PUT", f"/{room}/{path.rpartition('/')[2]}")
    assert path == sent("matrix", f"http://:syt_token@{receiver}/{room}", BAD)[1]
    assert path != sent("matrix", f"http://:syt_token@{receiver}/{room}", GOOD)[1]
    assert headers["Authorization"] == "Bearer syt_token"
    assert json.loads(body) == {
        "msgtype": "m.text",
        "body": "⚠️ koprogo.test: 1a2b3c4 failed & was undone\nbackend: <unhealthy>\n@everyone",
        "m.mentions": {},
    }


@pytest.mark.parametrize(("status", "said"), [(404, "HTTP 404"), (500, "HTTP 500"), (302, "HTTP 302")])
def test_what_is_not_taken_is_a_trouble_without_the_secret_address(receiver: str, status: int, said: str) -> None:
    there = Channels("koprogo.test", webhook=f"http://user:s3cret@{receiver}/{status}/s3cret?key=s3cret")
    assert notify.send(there, BAD) == {"webhook at 127.0.0.1": f"127.0.0.1 answers {said}"}
    assert len(Receiver.seen) == 1


def test_no_proxy_that_somebody_has_set_learns_the_secret_address(
    receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert sent("json", f"http://{receiver}/200/s3cret", BAD)[1] == "/200/s3cret"


def test_a_server_that_is_not_there_or_says_nonsense_is_a_trouble() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    there = Channels("koprogo.test", f"smtp://127.0.0.1:{port}", ("you@koprogo.test",), "k@koprogo.test")
    assert notify.send(there, BAD) == {"mail to you@koprogo.test by 127.0.0.1": "127.0.0.1: Connection refused"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def nonsense() -> None:
            connection, _ = listening.accept()
            connection.sendall(b"nonsense\r\n")
            connection.close()

        threading.Thread(target=nonsense, daemon=True).start()
        with pytest.raises(Problem, match=r"^127\.0\.0\.1: BadStatusLine$"):
            channels.beat(Channels("koprogo.test", heartbeat=f"http://127.0.0.1:{port}/s3cret"))


def test_a_heartbeat_may_want_a_password_and_may_not_take_for_ever(
    receiver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Channels("koprogo.test", heartbeat=f"http://me:s3cret%40@{receiver}/200/alive?key=1")
    assert notify.beat(there) == {"heartbeat": None}
    ((method, path, headers, _),) = Receiver.seen
    assert (method, path, headers["Authorization"]) == ("GET", "/200/alive?key=1", "Basic bWU6czNjcmV0QA==")
    assert notify.beat(Channels("koprogo.test")) == {}
    monkeypatch.setattr(notify, "PATIENCE", 0.05)
    monkeypatch.setattr(channels, "beat", lambda _there: threading.Event().wait(5))
    assert notify.beat(there) == {"heartbeat": "no end within 0.05 s"}


class Post(socketserver.StreamRequestHandler):
    """A mail server of a few lines, which knows nobody called gone@ and does not know how to end."""

    taken: ClassVar[list[str]] = []
    tls: ClassVar[ssl.SSLContext | None] = None
    at_once: ClassVar[bool] = False
    """Whether it talks TLS from the beginning, and not when it is asked to."""

    def _secure(self) -> None:
        assert self.tls is not None
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def handle(self) -> None:
        """Talk with one client."""
        with suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        if self.at_once:
            self._secure()
        self.wfile.write(b"220 hello\r\n")
        while line := self.rfile.readline():
            command, _, rest = line.decode().partition(" ")
            if command.upper() == "EHLO" and self.tls is not None:
                self.wfile.write(b"250-hello\r\n250-STARTTLS\r\n")
            if command.strip().upper() == "STARTTLS":
                self.wfile.write(b"220 go on\r\n")
                self._secure()
                continue
            if command.strip().upper() == "DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() != b".\r\n":
                    pass
            if command.upper() == "RCPT" and "gone@" not in rest:
                self.taken.append(rest.strip())
            self.wfile.write(b"550 nobody of this name\r\n" if "gone@" in rest else b"250 ok\r\n")


@pytest.fixture
def post() -> Iterator[str]:
    """The address of a mail server."""
    Post.taken, Post.tls, Post.at_once = [], None, False
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Post)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"smtp://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_mail_that_one_of_two_people_gets_has_arrived_and_is_not_sent_again(post: str, tmp_path: Path) -> None:
    data = {"server": "k.test", "smtp": post, "recipients": ["you@k.test", "gone@k.test"], "sender": "k@k.test"}
    there = config(tmp_path, json.dumps(data))
    assert notify.tell(there, [BAD]) is True
    assert Post.taken == ["TO:<you@k.test>"]
    assert notify.broken(there) == {
        "mail to gone@k.test by 127.0.0.1": "127.0.0.1 refuses gone@k.test: 550 nobody of this name"
    }


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_mail_goes_to_a_server_whose_certificate_somebody_vouches_for_and_to_no_other(
    post: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    trusted, Post.tls = certificate(tmp_path)
    Post.at_once = scheme == "smtps"
    there = Channels("k.test", post.replace("smtp", scheme), ("you@k.test",), "k@k.test")
    assert set(notify.send(there, BAD).values()) == {"127.0.0.1: certificate: self-signed certificate"}
    assert Post.taken == []
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    assert set(notify.send(there, BAD).values()) == {None}
    assert Post.taken == ["TO:<you@k.test>"]


@pytest.mark.parametrize(("scheme", "port"), [("smtps", 465), ("smtp+starttls", 587), ("smtp", 25)])
def test_a_mail_server_listens_where_such_servers_do(monkeypatch: pytest.MonkeyPatch, scheme: str, port: int) -> None:
    asked: list[tuple[str, int]] = []

    def connect(_self: object, host: str, port: int, _timeout: float) -> None:
        asked.append((host, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(smtplib.SMTP, "_get_socket", connect)
    monkeypatch.setattr(smtplib.SMTP_SSL, "_get_socket", connect)
    notify.send(Channels("k.test", f"{scheme}://mail.k.test", ("you@k.test",), "k@k.test"), BAD)
    assert asked == [("mail.k.test", port)]


def test_a_mail_server_that_would_take_the_password_in_clear_gets_none(post: str) -> None:
    address = post.replace("smtp://", "smtp+starttls://me:s3cret@")
    there = Channels("k.test", address, ("you@k.test",), "k@k.test")
    (trouble,) = notify.send(there, BAD).values()
    assert trouble == "127.0.0.1: STARTTLS extension not supported by server"
    assert Post.taken == []


def test_a_mail_names_the_server_and_asks_for_no_automatic_answer() -> None:
    there = Channels("koprogo.test", "smtp://h", ("a@koprogo.test", "b@koprogo.test"), "koprogo@koprogo.test")
    made = channels.mail(there, "a@koprogo.test", GOOD)
    assert made["Subject"] == "[koprogo.test] « été » is live"
    assert (made["From"], made["To"]) == ("koprogo@koprogo.test", "a@koprogo.test")
    long = Message("failed: " + "x" * 300, "", good=False, at=0.0)
    raw = channels.mail(there, "a@koprogo.test", long).as_bytes()
    assert b"Subject: [koprogo.test] failed: " in raw
    assert len(channels.mail(there, "a@koprogo.test", long)["Subject"]) == 150
    sly = Message("a is live\r\nBcc: them@evil.test", "", good=True, at=0.0)
    assert channels.mail(there, "a@koprogo.test", sly)["Subject"] == "[koprogo.test] a is live Bcc: them@evil.test"
    assert made["Auto-Submitted"] == "auto-generated"
    assert made["Message-ID"].endswith("@koprogo.test>")
    assert made.get_content() == "Add a page\n"
