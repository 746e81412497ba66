"""Only one apply at a time, whoever runs it and wherever, and without a state file.

OpenStack has no lock that a project's user can take. What it has is consistent lists of what was made. So an apply
makes a *ticket*, a security group `<server>-lease-<mark>`, which costs nothing and stops nothing, and only then lists
all tickets: of two that begin at once, the later one to look sees the other's. Each has a name of its own: Nova of 2025
makes no server while two groups of a project are called the same, whichever they are. Whoever sees another's ticket
takes its own back, waits a moment of random length and tries again, and gives up after some seconds. So two may both
step back, and never do both go on.

A ticket names host, boot and process. One whose process has ended is removed by the next apply on that host; one of
another host counts until it was not renewed for `MINUTES`, by the cloud's clock and not by ours. A thread renews it,
whatever the apply waits for meanwhile: keystoneauth's session and those of requests stand several threads.
"""

import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from openstack import exceptions as sdk
from rich.console import Console

from cloud.api.explain import is_over_quota
from cloud.api.make import TICKET, Maker, ticket_name
from cloud.resources import Ticket
from cloud.show import step
from cloud.trouble import CloudError, NoAnswer

MINUTES = 20
"""How long a ticket counts without being renewed. An apply that runs renews it so often that two times may fail."""
TRIES = 4
RENEW_SECONDS = 300
LOOK_SECONDS = 60
"""How often it is looked whether it is time to renew, and how soon a renewal that failed is tried again."""
END_SECONDS = 5
"""How long the end of the thread is waited for; it may be in the middle of a call."""


