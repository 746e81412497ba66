"""`koprogo diff`: what the next deploy would change. Nothing is touched but for the commits that are fetched."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from koprogo import lock, log
from koprogo.config import Config
from koprogo.deploys import decide, predump, wanted
from koprogo.deploys.prepare import read_project
from koprogo.deploys.session import LOCK
from koprogo.deploys.wanted import Target
from koprogo.deploys.work import Work, environment_hash
from koprogo.docker.compose import Invalid, Project
from koprogo.docker.containers import Container
from koprogo.docker.routing import NO_HEALTH_CHECK
from koprogo.problem import Problem, one_line, printable
from koprogo.runner import Runner

COMMITS = 10
"""So many, and what a deploy does with four services, fit on a screen."""
SERVICES = 6
"""Where there are more of them, those that stay as they are share a line."""
COLUMNS = 80


def run(config: Config) -> int:
    """Print it; returns the exit code."""
    try:
        # Git's own locks are taken for left-overs by whoever has this one.
        with lock.exclusive(config.state_dir / LOCK, wait=False) as held:
            work = Work(config, Runner(held=[held]), asked=True)
            for line in lines(work):
                print(
                    "\n".join(
                        textwrap.wrap(
                            printable(line), COLUMNS, subsequent_indent=" " * 10, max_lines=2, placeholder=" …"
                        )
                    )
                )
    except lock.Busy:
        raise Problem("A deploy is at work; see `koprogo status`, and look again when it has ended.") from None
    return 0


def lines(work: Work) -> Iterator[str]:
    """Say what comes with the newest commit, then what becomes of each service."""
    newest = work.repository.fetch()
    try:
        project = read_project(work, newest, decide.tag_for(work.config.image_tag, newest))
    except Invalid as error:
        raise Problem(f"{newest[:7]} would be refused: {error}") from None
    yield from commits(work, newest)
    yield ""
    yield from moves(work, project)
    yield from (f"! {text}" for text in remarks(work, newest, project))


def commits(work: Work, newest: str) -> Iterator[str]:
    """Name the commits that a deploy would bring, newest first, and the files beside the compose file among them."""
    deployed, branch = work.state.deployed, work.config.branch
    if deployed is None:
        yield f"Nothing runs → {newest[:7]} {work.repository.subject(newest)}"
        return
    if deployed.commit == newest:
        yield f"{newest[:7]} is the newest commit of {branch}, and runs."
        return
    found = work.repository.between(deployed.commit, newest)
    yield f"{deployed.commit[:7]} → {newest[:7]}: {len(found)} commit{'s' * (len(found) != 1)} of {branch}"
    yield from (f"  {sha[:7]} {one_line(subject, COLUMNS - 10)}" for sha, subject in found[:COMMITS])
    if len(found) > COMMITS:
        yield f"  and {len(found) - COMMITS} before these"
    folder = PurePosixPath(work.config.compose_path).parent
    files = work.repository.differing(deployed.commit, newest, str(folder))
    yield f"  in {folder}: " + (", ".join(PurePosixPath(name).name for name in files) or "no file changes")


def moves(work: Work, project: Project) -> Iterator[str]:
    """Say of each service what a deploy of this project does with it, and why."""
    containers = work.docker.containers(project.name)
    gone = sorted({c.service for c in containers} - {*project.images})
    width = max(len(name) for name in [*project.images, *gone])
    kept = []
    for target in wanted.targets(work, project):
        members = [c for c in containers if c.service == target.service]
        here = work.docker.image_id(target.spec["image"]) is not None
        sign, how, what = move(target, members, here=here)
        if sign == "=" and len(project.images) > SERVICES:
            kept.append(target.service)
            continue
        yield f"{sign} {target.service:<{width}}  {how:<8}  {what}"
    if kept:
        yield f"= keep {len(kept)}: {', '.join(kept)}"
    yield from (f"- {service:<{width}}  gone" for service in gone)


def move(target: Target, members: Sequence[Container], *, here: bool) -> tuple[str, str, str]:
    """Return a sign, how a service comes to its target, and from which image to which; `here`: the image is."""
    image = str(target.spec["image"])
    if target.is_met_by(members):
        return "=", "keep", short(image)
    if not members:
        return "+", "new", short(image)
    old = members[-1].image_ref
    what = f"{short(old)} → {short(image)}" if old != image else f"{short(image)}, defined otherwise"
    if target.in_place is None:
        return "~", "beside", what
    if not here and target.in_place == NO_HEALTH_CHECK:
        return "~", "?", f"{what} (its image is not here, and may have a health check)"
    return "~", "in place", f"{what} ({target.in_place})"


def remarks(work: Work, newest: str, project: Project) -> Iterator[str]:
    """Say what else a deploy would do, or what stops it."""
    state = work.state
    if state.hold is not None:
        yield f"no deploys since {log.stamp(state.hold.at)} ({state.hold.reason}): koprogo resume"
    if (bad := state.bad(newest)) is not None:
        yield f"in quarantine, until koprogo retry: {bad.reason}"
    if state.deployed and not work.repository.is_ancestor(state.deployed.commit, newest):
        yield f"the history was rewritten: it does not follow {state.deployed.commit[:7]}"
    if changed := work.repository.local_changes():
        yield f"changed on this server, which stops it: {', '.join(changed)}"
    ids = {service: work.docker.image_id(ref) for service, ref in project.images.items()}
    containers = work.docker.containers(project.name)
    if absent := {ref for service, ref in project.images.items() if ids[service] is None}:
        yield f"images to pull first: {len(absent)}"
    if containers and predump.changing(project.images, ids, containers, work.config.database_service):
        yield "the database is dumped first"
    if state.deployed and (schema := wanted.new_schema(work, project)):
        yield f"it changes the data ({schema}): once it has started nothing goes back by itself"
    if state.runs(newest) and state.deployed and state.deployed.environment != environment_hash(work.config):
        yield "the settings (.env) are not those that it was started with"


def short(image: str) -> str:
    """Return an image's name without where it comes from, for a screen."""
    name, at, digest = image.partition("@")
    return PurePosixPath(name).name + at + digest[:19]
