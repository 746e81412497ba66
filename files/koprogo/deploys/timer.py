"""When the next check comes, as systemd tells it."""

from __future__ import annotations

import re
import time

from koprogo.problem import Problem
from koprogo.runner import Runner

UNIT, SERVICE = "koprogo-gitops.timer", "koprogo-gitops.service"
_PROPERTIES = "LoadState,ActiveState,NextElapseUSecMonotonic"
_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "month": 2629800,
    "y": 31557600,
}


def ask(runner: Runner) -> tuple[float | None, str | None]:
    """Return when the next check comes, in seconds since 1970, and why none comes; (None, None) where nobody knows."""
    try:
        result = runner.run(["systemctl", "show", UNIT, f"--property={_PROPERTIES}"], timeout=5)
    except Problem:
        return None, None
    return read(result.out, time.time() - time.monotonic()) if result.ok else (None, None)


def read(text: str, booted: float) -> tuple[float | None, str | None]:
    """Read what `systemctl show` printed; `booted` is when the monotonic clock was at 0, in seconds since 1970."""
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if facts.get("LoadState") == "not-found":
        return None, f"there is no {UNIT}"
    if facts.get("ActiveState") not in (None, "active", "activating"):
        return None, f"{UNIT} is {facts['ActiveState']}: systemctl start {UNIT}"
    # During a check it is `infinity`: the next one is counted from the end of this one.
    after = span(facts.get("NextElapseUSecMonotonic", ""))
    return (None if after is None else booted + after), None


def span(text: str) -> float | None:
    """Read a time span as systemd writes it, such as `1h 3min 12.5s`, in seconds; None for anything else."""
    words = [re.fullmatch(r"([\d.]+)([a-z]+)", word) for word in text.split()]
    if not words or any(word is None or word[2] not in _UNITS for word in words):
        return None
    return sum(float(word[1]) * _UNITS[word[2]] for word in words if word)