class Lease:
    """The right to change what belongs to one server."""

    def __init__(self, maker: Maker, name: str, to: Console) -> None:
        self._maker, self._server, self._to = maker, name, to
        self._mark = uuid.uuid4().hex[:12]
        self._description = f"{TICKET}{self._mark} {describe_process()}"
        self._own = tuple[str, ...]()
        self._unsure = False
        self._renewed = time.time()
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, *, needed: bool = True) -> None:
        """Take it. Raises CloudError if another apply has it; `needed` as of `held`."""
        others = list[Ticket]()
        with ExitStack() as shown:
            for attempt in range(TRIES):
                others = self._others(needed=needed)
                if not others:
                    self._go_on_renewing()
                    return
                if not attempt:
                    shown.enter_context(step(self._to, f"Waiting for another apply ({_whose(others[0])}) to end"))
                self.release()
                time.sleep(random.uniform(0.5, 1.5) * (attempt + 1))  # noqa: S311 - no secret
        raise CloudError(
            f"Another apply is at work on {self._server}: {_whose(others[0])}, since"
            f" {others[0].created or '?'}. Nothing was done. Wait until it has ended; if it was cut off, it counts for"
            f" {MINUTES} minutes more, or until somebody removes the security group {others[0].name} in OVH's console."
        )

    def keep(self) -> None:
        """Make sure of it before a step that changes something. Raises CloudError if it is gone or not to be renewed.

        A failure of the thread that renews it shows here: it is then still time to renew.
        """
        with self._renewing:
            # by the clock on the wall: a machine that slept may have lost it
            if time.time() < self._renewed + RENEW_SECONDS:
                return
            for ticket_id in self._own:
                self._renew(ticket_id)
            self._renewed = time.time()

    def release(self) -> None:
        """Give it back. Raises CloudError for the first ticket that cannot be removed, after it tried all."""
        self._ended.set()
        if self._thread:
            self._thread.join(END_SECONDS)
        if self._unsure:
            with suppress(CloudError):
                found = {ticket.id for ticket in self._maker.tickets(self._server) if self._is_own(ticket)}
                self._own = tuple(found | {*self._own})
        failures = list[CloudError]()
        for ticket_id in self._own:
            try:
                self._maker.delete_group(ticket_id)
            except CloudError as error:
                failures.append(error)
        self._own, self._unsure = (), False
        if failures:
            raise failures[0]

    def _others(self, *, needed: bool) -> list[Ticket]:
        """Make a ticket, and return those of other applies that are at work."""
        try:
            self._make_ticket()
        except CloudError as error:
            if not is_over_quota(error):
                raise
            there = self._maker.tickets(self._server)
            living = _living(self._maker, there, _now())
            if living or not needed:
                return living
            if not there:
                raise
            # what an apply that was cut off had left took the room
            return self._others(needed=needed)
        tickets = self._maker.tickets(self._server)
        own = [ticket for ticket in tickets if self._is_own(ticket)]
        if not own:
            raise CloudError("The lease of this apply is gone: somebody removed it. Nothing was done; run again.")
        # more than one if a ticket was made after all whose answer was lost
        self._own, self._unsure = tuple(ticket.id for ticket in own), False
        return _living(self._maker, [ticket for ticket in tickets if ticket not in own], own[0].created)

    def _make_ticket(self) -> None:
        # until its id is known there may be one: a Ctrl-C can come at any time
        self._unsure = True
        try:
            self._own = (self._maker.make_group(ticket_name(self._server, self._mark), self._description),)
        except CloudError as error:
            self._unsure = isinstance(error, NoAnswer)
            raise

    def _is_own(self, ticket: Ticket) -> bool:
        return ticket.words.get("lease") == self._mark

    def _renew(self, ticket_id: str) -> None:
        try:
            self._maker.describe_group(ticket_id, f"{self._description} renewed={int(time.time())}")
        except CloudError as error:
            if not isinstance(error.__cause__, sdk.NotFoundException):
                raise
            raise CloudError(
                "The lease of this apply is gone: somebody removed it, or this machine slept for long and another"
                " apply has it. What was done until here stays. Run again to see how it stands."
            ) from error

    def _go_on_renewing(self) -> None:
        if self._own:
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._keep_renewing, args=(self._ended,), daemon=True)
            self._thread.start()

    def _keep_renewing(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            # it fails again where it can be said, in the next keep() of the apply
            with suppress(Exception):
                self.keep()


def clear(maker: Maker, name: str) -> str:
    """Remove what applies that were cut off have left of a server's lease; returns as `at_work`."""
    return _whose_of(_living(maker, maker.tickets(name), _now()))


def at_work(maker: Maker, name: str) -> str:
    """Who else is at work on a server; "" for nobody.

    There is no ticket of ours to tell the cloud's time; this machine's was compared with it at the login.
    """
    now = _now()
    return _whose_of([ticket for ticket in maker.tickets(name) if not over(ticket, now)])


def left_over(maker: Maker, name: str) -> int:
    """How many tickets applies that were cut off have left. They go before the next apply needs their room."""
    now = _now()
    return sum(over(ticket, now) for ticket in maker.tickets(name))


@contextmanager
def held(maker: Maker, name: str, to: Console, *, needed: bool = True) -> Iterator[Lease]:
    """Hold the lease of a server while something is done. Raises CloudError if another apply has it.

    That another has it is shown as soon as it is seen: it is waited for, for some seconds.

    Where it is not `needed`, a full quota, which leaves no room for a ticket, does not matter: nobody is kept from
    removing things. Another's ticket may not be there even so.
    """
    lease = Lease(maker, name, to)
    try:
        lease.take(needed=needed)
        yield lease
    finally:
        # what it cannot give back counts as over as soon as this process has ended, or after MINUTES elsewhere
        with suppress(CloudError):
            lease.release()


def _living(maker: Maker, tickets: Iterable[Ticket], now: str) -> list[Ticket]:
    """Those of these tickets whose applies are at work; the others are removed."""
    living = list[Ticket]()
    for ticket in tickets:
        if over(ticket, now):
            maker.delete_group(ticket.id)
        else:
            living.append(ticket)
    return living


def _whose(ticket: Ticket) -> str:
    return f"process {ticket.words.get('pid', '?')} on {ticket.words.get('host', '?')}"


def _whose_of(living: list[Ticket]) -> str:
    return _whose(living[0]) if living else ""


def _now() -> str:
    return datetime.now(UTC).isoformat()


def over(ticket: Ticket, now: str) -> bool:
    """Whether the apply behind a ticket has ended; `now` is the cloud's time, as it dates tickets."""
    words, here = ticket.words, dict(word.partition("=")[::2] for word in describe_process().split())
    if all(words.get(key) == here[key] for key in ("host", "boot", "space")):
        return not _runs(words.get("pid", ""), words.get("started", ""))
    try:
        age = _time(now) - _time(ticket.renewed or ticket.created)
    except ValueError:
        return False  # nobody knows
    return age > timedelta(minutes=MINUTES)


def _time(text: str) -> datetime:
    """The cloud's times are in UTC, whether they say so or not."""
    time_of = datetime.fromisoformat(text)
    return time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)


def describe_process() -> str:
    """Host, boot, process space, process and its start, of this process: what tells it from every other."""
    pid = os.getpid()
    return f"host={socket.gethostname()} boot={_boot()} space={_space()} pid={pid} started={_started(pid)}"


def _runs(pid: str, started: str) -> bool:
    try:
        return _started(int(pid)) == started
    except (psutil.AccessDenied, PermissionError):
        return True  # there is one, of another user
    except (ValueError, OSError, psutil.NoSuchProcess):
        return False


def _started(pid: int) -> str:
    """What tells a process from a later one with its number. Raises the exceptions of psutil.

    Linux counts clock ticks since the boot (proc(5), the 22nd field of stat), which no clock that is set can move;
    psutil makes a time of day of them, which it does.
    """
    if not Path("/proc/self/stat").exists():
        return f"{psutil.Process(pid).create_time():.2f}"
    psutil.Process(pid)
    # the second field, a name, may hold anything
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _boot() -> str:
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip()[:13] if file.exists() else str(int(psutil.boot_time()))


def _space() -> str:
    """Containers of one host may share its name; process ids mean something only within one of them."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()).removeprefix("pid:").strip("[]")
    except OSError:
        return "one"
