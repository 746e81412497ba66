"""Messages that nobody took, and health checks that have a hard time: what is remembered, and what is told."""

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from koprogo import lock, log, report
from koprogo.alerts import notify, outbox
from koprogo.alerts.channels import Message
from koprogo.backups.backup_state import BackupState, Run
from koprogo.config import Config, Limits
from koprogo.health import health, machine, memory, metrics, record
from koprogo.health.flapping import Counted
from koprogo.health.machine import Machine
from koprogo.health.memory import Memory
from koprogo.health.watch import Alarm, News, Watch
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.state import Attempt, Bad, Check, State, Step
from koprogo.web import Answer
from test_koprogo_health import BACKEND
from test_koprogo_notify import config

NOW = 1_795_000_000.0
BAD = Report(NOW, State(), (), None, (), (), None, 0.97, 10**9)
"""Nothing was deployed, never looked at, and the disk is full."""
MACHINE = Machine(memory_free=0.5, swap_used=0.1, inodes_used=0.2, load=0.3, out_of_memory=0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(memory, "SPARE", tmp_path / "spare")
    return config(tmp_path, json.dumps({"server": "koprogo.test"}))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of what was sent; `monkeypatch` what takes it."""
    found: list[str] = []

    def tell(_config: Config, messages: list[Message]) -> bool:
        found.extend(message.title for message in messages)
        return True

    monkeypatch.setattr(notify, "tell", tell)
    return found


def message(number: int) -> Message:
    return Message(f"message {number}", "text", good=False, at=NOW + number)


def test_what_nobody_took_is_sent_again_in_order_until_somebody_does(
    server: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    takes = {"message 1"}

    def tell(_config: Config, messages: list[Message]) -> bool:
        tried.extend(one.title for one in messages)
        return messages[0].title in takes

    monkeypatch.setattr(notify, "tell", tell)
    monkeypatch.setattr("time.time", lambda: NOW + 60)
    outbox.tell(server, [message(2), message(1), message(3)])
    assert tried == ["message 2", "message 1", "message 3"]
    tried.clear()
    outbox.send_again(server)
    assert tried == ["message 2"]
    takes |= {"message 2", "message 3"}
    tried.clear()
    outbox.send_again(server)
    outbox.send_again(server)
    assert tried == ["message 2", "message 3"]


def test_the_outbox_keeps_the_newest_for_a_day(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    with monkeypatch.context() as nobody:
        nobody.setattr(notify, "tell", lambda _config, _messages: False)
        outbox.tell(server, [message(number) for number in range(25)])
    kept = sorted((server.state_dir / "outbox").iterdir())
    assert [json.loads(path.read_bytes())["title"] for path in (kept[0], kept[-1])] == ["message 5", "message 24"]
    assert len(kept) == 20
    assert kept[0].stat().st_mode & 0o777 == 0o640
    kept[0].write_text("no JSON")
    monkeypatch.setattr("time.time", lambda: NOW + 86400 + 22)
    outbox.send_again(server)
    assert sent == ["message 22", "message 23", "message 24"]
    assert list((server.state_dir / "outbox").iterdir()) == []


def test_a_disk_that_is_full_keeps_no_message_and_ends_no_deploy(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notify, "tell", lambda _config, _messages: False)
    monkeypatch.setattr(outbox, "write_durably", full)
    outbox.tell(server, [message(1)])
    assert "“message 1” cannot be kept for later: x: No space left on device." in capsys.readouterr().err


def full(*_: Any) -> None:
    raise Problem("x: No space left on device.")


def checks(server: Config, monkeypatch: pytest.MonkeyPatch, found: list[Report | str], first: float = NOW) -> None:
    """Health checks five minutes apart; a text is why one cannot look."""
    monkeypatch.setattr(machine, "look", lambda *_: MACHINE)
    for number, one in enumerate(found):

        def collect(
            _config: Config, *, public: bool, one: Report | str = one, at: float = first + 300 * number
        ) -> Report:
            assert public
            if isinstance(one, str):
                raise Problem(one)
            return replace(one, now=at)

        monkeypatch.setattr(report, "collect", collect)
        monkeypatch.setattr("time.time", lambda at=first + 300 * number: at)
        assert health.run(server) == 1


def test_a_full_disk_is_told_once_although_nothing_new_can_be_written(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    checks(server, monkeypatch, [replace(BAD, disk_used=0.5)] * 3)
    sent.clear()
    monkeypatch.setattr(memory, "write_durably", full)
    checks(server, monkeypatch, [BAD] * 6)
    assert sent == ["a disk is 97% full (1.0 GB free); see `df -h`"]
    assert (server.state_dir / "health.json").stat().st_size == 32768


def where_it_can_be(do: Callable[..., Any]) -> Callable[..., Any]:
    """Do it in the folder in memory alone."""

    def attempt(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.parent.name != "spare":
            raise Problem(f"{path}: Read-only file system.")
        return do(path, *arguments, **more)

    return attempt


def refused(**_: Any) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("lock_too", [False, True])
def test_a_disk_that_became_read_only_is_told_once_and_is_over_once(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], lock_too: bool
) -> None:
    checks(server, monkeypatch, [replace(BAD, disk_used=0.5)] * 3)
    sent.clear()
    known = (server.state_dir / "health.json").read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(tempfile, "TemporaryFile", refused)
        broken.setattr(memory, "write_durably", where_it_can_be(memory.write_durably))
        broken.setattr(memory, "_written_over", lambda *_: False)
        if lock_too:
            broken.setattr(lock, "exclusive", where_it_can_be(lock.exclusive))
        checks(server, broken, [replace(BAD, disk_used=0.5)] * 6, NOW + 900)
    assert [title.partition(":")[0] for title in sent] == [f"nothing can be written to {server.state_dir}"]
    assert (server.state_dir / "health.json").read_bytes() == known
    checks(server, monkeypatch, [replace(BAD, disk_used=0.5)] * 3, NOW + 2700)
    assert [title.partition(":")[0] for title in sent[1:]] == ["over"]
    assert list(memory.SPARE.glob("*.json")) == []


def test_what_has_no_room_on_a_full_disk_is_remembered_in_memory(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (server.state_dir / memory.FILE).write_text("short")
    monkeypatch.setattr(memory, "write_durably", where_it_can_be(memory.write_durably))
    memory.save(server.state_dir, Memory(out_of_memory=7))
    assert (server.state_dir / memory.FILE).read_text() == "short"
    assert memory.load(server.state_dir).out_of_memory == 7
    assert "health.json: Read-only file system" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EIO, True)])
def test_a_disk_that_is_full_is_told_of_as_one_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: bool
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(number, os.strerror(number))

    assert memory.unwritable(tmp_path) is None
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert memory.unwritable(tmp_path) == (f"{tmp_path}: Input/output error" if said else None)


def test_a_folder_in_memory_that_is_somebody_elses_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1000, 1000)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("theirs", "link"):
        monkeypatch.setattr(memory, "SPARE", tmp_path / name)
        with pytest.raises(Problem, match="is not this user's"):
            memory.spare()


def test_a_check_that_cannot_look_is_told_and_forgets_nothing(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    beats: list[Config] = []
    monkeypatch.setattr(health, "_beat", beats.append)
    checks(server, monkeypatch, [BAD, BAD, "state.json is damaged.", "state.json is damaged.", BAD, BAD])
    assert sent == [
        "3 things are wrong",
        "this server cannot look after itself: state.json is damaged",
        "over: this server cannot look after itself: state.json is damaged",
    ]
    assert len(beats) == 4
    assert "PROBLEM this server cannot look after itself: state.json is damaged\n" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"watch": 1}', "\xff", '{"watch": {"alarms": [{"key": 1}]}}'])
def test_a_damaged_memory_is_begun_anew(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], text: str
) -> None:
    (server.state_dir / "health.json").write_text(text, encoding="latin-1")
    assert memory.load(server.state_dir) == Memory()
    checks(server, monkeypatch, [BAD, BAD])
    assert sent == ["3 things are wrong"]


def test_what_is_remembered_survives_the_file(server: Config) -> None:
    made = Memory(
        Watch((Alarm("disk", "a disk is full", 1.0, 3, 0, 2.0),), 2.0),
        (News("t", ("a", "b"), good=True, at=4.0),),
        7,
        5.0,
        (Counted(3.0, {"1a2b3c4d5e6f": 2}),),
    )
    memory.save(server.state_dir, made)
    assert memory.load(server.state_dir) == made
    assert memory.load(server.state_dir).unsent[0].at == 4.0


@pytest.mark.parametrize(("checked", "titles"), [(4, ["3 things are wrong"]), (300, [])])
def test_what_nobody_takes_stops_the_sign_of_life_comes_later_with_its_own_time_and_not_after_a_day(
    server: Config, monkeypatch: pytest.MonkeyPatch, checked: int, titles: list[str]
) -> None:
    taken: list[Message] = []
    beats: list[Config] = []
    monkeypatch.setattr(health, "_beat", beats.append)
    monkeypatch.setattr(notify, "tell", lambda *_: False)
    patient = replace(server, limits=Limits(remind_hours=168))
    checks(patient, monkeypatch, [BAD] * checked)
    assert len(beats) == 1 + max(0, checked - 290)

    def tell(_config: Config, messages: list[Message]) -> bool:
        taken.extend(messages)
        return True

    monkeypatch.setattr(notify, "tell", tell)
    checks(patient, monkeypatch, [BAD], NOW + 300 * checked)
    assert [message.title for message in taken] == titles
    assert [message.at for message in taken] == [NOW + 300] * len(titles)
    assert all(f"Found at {log.minute(NOW + 300)}. On the server: sudo" in message.text for message in taken)
    assert len(beats) == 2 + max(0, checked - 290)


def test_a_deploy_that_goes_on_is_why_the_site_is_down_for_an_hour_and_no_longer(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    begun = State(attempt=Attempt("a" * 40, Step.STARTED, NOW - 3000))
    down = replace(BAD, state=begun, answers=(Answer("https://koprogo.test", "HTTP 502"),), at_work=True)
    checks(server, monkeypatch, [down] * 2)
    assert sent == ["2 things are wrong"]  # nothing was deployed, and the disk
    checks(server, monkeypatch, [down] * 3, NOW + 900)
    assert sent[1:] == ["2 things are wrong"]  # the address, and that the branch is not looked at


@pytest.mark.parametrize(
    "state",
    [
        State(check=Check(NOW + 300, None, "Git server: down")),
        State(check=Check(NOW + 300, "b" * 40), quarantine=(Bad("b" * 40, "sick", NOW),)),
    ],
)
def test_what_the_deploys_tell_themselves_is_not_told_again(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], state: State
) -> None:
    checks(server, monkeypatch, [replace(BAD, state=state)] * 3)
    assert sent == ["2 things are wrong"]
    assert [alarm.key for alarm in memory.load(server.state_dir).watch.told] == ["deployed", "disk"]


@pytest.mark.parametrize("unwritable", [None, "/var/lib/koprogo: Read-only file system"])
def test_a_check_sends_what_a_deploy_could_not_where_it_can_be_taken_away_afterwards(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], unwritable: str | None
) -> None:
    with monkeypatch.context() as nobody:
        nobody.setattr(notify, "tell", lambda *_: False)
        outbox.tell(server, [message(1)])
    monkeypatch.setattr(memory, "unwritable", lambda _folder: unwritable)
    checks(server, monkeypatch, [BAD])
    assert sent == ([] if unwritable else ["message 1"])


def test_a_clock_that_was_set_back_ends_what_the_kernel_did_an_hour_later(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory.save(server.state_dir, Memory(out_of_memory=0, out_of_memory_at=NOW + 86400))
    checks(server, monkeypatch, [BAD])
    assert "the kernel ended a program" in capsys.readouterr().err
    checks(server, monkeypatch, [BAD], NOW + 3600)
    assert "the kernel ended a program" not in capsys.readouterr().err


def test_twenty_messages_wait_the_newest(server: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "tell", lambda *_: False)
    waiting = tuple(News(f"{number}", ("x",), good=False, at=NOW) for number in range(25))
    memory.save(server.state_dir, Memory(unsent=waiting))
    checks(server, monkeypatch, [BAD])
    assert [one.title for one in memory.load(server.state_dir).unsent] == [f"{number}" for number in range(5, 25)]


def test_a_check_looks_at_everything_and_writes_it_down_for_prometheus(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    (server.state_dir / "alerts.json").write_text('{"server": "koprogo.test", "webhook": "https://h/x"}')
    (server.state_dir / notify.WAYS).write_text('{"webhook at h": "HTTP 404"}')
    memory.save(server.state_dir, Memory(counted=(Counted(NOW - 300, {BACKEND.id: 0}),)))
    failed = BackupState(backup=Run(NOW, 1.0, "", "pg_dumpall failed"), good_drill=Run(NOW, 1.0))
    found = replace(
        BAD, state=State(first_deployed=NOW), runs=failed, containers=(replace(BACKEND, restarts=3),), disk_used=0.1
    )
    attention = []
    for number in range(2):
        checks(server, monkeypatch, [found], NOW + 300 * number)
        last = record.load(server.state_dir)[0].last
        attention.append(last is not None and last.attention)
    assert attention == [False, True]  # for visitors, once somebody was told
    told = {alarm.key for alarm in memory.load(server.state_dir).watch.told}
    assert told == {
        "deployed", "checks", "backup run", "alerts webhook at h", "container backend restarts",
    }  # fmt: skip
    text = (server.state_dir / metrics.FILE).read_text()
    assert re.findall('koprogo_alert{key="(.*)"} 1', text) == sorted(told)


def test_a_program_may_ask_as_often_as_it_likes(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    checks(server, monkeypatch, [BAD])
    known = sorted((path.name, path.stat().st_mtime_ns) for path in server.state_dir.iterdir())
    capsys.readouterr()
    with lock.exclusive(server.state_dir / "health.lock", wait=False):
        for _ in range(3):
            assert health.run(server, as_json=True) == 1
            said = json.loads(capsys.readouterr().out)
            assert [trouble["key"] for trouble in said["troubles"]] == ["deployed", "checks", "disk"]

    def cannot(*_: Any, **__: Any) -> None:
        raise Problem("state.json is damaged.")

    monkeypatch.setattr(report, "collect", cannot)
    assert health.run(server, as_json=True) == 1
    blind = json.loads(capsys.readouterr().out)
    assert list(blind) == list(said)
    assert [trouble["key"] for trouble in blind["troubles"]] == ["health"]
    assert sent == []
    assert known == sorted((path.name, path.stat().st_mtime_ns) for path in server.state_dir.iterdir())


def test_what_the_kernel_ended_since_a_boot_counts_though_it_was_more_before(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(killed: int, before: int) -> bool:
        memory.save(server.state_dir, Memory(out_of_memory=before))
        monkeypatch.setattr(machine, "look", lambda *_: replace(MACHINE, out_of_memory=killed))
        assert health.run(server) == 1
        return "the kernel ended a program" in capsys.readouterr().err

    checks(server, monkeypatch, [BAD])
    assert [ends(0, 3), ends(3, 3), ends(5, -1)] == [False] * 3
    assert [ends(4, 3), ends(2, 3)] == [True] * 2


def test_one_message_that_is_never_taken_does_not_keep_the_others(
    server: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def tell(_config: Config, messages: list[Message]) -> bool:
        (one,) = messages
        if one.title.startswith("never"):
            return False
        taken.append(one.title)
        return True

    monkeypatch.setattr(notify, "tell", tell)
    waiting = tuple(News(title, ("x",), good=False, at=NOW) for title in ("never 1", "a", "b", "never 2", "c", "d"))
    assert [one.title for one in health._send(server, waiting, NOW)] == ["never 1", "never 2", "c", "d"]
    assert taken == ["a", "b"]


def test_without_a_way_a_check_says_that_nobody_is_told(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks(replace(server, alerts_file=None), monkeypatch, [BAD])
    line = "Alerts go nowhere (no ALERT_EMAIL, no ALERT_WEBHOOK_URL).\n"
    assert capsys.readouterr().out.split(" ", 1)[1] == line
    heartbeat = json.dumps({"server": "koprogo.test", "heartbeat": "https://h"})
    for text in ('{"server": "koprogo.test"}', heartbeat):
        assert notify.nobody(config(server.state_dir, text)) == line[0].lower() + line[1:-2]
    assert notify.nobody(config(server.state_dir, '{"server": "k", "webhook": "https://h/s3cret"}')) == ""
    assert notify.nobody(config(server.state_dir, "s3cret")).startswith("alerts go nowhere (/")
    assert "s3cret" not in notify.nobody(config(server.state_dir, "s3cret"))


def test_a_check_goes_by_the_limits_of_the_operator(
    server: Config, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    patient = replace(server, limits=Limits(disk_percent=98, checks=3))
    checks(patient, monkeypatch, [BAD] * 2)
    assert sent == []
    checks(patient, monkeypatch, [BAD])
    assert sent == ["2 things are wrong"]
