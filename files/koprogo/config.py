"""What deploy.py wrote for this program: /etc/koprogo/config.json, no secrets in it."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from koprogo.problem import Problem

DEFAULT_PATH = "/etc/koprogo/config.json"


@dataclass(frozen=True)
class StatusPage:
    """Where the status page is served, and its language: en or fr."""

    domain: str
    language: str


@dataclass(frozen=True)
class Limits:
    """When a health check finds something wrong, and when somebody is told."""

    disk_percent: int = 90
    certificate_days: int = 14
    checks: int = 2
    """How many in a row have to find a thing before somebody is told."""
    remind_hours: int = 6
    """After which somebody is told again of what is not over."""


@dataclass(frozen=True)
class Config:
    """The settings of one server. Times are seconds."""

    repository: str
    """URL to read the application from."""
    branch: str
    checkout: Path
    """The clone; it always ends at the commit that runs."""
    compose_file: Path
    """Inside the checkout."""
    env_file: Path
    """Secrets and settings for Compose, 0600."""
    image_tag: str
    """`main-{sha7}`: the tag that CI gives to the images of a commit (`{sha}` is the whole name); or a literal."""
    health_urls: tuple[str, ...]
    """HTTPS addresses as the public sees them, asked exactly as written."""
    database_service: str
    backup_dir: Path
    backup_days: int
    state_dir: Path
    tls_ca_file: Path | None
    """PEM of the CA to verify `health_urls` with, for a rehearsal against a private ACME; None: the usual ones."""
    image_wait: float
    """How long CI may take to build the images of a commit, from the moment it was first seen."""
    allow_rewrite: bool = False
    """Whether a commit is deployed that does not follow the one that runs."""
    allowed_signers: Path | None = None
    """Who may sign, in the form of ssh-keygen(1); None: commits need no signature."""
    log_file: Path | None = None
    """Where deploys write their lines too; None: nowhere else than to whoever started them."""
    backup_weeks: int = 0
    backup_months: int = 0
    """Of how many weeks and months the last set is kept, beside those of the last days."""
    backup_volumes: tuple[str, ...] = ()
    """Volumes that are saved with the database, as the compose file calls them."""
    offsite_file: Path | None = None
    """Where copies of the sets go, with the secrets for that; None: nowhere."""
    alerts_file: Path | None = None
    """Whom to tell, with the secrets for that; None: nobody."""
    limits: Limits = Limits()
    status_page: StatusPage | None = None
    """None: there is none."""

    @property
    def compose_path(self) -> str:
        """The compose file's path inside the repository."""
        return self.compose_file.relative_to(self.checkout).as_posix()


def load() -> Config:
    """Read the configuration from the file that KOPROGO_CONFIG names, else from /etc/koprogo/config.json.

    Keys that this version does not know are left alone. Raises Problem when the file cannot be read or a key is
    missing or of the wrong kind.
    """
    name = os.environ.get("KOPROGO_CONFIG") or DEFAULT_PATH
    try:
        data = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"{name}: {error.strerror}. Run deploy.py again from the operator's machine.") from None
    except ValueError:
        raise Problem(f"{name} is not JSON. Run deploy.py again from the operator's machine.") from None
    try:
        return parse(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Problem(f"{name}: {_explain(error)}. Run deploy.py again from the operator's machine.") from None


def parse(data: dict[str, Any]) -> Config:
    """Return the configuration in `data`; raises KeyError, TypeError or ValueError for what is missing or wrong."""
    ca_file = _path(data, "tls_ca_file")
    config = Config(
        repository=_text(data, "repository"),
        branch=_text(data, "branch"),
        checkout=Path(_text(data, "checkout")),
        compose_file=Path(_text(data, "compose_file")),
        env_file=Path(_text(data, "env_file")),
        image_tag=_text(data, "image_tag"),
        health_urls=tuple(str(url) for url in data["health_urls"]),
        database_service=_text(data, "database_service"),
        backup_dir=Path(_text(data, "backup_dir")),
        backup_days=int(data["backup_days"]),
        state_dir=Path(_text(data, "state_dir")),
        tls_ca_file=ca_file,
        image_wait=float(data.get("image_wait", 1800)),
        allow_rewrite=_choice(data, "allow_rewrite"),
        allowed_signers=_path(data, "allowed_signers"),
        log_file=_path(data, "log_file"),
        backup_weeks=int(data.get("backup_weeks", 0)),
        backup_months=int(data.get("backup_months", 0)),
        backup_volumes=tuple(str(name) for name in data.get("backup_volumes", ())),
        offsite_file=_path(data, "offsite_file"),
        alerts_file=_path(data, "alerts_file"),
        limits=_limits(data.get("limits", {})),
        status_page=_status_page(data.get("status_page")),
    )
    if config.backup_days < 1:
        raise ValueError("backup_days has to be 1 or more")
    if not config.compose_file.is_relative_to(config.checkout):
        raise ValueError("compose_file has to be inside checkout")
    for url in config.health_urls:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.port == 0:
            raise ValueError(f"health_urls: {url} is not an https:// address")
    return config


def _text(data: dict[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} has to be a text")
    return value


def _path(data: dict[str, Any], key: str) -> Path | None:
    return None if data.get(key) is None else Path(_text(data, key))


def _limits(data: dict[str, Any]) -> Limits:
    known = {field.name for field in dataclasses.fields(Limits)}
    return Limits(**{name: int(value) for name, value in data.items() if name in known})


def _status_page(data: dict[str, Any] | None) -> StatusPage | None:
    if data is None:
        return None
    found = StatusPage(_text(data, "domain"), _text(data, "language"))
    if found.language not in ("en", "fr"):
        raise ValueError("status_page: its language has to be en or fr")
    return found


def _choice(data: dict[str, Any], key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        # A "false" between quotes must not count as a yes.
        raise ValueError(f"{key} has to be true or false")
    return value


def _explain(error: Exception) -> str:
    if isinstance(error, AttributeError):
        return "it is not an object"
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
