"""What is known of a request that got no answer: whether it was sent, and what was in its way."""

import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import SHUT_RDWR, SO_LINGER, SOL_SOCKET, create_server, socket
from traceback import format_exception
from typing import Any

import pytest
from keystoneauth1.noauth import NoAuth
from loopback_tls import certificate
from small_cloud import running

from cloud.api import patience
from cloud.api.explain import explained
from cloud.api.patience import PatientSession
from cloud.trouble import CloudError, NoAnswer, NotYet
from cloud.unreachable import WrongVariable, check_environment

Serve = Callable[[socket, ssl.SSLContext], object]


@pytest.fixture(autouse=True)
def _no_time_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("no_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    monkeypatch.setattr(patience, "sleep", lambda _: None)


@contextmanager
def tls_server(folder: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Iterator[str]:
    """A server whose certificate is trusted, and that does this with each connection."""
    trusted, context = certificate(folder)
    context.load_verify_locations(trusted)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_all, args=(listener, context, serve), daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(SHUT_RDWR)  # which wakes accept()
        thread.join()


def _answer_all(listener: socket, context: ssl.SSLContext, serve: Serve) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):  # of clients that hang up
            serve(connection, context)


def _until_closed(connection: socket, _: ssl.SSLContext | None = None) -> None:
    while connection.recv(1 << 16):
        pass


def garbage_for_an_answer(connection: socket, context: ssl.SSLContext) -> None:
    """Take a request, and answer with what is no TLS."""
    with context.wrap_socket(connection.dup(), server_side=True) as tls:
        tls.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        _until_closed(connection)


def an_alert_for_an_answer(connection: socket, context: ssl.SSLContext) -> None:
    """Say only after the handshake that the client needs a certificate too, as TLS 1.3 has it."""
    context.verify_mode = ssl.CERT_REQUIRED
    with suppress(ssl.SSLError):
        context.wrap_socket(connection.dup(), server_side=True)
    _until_closed(connection)


def no_tls(connection: socket, context: ssl.SSLContext) -> None:
    """Answer the beginning of a handshake as a web server without TLS does."""
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    _until_closed(connection)


def the_end(connection: socket, context: ssl.SSLContext) -> None:
    """Hang up in the middle of the handshake."""
    connection.recv(1 << 16)


def a_reset(connection: socket, context: ssl.SSLContext) -> None:
    """Drop the connection in the middle of the handshake, as the load balancer of a dead server does."""
    connection.recv(1)
    connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # makes a reset of the close


def made(url: str, said: list[str], method: str = "POST") -> CloudError:
    """What comes of asking for a server."""
    session = PatientSession(NoAuth(), said.append)
    with pytest.raises(CloudError) as caught, explained("Making the server"):
        session.request(f"{url}/servers", method, json={"server": {}})
    return caught.value


@pytest.mark.parametrize("serve", [garbage_for_an_answer, an_alert_for_an_answer])
def test_a_create_after_which_tls_broke_may_have_been_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    said: list[str] = []
    with tls_server(tmp_path, monkeypatch, serve) as url:
        error = made(url, said)
    assert (type(error), str(error)) == (
        NoAnswer,
        "Making the server: the connection to the cloud broke. Run again.",
    )
    assert said == []


def test_a_create_of_which_a_part_was_sent_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def breaks(*_: Any) -> None:
        tried.append("sent")
        raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol (_ssl.c:2427)")

    monkeypatch.setattr(ssl.SSLSocket, "sendall", breaks)
    with tls_server(tmp_path, monkeypatch, garbage_for_an_answer) as url:
        assert type(made(url, [])) is NoAnswer
    assert tried == ["sent"]


def test_what_may_be_repeated_is_when_tls_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with tls_server(tmp_path, monkeypatch, garbage_for_an_answer) as url:
        made(url, said, "GET")
    assert said == [
        "the connection to the cloud broke (GET /servers); trying again in 1 s",
        "the connection to the cloud broke (GET /servers); trying again in 2 s",
    ]


def test_a_create_before_which_the_handshake_failed_was_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with tls_server(tmp_path, monkeypatch, no_tls) as url:
        error = made(url, said)
    host = url.removeprefix("https://")
    assert (type(error), str(error)) == (
        CloudError,
        f"Making the server: {host} does not speak TLS. Check OS_AUTH_URL: is it http:// there?",
    )
    assert said == []


def test_a_create_whose_handshake_was_cut_off_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with tls_server(tmp_path, monkeypatch, the_end) as url:
        assert not isinstance(made(url, said), NoAnswer)
    assert said == [
        "no connection to the cloud (POST /servers); trying again in 1 s",
        "no connection to the cloud (POST /servers); trying again in 2 s",
    ]


@pytest.mark.parametrize(
    ("serve", "meaning"),
    [
        (a_reset, "hangs up before TLS has begun. Run again; if it stays so, check OS_AUTH_URL."),
        (_until_closed, "does not answer. Check the address in OS_AUTH_URL, and the firewalls on the way."),
    ],
)
def test_a_create_whose_handshake_came_to_nothing_was_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve, meaning: str
) -> None:
    monkeypatch.setattr(patience, "CONNECT_SECONDS", 0.2)
    said: list[str] = []
    with tls_server(tmp_path, monkeypatch, serve) as url:
        error = made(url, said)
    host = url.removeprefix("https://")
    assert (type(error), str(error)) == (
        NotYet,
        f"Making the server: the cloud cannot be reached. {host} {meaning}",
    )
    assert said == [
        "no connection to the cloud (POST /servers); trying again in 1 s",
        "no connection to the cloud (POST /servers); trying again in 2 s",
    ]


