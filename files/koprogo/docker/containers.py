"""What Docker says about the containers of the application, and what that means. Nothing here runs anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from koprogo.docker.routing import GENERATION, RELEASE, SCHEMA, routers_of
from koprogo.problem import one_line

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"

RESTARTS_TOLERATED = 2


@dataclass(frozen=True)
class Container:
    """One container of the compose project, as `docker inspect` describes it."""

    id: str
    name: str
    service: str
    image_ref: str
    image_id: str
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    health: str | None
    """starting, healthy or unhealthy; None without a health check."""
    exit_code: int
    restarts: int
    started: str
    restart_policy: str
    last_output: str
    """What the last health check printed."""
    release: str = ""
    """What this program made it from (see `routing.release`); "" for one that it did not make."""
    generation: int = 0
    """The how-manieth container of its service it is, of those that ran side by side with an older one."""
    schema: str = ""
    """What the compose file calls the form of the data that it works with (see `routing.SCHEMA`)."""
    holds: frozenset[str] = frozenset()
    """What no other service's container should have at the same time (see `routing.wants`)."""

    @property
    def finished(self) -> bool:
        """Whether it did its work once and is not meant to run on."""
        return self.status == "exited" and self.exit_code == 0 and self.restart_policy in ("", "no")

    def last_exit(self) -> str:
        """Say with which code it ended; "" while it runs, for Docker forgets it then."""
        return "" if self.status == "running" else f", last exit code {self.exit_code}"


def parse(inspected: str) -> list[Container]:
    """Read the output of `docker inspect`; containers of `docker compose run` are left out.

    Raises ValueError when it is not what `docker inspect` prints.
    """
    data = json.loads(inspected)
    if not isinstance(data, list):
        raise ValueError("not a list")
    containers = [_container(item) for item in data]
    return sorted((c for c in containers if c is not None), key=lambda c: c.name)


def _container(item: dict[str, Any]) -> Container | None:
    labels: Mapping[str, str] = item["Config"].get("Labels") or {}
    if labels.get(ONE_OFF_LABEL, "False") == "True":
        return None
    state = item["State"]
    health: Mapping[str, Any] = state.get("Health") or {}
    probes = health.get("Log") or []
    status = health.get("Status")
    return Container(
        id=item["Id"],
        name=item["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        image_ref=item["Config"]["Image"],
        image_id=item["Image"],
        status=state["Status"],
        health=None if status in (None, "", "none") else str(status),
        exit_code=int(state["ExitCode"]),
        restarts=int(item.get("RestartCount", 0)),
        started=str(state.get("StartedAt", "")),
        restart_policy=str(item["HostConfig"].get("RestartPolicy", {}).get("Name", "")),
        release=labels.get(RELEASE, ""),
        generation=int(labels.get(GENERATION, 0)),
        schema=labels.get(SCHEMA, ""),
        holds=_holds(item, labels),
        last_output=one_line(str(probes[-1].get("Output", "")) if probes else "", 160),
    )


def _holds(item: Mapping[str, Any], labels: Mapping[str, str]) -> frozenset[str]:
    volumes = {f"volume {mount['Name']}" for mount in item.get("Mounts") or () if mount.get("Type") == "volume"}
    bound = (item["HostConfig"].get("PortBindings") or {}).items()
    ports = {f"port {one['HostPort']}/{key.partition('/')[2]}" for key, ones in bound for one in ones or ()}
    routers = {f"router {name.removesuffix('-' + labels.get(GENERATION, ''))}" for name in routers_of(labels)}
    return frozenset({f"name {item['Name'].lstrip('/')}", *volumes, *ports, *routers})


@dataclass(frozen=True)
class Verdict:
    """How the containers do: both empty is healthy; `failing` will not mend itself, `waiting` may."""

    failing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    unknown: bool = False
    """Whether Docker does not say."""

    @property
    def healthy(self) -> bool:
        """Whether every wanted service is up."""
        return not self.failing and not self.waiting

    @property
    def text(self) -> str:
        """What is wrong, on one line."""
        return "; ".join((*self.failing, *self.waiting))


def judge(
    containers: Iterable[Container], wanted: Iterable[str], restarts_before: Mapping[str, int] | None = None
) -> Verdict:
    """Say whether every service of `wanted` runs and is healthy.

    A container that ended with 0 and has no restart policy did its work. Restarts count only against
    `restarts_before`, by container id: without it nobody knows whether they are of now or of last month.
    """
    by_service: dict[str, list[Container]] = {service: [] for service in wanted}
    for container in containers:
        if container.service in by_service:
            by_service[container.service].append(container)
    failing: list[str] = []
    waiting: list[str] = []
    for service, members in sorted(by_service.items()):
        if not members:
            waiting.append(f"{service}: no container")
        for container in members:
            before = {container.id: container.restarts} if restarts_before is None else restarts_before
            restarts = container.restarts - before.get(container.id, 0)
            bad, patient = _trouble(container, restarts)
            if bad is not None:
                (waiting if patient else failing).append(f"{service}: {bad}")
    return Verdict(tuple(failing), tuple(waiting))


def _trouble(container: Container, restarts: int) -> tuple[str | None, bool]:
    """Return what is wrong with one container, and whether waiting may help."""
    if container.finished:
        return None, True
    if restarts > RESTARTS_TOLERATED:
        return f"restarted {restarts} times{container.last_exit()}", False
    if container.status != "running":
        ended = f" with {container.exit_code}" if container.status in ("exited", "dead", "restarting") else ""
        given_up = container.status in ("exited", "dead") and container.restart_policy in ("", "no")
        return container.status + ended, not given_up
    if container.health == "unhealthy":
        return "unhealthy" + (f" ({container.last_output})" if container.last_output else ""), False
    if container.health == "starting":
        return "starting", True
    return None, True
