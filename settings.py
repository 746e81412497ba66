"""What the operator decides: read once, from `.env` and the environment, and checked as a whole.

`load()` gives a `Settings`, whose sections (in `configuration/`) hold the values under short names, or raises
`SettingsError`, which lists every mistake at once. `load_cloud()` does the same for whoever makes servers: it reads
the OpenStack account too, which deploying has no need of. Names and defaults of variables are known nowhere else;
`.env.example` documents them. A variable of the environment wins over the same one in the file, but for the lines of
the server's .env, which come from the file alone.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from configuration import account, checks, dotenv_change, dotenv_file
from configuration.alerts import Alerts
from configuration.application import INTERNAL_STORAGE, Application
from configuration.keys import OvhKeys
from configuration.offsite import Offsite
from configuration.section import PLACEHOLDER, Section
from configuration.sections import Instance, Lookups, OpenStack, Ovh, Server, Site, Source

ROOT = Path(__file__).resolve().parent
MADE_ON_THE_SERVER = {"POSTGRES_PASSWORD": 32, "JWT_SECRET": 64}
"""Secrets that are made on the server, once, and their lengths; of letters and digits only."""

ALWAYS_THERE = ("GITHUB_REPOSITORY", "ACME_EMAIL", "API_DOMAIN", "FRONTEND_DOMAIN", "PUBLIC_API_URL")
"""The first lines of the server's .env, which follow from other sections than the application's."""


class SettingsError(Exception):
    """One or more mistakes in what the operator wrote; str() has a line for each."""


Sections = tuple[type[Section], ...]
SECTIONS: Sections = (Ovh, Instance, Site, Source, Server, Offsite, Alerts, Application)
"""What deploying needs."""
WITH_ACCOUNT: Sections = (OpenStack, *SECTIONS)


@dataclass(frozen=True)
class Settings:
    """What the operator decides about the server and what runs there; each section is checked, and so is the whole."""

    env_file: Path
    ovh: Ovh
    instance: Instance
    site: Site
    source: Source
    server: Server
    offsite: Offsite
    alerts: Alerts
    application: Application
    extra: dict[str, SecretStr] = field(default_factory=dict)
    """Lines for the server's .env that the operator added with APP_NAME=value."""

    @property
    def folder(self) -> Path:
        """Where .env is, and what provision.py writes."""
        return self.env_file.parent

    @property
    def inventory_file(self) -> Path:
        """The servers that exist."""
        return self.folder / "inventory.json"

    @property
    def known_hosts_file(self) -> Path:
        """Their pinned SSH host keys."""
        return self.folder / "known_hosts"

    @property
    def server_env(self) -> dict[str, str]:
        """The lines of the server's .env that anyone may see, in order. IMAGE_TAG comes from the commit."""
        site = self.site
        values = (
            self.source.github_repository,
            site.acme_email,
            site.api_domain,
            site.frontend_domain,
            f"https://{site.api_domain}/api/v1",
        )
        lines = {name: value for name, value in self.application.lines().items() if isinstance(value, str)}
        own = f"https://{site.frontend_domain},https://{site.api_domain}"
        lines["CORS_ALLOWED_ORIGINS"] = lines["CORS_ALLOWED_ORIGINS"] or own
        return dict(zip(ALWAYS_THERE, values, strict=True)) | lines

    @property
    def server_secrets(self) -> dict[str, SecretStr]:
        """The lines that nobody may see: secrets that the operator gave, and whatever was added with APP_."""
        lines = self.application.lines().items()
        return {name: value for name, value in lines if isinstance(value, SecretStr)} | self.extra

    @property
    def secrets_to_make(self) -> dict[str, int]:
        """Names and lengths of the secrets to make on the server, once."""
        own_storage = self.application.s3_endpoint == INTERNAL_STORAGE and not self.application.s3_secret_key
        return MADE_ON_THE_SERVER | ({"S3_SECRET_KEY": 40} if own_storage else {})


@dataclass(frozen=True, kw_only=True)
class CloudSettings(Settings):
    """All that, and the account that servers are rented with."""

    openstack: OpenStack


@dataclass(frozen=True)
class KeySettings:
    """What making keys for OVH's API needs: the names that they are for, and the keys that are there."""

    env_file: Path
    site: Site
    ovh: OvhKeys


@dataclass(frozen=True)
class _Written:
    """The .env file as a text."""

    path: Path
    values: dict[str, str]
    mistakes: list[str]


