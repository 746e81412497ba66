"""What the commands of provision.py show and return, around what they ask of the cloud."""

import io
from typing import cast

import pytest
from rich.console import Console

from cloud import commands
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
