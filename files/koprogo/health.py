"""`koprogo health`: one line when all is well, else one line for each thing that is not, and exit code 1.

cron asks every five minutes, and somebody is told of what stays wrong (see watch.py).
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any

from koprogo import backup_state, lock, log, machine, notify, page, report, troubles, watch
from koprogo.config import Config
from koprogo.machine import Machine
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.runner import Runner
from koprogo.state import write_durably
from koprogo.troubles import Trouble
from koprogo.watch import Alarm, News, Watch

LOCK = "health.lock"
FILE = "health.json"

DEPLOY_MINUTES = 60
"""For how long a deploy that goes on is what the site's troubles are put down to."""
UNSENT = 20
"""How many messages wait at most for a way out."""


@dataclass(frozen=True)
class Memory:
    """What is remembered from one check to the next."""

    watch: Watch = field(default_factory=Watch)
    unsent: tuple[News, ...] = ()
    out_of_memory: int = -1
    """How many programs the kernel had ended; -1 where nobody knows."""
    out_of_memory_at: float = 0
    """When that number grew last."""


def run(config: Config, *, as_json: bool = False) -> int:
    """Look at everything, write down what is wrong, and tell somebody of what stays so; returns the exit code."""
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=False):
            return _check(config, as_json=as_json)
    except lock.Busy:
        raise Problem("Another health check is at work; see its lines.") from None


def _check(config: Config, *, as_json: bool) -> int:
    found = report.collect(config, public=True)
    folders = [config.state_dir, config.backup_dir]
    seen, before = machine.look(Runner(), folders), _load(config)
    now = found.now
    grown = seen.out_of_memory > before.out_of_memory >= 0
    at = now if grown else min(before.out_of_memory_at, now)
    runs, offsite = backup_state.load(config.state_dir), config.offsite_file is not None
    wrong = troubles.of_application(found) + troubles.of_backups(found, runs, offsite=offsite)
    wrong += troubles.of_machine(seen, now, at)
    keys = [*(t.key for t in wrong), *(alarm.key for alarm in before.watch.alarms)]
    muted = [key for key in keys if troubles.by_deploy(key)] if deploying(found) else []
    noted, news = watch.step(before.watch, {t.key: t.text for t in wrong if not t.told}, muted, now)
    unsent = _send(config, (*before.unsent, *news)[-UNSENT:])
    _save(config, Memory(noted, unsent, seen.out_of_memory, at))
    if as_json:
        print(json.dumps(facts(found, seen, wrong, noted), indent=1))
    else:
        for trouble in wrong:
            log.complain(trouble.text)
        if not wrong:
            log.say(summary(found))
    page.update(config, page.sample(found, attention=bool(noted.told)))
    _beat(config)
    return 1 if wrong else 0


def deploying(found: Report) -> bool:
    """Whether a deploy goes on, which may be why the site does not answer."""
    attempt = found.state.attempt
    recent = attempt is not None and 0 <= found.now - attempt.started <= DEPLOY_MINUTES * 60
    return found.at_work and recent


def _send(config: Config, news: tuple[News, ...]) -> tuple[News, ...]:
    """Send what there is to tell, oldest first; returns what did not arrive anywhere, for the next check."""
    from koprogo.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    for number, one in enumerate(news):
        text = "\n".join([*one.lines, "", "On the server: sudo koprogo health; sudo koprogo status"])
        if not notify.tell(config, [Message(one.title, text, good=one.good, at=time.time())]):
            return news[number:]
    return ()


def _beat(config: Config) -> None:
    from koprogo.channels import beat  # noqa: PLC0415 - as in _send

    try:
        there = notify.channels(config)
        if there is not None and there.heartbeat:
            beat(there)
    except Problem as problem:
        log.complain(f"heartbeat: {problem}")


def _load(config: Config) -> Memory:
    """Return what is remembered; nothing, if that is damaged: what is wrong will be found again."""
    try:
        data = json.loads((config.state_dir / FILE).read_bytes())
        alarms = tuple(Alarm(**alarm) for alarm in data["watch"]["alarms"])
        news = tuple(News(one["title"], tuple(one["lines"]), bool(one["good"])) for one in data["unsent"])
        noted = Watch(alarms, float(data["watch"]["said_at"]))
        return Memory(noted, news, int(data["out_of_memory"]), float(data["out_of_memory_at"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def _save(config: Config, memory: Memory) -> None:
    try:
        write_durably(config.state_dir / FILE, json.dumps(dataclasses.asdict(memory), indent=1).encode(), 0o640)
    except Problem as problem:
        log.complain(str(problem))


def facts(found: Report, seen: Machine, wrong: list[Trouble], noted: Watch) -> dict[str, Any]:
    """Return what a program would want to know."""
    return {
        "at": found.now,
        "healthy": not wrong,
        "troubles": [{"key": t.key, "text": t.text} for t in wrong],
        "alerts": [{"key": a.key, "text": a.text, "since": a.since} for a in noted.told],
        "answers": [
            {"url": a.url, "trouble": a.trouble, "milliseconds": a.milliseconds, "certificate_days": a.days_left}
            for a in found.answers
        ],
        "disk_used": round(found.disk_used, 4),
        "machine": dataclasses.asdict(seen),
    }


def summary(found: Report) -> str:
    """Return the one line of a server that is well."""
    days = min((a.days_left for a in found.answers if a.days_left is not None), default=None)
    certificate = f", certificate for {days:.0f} days" if days is not None else ""
    return (
        f"OK: {len(found.answers)} addresses{certificate}, {len(found.containers)} containers, "
        f"disk {found.disk_used:.0%}, {len(found.backups)} backups"
        + (f"; {troubles.held(found.state.hold)}" if found.state.hold else "")
    )
