"""When somebody is told of what health checks find: not of a blip, once when it is bad, once when it is over.

Pure: it gets what is remembered and what was found, and returns what to remember and what to tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GOOD_AGAIN = 2
"""How many in a row must not find it before it is over: what comes and goes is still there."""
LONG_GOOD = 6
"""How many after which it is over by itself, whatever else it was told with."""


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong, or was a moment ago."""

    key: str
    """What is wrong, whatever numbers its text has."""
    text: str
    since: float
    """When a check found it first."""
    bad: int = 1
    """How many checks found it, in a row and all in all."""
    good: int = 0
    """How many did not, since one did."""
    told: float = 0
    """When somebody was told; 0 if nobody was. What was told of at once is over at once."""


@dataclass(frozen=True)
class Watch:
    """What is remembered from one check to the next."""

    alarms: tuple[Alarm, ...] = ()
    said_at: float = 0
    """When somebody was told last that something is bad."""

    @property
    def told(self) -> tuple[Alarm, ...]:
        """What somebody was told of and is not over."""
        return tuple(alarm for alarm in self.alarms if alarm.told)


@dataclass(frozen=True)
class Patience:
    """When somebody is told, as the operator wants it."""

    checks: int = 2
    """How many checks in a row have to find a thing before somebody is told."""
    remind: float = 6 * 3600
    """Seconds after which somebody is told again of what is not over."""


USUAL = Patience()


@dataclass(frozen=True)
class News:
    """One message."""

    title: str
    lines: tuple[str, ...]
    good: bool
    at: float = field(default=0, compare=False)
    """When that was found; it may take until it is sent."""


def step(
    before: Watch, found: Mapping[str, str], muted: Sequence[str], now: float, patience: Patience = USUAL
) -> tuple[Watch, list[News]]:
    """Go on by one check: `found` is what is wrong, key and text; nothing is learned about the keys in `muted`.

    All that is wrong when somebody is told is told together, and is over together, unless the rest takes long.
    """
    alarms = _seen(before.alarms, found, muted, now)
    alarms, over = _ended(alarms)
    failing = [alarm for alarm in alarms if not alarm.good]
    news = [_over(over, [alarm for alarm in failing if alarm.told])] if over else []
    fresh = [alarm for alarm in failing if not alarm.told and alarm.key not in muted]
    said_at = min(before.said_at, now)
    if any(alarm.bad >= patience.checks for alarm in fresh):
        news.append(_down(fresh, [alarm for alarm in failing if alarm.told]))
        alarms = [dataclasses.replace(a, told=now) if a in fresh else a for a in alarms]
        said_at = now
    elif any(alarm.told for alarm in failing) and now - said_at >= patience.remind:
        news.append(_reminder([alarm for alarm in failing if alarm.told]))
        said_at = now
    return Watch(tuple(alarms), said_at), [dataclasses.replace(one, at=now) for one in news]


def _seen(alarms: Sequence[Alarm], found: Mapping[str, str], muted: Sequence[str], now: float) -> list[Alarm]:
    result = []
    for alarm in alarms:
        if alarm.key in muted:
            result.append(alarm)
        elif alarm.key in found:
            result.append(dataclasses.replace(alarm, text=found[alarm.key], bad=alarm.bad + 1, good=0))
        elif alarm.told:
            result.append(dataclasses.replace(alarm, good=alarm.good + 1))
    known = {alarm.key for alarm in result}
    new = [Alarm(key, text, now) for key, text in found.items() if key not in known and key not in muted]
    return result + new


def _ended(alarms: Sequence[Alarm]) -> tuple[list[Alarm], list[Alarm]]:
    """Take out what was told of together once all of it is over, or what is over for long."""
    over: list[Alarm] = []
    for told in sorted({alarm.told for alarm in alarms if alarm.told}):
        together = [alarm for alarm in alarms if alarm.told == told]
        good = [alarm for alarm in together if alarm.good >= GOOD_AGAIN]
        if good == together or any(alarm.good >= LONG_GOOD for alarm in good):
            over += good
    return [alarm for alarm in alarms if alarm not in over], over


def _down(fresh: Sequence[Alarm], other: Sequence[Alarm]) -> News:
    title = fresh[0].text if len(fresh) == 1 else f"{len(fresh)} things are wrong"
    lines = [_line(alarm) for alarm in fresh] + [f"still: {alarm.text}" for alarm in other]
    return News(title, tuple(lines), good=False)


def _reminder(failing: Sequence[Alarm]) -> News:
    title = f"still: {failing[0].text}" if len(failing) == 1 else f"{len(failing)} things are still wrong"
    return News(title, tuple(_line(alarm) for alarm in failing), good=False)


def _over(over: Sequence[Alarm], other: Sequence[Alarm]) -> News:
    title = f"over: {over[0].text}" if len(over) == 1 else f"{len(over)} things are over"
    return News(title, (*map(_line, over), *(f"still: {alarm.text}" for alarm in other)), good=True)


def _line(alarm: Alarm) -> str:
    return f"- {alarm.text}"
