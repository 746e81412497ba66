"""What each service shall run as, whether there is memory for it, and whether it changes the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from koprogo.docker import routing
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.problem import Problem

if TYPE_CHECKING:
    from koprogo.deploys.work import Work
    from koprogo.state import Deployed

MEMORY_RESERVE = 48 * 2**20
"""Bytes to leave free beside a second container."""


@dataclass(frozen=True)
class Target:
    """What one service shall run as."""

    service: str
    name: str
    """Of the container."""
    spec: routing.Spec
    release: str
    in_place: str | None
    """Why it cannot run beside an older container of itself; None if it can."""

    def is_met_by(self, members: Sequence[Container]) -> bool:
        """Whether there is nothing to do."""
        wanted = routing.replicas(self.spec)
        # Compose alone names them, where there are several, and leaves the second one where there were.
        free = wanted > 1 or (self.in_place is not None and "container_name" not in self.spec)
        right = [c for c in members if c.release == self.release and is_up(c) and (free or c.name == self.name)]
        return len(members) == len(right) == wanted


def targets(work: Work, project: Project) -> list[Target]:
    """Return what every service of a project shall run as, in the order in which they are brought there."""
    found = []
    for name in routing.order(project.services):
        spec = project.services[name]
        image = work.docker.image(spec["image"])
        why = routing.in_place(spec, image.config if image else {})
        called = spec.get("container_name") or f"{project.name}-{name}-1"
        release = routing.release(spec, image.id if image else None, project.given.get(name))
        found.append(Target(name, called, spec, release, why))
    return found


def require_memory(work: Work, project: Project) -> None:
    """Raise Problem where a second container beside the present one would not fit; nothing was touched then."""
    containers = work.docker.containers(project.name)
    for target in targets(work, project):
        members = members_of(target.service, containers)
        if not members or target.in_place or target.is_met_by(members):
            continue
        needed = max(work.docker.memory(members[-1].id), _reserved(target.spec)) + MEMORY_RESERVE
        if (free := available_memory()) < needed:
            raise Problem(
                f"A second {target.service} beside the present one takes {needed >> 20} MB of memory, and"
                f" {free >> 20} MB are free. What runs goes on running; the next check tries again."
            )


def new_schema(work: Work, project: Project, fallback: Deployed | None = None) -> str:
    """Say which services would work on data of another form than now, as in `backend 3 → 4`; "" if none would.

    Or than they did with `fallback`: what stands there now may be a later version, left as it is since it changed them.
    """
    wanted = {name: routing.schema(spec) for name, spec in project.services.items()}
    return _changes(_schemas(work, project.name), wanted) or _changes((fallback and fallback.schema) or {}, wanted)


def ahead(work: Work, fallback: Deployed) -> bool:
    """Whether what stands there now works on data of another form than `fallback` did."""
    return bool(_changes(fallback.schema or {}, _schemas(work, fallback.project)))


def _schemas(work: Work, project: str) -> dict[str, str]:
    return {c.service: c.schema for c in work.docker.containers(project)}


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = [(name, old[name], text) for name, text in sorted(new.items()) if old.get(name, text) != text]
    return ", ".join(f"{name} {before or 'none'} → {after or 'none'}" for name, before, after in changed)


def available_memory() -> int:
    """Return how many bytes of memory new programs can have."""
    with open("/proc/meminfo", encoding="ascii") as stream:  # noqa: PTH123 - no path of ours
        facts = dict(line.split(":", 1) for line in stream)
    return int(facts["MemAvailable"].split()[0]) * 1024


def members_of(service: str, containers: Sequence[Container]) -> list[Container]:
    """Return the containers of a service, the newest last."""
    return sorted((c for c in containers if c.service == service), key=lambda c: c.generation)


def is_up(container: Container) -> bool:
    """Whether it runs, or did its work."""
    return container.status == "running" or container.finished


def _reserved(spec: routing.Spec) -> int:
    resources = (spec.get("deploy") or {}).get("resources") or {}
    return int((resources.get("reservations") or {}).get("memory") or 0)
