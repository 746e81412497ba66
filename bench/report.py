"""What came of the deploys, for a terminal, for a file and as Markdown: `python -m bench.report FILE`."""

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.samples import Counts

GOOD = "koprogo deploy"
"""The way whose deploys must not lose a request."""
MEMORY_MIB = 60
CPU_SECONDS = 0.3
"""What a check that finds nothing new may cost."""


@dataclass(frozen=True)
class Row:
    """One deploy, or all of one way."""

    way: str
    deploys: int
    failed: int
    """How many did not end with what they should."""
    seconds: list[float]
    """How long each took until the version that it should bring answered."""
    sent: int
    lost: dict[str, int]
    """Reason → requests."""
    lost_kept: int
    gaps: dict[str, float]
    """Name → the longest time without a good answer, in seconds."""
    p50: float | None
    p99: float | None
    """Of good answers, in seconds."""


@dataclass(frozen=True)
class Cost:
    """The checks: bytes and seconds of each."""

    peak: list[int]
    cpu: list[float]


@dataclass(frozen=True)
class Result:
    """All of a run."""

    rate: int
    """Requests a second to each name."""
    ways: list[Row]
    deploys: list[Row]
    acknowledged: int
    """Rows that the API said it had written."""
    missing: int
    """How many of them the database did not have afterwards."""
    check: Cost
    late_p99: float
    late_max: float
    kept_rate: bool
    host: str
    """What it was measured on."""


def row(way: str, seconds: Sequence[float], failed: int, counts: Counts) -> Row:
    """Put together what is known of some deploys."""
    return Row(
        way, len(seconds), failed, [round(s, 2) for s in seconds],
        counts.sent, counts.lost, counts.lost_kept, counts.gaps, counts.p50, counts.p99,
    )  # fmt: skip


def as_json(result: Result) -> str:
    """Return all of it as JSON."""
    return json.dumps(asdict(result), indent=1) + "\n"


def from_json(text: str) -> Result:
    """Return what `as_json` wrote."""
    data: dict[str, Any] = json.loads(text)
    rows = {name: [Row(**each) for each in data[name]] for name in ("ways", "deploys")}
    return Result(**{**data, **rows, "check": Cost(**data["check"])})


def header(result: Result) -> list[str]:
    """Return the titles of the columns."""
    hosts = list(result.ways[0].gaps) if result.ways else []
    return ["", "deploys", "seconds", "sent", "lost", *(f"longest gap, {host}" for host in hosts), "p50", "p99"]


def cells(each: Row) -> list[str]:
    """Return a row as it is shown."""
    deploys = str(each.deploys) + (f" ({each.failed} failed)" if each.failed else "") if each.deploys else ""
    return [
        each.way,
        deploys,
        _span(each.seconds, "{:.0f}"),
        f"{each.sent:,}",
        f"{sum(each.lost.values()):,}",
        *(f"{gap:.2f} s" for gap in each.gaps.values()),
        *("none" if value is None else f"{value * 1000:.0f} ms" for value in (each.p50, each.p99)),
    ]


def notes(result: Result) -> list[str]:
    """Return the sentences below the table."""
    reasons = [f"{each.way}: {why(each.lost)}" for each in result.ways if each.lost]
    peak = _span([size / 2**20 for size in result.check.peak], "{:.0f}")
    return [
        f"{result.rate} requests a second to each name, half of them on new connections; {result.host}.",
        f"Rows written: {result.acknowledged:,} acknowledged, {result.missing:,} of them missing afterwards.",
        f"A check that finds nothing new ({len(result.check.peak)} runs): {peak} MiB at the peak, "
        f"{_span(result.check.cpu, '{:.2f}')} s of CPU, git included.",
        f"The client sent 99 of 100 requests within {result.late_p99 * 1000:.0f} ms of when they were due, and all "
        f"within {result.late_max * 1000:.0f} ms.",
        *(["Lost: " + "; ".join(reasons) + "."] if reasons else []),
    ]


def why(lost: dict[str, int]) -> str:
    """Say in a few words why requests were lost."""
    return ", ".join(f"{number:,} {reason}" for reason, number in lost.items())


def missed(result: Result) -> list[str]:
    """Return what is not as it should be, a line each."""
    good = [each for each in result.ways if each.way == GOOD]
    lost = sum(sum(each.lost.values()) for each in good)
    found = [f"{GOOD}: {lost:,} requests were lost, none should be"] if lost else []
    found += [f"{each.way}: {each.failed} did not end as they should" for each in result.ways if each.failed]
    if result.missing:
        found.append(f"{result.missing:,} acknowledged rows are not in the database")
    if max(result.check.peak) > MEMORY_MIB * 2**20:
        found.append(f"a check took {max(result.check.peak) / 2**20:.0f} MiB, {MEMORY_MIB} are allowed")
    if max(result.check.cpu) > CPU_SECONDS:
        found.append(f"a check took {max(result.check.cpu):.2f} s of CPU, {CPU_SECONDS} are allowed")
    if not result.kept_rate:
        found.append("the client was too slow to ask as often and as punctually as it should: is this host busy?")
    return found


def show(result: Result, console: Console) -> None:
    """Print the table: with lines on a terminal, in plain columns elsewhere."""
    if not console.is_terminal:
        console = Console(file=console.file, width=200, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for number, title in enumerate(header(result)):
        table.add_column(title, justify="right" if number else "left")
    for each in result.ways:
        table.add_row(*cells(each))
    console.print(table)
    for line in notes(result):
        console.print(line, soft_wrap=not console.is_terminal)


def markdown(result: Result) -> str:
    """Return the table and its notes for a README."""
    titles = header(result)
    lines = [titles, ["---", *("--:" for _ in titles[1:])], *(cells(each) for each in result.ways)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n" + "\n".join(notes(result)) + "\n"


def _span(values: Sequence[float], form: str) -> str:
    """Write values in short: the only one, or the median and the limits."""
    if not values:
        return ""
    low, middle, high = (form.format(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


if __name__ == "__main__":
    print(markdown(from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
