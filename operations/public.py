"""Checks from outside: do the names lead to the server, and does the site answer the world over HTTPS?"""

import time
from collections.abc import Callable, Generator, Sequence

import click
from pyinfra import host as current
from pyinfra import state as run
from pyinfra.api import FunctionCommand, Host, State, deploy, operation

from operations import reach
from operations.reach import Site

Check = Callable[[Site], list[str]]
PAUSE = 3


def _wait(state: State, host: Host, check: Check, site: Site, seconds: int, advice: str) -> bool:
    """Check until all is well, for `seconds` at most, saying what is missing whenever that changes."""
    deadline, said = time.monotonic() + seconds, ""
    while problems := check(site):
        if time.monotonic() > deadline:
            click.echo(f"    Gave up after {seconds} s: {'; '.join(problems)}.\n    {advice}", err=True)
            return False
        if (now := "; ".join(problems)) != said:
            said = now
            click.echo(f"    waiting: {said}", err=True)
        time.sleep(PAUSE)
    return True


@operation()
def wait_until(
    check: Check, site: Site, known: Sequence[str], seconds: int, advice: str, right: str
) -> Generator[FunctionCommand, None, None]:
    """Wait where something was wrong when the plan was made (`known`), and look again once everything was applied."""
    if not known and (not run.is_executing or not check(site)):
        current.noop(right)
        return
    yield FunctionCommand(_wait, (check, site, seconds, advice), {})


@deploy("Public names")
def names(site: Site, pending: bool) -> None:
    """Before a certificate is asked for: a name that leads elsewhere can be locked out at Let's Encrypt for a week.

    `pending`: a deploy is about to come. Then the names are not asked while the plan is made, when the records may not
    be written yet: resolvers would remember that for as long as the zone says.
    """
    known = ["the records may not be written yet"] if pending else reach.all_misdirected(site)
    wait_until(
        name=f"{' and '.join(site.names)} lead to {site.ipv4}",
        check=reach.all_misdirected, site=site, known=known, seconds=180,
        advice="Nothing was deployed. Correct the DNS records (or wait until they are known everywhere), then run again.",
        right="the names lead to the server",
    )  # fmt: skip


@deploy("Public site")
def answers(site: Site, pending: bool) -> None:
    """The last step: what users see. A first certificate takes seconds, hence the wait."""
    known = ["not deployed yet"] if pending else reach.all_unanswered(site)
    wait_until(
        name=f"{' and '.join(site.urls)} answer, HTTP redirects",
        check=reach.all_unanswered, site=site, known=known, seconds=180,
        advice="The server is set up. See `koprogo status` and `docker logs koprogo-traefik` there, then run again.",
        right="the site answers from outside",
    )  # fmt: skip
