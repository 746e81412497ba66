"""Which SSH host keys a server is known by: those of its console, those of an earlier run, or one the operator accepts.

A key that somebody shows at the server's address proves nothing by itself: it is never accepted silently.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from rich.console import Console

from cloud.machine.first_boot import wait
from cloud.machine.host_keys import fingerprint, on_console
from cloud.machine.login import another_answers, compare, shown_key
from cloud.resources import FoundServer
from cloud.show import step
from cloud.trouble import CloudError

if TYPE_CHECKING:
    from cloud.api.compute import Compute

CONSOLE_SECONDS = 60
"""How long a console may be without host keys once SSH answers; cloud-init prints them at about that time."""
FORBIDDEN, NOT_IMPLEMENTED = 403, 501

Ask = Callable[[str], bool] | None
"""Asks the operator a question that yes or no answers; None where nobody is there."""


def console(cloud: "Compute", server_id: str) -> tuple[str, str]:
    """What a server has printed on its console, and "" or why it cannot be read, which a plan can do without."""
    try:
        return cloud.console(server_id), ""
    except CloudError as error:
        return "", str(error)


def _given_out(cloud: "Compute", server_id: str) -> tuple[str, str]:
    """As `console`, but raises CloudError unless the cloud does not give it out at all."""
    try:
        return cloud.console(server_id), ""
    except CloudError as error:
        if getattr(error.__cause__, "status_code", None) in (FORBIDDEN, NOT_IMPLEMENTED):
            return "", str(error)
        raise


class Again(Enum):
    """Whether the server was made again from an image, so that its former keys are no longer its own."""

    NO = auto()
    PERHAPS = auto()
    """An earlier run was cut off just as it asked for it."""
    MADE = auto()


@dataclass
class HostKeys:
    """The host keys of one server."""

    cloud: "Compute"
    server: FoundServer
    former: tuple[str, ...]
    """Those that an earlier run pinned for it."""
    again: Again = Again.NO
    _why: str = field(default="shows no host keys", init=False)
    _answers_since: float | None = field(default=None, init=False)
    _unvouched: str = field(default="", init=False)
    """What the machine shows, once nothing else is to be expected."""

    def wait(self, to: Console, ask: Ask) -> tuple[str, ...]:
        """Wait for the keys on its console; those pinned before serve if it shows one of them and its console none.

        With neither, the operator is asked about the key that it shows, and a yes vouches for just this one. Raises
        CloudError for a no, where there is nobody to ask, and for a machine that shows another key than is pinned.
        """
        nothing = f"Neither the console of {self.server.name} nor SSH at {self.server.ipv4} shows host keys"
        with step(to, "Reading its SSH host keys from its console"):
            keys = wait(self._look, nothing)
        if not self._unvouched:
            return keys
        if self.former and self.again is Again.NO:
            raise CloudError(another_answers(self.server.ipv4, self._unvouched, self.former))
        question = (
            f"The console of {self.server.name} {self._why}, so nobody has vouched for the machine that answers at"
            f" {self.server.ipv4}. It shows {fingerprint(self._unvouched)}. {compare(self._unvouched)}"
        )
        if ask is None:
            raise CloudError(f"{question} Then run this again in a terminal and without --yes, and it will ask.")
        if not ask(f"{question} Is it the same, and to be trusted?"):
            raise CloudError(f"The host key of {self.server.ipv4} was not accepted. The server stays, and is billed.")
        return keys

    def _look(self) -> tuple[str, ...] | None:
        """The keys on the console, the former ones, or the unvouched one; None while others are to be expected."""
        output, refused = _given_out(self.cloud, self.server.id)
        keys = on_console(output)
        if keys and (self.again is Again.NO or not set(keys) & set(self.former)):
            return keys
        shown = shown_key(self.server.ipv4, prefer=[key.split()[0] for key in self.former])
        if shown in self.former:
            return None if self.again is Again.MADE else self.former
        if not shown:
            return None
        if self._answers_since is None:
            self._answers_since = time.monotonic()
        if not refused and time.monotonic() - self._answers_since < CONSOLE_SECONDS:
            return None
        self._why = f"cannot be read ({refused.rstrip('.')})" if refused else self._why
        self._unvouched = shown
        return (shown,)
