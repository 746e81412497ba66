"""What a person decides about deploys: wait, go on, go back to another version, try again, look first."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from koprogo import decide, deploy, history, lock, log, rollout
from koprogo.compose import Invalid, Project
from koprogo.config import Config
from koprogo.prepare import prepare, read_project
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Deployed, Hold
from koprogo.switch import restore_images, switch
from koprogo.work import Work

LOG = "/var/log/koprogo-gitops.log"
COMMITS_SHOWN = 12


def pause(config: Config, reason: str) -> int:
    """Let the checks deploy nothing until `resume`."""
    with _working(config) as work:
        work.save(hold=Hold(time.time(), reason))
    print("Paused: no check deploys anything. What runs goes on running. To go on: koprogo resume")
    return 0


def resume(config: Config) -> int:
    """Let the checks deploy again, beginning with the next one."""
    with _working(config) as work:
        if work.state.hold is None:
            print("Nothing is paused or rolled back.")
            return 0
        work.save(hold=None)
    print("The next check deploys the newest commit, unless it is in quarantine. At once: koprogo deploy")
    return 0


def retry(config: Config) -> int:
    """Take the newest commit out of quarantine, and try it."""
    with _working(config) as work:
        newest = work.repository.remote_head()
        if work.state.bad(newest) is None:
            print(f"{newest[:7]} is not in quarantine.")
            return 0
        work.save(quarantine=tuple(bad for bad in work.state.quarantine if bad.commit != newest))
    return deploy.run(config, asked=True)


def rollback(config: Config, name: str, *, data_restored: bool) -> int:
    """Go to a version that ran before, and stay there until `resume`."""
    with _working(config) as work:
        deploy.recover(work)
        running = work.state.deployed
        if running is None:
            raise Problem("Nothing was deployed here so far.")
        target = choose(history.versions(history.read(config.state_dir)), running, name)
        hold = Hold(time.time(), f"rolled back from {running.commit[:7]}", target.commit)
        log.say(f"Going back from {running.commit[:7]} to {target.commit[:7]}, as asked.")
        began = time.monotonic()
        before = work.state.hold
        # First: cut off from here on, the next run brings this to its end, and no check deploys over it.
        work.save(hold=hold)
        try:
            work.begin(target.commit)
            restore_images(work, target)
            prepared = prepare(work, target.commit, fresh=True)
            _require_same_data(work, prepared.project, data_restored)
            switch(work, prepared)
        except Problem:
            work.save(hold=before)
            raise
        deploy.done(work, prepared, time.monotonic() - began)
        history.note(config.state_dir, work.state, work.subject)
    print(f"{target.commit[:7]} stays until: koprogo resume")
    return 0


def choose(versions: Sequence[Deployed], running: Deployed, name: str) -> Deployed:
    """Return the version that `name` (the beginning of a commit; "" for the one before) means. Raises Problem."""
    others = [version for version in versions if version.commit != running.commit]
    found = [version for version in others if version.commit.startswith(name)] if name else others[:1]
    if len(found) == 1:
        return found[0]
    there_is = ", ".join(version.commit[:7] for version in others[:8]) or "none"
    what = f"No version {name} ran here" if name else "No other version ran here"
    raise Problem(f"{'More than one version begins with ' + name if found else what}. There is: {there_is}.")


def _require_same_data(work: Work, project: Project, data_restored: bool) -> None:
    schema = rollout.new_schema(work, project)
    if schema and not data_restored:
        work.save(attempt=None)
        raise Problem(
            f"That version works on data of another form ({schema}). Restore the dump of before that deploy, which is "
            f"among the backups; then: koprogo rollback --data-restored. Nothing was changed."
        )


def diff(config: Config) -> int:
    """Show what the next deploy would change; nothing is touched."""
    with _working(config) as work:
        newest = work.repository.fetch()
        deployed = work.state.deployed
        if deployed is not None and deployed.commit == newest:
            print(f"{newest[:7]} is the newest commit, and runs.")
            return 0
        commits = work.repository.subjects(deployed.commit if deployed else None, newest, COMMITS_SHOWN + 1)
        print(f"{deployed.commit[:7] if deployed else 'nothing'} → {newest[:7]}")
        for line in commits[:COMMITS_SHOWN]:
            print(f"  {line[:100]}")
        if len(commits) > COMMITS_SHOWN:
            print("  …")
        try:
            project = read_project(work, newest, decide.tag_for(config.image_tag, newest))
        except Invalid as error:
            raise Problem(f"It would be refused: {error}") from None
        for line in moves(work, project):
            print(line)
    return 0


def moves(work: Work, project: Project) -> Iterator[str]:
    """Say of each service what a deploy of this project does with it."""
    containers = work.docker.containers(project.name)
    for target in rollout.targets(work, project):
        mine = [c for c in containers if c.service == target.service]
        if target.is_met_by(mine):
            yield f"= {target.service}"
            continue
        image, old = target.spec["image"], mine[-1].image_ref if mine else None
        what = f"{old} → {image}" if old and old != image else f"{image}, another definition" if old else image
        how = f"in place, since {target.in_place}" if target.in_place else "no request is lost"
        yield f"{'~' if old else '+'} {target.service}  {what}  ({how})" if old else f"+ {target.service}  {what}"
    yield from (f"- {c.service}" for c in containers if c.service not in project.images)


def show_history(config: Config, *, as_json: bool) -> int:
    """Print what was deployed and what failed."""
    entries = history.read(config.state_dir)
    deployed = Work(config, Runner(), asked=True).state.deployed
    print(json.dumps(entries, indent=1) if as_json else history.screen(entries, deployed.commit if deployed else None))
    return 0


def logs(config: Config, service: str, lines: int) -> int:
    """Print the last lines of the deploys' log, or of the containers of a service."""
    if not service:
        return subprocess.run(["tail", f"--lines={lines}", LOG], check=False).returncode
    deployed = Work(config, Runner(), asked=True).state.deployed
    work = Work(config, Runner(), asked=True)
    found = [c for c in work.docker.containers(deployed.project) if c.service == service] if deployed else []
    if not found:
        raise Problem(f"There is no container of {service}; see `koprogo status`.")
    for container in found:
        print(work.docker.logs(container.id, lines), end="")
    return 0


@contextmanager
def _working(config: Config) -> Iterator[Work]:
    """Hold the lock, after a deploy that is going on."""
    log.keep_in(config.log_file)
    path = config.state_dir / "deploy.lock"
    try:
        with lock.exclusive(path, wait=False) as held:
            yield Work(config, Runner(held=[held]), asked=True)
            return
    except lock.Busy:
        log.say("A deploy is at work; waiting for it to end.")
    with lock.exclusive(path, wait=True) as held:
        yield Work(config, Runner(held=[held]), asked=True)