def variables() -> dict[str, FieldInfo]:
    """Every variable there is, with its field; a field with two names is there twice."""
    return {
        name: info
        for section in WITH_ACCOUNT
        for attribute, info in section.model_fields.items()
        if attribute != "folder"
        for name in _names(info)
    }


def load(env_file: Path | None = None) -> Settings:
    """Read and check what deploying needs. ENV_FILE names the file; without it, .env beside this module.

    Raises SettingsError with every mistake.
    """
    written = _written(env_file)
    parts, mistakes = _parts(written, SECTIONS)
    _raise(written.mistakes + mistakes)
    return Settings(**parts)


def load_dns(env_file: Path | None = None, *, keys: bool = True) -> tuple[Ovh, tuple[str, ...]]:
    """Read and check the way to OVH's API and the DNS_RESOLVERS, and nothing else; there need be no .env file.

    Without `keys`, those need not be there; with them CONFIGURE_DNS_AUTO, which is about deploying, does not matter.
    Raises SettingsError with every mistake.
    """
    written = _written(env_file, needed=False)
    parts, mistakes = _parts(written, (Ovh, Lookups), {"CONFIGURE_DNS_AUTO": "true" if keys else "false"})
    _raise(written.mistakes + mistakes)
    return parts["ovh"], parts["lookups"].dns_resolvers


def load_keys(env_file: Path | None = None) -> KeySettings:
    """Read and check what making keys for OVH's API needs; the keys may be missing. Raises SettingsError."""
    written = _written(env_file)
    parts, mistakes = _parts(written, (Site, OvhKeys))
    _raise(written.mistakes + mistakes)
    return KeySettings(written.path, parts["site"], parts["ovhkeys"])


def load_cloud(
    env_file: Path | None = None,
    *,
    openrc: Path | None = None,
    ask_password: Callable[[str], str] | None = None,
) -> CloudSettings:
    """Read and check everything, the account from `openrc` or the cloud of OS_CLOUD where there is one.

    A password that is found nowhere, or is another user's, is asked for, by the user's name, once everything else is
    in order. Raises SettingsError with every mistake.
    """
    written = _written(env_file)
    environment = {name: value for name, value in os.environ.items() if value}
    said = written.values | environment
    try:
        given = account.stray_name(written.values, environment) | account.given(openrc, written.path.parent, said)
    except ValueError as error:
        _, mistakes = _parts(written, SECTIONS)
        raise SettingsError("\n".join([*written.mistakes, str(error), *mistakes])) from None
    missing = (given.get("OS_PASSWORD") or said.get("OS_PASSWORD") or PLACEHOLDER) == PLACEHOLDER
    owner, user = account.owner(written.values, environment), given.get("OS_USERNAME")
    of_another = bool(not missing and "OS_PASSWORD" not in given and user and owner and user != owner)
    asks = ask_password if missing or of_another else None
    first = given | {"OS_PASSWORD": "to be asked for"} if asks else given
    parts, mistakes = _parts(written, WITH_ACCOUNT, first)
    if of_another and not asks:
        mistakes.append(
            f"OS_PASSWORD: is that of {owner}, and {openrc or 'the cloud of OS_CLOUD'} logs in as {user}; put"
            f" OS_USERNAME and OS_PASSWORD of {user} there, or run this in a terminal, and it asks"
        )
    _raise(written.mistakes + mistakes)
    if asks:
        answer = asks(parts["openstack"].username)
        again, mistakes = _parts(written, (OpenStack,), given | ({"OS_PASSWORD": answer} if answer else {}))
        _raise(mistakes)
        parts["openstack"] = again["openstack"]
    return CloudSettings(**parts)


def may_be_written(settings: Settings | KeySettings, name: str) -> None:
    """Raise SettingsError if a line for this variable in the .env file would not count."""
    if os.environ.get(name):
        raise SettingsError(f"{name}: is set in the environment, which wins over {settings.env_file}; change it there")


