"""`koprogo rollback`: to a version that ran here before, by the same switch; it stays until `koprogo resume`.

Nothing is asked of anybody: the commit is in the clone, its images are here, or come by their digests. No dump is made:
what is gone back to brings no migrations.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from koprogo import history, log
from koprogo.deploys import wanted
from koprogo.deploys.complete import complete
from koprogo.deploys.prepare import Prepared, read_project, refuse_changes
from koprogo.deploys.undo import restore_images
from koprogo.deploys.work import Work
from koprogo.docker.compose import Project
from koprogo.problem import Problem, one_line
from koprogo.state import Deployed, Entry, Step

SHORTEST = 4
"""Characters of a commit's name."""
NAMED = 8
"""How many versions to name to somebody who asked for one that there is not."""


def choose(entries: Sequence[Entry], running: Deployed, name: str) -> Deployed:
    """Return the version that `name` means, the beginning of a commit; "" means the one that ran before.

    Where the last deploy failed and was left as it is, the last version that was healthy is the one before. Raises
    Problem when there is none, or more than one.
    """
    disturbed = history.disturbed(entries)
    there = history.choices(entries, "" if disturbed else running.commit)
    if not name:
        found = running if disturbed else history.previous(entries, running.commit)
        if found is None:
            raise Problem(f"No version ran here before {running.commit[:7]}.{_named(there)}")
        return found
    if re.fullmatch(r"[0-9a-f]+", name) and len(name) >= SHORTEST:
        matching = [entry for entry in there if entry.commit.startswith(name)]
        if len(matching) == 1 and matching[0].version is not None:
            return matching[0].version
        if matching:
            raise Problem(f"More than one version begins with {name}.{_named(matching)}")
        if running.commit.startswith(name):
            raise Problem(f"{running.commit[:7]} is what runs.{_named(there)}")
    raise Problem(f"No version {name} ran here.{_named(there)}")


def _named(there: Sequence[Entry]) -> str:
    lines = [
        f"\n  {entry.commit[:12]}  {log.minute(entry.at)}  {one_line(entry.subject, 46)}" for entry in there[:NAMED]
    ]
    return " There is:" + "".join(lines) if lines else " There is no other."


def recorded(work: Work, commit: str) -> Deployed | None:
    """Return what ran when `commit` ran last; None where nobody knows any more."""
    versions = history.versions(history.legible(work.config.state_dir, work.state))
    return next((version for version in versions if version.commit == commit), None)


def go(work: Work, version: Deployed, *, data_restored: bool = False) -> None:
    """Bring a version back and keep it. Raises Problem when it does not run in the end."""
    began, running = time.monotonic(), work.state.deployed
    if work.begin(version.commit, rollback=True):
        away = f" from {running.commit[:7]}" if running and running.commit != version.commit else ""
        log.say(f"Going back{away} to {version.commit[:7]} ({work.attempt.subject}), which {work.by} asked for.")
    try:
        project = _prepare(work, version, data_restored)
        complete(work, Prepared(version.commit, version.tag, project), began)
    except Problem:
        if work.state.attempt is not None and not work.attempt.step.touched:
            work.save(attempt=None)
        raise
    log.say(f"{version.commit[:7]} stays until: koprogo resume")


def _prepare(work: Work, version: Deployed, data_restored: bool) -> Project:
    refuse_changes(work)
    project = read_project(work, version.commit, version.tag)
    schema = wanted.new_schema(work, project)
    if schema and not data_restored:
        raise Problem(
            f"{version.commit[:7]} works on data of another form ({schema}), so nothing was changed. Restore the "
            f"database as it was{_dump(work)}; then: koprogo rollback {version.commit[:7]} --data-restored"
        )
    work.reached(Step.CHECKED)
    try:
        restore_images(work, version)
        absent = sorted({ref for ref in project.images.values() if work.docker.image_id(ref) is None})
        if absent:
            raise Problem(
                f"By the settings of now it needs {absent[0]}, which it did not run with. Nothing was changed."
            )
        wanted.require_memory(work, project)
    except Problem:
        if work.state.deployed is not None:
            restore_images(work, work.state.deployed)
        raise
    work.reached(Step.PULLED)
    return project


def _dump(work: Work) -> str:
    """Where the dump of before the last deploy is, if there was one, and it is still there."""
    entries = history.known(work.config.state_dir, work.state)
    dump = next((entry.dump for entry in reversed(entries) if entry.dump), "")
    if not dump:
        return ""
    return f" ({dump} is of before the last deploy)" if Path(dump).exists() else f" ({dump} is gone; see the backups)"
