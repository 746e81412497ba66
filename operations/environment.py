"""The server's .env: lines from our own .env, and secrets that are made on the server once and never leave it."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr
from pyinfra import host
from pyinfra import state as run
from pyinfra.api import StringCommand, deploy, operation

from facts import layout
from facts.on_server.environment import keyed_hash
from facts.server import Entry, Environment, State
from facts.wire import ship
from operations import commands

_MODULES = (
    "facts.on_server.files", "facts.on_server.environment",
    "operations.on_server.put_files", "operations.on_server.mend_environment",
)  # fmt: skip

_WRONG = ("missing", "drifted")


@dataclass(frozen=True)
class Lines:
    """The lines: those that anyone may see, those that the operator keeps secret, and lengths of those made there."""

    plain: Mapping[str, str]
    secret: Mapping[str, SecretStr]
    make: Mapping[str, int]

    @property
    def names(self) -> list[str]:
        """All of them, in the order of the file."""
        return [*self.plain, *self.secret, *self.make]


def differences(lines: Lines, actual: Environment) -> list[str]:
    """What has to change in the text, one by one, without any value that may be secret."""
    names, values, made = actual["names"], actual["values"], actual["made"]
    found = [f"+ {name}" for name in lines.names if name not in names]
    for name, value in lines.plain.items():
        if values.get(name, value) != value:
            found.append(f"~ {name} {values[name]} → {value}")
    for name, secret in lines.secret.items():
        known = actual["hashes"].get(name)
        if known is not None and known != keyed_hash(actual.get("salt", ""), secret.get_secret_value()):
            found.append(f"~ {name}")
    found += [f"~ {name} ({made[name]})" for name in lines.make if name in names and made[name] in _WRONG]
    found += [f"- {name}" for name in names if name not in lines.names]
    if not found and (not actual["canonical"] or names != lines.names):
        found.append("~ order or form of the lines")
    return found


def access(actual: Environment) -> list[str]:
    """What has to change in who may read the file, and root's copy of the secrets."""
    master = actual["master"]
    found = _metadata(actual["file"], layout.USER)
    found += [f"{line}, of {layout.SECRETS}" for line in _metadata(master, "root")]
    if actual["file"] and (master is None or "unkept" in actual["made"].values()):
        found.append(f"+ {layout.SECRETS}")
    return found


def _metadata(entry: Entry | None, owner: str) -> list[str]:
    if entry is None:
        return []
    found = [] if entry["mode"] == "600" else [f"~ mode {entry['mode']} → 600"]
    if (entry["owner"], entry["group"]) != (owner, owner):
        found.append(f"~ owner {entry['owner']}:{entry['group']} → {owner}:{owner}")
    return found


@operation()
def mend(path: str, lines: Lines, changes: list[str]) -> Generator[StringCommand, None, None]:
    """Write the file if there are changes. Values travel by standard input: no process list and no log shows them."""
    if not changes:
        host.noop("every line, the mode and the owner are right")
        return
    if not run.is_executing:
        for change in changes:
            commands.say(change)
    values = {**lines.plain, **{name: secret.get_secret_value() for name, secret in lines.secret.items()}}
    order = {"path": path, "master": str(layout.SECRETS), "lines": values, "make": dict(lines.make)}
    yield StringCommand(ship(*_MODULES), _stdin=json.dumps({**order, "user": layout.USER}))


@deploy("Environment")
def environment(state: State, compose_file: str, lines: Lines) -> None:
    """One file, beside the compose file."""
    path = str(layout.env_file(compose_file))
    changes = differences(lines, state["environment"]) + access(state["environment"])
    if state["environment"]["file"] is None:
        kept = "kept" if state["environment"]["master"] else "new"
        changes = [f"+ {path}: {len(lines.names)} lines; {kept}: {', '.join(lines.make)}"]
    mend(name=".env at 0600, with the secrets of this server", path=path, lines=lines, changes=changes)
