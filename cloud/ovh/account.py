"""A thin client of OVH's DNS calls. Every failure is a CloudError that says which call, why, and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import ovh
import ovh.client
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from cloud.dns.plan import KINDS, Row
from cloud.ovh.errors import explain, passing, status
from cloud.plan import Action
from cloud.trouble import CloudError

TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and to wait for an answer; python-ovh's own default is 180."""

ATTEMPTS = 4
"""How often a call is tried that may be repeated without harm."""

_NAME = "koprogo"
_NOT_FOUND = 404


@dataclass(frozen=True, repr=False)
class Keys:
    """Who we are for OVH: an application and consumer key, or a service account (client_id, client_secret)."""

    endpoint: str  # ovh-eu, ovh-ca, ovh-us, or a base URL
    application_key: str | None = None
    application_secret: str | None = None
    consumer_key: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class Account:
    """The DNS zones of one OVH account."""

    def __init__(self, keys: Keys, pause: float = 1.0) -> None:
        """Connect nowhere yet. `pause` is the first wait in seconds before a call is repeated; it doubles."""
        self._endpoint = keys.endpoint
        # Under a name of our own, python-ovh does not take further keys from an ovh.conf that happens to lie around.
        tables = ovh.client.ENDPOINTS, ovh.client.OAUTH2_TOKEN_URLS
        for table in tables:
            table.pop(_NAME, None)
            if keys.endpoint in table:
                table[_NAME] = table[keys.endpoint]
        ovh.client.ENDPOINTS.setdefault(_NAME, keys.endpoint)
        try:
            self._client = ovh.Client(
                endpoint=_NAME,
                application_key=keys.application_key,
                application_secret=keys.application_secret,
                consumer_key=keys.consumer_key,
                client_id=keys.client_id,
                client_secret=keys.client_secret,
                timeout=TIMEOUTS,
            )
        except ovh.APIError as error:
            raise CloudError(f"OVH: {explain(error, self._endpoint)}.") from None
        self._retrying = Retrying(
            retry=retry_if_exception(passing),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=pause),
            reraise=True,
        )

    def zones(self) -> list[str]:
        """The names of all zones."""
        return list(self._call("GET", "/domain/zone"))

    def name_servers(self, zone: str) -> list[str]:
        """The names of the servers that OVH serves the zone from."""
        return list(self._call("GET", f"/domain/zone/{zone}")["nameServers"])

    def rows(self, zone: str, subdomain: str) -> Iterator[Row]:
        """The records of KINDS of this name. OVH's filters are patterns: those of other names may be among them."""
        for kind in KINDS:
            query = f"fieldType={kind}&subDomain={quote(subdomain)}"
            for identifier in self._call("GET", f"/domain/zone/{zone}/record?{query}"):
                row = self._row(zone, identifier)
                if row:
                    yield row

    def write(self, action: Action, row: Row) -> None:
        """Carry out one change of a plan; nothing is served before `refresh`."""
        path = f"/domain/zone/{row.zone}/record"
        values = {"subDomain": row.subdomain, "target": row.target, "ttl": row.ttl}
        if action is Action.CREATE:
            # Not repeated: if only the answer was lost, there would be two. The next run sees what there is.
            self._once("POST", path, fieldType=row.kind, **values)
        elif action is Action.CHANGE:
            self._call("PUT", f"{path}/{row.id}", **values)
        else:
            self._gone(f"{path}/{row.id}")

    def refresh(self, zone: str) -> None:
        """Have the zone's servers serve what was written."""
        self._call("POST", f"/domain/zone/{zone}/refresh")

    def _row(self, zone: str, identifier: int) -> Row | None:
        try:
            found = self._call("GET", f"/domain/zone/{zone}/record/{identifier}")
        except _NotFound:  # deleted since it was listed
            return None
        subdomain = (found["subDomain"] or "").lower()
        return Row(zone, subdomain, found["fieldType"], found["target"], found["ttl"] or 0, identifier)

    def _gone(self, path: str) -> None:
        try:
            self._call("DELETE", path)
        except _NotFound:  # by somebody else, or by a try whose answer was lost
            return

    def _call(self, method: str, path: str, **body: Any) -> Any:
        return self._explained(method, path, lambda: self._retrying(self._client.call, method, path, body or None))

    def _once(self, method: str, path: str, **body: Any) -> Any:
        return self._explained(method, path, lambda: self._client.call(method, path, body))

    def _explained(self, method: str, path: str, call: Any) -> Any:
        try:
            return call()
        # python-ovh expects an object in every error's body and fails on anything else.
        except (ovh.APIError, AttributeError) as error:
            kind = _NotFound if status(error) == _NOT_FOUND else CloudError
            raise kind(f"OVH: {method} {path}: {explain(error, self._endpoint)}.") from None


class _NotFound(CloudError):
    """What was asked for does not exist."""
