"""What the last backup and the last drill did: for the status and for alerts, which ask nothing else."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koprogo import lock, log
from koprogo.problem import Problem
from koprogo.state import write_durably

FILE = "backup.json"


@dataclass(frozen=True)
class Run:
    """One run, which has ended. Times are seconds, `at` since 1970."""

    at: float
    """When it ended."""
    seconds: float
    set: str = ""
    """The name of the set that it made or tried."""
    problem: str = ""
    """Why it failed; "" if it did what it should."""


@dataclass(frozen=True)
class BackupState:
    """The last run of each kind, however it ended; and the last that did what it should."""

    backup: Run | None = None
    good_backup: Run | None = None
    drill: Run | None = None
    """The newest set was restored into a throw-away database, and its rows were counted."""
    good_drill: Run | None = None
    restore: Run | None = None
    good_restore: Run | None = None
    upload: Run | None = None
    """What is here was stored off-site, and read back."""
    good_upload: Run | None = None
    offsite_check: Run | None = None
    """What is stored off-site was checked, a part of the data with it."""
    good_offsite_check: Run | None = None


def load(state_dir: Path) -> BackupState:
    """Return what is remembered; nothing, if the file is not there or damaged: the sets themselves are the truth."""
    try:
        data = json.loads((state_dir / FILE).read_text(encoding="utf-8"))
        known = {field.name for field in dataclasses.fields(BackupState)}
        return BackupState(**{kind: _run(run) for kind, run in data.items() if kind in known and run is not None})
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return BackupState()


def note(state_dir: Path, kind: str, run: Run) -> None:
    """Remember `run` as the last one of its kind: "backup", "drill", "restore", "upload" or "offsite_check"."""
    changes = {kind: run} if run.problem else {kind: run, f"good_{kind}": run}
    with lock.exclusive(state_dir / f"{FILE}.lock", wait=True):
        state = dataclasses.replace(load(state_dir), **changes)
        text = json.dumps(dataclasses.asdict(state), indent=1) + "\n"
        write_durably(state_dir / FILE, text.encode(), 0o640)


def note_if_possible(state_dir: Path, kind: str, run: Run) -> None:
    """Do the same; where nothing can be written, that is a line."""
    try:
        note(state_dir, kind, run)
    except Problem as unwritten:
        log.complain(str(unwritten))


def _run(data: dict[str, Any]) -> Run:
    known = {field.name for field in dataclasses.fields(Run)}
    run = Run(**{key: value for key, value in data.items() if key in known})
    return dataclasses.replace(run, at=float(run.at), seconds=float(run.seconds))
