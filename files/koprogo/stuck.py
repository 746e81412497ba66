"""Deploys that do not go on: somebody is told once, and once more when they do again.

A registry that is down for ten minutes is nobody's business. One that is down for an hour is.
"""

from __future__ import annotations

import dataclasses

from koprogo import log, notify
from koprogo.config import Config
from koprogo.state import Check

PATIENCE = 3600
"""Seconds for which checks may run into problems before somebody is told."""


def told(config: Config, last: Check | None, check: Check) -> Check:
    """Return `check` with since when there are problems, having told somebody of them, or of their end."""
    before = last if last is not None and last.problem is not None else None
    if check.problem is None:
        if last is not None and last.told:
            _tell(config, "deploys go on again", f"They did not since {log.minute(last.since)}.", check)
        return check
    # Not in the future, as it is once the clock was set back.
    since = min(before.since or before.at, check.at) if before else check.at
    was_told = before.told if before else False
    if not was_told and check.at - since >= PATIENCE:
        lines = f"Since {log.minute(since)}: {check.problem}\nOn the server: sudo koprogo status; sudo koprogo logs"
        _tell(config, "deploys are stuck", lines, check)
        was_told = True
    return dataclasses.replace(check, since=since, told=was_told)


def _tell(config: Config, title: str, text: str, check: Check) -> None:
    from koprogo.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    notify.tell(config, [Message(title, text, good=check.problem is None, at=check.at)])
