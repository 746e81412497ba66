"""What the checks found, day by day: for the status page, in one file that stays small however long that goes on.

A line of it is one day (or one of the last hours) of one address. Checks come every few minutes: the time between two
of them counts as the later one found it. Where more than `GAP` lies between them, nobody knows, and that is said too.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from koprogo.problem import Problem
from koprogo.state import write_durably

FILE = "record.jsonl"
DAMAGED = "record.jsonl.damaged"
GAP = 900.0
"""Seconds without a check after which the time before one counts as nothing that was looked at."""
LONGEST_GAP = 30 * 86400.0
"""One that seems longer is a clock that was wrong."""
DAYS, HOURS, OUTAGES, ADDRESSES = 100, 30, 100, 16
"""How many are kept. When there are more, those go that are farthest from now, on either side of it: a clock that runs
a year ahead for a while adds days that are the first to go once it is right again, and displaces hardly any."""
EDGES = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200, 5000, 10000)
"""Milliseconds: the upper ends of the classes that response times are counted in; a last class has no upper end."""


class Fault(str, Enum):
    """What was wrong with an address."""

    NONE = ""
    ANSWER = "answer"
    """No answer, or one that says that it does not work."""
    CERTIFICATE = "certificate"
    """Its certificate does not verify: browsers warn of it."""
    UNWATCHED = "unwatched"
    """Nobody looked: the server was off, or its checks did not run."""


@dataclass(frozen=True)
class Seen:
    """How one address did at one check."""

    address: str
    """Its host name."""
    fault: Fault = Fault.NONE
    milliseconds: float | None = None
    """Until it answered; None where it did not."""
    certificate_days: float | None = None
    """Until its certificate ends."""


@dataclass(frozen=True)
class Sample:
    """What one check found."""

    at: float
    seen: tuple[Seen, ...]
    attention: bool = False
    """Whether something else than the addresses needs a person, too."""


@dataclass(frozen=True)
class Tally:
    """The checks of one address over a time. How it did is known of `known` seconds, `down` of which it did not do."""

    checks: int = 0
    failed: int = 0
    known: float = 0
    down: float = 0
    times: tuple[int, ...] = (0,) * (len(EDGES) + 1)
    """How many answers took how long, by the classes of EDGES."""

    def __add__(self, other: Tally) -> Tally:
        """Return both together."""
        return Tally(
            self.checks + other.checks,
            self.failed + other.failed,
            self.known + other.known,
            self.down + other.down,
            tuple(here + there for here, there in zip(self.times, other.times, strict=True)),
        )


@dataclass(frozen=True)
class Outage:
    """A time in which an address did not do what it should; with address "", one in which nobody looked."""

    address: str
    fault: Fault
    begin: float
    """When that was first seen, in seconds since 1970."""
    end: float | None = None
    """When it was first seen to be over; None while it goes on."""
    checks: int = 1
    """That failed."""


Tallies = Mapping[str, Tally]
"""By address."""


@dataclass(frozen=True)
class Record:
    """All that is kept."""

    days: Mapping[str, Tallies] = field(default_factory=dict)
    """By the server's own date: 2026-11-23."""
    hours: Mapping[int, Tallies] = field(default_factory=dict)
    """By hours since 1970."""
    outages: tuple[Outage, ...] = ()
    """In the order of their beginning."""
    last: Sample | None = None


