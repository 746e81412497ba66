"""The database that runs: which container it is, and what dumps it."""

from __future__ import annotations

from koprogo.backups import dump, packing
from koprogo.config import Config
from koprogo.deploys.decide import tag_for
from koprogo.docker.compose import Compose
from koprogo.docker.containers import Container
from koprogo.docker.engine import Docker
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import State

LOCK_WAIT = 600_000
"""Milliseconds that pg_dumpall waits for a table that something has locked; without it, for ever."""

_PACKED = f'pg_dumpall "$@" | zstd {" ".join(packing.OPTIONS)}'


def find(config: Config, docker: Docker, state: State) -> Container:
    """Return the running container of the database; raises Problem when there is none."""
    containers = docker.containers(project_name(config, state))
    found = [c for c in containers if c.service == config.database_service]
    there = [c for c in found if c.status == "running"]
    if not there:
        how = f"is {found[0].status}" if found else "has no container"
        raise Problem(f"The database ({config.database_service}) {how}.")
    return there[0]


def project_name(config: Config, state: State) -> str:
    """Return what Compose calls the application."""
    if state.deployed is not None:
        return state.deployed.project
    return Compose(config, Runner(), tag_for(config.image_tag, "0" * 40)).project().name


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
