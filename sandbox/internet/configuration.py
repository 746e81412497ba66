"""The files that differ from one sandbox to the next, as text. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.internet import names

ETC = "/etc/sandbox-internet"
OVH_API_PORT = 8090
OVH_CUSTOMER = "customer"
OVH_SERVICE_ACCOUNT = "EU.sandbox"
GIT_USER = "git"


@dataclass(frozen=True)
class Secrets:
    """Made once per sandbox: keys and passwords of the OVH account, and the password for pushing to the Git server.

    `fault_token` opens the side door of the stand-in for OVH's API.
    """

    application_key: str
    application_secret: str
    consumer_key: str
    git_password: str
    customer_password: str
    client_secret: str
    fault_token: str


def knot(upstream: str | None, zones: Iterable[str]) -> str:
    """Return knot.conf: these zones are ours, everything else is asked of `upstream` (nobody if None)."""
    lines = [
        "server:",
        '    listen: ["0.0.0.0@53", "::@53"]',
        "    rundir: /run/knot",
        "log:",
        "  - target: syslog",
        "    any: notice",
    ]
    if upstream:
        lines += [
            "remote:",
            "  - id: upstream",
            f'    address: "{upstream}@53"',
            "mod-dnsproxy:",
            "  - id: forward",
            "    remote: upstream",
            "    timeout: 5000",
            "    fallback: on",
        ]
    lines += [
        "template:",
        "  - id: default",
        "    storage: /var/lib/knot",
        '    file: "%s.zone"',
        # Files are written by others and read whole; knot keeps nothing of its own.
        "    zonefile-load: whole",
        "    zonefile-sync: -1",
        "    journal-content: none",
    ]
    if upstream:
        lines.append("    global-module: mod-dnsproxy/forward")
    lines += ["zone:", *(f"  - domain: {zone}" for zone in zones)]
    return "\n".join(lines) + "\n"


def ovh_account(secrets: Secrets) -> str:
    """Return the OVH account (JSON) that the stand-in for its API serves."""
    everything = [[method, "/*"] for method in ("GET", "POST", "PUT", "DELETE")]
    consumer = {"application_key": secrets.application_key, "state": "validated", "rules": everything}
    service = {"secret": secrets.client_secret, "policy": [["urn:v1:eu:resource:dnsZone:*", "dnsZone:apiovh:*"]]}
    return json.dumps(
        {
            "port": OVH_API_PORT,
            "state": "/var/lib/ovh-api/zones.json",
            "zones_folder": "/var/lib/knot",
            "name_server": names.NAME_SERVER,
            "applications": {secrets.application_key: secrets.application_secret},
            "consumer_keys": {secrets.consumer_key: consumer},
            "service_accounts": {OVH_SERVICE_ACCOUNT: service},
            "customer": {"login": OVH_CUSTOMER, "password": secrets.customer_password},
            "fault_token": secrets.fault_token,
            "zones": names.ACCOUNT_ZONES,
        },
        indent=1,
    )


def files(
    secrets: Secrets, ipv4: str, ipv6: str, upstream: str | None, storage: tuple[str, str]
) -> dict[str, tuple[str, int]]:
    """Return path -> (content, mode) of everything that is written before the machine starts, but for TLS."""
    static = names.static_zones(ipv4, ipv6, storage)
    zones = [*names.ACCOUNT_ZONES, *static]
    return {
        "/etc/knot/knot.conf": (knot(upstream, zones), 0o644),
        f"{ETC}/ovh-account.json": (ovh_account(secrets), 0o600),
        f"{ETC}/git-passwords": (f"{GIT_USER}:{{PLAIN}}{secrets.git_password}\n", 0o644),
        **{f"/var/lib/knot/{zone}.zone": (text, 0o644) for zone, text in static.items()},
    }
