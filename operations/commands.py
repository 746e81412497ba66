"""Commands that are decided by comparing, and explained when they fail."""

import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand, operation


@dataclass(frozen=True)
class Command:
    """A line of shell, and what to say if it fails: what happened, what to do. It holds no secret."""

    line: str
    failing: str


def explained(command: Command) -> str:
    """Shell that keeps quiet, or ends with the last lines that the command printed and the explanation."""
    tail = "printf '%s\\n' \"$said\" | tail -n 6 >&2"
    return f"said=$( {{ {command.line}\n}} 2>&1 ) || {{ {tail}; echo {shlex.quote(command.failing)} >&2; exit 1; }}"


@operation()
def run(wanted: Sequence[Command], otherwise: str) -> Generator[StringCommand, None, None]:
    """Run the commands, or say why there is nothing to do."""
    if not wanted:
        host.noop(otherwise)
    for command in wanted:
        yield StringCommand(explained(command))
