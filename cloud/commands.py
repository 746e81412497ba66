"""What each command of provision.py does, from the settings to the exit status."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

import settings as variables
from cloud import asking, server_plan
from cloud import status as statuses
from cloud.api import lease, session
from cloud.api.compute import Compute
from cloud.api.lease import Lease, held
from cloud.api.make import Maker
from cloud.apply import Apply
from cloud.cost.estimate import Estimate, estimate
from cloud.destroy import Destroy
from cloud.machine import access, last_backup, records
from cloud.machine.login import Login
from cloud.plan import Action, Plan
from cloud.plan_json import as_data
from cloud.planning import CHANGED, Planned, Planner
from cloud.resources import Existing, FoundServer, Server
from cloud.show import console as console_of
from cloud.show import show, spinner
from cloud.trouble import CloudError, ServerFailed
from settings import CloudSettings

CHANGES_PENDING = NOT_WELL = 2


@dataclass(frozen=True)
class Work:
    """What a command works with."""

    settings: CloudSettings
    cloud: Compute
    to: Console

    @property
    def name(self) -> str:
        """Of the server."""
        return self.settings.instance.name

    @property
    def planner(self) -> Planner:
        """What compares."""
        return Planner(self.settings, self.cloud, self.to)


def plan(*, openrc: Path | None, verbose: bool, as_json: bool) -> int:
    """Show what an apply would do."""
    work = _begin(openrc, verbose=verbose, to_errors=as_json)
    planned = work.planner.plan()
    if as_json:
        known = _estimate(work, planned)
        data = as_data(planned.plan, planned.have) | {"estimate": known.as_data() if known else None}
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        _show(work, planned)
    _stop_for(planned.plan)
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
    work = _begin(openrc, verbose=verbose)
    planned = work.planner.plan(adopt=adopt, rebuild=rebuild)
    have = planned.have
    if (rebuild and have.server is None) or (adopt and not (have.server or have.group or have.key_pair)):
        what = f"server {work.name} to rebuild" if rebuild else f"{work.name} to adopt"
        raise CloudError(f"There is no {what}. To make one: python provision.py apply")
    _show(work, planned)
    _stop_for(planned.plan)
    if rebuild and not planned.plan.makes_a_server:
        if planned.plan.resizes:
            raise CloudError(f"{work.name} has a size that is not confirmed yet. First: python provision.py apply")
        raise CloudError(f"Nova is at work on {work.name}. Wait until that is done, then run again.")
    if not planned.plan.pending:
        return _nothing_to_do(work, planned.plan, removes=not dry_run)
    if dry_run:
        work.to.print("Nothing was done: this was a dry run.")
        return 0
    _agree(work, yes=yes, name=name, loses_data=planned.plan.loses_data)
    for server in _losing_data(planned):
        _last_backup(work, server, backup, yes=yes)
    with held(Maker(work.cloud), work.name, work.to) as taken:
        _do(work, work.planner.again(planned, adopt=adopt, rebuild=rebuild), taken, yes=yes)
    return 0


def resize(*, openrc: Path | None, verbose: bool, yes: bool, flavor: str) -> int:
    """Give the server another flavor, and FLAVOR of .env with it."""
    work = _begin(openrc, verbose=verbose)
    before = work.settings.instance.flavor
    if before != flavor:
        variables.may_be_written(work.settings, "FLAVOR")
    instance = work.settings.instance.model_copy(update={"flavor": flavor})
    work = replace(work, settings=replace(work.settings, instance=instance))
    planned = work.planner.plan()
    if planned.have.server is None:
        raise CloudError(f"There is no server {work.name} to resize. Put FLAVOR={flavor} into .env, then apply.")
    _show(work, planned)
    _stop_for(planned.plan)
    if planned.plan.loses_data:
        raise CloudError("Nothing was done: that is more than another size. Do the rest first: provision.py apply")
    if before != flavor:
        work.to.print(f"FLAVOR in {work.settings.env_file}: {before} → {flavor}")
    elif not planned.plan.pending:
        return _nothing_to_do(work, planned.plan)
    _agree(work, yes=yes, name="", loses_data=False)
    with held(Maker(work.cloud), work.name, work.to) as taken:
        if before == flavor:
            _do(work, work.planner.again(planned), taken, yes=yes)
        else:
            _do(work, work.planner.again(planned), taken, yes=yes, well=lambda: _note_flavor(work, flavor))
            _note_flavor(work, flavor)  # of one that has this size already, nothing was waited for
    return 0


def destroy(*, openrc: Path | None, verbose: bool, yes: bool, name: str, backup: bool | None) -> int:
    """Remove what is ours, and prove that nothing is left."""
    work = _begin(openrc, verbose=verbose)
    destroyer = Destroy(work.settings, work.cloud, work.planner.want, work.to)
    found = destroyer.look()
    show(found.plan, work.to)
    _stop_for(found.plan)
    if not found.plan.pending:
        if other := lease.clear(Maker(work.cloud), work.name):
            raise CloudError(
                f"There is nothing of ours that belongs to {work.name} yet, and another apply is at work on it"
                f" ({other}). Run again once it has ended."
            )
        work.to.print(f"Nothing to do: there is nothing of ours that belongs to {work.name}.")
        return 0
    _agree(work, yes=yes, name=name, loses_data=True)
    for server in server_plan.ours(work.planner.want.server, found.have.servers):
        _last_backup(work, server, backup, yes=yes)
    with held(Maker(work.cloud), work.name, work.to, needed=False) as taken:
        again = destroyer.look()
        # what went by itself in the meantime needs no removal
        if not set(again.plan.pending) <= set(found.plan.pending):
            show(again.plan, work.to)
            raise CloudError(CHANGED)
        _stop_for(again.plan)
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
    work = _begin(openrc, verbose=verbose, to_errors=as_json)
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
    work = _begin(openrc, verbose=verbose, to_errors=True)
    servers = work.cloud.servers_of(work.planner.want.server, records.known_id(work.settings))
    if not servers:
        raise CloudError(f"There is no server {work.name}.")
    print(work.cloud.console(servers[0].id), end="")
    return 0


def _begin(openrc: Path | None, *, verbose: bool, to_errors: bool = False) -> Work:
    to = console_of(to_errors=to_errors)
    ask = _ask_password if asking.somebody_is_there() else None
    settings = variables.load_cloud(openrc=openrc, ask_password=ask)
    account = settings.openstack
    project = account.project_name or account.project_id
    to.print(f"{settings.instance.name} in project {project}, {account.region}: {account.username}, {account.auth_url}")
    errors = console_of(to_errors=True)
    trace = (lambda text: errors.print(f"    {text}", style="dim")) if verbose else None

    def say(text: str) -> None:
        errors.print(f"  {text}")

    cloud = Compute(session.connect(account, say, trace), say)
    records.check_place(settings, cloud.region, cloud.project)
    return Work(settings, cloud, to)


def _ask_password(user: str) -> str:
    return str(click.prompt(f"OpenStack password of {user}", hide_input=True, err=True))


def _show(work: Work, planned: Planned) -> None:
    show(planned.plan, work.to)
    known = _estimate(work, planned)
    for text in known.lines() if known else ():
        work.to.print(text)


def _estimate(work: Work, planned: Planned) -> Estimate | None:
    """Of the flavor that the server will have; None if the cloud has no such one."""
    server = planned.have.server
    if planned.have.size:
        return estimate(work.settings, work.settings.instance.flavor, planned.have.size)
    return estimate(work.settings, server.flavor, server.size) if server else None


def _stop_for(plan: Plan) -> None:
    if plan.problems:
        raise CloudError("\n".join(plan.problems))


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


def _losing_data(planned: Planned) -> list[FoundServer]:
    """The servers whose disks go with the plan."""
    resources = [change.resource for change in planned.plan.changes if change.loses_data]
    ids = {resource.id for resource in resources if isinstance(resource, Existing)}
    replaced = any(isinstance(resource, Server) for resource in resources)
    servers = planned.have.servers
    return [one for one in servers if one.id in ids or (replaced and one is servers[0])]


def _agree(work: Work, *, yes: bool, name: str, loses_data: bool) -> None:
    """Ask. What loses data wants the server's name, so that nobody says yes out of habit. Raises CloudError."""
    if yes and loses_data and name != work.name:
        raise CloudError(f"Nothing was done: this loses data. To do it without being asked: --yes --name {work.name}")
    if yes:
        return
    if loses_data:
        question = f"This cannot be undone. To do it, type the server's name ({work.name})"
        asking.forget_what_was_typed()
        if click.prompt(question, default="", show_default=False) != work.name:
            raise CloudError("Nothing was done: that is not the server's name.")
        return
    if not asking.confirmed("Do this?"):
        raise CloudError("Nothing was done.")


