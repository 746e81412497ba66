"""Logging in to a server that was made before, and asking it how it is."""

import time
from collections.abc import Callable

from rich.console import Console

from cloud.machine import records
from cloud.machine.login import END_OF_FIRST_BOOT, Login
from cloud.resources import FoundServer
from cloud.show import step
from cloud.trouble import NotYet
from settings import Settings

MINUTES = 5
"""How long a restart, and then the application, may take."""
SECONDS_BETWEEN = 3
COMMAND_SECONDS = 60
HEALTH = "command -v koprogo >/dev/null || exit 0; sudo -n koprogo health"
"""Status 0 where the application is well, and where there is none."""


def known_login(settings: Settings, server: FoundServer) -> Login:
    """How to log in with the host keys that are pinned."""
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
    """Wait until a machine has started again; returns "", or what is wrong with it.

    Its application has to be well again if it was before. Raises CloudError if another machine answers.
    """
    with step(to, f"Waiting for SSH at {login.address}"):
        if trouble := _wait(lambda: login.run("true", COMMAND_SECONDS)[0] == 0):
            return trouble
    with step(to, "Waiting until it is well"):
        login.run(END_OF_FIRST_BOOT, MINUTES * 60)
        return _wait(lambda: healthy(login)) and "sudo koprogo health finds faults." if was_healthy else ""


def _wait(well: Callable[[], bool]) -> str:
    """Wait until it is well; returns "", or why not."""
    end, said = time.monotonic() + MINUTES * 60, f"no answer within {MINUTES} minutes."
    while time.monotonic() < end:
        try:
            if well():
                return ""
        except NotYet as error:
            said = str(error)
        time.sleep(SECONDS_BETWEEN)
    return said
