"""The health gate: a version counts as deployed only when its containers are healthy and the public sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from koprogo.config import Config
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container, Verdict, judge
from koprogo.docker.engine import Docker
from koprogo.problem import Problem

if TYPE_CHECKING:
    from koprogo.state import Deployed, Probation
    from koprogo.web import Answer

POLL = 2.0
SHORT_POLL = 0.5

SETTLE = 4.0
"""Seconds for which everything has to stay healthy: what starts, answers once and dies has not started."""

FAILING_PATIENCE = 15.0
"""Seconds after which a container that will not mend itself by the looks of it (unhealthy, ended) has failed."""

SILENT_PATIENCE = 60.0
"""Seconds for which the public addresses may fail to answer although every container is healthy; or Docker may."""

HEALTH_TIMEOUT = 300.0
"""Seconds that a started version may take to become healthy."""

CERTIFICATE_TIMEOUT = 240.0
"""Seconds that the first certificate may take after that."""


@dataclass(frozen=True)
class Look:
    """What one look at the application showed."""

    containers: Verdict
    answers: tuple[Answer, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing at all is wrong."""
        return self.containers.healthy and all(answer.trouble is None for answer in self.answers)

    @property
    def only_certificates(self) -> bool:
        """Whether nothing is wrong but certificates."""
        bad = [answer for answer in self.answers if answer.trouble is not None]
        return self.containers.healthy and bool(bad) and all(answer.certificate_trouble for answer in bad)

    @property
    def text(self) -> str:
        """What is wrong, on one line."""
        web_text = [f"{answer.url}: {answer.trouble}" for answer in self.answers if answer.trouble]
        return "; ".join(([self.containers.text] if self.containers.text else []) + web_text)


@dataclass
class Patience:
    """Decides, look by look, when to stop looking. Times are seconds since the gate began."""

    settle: float
    """Seconds for which it has to be healthy."""
    _since: dict[str, float] = field(default_factory=dict)

    def verdict(self, look: Look, now: float) -> bool | None:
        """Return True when the version is good, False when it is not, None while it may become either."""
        if self._lasted("healthy", look.healthy, now) >= self.settle:
            return True
        if self._lasted("failing", bool(look.containers.failing), now) >= FAILING_PATIENCE:
            return False
        if self._lasted("unknown", look.containers.unknown, now) >= SILENT_PATIENCE:
            return False
        silent = look.containers.healthy and not look.healthy and not look.only_certificates
        if self._lasted("silent", silent, now) >= SILENT_PATIENCE:
            return False
        limit = HEALTH_TIMEOUT + (CERTIFICATE_TIMEOUT if look.only_certificates else 0)
        return False if now >= limit and not look.healthy else None

    def _lasted(self, what: str, holds: bool, now: float) -> float:
        """Return for how long `what` has held without a break; -1 when it does not hold."""
        if not holds:
            self._since.pop(what, None)
            return -1
        return now - self._since.setdefault(what, now)


@dataclass(frozen=True)
class Before:
    """How things were before a switch."""

    lenient: tuple[str, ...]
    """The addresses whose certificate does not verify."""
    stood: tuple[str, ...]
    """The IDs of the containers, if nothing but certificates is wrong."""
    ailing: tuple[str, ...] = ()
    """The services that are not well."""


