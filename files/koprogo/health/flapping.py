"""Containers that end and are started again, over and over: at the moment of a check they may look well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koprogo.docker.containers import Container
from koprogo.health.troubles import Trouble

WINDOW = 3600
"""Seconds that are looked back."""
OFTEN = 3
"""How often a container may not restart within them."""
NAME = 12
"""Characters of a container's ID that are remembered, as `docker ps` shows them."""


@dataclass(frozen=True)
class Counted:
    """How often each container had restarted when a check looked."""

    at: float
    restarts: Mapping[str, int]
    """By the ID of the container."""


def noted(before: Sequence[Counted], containers: Iterable[Container], now: float) -> tuple[Counted, ...]:
    """Return what was counted within the last hour, now included. What a clock that was ahead noted is forgotten."""
    recent = [one for one in before if 0 <= now - one.at <= WINDOW]
    return (*recent, Counted(now, {container.id[:NAME]: container.restarts for container in containers}))


def troubles(counted: Sequence[Counted], containers: Iterable[Container]) -> list[Trouble]:
    """Return which containers flap. One that is new counts from when a check saw it first."""
    found = []
    for container in containers:
        past = [one.restarts[container.id[:NAME]] for one in counted if container.id[:NAME] in one.restarts]
        times = container.restarts - min([*past, container.restarts])
        if times >= OFTEN:
            text = (
                f"{container.service}: restarted {times} times within the hour{container.last_exit()}; "
                f"see `koprogo logs {container.service}`"
            )
            found.append(Trouble(f"container {container.service} restarts", text))
    return found


def decode(data: Iterable[Mapping[str, Any]]) -> tuple[Counted, ...]:
    """Return what `dataclasses.asdict` made of them."""
    return tuple(Counted(float(one["at"]), {str(k): int(v) for k, v in one["restarts"].items()}) for one in data)
