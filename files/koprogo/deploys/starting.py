"""Starting a version: the part that a switch and a way back share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from koprogo.deploys import rollout
from koprogo.deploys.gate import restarts_of
from koprogo.deploys.work import Work
from koprogo.docker.compose import Project
from koprogo.problem import Lasting, Problem


def start(work: Work, project: Project) -> str | None:
    """Bring the containers to what the compose file asks for; returns what is wrong afterwards, or None."""
    before = restarts_of(work.docker.containers(project.name))
    trouble = rollout.roll(work, project)
    return trouble or work.gate.wait(project, before, work.attempt.lenient, work.attempt.spared)


@contextmanager
def excused(work: Work) -> Iterator[None]:
    """Let a run that the server's fault ends (Docker, the disk) not count as one that the version ended."""
    try:
        yield
    except Lasting:
        raise
    except Problem as problem:
        work.reached(work.attempt.step, excused=work.attempt.excused + 1)
        raise Problem(f"{problem} The next check goes on from here.") from None
