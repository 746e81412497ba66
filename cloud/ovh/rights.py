"""What the DNS part has to be allowed at OVH: one table, and all that is made of it. No network.

IAM's actions are those of OVH's published schema (https://eu.api.ovh.com/v1/domain.json, iamActions).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

_Z = "/domain/zone/{zone}"

# Method, path, IAM's action behind "dnsZone:apiovh:". A * stands for an id.
RIGHTS = (
    ("GET", "/domain/zone", "get"),
    ("GET", _Z, "get"),
    ("GET", f"{_Z}/status", "status/get"),
    ("GET", f"{_Z}/record", "record/get"),
    ("POST", f"{_Z}/record", "record/create"),
    ("GET", f"{_Z}/record/*", "record/get"),
    ("PUT", f"{_Z}/record/*", "record/edit"),
    ("DELETE", f"{_Z}/record/*", "record/delete"),
    ("GET", f"{_Z}/redirection", "redirection/get"),
    ("GET", f"{_Z}/redirection/*", "redirection/get"),
    ("GET", f"{_Z}/dynHost/record", "dynHost/record/get"),
    ("GET", f"{_Z}/dynHost/record/*", "dynHost/record/get"),
    ("POST", f"{_Z}/refresh", "refresh"),
)

HOSTS = {"ovh-eu": "eu.api.ovh.com", "ovh-ca": "ca.api.ovh.com", "ovh-us": "api.us.ovhcloud.com"}
"""Where an endpoint's API is, and the page on which keys are made (README of python-ovh)."""

IDENTITY = "THE IDENTITY"
"""What stands in a policy for what only OVH knows."""


class Rule(NamedTuple):
    """A call as consumer keys allow it; * in the path stands for any text."""

    method: str
    path: str

    def covers(self, needed: "Rule") -> bool:
        """Whether whoever has this rule may make the calls of the other."""
        pattern = re.escape(self.path).replace(r"\*", ".*")
        return self.method == needed.method and re.fullmatch(pattern, needed.path) is not None


def rules(zones: Iterable[str]) -> list[Rule]:
    """The least rules with which the records of these zones can be kept."""
    every = (Rule(method, path.format(zone=zone)) for zone in zones for method, path, _ in RIGHTS)
    return list(dict.fromkeys(every))


def access_rules(wanted: Sequence[Rule]) -> list[dict[str, str]]:
    """The rules as POST /auth/credential takes them."""
    return [rule._asdict() for rule in wanted]


def page(endpoint: str, wanted: Sequence[Rule]) -> str | None:
    """The address of the page that makes all three keys, with the rules filled in; None for an unknown endpoint."""
    if endpoint not in HOSTS:
        return None
    return f"https://{HOSTS[endpoint]}/createToken/?{urlencode(wanted, safe='/*')}"


def client_request(zones: Sequence[str]) -> dict[str, Any]:
    """The body of POST /me/api/oauth2/client, which makes a service account."""
    return {
        "callbackUrls": [],
        "description": f"DNS records of {', '.join(zones)}",
        "flow": "CLIENT_CREDENTIALS",
        "name": "koprogo-dns",
    }


def policy(endpoint: str, zones: Sequence[str]) -> dict[str, Any]:
    """The body of POST /iam/policy (API v2), which gives a service account the rights; its identity is left out."""
    region = endpoint.removeprefix("ovh-") if endpoint in HOSTS else "eu"
    actions = dict.fromkeys(action for _, _, action in RIGHTS)
    return {
        "name": "koprogo-dns",
        "description": f"DNS records of {', '.join(zones)}",
        "identities": [IDENTITY],
        "resources": [{"urn": f"urn:v1:{region}:resource:dnsZone:{zone}"} for zone in zones],
        "permissions": {"allow": [{"action": f"dnsZone:apiovh:{action}"} for action in actions]},
    }
