"""What to do next, given what is remembered and what the branch says. Nothing here touches anything."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from koprogo.state import Check, State, Step

TRIES = 3
"""How often a switch or a way back that was killed half-way is taken up again."""

REPEAT = 3600
"""Seconds before a check that runs into the same problem says so again."""


GAP = 900
"""Seconds between two checks that tell of a server that was off, or of a clock that jumped.

More than a check that waits for a version to become healthy takes, and less than CI has: a clock that is set ahead by
half an hour must not use that up.
"""


class Action(Enum):
    """What a run does about the branch's newest commit."""

    NOTHING = "nothing"
    """It runs, or it is in quarantine."""
    REAPPLY = "reapply"
    """Start the version that runs again, with the settings as they are now."""
    DEPLOY = "deploy"


class Recovery(Enum):
    """What a run does about one that was killed."""

    NONE = "none"
    FORWARD = "forward"
    BACK = "back"
    """Or, if no version was healthy before, leave it as it is."""
    AGAIN = "again"
    """Begin a rollback again: who asked for it may have gone to bed."""
    GIVE_UP = "give up"


def action(state: State, newest: str, *, asked: bool) -> Action:
    """Say what to do about the newest commit of the branch; `asked` when a person wants it, not the timer.

    While no version ever became healthy there is nothing else that a person who asks could mean.
    """
    if state.deployed is None and asked:
        return Action.DEPLOY
    if state.runs(newest) or state.bad(newest) is not None:
        return Action.REAPPLY if asked else Action.NOTHING
    return Action.DEPLOY


def recovery(state: State) -> Recovery:
    """Say what to do about an attempt that nobody ended.

    One that had not touched anything is simply begun again, or overtaken by a newer commit. What went on beside it
    (a pause, a newer commit) does not count: a switch that was begun is finished or undone first.
    """
    attempt = state.attempt
    if attempt is None:
        return Recovery.NONE
    if not attempt.step.touched:
        return Recovery.AGAIN if attempt.rollback else Recovery.NONE
    if attempt.step is Step.ROLLING_BACK:
        return Recovery.BACK if attempt.counted < TRIES else Recovery.GIVE_UP
    # Settings of the version that runs go on: it was healthy once, and nothing else is there to run.
    if attempt.counted >= TRIES and not state.runs(attempt.commit):
        return Recovery.BACK
    return Recovery.FORWARD


def wait_ends(*, first_seen: float, committed: float, first_deploy: bool, patience: float) -> float:
    """Return until when to wait for CI.

    On a new server nobody saw the push: CI had its time since the commit was made.
    """
    return (min(committed, first_seen) if first_deploy else first_seen) + patience


def began(at: float, now: float, last: Check | None) -> float:
    """Return when something began that a check noted as `at`, by the clock of `now`; `last` is the check before this.

    Not in the future, as it seems to be once the clock was set back. And, after long without a check, anew: either the
    server was off, or the clock was set ahead; neither is time that anybody had.
    """
    return now if at > now or (last is not None and now - last.at > GAP) else at


def worth_saying(last: Check | None, newest: str | None, problem: str, now: float) -> bool:
    """Whether a check has to write down `problem`, or did so within the hour.

    Numbers do not make it another problem: they are milliseconds and ports as often as not.
    """
    if last is None or last.problem is None or last.commit != newest:
        return True
    same = re.sub(r"\d+", "", last.problem) == re.sub(r"\d+", "", problem)
    return not same or not 0 <= now - last.said_at < REPEAT


def settings_applied(state: State, environment: str | None, tag_template: str) -> bool:
    """Whether what runs was started with the .env (its SHA-256 is `environment`) and the image tag of now."""
    running = state.deployed
    if running is None:
        return False
    return running.environment == environment and running.tag == tag_for(tag_template, running.commit)


def tag_for(template: str, commit: str) -> str:
    """Return the image tag of a commit: `main-{sha7}` is `main-1a2b3c4`; a literal is itself."""
    return template.replace("{sha7}", commit[:7]).replace("{sha}", commit)


def to_pull(
    images: Iterable[str], tag: str, *, same_commit: bool, ran: Iterable[str], here: Iterable[str]
) -> list[str]:
    """Return which images a deploy has to fetch, in order and once each.

    Those that carry the commit's tag, unless that very commit `ran`; those that did not run before; those that are not
    `here`. Others stay as they are: a registry that moved `postgres:15` meanwhile must not replace the database.
    """
    ran_set, here_set = set(ran), set(here)
    carries = {ref for ref in images if ref.endswith(f":{tag}") and not same_commit}
    fresh = {ref for ref in images if ran_set and ref not in ran_set}
    absent = {ref for ref in images if ref not in here_set}
    return sorted(carries | fresh | absent)
