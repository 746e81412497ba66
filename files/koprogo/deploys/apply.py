"""Making one commit the version that runs, with the settings as they are now."""

from __future__ import annotations

import time

from koprogo import history, log
from koprogo.deploys import decide, wanted
from koprogo.deploys.complete import complete
from koprogo.deploys.prepare import prepare, refuse_surprises
from koprogo.deploys.work import Work
from koprogo.problem import Problem


def apply(work: Work, commit: str) -> None:
    """Deploy a commit, or, if it is the one that runs, the settings as they are now. Raises Problem if that fails."""
    began = time.monotonic()
    deployed = work.state.deployed
    try:
        refuse_surprises(work, commit)
    except Problem as problem:
        history.stopped(work, commit, str(problem))
        raise
    last = work.state.check
    # While nothing runs, one that cannot be deployed is begun anew by every check: that is no news.
    told = deployed is None and last is not None and last.commit == commit and last.problem is not None
    fresh = (work.begin(commit) and not told) or work.asked
    if (seen := decide.began(work.attempt.started, time.time(), work.state.check)) != work.attempt.started:
        # Else the wait for CI would last as long as the clock was set back, too; or be over once it is set ahead.
        work.reached(work.attempt.step, started=seen)
    if work.state.runs(commit):
        log.say(f"{commit[:7]} is the version that runs: applying the settings as they are now.")
    elif fresh:
        running = f"{deployed.commit[:7]} runs" if deployed else "nothing runs yet"
        log.say(f"New commit {commit[:7]} on {work.config.branch} ({work.repository.subject(commit)}); {running}.")
    prepared = prepare(work, commit, fresh=fresh)
    if work.state.runs(commit) and (schema := wanted.new_schema(work, prepared.project)):
        # A later version failed, and was left as it is.
        work.save(attempt=None)
        raise Problem(
            f"What stands here now works on data of another form than {commit[:7]}, the last version that was healthy "
            f"({schema}): it is not started on that. Push a commit that mends it; or restore the dump of before, and "
            f"then: koprogo rollback --data-restored"
        )
    complete(work, prepared, began)
