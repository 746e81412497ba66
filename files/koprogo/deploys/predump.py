"""The database as it was before a deploy that may change it: new code brings new migrations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from koprogo import log
from koprogo.backups import backup_folder, dump, running_database
from koprogo.backups.retention import Backup, verified
from koprogo.deploys.work import Work
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.docker.engine import repository_name
from koprogo.problem import Problem
from koprogo.state import Step

FOLDER = "before-deploys"
"""Inside the folder of the nightly backups, which do not count these."""
KEPT = 3
LIMIT = 1200.0
"""Seconds that a dump may take; the systemd unit gives a deploy 45 minutes."""


def make(work: Work, commit: str, project: Project) -> None:
    """Dump the database, if it runs, before `commit` changes what uses it. Raises Problem when that fails.

    The path is noted in the attempt. A deploy that is begun again makes a new dump in the place of its last one, so
    that one that does not come to an end cannot push out those of the deploys before it.
    """
    containers = work.docker.containers(project.name)
    ids = {service: work.docker.image_id(ref) for service, ref in project.images.items()}
    if not changing(project.images, ids, containers, work.config.database_service):
        return
    running = [c for c in containers if c.service == work.config.database_service and c.status == "running"]
    if not running:
        if containers:
            log.say(f"The database ({work.config.database_service}) does not run: no dump before this deploy.")
        return
    began = time.monotonic()
    before = work.attempt.dump
    try:
        path = _dump(work, running[0])
    except Problem as problem:
        raise Problem(
            f"No dump of the database could be made, so {commit[:7]} is not deployed: {problem} "
            f"What runs goes on running, untouched; the next check tries again."
        ) from None
    work.reached(Step.DUMPED, dump=str(path))
    log.say(f"Dumped the database to {path} ({time.monotonic() - began:.0f} s).")
    try:
        # The same name again, once the clock was set back, is not the one before.
        backup_folder.remove(expired(verified(path.parent), "" if before == str(path) else before), path)
    except Problem as problem:
        log.say(str(problem))


def changing(
    images: Mapping[str, str], ids: Mapping[str, str | None], containers: Iterable[Container], database: str
) -> list[str]:
    """Return the services that run another image than they shall, but for the database and Traefik.

    `ids` are the images that they shall run. One that has no container may be new, and bring a migration.
    """
    runs: dict[str, set[str | None]] = {}
    for container in containers:
        runs.setdefault(container.service, set()).add(container.image_id)
    return sorted(
        service
        for service, ref in images.items()
        if service != database
        and repository_name(ref).rpartition("/")[2] != "traefik"
        and runs.get(service) != {ids.get(service)}
    )


def expired(dumps: list[Backup], before: str) -> list[Backup]:
    """Return which of these, oldest first, may go: the one `before` the newest of the same deploy, and old ones."""
    others = [one for one in dumps if str(one.path) != before]
    return [one for one in dumps if one not in others[-KEPT:]]


def _dump(work: Work, database: Container) -> Path:
    directory, deployed = work.config.backup_dir / FOLDER, work.state.deployed
    try:
        for folder in (work.config.backup_dir, directory):
            folder.mkdir(mode=0o700, exist_ok=True)
        directory.chmod(0o700)
        backup_folder.clear(directory)
        backup_folder.require_room(directory, like=work.config.backup_dir)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}.") from None
    source = running_database.source(work.docker, database, deployed.commit if deployed else None, LIMIT)
    return dump.write(source, directory, time.time())
