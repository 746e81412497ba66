"""Trouble on demand: rules that say which call goes wrong, and how.

A rule is data, in Python as over HTTP (see `side_door`):

    {"do": "503", "method": "POST", "path": "/domain/zone/[^/]+/record", "nth": 2, "times": 1, "done": true}

`do` is a key of `fault_kinds.KINDS`, where `value` is explained too. `method` and `path` are regular expressions for
the whole method, and for the whole path after /1.0, without or with its query; left out, they match every call. Of the
calls that a rule matches it lets pass those before the `nth` (counted from 1) and then hits `times` of them (null:
all). The first rule that hits is the one that counts. `done`: the call is carried out before the answer goes wrong (a
`drop` with it is a `cut`).

In a test: `api.faults.add("503", path="/domain/zone/.*/record")`, `api.faults.clear()`, `api.calls`.
"""

import re
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from .access import Request
from .fault_kinds import KINDS


class Call(NamedTuple):
    """A call that came: `path` after /1.0 with the query as it was sent; `status` is 0 if it got no answer."""

    method: str
    path: str
    status: int


@dataclass
class Rule:
    """Which calls go wrong and how; see the module's docstring."""

    do: str
    method: str = ".*"
    path: str = ".*"
    nth: int = 1
    times: int | None = 1
    done: bool = False
    value: Any = None
    seen: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a rule that could never hit."""
        if self.do not in KINDS:
            raise ValueError(f"{self.do} is not one of {', '.join(sorted(KINDS))}")
        if self.do in ("delay", "skew") and not isinstance(self.value, (int, float)):
            raise ValueError(f"{self.do} needs a value in seconds")
        for pattern in (self.method, self.path):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern} is not a regular expression: {error}") from error

    def matches(self, request: Request) -> bool:
        """Say whether the rule is about such a call, whatever the count."""
        paths = (request.path, request.path_and_query)
        return bool(re.fullmatch(self.method, request.method)) and any(re.fullmatch(self.path, p) for p in paths)

    def hits(self) -> bool:
        """Count a call that matches, and say whether it goes wrong."""
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


class Faults:
    """The rules, the clock's error in seconds and the log of calls. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.rules: list[Rule] = []
        self.skew = 0.0
        self.calls: deque[Call] = deque(maxlen=100_000)

    def add(self, do: str, **fields: Any) -> Rule:
        """Append a rule; ValueError or TypeError if it is not one."""
        rule = Rule(do, **fields)
        self.extend([rule])
        return rule

    def extend(self, rules: list[Rule]) -> None:
        """Append rules."""
        with self._lock:
            self.rules.extend(rules)

    def clear(self) -> None:
        """Take back all rules, the clock's error and the log. Keys, rights and ids stay as they became."""
        with self._lock:
            self.rules.clear()
            self.calls.clear()
            self.skew = 0.0

    def log(self, request: Request, status: int) -> None:
        """Remember a call."""
        self.calls.append(Call(request.method, request.path_and_query, status))

    def hit(self, request: Request) -> Rule | None:
        """Count the call with every rule that matches it, and return the first one that makes it go wrong."""
        with self._lock:
            hits = [rule for rule in self.rules if rule.matches(request) and rule.hits()]
        return hits[0] if hits else None
