"""Only one apply at a time, whoever runs it and wherever, and without a state file.

OpenStack has no lock that a project's user can take. What it has is consistent lists of what was made. So an apply
makes a *ticket*, a security group `<server>-lease`, which costs nothing and stops nothing, and only then lists all
tickets: of two that begin at once, the later one to look sees the other's. Whoever sees another's ticket takes its own
back, waits a moment of random length and tries again, and gives up after some seconds. So two may both step back, and
never do both go on.

A ticket names host, boot and process. One whose process has ended is removed by the next apply on that host; one of
another host counts until it was not renewed for `MINUTES`, by the cloud's clock and not by ours.
"""

import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from cloud.api.make import Maker
from cloud.resources import Ticket
from cloud.trouble import CloudError

MINUTES = 60
"""Longer than an apply goes without renewing its ticket, whatever it waits for."""
TRIES = 4
RENEW_SECONDS = 300
SECONDS_OF_DOUBT = 5
SUFFIX = "-lease"


class Lease:
    """The right to change what belongs to one server."""

    def __init__(self, maker: Maker, name: str) -> None:
        self._maker, self._name = maker, f"{name}{SUFFIX}"
        self._mark = uuid.uuid4().hex[:12]
        self._description = f"lease={self._mark} {describe_process()}"
        self._own = tuple[Ticket, ...]()
        self._renewed = time.time()

    def take(self) -> None:
        """Take it. Raises CloudError if another apply has it."""
        others = list[Ticket]()
        for attempt in range(TRIES):
            others = self._others()
            if not others:
                return
            self.release()
            time.sleep(random.uniform(0.5, 1.5) * (attempt + 1))  # noqa: S311 - no secret
        words = others[0].words
        raise CloudError(
            f"Another apply is at work on {self._name.removesuffix(SUFFIX)}: process {words.get('pid', '?')} on"
            f" {words.get('host', '?')}, since {others[0].created}. Nothing was done. Wait until it has ended; if it"
            f" was cut off, it counts for {MINUTES} minutes more, or until somebody removes the security group"
            f" {self._name} in OVH's console."
        )

    def keep(self) -> None:
        """Renew it: called between the steps that may take long. Raises CloudError if somebody took it away."""
        # by the clock on the wall: a machine that slept may have lost it
        if time.time() < self._renewed + RENEW_SECONDS:
            return
        for ticket in self._own:
            self._maker.describe_group(ticket.id, f"{self._description} renewed={int(time.time())}")
        self._renewed = time.time()

    def release(self) -> None:
        """Give it back."""
        for ticket in self._own:
            self._maker.delete_group(ticket.id)
        self._own = ()

    def _others(self) -> list[Ticket]:
        """Make a ticket, and return those of other applies that are at work."""
        self._maker.make_group(self._name, self._description)
        tickets = self._maker.tickets(self._name)
        self._own = tuple(ticket for ticket in tickets if ticket.words.get("lease") == self._mark)
        if not self._own:
            raise CloudError("The lease of this apply is gone: somebody removed it. Nothing was done; run again.")
        others = [ticket for ticket in tickets if ticket not in self._own]
        for ticket in [one for one in others if over(one, self._own[0].created)]:
            self._maker.delete_group(ticket.id)
            others.remove(ticket)
        return others


def clear(maker: Maker, name: str) -> None:
    """Remove what an apply that was cut off has left of its lease."""
    now = datetime.now(UTC).isoformat()
    for ticket in maker.tickets(f"{name}{SUFFIX}"):
        if over(ticket, now):
            maker.delete_group(ticket.id)


@contextmanager
def held(maker: Maker, name: str, *, needed: bool = True) -> Iterator[Lease]:
    """Hold the lease of a server while something is done. Raises CloudError if another apply has it.

    Where it is not `needed`, a full quota, which leaves no room for a ticket, does not matter: nobody is kept from
    removing things. Another's ticket may not be there even so.
    """
    lease = Lease(maker, name)
    try:
        try:
            lease.take()
        except CloudError as error:
            if needed or "uota" not in str(error):
                raise
            clear(maker, name)
            if maker.tickets(f"{name}{SUFFIX}"):
                raise
        yield lease
    finally:
        # what it cannot give back counts as over as soon as this process has ended, or after MINUTES elsewhere
        with suppress(CloudError):
            lease.release()


def over(ticket: Ticket, now: str) -> bool:
    """Whether the apply behind a ticket has ended; `now` is the cloud's time, as it dates tickets."""
    words, here = ticket.words, dict(word.partition("=")[::2] for word in describe_process().split())
    if all(words.get(key) == here[key] for key in ("host", "boot", "space")):
        return not _runs(words.get("pid", ""), words.get("started", ""))
    age = _time(now) - _time(ticket.renewed or ticket.created)
    return age > timedelta(minutes=MINUTES)


def _time(text: str) -> datetime:
    """The cloud's times are in UTC, whether they say so or not."""
    time_of = datetime.fromisoformat(text)
    return time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)


def describe_process() -> str:
    """Host, boot, process space, process and its start, of this process: what tells it from every other."""
    process = psutil.Process()
    return (
        f"host={socket.gethostname()} boot={_boot()} space={_space()} pid={process.pid}"
        f" started={process.create_time():.2f}"
    )


def _runs(pid: str, started: str) -> bool:
    try:
        # a clock that is set moves the start of every process; a process id does not come back within seconds
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) < SECONDS_OF_DOUBT)
    except (ValueError, psutil.NoSuchProcess):
        return False


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip()[:13] if file.exists() else str(int(psutil.boot_time()))


def _space() -> str:
    """Containers of one host may share its name; process ids mean something only within one of them."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:").strip("[]")
    except OSError:
        return "one"
