"""Copies of the backups elsewhere: the keys for that, and a repository that the operator can open too."""

import json
import secrets
from collections.abc import Generator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr
from pyinfra import host
from pyinfra import state as run
from pyinfra.api import StringCommand, deploy, operation

from configuration import dotenv_change
from facts import layout
from facts.server import State
from operations import commands, files, secret_file

ADVICE = (
    "Everything else is set up, and no copies of the backups are kept elsewhere. The line above says why;"
    " docs/offsite.md has what the bucket and its users need. Then run again."
)
NOTHING_BACK = (
    "The server is there, and nothing was restored to it. The line above says why; docs/disaster-recovery.md has what a"
    " restore needs. Then run again."
)


@dataclass(frozen=True)
class Copies:
    """Where they go."""

    repository: str
    settings: SecretStr
    """The text of /etc/koprogo/offsite.json."""
    recovery_key: Path
    """The file, here, of the key that opens them without the server."""


def packages(copies: Copies | None) -> list[str]:
    """What the server needs for it."""
    return ["restic"] if copies else []


def is_ready(state: State, copies: Copies) -> bool:
    """Whether the server has said that its own key and this recovery key open the repository."""
    said = files.settings_in(state, layout.OFFSITE_READY)
    known = recovery_key(copies.recovery_key)
    return said.get("repository") == copies.repository and said.get("recovery") == fingerprint(known)


def fingerprint(key: str) -> str:
    """As files/koprogo/backups/offsite.py has it. Of a key that is not there: nothing."""
    return sha256(key.encode()).hexdigest() if key else ""


def recovery_key(path: Path) -> str:
    """The key in a file, "" where there is none."""
    return path.read_text().strip() if path.is_file() else ""


def made(path: Path) -> str:
    """The key in a file that is made where there is none: for the operator's eyes only."""
    if not recovery_key(path):
        path.touch(mode=0o600)
        dotenv_change.replace(path, f"{secrets.token_hex(32)}\n".encode())
    return recovery_key(path)


@operation()
def open_for_two(state: State, copies: Copies, ready: bool, advice: str) -> Generator[StringCommand, None, None]:
    """Let the server make the repository, with its own key and the recovery key."""
    if ready:
        host.noop("its key and the recovery key open the repository")
        return
    if not run.is_executing:
        commands.say(f"+ {copies.recovery_key}" if not recovery_key(copies.recovery_key) else copies.repository)
        yield StringCommand(f"{layout.PROGRAM} offsite setup")
        return
    order = json.dumps({"recovery": made(copies.recovery_key)})
    command = commands.Command(f"{layout.PROGRAM} offsite setup", advice)
    yield StringCommand(commands.explained(command), _stdin=order)
    commands.say(
        f"{copies.recovery_key} opens the copies when this server is lost. Keep a copy of it, and of .env, where"
        " neither this machine nor the server is: without it nobody can read them, and nobody can make another."
    )


@deploy("Copies elsewhere")
def copies(state: State, copies: Copies | None, advice: str = ADVICE) -> None:
    """Last but one: a store that does not answer leaves nothing else undone."""
    keys = copies.settings if copies else None
    changes = secret_file.differences(state, layout.OFFSITE, keys)
    named = "The keys for copies elsewhere, at 0600" if copies else "No copies of the backups elsewhere"
    secret_file.keep(name=named, path=layout.OFFSITE, text=keys, changes=changes)
    if copies is None:
        return
    ready = not changes and is_ready(state, copies)
    name = f"Copies of the backups in {copies.repository}"
    open_for_two(name=name, state=state, copies=copies, ready=ready, advice=advice)
