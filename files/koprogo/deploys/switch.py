"""Going to another version, and back from one that is not healthy."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from koprogo import log
from koprogo.backups import space
from koprogo.deploys import mounted, rollout
from koprogo.deploys.gate import Before, restarts_of
from koprogo.deploys.prepare import Prepared
from koprogo.deploys.work import Work, environment_hash
from koprogo.docker.compose import Project, not_built_yet
from koprogo.docker.containers import Container
from koprogo.problem import Lasting, Problem
from koprogo.state import Deployed, Image, Probation, Step, write_durably

LOG_LINES = 200


def switch(work: Work, prepared: Prepared) -> None:
    """Start a prepared commit and see it healthy; go back to what ran before when it is not.

    Raises Problem when the commit does not run in the end.
    """
    commit = prepared.commit
    if not work.attempt.step.touched:
        rollout.require_memory(work, prepared.project)
        _begin(work, prepared)
    else:
        work.reached(Step.SWITCHING, tries=work.attempt.tries + 1)
    with _excused(work):
        environment = environment_hash(work.config)
        work.repository.check_out(commit)
        trouble = _start(work, mounted.project(work, commit, prepared.tag))
        containers = work.docker.containers(prepared.project.name)
        images = _images(work, containers)
    if trouble is not None:
        fail(work, commit, trouble, prepared.project)
    now = time.time()
    deployed = work.state.deployed
    again = work.state.runs(commit)
    lives = Deployed(
        commit=commit,
        tag=prepared.tag,
        since=deployed.since if deployed and again else now,
        environment=environment,
        project=prepared.project.name,
        images=images,
        schema={container.service: container.schema for container in containers},
    )
    work.save(
        deployed=lives,
        first_deployed=work.state.first_deployed or now,
        attempt=None,
        probation=_probation(work, lives, containers, now),
        # A bad commit stays bad until a newer one is good, not until what runs is started again.
        quarantine=work.state.quarantine if again else (),
    )


def _begin(work: Work, prepared: Prepared) -> None:
    """Note what there is, and that it is about to change: whatever comes of that, the version that runs is new no more.

    Unless it is the same again, as it was.
    """
    running = work.state.deployed
    before = work.gate.before(running) if running else Before((), ())
    if before.lenient:
        urls = ", ".join(before.lenient)
        log.say(f"The certificates of {urls} do not verify: not this commit's fault, not looked at.")
    schema = rollout.new_schema(work, prepared.project, running) if running else ""
    wanted = (prepared.commit, prepared.tag, environment_hash(work.config))
    same = running is not None and (running.commit, running.tag, running.environment) == wanted
    attempt = dataclasses.replace(
        work.attempt,
        step=Step.SWITCHING,
        tries=1,
        lenient=before.lenient,
        stood=before.stood,
        ailing=_ailing(work, prepared.project, before),
        schema=schema,
    )
    work.save(attempt=attempt, probation=work.state.probation if same else None)


def _ailing(work: Work, project: Project, before: Before) -> dict[str, bool]:
    """Return the services that are not well, and whether `project` leaves each as it is. Says so of those."""
    ran = {(container.service, container.release) for container in work.docker.containers(project.name)}
    same = {target.service for target in rollout.targets(work, project) if (target.service, target.release) in ran}
    ailing = {service: service in same for service in before.ailing}
    if left := sorted(service for service, is_left in ailing.items() if is_left):
        log.say(f"{', '.join(left)}: not well before, and not changed by this deploy: not looked at.")
    return ailing


@contextmanager
def _excused(work: Work) -> Iterator[None]:
    """Let a run that the server's fault ends (Docker, the disk) not count as one that the version ended."""
    try:
        yield
    except Lasting:
        raise
    except Problem as problem:
        work.reached(work.attempt.step, excused=work.attempt.excused + 1)
        raise Problem(f"{problem} The next check goes on from here.") from None


def _probation(work: Work, lives: Deployed, containers: Sequence[Container], now: float) -> Probation | None:
    """Return how the version that has just become the one that `lives` is looked after; None where it is not.

    Not where there is none that was well to go back to, and not what somebody asked for: an older version, other
    settings for the one that ran.
    """
    attempt, before = work.attempt, work.state.deployed
    if work.state.runs(lives.commit):
        return work.state.probation
    if before is None or attempt.rollback or not attempt.stood:
        return None
    kept = {container.service: container.started for container in containers if container.id in attempt.stood}
    restarts = restarts_of(containers)
    return Probation(now, before, restarts, kept, attempt.lenient, attempt.schema, attempt.dump)


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
    if work.attempt.schema and (started or rollout.ahead(work, fallback)):
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
    with _excused(work):
        work.repository.check_out(deployed.commit)
        restore_images(work, deployed)
        project = mounted.project(work, deployed.commit, deployed.tag)
        trouble = _start(work, project) or _other_images(work, deployed)
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


def _start(work: Work, project: Project) -> str | None:
    """Bring the containers to what the compose file asks for; returns what is wrong afterwards, or None."""
    before = restarts_of(work.docker.containers(project.name))
    trouble = rollout.roll(work, project)
    return trouble or work.gate.wait(project, before, work.attempt.lenient, work.attempt.spared)


def _images(work: Work, containers: Sequence[Container]) -> dict[str, Image]:
    return {c.service: Image(c.image_ref, c.image_id, work.docker.digest(c.image_id, c.image_ref)) for c in containers}


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
