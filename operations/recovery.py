"""A new server in the place of a lost one: the backup that it gets, before the first deploy and after it."""

import json
import shlex
from collections.abc import Generator, Sequence
from typing import Any

from pyinfra.api import FunctionCommand, Host, StringCommand, deploy, operation
from pyinfra.api import State as Run

from facts import layout
from facts.wire import ship

RECOVERY = layout.STATE / "recovery.json"


def _koprogo(state: Run, host: Host, command: str) -> bool:
    """Run it and show what it says as it says it."""
    done, _ = host.run_shell_command(StringCommand(f"{layout.PROGRAM} {command}"), print_output=True, _sudo=True)
    return done


@operation()
def _run(command: str) -> Generator[FunctionCommand, None, None]:
    yield FunctionCommand(_koprogo, (command,), {})


@operation()
def _keep_secrets(make: Sequence[str]) -> Generator[StringCommand, None, None]:
    order: dict[str, Any] = {
        "recovery": str(RECOVERY), "backups": str(layout.BACKUPS), "master": str(layout.SECRETS), "make": list(make),
    }  # fmt: skip
    modules = "facts.on_server.files", "facts.on_server.environment", "operations.on_server.put_files"
    yield StringCommand(ship(*modules, "operations.on_server.keep_secrets"), _stdin=json.dumps(order))


@deploy("Recovery")
def bring(wanted: str, make: Sequence[str]) -> None:
    """Before the first deploy: the set from elsewhere, verified, and the secrets in it in the place of new ones."""
    command = shlex.join(["offsite", "recover", *([wanted] if wanted else [])])
    _run(name="The backup that this server gets", command=command)
    _keep_secrets(name="The secrets in it", make=make)


@deploy("Recovery")
def put_back() -> None:
    """After the first deploy: database, certificates, documents, and every row counted."""
    _run(name="Its data, into place", command="offsite finish")
