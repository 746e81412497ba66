"""Logging in to a server that was made before, and asking it how it is."""

import time
from collections.abc import Callable

from rich.console import Console

from cloud.machine import records
from cloud.machine.login import END_OF_FIRST_BOOT, Login
from cloud.resources import FoundServer
from cloud.show import step
from cloud.trouble import CloudError, NotYet
from cloud.waiting import until
from settings import Settings

MINUTES = 5
"""How long a restart, and then the application, may take."""
SECONDS_BETWEEN = 3
COMMAND_SECONDS = 60
HEALTH = """command -v koprogo >/dev/null || exit 0; sudo -n koprogo status --json | grep -q '"healthy": true'"""
"""Status 0 where the application is well, and where there is none.

`koprogo health` would also count what has nothing to do with a restart: an old backup, a disk that fills.
"""


def known_login(settings: Settings, server: FoundServer) -> Login:
    """How to log in with the host keys that are pinned. Raises CloudError for a server without an IPv4 address."""
    if not server.ipv4:
        raise CloudError(f"The server {server.name} has no public IPv4 address, so nobody can log in.")
    here = records.entry(settings, server)
    user = records.known_user(settings, server.id) or here.user  # IMAGE may name another system by now
    return Login(server.ipv4, user, settings.instance.ssh_private_key, records.former_keys(settings, here))


def healthy(login: Login) -> bool:
    """Whether the machine lets us in and its application is well."""
    try:
        return login.run(HEALTH, COMMAND_SECONDS)[0] == 0
    except NotYet:
        return False


def answers_again(login: Login, was_healthy: bool, to: Console) -> str:
    """Wait until a machine has started again; returns "", or what is wrong with it, whatever that is.

    Its application has to be well again if it was before.
    """
    with step(to, f"Waiting for SSH at {login.address}"):
        no_answer = f"no answer within {MINUTES} minutes."
        if trouble := _wait(lambda _: login.run("true", COMMAND_SECONDS)[0] == 0, no_answer):
            return trouble
    with step(to, "Waiting until it is well"):
        # how its boot ended does not matter, but that it did
        no_end = f"its boot did not end within {MINUTES} minutes."
        if trouble := _wait(lambda left: bool(login.run(END_OF_FIRST_BOOT, left)), no_end):
            return trouble
        return (
            _wait(lambda _: healthy(login), "the application is not healthy: sudo koprogo status.")
            if was_healthy
            else ""
        )


def _wait(well: Callable[[float], bool], otherwise: str) -> str:
    """Wait until it is well; returns "", or why not. `well` is told how many seconds are left."""
    end, said = time.monotonic() + MINUTES * 60, otherwise

    def asked() -> bool:
        nonlocal said
        try:
            return well(max(1, end - time.monotonic()))
        except NotYet as error:
            said = f"{otherwise} {error}"
            return False

    try:
        return "" if until(asked, MINUTES * 60, SECONDS_BETWEEN) else said
    except CloudError as error:  # another machine answers, say: waiting mends nothing
        return str(error)