def write_variable(settings: Settings | KeySettings, name: str, value: str) -> None:
    """Give one of our variables another value in the .env file; the settings that were loaded stay as they are.

    Raises SettingsError if the file cannot be written, or if a line in it would not count.
    """
    path = settings.env_file
    may_be_written(settings, name)
    try:
        text = path.read_bytes().decode()
        dotenv_change.replace(path, dotenv_change.changed(text, name, value).encode())
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be written ({error.strerror}); put {name}={value} there yourself"
        ) from None
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _raise(mistakes: list[str]) -> None:
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def _written(env_file: Path | None, *, needed: bool = True) -> _Written:
    """The .env file, and what is wrong with it before any value is checked. Raises SettingsError if it is no text."""
    path = _found(env_file or Path(os.environ.get("ENV_FILE") or ROOT / ".env"), needed=needed)
    if not path.exists():
        return _Written(path, {}, [])
    bindings, mistakes = dotenv_file.read(path)
    if not bindings:
        _raise(mistakes)
    values = {binding.key: binding.value or "" for binding in bindings if binding.key}
    mistakes += dotenv_file.typos(values, variables())
    mistakes += [f"{name}: is made on the server, once; take it out" for name in MADE_ON_THE_SERVER if name in values]
    return _Written(path, values, mistakes)


def _parts(
    written: _Written, sections: Sections, given: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The fields of Settings; what is given wins over the file and the environment. With every mistake."""
    extra, more = _extra(written.values)
    parts: dict[str, Any] = {"env_file": written.path, "extra": extra}
    mistakes = list[str]()
    for section in sections:
        try:
            parts[section.__name__.lower()] = section.read(written.path, **(given or {}))
        except ValidationError as error:
            mistakes += _explained(section, error)
    return parts, mistakes + more


def _found(name: Path, *, needed: bool) -> Path:
    """The .env file by its whole path. Raises SettingsError if it is `needed` and not there, or cannot be a file."""
    try:
        path = checks.at_home(name).absolute()
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not needed:
            return path
        mode = 0
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        raise SettingsError(f"{path}: is a folder and not a file; put the file there, or its path into ENV_FILE")
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{path}: there is no such file; cp {ROOT / '.env.example'} {path}, then edit it")
    return path


def _extra(written: dict[str, str]) -> tuple[dict[str, SecretStr], list[str]]:
    """APP_NAME=value lines of the file; like every line of the server's .env they come from the file alone."""
    taken = {*ALWAYS_THERE, *MADE_ON_THE_SERVER, *(info.alias for info in Application.model_fields.values())}
    extra, mistakes = dict[str, SecretStr](), list[str]()
    for variable, value in written.items():
        name = variable.removeprefix(dotenv_file.APPLICATION_PREFIX)
        if name == variable:
            continue
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            mistakes.append(f"{variable}: what follows APP_ has to be a variable's name: A-Z, 0-9 and _")
        elif name == "IMAGE_TAG":
            mistakes.append(f"{variable}: the tag is set anew at every deploy; put IMAGE_TAG instead")
        elif name in taken:
            mistakes.append(f"{variable}: {name} is a line that the server's .env has anyway; take it out")
        else:
            try:
                extra[name] = SecretStr(checks.env_value(value))
            except ValueError as error:
                mistakes.append(f"{variable}: {error}")
    return extra, mistakes


def _names(info: FieldInfo) -> list[str]:
    choices = info.validation_alias
    return [str(name) for name in choices.choices] if isinstance(choices, AliasChoices) else [str(choices)]


def _explained(section: type[Section], error: ValidationError) -> Iterator[str]:
    """A line for each mistake. A value is quoted only where it cannot be a secret."""
    for mistake in error.errors():
        place, kind, context = str(mistake["loc"][0]), mistake["type"], mistake.get("ctx", {})
        info = section.model_fields.get(place) or variables()[place]  # pydantic names a default by its field
        name = _names(info)[0]
        if kind == "default_factory_not_called":
            continue  # follows from another mistake, which is listed
        if kind == "missing":
            yield f"{name}: missing. {info.description}"
            continue
        said = {
            "int_parsing": "is not a whole number",
            "bool_parsing": "is neither true nor false",
            "literal_error": f"is not one of {context.get('expected')}",
            "greater_than_equal": f"is below {context.get('ge')}, the least",
            "less_than_equal": f"is above {context.get('le')}, the most",
            "value_error": str(context.get("error")),
        }.get(kind, f"is not right. {info.description}")
        yield f"{name}{_quoted(info, mistake['input'])}: {said}"


def _quoted(info: FieldInfo, value: object) -> str:
    secret = "SecretStr" in str(info.annotation) or re.search(":.*@", str(value), re.DOTALL)  # as in user:password@host
    return "" if secret or not isinstance(value, str) or not value else f" ({value})"
