"""Deploys that do not go on: somebody is told once, and once more when they do again.

A registry that is down for ten minutes is nobody's business. One that is down for an hour is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from koprogo import log
from koprogo.alerts import outbox
from koprogo.config import Config
from koprogo.state import Check

PATIENCE = 3600
"""Seconds for which checks may run into problems before somebody is told."""


def tell(config: Config, last: Check | None, check: Check, note: Callable[[Check], None]) -> None:
    """Note `check` with since when there are problems, and tell somebody of them, or of their end, where it is time.

    It is noted before, too: on a disk that is full nothing can be, and somebody would be told at every check.
    """
    check = _since(last, check)
    note(check)
    if check.problem is None and check.told:
        _tell(config, "deploys go on again", f"They did not since {log.minute(check.since)}.", check)
        note(dataclasses.replace(check, since=0, told=False))
    elif check.problem is not None and not check.told and check.at - check.since >= PATIENCE:
        lines = (
            f"Since {log.minute(check.since)}: {check.problem}\nOn the server: sudo koprogo status; sudo koprogo logs"
        )
        _tell(config, "deploys are stuck", lines, check)
        note(dataclasses.replace(check, told=True))


def _since(last: Check | None, check: Check) -> Check:
    """Return `check` with when the problems began, and whether somebody was told and waits to hear of their end."""
    if last is None or (last.problem is None and not last.told):
        return dataclasses.replace(check, since=check.at if check.problem is not None else 0)
    if check.problem is None and not last.told:
        return check
    # Not in the future, as it is once the clock was set back.
    return dataclasses.replace(check, since=min(last.since or last.at, check.at), told=last.told)


def _tell(config: Config, title: str, text: str, check: Check) -> None:
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    outbox.tell(config, [Message(title, text, good=check.problem is None, at=check.at)])
