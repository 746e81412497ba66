"""Being the only one at work: the lock, what is remembered, and a history that is complete afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from koprogo import history, lock, log
from koprogo.config import Config
from koprogo.deploys.work import Work
from koprogo.problem import Problem
from koprogo.runner import Runner

LOCK = "deploy.lock"


@contextmanager
def alone(config: Config, *, asked: bool) -> Iterator[Work]:
    """Hold the deploy lock, for a person (`asked`) after whoever holds it; raises lock.Busy for the timer then.

    What is said meanwhile is in the log of deploys too, and however an attempt ends is in the history.
    """
    log.keep_in(config.log_file)
    path = config.state_dir / LOCK
    with ExitStack() as stack:
        try:
            held = stack.enter_context(lock.exclusive(path, wait=False))
        except lock.Busy:
            if not asked:
                raise
            log.say("Another deploy is at work; waiting for it to end.")
            held = stack.enter_context(lock.exclusive(path, wait=True))
        work = Work(config, Runner(held=[held]), asked=asked)
        history.write(work, quiet=True)
        there = work.state.unwritten
        try:
            yield work
        except Problem as problem:
            history.explain(work, str(problem))
            raise
        finally:
            # What was not written before was said when it was new.
            history.write(work, quiet=work.state.unwritten == there)
