"""What each command of provision.py does, from the settings to the exit status."""

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import settings as variables
from cloud import asking, server_plan
from cloud import status as statuses
from cloud.api import lease
from cloud.api.lease import Lease, held
from cloud.api.make import Maker
from cloud.apply import Apply
from cloud.consent import agree, agrees_meanwhile, last_backup_of, losing_data
from cloud.destroy import Destroy
from cloud.machine import records
from cloud.machine.login import Login
from cloud.plan import Action, Plan
from cloud.plan_json import as_data
from cloud.planning import CHANGED, Planned
from cloud.show import show, spinner
from cloud.trouble import CloudError, ServerFailed
from cloud.work import Work, begin, estimate_of, show_plan, stop_for

CHANGES_PENDING = NOT_WELL = 2


def plan(*, openrc: Path | None, verbose: bool, as_json: bool) -> int:
    """Show what an apply would do."""
    work = begin(openrc, verbose=verbose, to_errors=as_json)
    planned = work.planner.plan()
    if as_json:
        known = estimate_of(work, planned)
        data = as_data(planned.plan, planned.have) | {"estimate": known.as_data() if known else None}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        show_plan(work, planned)
    stop_for(planned.plan)
    return CHANGES_PENDING if planned.plan.pending else 0


def apply(  # noqa: PLR0913 - the options of a command
    *,
    openrc: Path | None,
    verbose: bool,
    yes: bool,
    name: str,
    backup: bool | None = None,
    dry_run: bool = False,
    adopt: bool = False,
    rebuild: bool = False,
) -> int:
    """Show the plan, ask, and do exactly it."""
    work = begin(openrc, verbose=verbose)
    planned = work.planner.plan(adopt=adopt, rebuild=rebuild)
    have = planned.have
    if (rebuild and have.server is None) or (adopt and not (have.server or have.group or have.key_pair)):
        what = f"server {work.name} to rebuild" if rebuild else f"{work.name} to adopt"
        raise CloudError(f"There is no {what}. To make one: python provision.py apply")
    show_plan(work, planned)
    stop_for(planned.plan)
    if rebuild and not planned.plan.makes_a_server:
        if planned.plan.resizes:
            raise CloudError(f"{work.name} has a size that is not confirmed yet. First: python provision.py apply")
        raise CloudError(f"Nova is at work on {work.name}. Wait until that is done, then run again.")
    if not planned.plan.pending:
        return _nothing_to_do(work, planned.plan, removes=not dry_run)
    if dry_run:
        work.to.print("Nothing was done: this was a dry run.")
        return 0
    agree(work, yes=yes, name=name, loses_data=planned.plan.loses_data)
    for server in losing_data(planned):
        last_backup_of(work, server, backup, yes=yes)
    with held(Maker(work.cloud), work.name, work.to) as taken:
        _do(work, work.planner.again(planned, adopt=adopt, rebuild=rebuild), taken, yes=yes)
    return 0


def resize(*, openrc: Path | None, verbose: bool, yes: bool, flavor: str) -> int:
    """Give the server another flavor, and FLAVOR of .env with it."""
    work = begin(openrc, verbose=verbose)
    before = work.settings.instance.flavor
    if before != flavor:
        variables.may_be_written(work.settings, "FLAVOR")
    instance = work.settings.instance.model_copy(update={"flavor": flavor})
    work = replace(work, settings=replace(work.settings, instance=instance))
    planned = work.planner.plan()
    if planned.have.server is None:
        raise CloudError(f"There is no server {work.name} to resize. Put FLAVOR={flavor} into .env, then apply.")
    show_plan(work, planned)
    stop_for(planned.plan)
    if planned.plan.loses_data:
        raise CloudError("Nothing was done: that is more than another size. Do the rest first: provision.py apply")
    if before != flavor:
        work.to.print(f"FLAVOR in {work.settings.env_file}: {before} → {flavor}")
    elif not planned.plan.pending:
        return _nothing_to_do(work, planned.plan)
    agree(work, yes=yes, name="", loses_data=False)
    with held(Maker(work.cloud), work.name, work.to) as taken:
        if before == flavor:
            _do(work, work.planner.again(planned), taken, yes=yes)
        else:
            _do(work, work.planner.again(planned), taken, yes=yes, well=lambda: _note_flavor(work, flavor))
            _note_flavor(work, flavor)  # of one that has this size already, nothing was waited for
    return 0


