"""Giving up a version that is no good, and going back to the one before it."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

from koprogo import log
from koprogo.backups import space
from koprogo.deploys import mounted, wanted
from koprogo.deploys.starting import excused, start
from koprogo.deploys.work import Work
from koprogo.docker.complaints import not_built_yet
from koprogo.docker.compose import Project
from koprogo.problem import Lasting, Problem
from koprogo.state import Deployed, Step, write_durably

LOG_LINES = 200


def fail(work: Work, commit: str, trouble: str, project: Project | None) -> NoReturn:
    """Give up a commit that was started: keep its logs, quarantine it, go back. Always raises Problem."""
    kept = keep_logs(work, commit, trouble, project.name) if project else ""
    fallback = work.state.fallback(commit)
    # On a disk without room nobody is well. Without a quarantine it is tried again, once there is some.
    full = space.lacking(work)
    quarantine = work.state.quarantine if full else work.quarantined(commit, trouble)
    if fallback is None:
        # The version that runs, with other settings, is no bad commit; one that never ran is.
        first = not work.state.runs(commit)
        work.save(attempt=None, **({"quarantine": quarantine} if first else {}))
        raise _left(commit, trouble, first=first, full=full, kept=kept)
    # A run that was killed may have started what it did not note.
    started = work.attempt.step is not Step.SWITCHING or work.attempt.tries > 1
    if work.attempt.schema and (started or wanted.ahead(work, fallback)):
        schema = work.attempt.schema
        work.save(attempt=None, quarantine=quarantine)
        raise no_way_back(commit, trouble, schema, kept)
    attempt = dataclasses.replace(work.attempt, step=Step.ROLLING_BACK, tries=0, excused=0)
    work.save(quarantine=quarantine, attempt=attempt)
    why = f" ({full})" if full else ""
    log.complain(f"{commit[:7]} is not healthy: {trouble}{why}. Going back to {fallback.commit[:7]}.{kept}")
    go_back(work)


def _left(commit: str, trouble: str, *, first: bool, full: str | None, kept: str) -> Problem:
    """Say that what was started is left as it is, and what then."""
    again = "If the settings (.env) were changed, mend them; then: koprogo deploy."
    if full:
        again = f"{full}; the next check tries again." if first else f"{full}; make room, then: koprogo deploy."
    elif first:
        again = f"{commit[:7]} is not tried again by itself: push a newer commit, or `koprogo deploy`."
    return Problem(
        f"{commit[:7]} was started and is not healthy: {trouble}. There is no other version to go back to; "
        f"its containers are left as they are. {again}{kept}"
    )


def no_way_back(commit: str, trouble: str, schema: str, kept: str) -> Problem:
    """Say that all is left as it is: code of before must not meet data that the commit has changed already."""
    return Problem(
        f"{commit[:7]} is not healthy: {trouble}. It changes the data ({schema}), so nothing goes back by itself: what "
        f"runs now is left as it is. Push a commit that mends it; or restore the dump of before the deploy, which is "
        f"among the backups, and then `koprogo rollback`.{kept}"
    )


def go_back(work: Work) -> NoReturn:
    """Start the last good version again, with the very images that it ran. Always raises Problem: a commit failed."""
    deployed, bad = work.state.deployed, work.attempt.commit
    if deployed is None:
        raise AssertionError("nothing to go back to")
    work.reached(Step.ROLLING_BACK, tries=work.attempt.tries + 1)
    with excused(work):
        work.repository.check_out(deployed.commit)
        restore_images(work, deployed)
        project = mounted.project(work, deployed.commit, deployed.tag)
        trouble = start(work, project) or _other_images(work, deployed)
    if trouble is not None:
        raise Problem(
            f"Went back from {bad[:7]} to {deployed.commit[:7]}, but that is not healthy either: {trouble}. "
            f"See `docker ps` and `docker logs` now."
        )
    dump = f" The database as it was before: {work.attempt.dump}" if work.attempt.dump else ""
    again = f" {bad[:7]} is not tried again: push a newer commit, or `koprogo retry`."
    if work.attempt.rollback:
        # Who wanted to go back to it may ask again; `koprogo retry` is about the newest commit.
        again = ""
    elif work.state.bad(bad) is None:
        again = f" {bad[:7]} is tried again once there is room on the disk."
    work.save(attempt=None)
    raise Problem(
        f"{bad[:7]} was rolled back: {deployed.commit[:7]} ({deployed.tag}) runs again and is healthy.{again}{dump}"
    )


def restore_images(work: Work, deployed: Deployed) -> None:
    """Make every image name of the last good version mean what it meant when that version ran."""
    for service, image in deployed.images.items():
        if work.docker.image_id(image.ref) == image.id:
            continue
        if work.docker.image_id(image.id) is None and image.digest is not None:
            error = work.docker.pull(image.digest)
            if error is not None:
                kind = Lasting if not_built_yet(error) else Problem
                raise kind(f"Cannot go back: the image that {service} ran is gone, and {image.digest}: {error}.")
        if "@" not in image.ref:
            work.docker.tag(image.id, image.ref)


def _other_images(work: Work, deployed: Deployed) -> str | None:
    running = {c.service: c.image_id for c in work.docker.containers(deployed.project)}
    others = sorted(s for s, image in deployed.images.items() if running.get(s, image.id) != image.id)
    return f"another image than before runs as {', '.join(others)}" if others else None


def keep_logs(work: Work, commit: str, trouble: str, project: str) -> str:
    """Save what the containers of a failed version wrote, before they are replaced; a failure to do so is no matter."""
    path = work.config.state_dir / "failed.log"
    try:
        parts = [f"{commit}: {trouble}\n"]
        for container in work.docker.containers(project):
            parts.append(f"\n== {container.name} ({container.status}, {container.image_ref})\n")
            parts.append(work.docker.logs(container.id, LOG_LINES))
        write_durably(path, "".join(parts).encode(), 0o600)
    except Problem as problem:
        return f" (Its logs could not be kept: {problem})"
    return f" Its logs: {path}"
