"""`koprogo health`: one line when all is well, else one line for each thing that is not, and exit code 1.

cron asks every five minutes, and somebody is told of what stays wrong (see watch.py).
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koprogo import lock, log, report
from koprogo.alerts import notify, outbox
from koprogo.backups import offsite
from koprogo.config import Config
from koprogo.health import flapping, machine, metrics, troubles, watch
from koprogo.health.flapping import Counted
from koprogo.health.machine import Machine
from koprogo.health.troubles import Trouble
from koprogo.health.watch import Alarm, News, Patience, Watch
from koprogo.page import page
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.runner import Runner
from koprogo.state import write_durably

LOCK = "health.lock"
FILE = "health.json"

DEPLOY_MINUTES = 60
"""For how long a deploy that goes on is what the site's troubles are put down to."""
UNSENT = 20
"""How many messages wait at most for a way out."""
ROOM = 32768
"""Bytes that the file has in any case: on a disk that is full it is written over, which needs no more of it."""
BLIND = "health"
"""The key of a check that could not look."""


@dataclass(frozen=True)
class Memory:
    """What is remembered from one check to the next."""

    watch: Watch = field(default_factory=Watch)
    unsent: tuple[News, ...] = ()
    out_of_memory: int = -1
    """How many programs the kernel had ended; -1 where nobody knows."""
    out_of_memory_at: float = 0
    """When that number grew last."""
    counted: tuple[Counted, ...] = ()
    """How often containers had restarted, by the checks of the last hour."""


def run(config: Config, *, as_json: bool = False) -> int:
    """Look at everything, write down what is wrong, and tell somebody of what stays so; returns the exit code."""
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=False):
            return _check(config, as_json=as_json)
    except lock.Busy:
        raise Problem("Another health check is at work; see its lines.") from None


def _check(config: Config, *, as_json: bool) -> int:
    before = load(config)
    try:
        found = report.collect(config, public=True)
    except Problem as problem:
        return _blind(config, before, str(problem), as_json=as_json)
    seen = machine.look(Runner(), [config.state_dir, config.backup_dir])
    now = found.now
    grown = seen.out_of_memory > before.out_of_memory >= 0
    at = now if grown else min(before.out_of_memory_at, now)
    wrong = troubles.of_application(found, config.limits)
    wrong += troubles.of_backups(found, offsite.since(config))
    wrong += troubles.of_alerts(notify.broken(config))
    counted = flapping.noted(before.counted, found.containers, now)
    wrong += troubles.of_machine(seen, now, at) + flapping.troubles(counted, found.containers)
    keys = [*(t.key for t in wrong), *(alarm.key for alarm in before.watch.alarms)]
    muted = [key for key in keys if troubles.by_deploy(key)] if deploying(found) else []
    shown = {t.key: t.text for t in wrong if not t.told}
    noted, news = watch.step(before.watch, shown, muted, now, _patience(config))
    unsent = _send(config, (*before.unsent, *news)[-UNSENT:])
    _save(config, Memory(noted, unsent, seen.out_of_memory, at, counted))
    outbox.send_again(config)
    nobody = notify.nobody(config)
    if as_json:
        print(json.dumps(facts(found, seen, wrong, noted), indent=1))
    else:
        for trouble in wrong:
            log.complain(trouble.text)
        if wrong and nobody:
            log.say(f"{nobody[0].upper() + nobody[1:]}.")
        if not wrong:
            log.say(summary(found, nobody))
    metrics.write(config, metrics.render(found, wrong, [alarm.key for alarm in noted.told]))
    page.update(config, page.sample(found, attention=bool(noted.told)))
    _beat(config)
    return 1 if wrong else 0


def _blind(config: Config, before: Memory, problem: str, *, as_json: bool) -> int:
    """Go on with a check that could not look: that is wrong, and nothing is learned of the rest. No sign of life."""
    wrong = Trouble(BLIND, f"this server cannot look after itself: {problem.rstrip('.')}")
    others = [alarm.key for alarm in before.watch.alarms if alarm.key != BLIND]
    noted, news = watch.step(before.watch, {wrong.key: wrong.text}, others, time.time(), _patience(config))
    unsent = _send(config, (*before.unsent, *news)[-UNSENT:])
    _save(config, dataclasses.replace(before, watch=noted, unsent=unsent))
    if as_json:
        said = {"at": time.time(), "healthy": False, "troubles": [{"key": wrong.key, "text": wrong.text}]}
        print(json.dumps(said, indent=1))
    else:
        log.complain(wrong.text)
    return 1


def deploying(found: Report) -> bool:
    """Whether a deploy goes on, which may be why the site does not answer."""
    attempt = found.state.attempt
    recent = attempt is not None and 0 <= found.now - attempt.started <= DEPLOY_MINUTES * 60
    return found.at_work and recent


def _patience(config: Config) -> Patience:
    return Patience(config.limits.checks, config.limits.remind_hours * 3600)


def _send(config: Config, news: tuple[News, ...]) -> tuple[News, ...]:
    """Send what there is to tell, oldest first; returns what did not arrive anywhere, for the next check."""
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    for number, one in enumerate(news):
        text = "\n".join([*one.lines, "", "On the server: sudo koprogo health; sudo koprogo status"])
        if not notify.tell(config, [Message(one.title, text, good=one.good, at=time.time())]):
            return news[number:]
    return ()


def _beat(config: Config) -> None:
    from koprogo.alerts.channels import beat  # noqa: PLC0415 - as in _send

    try:
        there = notify.channels(config)
        if there is not None and there.heartbeat:
            beat(there)
    except Problem as problem:
        log.complain(f"heartbeat: {problem}")


def load(config: Config) -> Memory:
    """Return what is remembered; nothing, if that is damaged: what is wrong will be found again."""
    try:
        data = json.loads((config.state_dir / FILE).read_bytes())
        alarms = tuple(Alarm(**alarm) for alarm in data["watch"]["alarms"])
        news = tuple(News(one["title"], tuple(one["lines"]), bool(one["good"])) for one in data["unsent"])
        noted = Watch(alarms, float(data["watch"]["said_at"]))
        counted = flapping.decode(data.get("counted", ()))
        return Memory(noted, news, int(data["out_of_memory"]), float(data["out_of_memory_at"]), counted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def _save(config: Config, memory: Memory) -> None:
    path, text = config.state_dir / FILE, json.dumps(dataclasses.asdict(memory), indent=1).encode() + b"\n"
    try:
        write_durably(path, text.ljust(ROOM), 0o640)
    except Problem as problem:
        if not _written_over(path, text):
            log.complain(str(problem))


def _written_over(path: Path, text: bytes) -> bool:
    """Write into the file that is there, if it has the room. A power cut meanwhile leaves a damaged one: see `load`."""
    try:
        with path.open("r+b") as file:
            room = path.stat().st_size
            if len(text) > room:
                return False
            file.write(text.ljust(room))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def facts(found: Report, seen: Machine, wrong: list[Trouble], noted: Watch) -> dict[str, Any]:
    """Return what a program would want to know."""
    return {
        "at": found.now,
        "healthy": not wrong,
        "troubles": [{"key": t.key, "text": t.text} for t in wrong],
        "alerts": alerts(noted),
        "answers": [
            {"url": a.url, "trouble": a.trouble, "milliseconds": a.milliseconds, "certificate_days": a.days_left}
            for a in found.answers
        ],
        "disk_used": round(found.disk_used, 4),
        "machine": dataclasses.asdict(seen),
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
