"""What a session does about each fault: real requests to a small server, through a proxy that makes them fail."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from fault_proxy import FaultProxy
from keystoneauth1 import exceptions as keystone
from keystoneauth1.identity.v3 import Password
from keystoneauth1.noauth import NoAuth
from openstack import exceptions as sdk
from small_cloud import SmallCloud, running

from cloud.api import patience
from cloud.api.explain import explained
from cloud.api.patience import PatientSession
from cloud.trouble import CloudError, NoAnswer, NotYet

GET, PUT, DELETE, POST, LOGIN = "GET /servers", "PUT /servers", "DELETE /servers", "POST /servers", "POST /auth/tokens"


@dataclass
class Situation:
    """A session, what it reaches, and what it said."""

    cloud: SmallCloud
    proxy: FaultProxy
    said: list[str] = field(default_factory=list)
    traced: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the session."""
        self.session = PatientSession(NoAuth(), self.said.append, self.traced.append)

    def ask(self, what: str = GET, **more: Any) -> int:
        """Ask the cloud, and return the status."""
        method, path = what.split(" ")
        return int(self.session.request(f"{self.cloud.url}{path}", method, raise_exc=False, **more).status_code)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Situation]:
    for variable in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with running() as cloud, FaultProxy() as proxy:
        situation = Situation(cloud, proxy)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setattr(patience, "sleep", situation.slept.append)
        yield situation


BROKE = "the connection to the cloud broke ({}); trying again in {} s"
FAILED = "the cloud failed (503 on {}); trying again in {} s"
SLOW = "the cloud asks to wait {} s (429 on {}); trying again"
MANY = "the cloud asks for fewer requests (429 on {}); trying again in {} s"
AFTER_2 = {"status": 429, "headers": {"Retry-After": "2"}}


@pytest.mark.parametrize(
    ("what", "fault", "lines", "carried_out"),
    [
        (GET, {"action": "drop"}, [BROKE.format(GET, 1)], 1),
        (GET, {"action": "cut", "times": 2}, [BROKE.format(GET, 1), BROKE.format(GET, 2)], 3),
        (GET, {"action": "answer", "status": 503, "times": 2}, [FAILED.format(GET, 1), FAILED.format(GET, 2)], 1),
        (GET, {"action": "answer", **AFTER_2}, [SLOW.format(2, GET)], 1),
        (GET, {"action": "answer", "status": 429}, [MANY.format(GET, 1)], 1),
        (PUT, {"action": "drop"}, [BROKE.format(PUT, 1)], 1),
        (DELETE, {"action": "cut"}, [BROKE.format(DELETE, 1)], 2),
        (LOGIN, {"action": "cut"}, [BROKE.format(LOGIN, 1)], 2),
        (LOGIN, {"action": "answer", "status": 503}, [FAILED.format(LOGIN, 1)], 1),
        (POST, {"action": "answer", **AFTER_2}, [SLOW.format(2, POST)], 1),
    ],
)
def test_a_fault_that_passes_is_shown_and_waited_for(
    here: Situation, what: str, fault: dict[str, Any], lines: list[str], carried_out: int
) -> None:
    here.proxy.rule(**fault)
    assert here.ask(what) == 200
    assert here.said == lines
    assert here.cloud.done == [what] * carried_out
    assert len(here.slept) == len(lines)


@pytest.mark.parametrize(
    ("what", "fault", "status"),
    [
        (POST, {"status": 500}, 500),
        (POST, {"status": 503}, 503),
        (GET, {"status": 404}, 404),
        (GET, {"status": 409}, 409),
        (GET, {"status": 501}, 501),
    ],
)
def test_an_answer_that_is_final_is_given_at_once(
    here: Situation, what: str, fault: dict[str, Any], status: int
) -> None:
    here.proxy.rule("answer", **fault)
    assert here.ask(what) == status
    assert (here.said, here.slept, here.cloud.done) == ([], [], [])


