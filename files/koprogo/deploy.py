"""`koprogo deploy`: bring the server to the newest commit of the branch, or leave it as it is.

The order is what keeps it safe: everything that can fail without touching anything comes first; every step is on the
disk before the next begins; the running version changes its name only after the new one was seen healthy.
"""

from __future__ import annotations

import time

from koprogo import decide, history, lock, log, prune
from koprogo.compose import Compose
from koprogo.config import Config
from koprogo.decide import Action, Recovery
from koprogo.prepare import Prepared, prepare, refuse_surprises
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Check, Hold, Step
from koprogo.switch import fail, go_back, switch
from koprogo.work import NotYet, Work


def run(config: Config, *, asked: bool) -> int:
    """Do one check, and the deploy that it calls for; returns the exit code.

    `asked`: a person or deploy.py wants it now, as opposed to the timer: it waits for a run that is going on, applies
    changed settings to the version that runs, and says so when there was nothing to do.
    """
    log.keep_in(config.log_file)
    path = config.state_dir / "deploy.lock"
    try:
        with lock.exclusive(path, wait=False) as held:
            return _locked(config, held, asked=asked)
    except lock.Busy:
        if not asked:
            log.say("Another deploy is at work; this check leaves it to it.")
            return 0
    log.say("Another deploy is at work; waiting for it to end.")
    with lock.exclusive(path, wait=True) as held:
        return _locked(config, held, asked=asked)


def _locked(config: Config, held: int, *, asked: bool) -> int:
    work = Work(config, Runner(held=[held]), asked=asked)
    seen = work.state.check.commit if work.state.check else None
    problem: str | None = None
    try:
        history.note(config.state_dir, work.state, work.subject)
        recover(work)
        if work.state.hold is not None:
            _keep(work, work.state.hold)
        else:
            seen = work.repository.remote_head()
            seen = _follow(work, seen)
    except Problem as error:
        problem = str(error)
    except NotYet as error:
        problem = str(error) if asked else None
    last, now = work.state.check, time.time()
    said_at = last.said_at if last else 0
    if problem is not None and (asked or decide.worth_saying(last, seen, problem, now)):
        log.complain(problem)
        said_at = now
    work.save(check=Check(now, seen, problem, said_at))
    history.note(config.state_dir, work.state, work.subject)
    return 0 if problem is None else 1


def _keep(work: Work, hold: Hold) -> None:
    """A person wants no deploys: only settings are applied, and those when a person asks."""
    deployed = work.state.deployed
    if work.asked and deployed is not None:
        since = log.stamp(hold.at)
        log.say(f"No deploys since {since} ({hold.reason}): only settings are applied, until koprogo resume.")
        _deploy(work, deployed.commit)


def _follow(work: Work, newest: str) -> str:
    """Do what the newest commit calls for; returns the one that was seen in the end."""
    action = decide.action(work.state, newest, asked=work.asked)
    if action is Action.DEPLOY:
        newest = work.repository.fetch()
        action = decide.action(work.state, newest, asked=work.asked)
    deployed = work.state.deployed
    if action is Action.DEPLOY:
        _deploy(work, newest)
    elif action is Action.REAPPLY and deployed is not None:
        bad = work.state.bad(newest)
        if bad is not None:
            log.say(f"{newest[:7]} is in quarantine since {log.stamp(bad.at)}: {bad.reason}. Push a newer commit.")
        _deploy(work, deployed.commit)
    elif work.state.attempt is not None:
        # The branch came back from a commit that was being waited for.
        work.save(attempt=None)
    return newest


def _deploy(work: Work, commit: str) -> None:
    began = time.monotonic()
    deployed = work.state.deployed
    refuse_surprises(work, commit)
    fresh = work.begin(commit) or work.asked
    if work.state.runs(commit):
        log.say(f"{commit[:7]} is the version that runs: applying the settings as they are now.")
    elif fresh:
        running = f"{deployed.commit[:7]} runs" if deployed else "nothing runs yet"
        log.say(f"New commit {commit[:7]} on {work.config.branch} ({work.repository.subject(commit)}); {running}.")
    prepared = prepare(work, commit, fresh=fresh)
    switch(work, prepared)
    done(work, prepared, time.monotonic() - began)


def recover(work: Work) -> None:
    """Finish or undo what a run that was killed had begun to touch; the network is not needed for it."""
    recovery = decide.recovery(work.state)
    if recovery is Recovery.NONE:
        return
    attempt = work.attempt
    if recovery is Recovery.GIVE_UP:
        work.save(attempt=None)
        raise Problem(
            f"Going back from {attempt.commit[:7]} failed {decide.TRIES} times and is given up. "
            f"See `docker ps` and `docker logs` now; a newer commit is deployed as usual."
        )
    log.say(f"A run ended in the middle of {attempt.commit[:7]} ({attempt.step.value}); taking it up again.")
    if attempt.step is Step.ROLLING_BACK:
        go_back(work)
    if recovery is Recovery.BACK:
        fail(work, attempt.commit, f"it was interrupted {attempt.tries} times while it started", None)
    began = time.monotonic()
    work.repository.check_out(attempt.commit)
    tag = decide.tag_for(work.config.image_tag, attempt.commit)
    prepared = Prepared(attempt.commit, tag, Compose(work.config, work.runner, tag).project())
    switch(work, prepared)
    done(work, prepared, time.monotonic() - began)


def done(work: Work, prepared: Prepared, seconds: float) -> None:
    """Say that a version is live, and take away what no longer is."""
    images, addresses = len(prepared.project.images), len(work.config.health_urls)
    log.say(
        f"Deployed {prepared.commit[:7]} ({prepared.tag}) in {seconds:.0f} s: "
        f"{images} services healthy, {addresses} public addresses answer."
    )
    prune.after(work)
