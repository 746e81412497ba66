"""Logging in to OpenStack, and saying which of the credentials is wrong when it does not work."""

from typing import Any, cast

import openstack
from keystoneauth1 import exceptions as keystone
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session
from openstack import exceptions as sdk

from cloud.compute import Compute
from cloud.explain import TOO_MANY_REQUESTS, explain
from cloud.trouble import CloudError, not_found
from configuration.sections import OpenStack

TIMEOUT = 60
"""Seconds for the answer to one request."""


def compute(account: OpenStack) -> Compute:
    """The project that the account leads to, logged in, in a region that exists. Raises CloudError.

    Nothing but the settings decides where it leads: clouds.yaml, OS_* variables and the profile "ovh" of
    openstacksdk (which fetches a file from the internet) are left out.
    """
    project = (
        {"project_id": account.project_id}
        if account.project_id
        else {"project_name": account.project_name, "project_domain_name": account.project_domain_name}
    )
    auth = {
        "auth_url": account.auth_url,
        "username": account.username,
        "password": account.password.get_secret_value(),
        "user_domain_name": account.user_domain_name,
        **project,
    }
    # Too many requests: tried again, after as long as Retry-After says. Nothing else is: a create whose answer was
    # lost may have been done, and done twice it would make two servers.
    retries: dict[str, Any] = {}
    for service in ("compute", "network", "image"):
        retries |= {f"{service}_status_code_retries": 5, f"{service}_retriable_status_codes": [TOO_MANY_REQUESTS]}
    connection = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="v3password",
        auth=auth,
        region_name=account.region,
        identity_api_version=account.identity_api_version,
        app_name="koprogo-infrastructure",
        api_timeout=TIMEOUT,
        **retries,
    )
    try:
        access = cast(Password, connection.session.auth).get_access(connection.session)
    except keystone.Unauthorized:
        raise CloudError(_who_is_wrong(account)) from None
    except (keystone.ClientException, sdk.SDKException) as error:
        raise CloudError(f"Logging in to {account.auth_url}: {explain(error)}") from error
    endpoints = access.service_catalog.get_endpoints_data(service_type="compute").get("compute", [])
    regions = {endpoint.region_name or "" for endpoint in endpoints}
    if account.region not in regions:
        raise not_found("OS_REGION_NAME", account.region, regions)
    return Compute(connection)


def _who_is_wrong(account: OpenStack) -> str:
    """Keystone answers 401 to a wrong user, password and project alike; without a project it tells them apart."""
    alone = Session(
        Password(
            account.auth_url,
            username=account.username,
            password=account.password.get_secret_value(),
            user_domain_name=account.user_domain_name,
            unscoped=True,
        ),
        timeout=TIMEOUT,
    )
    try:
        projects = alone.get(f"{account.auth_url}/auth/projects").json()["projects"]
    except keystone.ClientException:
        return (
            f"OS_USERNAME or OS_PASSWORD is wrong: Keystone knows no user {account.username} with this password."
            " OVH shows a password once; a new one is made in the console, Public Cloud > Users & Roles."
        )
    known = ", ".join(f"{project['id']} ({project['name']})" for project in projects)
    return (
        f"OS_PROJECT_ID or OS_PROJECT_NAME is wrong: {account.username} is not a member of"
        f" {account.project_id or account.project_name!r}. It is of: {known or 'no project at all'}."
    )
