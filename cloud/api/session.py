"""Logging in to OpenStack, and saying what is wrong when it does not work."""

from time import time

from keystoneauth1 import exceptions as keystone
from keystoneauth1.access import AccessInfo
from keystoneauth1.identity.v3 import Password
from openstack.connection import Connection

from cloud.api.explain import explained
from cloud.api.patience import PatientSession, Say
from cloud.trouble import CloudError
from configuration.sections import OpenStack

SERVICES = ("compute", "network", "image")
CLOCK_SECONDS = 60
"""How far this machine's clock may be from the cloud's. Tokens, certificates and backups all go by the time."""


def connect(account: OpenStack, say: Say, trace: Say | None = None) -> Connection:
    """A connection that is logged in, to a region that exists. Raises CloudError; `say` and `trace`: PatientSession.

    Nothing but the settings decides where it leads: clouds.yaml, OS_* variables and the profile "ovh" of
    openstacksdk (which fetches a file from the internet) are left out.
    """
    auth = _login(account, scoped=True)
    session = PatientSession(auth, say, trace)
    with explained(f"Logging in to {account.auth_url}"):
        try:
            access = auth.get_access(session)
        except keystone.Unauthorized:
            raise CloudError(_who_is_wrong(account, say, trace)) from None
        _check_project(access, account)
        _check_clock(session, access)
        _check_region(access, account.region)
    return Connection(session=session, region_name=account.region)


def _login(account: OpenStack, *, scoped: bool) -> Password:
    by_name = scoped and not account.project_id
    return Password(
        account.auth_url,
        username=account.username,
        password=account.password.get_secret_value(),
        user_domain_name=account.user_domain_name,
        project_id=account.project_id or None if scoped else None,
        project_name=account.project_name if by_name else None,
        project_domain_name=account.project_domain_name if by_name else None,
        unscoped=not scoped,
    )


def _check_project(access: AccessInfo, account: OpenStack) -> None:
    """The id alone decides, so a name that contradicts it would go unnoticed, and so would an id mistaken for it."""
    if account.project_id and account.project_name and access.project_name != account.project_name:
        raise CloudError(
            f"OS_PROJECT_NAME or OS_TENANT_NAME ({account.project_name}) contradicts OS_PROJECT_ID or OS_TENANT_ID:"
            f" the project {account.project_id} is called {access.project_name}. Nothing was done. Put the id of the"
            " project that you mean; the name can be left out."
        )


def _check_clock(session: PatientSession, access: AccessInfo) -> None:
    ahead = session.clock_ahead
    if ahead is None:  # the same clock dates the token
        ahead = time() - access.issued.timestamp() if access.issued else 0.0
    if abs(ahead) > CLOCK_SECONDS:
        raise CloudError(
            f"This machine's clock is {_long(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'}"
            " the cloud's. Set it by the network, then run again: sudo timedatectl set-ntp true"
        )


def _long(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _check_region(access: AccessInfo, region: str) -> None:
    data = access.service_catalog.get_endpoints_data(interface="public")
    services = ({one.region_name or "" for one in data.get(service, ())} for service in SERVICES)
    regions = set.intersection(*services)
    if region not in regions:
        raise CloudError(
            f"OS_REGION_NAME: the cloud has no {region!r} here. It has: {', '.join(sorted(regions)) or 'none at all'}."
            " At OVH the right one is OS_REGION_NAME in openrc.sh; one that is missing may have to be activated for the"
            " project first (console: Public Cloud > Quota and Regions)."
        )


def _who_is_wrong(account: OpenStack, say: Say, trace: Say | None) -> str:
    """Keystone answers 401 to a wrong user, password and project alike; without a project it tells them apart.

    Raises the exceptions of keystoneauth.
    """
    alone = PatientSession(_login(account, scoped=False), say, trace)
    try:
        projects = alone.get(f"{account.auth_url}/auth/projects").json()["projects"]
    except keystone.Unauthorized:
        return (
            f"OS_USERNAME or OS_PASSWORD is wrong: Keystone knows no user {account.username} with this password."
            " OVH shows a password once; a new one is made in the console, Public Cloud > Users & Roles."
        )
    known = ", ".join(f"{project['id']} ({project['name']})" for project in projects)
    return (
        f"OS_PROJECT_ID or OS_PROJECT_NAME is wrong: {account.username} is not a member of"
        f" {account.project_id or account.project_name!r}. It is of: {known or 'no project at all'}."
    )
