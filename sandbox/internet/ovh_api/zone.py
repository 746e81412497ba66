"""A zone as it is kept: what the API shows of it, what is served, and the changes on their way."""

import datetime
from typing import Any, TypedDict

from .records import Record


class Task(TypedDict):
    """One change of a zone on its way to the name servers (domain.zone.Task)."""

    id: int
    function: str
    status: str
    comment: str | None
    creationDate: str
    todoDate: str
    lastUpdate: str | None
    doneDate: str | None
    canAccelerate: bool
    canCancel: bool
    canRelaunch: bool


class Zone(TypedDict):
    """`records` are what the API shows, `served` what the name servers were given at the last refresh.

    Redirections and DynHost records are as the API shows them, with `rows`, the ids of the records that they own.
    """

    name: str
    records: list[Record]
    served: list[Record]
    redirections: list[dict[str, Any]]
    dynhosts: list[dict[str, Any]]
    serial: int
    errors: list[str]
    tasks: list[Task]
    lastUpdate: str


def now_text() -> str:
    """Return the present time as OVH writes it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def next_serial(serial: int) -> int:
    """Return the next SOA serial: YYYYMMDDnn, and one more than before whatever the date."""
    return max(serial + 1, int(datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")) * 100)
