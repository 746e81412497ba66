"""One run of `koprogo deploy`: the edges that it works with and what it remembers."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pwd
import time
from typing import Any

from koprogo import history
from koprogo.config import Config
from koprogo.deploys.gate import Gate
from koprogo.deploys.git import Repository
from koprogo.docker.engine import Docker
from koprogo.problem import Problem, one_line
from koprogo.runner import Runner
from koprogo.state import Attempt, Bad, State, Step, Store

TIMER = "timer"


class NotYet(Exception):
    """CI has not built the images; a later run goes on waiting."""


class Work:
    """The edges and the state; the state is on the disk before a method that changes it returns."""

    def __init__(self, config: Config, runner: Runner, *, asked: bool) -> None:
        self.config = config
        self.runner = runner
        self.asked = asked
        """Whether a person waits for the outcome."""
        self.by = person() if asked else TIMER
        """Who wants this run."""
        self._began = time.monotonic()
        self.repository = Repository(config, runner)
        self.docker = Docker(runner)
        self.gate = Gate(config, self.docker)
        self._store = Store(config.state_dir)
        self.state: State = self._store.load()

    def save(self, **changes: Any) -> None:
        """Replace parts of the state, all at once."""
        after = dataclasses.replace(self.state, **changes)
        self.state = history.ended(self.state, after, time.time(), time.monotonic() - self._began)
        self._store.save(self.state)

    def begin(self, commit: str, *, rollback: bool = False) -> bool:
        """Note that `commit` is being deployed; returns whether that is new, or goes on from an earlier run.

        `rollback`: somebody goes back to it, and wants it to stay.
        """
        attempt = self.state.attempt
        if attempt is not None and (attempt.commit, attempt.rollback) == (commit, rollback):
            return False
        self._began = time.monotonic()
        name, subject = os.urandom(6).hex(), self.repository.subject(commit)
        attempt = Attempt(commit, Step.SEEN, time.time(), id=name, by=self.by, subject=subject, rollback=rollback)
        self.save(attempt=attempt)
        return True

    @property
    def attempt(self) -> Attempt:
        """The deploy that is going on."""
        if self.state.attempt is None:
            raise AssertionError("no deploy is going on")
        return self.state.attempt

    def reached(self, step: Step, **changes: Any) -> None:
        """Note how far the deploy has come, before going further."""
        self.save(attempt=dataclasses.replace(self.attempt, step=step, **changes))

    def quarantined(self, commit: str, reason: str) -> tuple[Bad, ...]:
        """Return the quarantine with `commit` in it."""
        others = tuple(bad for bad in self.state.quarantine if bad.commit != commit)
        return (*others, Bad(commit, reason, time.time()))

    def refuse(self, commit: str, reason: str) -> Problem:
        """Give up a commit before anything was touched: quarantine it, if something runs that it could hurt.

        Returns the Problem to raise.
        """
        fallback = self.state.fallback(commit)
        if fallback is None:
            self.save(attempt=None)
            goes_on = "" if self.state.runs(commit) else "; the next check tries again"
            return Problem(f"Cannot deploy {commit[:7]}: {reason}. Nothing was changed{goes_on}.")
        self.save(attempt=None, quarantine=self.quarantined(commit, reason))
        return Problem(
            f"Cannot deploy {commit[:7]}: {reason}. {fallback.commit[:7]} goes on running, untouched. "
            f"{commit[:7]} is not tried again: push a newer commit, or `koprogo retry`."
        )


def person() -> str:
    """Return the name of whoever started this program."""
    return one_line(os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name, 32)


def environment_hash(config: Config) -> str:
    """Return the SHA-256 of the .env file as it is now; raises Problem when it cannot be read."""
    try:
        return hashlib.sha256(config.env_file.read_bytes()).hexdigest()
    except OSError as error:
        raise Problem(
            f"{config.env_file}: {error.strerror}. Run deploy.py again from the operator's machine."
        ) from None
