"""Asking again and again until something is so."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def until(ask: Callable[[], Answer | None], seconds: float, between: float = 1) -> Answer | None:
    """Ask, at least once, until the answer is true; None if none is within `seconds`, with `between` each two."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() >= end:
            return None
        time.sleep(between)
    return answer
