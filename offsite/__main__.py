"""`python -m offsite`: what make offsite-policy, offsite-tidy and restore call."""

import sys

from cloud import early

if __name__ == "__main__":
    early.quiet_if_interrupted()

import json
from collections.abc import Callable
from functools import partial

try:
    import click

    from cloud import command_line
except ModuleNotFoundError as error:
    sys.exit(early.not_installed(error, "-m offsite"))


@click.group()
def main() -> None:
    """The off-site copies, from the operator's side."""


@main.command("policy", help="What the S3 user of the server should be allowed, as OVH's console imports it.")
def policy_command() -> None:
    """`policy`."""
    command_line.run(lambda: _policy)


@main.command(help="Mend what is damaged, and delete what is older than BACKUP_OFFSITE_DAYS, _WEEKS and _MONTHS say.")
def tidy() -> None:
    """`tidy`."""

    def load() -> Callable[[], int]:
        from offsite.tidy import tidy as command  # noqa: PLC0415 - takes a moment, of which --help has no need

        return command

    command_line.run(load)


@main.command(help="Rent and set up a server in the place of a lost one, with the newest set that is off-site.")
@click.option("--set", "wanted", default="", help="Another set, by its name: 20261122_020005.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def restore(wanted: str, yes: bool) -> None:
    """`restore`."""

    def load() -> Callable[[], int]:
        from offsite.restore import restore as command  # noqa: PLC0415 - as above

        return partial(command, wanted=wanted, yes=yes)

    command_line.run(load)


def _policy() -> int:
    import settings as variables  # noqa: PLC0415 - as above
    from cloud.trouble import CloudError  # noqa: PLC0415
    from offsite.policy import policy  # noqa: PLC0415

    try:
        print(json.dumps(policy(variables.load().offsite.repository), indent=1))
    except ValueError as error:
        raise CloudError(f"BACKUP_OFFSITE_REPOSITORY: {error}.") from None
    return 0


if __name__ == "__main__":
    command_line.start(main)
