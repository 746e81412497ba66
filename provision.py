"""The cloud side: compare what the settings ask for with what OVH has, show the difference, ask, apply it.

Exit status: 0 everything is in place, or was only shown (--dry-run); 1 something is wrong, or the answer was no;
2 the command line is wrong; 130 interrupted. What was made before a failure stays, and the next run goes on from
there: there is no state but the cloud's own.
"""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich.console import Console

from cloud import first_boot, records
from cloud.login import Login
from cloud.plan import Action, Plan, difference
from cloud.resources import Record, Server, wanted
from cloud.show import console, describe, show, step
from cloud.trouble import CloudError
from settings import CloudSettings, Settings, SettingsError, load_cloud

if TYPE_CHECKING:
    from cloud.compute import Compute

GOES_ON = "What was made stays; run the same command again to go on."


@click.command(help="Make the server that .env describes: plan, show, ask, apply.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(dry_run: bool, yes: bool) -> None:
    """Run the command; every failure is a line or two on standard error."""
    try:
        provision(load_cloud(), console(), dry_run=dry_run, yes=yes)
    except SettingsError as error:
        sys.exit(f"{error}\nNothing was done: mend the lines above, in .env or the environment.")
    except CloudError as error:
        sys.exit(str(error))
    except click.Abort:
        sys.exit("Nothing was done: nobody answered. Run it in a terminal, or with --yes.")
    except KeyboardInterrupt:
        print(f"\nInterrupted. {GOES_ON}", file=sys.stderr)
        sys.exit(130)


def provision(settings: CloudSettings, to: Console, *, dry_run: bool, yes: bool) -> None:
    """Plan, show, ask, apply. Raises CloudError."""
    instance, account = settings.instance, settings.openstack
    to.print(f"{instance.name} in {account.region}, as {account.username} of {account.auth_url}")
    name = instance.name  # of everything that there is to make
    server = Server(name, instance.flavor, instance.image, instance.network, name, name, instance.environment)
    want = wanted(server, instance.ssh_public_key.read_text())
    with step(to, "Looking at what there is"):
        # openstacksdk takes a second to import: mistakes in .env are said before that
        from cloud.session import compute  # noqa: PLC0415

        cloud = compute(account)
        have = cloud.actual(want)
        have = replace(have, records=records.in_place(settings, have.server))
        if not have.server:
            cloud.room_for(cloud.parts(want.server))
    plan = difference(want, have)
    show(plan, to)
    if plan.problems:
        raise CloudError("\n".join(plan.problems))
    if not plan.pending:
        left = plan.count(Action.REPORT)
        to.print(f"Nothing to do: {'what is marked ! is left as it is' if left else 'everything is in place'}.")
    elif dry_run:
        to.print("Nothing was done: this was a dry run.")
    elif yes or click.confirm("Do this?", default=False):
        apply(settings, cloud, plan, to)
    else:
        raise CloudError("Nothing was done.")


def apply(settings: Settings, cloud: "Compute", plan: Plan, to: Console) -> None:
    """Make what the plan says, wait until the server is at rest, and note it beside .env."""
    makes_the_server = False
    for change in plan.pending:
        if isinstance(change.resource, Record):
            continue  # written below, once what they are about is known
        makes_the_server |= isinstance(change.resource, Server)
        kind, name, details = describe(change.resource)
        with step(to, f"Making {kind} {name}" if kind != "rule" else f"Making rule {details}"):
            cloud.make(change.resource)
    server = first_boot.wait_active(cloud, settings.instance.name, to)
    here = records.entry(settings, server)
    former = () if makes_the_server else records.former_keys(settings, here)
    keys = first_boot.wait_host_keys(cloud, server, former, to)
    login = Login(server.ipv4, here.user, settings.instance.ssh_private_key, keys)
    first_boot.wait_first_boot(login, to)
    records.write(settings, here, keys)
    to.print(f"{server.name} is ready. To log in:")
    to.print(
        f"  ssh -i {login.private_key} -o UserKnownHostsFile={settings.known_hosts_file} {login.user}@{login.address}"
    )


if __name__ == "__main__":
    main()
