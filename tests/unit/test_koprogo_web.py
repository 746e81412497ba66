"""Asking an address: against a real TLS server on this machine."""

import contextlib
import datetime
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from koprogo import web

NAME = "api.koprogo.test"


class Handler(BaseHTTPRequestHandler):
    """Answers /<status> with that status; /999 a letter at a time."""

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/999":
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"H")
                    time.sleep(0.05)
            return
        self.send_response(int(self.path.lstrip("/")))
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Site:
    """A server for api.koprogo.test on the loopback address."""

    port: int
    ca_file: Path

    def url(self, status: int, name: str = NAME) -> str:
        """The address that answers with `status`."""
        return f"https://{name}:{self.port}/{status}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Site(server.server_port, folder / "cert.pem")
    server.shutdown()


def test_good(site: Site) -> None:
    answer = web.ask(site.url(200), site.ca_file, address="127.0.0.1")
    assert (answer.trouble, answer.reached, answer.certificate_trouble) == (None, True, False)
    assert answer.days_left is not None
    assert 30 <= answer.days_left < 30.1


@pytest.mark.parametrize(("status", "trouble"), [(204, None), (302, None), (404, "HTTP 404"), (503, "HTTP 503")])
def test_status(site: Site, status: int, trouble: str | None) -> None:
    answer = web.ask(site.url(status), site.ca_file, address="127.0.0.1")
    assert (answer.trouble, answer.reached) == (trouble, True)


def test_a_certificate_that_nobody_vouches_for(site: Site) -> None:
    answer = web.ask(site.url(200), None, address="127.0.0.1")
    assert answer.certificate_trouble
    assert answer.trouble is not None
    assert answer.trouble.startswith("certificate: self")


def test_a_certificate_for_another_name(site: Site) -> None:
    answer = web.ask(site.url(200, "koprogo.test"), site.ca_file, address="127.0.0.1")
    assert answer.certificate_trouble
    assert "Hostname mismatch" in str(answer.trouble)


def test_a_certificate_may_be_left_out_but_not_the_answer(site: Site) -> None:
    assert web.ask(site.url(200), None, address="127.0.0.1", verify=False).trouble is None
    assert web.ask(site.url(503), None, address="127.0.0.1", verify=False).trouble == "HTTP 503"


def test_on_this_server_the_name_need_not_resolve(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = web.ask

    def counted(url: str, ca_file: Path | None, **options: Any) -> web.Answer:
        asked.append(options.get("address"))
        return ask(url, ca_file, **options)

    monkeypatch.setattr(web, "own_address", lambda: "127.0.0.1")
    monkeypatch.setattr(web, "ask", counted)
    assert web.ask_here(site.url(200), site.ca_file).trouble is None
    assert web.ask_here(site.url(503), site.ca_file).trouble == "HTTP 503"
    assert asked == ["127.0.0.1", "127.0.0.1"]


def test_where_nothing_listens_here_the_name_decides(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "own_address", lambda: "127.0.0.2")
    here = web.ask_here(site.url(200, "localhost"), site.ca_file)
    assert here.certificate_trouble  # localhost leads to the server, whose certificate is for another name
    nowhere = web.ask_here(site.url(200), site.ca_file, timeout=2)
    assert (nowhere.trouble, nowhere.reached) == ("Connection refused", False)


def test_an_address_that_nobody_answers() -> None:
    answer = web.ask("https://127.0.0.1:9/x", None, timeout=2)
    assert (answer.trouble, answer.reached, answer.certificate_trouble) == ("Connection refused", False, False)
    answer = web.ask("https://name.invalid/", None, timeout=2)
    assert (answer.trouble, answer.reached) == ("the name does not resolve", False)


def test_an_answer_that_comes_a_letter_at_a_time_is_none(site: Site) -> None:
    answer = web.ask(site.url(999), site.ca_file, address="127.0.0.1", timeout=1)
    assert (answer.trouble, answer.reached) == ("no answer within 1 s", False)


def test_a_ca_file_that_is_not_there() -> None:
    answer = web.ask("https://127.0.0.1:9/x", Path("/nowhere.pem"), timeout=2)
    assert answer.trouble == "/nowhere.pem: No such file or directory"
