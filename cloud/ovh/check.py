"""Which of the rights that are needed the present keys have, by calls that change nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cloud.ovh import errors
from cloud.ovh.client import Client, having
from cloud.ovh.errors import FORBIDDEN, NOT_FOUND, Refused
from cloud.ovh.rights import Rule

WARNING = timedelta(days=14)
"""How long before its end a key is spoken of."""

_NO_RULE = ("INVALID_KEY", "NOT_CREDENTIAL", "INVALID_CREDENTIAL")
"""Refusals (403) of the key itself, whatever its rights."""


@dataclass(frozen=True)
class Granted:
    """What OVH tells of a consumer key."""

    rules: Sequence[Rule]
    ends: datetime | None


@dataclass(frozen=True)
class Report:
    """What was found out; every list in the order of the rules."""

    missing: Sequence[Rule]
    unknown: Sequence[Rule]
    """To try them would be to write."""
    ends: datetime | None

    def lines(self, now: datetime) -> list[str]:
        """What an operator should know."""
        found = [f"- missing: {rule.method} {rule.path}" for rule in self.missing]
        found += [f"? not tried, since it writes: {rule.method} {rule.path}" for rule in self.unknown]
        if self.ends and self.ends - now < WARNING:
            days = (self.ends - now).days
            found.append(
                f"! The key ends on {self.ends:%Y-%m-%d %H:%M} UTC, in {days} day{'' if days == 1 else 's'}."
                " Make another before that: python provision.py credentials --new"
            )
        return found


def check(client: Client, wanted: Sequence[Rule]) -> Report:
    """Look at the key's own rules where it tells them, and try every call that only reads. Raises CloudError."""
    granted = _granted(client)
    missing, unknown = list[Rule](), list[Rule]()
    for rule in wanted:
        told = None if granted is None else any(one.covers(rule) for one in granted.rules)
        if told is False or (rule.method == "GET" and not _may(client, rule)):
            missing.append(rule)
        elif told is None and rule.method != "GET":
            unknown.append(rule)
    return Report(missing, unknown, granted.ends if granted else None)


def is_missing_right(error: Refused) -> bool:
    """Whether OVH refuses the call to this key, and not the key itself."""
    return error.status == FORBIDDEN and not any(errors.CODES[code] in str(error) for code in _NO_RULE)


def _granted(client: Client) -> Granted | None:
    """The key's rules and end; None for a service account, and where it may not be asked."""
    try:
        told = client.call("GET", "/auth/currentCredential", right=_is_credential)
    except Refused as error:
        if is_missing_right(error):
            return None
        raise
    return Granted([Rule(rule["method"], rule["path"]) for rule in told["rules"]], _end(told["expiration"]))


def _is_credential(data: Any) -> bool:
    if not having(rules=list, expiration=str | None)(data):
        return False
    try:
        _end(data["expiration"])
    except ValueError:
        return False
    return all(map(having(method=str, path=str), data["rules"]))


def _end(expiration: str | None) -> datetime | None:
    return datetime.fromisoformat(expiration).astimezone(UTC) if expiration else None


def _may(client: Client, rule: Rule) -> bool:
    """Make a call that reads. Nothing has the id 0: that it is not found is an answer to somebody who may ask."""
    try:
        client.call("GET", rule.path.replace("*", "0"))
    except Refused as error:
        if not is_missing_right(error) and error.status != NOT_FOUND:
            raise
        return error.status == NOT_FOUND
    return True
