"""The shape of the cloud's answers: what OpenStack never says is no answer, although its status is 200.

openstacksdk takes an empty object for a thing without an id, and an object in the place of a list for one thing without
a name. Both would count as "there is none", and what is there would be made again.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

SERVICES = {"compute": "Nova", "network": "Neutron", "image": "Glance", "identity": "Keystone"}
LISTS = ("servers", "flavors", "keypairs", "security_groups", "networks", "ports", "images")
OK, ACCEPTED = 200, 202


@dataclass(frozen=True)
class Call:
    """A call that was answered; str() is for an operator."""

    service: str
    method: str
    path: str

    def __str__(self) -> str:
        """The service, and what it was asked."""
        return f"{self.service} ({self.method} {self.path})"


class OddAnswer(Exception):
    """An answer that OpenStack does not give."""


last: ContextVar[Call | None] = ContextVar("last", default=None)
"""What was answered last, so that whoever cannot read an answer can name it (cloud.api.explain)."""


def note(method: str, answer: requests.Response, endpoint: Mapping[str, Any] | None) -> None:
    """Keep in mind what was answered. Raises OddAnswer. `endpoint` is keystoneauth's filter of the service asked."""
    path = urlsplit(answer.url or "").path
    service = str((endpoint or {}).get("service_type") or ("identity" if "/auth/" in path else ""))
    last.set(Call(SERVICES.get(service, "The cloud"), method.upper(), path))
    # a login and a discovery, which have no endpoint yet, are keystoneauth's to check
    if endpoint and OK <= answer.status_code <= ACCEPTED and answer.content:
        try:
            body = answer.json()
        except requests.JSONDecodeError:
            return  # which is explained as such where it is read
        if is_odd(method.upper(), path, body):
            raise OddAnswer


def is_odd(method: str, path: str, body: object) -> bool:
    """Whether a body is not an object that says something, or lacks the list that was asked for."""
    if not isinstance(body, dict) or not body:
        return True
    collection = re.search(r"/v\d[\d.]*(?:/[0-9a-f]{32})?/(?:os-)?([a-z-]+)(?:/detail)?$", path)
    name = collection[1].replace("-", "_") if collection else ""
    if method != "GET" or name not in LISTS:
        return False
    ones = body.get(name)
    return not isinstance(ones, list) or not all(isinstance(one, dict) and one for one in ones)
