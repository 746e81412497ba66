"""Going to another version."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from koprogo import log
from koprogo.deploys import mounted, wanted
from koprogo.deploys.gate import Before, restarts_of
from koprogo.deploys.prepare import Prepared
from koprogo.deploys.starting import excused, start
from koprogo.deploys.undo import fail
from koprogo.deploys.work import Work, environment_hash
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.state import Deployed, Image, Probation, Step


def switch(work: Work, prepared: Prepared) -> None:
    """Start a prepared commit and see it healthy; go back to what ran before when it is not.

    Raises Problem when the commit does not run in the end.
    """
    commit = prepared.commit
    if not work.attempt.step.touched:
        wanted.require_memory(work, prepared.project)
        _begin(work, prepared)
    else:
        work.reached(Step.SWITCHING, tries=work.attempt.tries + 1)
    with excused(work):
        environment = environment_hash(work.config)
        work.repository.check_out(commit)
        trouble = start(work, mounted.project(work, commit, prepared.tag))
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
    schema = wanted.new_schema(work, prepared.project, running) if running else ""
    asked = (prepared.commit, prepared.tag, environment_hash(work.config))
    same = running is not None and (running.commit, running.tag, running.environment) == asked
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
    if not before.ailing:
        return {}
    ran = {(container.service, container.release) for container in work.docker.containers(project.name)}
    same = {target.service for target in wanted.targets(work, project) if (target.service, target.release) in ran}
    ailing = {service: service in same for service in before.ailing}
    if left := sorted(service for service, is_left in ailing.items() if is_left):
        log.say(f"{', '.join(left)}: not well before, and not changed by this deploy: not looked at.")
    return ailing


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


def _images(work: Work, containers: Sequence[Container]) -> dict[str, Image]:
    return {c.service: Image(c.image_ref, c.image_id, work.docker.digest(c.image_id, c.image_ref)) for c in containers}
