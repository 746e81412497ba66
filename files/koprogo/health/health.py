"""`koprogo health`: one line when all is well, else one line for each thing that is not, and exit code 1.

cron asks every five minutes, and somebody is told of what stays wrong (see watch.py).
"""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from koprogo import lock, log, report
from koprogo.alerts import notify, outbox
from koprogo.backups import offsite
from koprogo.config import Config
from koprogo.health import flapping, machine, memory, metrics, troubles, watch
from koprogo.health.machine import Machine
from koprogo.health.memory import Memory
from koprogo.health.troubles import Trouble
from koprogo.health.watch import News, Patience, Watch
from koprogo.page import page
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.runner import Runner

LOCK = "health.lock"

DEPLOY_MINUTES = 60
"""For how long a deploy that goes on is what the site's troubles are put down to."""
UNSENT = 20
"""How many messages wait at most for a way out, the newest."""
REFUSED = 2
"""How many of them may not be taken until the others wait for the next check: one may be to blame itself."""
BLIND = "health"
"""The key of a check that could not look."""


@dataclass(frozen=True)
class Look:
    """What a look at everything found."""

    found: Report
    machine: Machine
    wrong: list[Trouble]
    memory: Memory
    """What was remembered, and what this look adds to it."""


def run(config: Config, *, as_json: bool = False) -> int:
    """Look at everything, write down what is wrong, and tell somebody of what stays so; returns the exit code.

    `as_json`: for a program, which may ask as often as it likes: nothing is remembered of it, and nobody told.
    """
    if as_json:
        return _answer(config)
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(lock.exclusive(config.state_dir / LOCK, wait=False))
            except Problem:  # a disk that has become read-only: somebody has to be told
                stack.enter_context(lock.exclusive(memory.spare() / LOCK, wait=False))
            return _check(config)
    except lock.Busy:
        raise Problem("Another health check is at work; see its lines.") from None


def _answer(config: Config) -> int:
    before = memory.load(config.state_dir)
    try:
        look = _look(config, before)
        said = facts(look, before.watch)
    except Problem as problem:
        said = facts_of(time.time(), [_blindness(problem)], before.watch)
    print(json.dumps(said, indent=1))
    return 0 if said["healthy"] else 1


def _check(config: Config) -> int:
    before = memory.load(config.state_dir)
    try:
        look = _look(config, before)
    except Problem as problem:
        return _blind(config, before, _blindness(problem))
    found, wrong, now = look.found, look.wrong, look.found.now
    keys = [*(t.key for t in wrong), *(alarm.key for alarm in before.watch.alarms)]
    muted = [key for key in keys if troubles.by_deploy(key)] if deploying(found) else []
    shown = {t.key: t.text for t in wrong if not t.told}
    noted, news = watch.step(before.watch, shown, muted, now, _patience(config))
    unsent = _send(config, (*before.unsent, *news)[-UNSENT:], now)
    memory.save(config.state_dir, dataclasses.replace(look.memory, watch=noted, unsent=unsent))
    if troubles.STATE not in shown:  # else what was sent would be sent at every check
        outbox.send_again(config)
    nobody = notify.nobody(config)
    for trouble in wrong:
        log.complain(trouble.text)
    if wrong and nobody:
        log.say(f"{nobody[0].upper() + nobody[1:]}.")
    if not wrong:
        log.say(summary(found, nobody))
    metrics.write(config, metrics.render(found, wrong, [alarm.key for alarm in noted.told]))
    page.update(config, page.sample(found, attention=bool(noted.told)))
    if unsent:
        log.complain("No sign of life is given: what is wrong could not be told.")
    else:
        _beat(config)
    return 1 if wrong else 0


def _look(config: Config, before: Memory) -> Look:
    found = report.collect(config, public=True)
    seen, now = machine.look(Runner(), report.disks(config)), found.now
    since = before.out_of_memory if before.out_of_memory <= seen.out_of_memory else 0  # it began anew at a boot
    grown = seen.out_of_memory > since and before.out_of_memory >= 0
    at = now if grown else min(before.out_of_memory_at, now)
    counted = flapping.noted(before.counted, found.containers, now)
    wrong = [
        *troubles.of_application(found, config.limits),
        *troubles.of_backups(found, offsite.since(config)),
        *troubles.of_state(memory.unwritable(config.state_dir)),
        *troubles.of_alerts(notify.broken(config)),
        *troubles.of_machine(seen, now, at),
        *flapping.troubles(counted, found.containers),
    ]
    after = dataclasses.replace(before, out_of_memory=seen.out_of_memory, out_of_memory_at=at, counted=counted)
    return Look(found, seen, wrong, after)


