"""Commands that are decided by comparing, and explained when they fail."""

import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import click
from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.server import State


@dataclass(frozen=True)
class Command:
    """A line of shell, and what to say if it fails: what happened, what to do. It holds no secret."""

    line: str
    failing: str


def say(line: str) -> None:
    """Tell the operator, below the name of the step."""
    click.echo(f"    {line}", err=True)


def started(state: State, name: str, failing: str) -> list[Command]:
    """Start a unit of systemd, now and after every boot, unless both are so."""
    unit = state["units"][name]
    if unit["active"] == "active" and unit["enabled"] == "enabled":
        return []
    return [Command(f"systemctl enable -q --now {name}", failing)]


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