def _last_backup(work: Work, server: FoundServer, backup: bool | None, *, yes: bool) -> None:
    """Take a backup and fetch it, before data is lost. Raises CloudError; nothing was removed then."""
    if not server.launched:
        return
    folder = work.settings.folder / "backups"
    if backup is None:
        backup = yes or asking.confirmed(f"Take a last backup, and fetch it to {folder}?", default=True)
    if not backup:
        return
    try:
        if server.status != "ACTIVE":
            raise CloudError(f"There is no last backup: the server is {server.status}.")
        login = access.known_login(work.settings, server)
        if not login.host_keys:
            raise CloudError(f"There is no last backup: no host key of {server.ipv4} is pinned, so nobody logs in.")
        last_backup.take(login, folder, work.to)
    except CloudError as error:
        raise CloudError(f"{error} Nothing was removed. To go on without a backup: --no-backup") from None


def _do(work: Work, planned: Planned, taken: Lease, *, yes: bool, well: Callable[[], None] = lambda: None) -> None:
    """Do the plan, and say how to log in. `well` as of Apply."""
    ask = _agrees if asking.somebody_is_there() and not yes else None
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


def _agrees(question: str) -> bool:
    """Ask in the middle of the work: no answer is a no."""
    try:
        return asking.confirmed(question)
    except click.Abort:
        return False
