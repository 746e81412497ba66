"""Everything that a deploy does before it touches anything: look at the commit, and bring its images here."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from koprogo import log
from koprogo.backups import space
from koprogo.config import Config
from koprogo.deploys import decide, mounted, predump, verify, wanted
from koprogo.deploys.git import Kind
from koprogo.deploys.work import NotYet, Work, environment_hash
from koprogo.docker import prune
from koprogo.docker.complaints import not_built_yet
from koprogo.docker.compose import Compose, Invalid, Project
from koprogo.problem import Problem
from koprogo.state import Step

POLL = 10.0

ASKED_PATIENCE = 600.0
"""Seconds that a run waits for CI when a person asked for it; the timer does not wait, it comes back anyway."""


@dataclass(frozen=True)
class Prepared:
    """A commit that can be switched to: checked, its images here."""

    commit: str
    tag: str
    project: Project


@dataclass(frozen=True)
class _Patience:
    """Until when to wait for CI."""

    run_ends: float
    """By the monotonic clock: then this run leaves it to the next ones."""
    ends: float
    """In seconds since 1970: then the images do not come any more."""


def prepare(work: Work, commit: str, *, fresh: bool) -> Prepared:
    """Check `commit` and pull its images. `fresh`: nobody has been told so far that it is there, or a person asks.

    Raises Problem when it cannot be deployed, NotYet when CI has not built its images so far.
    """
    work.reached(Step.FETCHED)
    signed = verify.signatures(work, commit)
    if signed and fresh:
        log.say(f"Commits signed as they have to be: {signed}.")
    work.reached(Step.VERIFIED)
    tag = decide.tag_for(work.config.image_tag, commit)
    project = _validate(work, commit, tag)
    work.reached(Step.CHECKED)
    _pull(work, commit, tag, project.images.values(), fresh=fresh)
    work.reached(Step.PULLED)
    # Before the dump, and not only before the switch: a deploy that waits for memory need not dump every time.
    wanted.require_memory(work, project)
    predump.make(work, commit, project)
    return Prepared(commit, tag, project)


def refuse_surprises(work: Work, commit: str) -> None:
    """Raise Problem when going to `commit` would throw away what somebody did: rewrote the branch, edited a file here.

    No fault of the commit: as soon as the cause is gone, it is deployed.
    """
    deployed = work.state.deployed
    if deployed is not None and not work.repository.is_ancestor(deployed.commit, commit):
        rewritten = f"The history of {work.config.branch} was rewritten: {commit[:7]} does not follow"
        if not work.config.allow_rewrite:
            raise Problem(
                f"{rewritten} {deployed.commit[:7]}, which goes on running. Push a commit that follows it, "
                f"or allow this with GITOPS_ALLOW_FORCE_PUSH=true and deploy.py."
            )
        if work.state.attempt is None or work.state.attempt.commit != commit:
            log.say(f"{rewritten} {deployed.commit[:7]}; GITOPS_ALLOW_FORCE_PUSH lets it pass.")
    refuse_changes(work)


def refuse_changes(work: Work) -> None:
    """Raise Problem when somebody edited a file here, which going to another version would throw away."""
    changed = work.repository.local_changes()
    if changed:
        raise Problem(
            f"Somebody changed {', '.join(changed[:3])} in {work.config.checkout}; a deploy would overwrite it. "
            f"What runs goes on running. Commit the change to the repository, or undo it here with `git checkout .`"
        )


def read_project(work: Work, commit: str, tag: str) -> Project:
    """Read the compose file of `commit` from a copy of its files, with this server's .env; nothing else is touched.

    Raises Invalid where the compose file is wrong, Problem where that cannot be told.
    """
    require_places(work, commit)
    # Compose names a project after its folder: this one has to be called like the real one.
    copy = work.config.state_dir / "candidate" / work.config.checkout.name
    try:
        work.repository.export(commit, copy)
        _lend_environment(work.config, copy)
        project = Compose(work.config, work.runner, tag, copy / work.config.compose_path).project()
    finally:
        shutil.rmtree(copy.parent, ignore_errors=True)
    # What would be mounted from the copy is going to be mounted from the checkout.
    text = json.dumps(project.config)
    for end in ("/", '"'):
        text = text.replace(f"{copy}{end}", f"{work.config.checkout}{end}")
    return mounted.as_in(work, commit, replace(project, config=json.loads(text)))


def require_places(work: Work, commit: str) -> None:
    """Raise Invalid where `commit` has something else in the place of the compose file, of .env, or of their folders.

    Git would remove a .env to make room for it; and what is read by way of a link is no part of the commit.
    """
    config, kind = work.config, work.repository.kind
    secrets, compose = _inside(config.env_file, config.checkout), config.compose_path
    if secrets is not None and kind(commit, secrets) is not None:
        raise Invalid(f"the repository has {secrets} itself, which would overwrite this server's secrets.")
    for folder in sorted({str(above) for path in (secrets, compose) if path for above in PurePath(path).parents}):
        found = kind(commit, folder) if folder != "." else None
        if found not in (Kind.FOLDER, None):
            raise Invalid(f"{folder} is a {found.label} in the repository, and has to be a folder.")
    found = kind(commit, compose)
    if found is not Kind.FILE:
        what = f"{compose} is a {found.label} in" if found else f"{compose} is not in"
        raise Invalid(f"{what} the repository, and has to be a file there.")


def _validate(work: Work, commit: str, tag: str) -> Project:
    """Only a wrong compose file is a reason to give the commit up: a full disk or a silent Docker is not its fault."""
    try:
        project = read_project(work, commit, tag)
    except Invalid as problem:
        raise work.refuse(commit, str(problem).rstrip(".")) from None
    except Problem as problem:
        raise Problem(f"{problem} What runs goes on running; the next check tries again.") from None
    require_name(work, commit, project)
    return project


def require_name(work: Work, commit: str, project: Project) -> None:
    """Raise Problem where the project has another name than what runs: that would go on, beside a second one."""
    deployed = work.state.deployed
    if deployed is None or project.name == deployed.project:
        return
    reason = f"its compose file calls the project {project.name}, and what runs is {deployed.project}"
    if deployed.environment == environment_hash(work.config):
        raise work.refuse(commit, reason)
    # As likely by COMPOSE_PROJECT_NAME in .env.
    raise Problem(f"Cannot deploy {commit[:7]}: with the .env of now {reason}. What runs goes on running.")


def _lend_environment(config: Config, copy: Path) -> None:
    """Make the .env appear where a compose file that names it by `env_file:` looks for it."""
    path = _inside(config.env_file, config.checkout)
    if path is not None and (copy / path).parent.is_dir():
        try:
            (copy / path).symlink_to(config.env_file)
        except OSError as error:
            raise Problem(f"{copy / path}: {error.strerror}.") from None


def _inside(path: Path, directory: Path) -> str | None:
    return path.relative_to(directory).as_posix() if path.is_relative_to(directory) else None


def _pull(work: Work, commit: str, tag: str, images: Collection[str], *, fresh: bool) -> None:
    deployed = work.state.deployed
    # A version that ran here is brought back as it was, also without a registry.
    before = [version for version in prune.last(work) if version.commit == commit]
    wanted = decide.to_pull(
        images,
        tag,
        same_commit=bool(before),
        ran=[image.ref for version in (deployed, *before) if version for image in version.images.values()],
        here=[ref for ref in set(images) if work.docker.image_id(ref) is not None],
    )
    if not work.state.runs(commit):
        space.require(work)
    if not wanted:
        return
    began = time.monotonic()
    ends = decide.wait_ends(
        first_seen=work.attempt.started,
        committed=work.repository.committed_at(commit),
        first_deploy=deployed is None,
        patience=work.config.image_wait,
    )
    patience = _Patience(began + (ASKED_PATIENCE if work.asked else 0), ends)
    for ref in wanted:
        _pull_one(work, commit, ref, patience, fresh=fresh)
    log.say(f"Pulled {len(wanted)} images for {commit[:7]} in {time.monotonic() - began:.0f} s.")


def _pull_one(work: Work, commit: str, ref: str, patience: _Patience, *, fresh: bool) -> None:
    said = not fresh
    while (error := work.docker.pull(ref)) is not None:
        if not not_built_yet(error):
            raise Problem(f"Cannot pull {ref}: {error}. What runs goes on running; the next check tries again.")
        if time.time() >= patience.ends:
            raise work.refuse(commit, f"the registry has no {ref} ({error})")
        if not said:
            log.say(f"Waiting for CI to build {ref}.")
            said = True
        if time.monotonic() >= patience.run_ends:
            raise NotYet(f"The registry has no {ref} yet. What runs goes on running; the checks go on waiting for it.")
        time.sleep(min(POLL, max(patience.ends - time.time(), 0) + 0.1))
