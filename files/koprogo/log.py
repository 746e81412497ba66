"""Lines for the log: a time with its offset, then what happened.

They go to standard output and standard error at once, unbuffered, and to a file where there is one for them. A line
that cannot be written is lost: a full disk or a terminal that is gone must not end a deploy half-way.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from koprogo.problem import printable

_KEPT: list[Path] = []


def keep_in(path: Path | None) -> None:
    """Write lines to this file too from now on, or, without one, to none."""
    _KEPT[:] = [] if path is None else [path]


def say(text: str) -> None:
    """Write one line for something that went as it should."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Write one line for something that needs a person, marked so that it can be searched for."""
    _write(sys.stderr, "PROBLEM " + text)


def stamp(seconds: float) -> str:
    """Return a moment as people write it in this server's own time zone: 2026-11-22T02:00:05+0100."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def age(seconds: float) -> str:
    """Return roughly how long ago something was: 5 min, 5 h, 5 d."""
    minutes = max(round(seconds / 60), 0)
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 1440 else f"{minutes // 1440} d"


def minute(seconds: float) -> str:
    """Return a moment for a table, in this server's own time zone: 2026-11-22 02:00."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _write(stream: TextIO, text: str) -> None:
    line = f"{stamp(time.time())} {printable(text)}"
    with suppress(OSError):
        print(line, file=stream, flush=True)
    for path in _KEPT:
        # Opened for each line: it may be rotated away between two.
        with suppress(OSError), path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(line + "\n")
