"""A cloud of clouds.yaml, as the variables of an openrc.sh. openstacksdk finds the words; nothing connects anywhere.

Imported only where OS_CLOUD is set, since openstacksdk takes a moment to import.
"""

import json
from pathlib import Path
from typing import Any

import yaml
from openstack.config import loader
from openstack.exceptions import ConfigException

SUFFIXES = (".yaml", ".yml", ".json")
OVH = {"ovh", "https://ovhcloud.com"}
"""Profiles that say nothing but what our own defaults say."""

TRIPPED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What yaml and openstacksdk let out, besides their own, over a value that is not what it is said to be."""

KEYS = (
    "auth_url",
    "username",
    "password",
    "project_id",
    "project_name",
    "user_domain_id",
    "user_domain_name",
    "project_domain_id",
    "project_domain_name",
)


def read(name: str, folder: Path, region: str) -> dict[str, str]:
    """The cloud of this name, from the folder of .env or openstacksdk's own places; the first file found is read.

    The region is OS_REGION_NAME, "" if it is not set. Raises ValueError: what is wrong, in a line.
    """
    places = list(dict.fromkeys([str(folder), *loader.CONFIG_SEARCH_PATH]))
    path = _first("clouds", places)
    if path is None:
        raise ValueError(f"OS_CLOUD ({name}): there is no clouds.yaml in {', '.join(places)}")
    secure = _first("secure", places)
    written = {file: _content(file) for file in (path, secure) if file}
    if name not in written[path]:
        raise ValueError(f"OS_CLOUD ({name}): {path} has no such cloud; it has {', '.join(written[path]) or 'none'}")
    for file, clouds in written.items():
        _plain(f"{file}: the cloud {name}", clouds.get(name, {}))
    return _variables(name, path, secure, region)


def _first(stem: str, places: list[str]) -> Path | None:
    files = (Path(place, stem + suffix) for place in places for suffix in SUFFIXES)
    return next((file for file in files if file.exists()), None)


def _content(path: Path) -> dict[str, Any]:
    """The clouds of a file. openstacksdk leaves out a file that it cannot read and takes the next, without a word."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:  # its own words can hold the password
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{path}: is no YAML{line}") from None
    except (*TRIPPED, yaml.YAMLError):
        raise ValueError(f"{path}: is no {path.suffix[1:].upper()}") from None
    clouds = content.get("clouds") if isinstance(content, dict) else None
    if not isinstance(clouds, dict):
        raise ValueError(f"{path}: has no clouds; it begins with the line clouds:")
    return {str(name): cloud for name, cloud in clouds.items()}


def _plain(where: str, cloud: Any) -> None:
    """Refuse what is no text where text is due: YAML makes another number of a password like 0123."""
    auth = cloud.get("auth", {}) if isinstance(cloud, dict) else None
    if not isinstance(auth, dict):
        raise ValueError(f"{where} is not written as clouds.yaml has it: auth: with auth_url, username …")
    for key, value in auth.items():
        if not isinstance(value, str):
            raise ValueError(f"{where}: {key} is no text; put its value between quotes")


def _variables(name: str, path: Path, secure: Path | None, region: str) -> dict[str, str]:
    where = f"{path}: the cloud {name}"
    secrets = [str(secure)] if secure else []
    try:
        config = loader.OpenStackConfig([str(path)], vendor_files=[], secure_files=secrets, load_envvars=False)
        cloud = config.cloud_config["clouds"][name]
        # openstacksdk would fetch what a profile says, from the internet; "cloud" is its old name
        profiles = {cloud.pop(key) for key in ("profile", "cloud") if key in cloud}
        regions = _regions(cloud)
        found = config.get_one(name, validate=False, region_name=region if region in regions else None).config
    except (*TRIPPED, ConfigException):
        raise ValueError(f"{where} is not written as clouds.yaml has it") from None
    auth = found["auth"]
    if profiles - OVH and "auth_url" not in auth:
        raise ValueError(f"{where} has a profile, which is not looked up; write its auth_url and region_name out")
    values = {f"OS_{key.upper()}": auth[key] for key in KEYS if key in auth}
    values["OS_AUTH_TYPE"] = found["auth_type"]
    values["OS_REGION_NAME"] = _region(where, regions, region)
    values["OS_IDENTITY_API_VERSION"] = found.get("identity_api_version")
    return {variable: value for variable, value in values.items() if value}


def _regions(cloud: dict[str, Any]) -> list[str]:
    """The regions that a cloud names. Raises one of TRIPPED."""
    listed = cloud.get("regions") or cloud.get("region_name") or []
    if isinstance(listed, str):
        listed = listed.split(",")
    names = [region["name"] if isinstance(region, dict) else region for region in listed]
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return names


def _region(where: str, regions: list[str], chosen: str) -> str:
    """The region to take; "" if the cloud names none. Raises ValueError."""
    if chosen in regions or not regions:
        return chosen
    if chosen:
        raise ValueError(f"OS_REGION_NAME ({chosen}): {where} has {', '.join(regions)}; put one of these")
    if len(regions) > 1:
        raise ValueError(f"OS_REGION_NAME: missing. {where} has several: {', '.join(regions)}")
    return regions[0]
