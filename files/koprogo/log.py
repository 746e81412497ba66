"""Lines for the log: a time with its offset, then what happened.

They go to standard output and standard error at once, unbuffered; the systemd unit and cron append both to a file.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO


def say(text: str) -> None:
    """Write one line for something that went as it should."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Write one line for something that needs a person, marked so that it can be searched for."""
    _write(sys.stderr, "PROBLEM " + text)


def stamp(seconds: float) -> str:
    """Return a moment as people write it in this server's own time zone: 2026-11-22T02:00:05+0100."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))


def _write(stream: TextIO, text: str) -> None:
    print(stamp(time.time()), text, file=stream, flush=True)
