"""`koprogo backup`: a verified set, and then, only then, the end of the oldest ones."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path

from koprogo import lock, log
from koprogo.backups import backup_state, dump, packing, parts, sets, space
from koprogo.backups.backup_state import Run
from koprogo.backups.retention import Backup, expired, verified
from koprogo.config import Config
from koprogo.deploys.decide import tag_for
from koprogo.docker.compose import Compose, Docker
from koprogo.docker.containers import Container
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import State, Store

LOCK = "backup.lock"
LOCK_WAIT = 600_000
"""Milliseconds that pg_dumpall waits for a table that something has locked; without it, for ever."""

_PACKED = f'pg_dumpall "$@" | zstd {" ".join(packing.OPTIONS)}'
_LEFT = re.compile(r"(postgres_\d{8}_\d{6})\..+")


def run(config: Config, *, offsite: bool = True) -> int:
    """Make one set and delete the oldest; returns the exit code. Raises Problem, which says what there is then.

    Unless `offsite` is false, a copy is stored elsewhere, if the settings say where.
    """
    began = time.monotonic()
    path: Path | None = None
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=False):
            path = _make(config)
            left = _rotate(config, path)
    except lock.Busy:
        raise Problem("Another backup is at work; nothing was done.") from None
    except Problem as problem:
        _note(config, began, path, str(problem))
        raise
    _note(config, began, path, "")
    size = sets.read(path).size / 1e6
    log.say(f"Backup {path} ({size:.1f} MB) written and verified; {left} kept.")
    if offsite and config.offsite_file is not None:
        from koprogo.backups import offsite as copies  # noqa: PLC0415 - which uses this module

        # After the lock: a slow store must not keep anybody from restoring.
        copies.upload(config)
    return 0


def verify(config: Config, name: str) -> int:
    """Read a set again, all of it, the newest if none is named; returns the exit code. Raises Problem if it is bad."""
    began = time.monotonic()
    found = sets.verify(sets.read(sets.find(config.backup_dir, name)))
    log.say(f"{described(found)} is whole, all {len(found.parts)} parts ({time.monotonic() - began:.0f} s).")
    return 0


def described(found: sets.Set) -> str:
    """Say which set it is, in a few words."""
    rows = "" if found.rows is None else f", {found.total_rows} rows"
    return f"Set {found.name} of {found.created} ({found.size / 1e6:.1f} MB{rows})"


def _note(config: Config, began: float, path: Path | None, problem: str) -> None:
    name = dump.stem(path.name) if path else ""
    try:
        backup_state.note(config.state_dir, "backup", Run(time.time(), time.monotonic() - began, name, problem))
    except Problem as unwritten:
        log.complain(str(unwritten))


def _make(config: Config) -> Path:
    """Write one set and verify it. Raises Problem when there is none; older ones are then as they were."""
    try:
        config.backup_dir.mkdir(mode=0o700, exist_ok=True)
        clear(config.backup_dir)
        require_room(config.backup_dir)
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
    container = database(config, docker, state)
    others = parts.others(config, runner, project_name(config, state), container.image_id)
    commit = state.deployed.commit if state.deployed else None
    return dump.write(source(docker, container, commit), config.backup_dir, time.time(), others)


def source(docker: Docker, container: Container, commit: str | None, limit: float = dump.LIMIT) -> dump.Source:
    """Return what dumps the database that runs in `container`, within `limit` seconds.

    `commit` is the version that uses the database.
    """
    # The image makes the superuser that this names, and then no role `postgres`.
    found = docker.execute(container.id, "printenv", "POSTGRES_USER")
    user = found.out.strip() if found.ok and found.out.strip() else "postgres"
    version = docker.execute(container.id, "pg_dumpall", "--version")
    origin = dump.Origin(
        container=container.name,
        user=user,
        postgres=version.out.rpartition("(PostgreSQL)")[2].strip(),
        commit=commit,
    )
    options = [f"--username={user}", f"--lock-wait-timeout={LOCK_WAIT}"]
    # Most of what a backup costs is Docker's way of passing on what a command prints, by the byte. The official image
    # has zstd.
    packed = docker.execute(container.id, "bash", "-c", "command -v zstd").ok
    command = ["bash", "-o", "pipefail", "-c", _PACKED, "bash", *options] if packed else ["pg_dumpall", *options]
    return dump.Source(["docker", "exec", container.id, *command], origin, limit, packed)


def project_name(config: Config, state: State) -> str:
    """Return what Compose calls the application."""
    if state.deployed is not None:
        return state.deployed.project
    return Compose(config, Runner(), tag_for(config.image_tag, "0" * 40)).project().name


def database(config: Config, docker: Docker, state: State) -> Container:
    """Return the running container of the database; raises Problem when there is none."""
    containers = docker.containers(project_name(config, state))
    found = [c for c in containers if c.service == config.database_service]
    running = [c for c in found if c.status == "running"]
    if not running:
        how = f"is {found[0].status}" if found else "has no container"
        raise Problem(f"The database ({config.database_service}) {how}.")
    return running[0]


def require_room(directory: Path) -> None:
    """Raise Problem where a set of the size of the last one would fill the disk, which the database is on as well."""
    last = verified(directory)[-1:]
    size = last[0].size if last else 0
    room = space.look(directory)
    reserve = min(space.FLOOR, room.size * space.SHARE)
    if room.free < size + reserve:
        raise Problem(
            f"{directory} has {room.free / 1e6:.1f} of {room.size / 1e6:.1f} MB free; the last set has "
            f"{size / 1e6:.1f} MB, and {reserve / 1e6:.1f} MB have to stay free."
        )


def clear(directory: Path) -> None:
    """Remove what a kill or a full disk left: a file that is written in part, or parts without their dump."""
    for part in directory.glob(".postgres*.partial"):
        part.unlink()
    for path in directory.glob("postgres_*.*"):
        match = _LEFT.fullmatch(path.name)
        if match and not any((directory / (match.group(1) + suffix)).exists() for suffix in dump.SUFFIXES):
            path.unlink()


def _rotate(config: Config, newest: Path) -> int:
    """Delete what is older than it has to be, now that `newest` is good; returns how many sets are left."""
    backups = verified(config.backup_dir)
    old = expired(backups, config.backup_days, config.backup_weeks, config.backup_months)
    remove(old, newest)
    return len(backups) - len(old)


def remove(old: Iterable[Backup], newest: Path) -> None:
    """Delete sets, now that `newest` is good."""
    for backup in old:
        try:
            # The dump first: without it the rest is no set, and the next run clears it away.
            for path in (backup.path, dump.manifest_of(backup.path), *backup.others):
                path.unlink(missing_ok=path != backup.path)
        except OSError as error:
            raise Problem(
                f"Backup {newest} is good, but an old one could not be deleted: {backup.path}: {error.strerror}."
            ) from None
