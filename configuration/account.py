"""Where the variables of the OpenStack section come from when they are not in .env or the environment."""

from collections.abc import Mapping
from pathlib import Path

from configuration import openrc
from configuration.section import PLACEHOLDER

BY_ID = {"default": "Default"}
"""Keystone's first domain by its id, and its name; OVH has no other."""


def given(file: Path | None, folder: Path, said: Mapping[str, str]) -> dict[str, str]:
    """What an openrc.sh, or else the cloud of OS_CLOUD, says of the account. It wins over .env and the environment.

    `said` is what those two say, `folder` where .env is. Raises ValueError with a line for each mistake.
    """
    if file:
        return _as_one(openrc.read(file, said), str(file))
    name = said.get("OS_CLOUD")
    if not name:
        return {}
    from configuration import clouds_yaml  # noqa: PLC0415 - it imports openstacksdk, which takes a moment

    return _as_one(clouds_yaml.read(name, folder, said.get("OS_REGION_NAME", "")), f"OS_CLOUD ({name})")


def stray_name(written: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """What leaves a project's name out that comes from elsewhere than the id, as one left in a shell does.

    The id decides. A name beside it is compared with that of the project, so it has to be about the same one.
    """
    ids, names = (
        [any(source.get(f"OS_{word}_{what}") for word in ("PROJECT", "TENANT")) for source in (environment, written)]
        for what in ("ID", "NAME")
    )
    # the environment comes first: that is where each of them is taken from, if it is there
    return {"OS_PROJECT_NAME": ""} if any(ids) and any(names) and ids[0] != names[0] else {}


def owner(written: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Whose OS_PASSWORD it is that .env or the environment has: the user named beside it; "" if none is."""
    source = environment if environment.get("OS_PASSWORD") else written
    name = source.get("OS_USERNAME", "")
    return "" if name == PLACEHOLDER else name


def _as_one(values: dict[str, str], source: str) -> dict[str, str]:
    """The variables under one name each, and so that no half of an account is left to come from elsewhere."""
    kind = values.pop("OS_AUTH_TYPE", "password")
    if kind not in ("password", "v3password"):
        raise ValueError(f"{source}: logs in by {kind}; only by a user's name and password is possible here")
    for old, new in (("OS_TENANT_ID", "OS_PROJECT_ID"), ("OS_TENANT_NAME", "OS_PROJECT_NAME")):
        if old in values:
            values.setdefault(new, values.pop(old))
    if {"OS_PROJECT_ID", "OS_PROJECT_NAME"} & values.keys():
        values = {"OS_PROJECT_ID": "", "OS_PROJECT_NAME": ""} | values
    for whose in ("OS_USER_DOMAIN", "OS_PROJECT_DOMAIN"):
        domain = values.pop(f"{whose}_ID", None)
        needed = whose == "OS_USER_DOMAIN" or not values.get("OS_PROJECT_ID")  # an id of a project is enough
        if domain and needed and f"{whose}_NAME" not in values:
            if domain not in BY_ID:
                raise ValueError(f"{source}: has the id of a domain ({whose}_ID); put its name, {whose}_NAME")
            values[f"{whose}_NAME"] = BY_ID[domain]
    return values
