"""What the commands of provision.py show and return, around what they ask of the cloud."""

import io
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from test_plan import FOUND, HAVE, WANT
from test_settings import folder, load

from cloud import commands, consent
from cloud.machine.login import Login
from cloud.plan import Action, Change, Plan
from cloud.resources import FoundServer
from cloud.trouble import CloudError
from cloud.waiting import until

__all__ = ["folder"]  # the fixture


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_that_the_status_is_looked_for(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    to = Console(file=out, force_terminal=terminal, soft_wrap=True)
    planner = type("Planner", (), {"want": None})
    work = type("Work", (), {"settings": None, "cloud": None, "to": to, "name": "koprogo", "planner": planner})
    before = list[bool]()

    def look(*_: object) -> None:
        before.append(bool(until(lambda: "Looking how koprogo is …" in out.getvalue(), 5 if terminal else 0, 0.01)))

    monkeypatch.setattr(commands, "begin", lambda *_, **__: cast(commands.Work, work))
    monkeypatch.setattr(commands.statuses, "status", look)
    assert commands.status(openrc=None, verbose=False, as_json=False) == 2
    assert before == [terminal]
    assert "There is no server koprogo. To make it: python provision.py\n" in out.getvalue()


@dataclass
class Work:
    """As commands.Work, without a cloud."""

    to: Console
    name: str = "koprogo"
    cloud: object = None


@pytest.mark.parametrize(
    ("other", "more"),
    [
        ("", ""),
        (
            "process 77 on office",
            "Another apply is at work on koprogo (process 77 on office): it may be another way once that has ended.\n",
        ),
    ],
)
def test_who_else_is_at_work_is_said_where_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, other: str, more: str
) -> None:
    out = io.StringIO()
    asked = list[str]()

    def answer(how: str) -> str:
        asked.append(how)
        return other

    for how in ("clear", "at_work"):
        monkeypatch.setattr(commands.lease, how, lambda _, name, how=how: answer(how))
    work = cast(commands.Work, Work(Console(file=out, soft_wrap=True)))
    assert commands._nothing_to_do(work, Plan(())) == 0
    assert out.getvalue() == f"Nothing to do: everything is in place.\n{more}"
    # a dry run takes nothing away
    assert commands._nothing_to_do(work, Plan(()), removes=False) == 0
    assert asked == ["clear", "at_work"]


def test_destroy_does_not_say_that_nothing_is_left_while_another_apply_is_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    found = type("Found", (), {"plan": Plan(())})
    planner = type("Planner", (), {"want": None})
    work = type("Work", (), {"to": Console(file=out), "planner": planner})
    for name in ("settings", "cloud", "name"):
        setattr(work, name, "koprogo")
    other = ["process 77 on office"]
    monkeypatch.setattr(commands, "begin", lambda *_, **__: work)
    monkeypatch.setattr(commands, "Destroy", lambda *_: type("Destroy", (), {"look": lambda _: found})())
    monkeypatch.setattr(commands.lease, "clear", lambda _, name: other.pop() if other else "")

    def destroy() -> int:
        return commands.destroy(openrc=None, verbose=False, yes=True, name="koprogo", backup=None)

    with pytest.raises(CloudError) as caught:
        destroy()
    assert str(caught.value) == (
        "There is nothing of ours that belongs to koprogo yet, and another apply is at work on it (process 77 on"
        " office). Run again once it has ended."
    )
    assert destroy() == 0
    assert "Nothing to do: there is nothing of ours that belongs to koprogo." in out.getvalue()


@dataclass
class Looked:
    """What Destroy finds, one look after the other; nothing is removed."""

    plans: list[Plan]
    removed: int = 0

    def look(self) -> "Looked":
        """The next look."""
        self.plan = self.plans.pop(0)
        return self

    def run(self, *_: object) -> None:
        """Remove."""
        self.removed += 1


def test_destroy_stops_for_what_has_come_in_its_way_since_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = (Change(Action.DELETE, FOUND.existing, "", True),)
    looked = Looked([Plan(changes), Plan(changes, ("The server koprogo (5c1e) is locked.",))])
    planner = type("Planner", (), {"want": WANT})
    work = type("Work", (), {"to": Console(file=io.StringIO()), "planner": planner, "name": "koprogo"})
    work.settings = work.cloud = None  # type: ignore[attr-defined]
    monkeypatch.setattr(commands, "begin", lambda *_, **__: work)
    monkeypatch.setattr(commands, "Destroy", lambda *_: looked)
    monkeypatch.setattr(commands, "held", lambda *_, **__: nullcontext())
    monkeypatch.setattr(commands.server_plan, "ours", lambda *_: [])
    monkeypatch.setattr(Looked, "have", HAVE, raising=False)
    with pytest.raises(CloudError, match="is locked"):
        commands.destroy(openrc=None, verbose=False, yes=True, name="koprogo", backup=False)
    assert looked.removed == 0


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (replace(FOUND, ipv4="", ipv6=""), "The server koprogo has no public IPv4 address, so nobody can log in."),
        (replace(FOUND, status="SHUTOFF"), "There is no last backup: the server is SHUTOFF."),
    ],
)
@pytest.mark.parametrize("wanted", [True, None])
def test_a_server_that_cannot_be_backed_up_is_not_passed_over(
    folder: Path, server: FoundServer, why: str, wanted: bool | None
) -> None:
    work = cast(Any, Work(Console(file=io.StringIO())))
    work.settings = load(folder)
    with pytest.raises(CloudError) as caught:
        consent.last_backup_of(work, server, wanted, yes=True)
    assert str(caught.value) == f"{why} Nothing was removed. To go on without a backup: --no-backup"
    consent.last_backup_of(work, server, False, yes=True)
    consent.last_backup_of(work, replace(server, launched=False), wanted, yes=True)


def test_a_login_command_can_be_pasted() -> None:
    login = Login("51.75.1.2", "ubuntu", Path("/my keys/id"), ())
    assert commands._login_command(login, Path("/my folder/known_hosts")) == (
        """ssh -i '/my keys/id' -o 'UserKnownHostsFile="/my folder/known_hosts"' ubuntu@51.75.1.2"""
    )
    assert commands._login_command(replace(login, private_key=Path("/k")), Path("/known_hosts")) == (
        "ssh -i /k -o UserKnownHostsFile=/known_hosts ubuntu@51.75.1.2"
    )
