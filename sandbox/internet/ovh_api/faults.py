"""Trouble on demand: rules that say which call goes wrong, and how.

A rule is data, in Python as over HTTP (see `side_door`):

    {"do": "503", "method": "POST", "path": "/domain/zone/[^/]+/record", "nth": 2, "times": 1, "done": true}

`do` is a key of KINDS. `method` and `path` are regular expressions for the whole method, and for the whole path
after /1.0, without or with its query; left out, they match every call. Of the calls that a rule matches it lets
pass those before the `nth` (counted from 1) and then hits `times` of them (null: all). The first rule that hits
is the one that counts. `done`: the call is carried out before the answer goes wrong (a `drop` with it is a `cut`).
`value` is what KINDS says.

In a test: `api.faults.add("503", path="/domain/zone/.*/record")`, `api.faults.clear()`, `api.calls`.
"""

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .access import Request, identity
from .accounts import Account
from .answers import Answer, html, json_answer
from .errors import ApiError, no_object
from .store import Store


class Cut(Exception):
    """The connection is to be reset without an answer."""


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


@dataclass
class Victim:
    """A call that goes wrong: `carry_out` does what it asks for and returns the right answer."""

    request: Request
    rule: Rule
    faults: "Faults"
    account: Account
    store: Store
    carry_out: Callable[[], Answer]

    @property
    def zone(self) -> str:
        """Return the zone that the call is about ("" if none)."""
        found = re.match(r"/domain/zone/([^/]+)", self.request.path)
        return found[1] if found else ""


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
        with self._lock:
            self.rules.append(rule)
        return rule

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


def _refusal(status: int, kind: str, message: str) -> Callable[[Victim], Answer]:
    def answer(victim: Victim) -> Answer:
        _done(victim)
        headers = {"Retry-After": str(victim.rule.value)} if victim.rule.value is not None else {}
        body = {"class": kind, "message": message}
        return json_answer(status, body, headers)

    return answer


def _done(victim: Victim) -> None:
    if victim.rule.done:
        victim.carry_out()


def _html(victim: Victim) -> Answer:
    _done(victim)
    status = victim.rule.value or 502
    return html(status, f"<html><body><h1>{status}</h1><p>Trouble at the gateway.</p></body></html>")


def _empty(victim: Victim) -> Answer:
    victim.carry_out()
    return Answer(200, b"", "application/json; charset=utf-8")


def _odd(victim: Victim) -> Answer:
    victim.carry_out()
    return json_answer(200, {"unexpected": True} if victim.rule.value is None else victim.rule.value)


def _drop(victim: Victim) -> Answer:
    _done(victim)
    raise Cut


def _cut(victim: Victim) -> Answer:
    victim.carry_out()
    raise Cut


def _delay(victim: Victim) -> Answer:
    time.sleep(victim.rule.value)
    return victim.carry_out()


def _id0(victim: Victim) -> Answer:
    answer = victim.carry_out()
    return json_answer(answer.status, json.loads(answer.body) | {"id": 0})


def _notyet(victim: Victim) -> Answer:
    answer = victim.carry_out()
    made = json.loads(answer.body)["id"]
    victim.faults.add("404", method="GET", path=f".*/{made}", times=victim.rule.value or 1)
    return answer


def _missing(victim: Victim) -> Answer:
    raise no_object(victim.request.path.rsplit("/")[-1])


def _newids(victim: Victim) -> Answer:
    victim.store.renumber(victim.zone)
    return victim.carry_out()


def _skew(victim: Victim) -> Answer:
    victim.faults.skew += victim.rule.value
    return victim.carry_out()


def _state(state: str) -> Callable[[Victim], Answer]:
    def answer(victim: Victim) -> Answer:
        victim.account.end(identity(victim.account, victim.request), state)
        return victim.carry_out()

    return answer


def _revoke(victim: Victim) -> Answer:
    request = victim.request
    victim.account.revoked.add((identity(victim.account, request), request.method, request.path))
    return victim.carry_out()


# What `do` names -> what happens. `value`: of 4xx and 5xx the Retry-After in seconds (none), of html the status (502),
# of odd the JSON, of delay and skew seconds, of notyet how many reads fail (1).
KINDS: Mapping[str, Callable[[Victim], Answer]] = {
    "404": _missing,
    "409": _refusal(409, "Client::Conflict", "A task is already running on this zone"),
    "429": _refusal(429, "Client::TooManyRequests", "Too many requests"),
    "500": _refusal(500, "Server::InternalServerError", "Internal server error"),
    "502": _refusal(502, "Server::BadGateway", "Bad gateway"),
    "503": _refusal(503, "Server::ServiceUnavailable", "Service unavailable"),
    "html": _html,
    "empty": _empty,
    "odd": _odd,
    "drop": _drop,
    "cut": _cut,
    "delay": _delay,
    "id0": _id0,
    "notyet": _notyet,
    "newids": _newids,
    "skew": _skew,
    "expire": _state("expired"),
    "pend": _state("pendingValidation"),
    "revoke": _revoke,
}


def answer(victim: Victim) -> Answer:
    """Return what the victim is answered; raises Cut, or ApiError as the call itself would."""
    try:
        return KINDS[victim.rule.do](victim)
    except ApiError as error:
        return json_answer(error.status, error.body)
