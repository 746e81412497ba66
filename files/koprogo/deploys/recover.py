"""Finishing or undoing what a run that was killed had begun; the network is not needed for it."""

from __future__ import annotations

import time

from koprogo import log
from koprogo.deploys import decide, rollback
from koprogo.deploys.complete import complete
from koprogo.deploys.decide import Recovery
from koprogo.deploys.prepare import Prepared
from koprogo.deploys.undo import fail, go_back, restore_images
from koprogo.deploys.work import Work
from koprogo.docker.compose import Compose, Invalid
from koprogo.problem import Problem
from koprogo.state import Attempt, Deployed, Step

RESTORE = "restore.json"
"""See `journal`."""


def recover(work: Work) -> None:
    """Bring an attempt that nobody ended to its end. Raises Problem when its commit does not run then.

    A restore that was cut off comes first: it says which data there are to run on.
    """
    if (work.config.state_dir / RESTORE).exists():
        from koprogo.backups import restoring  # noqa: PLC0415 - a check as a rule does not need it

        restoring.recover(work)
    recovery = decide.recovery(work.state)
    if recovery is Recovery.NONE:
        return
    attempt = work.attempt
    if recovery is Recovery.GIVE_UP:
        # The number of tries tells it from a way back that succeeded.
        work.reached(Step.ROLLING_BACK, tries=max(attempt.counted, decide.TRIES) + 1, excused=0)
        work.save(attempt=None)
        raise Problem(
            f"Going back from {attempt.commit[:7]} failed {decide.TRIES} times and is given up. "
            f"See `docker ps` and `docker logs` now; a newer commit is deployed as usual."
        )
    log.say(f"A run ended in the middle of {attempt.commit[:7]} ({attempt.step.value}); taking it up again.")
    version = rollback.recorded(work, attempt.commit) if attempt.rollback else None
    if recovery is Recovery.AGAIN:
        if version is None:
            work.save(attempt=None)
            raise Problem(f"{_forgotten(attempt)}: it is not gone back to.")
        rollback.go(work, version)
        return
    if attempt.step is Step.ROLLING_BACK:
        go_back(work)
    if recovery is Recovery.BACK:
        fail(work, attempt.commit, f"it was interrupted {attempt.counted} times while it started", None)
    if attempt.rollback and version is None:
        fail(work, attempt.commit, _forgotten(attempt), None)
    _forward(work, version)


def _forgotten(attempt: Attempt) -> str:
    return f"The history does not say any more what ran as {attempt.commit[:7]}"


def _forward(work: Work, version: Deployed | None) -> None:
    """Go on with a switch; `version` is what somebody wants to go back to."""
    attempt, began = work.attempt, time.monotonic()
    tag = version.tag if version else decide.tag_for(work.config.image_tag, attempt.commit)
    work.repository.check_out(attempt.commit)
    if version is not None:
        restore_images(work, version)
    try:
        project = Compose(work.config, work.runner, tag).project()
    except Invalid:
        # It was valid with the .env of before. A few more checks, and what ran before is started again.
        work.reached(attempt.step, tries=attempt.tries + 1)
        raise
    complete(work, Prepared(attempt.commit, tag, project), began)