def add(record: Record, sample: Sample, day: str) -> Record:
    """Return `record` with one check more; `day` is its date as the server's clock has it."""
    sample = dataclasses.replace(sample, seen=sample.seen[:ADDRESSES])
    elapsed = sample.at - record.last.at if record.last else 0
    new = {seen.address: _tally(seen, elapsed if 0 < elapsed <= GAP else 0) for seen in sample.seen}
    hour = int(sample.at // 3600)
    days = {**record.days, day: _joined(record.days.get(day, {}), new)}
    hours = {**record.hours, hour: _joined(record.hours.get(hour, {}), new)}
    today = date.fromisoformat(day).toordinal()
    near = sorted(days, key=lambda each: abs(date.fromisoformat(each).toordinal() - today))[:DAYS]
    close = sorted(hours, key=lambda each: abs(each - hour))[:HOURS]
    return Record(
        days={each: days[each] for each in sorted(near)},
        hours={each: hours[each] for each in sorted(close)},
        outages=_outages(record, sample, elapsed),
        last=sample,
    )


def _tally(seen: Seen, seconds: float) -> Tally:
    wrong = seen.fault is not Fault.NONE
    times = [0] * (len(EDGES) + 1)
    if seen.milliseconds is not None and not wrong:
        times[sum(seen.milliseconds > edge for edge in EDGES)] = 1
    return Tally(1, int(wrong), seconds, seconds if wrong else 0, tuple(times))


def _joined(here: Tallies, new: Tallies) -> dict[str, Tally]:
    joined = {**here, **{address: here.get(address, Tally()) + tally for address, tally in new.items()}}
    # Those that are looked at now go before those that were.
    return {address: joined[address] for address in [*new, *(old for old in here if old not in new)][:ADDRESSES]}


def _outages(record: Record, sample: Sample, elapsed: float) -> tuple[Outage, ...]:
    """Go on with outages, end them, begin new ones, and note a time in which nobody looked."""
    wrong = {seen.address: seen.fault for seen in sample.seen if seen.fault is not Fault.NONE}
    found = []
    for outage in record.outages:
        if outage.end is None and wrong.get(outage.address) is outage.fault:
            found.append(dataclasses.replace(outage, checks=outage.checks + 1))
            del wrong[outage.address]
        elif outage.end is None:
            found.append(dataclasses.replace(outage, end=max(outage.begin, sample.at)))
        else:
            found.append(outage)
    if record.last and GAP < elapsed <= LONGEST_GAP:
        found.append(Outage("", Fault.UNWATCHED, record.last.at, sample.at, 0))
    found += [Outage(address, fault, sample.at) for address, fault in wrong.items()]
    near = sorted(found, key=lambda outage: (outage.end is not None, abs(sample.at - outage.begin)))[:OUTAGES]
    return tuple(sorted(near, key=lambda outage: (outage.begin, outage.address)))


def together(tallies: Iterable[Tally]) -> Tally:
    """Return what these are in sum."""
    return sum(tallies, Tally())


def percentile(times: tuple[int, ...], share: float) -> float | None:
    """Return how many milliseconds `share` (0 to 1) of the answers took at most, as near as the classes tell it."""
    wanted, passed = share * sum(times), 0
    if wanted <= 0:
        return None
    for number, (lower, upper) in enumerate(zip((0, *EDGES), EDGES, strict=False)):
        if passed + times[number] >= wanted:
            return lower + (upper - lower) * (wanted - passed) / times[number]
        passed += times[number]
    return float(EDGES[-1])


def load(directory: Path) -> tuple[Record, str | None]:
    """Return what is kept, and what is wrong with it: the lines of a damaged file that can be read still count."""
    path = directory / FILE
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return Record(), None
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None
    record, bad = decode(text)
    if not bad:
        return record, None
    kept = directory / DAMAGED
    try:
        path.replace(kept)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None
    return record, f"{bad} lines of {path} are damaged; it is kept as {kept.name}, and the rest of it still counts"


def save(directory: Path, record: Record) -> None:
    """Replace what is kept; after a power cut it is either this or what was before. Raises Problem."""
    write_durably(directory / FILE, encode(record).encode(), 0o640)


def encode(record: Record) -> str:
    """Return the text of the file."""
    lines: list[dict[str, Any]] = []
    for day, tallies in record.days.items():
        lines += [{"day": day, "address": address, **_plain(tally)} for address, tally in tallies.items()]
    for hour, tallies in record.hours.items():
        lines += [{"hour": hour, "address": address, **_plain(tally)} for address, tally in tallies.items()]
    lines += [{"outage": dataclasses.asdict(outage)} for outage in record.outages]
    lines += [{"last": dataclasses.asdict(record.last)}] if record.last else []
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def _plain(tally: Tally) -> dict[str, Any]:
    return {**dataclasses.asdict(tally), "known": round(tally.known), "down": round(tally.down)}


def decode(text: str) -> tuple[Record, int]:
    """Return the record that `text` is, and how many of its lines could not be read."""
    days, hours = dict[str, dict[str, Tally]](), dict[int, dict[str, Tally]]()
    outages, last, bad = list[Outage](), None, 0
    for line in text.splitlines():
        try:
            data = json.loads(line)
            if "day" in data:
                day, address, tally = (
                    date.fromisoformat(data.pop("day")).isoformat(),
                    data.pop("address"),
                    _tallied(data),
                )
                days.setdefault(day, {})[str(address)] = tally
            elif "hour" in data:
                hour, address, tally = int(data.pop("hour")), data.pop("address"), _tallied(data)
                hours.setdefault(hour, {})[str(address)] = tally
            elif "outage" in data:
                outages.append(_outage(data["outage"]))
            else:
                last = _sample(data["last"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            bad += 1
    return Record(days, hours, tuple(sorted(outages, key=lambda each: (each.begin, each.address))), last), bad


def _tallied(data: dict[str, Any]) -> Tally:
    times = tuple(int(number) for number in data["times"])
    if len(times) != len(EDGES) + 1:
        raise ValueError("other classes than these")
    return Tally(int(data["checks"]), int(data["failed"]), float(data["known"]), float(data["down"]), times)


def _outage(data: dict[str, Any]) -> Outage:
    end = None if data["end"] is None else float(data["end"])
    return Outage(str(data["address"]), Fault(data["fault"]), float(data["begin"]), end, int(data["checks"]))


def _sample(data: dict[str, Any]) -> Sample:
    seen = tuple(
        Seen(
            str(each["address"]), Fault(each["fault"]), _number(each["milliseconds"]), _number(each["certificate_days"])
        )
        for each in data["seen"]
    )
    return Sample(float(data["at"]), seen, bool(data["attention"]))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
