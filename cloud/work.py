"""What the commands of provision.py begin with: settings, a cloud that is logged in to, and a plan that is shown."""

from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

import settings as variables
from cloud import asking
from cloud.api import session
from cloud.api.compute import Compute
from cloud.cost.estimate import Estimate, estimate
from cloud.machine import records
from cloud.plan import Plan
from cloud.planning import Planned, Planner
from cloud.show import console as console_of
from cloud.show import show
from cloud.trouble import CloudError
from settings import CloudSettings


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


def begin(openrc: Path | None, *, verbose: bool, to_errors: bool = False) -> Work:
    """Read the settings, log in, and say where. Raises SettingsError and CloudError.

    `openrc` as of settings.load_cloud; `verbose` shows every call; `to_errors` leaves standard output to JSON.
    """
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


def show_plan(work: Work, planned: Planned) -> None:
    """Print a plan, and what the server costs and emits."""
    show(planned.plan, work.to)
    known = estimate_of(work, planned)
    for text in known.lines() if known else ():
        work.to.print(text)


def estimate_of(work: Work, planned: Planned) -> Estimate | None:
    """Of the flavor that the server will have; None if the cloud has no such one."""
    server = planned.have.server
    if planned.have.size:
        return estimate(work.settings, work.settings.instance.flavor, planned.have.size)
    return estimate(work.settings, server.flavor, server.size) if server else None


def stop_for(plan: Plan) -> None:
    """Raise CloudError if something is in the way of a plan."""
    if plan.problems:
        raise CloudError("\n".join(plan.problems))
