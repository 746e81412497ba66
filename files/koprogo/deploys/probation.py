"""A version that went live is looked after for a while: not every one that is no good is so in the first seconds.

For ten minutes each check looks at its containers and the public addresses. What goes wrong with it and stays wrong
(see `gate.Gate.still`) is dealt with as if it had not become healthy: what ran before comes back, and the commit is
not tried again. A rollback that somebody asked for, other settings and a newer commit end that; a pause interrupts it.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import NoReturn

from koprogo import log
from koprogo.backups import space
from koprogo.deploys import decide
from koprogo.deploys.undo import go_back, keep_logs, no_way_back
from koprogo.deploys.work import Work
from koprogo.state import Attempt, Deployed, Entry, Outcome, Probation, Step

LASTS = 600.0
"""Seconds."""


def watch(work: Work) -> None:
    """Look at the version that runs, while it is new; raises Problem when it was no good after all."""
    probation, running = work.state.probation, work.state.deployed
    if probation is None or running is None:
        return
    now = time.time()
    since = decide.began(probation.since, now, work.state.check)
    if now - since >= LASTS:
        work.save(probation=None)
        return
    if since != probation.since:
        # Else it would last as long as the clock was set back, too; or be over once it is set ahead.
        probation = replace(probation, since=since)
        work.save(probation=probation)
    trouble = work.gate.still(running, probation)
    # On a disk without room nobody is well, and the version before would not be either.
    if trouble is not None and space.lacking(work) is None:
        _give_up(work, running, probation, trouble)


def _give_up(work: Work, running: Deployed, probation: Probation, trouble: str) -> NoReturn:
    """Do with the version that runs what `undo.fail` does with one that did not come to run."""
    commit, before = running.commit, probation.before
    kept = keep_logs(work, commit, trouble, running.project)
    if work.state.attempt is not None:
        # A newer commit that waits for CI: it begins again once this is over.
        work.save(attempt=None)
    name, subject, now = os.urandom(6).hex(), work.repository.subject(commit), time.time()
    # From here on it has never been the one that runs. All of it at once: a run that is killed goes on from here.
    ended = {"deployed": before, "probation": None, "quarantine": work.quarantined(commit, trouble)}
    if probation.schema:
        entry = Entry(name, now, commit, Outcome.FAILED, subject, work.by, reason=trouble, dump=probation.dump)
        work.save(**ended, unwritten=(*work.state.unwritten, entry))
        raise no_way_back(commit, trouble, probation.schema, kept)
    attempt = Attempt(commit, Step.ROLLING_BACK, now, lenient=probation.lenient, id=name, by=work.by, subject=subject,
                      dump=probation.dump)  # fmt: skip
    work.save(**ended, attempt=attempt)
    minutes = (now - probation.since) / 60
    log.complain(
        f"{commit[:7]} went live {minutes:.0f} minutes ago and is not healthy any more: {trouble}. "
        f"Going back to {before.commit[:7]}.{kept}"
    )
    go_back(work)
