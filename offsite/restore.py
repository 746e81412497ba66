"""A lost server's return: another one is rented and set up, and gets the newest backup that is off-site.

Needs .env and the recovery key, and nothing of the lost server. Cut off or failed anywhere, it goes on when it is
run again; a server that has data of its own is left alone.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import settings as variables
from cloud import asking
from cloud.show import console
from cloud.trouble import CloudError
from operations.offsite import recovery_key
from settings import ROOT, Settings

_SET = re.compile(r"(postgres_)?\d{8}_\d{6}")
_PYINFRA = Path(sys.executable).parent / "pyinfra"


def steps(name: str, *, yes: bool) -> list[tuple[str, list[str]]]:
    """What is done, in order: how it is called, and the command."""
    pyinfra = [str(_PYINFRA), "-y", "inventory.py"]
    return [
        (f"A server {name}", [sys.executable, "provision.py", "apply", *(["--yes"] if yes else [])]),
        ("The backup", [*pyinfra, "offsite/new_server.py"]),
        ("The application", [*pyinfra, "deploy.py"]),
        ("Its data", [*pyinfra, "offsite/put_back.py"]),
    ]


def restore(*, wanted: str, yes: bool) -> int:
    """Do all of it; returns the exit status. Raises SettingsError before anything is done, and CloudError."""
    settings = variables.load()
    require(settings, wanted)
    to = console()
    to.print(
        f"{settings.instance.name} is made if it is not there, and set up; it gets the {wanted or 'newest'} set of"
        f" {settings.offsite.repository}."
    )
    if not yes and not asking.confirmed("Do this?"):
        raise CloudError("Nothing was done.")
    began, took = time.monotonic(), list[str]()
    for what, command in steps(settings.instance.name, yes=yes):
        to.print(f"\n{what}")
        start = time.monotonic()
        environment = {**os.environ, "ENV_FILE": str(settings.env_file), "RESTORE_SET": wanted}
        if done(command, environment):
            again = f"make restore SET={wanted}" if wanted else "make restore"
            raise CloudError(f"{what}: that failed, and the lines above say why. To go on from there: {again}")
        took.append(f"{what.lower()} {time.monotonic() - start:.0f} s")
    minutes = (time.monotonic() - began) / 60
    to.print(
        f"\n{settings.site.domain} answers with the data of the backup after {minutes:.1f} min: {', '.join(took)}."
    )
    return 0


def done(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a step; returns its exit status. Interrupted, it gets the time it needs to give back what it holds."""
    with subprocess.Popen(command, cwd=ROOT, env=environment) as step:
        try:
            return step.wait()
        except KeyboardInterrupt:
            step.wait()  # the terminal has interrupted it too
            raise
        except SystemExit as signalled:
            if signalled.code == 128 + signal.SIGTERM:
                step.terminate()  # which, unlike what a terminal sends, came here alone
            step.wait()
            raise


def require(settings: Settings, wanted: str) -> None:
    """Raise CloudError where what a restore needs is not here, or no set can be called so."""
    if wanted and not _SET.fullmatch(wanted):
        raise CloudError(f"{wanted} is not the name of a set, such as 20261122_020005; nothing was done.")
    if not settings.offsite.repository:
        raise CloudError("BACKUP_OFFSITE_REPOSITORY is not set: there is nothing to restore from. Put it into .env.")
    path = settings.offsite.recovery_key
    if not recovery_key(path):
        raise CloudError(
            f"{path} is not there, and nothing else opens the copies. Put your copy of the recovery key there;"
            " nothing was done."
        )
