"""Files with secrets for the program on the server: no value of theirs shows in a plan, a log or a process list."""

import json
from collections.abc import Generator

from pydantic import SecretStr
from pyinfra import host
from pyinfra import state as run
from pyinfra.api import StringCommand, operation

from facts import layout
from facts.on_server.environment import keyed_hash
from facts.server import State
from facts.wire import ship
from operations import commands


def differences(state: State, path: str, text: SecretStr | None) -> list[str]:
    """What has to change about one, without anything that is in it; without a text it has to go."""
    actual = state["hashed"][path]
    if text is None:
        return [f"- {path}"] if actual else []
    if actual is None:
        return [f"+ {path}"]
    wanted = keyed_hash(state["environment"].get("salt", ""), text.get_secret_value())
    found = [] if actual["text"] == wanted else [f"~ {path}"]
    place = (actual["mode"], actual["owner"], actual["group"])
    return found + ([] if place == ("600", layout.USER, layout.USER) else [f"~ {path}: mode or owner"])


@operation()
def keep(path: str, text: SecretStr | None, changes: list[str]) -> Generator[StringCommand, None, None]:
    """Write the file at 0600, or remove it, if there are changes. Its text travels by standard input."""
    if not changes:
        host.noop(f"{path} is as it should be" if text else f"there is no {path}, and none is wanted")
        return
    if not run.is_executing:
        for change in changes:
            commands.say(change)
    file = {"path": path, "mode": "600", "owner": layout.USER, "group": layout.USER, "block": False}
    written = [{**file, "text": text.get_secret_value()}] if text else []
    order = {"files": written, "absent": [] if text else [path], "check": "", "then": ""}
    yield StringCommand(ship("operations.on_server.put_files"), _stdin=json.dumps(order))