HOW = (
    "Mend that variable (http://host:port, or http://user:password@host:port with %2F for a / in these), or name"
    " auth.ovh.test in NO_PROXY."
)
SOCKS = (
    "names a SOCKS proxy, which takes a package that is not there. Put the address of an HTTP proxy (http://host:port),"
    " or run: .venv/bin/pip install pysocks"
)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_that_are_not_there_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"{tmp_path}/ca.pem")
    with pytest.raises(WrongVariable) as caught:
        check_environment("https://auth.cloud.ovh.net/v3")
    assert str(caught.value) == f"{variable} names {tmp_path}/ca.pem, which is not there. Mend or unset that variable."
    (tmp_path / "ca.pem").write_text("")
    check_environment("https://auth.cloud.ovh.net/v3")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "what"),
    [
        ("localhost:3128", f"is no address of a proxy. {HOW}"),
        ("user:not-to-be-shown@proxy.test:3128", f"is no address of a proxy. {HOW}"),
        ("garbage://", f"is no address of a proxy. {HOW}"),
        ("ftp://user:not-to-be-shown@proxy.test:21", f"is no address of a proxy. {HOW}"),
        ("http://[", f"is no address of a proxy. {HOW}"),
        ("http://user:not-to-be-shown@:3128", f"is no address of a proxy. {HOW}"),
        ("http://user:not-to-be-shown/@proxy.test:3128", f"is no address of a proxy. {HOW}"),
        ("http://user:not-to-be-shown…@proxy.test:3128", f"is no address of a proxy. {HOW}"),
        ("http://proxy.test:99999", f"is no address of a proxy. {HOW}"),
        ("http://proxy..test:3128", f"is no address of a proxy. {HOW}"),
        ("socks5://user:not-to-be-shown@127.0.0.1:1080", SOCKS),
        ("SOCKS5h://127.0.0.1:1080", SOCKS),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_and_its_password_is_not(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, what: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    said: list[str] = []
    error = made("https://auth.ovh.test", said)
    assert (type(error), str(error)) == (
        CloudError,
        f"Making the server: the cloud cannot be reached. {variable} {what}",
    )
    assert said == []
    assert "not-to-be-shown" not in "".join(format_exception(error))


def test_a_proxy_of_another_scheme_or_for_other_names_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "garbage://")
    monkeypatch.setenv("HTTP_PROXY", "garbage://")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as cloud:
        session = PatientSession(NoAuth(), pytest.fail)
        assert session.get(f"{cloud.url}/servers").status_code == 200
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.delenv("HTTP_PROXY")
        assert session.get(f"{cloud.url}/servers").status_code == 200
