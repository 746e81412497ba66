"""What one client saw of each request, and what that says about a stretch of time. Pure; nothing here waits or asks.

All times are seconds of CLOCK_MONOTONIC, which every process of a host reads alike.
"""

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Sample(NamedTuple):
    """One request. `due` is when it had to be sent, `late` how much later it was, `seconds` what its answer took."""

    host: str
    kept: bool
    """Whether it was to go over a connection that had been used before."""
    due: float
    late: float
    seconds: float
    lost: str
    """Why it counts as lost; "" for a good answer."""
    wrote: str = ""
    """The row that it asked to be written, and that a good answer acknowledges."""

    @property
    def answered(self) -> float:
        """When its answer, or the lack of one, was known."""
        return self.due + self.late + self.seconds


class Window(NamedTuple):
    """A stretch of time; a request that is due at `end` is no longer part of it."""

    begin: float
    end: float


@dataclass(frozen=True)
class Counts:
    """What clients saw in some windows. Latencies are those of good answers, of all hosts; None without any."""

    sent: int
    lost: dict[str, int]
    """Reason → how many."""
    lost_kept: int
    """How many of the lost ones were to go over a used connection."""
    gaps: dict[str, float]
    """Host → the longest time from one good answer to the next."""
    p50: float | None
    p99: float | None
    late_p99: float
    late_max: float

    @property
    def lost_total(self) -> int:
        """All that were lost."""
        return sum(self.lost.values())


def write(sample: Sample) -> str:
    """Return the line that `read` understands."""
    return json.dumps(sample) + "\n"


def read(lines: Iterable[str]) -> list[Sample]:
    """Return the samples of a file, in the order in which they were due."""
    return sorted((Sample(*json.loads(line)) for line in lines), key=lambda sample: sample.due)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the smallest value that at least `percent` of the values do not exceed (nearest rank); None for none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def longest_gap(answers: Sequence[float], window: Window) -> float:
    """Return the longest time between two neighbours of `answers` (sorted) that lies in a window, at least in part.

    Before the first and after the last answer nothing is known: there the window ends the gap.
    """
    first = bisect_left(answers, window.begin)
    last = bisect_left(answers, window.end)
    before = answers[first - 1] if first else window.begin
    after = answers[last] if last < len(answers) else window.end
    moments = [before, *answers[first:last], after]
    return max((b - a for a, b in pairwise(moments)), default=0.0)


class Log:
    """All samples of a run, in the order in which they were due, ready to be asked about windows."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self._due = [sample.due for sample in samples]
        self._good: dict[str, list[float]] = {host: [] for host in sorted({sample.host for sample in samples})}
        for sample in samples:
            if not sample.lost:
                self._good[sample.host].append(sample.answered)
        for answers in self._good.values():
            answers.sort()

    def of(self, window: Window) -> list[Sample]:
        """Return the samples that were due in a window."""
        return self.samples[bisect_left(self._due, window.begin) : bisect_left(self._due, window.end)]

    def count(self, windows: Sequence[Window]) -> Counts:
        """Count over all of some windows, which must not overlap."""
        inside = [sample for window in windows for sample in self.of(window)]
        good = [sample.seconds for sample in inside if not sample.lost]
        late = [sample.late for sample in inside]
        return Counts(
            sent=len(inside),
            lost=dict(Counter(sample.lost for sample in inside if sample.lost).most_common()),
            lost_kept=sum(1 for sample in inside if sample.lost and sample.kept),
            gaps={
                host: max((longest_gap(answers, window) for window in windows), default=0.0)
                for host, answers in self._good.items()
            },
            p50=percentile(good, 50),
            p99=percentile(good, 99),
            late_p99=percentile(late, 99) or 0.0,
            late_max=max(late, default=0.0),
        )

    def acknowledged(self) -> set[str]:
        """Return the rows that the API said it had written."""
        return {sample.wrote for sample in self.samples if sample.wrote and not sample.lost}


LATE = 0.25
"""Seconds after which a request counts as not sent when it was due."""


def kept_rate(counts: Counts, expected: float) -> bool:
    """Whether the client sent what it should (a number of requests), and 99 of 100 within LATE."""
    return counts.sent >= 0.99 * expected and counts.late_p99 <= LATE
