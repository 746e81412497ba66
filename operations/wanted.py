"""What the settings mean for a server: the shapes that the steps take."""

import json
from typing import Any

from pydantic import SecretStr

from facts import layout
from facts.server import State
from operations import files
from operations.environment import Lines, differences
from operations.offsite import Copies
from operations.program import needs_deploy
from operations.reach import Site
from settings import Settings

DECIDING = ("repository", "branch", "compose_file", "env_file", "image_tag")
"""Keys of /etc/koprogo/config.json that decide what is deployed. The others are read anew by every backup and check."""


def lines(settings: Settings) -> Lines:
    """The lines of the server's .env."""
    return Lines(settings.server_env, settings.server_secrets, settings.secrets_to_make)


def program_configuration(settings: Settings) -> dict[str, Any]:
    """/etc/koprogo/config.json: what the program on the server has to know. No secrets."""
    source = settings.source
    return {
        "repository": source.repository_url,
        "branch": source.branch,
        "checkout": str(layout.CHECKOUT),
        "compose_file": str(layout.CHECKOUT / source.compose_file),
        "env_file": str(layout.env_file(source.compose_file)),
        "image_tag": source.image_tag,
        "health_urls": list(settings.site.health_urls),
        "database_service": "postgres",
        "backup_dir": str(layout.BACKUPS),
        "backup_days": settings.server.backup_days,
        "backup_weeks": settings.server.backup_weeks,
        "backup_months": settings.server.backup_months,
        "backup_volumes": list(settings.server.backup_volumes),
        "state_dir": str(layout.STATE),
        "tls_ca_file": layout.AUTHORITY if settings.site.tls_ca_file else None,
        "allow_rewrite": source.allow_force_push,
        "allowed_signers": layout.SIGNERS if source.allowed_signers else None,
        "log_file": str(layout.GITOPS_LOG),
        "status_page": _status_page(settings),
        "offsite_file": layout.OFFSITE if settings.offsite.repository else None,
        "alerts_file": layout.ALERTS if alerts(settings) else None,
        "limits": {
            "disk_percent": settings.alerts.disk_percent,
            "certificate_days": settings.alerts.certificate_days,
            "checks": settings.alerts.checks,
            "remind_hours": settings.alerts.remind_hours,
        },
    }


def alerts(settings: Settings) -> SecretStr | None:
    """The text of /etc/koprogo/alerts.json, as files/koprogo/alerts reads it; None where nobody is to be told."""
    there = settings.alerts
    addresses = {"smtp": there.smtp_url, "webhook": there.webhook_url, "heartbeat": there.heartbeat_url}
    if not any(addresses.values()):
        return None
    plain = {"recipients": list(there.email), "sender": there.sender or "", "kind": there.webhook_kind or "json"}
    opened = {name: value.get_secret_value() for name, value in addresses.items() if value}
    return SecretStr(json.dumps({"server": settings.site.frontend_domain, **plain, **opened}))


def offsite(settings: Settings) -> Copies | None:
    """Where copies of the backups go, and the keys for that; None where none are wanted."""
    there = settings.offsite
    if not there.repository:
        return None
    secret = there.secret.get_secret_value() if there.secret else ""
    ssh_key = there.ssh_key.read_text() if there.ssh_key else ""
    by_ssh = there.repository.startswith("sftp:")
    keys = {"ssh_key": ssh_key, "host_key": there.host_key} if by_ssh else {"key_id": there.key_id, "secret": secret}
    return Copies(there.repository, SecretStr(json.dumps({"repository": there.repository, **keys})), there.recovery_key)


def _status_page(settings: Settings) -> dict[str, str] | None:
    site = settings.site
    if site.status_page_domain is None:
        return None
    return {"domain": site.status_page_domain, "language": site.status_page_language}


def site(settings: Settings, ipv4: str) -> Site:
    """What has to answer in public."""
    where = settings.site
    return Site(where.public_urls, ipv4, where.dns_resolvers, where.tls_ca_file)


def deploy_needed(settings: Settings, state: State) -> bool:
    """Whether this run has to call `koprogo deploy`: it says so itself, or this run changes what it deploys from."""
    source, clone = settings.source, state["repository"]
    moved = (clone["url"], clone["branch"]) != (source.repository_url, source.branch)
    # The program answered by the configuration of before this run: what this run changes in it, it cannot know.
    present, coming = files.settings_in(state, str(layout.CONFIG)), program_configuration(settings)
    redirected = any(present.get(key) != coming[key] for key in DECIDING)
    changes = moved or redirected or bool(differences(lines(settings), state["environment"]))
    return needs_deploy(state["program"], changes)
