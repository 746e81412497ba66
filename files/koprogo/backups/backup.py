"""`koprogo backup`: a verified set, and then, only then, the end of the oldest ones."""

from __future__ import annotations

import time
from pathlib import Path

from koprogo import lock, log
from koprogo.backups import backup_folder, backup_state, dump, offsite_upload, parts, running_database, sets
from koprogo.backups.backup_state import Run
from koprogo.backups.retention import expired, verified
from koprogo.config import Config
from koprogo.docker.engine import Docker
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Store


def run(config: Config, *, offsite: bool = True) -> int:
    """Make one set and delete the oldest; returns the exit code. Raises Problem, which says what there is then.

    Unless `offsite` is false, a copy is stored elsewhere, if the settings say where.
    """
    began = time.monotonic()
    path: Path | None = None
    try:
        with lock.exclusive(config.state_dir / backup_folder.LOCK, wait=False):
            path = _make(config)
            left = _rotate(config, path)
    except lock.Busy:
        raise Problem("Another backup is at work; nothing was done.") from None
    except Problem as problem:
        _note(config, began, path, str(problem))
        if path is not None and offsite:
            # It is good, whatever an old one did.
            _elsewhere(config)
        raise
    _note(config, began, path, "")
    size = sets.read(path).size / 1e6
    log.say(f"Backup {path} ({size:.1f} MB) written and verified; {left} kept.")
    if offsite:
        _elsewhere(config)
    return 0


def verify(config: Config, name: str) -> int:
    """Read a set again, all of it, the newest if none is named; returns the exit code. Raises Problem if it is bad."""
    began = time.monotonic()
    found = sets.verify(sets.read(sets.find(config.backup_dir, name)))
    log.say(f"{found.described()} is whole, all {len(found.parts)} parts ({time.monotonic() - began:.0f} s).")
    return 0


def _note(config: Config, began: float, path: Path | None, problem: str) -> None:
    run = Run(time.time(), time.monotonic() - began, dump.stem(path.name) if path else "", problem)
    backup_state.note_if_possible(config.state_dir, "backup", run)


def _elsewhere(config: Config) -> None:
    """Store a copy, after the lock: a slow store must not keep anybody from restoring."""
    if config.offsite_file is not None:
        offsite_upload.upload(config)


def _make(config: Config) -> Path:
    """Write one set and verify it. Raises Problem when there is none; older ones are then as they were."""
    try:
        config.backup_dir.mkdir(mode=0o700, exist_ok=True)
        backup_folder.clear(config.backup_dir)
        backup_folder.require_room(config.backup_dir)
        return _set(config)
    except OSError as error:
        raise Problem(
            f"No backup was made; the older ones are untouched. {config.backup_dir}: {error.strerror}."
        ) from None
    except Problem as problem:
        raise Problem(f"No backup was made; the older ones are untouched. {problem}") from None


def _set(config: Config) -> Path:
    runner, state = Runner(), Store(config.state_dir).load()
    docker = Docker(runner)
    container = running_database.find(config, docker, state)
    others = parts.others(config, runner, running_database.project_name(config, state), container.image_id)
    commit = state.deployed.commit if state.deployed else None
    return dump.write(running_database.source(docker, container, commit), config.backup_dir, time.time(), others)


def _rotate(config: Config, newest: Path) -> int:
    """Delete what is older than it has to be, now that `newest` is good; returns how many sets are left."""
    backups = verified(config.backup_dir)
    drill = backup_state.load(config.state_dir).good_drill
    restored = drill.set if drill else ""
    old = expired(backups, config.backup_days, config.backup_weeks, config.backup_months, restored)
    backup_folder.remove(old, newest)
    return len(verified(config.backup_dir))
