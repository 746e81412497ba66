"""Who is told of what, and how often."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from koprogo import config as configuration
from koprogo.alerts import notify, outbox
from koprogo.alerts.channels import Channels, Message
from koprogo.config import Config, Limits
from koprogo.health import stuck, troubles
from koprogo.problem import Problem
from koprogo.state import Check, Deployed, Entry, Outcome, State

NEW, OLD = "a" * 40, "b" * 40
AT = 1_795_000_000.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What was sent."""
    found: list[Message] = []
    monkeypatch.setattr(outbox, "tell", lambda _config, messages: found.extend(messages))
    return found


def config(tmp_path: Path, text: str | None, **more: Any) -> Config:
    path = tmp_path / "alerts.json"
    if text is not None:
        path.write_text(text)
    data: dict[str, Any] = {
        "repository": "https://git.test/a.git", "branch": "main", "checkout": "/home/koprogo/koprogo",
        "compose_file": "/home/koprogo/koprogo/compose.yml", "env_file": "/home/koprogo/koprogo/.env",
        "image_tag": "main-{sha7}", "health_urls": [], "database_service": "postgres", "backup_dir": str(tmp_path),
        "backup_days": 7, "state_dir": str(tmp_path), "alerts_file": str(path),
    }  # fmt: skip
    return configuration.parse(data | more)


def entry(result: Outcome, **more: Any) -> Entry:
    return Entry("1", AT, NEW, result, "Add a page", "timer", 31.4, **more)


def state() -> State:
    return State(deployed=Deployed(OLD, "main-bbbbbbb", AT, "", "koprogo", {}))


class Full(Exception):
    """The disk is full."""


@pytest.mark.parametrize("problem", ["down", None])
def test_nobody_is_told_twice_where_it_cannot_be_noted_and_nobody_never(
    tmp_path: Path, told: list[Message], problem: str | None
) -> None:
    """A disk that fills, or a kill, at each time that something is noted."""
    last = checks(tmp_path, [(0, "down"), (61, "down")] if problem is None else [(0, "down")])[-1]
    told.clear()
    check = Check(AT + 64 * 60, OLD, problem)

    def full(_check: Check) -> None:
        raise Full

    for _ in range(3):
        with pytest.raises(Full):
            stuck.tell(config(tmp_path, None), last, check, full)
    assert told == []
    noted: list[Check] = []

    def once(check: Check) -> None:
        if noted:
            raise Full
        noted.append(check)

    with pytest.raises(Full):
        stuck.tell(config(tmp_path, None), last, check, once)
    assert len(told) == 1
    stuck.tell(config(tmp_path, None), noted[0], replace(check, at=check.at + 180), noted.append)
    assert [message.title for message in told] == ["deploys are stuck" if problem else "deploys go on again"] * 2
    stuck.tell(config(tmp_path, None), noted[-1], replace(check, at=check.at + 360), noted.append)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("made", "title", "good"),
    [
        (entry(Outcome.DEPLOYED), "aaaaaaa is live", True),
        (
            entry(Outcome.UNDONE, reason="backend: unhealthy"),
            "aaaaaaa failed and was undone; bbbbbbb runs again",
            False,
        ),
        (entry(Outcome.FAILED, reason="backend: exited"), "aaaaaaa failed, and nothing went back by itself", False),
        (entry(Outcome.REFUSED, reason="not signed"), "aaaaaaa is not deployed; bbbbbbb goes on running", False),
    ],
)
def test_what_a_deploy_tells(made: Entry, title: str, good: bool) -> None:
    (message,) = notify.of_deploys([made], state())
    assert (message.title, message.good) == (title, good)
    assert "Add a page" in message.text
    assert made.reason in message.text
    assert ("sudo koprogo status" in message.text) is not good


def test_settings_and_commits_that_were_overtaken_are_not_told() -> None:
    assert notify.of_deploys([entry(Outcome.APPLIED), entry(Outcome.OVERTAKEN)], state()) == []


def test_channels_that_cannot_be_read_are_a_line_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = Message("aaaaaaa is live", "", good=True, at=AT)
    assert notify.tell(config(tmp_path, None), [message]) is False
    assert "“aaaaaaa is live” was not sent: " in capsys.readouterr().err
    assert notify.tell(config(tmp_path, '{"webhook": "https://h/s3cret"}'), [message]) is False
    said = capsys.readouterr().err
    assert "alerts.json is damaged" in said
    assert "s3cret" not in said
    assert notify.tell(replace(config(tmp_path, None), alerts_file=None), [message]) is True
    with pytest.raises(Problem, match="No alerts are set up"):
        notify.test(replace(config(tmp_path, None), alerts_file=None))