def _blindness(problem: Problem) -> Trouble:
    return Trouble(BLIND, f"this server cannot look after itself: {str(problem).rstrip('.')}")


def _blind(config: Config, before: Memory, wrong: Trouble) -> int:
    """Go on with a check that could not look: that is wrong, and nothing is learned of the rest. No sign of life."""
    others, now = [alarm.key for alarm in before.watch.alarms if alarm.key != BLIND], time.time()
    noted, news = watch.step(before.watch, {wrong.key: wrong.text}, others, now, _patience(config))
    unsent = _send(config, (*before.unsent, *news)[-UNSENT:], now)
    memory.save(config.state_dir, dataclasses.replace(before, watch=noted, unsent=unsent))
    log.complain(wrong.text)
    return 1


def deploying(found: Report) -> bool:
    """Whether a deploy goes on, which may be why the site does not answer."""
    attempt = found.state.attempt
    recent = attempt is not None and 0 <= found.now - attempt.started <= DEPLOY_MINUTES * 60
    return found.at_work and recent


def _patience(config: Config) -> Patience:
    return Patience(config.limits.checks, config.limits.remind_hours * 3600)


def _send(config: Config, news: tuple[News, ...], now: float) -> tuple[News, ...]:
    """Send what there is to tell, oldest first; returns what did not arrive anywhere, for the next check."""
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    left: list[News] = []
    for one in (one for one in news if now - one.at <= outbox.PATIENCE):
        where = f"Found at {log.minute(one.at)}. On the server: sudo koprogo health; sudo koprogo status"
        message = Message(one.title, "\n".join([*one.lines, "", where]), good=one.good, at=one.at)
        if len(left) >= REFUSED or not notify.tell(config, [message]):
            left.append(one)
    return tuple(left)


def _beat(config: Config) -> None:
    try:
        there = notify.channels(config)
        trouble = notify.beat(there).get("heartbeat") if there is not None else None
    except Problem as problem:
        trouble = str(problem).rstrip(".")
    if trouble is not None:
        log.complain(f"heartbeat: {trouble}.")


def facts(look: Look, noted: Watch) -> dict[str, Any]:
    """Return what a program would want to know."""
    found = look.found
    return facts_of(found.now, look.wrong, noted) | {
        "answers": [
            {"url": a.url, "trouble": a.trouble, "milliseconds": a.milliseconds, "certificate_days": a.days_left}
            for a in found.answers
        ],
        "disk_used": round(found.disk_used, 4),
        "machine": dataclasses.asdict(look.machine),
    }


def facts_of(now: float, wrong: list[Trouble], noted: Watch) -> dict[str, Any]:
    """Return as much of it as there is where a check cannot look."""
    return {
        "at": now,
        "healthy": not wrong,
        "troubles": [{"key": t.key, "text": t.text} for t in wrong],
        "alerts": alerts(noted),
        "answers": [],
        "disk_used": None,
        "machine": None,
    }


def alerts(noted: Watch) -> list[dict[str, Any]]:
    """Return what somebody was told of and is not over, oldest first."""
    return [{"key": alarm.key, "text": alarm.text, "since": alarm.since} for alarm in noted.told]


def summary(found: Report, nobody: str = "") -> str:
    """Return the one line of a server that is well; `nobody` says why nobody would be told if it were not."""
    days = min((a.days_left for a in found.answers if a.days_left is not None), default=None)
    certificate = f", certificate for {days:.0f} days" if days is not None else ""
    return (
        f"OK: {len(found.answers)} addresses{certificate}, {len(found.containers)} containers, "
        f"disk {found.disk_used:.0%}, {len(found.backups)} backups"
        + (f"; {nobody}" if nobody else "")
        + (f"; {troubles.held(found.state.hold)}" if found.state.hold else "")
    )
