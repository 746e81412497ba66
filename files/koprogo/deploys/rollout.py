"""Bringing the containers to what a compose file asks for, one service after the other.

A service that Traefik routes gets its new container beside the old one, which goes once nobody asks it any more: no
request is lost. Everything else is replaced in place, and only if its definition or its image changed. Each step can
be cut off anywhere: the next run looks at what there is and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from koprogo import log
from koprogo.deploys.gate import HEALTH_TIMEOUT, restarts_of
from koprogo.deploys.wanted import Target, is_up, members_of, targets
from koprogo.docker import routing
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.problem import Problem
from koprogo.state import Step

if TYPE_CHECKING:
    from koprogo.deploys.work import Work

DRAIN = 5.0
"""Seconds in which the old container, no longer asked, may finish what it was asked before."""
GRACE = 30
"""Seconds for what takes longer, once it was told to end."""
DOOR_GRACE = 3
"""The same for what listens on the ports of the web: while it waits for its last guests, nobody new gets in."""
SWITCH_PATIENCE = 20.0
"""Seconds after which Traefik should know a healthy container; it looks every two."""
POLL = 0.5
UP_TIMEOUT = HEALTH_TIMEOUT + 60


def roll(work: Work, project: Project) -> str | None:
    """Bring all services to where they shall be; returns what went wrong, or None. Raises Problem for Docker's faults.

    Unless something went wrong, containers of services that the project no longer has are gone afterwards.
    """
    wanted = targets(work, project)
    config = _config(project, wanted)
    if not work.docker.containers(project.name):
        began = time.monotonic()
        trouble = _up(work, config)
        if trouble is None:
            log.say(f"Started {', '.join(sorted(project.images))} ({time.monotonic() - began:.1f} s).")
        _reached(work, Step.STARTED, "")
        return trouble
    kept = []
    for target in _doors_that_are_shut(wanted, work.docker.containers(project.name)):
        members = members_of(target.service, work.docker.containers(project.name))
        if target.is_met_by(members):
            kept.append(target.service)
            continue
        move = _replace if target.in_place else _pass_on
        trouble = move(work, project, config, target, [*_in_its_way(work, project, target), *members])
        if trouble is not None and target.service in work.attempt.spared:
            log.say(f"{trouble}: not well before either, and left as it is.")
        elif trouble is not None:
            return trouble
    for container in work.docker.containers(project.name):
        if container.service not in project.images:
            work.docker.remove(container.id, grace=GRACE)
            log.say(f"Removed {container.name}: the compose file has no {container.service} any more.")
    if kept:
        log.say(f"Left {', '.join(sorted(kept))} alone.")
    return None


def _in_its_way(work: Work, project: Project, target: Target) -> list[Container]:
    """Return the containers of services that there are no more which have what this one takes: it was renamed.

    They are its older ones: two databases on one volume, or two routers of one name, must not be there at once.
    """
    wanted = routing.wants(target.spec, target.name, project.config.get("volumes") or {})
    return [c for c in work.docker.containers(project.name) if c.service not in project.images and c.holds & wanted]


def _up(work: Work, config: Mapping[str, Any], *services: str, **options: Any) -> str | None:
    error = work.docker.up(config, *services, env_file=work.config.env_file, timeout=UP_TIMEOUT, **options)
    return error and f"docker compose up: {error}"


def _doors_that_are_shut(wanted: Sequence[Target], containers: Sequence[Container]) -> list[Target]:
    """Put first what everybody comes in by, if it does not run: it has nothing to lose, and the others need it."""
    up = {container.service for container in containers if is_up(container)}
    return sorted(wanted, key=lambda target: target.service in up or not routing.is_door(target.spec))


def _replace(
    work: Work, project: Project, config: Mapping[str, Any], target: Target, members: Sequence[Container]
) -> str | None:
    """Stop the old container, start the new one."""
    began = time.monotonic()
    before = restarts_of(work.docker.containers(project.name))
    grace = DOOR_GRACE if routing.closes_fast(target.spec) else None
    for container in members:
        # Compose replaces only what is the service's own.
        if container.service != target.service:
            work.docker.remove(container.id, grace=GRACE)
    if (refused := _up(work, config, target.service, grace=grace)) is not None:
        return f"{target.service}: {refused}"
    _reached(work, Step.STARTED, target.service)
    trouble = work.gate.wait_for(project.name, {target.service}, before)
    if trouble is None:
        ran = any(is_up(container) for container in members)
        how = f"{'Replaced' if ran else 'Started'} {target.service}"
        why = f", in place since {target.in_place}" if ran else ""
        log.say(f"{how} ({time.monotonic() - began:.1f} s{why}).")
    return trouble


def _pass_on(
    work: Work, project: Project, config: Mapping[str, Any], target: Target, members: Sequence[Container]
) -> str | None:
    """Start the new container beside the old one, let Traefik ask it, and let the old one finish and go."""
    began = time.monotonic()
    before = restarts_of(work.docker.containers(project.name))
    made = [c for c in members if (c.service, c.release) == (target.service, target.release)]
    old = [c for c in members if c not in made]
    new = _standing(work, made)
    if new is None:
        if (refused := _start_beside(work, project, config, target, old)) is not None:
            return f"{target.service}: {refused}"
        new = _made(work, project, target)
    _reached(work, Step.STARTED, target.service)
    if (trouble := work.gate.wait_for(project.name, {target.service}, before, only=new.id)) is not None:
        return trouble
    _reached(work, Step.HEALTHY, target.service)
    if any(is_up(c) for c in old) and all(c.generation < new.generation for c in old):
        if (trouble := _wait_until_asked(work, target, new.generation)) is not None:
            return trouble
        _reached(work, Step.SWITCHED, target.service)
        time.sleep(DRAIN)
    _reached(work, Step.DRAINED, target.service)
    for container in old:
        work.docker.remove(container.id, grace=GRACE)
    if new.name != target.name:
        work.docker.rename(new.id, target.name)
    seconds = time.monotonic() - began
    if new.generation < max((c.generation for c in old), default=0):
        log.say(f"The container of {target.service} that was there before has it again ({seconds:.1f} s).")
    else:
        log.say(f"Passed {target.service} on to a new container ({seconds:.1f} s, no interruption).")
    return None


def _standing(work: Work, made: Sequence[Container]) -> Container | None:
    """What a run that was cut off has started already, if it is up; anything else that it left is removed."""
    up = [container for container in made if is_up(container)]
    for container in made:
        if container not in up[:1]:
            work.docker.remove(container.id, grace=0)
    return up[0] if up else None


def _start_beside(
    work: Work, project: Project, config: Mapping[str, Any], target: Target, old: Sequence[Container]
) -> str | None:
    generation = max((c.generation for c in old), default=0) + 1
    spec = routing.beside(target.spec, generation, target.release, routing.shared_names(project.services))
    single = {**config, "services": {**config["services"], target.service: spec}}
    own = sum(container.service == target.service for container in old)
    return _up(work, single, target.service, beside=own + 1)


def _wait_until_asked(work: Work, target: Target, generation: int) -> str | None:
    """Wait until the public addresses of a service are answered by this generation; returns what is wrong, or None."""
    urls = work.gate.addresses_of(routing.hosts(target.spec))
    if not urls:
        time.sleep(SWITCH_PATIENCE / 4)  # nobody can tell; Traefik has looked twice by then
        return None
    ends = time.monotonic() + SWITCH_PATIENCE
    while True:
        answering = work.gate.generations(urls)
        # None: the address is answered by another service, or by one that this program did not make.
        if all(found is None or found >= generation for found in answering) and generation in answering:
            return None
        if time.monotonic() >= ends:
            late = f"Traefik has not passed it a request within {SWITCH_PATIENCE:.0f} s"
            return f"{target.service}: it is healthy, and {late}"
        time.sleep(POLL)


def _made(work: Work, project: Project, target: Target) -> Container:
    found = [c for c in members_of(target.service, work.docker.containers(project.name)) if c.release == target.release]
    if not found:
        raise Problem(f"docker compose up made no container for {target.service}.")
    return found[0]


def _config(project: Project, wanted: Collection[Target]) -> dict[str, Any]:
    """The project as Compose gets it: all services with our labels, those side by side in their first generation."""
    shared = routing.shared_names(project.services)
    services = {
        t.service: routing.alone(t.spec, t.release) if t.in_place else routing.beside(t.spec, 1, t.release, shared)
        for t in wanted
    }
    for name, spec in services.items():
        if "container_name" in project.services[name]:
            spec.setdefault("container_name", project.services[name]["container_name"])
    return {**project.config, "services": services}


def _reached(work: Work, step: Step, service: str) -> None:
    if work.attempt.step is not Step.ROLLING_BACK:
        work.reached(step, service=service)
