"""The server's .env: lines from our own .env, and secrets that are made on the server once and never leave it."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr
from pyinfra import host
from pyinfra.api import StringCommand, deploy, operation

from facts import layout
from facts.on_server.environment import keyed_hash
from facts.server import Entry, Environment, State
from facts.wire import ship

_MODULES = (
    "facts.on_server.files", "facts.on_server.environment",
    "operations.on_server.put_files", "operations.on_server.mend_environment",
)  # fmt: skip


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


def differences(wanted: Lines, actual: Environment) -> list[str]:
    """What has to change, one by one, without any value that may be secret."""
    found = [f"+ {name}" for name in wanted.names if name not in actual["names"]]
    for name, value in wanted.plain.items():
        if name in actual["values"] and actual["values"][name] != value:
            found.append(f"~ {name} {actual['values'][name]} → {value}")
    for name, secret in wanted.secret.items():
        known = actual["hashes"].get(name)
        if known is not None and known != keyed_hash(actual.get("salt", ""), secret.get_secret_value()):
            found.append(f"~ {name}")
    found += [f"~ {name} ({actual['made'][name]})" for name in wanted.make if name in actual["names"] and actual["made"][name] != "set"]
    found += [f"- {name}" for name in actual["names"] if name not in wanted.names]
    found += _metadata(actual["file"], layout.USER) + [f"{line} of root's copy" for line in _metadata(actual["master"], "root")]
    if not found and (not actual["canonical"] or actual["names"] != wanted.names):
        found.append("~ order or form of the lines")
    return found


def _metadata(entry: Entry | None, owner: str) -> list[str]:
    if entry is None:
        return []
    found = [] if entry["mode"] == "600" else [f"~ mode {entry['mode']} → 600"]
    if (entry["owner"], entry["group"]) != (owner, owner):
        found.append(f"~ owner {entry['owner']}:{entry['group']} → {owner}:{owner}")
    return found


@operation()
def mend(path: str, wanted: Lines, changes: list[str]) -> Generator[StringCommand, None, None]:
    """Write the file if there are changes. Values travel by standard input: no process list and no log shows them."""
    if not changes:
        host.noop("every line, the mode and the owner are right")
        return
    lines = {**wanted.plain, **{name: secret.get_secret_value() for name, secret in wanted.secret.items()}}
    order = {"path": path, "master": str(layout.SECRETS), "lines": lines, "make": dict(wanted.make), "user": layout.USER}
    yield StringCommand(ship(*_MODULES), _stdin=json.dumps(order))


@deploy("Environment")
def environment(state: State, compose_file: str, wanted: Lines) -> None:
    """One file, beside the compose file."""
    changes = differences(wanted, state["environment"])
    if state["environment"]["file"] is None:
        changes = ["+ all lines", *(f"+ {name}" for name in wanted.make)]
    listed = f": {', '.join(changes)}" if changes else ""
    mend(name=f".env, 0600, secrets made once{listed}", path=str(layout.env_file(compose_file)), wanted=wanted, changes=changes)
