"""What the commands of provision.py show and return, around what they ask of the cloud."""

import io
from dataclasses import dataclass
from typing import cast

import pytest
from rich.console import Console

from cloud import commands
from cloud.plan import Plan
from cloud.trouble import CloudError
from cloud.waiting import until


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

    monkeypatch.setattr(commands, "_begin", lambda *_, **__: cast(commands.Work, work))
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
    monkeypatch.setattr(commands.lease, "clear", lambda _, name: other)
    work = cast(commands.Work, Work(Console(file=out, soft_wrap=True)))
    assert commands._nothing_to_do(work, Plan(())) == 0
    assert out.getvalue() == f"Nothing to do: everything is in place.\n{more}"


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
    monkeypatch.setattr(commands, "_begin", lambda *_, **__: work)
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
