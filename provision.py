"""The cloud side: compare what the settings ask for with what OVH has, show the difference, ask, apply it.

Exit status: 0 done, or everything is in place; 1 something is wrong, or the answer was no; 2 `plan` has found changes
to make, `status` no server that answers, or the command line is wrong; 130 interrupted (143 by SIGTERM, 129 by SIGHUP).
What was made before a failure stays, and the next run goes on from there: there is no state but the cloud's own.
"""

import sys

from cloud import early

if __name__ == "__main__":
    early.quiet_if_interrupted()

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

try:
    import click
    from click.core import ParameterSource

    from cloud import command_line
except ModuleNotFoundError as error:
    sys.exit(early.not_installed(error, "provision.py"))

COMMON = (
    click.option("--openrc", type=click.Path(path_type=Path), help="Log in with this openrc.sh, as OVH gives it."),
    click.option("-v", "--verbose", is_flag=True, help="Show every call to the cloud, on standard error."),
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
NAME = click.option("--name", default="", help="With --yes: the server whose data may be lost.")
BACKUP = click.option("--backup/--no-backup", default=None, help="Take and fetch a last backup; asks, if left out.")

Command = Callable[..., None]


def common(command: Command) -> Command:
    """Give a command the options that all of them have."""
    for option in reversed(COMMON):
        command = option(command)
    return command


@click.group(invoke_without_command=True, help="The server that .env describes. Without a command: plan, ask, apply.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done (exit status 0, unlike plan).")
@YES
@NAME
@BACKUP
@common
@click.pass_context
def main(context: click.Context, /, dry_run: bool, **options: Any) -> None:
    """Plan, show, ask and apply, unless a command says otherwise."""
    if context.invoked_subcommand is None:
        run("apply", dry_run=dry_run, **options)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        raise click.UsageError("Options go behind the command, as in: provision.py plan --json")


@main.command(help="Show what would be done. Exit status: 0 nothing, 2 changes, 1 something is wrong.")
@AS_JSON
@common
def plan(**options: Any) -> None:
    """`plan`."""
    run("plan", **options)


@main.command(help="Show the plan, ask, and do it.")
@YES
@NAME
@BACKUP
@common
def apply(**options: Any) -> None:
    """`apply`."""
    run("apply", **options)


@main.command(help="Make ours what has the server's name and lacks our marks; then as apply.")
@YES
@NAME
@common
def adopt(**options: Any) -> None:
    """`adopt`."""
    run("apply", adopt=True, **options)


@main.command(help="Make the server again from its image. It keeps its addresses and loses its data.")
@YES
@NAME
@BACKUP
@common
def rebuild(**options: Any) -> None:
    """`rebuild`."""
    run("apply", rebuild=True, **options)


@main.command(help="Give the server another size, and keep it only if it answers with it; FLAVOR of .env follows.")
@click.argument("flavor")
@YES
@common
def resize(**options: Any) -> None:
    """`resize`."""
    run("resize", **options)


@main.command(help="Remove the server and all that is ours, DNS records included, and prove that nothing is left.")
@YES
@NAME
@BACKUP
@common
def destroy(**options: Any) -> None:
    """`destroy`."""
    run("destroy", **options)


@main.command(help="The server as it is: size, addresses, age, cost, whether it answers.")
@AS_JSON
@common
def status(**options: Any) -> None:
    """`status`."""
    run("status", **options)


@main.command(help="What the server has printed on its console.")
@common
def console(**options: Any) -> None:
    """`console`."""
    run("console", **options)


@main.command(
    help="The least rights at OVH that DNS needs; makes a key (OVH_CONSUMER_KEY) that has them, or checks it."
)
@click.option(
    "--check", "only_check", is_flag=True, help="Only check the present key. Exit status: 1 if a right lacks."
)
@click.option("--new", is_flag=True, help="Make a key even if the present one has all rights.")
@click.option("--oauth2", is_flag=True, help="How to make a service account instead.")
@click.option("--zone", "zones", multiple=True, help="The DNS zone, where neither OVH nor the DNS can tell it yet.")
def credentials(**options: Any) -> None:
    """`credentials`."""

    def load() -> Callable[[], int]:
        from cloud.ovh.credentials import credentials as command  # noqa: PLC0415 - as in `run`

        return partial(command, **options)

    command_line.run(load)


def run(command: str, **options: Any) -> None:
    """Run a command of `cloud.commands`."""

    def load() -> Callable[[], int]:
        from cloud import commands  # noqa: PLC0415 - takes a moment, of which --help has no need

        return partial(getattr(commands, command), **options)

    command_line.run(load)


if __name__ == "__main__":
    command_line.start(main)
