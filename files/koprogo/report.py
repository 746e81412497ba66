"""What can be said about this server right now: the common source of `koprogo status` and `koprogo health`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from koprogo import history, lock, web
from koprogo.backups import backup_state
from koprogo.backups.backup_state import BackupState
from koprogo.backups.retention import Backup, verified
from koprogo.config import Config
from koprogo.deploys import timer
from koprogo.deploys.session import LOCK
from koprogo.docker.containers import Container
from koprogo.docker.engine import Docker
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Entry, State, Store
from koprogo.web import Answer

STATUS_TIMEOUT = 4
"""Seconds to wait for an address when a person asked for the status.

One that does not answer takes twice that: it is asked on this server, then by its public name.
"""


@dataclass(frozen=True)
class Report:
    """Facts only; what is wrong with them is for others to say."""

    now: float
    state: State
    containers: tuple[Container, ...]
    docker_trouble: str | None
    answers: tuple[Answer, ...]
    backups: tuple[Backup, ...]
    backups_trouble: str | None
    disk_used: float
    """Of the file system that fills first, 0 to 1."""
    disk_free: int
    """On that file system, bytes."""
    entries: tuple[Entry, ...] = ()
    """The history, oldest first."""
    next_check: float | None = None
    """When the timer starts the next check; None where nobody knows."""
    timer_trouble: str | None = None
    """Why there will be none."""
    at_work: bool = False
    """Whether somebody holds the deploy lock."""
    runs: BackupState = field(default_factory=BackupState)
    """The last backups, drills and copies elsewhere."""


def collect(config: Config, *, public: bool) -> Report:
    """Look at everything once. `public`: ask the addresses where their names lead, not on this server."""
    state = Store(config.state_dir).load()
    containers, docker_trouble = _containers(state)
    backups, backups_trouble = _backups(config)
    next_check, timer_trouble = (None, None) if public else timer.ask(Runner())
    used, free = _disk(*disks(config))
    return Report(
        now=time.time(),
        state=state,
        containers=containers,
        docker_trouble=docker_trouble,
        answers=tuple(_ask(url, config.tls_ca_file, public) for url in config.health_urls),
        backups=backups,
        backups_trouble=backups_trouble,
        disk_used=used,
        disk_free=free,
        entries=_entries(config, state),
        next_check=next_check,
        timer_trouble=timer_trouble,
        at_work=lock.held(config.state_dir / LOCK),
        runs=backup_state.load(config.state_dir),
    )


def _entries(config: Config, state: State) -> tuple[Entry, ...]:
    try:
        return tuple(history.known(config.state_dir, state))
    except Problem:
        return state.unwritten


def _ask(url: str, ca_file: Path | None, public: bool) -> Answer:
    if public:
        return web.ask(url, ca_file)
    return web.ask_here(url, ca_file, timeout=STATUS_TIMEOUT)


def _containers(state: State) -> tuple[tuple[Container, ...], str | None]:
    if state.deployed is None:
        return (), None
    try:
        return tuple(Docker(Runner()).containers(state.deployed.project)), None
    except Problem as problem:
        return (), str(problem).rstrip(".")


def _backups(config: Config) -> tuple[tuple[Backup, ...], str | None]:
    try:
        next(config.backup_dir.iterdir(), None)  # glob() is silent about a folder that it may not read
        return tuple(verified(config.backup_dir)), None
    except FileNotFoundError:
        return (), None
    except OSError as error:
        return (), f"{config.backup_dir}: {error.strerror}"


def disks(config: Config) -> list[Path]:
    """Return folders of all file systems that must not fill."""
    folders = Path("/"), Path("/var/lib/docker"), config.state_dir, config.backup_dir
    return [folder for folder in folders if folder.exists()]


def _disk(*paths: Path) -> tuple[float, int]:
    """Return the used share and the free bytes of the fullest file system below `paths`, as `df` counts."""
    worst = (0.0, 0)
    for path in paths:
        facts = os.statvfs(path)
        taken = facts.f_blocks - facts.f_bfree
        used = taken / max(taken + facts.f_bavail, 1)
        if used >= worst[0]:
            worst = (used, facts.f_bavail * facts.f_frsize)
    return worst
