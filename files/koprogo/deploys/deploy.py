"""`koprogo deploy`: bring the server to the newest commit of the branch, or leave it as it is.

The order is what keeps it safe: everything that can fail without touching anything comes first; every step is on the
disk before the next begins; the running version changes its name only after the new one was seen healthy.
"""

from __future__ import annotations

import time

from koprogo import history, lock, log
from koprogo.config import Config
from koprogo.deploys import decide, probation, session
from koprogo.deploys.apply import apply
from koprogo.deploys.decide import Action
from koprogo.deploys.recover import recover
from koprogo.deploys.work import NotYet, Work
from koprogo.health import stuck
from koprogo.problem import Problem
from koprogo.state import Check, Hold


def run(config: Config, *, asked: bool, retry: bool = False) -> int:
    """Do one check, and the deploy that it calls for; returns the exit code.

    `asked`: a person or deploy.py wants it now, as opposed to the timer: it waits for a run that is going on, applies
    changed settings to the version that runs, and says so when there was nothing to do. `retry`: the newest commit is
    tried even though it is in quarantine.
    """
    try:
        with session.alone(config, asked=asked) as work:
            return _check(work, retry=retry)
    except lock.Busy:
        log.say("Another deploy is at work; this check leaves it to it.")
        return 0


def _check(work: Work, *, retry: bool) -> int:
    seen = work.state.check.commit if work.state.check else None
    problem: str | None = None
    try:
        recover(work)
        if work.state.hold is not None:
            _keep(work, work.state.hold, retry=retry)
        else:
            probation.watch(work)
            seen = work.repository.remote_head()
            if not retry or _release(work, seen):
                seen = _follow(work, seen)
    except Problem as error:
        problem = str(error)
        history.explain(work, problem)
    except NotYet as error:
        problem = str(error) if work.asked else None
    last, now = work.state.check, time.time()
    said_at = last.said_at if last else 0
    if problem is not None and (work.asked or decide.worth_saying(last, seen, problem, now)):
        log.complain(problem)
        said_at = now
    stuck.tell(work.config, last, Check(now, seen, problem, said_at), lambda check: work.save(check=check))
    return 0 if problem is None else 1


def _keep(work: Work, hold: Hold, *, retry: bool) -> None:
    """A person wants no deploys: only settings are applied, and those when a person asks."""
    deployed = work.state.deployed
    since = f"No deploys since {log.stamp(hold.at)} ({hold.reason})"
    if retry:
        raise Problem(f"{since}. First: koprogo resume")
    if work.asked:
        log.say(f"{since}: only settings are applied, until koprogo resume.")
        if deployed is not None:
            apply(work, deployed.commit)


def _release(work: Work, newest: str) -> bool:
    """Take the newest commit out of quarantine; returns whether it was there."""
    bad = work.state.bad(newest)
    if bad is None:
        log.say(f"{newest[:7]}, the newest commit, is not in quarantine.")
        return False
    log.say(f"Trying {newest[:7]} again, in quarantine since {log.stamp(bad.at)}: {bad.reason}")
    work.save(quarantine=tuple(other for other in work.state.quarantine if other.commit != newest))
    return True


def _follow(work: Work, newest: str) -> str:
    """Do what the newest commit calls for; returns the one that was seen in the end."""
    action = decide.action(work.state, newest, asked=work.asked)
    if action is Action.DEPLOY:
        newest = work.repository.fetch()
        action = decide.action(work.state, newest, asked=work.asked)
    deployed = work.state.deployed
    if action is Action.DEPLOY:
        if work.state.bad(newest) is not None:
            _release(work, newest)
        apply(work, newest)
    elif action is Action.REAPPLY and deployed is not None:
        bad = work.state.bad(newest)
        if bad is not None:
            since = f"{newest[:7]} is in quarantine since {log.stamp(bad.at)}"
            log.say(f"{since}: {bad.reason}. Push a newer commit, or: koprogo retry")
        apply(work, deployed.commit)
    elif work.state.attempt is not None:
        # The branch came back from a commit that was being waited for.
        work.save(attempt=None)
    return newest
