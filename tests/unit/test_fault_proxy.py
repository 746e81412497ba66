"""The proxy that makes calls fail, between requests and a small server."""

import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
import requests
from fault_proxy import FaultProxy
from small_cloud import SmallCloud, running


@pytest.fixture
def cloud() -> Iterator[SmallCloud]:
    with running() as cloud:
        yield cloud


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> requests.Session:
    """One that keeps its connection, and obeys nothing else than the proxy."""
    client = requests.Session()
    client.trust_env = False
    client.proxies = {"http": proxy.url}
    return client


def test_calls_pass_unchanged_and_are_counted(cloud: SmallCloud, proxy: FaultProxy, client: requests.Session) -> None:
    cloud.answers_json("POST /servers?a=1&b=%20x", {"id": 7}, 202, **{"X-Compute-Request-Id": "req-1"})
    cloud.answers["DELETE /servers/7"] = 204, {}, b""
    cloud.answers |= {f"{method} /images": (300, {"Link": "a"}, b"many") for method in ("GET", "HEAD")}
    made = client.post(f"{cloud.url}/servers?a=1&b=%20x", json={"name": "x"})
    gone = client.delete(f"{cloud.url}/servers/7")
    seen = client.get(f"{cloud.url}/images", allow_redirects=False)
    head = client.head(f"{cloud.url}/images")
    assert (made.status_code, made.json(), made.headers["x-compute-request-id"]) == (202, {"id": 7}, "req-1")
    assert (gone.status_code, gone.content, "Content-Length" in gone.headers) == (204, b"", False)
    assert (seen.status_code, seen.content, seen.headers["Link"]) == (300, b"many", "a")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (300, b"", "4")
    assert proxy.calls == [("POST", "/servers"), ("DELETE", "/servers/7"), ("GET", "/images"), ("HEAD", "/images")]
    assert cloud.done == ["POST /servers?a=1&b=%20x", "DELETE /servers/7", "GET /images", "HEAD /images"]
    assert proxy.struck == []


def test_a_chunked_request_arrives_whole(cloud: SmallCloud, proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
    for _ in range(2):  # on one connection: what was not read of the first would be taken for the second
        connection.request("PUT", f"{cloud.url}/file", body=iter([b"ab", b"cde"]), encode_chunked=True)
        assert connection.getresponse().read() == b"{}"
    assert cloud.bodies == [b"abcde", b"abcde"]


@pytest.mark.parametrize(("action", "carried_out"), [("drop", []), ("cut", ["POST /servers"])])
def test_an_answer_is_lost_before_or_after_it_was_carried_out(
    cloud: SmallCloud, proxy: FaultProxy, client: requests.Session, action: str, carried_out: list[str]
) -> None:
    proxy.rule(action, "POST", "/servers$")  # type: ignore[arg-type]  # a literal, parametrized
    with pytest.raises(requests.ConnectionError):
        client.post(f"{cloud.url}/servers")
    assert cloud.done == carried_out
    assert proxy.struck == [("POST", "/servers")]


def test_the_nth_call_that_matches_is_answered_by_the_proxy(
    cloud: SmallCloud, proxy: FaultProxy, client: requests.Session
) -> None:
    proxy.rule("answer", "GET", r"name=x", nth=2, times=2, status=429, headers={"Retry-After": "1"}, body=b"slowly")
    asked = [client.get(f"{cloud.url}/{path}") for path in ("s?name=x", "s", "s?name=x", "s?name=x", "s?name=x")]
    assert [each.status_code for each in asked] == [200, 200, 429, 429, 200]
    assert (asked[2].headers["Retry-After"], asked[2].content) == ("1", b"slowly")
    assert cloud.done == ["GET /s?name=x", "GET /s", "GET /s?name=x"]


def test_of_calls_with_one_path_the_one_is_met_that_says_so_in_its_body(
    cloud: SmallCloud, proxy: FaultProxy, client: requests.Session
) -> None:
    proxy.rule("answer", "POST", "/action$", sent=rb'^{"resize"', status=503)
    asked = [client.post(f"{cloud.url}/action", data=body) for body in ('{"reboot": "resize"}', '{"resize": 4}')]
    assert [each.status_code for each in asked] == [200, 503]
    assert proxy.sent == [b'{"reboot": "resize"}', b'{"resize": 4}']
    assert cloud.bodies == [b'{"reboot": "resize"}']


def test_an_answer_comes_late_and_with_another_date(
    cloud: SmallCloud, proxy: FaultProxy, client: requests.Session
) -> None:
    proxy.rule("shift", seconds=-3600)
    proxy.rule("delay", nth=2, seconds=0.3)
    answer = client.get(f"{cloud.url}/a")
    assert 3598 < time.time() - parsedate_to_datetime(answer.headers["Date"]).timestamp() < 3603
    began = time.monotonic()
    assert client.get(f"{cloud.url}/b").ok
    assert 0.3 < time.monotonic() - began < 5


@pytest.mark.parametrize(("action", "carried_out"), [("kill", []), ("kill after", ["GET /b"])])
def test_a_process_is_killed_at_a_call(
    cloud: SmallCloud, proxy: FaultProxy, client: requests.Session, action: str, carried_out: list[str]
) -> None:
    proxy.rule(action, nth=2)  # type: ignore[arg-type]  # a literal, parametrized
    assert client.get(f"{cloud.url}/a").ok
    with subprocess.Popen(["sleep", "60"]) as victim:
        # it may become known only after its first call
        threading.Timer(0.1, setattr, (proxy, "victim", victim.pid)).start()
        with pytest.raises(requests.ConnectionError):
            client.get(f"{cloud.url}/b")
        assert victim.wait(10) == -9
    assert cloud.done == ["GET /a", *carried_out]


def test_where_nobody_listens_the_proxy_says_so(proxy: FaultProxy, client: requests.Session) -> None:
    answer = client.get("http://127.0.0.1:9/")
    assert answer.status_code == 502
    assert b"ConnectionRefusedError" in answer.content