def test_a_message_that_arrives_by_one_way_has_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = config(tmp_path, json.dumps({"server": "koprogo.test"}))
    message = Message("aaaaaaa is live", "", good=True, at=AT)
    for results, arrived in (
        ({"mail": None, "webhook": "HTTP 500"}, True),
        ({"mail": "refused", "webhook": "HTTP 500"}, False),
    ):
        monkeypatch.setattr(notify, "send", lambda _there, _message, results=results: results)
        assert notify.tell(there, [message]) is arrived


def test_a_way_that_does_not_work_while_another_does_is_known_until_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = config(tmp_path, json.dumps({"server": "koprogo.test"}))
    monkeypatch.setattr(Channels, "ways", {"mail": print, "webhook at h": print})
    message = Message("aaaaaaa is live", "", good=True, at=AT)
    known: dict[str, str] = {}
    for mail, webhook, known in (
        (None, None, {}),
        ("refused", "HTTP 500", {}),  # the server itself may be cut off
        (None, "HTTP 404", {"webhook at h": "HTTP 404"}),
        ("refused", "HTTP 500", {"webhook at h": "HTTP 404"}),
        ("refused", None, {"mail": "refused"}),
        (None, None, {}),
        (None, "HTTP 410", {"webhook at h": "HTTP 410"}),
    ):
        results = {"mail": mail, "webhook at h": webhook}
        monkeypatch.setattr(notify, "send", lambda _there, _message, results=results: results)
        notify.tell(there, [message])
        assert notify.broken(there) == known
    assert [trouble.text for trouble in troubles.of_alerts(known)] == [
        "alerts do not arrive by webhook at h: HTTP 410; see `koprogo health --test-alert`"
    ]
    monkeypatch.setattr(Channels, "ways", {"mail": print})
    assert notify.broken(there) == {}
    monkeypatch.setattr(Channels, "ways", {"mail": print, "webhook at h": print})
    monkeypatch.setattr(notify, "send", lambda *_: {"mail": None, "webhook at h": None})
    assert notify.test(there) == 0
    assert notify.broken(there) == {}


def test_a_way_that_never_ends_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PATIENCE", 0.05)
    there = Channels("koprogo.test", webhook="https://h/s3cret")
    monkeypatch.setattr(Channels, "ways", {"webhook at h": lambda _message: __import__("threading").Event().wait(5)})
    assert notify.send(there, Message("t", "", good=True, at=AT)) == {"webhook at h": "no end within 0.05 s"}


def checks(tmp_path: Path, problems: list[tuple[int, str | None]]) -> list[Check]:
    """What is noted in the end of each check: minute and problem."""
    found: list[Check] = []
    for minute, problem in problems:
        noted: list[Check] = []
        last = found[-1] if found else None
        stuck.tell(config(tmp_path, None), last, Check(AT + minute * 60, OLD, problem), noted.append)
        found.append(noted[-1])
    return found


def test_somebody_is_told_once_when_deploys_are_stuck_for_an_hour_and_when_they_go_on(
    tmp_path: Path, told: list[Message]
) -> None:
    checks(tmp_path, [(0, None), (3, "down"), (62, "down"), (63, "other"), (66, "down"), (300, "down"), (303, None)])
    assert [(m.title, m.good, m.at) for m in told] == [
        ("deploys are stuck", False, AT + 63 * 60),
        ("deploys go on again", True, AT + 303 * 60),
    ]
    assert "other" in told[0].text
    assert "down" not in told[0].text


def test_nobody_is_told_of_what_passes(tmp_path: Path, told: list[Message]) -> None:
    last = checks(tmp_path, [(0, "down"), (50, "down"), (53, None), (56, "down"), (110, "down")])[-1]
    assert told == []
    assert last.since == AT + 56 * 60


def test_a_clock_that_was_set_back_does_not_put_it_off_for_ever(tmp_path: Path, told: list[Message]) -> None:
    checks(tmp_path, [(600, "down"), (0, "down"), (59, "down")])
    assert told == []
    checks(tmp_path, [(600, "down"), (0, "down"), (60, "down")])
    assert [m.title for m in told] == ["deploys are stuck"]


def test_the_limits_of_the_operator_are_read_and_others_are_usual(tmp_path: Path) -> None:
    assert config(tmp_path, None).limits == Limits(90, 14, 2, 6)
    data = {"limits": {"disk_percent": 80, "checks": 3, "of a later version": 1}}
    assert config(tmp_path, None, **data).limits == Limits(80, 14, 3, 6)
