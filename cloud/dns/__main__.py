"""`python -m cloud.dns`: let names lead to an address, by OVH's API; for those who want only this part."""

import sys

from cloud import early

if __name__ == "__main__":
    early.quiet_if_interrupted()

from collections.abc import Callable
from functools import partial
from typing import Any

try:
    import click

    from cloud import command_line
except ModuleNotFoundError as error:
    sys.exit(early.not_installed(error, "-m cloud.dns"))


WISH = (
    click.argument("names", nargs=-1),
    click.option("--ipv4", default="", help="Address of the A records."),
    click.option("--ipv6", default="", help="Address of AAAA records."),
    click.option("--issuer", help="CA for a CAA record; CAA_ISSUER of .env, or else none."),
)
TTL = click.option("--ttl", type=int, help="Seconds; DNS_TTL of .env, or else 300.")
REPLACE = click.option("--replace", is_flag=True, help="Other addresses of these names may go.")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


def takes(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the arguments that say what is wanted, and these options."""

    def give(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed((*WISH, *options)):
            command = option(command)
        return command

    return give


@click.group()
def main() -> None:
    """Let names lead to an address, by OVH's API.

    NAMES and --ipv4 say which and where. Without NAMES, those of .env are meant, at the address in inventory.json.
    The OVH_* variables come from the environment or .env.
    """


@main.command(help="Show what would be written. Exit status: 0 nothing, 2 changes, 1 something is wrong.")
@takes(TTL, REPLACE, JSON)
def plan(**options: Any) -> None:
    """`plan`."""
    run("plan", **options)


@main.command(help="Show what would be written, ask, write it, and wait until it is served.")
@takes(TTL, REPLACE, click.option("--yes", is_flag=True, help="Do not ask."))
def apply(**options: Any) -> None:
    """`apply`."""
    run("apply", **options)


@main.command(help="Ask the zones' own name servers; needs no account. Exit status: 0 as wanted, 2 not.")
@takes()
def check(**options: Any) -> None:
    """`check`."""
    run("check", **options)


def run(command: str, **options: Any) -> None:
    """Run a command of `cloud.dns.commands`."""

    def load() -> Callable[[], int]:
        from cloud.dns import commands  # noqa: PLC0415 - takes a moment, of which --help has no need

        return partial(getattr(commands, command), **options)

    command_line.run(load)


if __name__ == "__main__":
    command_line.start(main)
