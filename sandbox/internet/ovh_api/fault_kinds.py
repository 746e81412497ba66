"""The ways in which a call can go wrong, in a table; `faults` says which calls do."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .access import Request, identity
from .accounts import Account
from .answers import Answer, html, json_answer
from .errors import ApiError, no_object
from .store import Store

if TYPE_CHECKING:
    from .faults import Faults, Rule


class Cut(Exception):
    """The connection is to be reset without an answer."""


@dataclass
class Victim:
    """A call that goes wrong: `carry_out` does what it asks for and returns the right answer."""

    request: Request
    rule: "Rule"
    faults: "Faults"
    account: Account
    store: Store
    carry_out: Callable[[], Answer]

    @property
    def zone(self) -> str:
        """Return the zone that the call is about ("" if none)."""
        found = re.match(r"/domain/zone/([^/]+)", self.request.path)
        return found[1] if found else ""


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
    answered = victim.carry_out() if victim.rule.done else None
    time.sleep(victim.rule.value)
    return answered or victim.carry_out()


def _id0(victim: Victim) -> Answer:
    answer = victim.carry_out()
    made = json.loads(answer.body)
    return json_answer(answer.status, made | {"id": 0}) if "id" in made else answer


def _notyet(victim: Victim) -> Answer:
    answer = victim.carry_out()
    made = json.loads(answer.body)
    if "id" in made:
        victim.faults.add("404", method="GET", path=f".*/{made['id']}", times=victim.rule.value or 1)
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