class Gate:
    """Looks at the containers of one project and at the public addresses."""

    def __init__(self, config: Config, docker: Docker) -> None:
        self._config = config
        self._docker = docker

    def before(self, running: Deployed) -> Before:
        """Look how the version that runs is doing before anything is touched."""
        answers = self._ask(())
        lenient = tuple(answer.url for answer in answers if answer.certificate_trouble)
        found = self._containers(running.project)
        if isinstance(found, Verdict):
            return Before(lenient, ())
        ailing = tuple(service for service in running.images if not judge(found, [service]).healthy)
        well = not ailing and all(a.certificate_trouble or not a.trouble for a in answers)
        return Before(lenient, tuple(container.id for container in found) if well else (), ailing)

    def wait(
        self,
        project: Project,
        restarts: Mapping[str, int],
        lenient: Collection[str],
        spared: Collection[str] = (),
    ) -> str | None:
        """Look until the version is good (None) or is not (what is wrong, on one line).

        The certificates of `lenient` addresses are not verified, and `spared` services are not looked at. `restarts`
        are those before the start, by container. Raises Problem where Docker does not say for too long.
        """
        services = [name for name in project.images if name not in spared]
        return _until(Patience(SETTLE), lambda: self._look(project.name, services, restarts, lenient), POLL)

    def still(self, running: Deployed, probation: Probation) -> str | None:
        """Return what has become wrong with a version that was well, and stays wrong, on one line; else None.

        None too where it is not to blame: for Docker, for a certificate, for a service that it left as it was, nor for
        restarts since such a service was started anew. One look is enough while all is well.
        """
        patience, began = Patience(0), time.monotonic()
        while True:
            found = self._containers(running.project)
            if isinstance(found, Verdict) or not judge(found, probation.kept).healthy:
                return None
            steady = all(probation.kept.get(c.service, c.started) == c.started for c in found)
            verdict = judge(found, running.images, probation.restarts if steady else None)
            look = Look(verdict, self._ask(probation.lenient) if verdict.healthy else ())
            good = True if look.only_certificates else patience.verdict(look, time.monotonic() - began)
            if good is not None:
                return None if good else look.text
            time.sleep(POLL)

    def wait_for(
        self, project: str, services: Collection[str], restarts: Mapping[str, int], only: str | None = None
    ) -> str | None:
        """Look until the containers of these services are healthy (None) or have failed (how, on one line).

        `only` is the ID of the one container that counts. `restarts` and Problem as in `wait`.
        """

        def look() -> Look:
            found = self._containers(project)
            if isinstance(found, Verdict):
                return Look(found, ())
            mine = [c for c in found if only in (None, c.id)]
            if only is not None and not mine:
                # Not by this program, which waits for it.
                raise Problem(f"The new container of {', '.join(sorted(services))} was removed by somebody.")
            return Look(judge(mine, services, restarts), ())

        return _until(Patience(0), look, SHORT_POLL)

    def addresses_of(self, hosts: Collection[str]) -> list[str]:
        """Return the public addresses that have one of these names."""
        return [url for url in self._config.health_urls if urlsplit(url).hostname in hosts]

    def generations(self, urls: Iterable[str]) -> list[int | None]:
        """Return of which generation the container was that answered each address; None where that is not said."""
        from koprogo import web  # noqa: PLC0415 - as in _ask

        return [web.ask_here(url, None, verify=False).generation for url in urls]

    def _look(
        self, project: str, services: Collection[str], restarts: Mapping[str, int], lenient: Collection[str]
    ) -> Look:
        found = self._containers(project)
        if isinstance(found, Verdict):
            return Look(found, ())
        verdict = judge(found, services, restarts)
        # Asking the public address of a container that is not up yet only fills its proxy's log.
        return Look(verdict, self._ask(lenient) if verdict.healthy else ())

    def _containers(self, project: str) -> Sequence[Container] | Verdict:
        """What runs; or that Docker does not say, which may pass."""
        try:
            return self._docker.containers(project)
        except Problem as problem:
            return Verdict(waiting=(str(problem).rstrip("."),), unknown=True)

    def _ask(self, lenient: Collection[str]) -> tuple[Answer, ...]:
        # Only a deploy needs TLS: loading it is a fifth of what a check costs.
        from koprogo import web  # noqa: PLC0415

        return tuple(
            web.ask_here(url, self._config.tls_ca_file, verify=url not in lenient) for url in self._config.health_urls
        )


def _until(patience: Patience, look: Callable[[], Look], poll: float) -> str | None:
    """Look until `patience` has a verdict: None when it is good, else what is wrong."""
    began = time.monotonic()
    while True:
        seen = look()
        good = patience.verdict(seen, time.monotonic() - began)
        if good:
            return None
        if good is False and seen.containers.unknown:
            raise Problem(f"{seen.text}.")
        if good is False:
            return seen.text
        time.sleep(poll)


def restarts_of(containers: Iterable[Container]) -> dict[str, int]:
    """Return how often each container has restarted so far, by its ID."""
    return {container.id: container.restarts for container in containers}