@pytest.mark.parametrize(("action", "carried_out"), [("drop", []), ("cut", [POST])])
def test_a_create_whose_answer_was_lost_is_the_callers(here: Situation, action: Any, carried_out: list[str]) -> None:
    here.proxy.rule(action)
    with pytest.raises(NoAnswer) as caught, explained("Making the server"):
        here.ask(POST)
    assert str(caught.value) == "Making the server: the connection to the cloud broke. Run again."
    assert (here.said, here.cloud.done) == ([], carried_out)


def test_reading_a_console_is_no_create(here: Situation) -> None:
    here.proxy.rule("cut")
    assert here.ask("POST /servers/7/action", json={"os-getConsoleOutput": {"length": None}}) == 200
    assert here.said == [BROKE.format("POST /servers/7/action", 1)]
    here.proxy.rule("cut", nth=1)
    with pytest.raises(keystone.ConnectFailure):
        here.ask("POST /servers/7/action", json={"resize": {"flavorRef": "os-getConsoleOutput"}})
    assert here.cloud.done == ["POST /servers/7/action"] * 3


def test_a_create_that_was_never_sent_is_tried_again(here: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PROXY")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NotYet) as caught, explained("Making the server"):
        here.session.post(f"http://127.0.0.1:{port}/servers")
    assert type(caught.value) is NotYet
    assert str(caught.value) == (
        "Making the server: the cloud cannot be reached. Nothing listens at"
        f" 127.0.0.1:{port}. Check the address and the port in OS_AUTH_URL."
    )
    assert here.said == [
        "no connection to the cloud (POST /servers); trying again in 1 s",
        "no connection to the cloud (POST /servers); trying again in 2 s",
    ]


def test_patience_ends_after_six_tries(here: Situation) -> None:
    here.ask()
    here.proxy.rule("answer", status=503, times=99)
    assert here.ask() == 503
    assert here.slept == [1, 2, 4, 8, 16]
    assert len(here.proxy.struck) == 6


def test_a_cloud_that_never_answered_is_given_up_after_three(here: Situation) -> None:
    here.proxy.rule("drop", times=99)
    with pytest.raises(keystone.ConnectFailure):
        here.ask()
    assert here.slept == [1, 2]


def test_no_try_begins_after_the_time_is_up(here: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SECONDS", 3)
    here.ask()
    here.proxy.rule("answer", status=503, times=99)
    assert here.ask() == 503
    assert here.slept == [1, 2]


@pytest.mark.parametrize("seconds", ["61", "3600"])
def test_a_wait_that_is_too_long_is_not_begun(here: Situation, seconds: str) -> None:
    here.proxy.rule("answer", status=429, headers={"Retry-After": seconds})
    with pytest.raises(CloudError) as caught, explained("Reading the servers"):
        here.session.get(f"{here.cloud.url}/servers")
    assert str(caught.value) == (
        f"Reading the servers: the cloud asks for fewer requests (429). Wait {seconds} s, then run again."
    )
    assert type(caught.value) is CloudError  # so that no loop around it goes on asking
    assert (here.said, here.slept) == ([], [])


def test_a_retry_after_may_be_a_date(here: Situation) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    here.proxy.rule("answer", status=503, headers={"Retry-After": until})
    assert here.ask() == 200
    assert 28 <= here.slept[0] <= 30


@pytest.mark.parametrize("wait", ["²", "٣", "Sat, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_retry_after_that_is_none_is_left_alone(wait: str) -> None:
    answer = requests.Response()
    answer.status_code = 429
    answer.headers["Retry-After"] = wait
    assert patience.retry_after(answer) is None
    with pytest.raises(NotYet) as caught, explained("Asking"):
        raise sdk.HttpException(response=answer)
    assert str(caught.value) == "Asking: the cloud asks for fewer requests (429). Wait a minute, then run again."


@pytest.mark.parametrize(
    "date",
    [
        "Sat, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Sat, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "Sat, 01 Jan 10000 00:00:00 GMT",
        "Sat, 01 Jan 2026 00:00:00 +99999999999999999999",
    ],
)
def test_a_date_that_is_none_is_left_alone(here: Situation, date: str) -> None:
    here.cloud.dates = False
    here.cloud.answers["GET /servers"] = 200, {"Date": date}, b"{}"
    assert here.ask() == 200
    assert here.session.clock_ahead is None


@pytest.mark.parametrize(
    ("what", "lines"),
    [(GET, ["no answer from the cloud for 0.2 s (GET /servers); trying again in 1 s"]), (POST, [])],
)
def test_a_cloud_that_takes_requests_and_never_answers(
    here: Situation, monkeypatch: pytest.MonkeyPatch, what: str, lines: list[str]
) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", 0.2)
    monkeypatch.setattr(patience, "MAKE_SECONDS", 0.2)
    monkeypatch.setattr(patience, "FIRST_TRIES", 2)
    here.proxy.rule("delay", seconds=60, times=99)
    with pytest.raises(NoAnswer) as caught, explained("Asking"):
        here.ask(what)
    assert str(caught.value).startswith("Asking: the cloud took the request and gave no answer in time.")
    assert here.said == lines


def test_an_answer_that_breaks_off_is_asked_for_again(here: Situation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PROXY")
    here.cloud.breaks_off = 1
    assert here.ask() == 200
    assert here.said == [BROKE.format(GET, 1)]


def test_each_request_leaves_a_line_without_secrets(here: Situation) -> None:
    here.cloud.answers["GET /servers?name=x"] = 200, {"X-Compute-Request-Id": "req-7"}, b"{}"
    here.proxy.rule("cut", nth=2)
    headers = {"X-Auth-Token": "not-to-be-shown"}
    here.ask("GET /servers?name=x", headers=headers)
    with pytest.raises(keystone.ConnectFailure):
        here.ask(POST, headers=headers, json={"adminPass": "not-to-be-shown"})
    first, second = ([word for word in line.split(" ") if not word.isdigit()] for line in here.traced)
    assert first == ["GET", "/servers?name=x", "ms", "req-7"]
    assert second == ["POST", "/servers", "ProxyError", "ms"]
    assert [line.split(" ")[2] for line in here.traced] == ["200", "ProxyError"]
    assert "not-to-be-shown" not in "".join(here.traced + here.said)


def keystone_in(cloud: SmallCloud) -> Password:
    """An account of a Keystone that gives tokens in this cloud."""
    token = {"user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}}, "methods": ["password"]}
    token |= {"expires_at": "2100-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T00:00:00.000000Z"}
    cloud.answers_json("POST /v3/auth/tokens", {"token": token}, 201, **{"X-Subject-Token": "not-to-be-shown"})
    return Password(f"{cloud.url}/v3", username="u", password="not-to-be-shown", user_domain_id="d", unscoped=True)


def test_a_token_that_was_revoked_is_replaced_once(here: Situation) -> None:
    session = PatientSession(keystone_in(here.cloud), here.said.append, here.traced.append)
    session.get(f"{here.cloud.url}/a")
    here.proxy.rule("answer", "POST", "/servers", status=401)
    session.post(f"{here.cloud.url}/servers")
    assert here.cloud.done == ["POST /v3/auth/tokens", "GET /a", "POST /v3/auth/tokens", "POST /servers"]
    here.proxy.rule("answer", "GET", "/b", status=401, times=99)
    with pytest.raises(keystone.Unauthorized):
        session.get(f"{here.cloud.url}/b")
    assert here.proxy.calls[-3:] == [("GET", "/b"), ("POST", "/v3/auth/tokens"), ("GET", "/b")]
    assert "not-to-be-shown" not in "".join(here.traced)


def test_a_login_in_the_middle_does_not_multiply_the_tries(here: Situation) -> None:
    session = PatientSession(keystone_in(here.cloud), here.said.append)
    session.get(f"{here.cloud.url}/a")
    session.invalidate()
    here.proxy.rule("answer", "POST", "/auth/tokens", status=503, times=99)
    with pytest.raises(keystone.ServiceUnavailable):
        session.get(f"{here.cloud.url}/a")
    assert len(here.proxy.struck) == 6
    assert here.cloud.done.count("GET /a") == 1
