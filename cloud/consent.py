"""What happens between a plan and its work: a yes, and a last backup of what is about to be lost."""

import click

from cloud import asking
from cloud.machine import access, last_backup
from cloud.planning import Planned
from cloud.resources import Existing, FoundServer, Server
from cloud.trouble import CloudError
from cloud.work import Work


def losing_data(planned: Planned) -> list[FoundServer]:
    """The servers whose disks go with the plan."""
    resources = [change.resource for change in planned.plan.changes if change.loses_data]
    ids = {resource.id for resource in resources if isinstance(resource, Existing)}
    replaced = any(isinstance(resource, Server) for resource in resources)
    servers = planned.have.servers
    return [one for one in servers if one.id in ids or (replaced and one is servers[0])]


def agree(work: Work, *, yes: bool, name: str, loses_data: bool) -> None:
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


def last_backup_of(work: Work, server: FoundServer, backup: bool | None, *, yes: bool) -> None:
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


def agrees_meanwhile(question: str) -> bool:
    """Ask in the middle of the work: no answer is a no."""
    try:
        return asking.confirmed(question)
    except click.Abort:
        return False
