"""`koprogo backup`: a verified dump of the database, and then, only then, the end of the oldest ones."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from koprogo import dump, lock, log
from koprogo.compose import Compose, Docker
from koprogo.config import Config
from koprogo.containers import Container
from koprogo.decide import tag_for
from koprogo.problem import Problem
from koprogo.retention import Backup, expired, verified
from koprogo.runner import Runner
from koprogo.state import State, Store

LOCK_WAIT = 600_000
"""Milliseconds that pg_dumpall waits for a table that something has locked; without it, for ever."""


def run(config: Config) -> int:
    """Make one backup and delete the oldest; returns the exit code. Raises Problem, which says what there is then."""
    try:
        with lock.exclusive(config.state_dir / "backup.lock", wait=False):
            path = _make(config)
            left = _rotate(config, path)
    except lock.Busy:
        raise Problem("Another backup is at work; nothing was done.") from None
    size = path.stat().st_size / 1e6
    log.say(f"Backup {path} ({size:.1f} MB) written and verified; {left} kept.")
    return 0


def _make(config: Config) -> Path:
    """Write one backup and verify it. Raises Problem when there is none; older ones are then as they were."""
    try:
        config.backup_dir.mkdir(mode=0o700, exist_ok=True)
        clear(config.backup_dir)
        return _dump(config)
    except OSError as error:
        raise Problem(
            f"No backup was made; the older ones are untouched. {config.backup_dir}: {error.strerror}."
        ) from None
    except Problem as problem:
        raise Problem(f"No backup was made; the older ones are untouched. {problem}") from None


def _dump(config: Config) -> Path:
    docker, state = Docker(Runner()), Store(config.state_dir).load()
    container = _database(config, docker, state)
    commit = state.deployed.commit if state.deployed else None
    return dump_of(docker, container, config.backup_dir, commit, dump.LIMIT)


def dump_of(docker: Docker, container: Container, directory: Path, commit: str | None, limit: float) -> Path:
    """Write a verified dump of the database that runs in `container`, within `limit` seconds.

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
    argv = ["docker", "exec", container.id, "pg_dumpall", f"--username={user}", f"--lock-wait-timeout={LOCK_WAIT}"]
    return dump.write(argv, directory, origin, time.time(), limit=limit)


def _database(config: Config, docker: Docker, state: State) -> Container:
    """Return the running container of the database; raises Problem when there is none."""
    if state.deployed is not None:
        project = state.deployed.project
    else:
        project = Compose(config, Runner(), tag_for(config.image_tag, "0" * 40)).project().name
    found = [c for c in docker.containers(project) if c.service == config.database_service]
    running = [c for c in found if c.status == "running"]
    if not running:
        how = f"is {found[0].status}" if found else "has no container"
        raise Problem(f"The database ({config.database_service}) {how}.")
    return running[0]


def clear(directory: Path) -> None:
    """Remove what a kill or a full disk left of a backup: part of a dump or of a manifest, one without its dump."""
    for part in directory.glob(".postgres*.partial"):
        part.unlink()
    for manifest in directory.glob("postgres_*.json"):
        if not manifest.with_name(manifest.stem + ".sql.gz").exists():
            manifest.unlink()


def _rotate(config: Config, newest: Path) -> int:
    """Delete what is older than it has to be, now that `newest` is good; returns how many backups are left."""
    backups = verified(config.backup_dir)
    old = expired(backups, config.backup_days)
    remove(old, newest)
    return len(backups) - len(old)


def remove(old: Iterable[Backup], newest: Path) -> None:
    """Delete backups, now that `newest` is good."""
    for backup in old:
        try:
            # The dump first: a manifest alone is no backup, and the next run clears it away.
            backup.path.unlink()
            dump.manifest_of(backup.path).unlink(missing_ok=True)
        except OSError as error:
            raise Problem(
                f"Backup {newest} is good, but an old one could not be deleted: {backup.path}: {error.strerror}."
            ) from None
