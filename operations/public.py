"""Checks from outside: do the names lead to the server, and does the site answer the world over HTTPS?"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from pyinfra import host as current
from pyinfra import state as run
from pyinfra.api import FunctionCommand, Host, State, deploy, operation

from operations import commands, reach
from operations.reach import Site

PAUSE = 3
PATIENCE = 180
"""Seconds. DNS is served within one or two, a first certificate comes within ten."""


@dataclass(frozen=True)
class Check:
    """Something that can only be seen from outside."""

    site: Site
    problems: Callable[[Site], list[str]]
    right: str
    """What to say when there are none."""
    advice: str
    """What to do when they stay."""


def _wait(state: State, host: Host, check: Check) -> bool:
    """Check until all is well, saying what is missing whenever that changes."""
    deadline, said = time.monotonic() + PATIENCE, ""
    while problems := check.problems(check.site):
        now = "; ".join(problems)
        if time.monotonic() > deadline:
            commands.say(f"Gave up after {PATIENCE} s: {now}.")
            commands.say(check.advice)
            return False
        if now != said:
            commands.say(f"waiting: {now}")
        said = now
        time.sleep(PAUSE)
    return True


@operation()
def wait(check: Check, known: Sequence[str]) -> Generator[FunctionCommand, None, None]:
    """Wait where something was wrong when the plan was made (`known`), and look again once everything was applied."""
    if not known and (not run.is_executing or not check.problems(check.site)):
        current.noop(check.right)
        return
    yield FunctionCommand(_wait, (check,), {})


@deploy("Public names")
def names(site: Site, pending: bool) -> None:
    """Before a certificate is asked for: a name that leads elsewhere can be locked out at Let's Encrypt for a week.

    `pending`: a deploy, or a new name, is about to come. Then the names are not asked while the plan is made, when the
    records may not be written yet: resolvers would remember that for as long as the zone says.
    """
    check = Check(
        site, reach.all_misdirected, "the names lead to the server",
        "Nothing was deployed. Correct the DNS records, or wait until they are known everywhere; then run again.",
    )  # fmt: skip
    known = ["the records may not be written yet"] if pending else reach.all_misdirected(site)
    wait(name=f"{' and '.join(site.names)} lead to {site.ipv4}", check=check, known=known)


@deploy("Public site")
def answers(site: Site, pending: bool) -> None:
    """The last step: what users see."""
    check = Check(
        site, reach.all_unanswered, "the site answers from outside",
        "The server is set up. See `sudo koprogo status` and `sudo docker logs koprogo-traefik` there, then run again.",
    )  # fmt: skip
    known = ["not deployed yet"] if pending else reach.all_unanswered(site)
    wait(name=f"{' and '.join(site.urls)} answer, HTTP redirects", check=check, known=known)