def destroy(*, openrc: Path | None, verbose: bool, yes: bool, name: str, backup: bool | None) -> int:
    """Remove what is ours, and prove that nothing is left."""
    work = begin(openrc, verbose=verbose)
    destroyer = Destroy(work.settings, work.cloud, work.planner.want, work.to)
    found = destroyer.look()
    show(found.plan, work.to)
    stop_for(found.plan)
    if not found.plan.pending:
        if other := lease.clear(Maker(work.cloud), work.name):
            raise CloudError(
                f"There is nothing of ours that belongs to {work.name} yet, and another apply is at work on it"
                f" ({other}). Run again once it has ended."
            )
        work.to.print(f"Nothing to do: there is nothing of ours that belongs to {work.name}.")
        return 0
    agree(work, yes=yes, name=name, loses_data=True)
    for server in server_plan.ours(work.planner.want.server, found.have.servers):
        last_backup_of(work, server, backup, yes=yes)
    with held(Maker(work.cloud), work.name, work.to, needed=False) as taken:
        again = destroyer.look()
        # what went by itself in the meantime needs no removal
        if not set(again.plan.pending) <= set(found.plan.pending):
            show(again.plan, work.to)
            raise CloudError(CHANGED)
        stop_for(again.plan)
        destroyer.run(again, taken)
    if left := destroyer.left(found):
        raise CloudError(f"Still there: {', '.join(left)}. Run again.")
    if work.settings.ovh.configure_dns:
        work.to.print("Nothing of ours is left: no server, port, security group, key pair or DNS record.")
    else:
        work.to.print("Nothing of ours is left: no server, port, security group or key pair. DNS records are yours.")
    return 0


def status(*, openrc: Path | None, verbose: bool, as_json: bool) -> int:
    """Say how the server is."""
    work = begin(openrc, verbose=verbose, to_errors=as_json)
    with spinner(work.to, f"Looking how {work.name} is"):
        found = statuses.status(work.settings, work.cloud, work.planner.want)
    if as_json:
        print(json.dumps({"server": found.as_data() if found else None}, indent=2, ensure_ascii=False))
    elif found is None:
        work.to.print(f"There is no server {work.name}. To make it: python provision.py")
    else:
        for what, how in found.lines():
            work.to.print(f"  {what:<10} {how}")
    return 0 if found and not found.trouble else NOT_WELL


def console(*, openrc: Path | None, verbose: bool) -> int:
    """Print what the server has printed on its console."""
    work = begin(openrc, verbose=verbose, to_errors=True)
    servers = work.cloud.servers_of(work.planner.want.server, records.known_id(work.settings))
    if not servers:
        raise CloudError(f"There is no server {work.name}.")
    print(work.cloud.console(servers[0].id), end="")
    return 0


def _nothing_to_do(work: Work, plan: Plan, *, removes: bool = True) -> int:
    """Say so. If it `removes`, what an apply that was cut off has left of its lease goes."""
    other = (lease.clear if removes else lease.at_work)(Maker(work.cloud), work.name)
    left_so = plan.count(Action.REPORT)
    work.to.print(f"Nothing to do: {'what is marked ! is left as it is' if left_so else 'everything is in place'}.")
    if other:
        work.to.print(f"Another apply is at work on {work.name} ({other}): it may be another way once that has ended.")
    return 0


def _note_flavor(work: Work, flavor: str) -> None:
    """Let FLAVOR in .env be what the server is well with: before it is confirmed, so that no apply takes it back."""
    try:
        variables.write_variable(work.settings, "FLAVOR", flavor)
    except variables.SettingsError as error:
        raise CloudError(str(error)) from None


def _do(work: Work, planned: Planned, taken: Lease, *, yes: bool, well: Callable[[], None] = lambda: None) -> None:
    """Do the plan, and say how to log in. `well` as of Apply."""
    ask = agrees_meanwhile if asking.somebody_is_there() and not yes else None
    try:
        login = Apply(work.settings, work.cloud, taken, work.planner.want, planned, work.to, ask, well).run()
    except ServerFailed as error:
        if ask is None or not ask(f"{error} Remove it now?"):
            raise
        Maker(work.cloud).delete_server(error.server_id)
        raise CloudError("It is removed. Run again once the reason is gone.") from None
    work.to.print(f"{work.name} is ready. To log in:")
    work.to.print(f"  {_login_command(login, work.settings.known_hosts_file)}")


def _login_command(login: Login, known_hosts: Path) -> str:
    """To be pasted into a shell. ssh itself takes a space for the end of a file's name, too."""
    file = f'"{known_hosts}"' if " " in str(known_hosts) else str(known_hosts)
    option = f"UserKnownHostsFile={file}"
    return shlex.join(["ssh", "-i", str(login.private_key), "-o", option, f"{login.user}@{login.address}"])
