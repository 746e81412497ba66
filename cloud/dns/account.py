"""The DNS zones of an OVH account: the calls of /domain/zone, as OVH's published schema has them."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from cloud.dns.record import Row, Service
from cloud.ovh.client import Client
from cloud.ovh.errors import CONFLICT, NOT_FOUND, Passing, Refused
from cloud.trouble import CloudError

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between looks at a record that OVH lists and does not show yet; seen for up to a minute after a POST."""

# Path below the zone → what OVH's console calls it, and which field has the target.
SERVICES = {"redirection": ("web redirection", "target"), "dynHost/record": ("DynHost", "ip")}


@dataclass(frozen=True)
class ZoneState:
    """What OVH says of a zone."""

    servers: tuple[str, ...]
    """Names of those that serve it."""
    deployed: bool
    """Whether they have what was last sent to them."""
    errors: tuple[str, ...]


class Account:
    """What is read and written. Every method raises CloudError."""

    def __init__(self, client: Client, pauses: Iterable[float] = PAUSES) -> None:
        self._client, self._pauses = client, tuple(pauses)

    def zones(self) -> list[str]:
        """The names of all zones."""
        return self._client.names("/domain/zone")

    def state(self, zone: str) -> ZoneState:
        """How a zone is served."""
        about = self._client.thing(f"/domain/zone/{zone}", nameServers=list)
        status = self._client.thing(f"/domain/zone/{zone}/status", isDeployed=bool)
        servers, errors = (tuple(map(str, texts or ())) for texts in (about["nameServers"], status.get("errors")))
        return ZoneState(servers, status["isDeployed"], errors)

    def rows(self, zone: str, subdomain: str, kinds: Iterable[str]) -> Iterator[Row]:
        """The records of this name and these types. OVH's filters are patterns: others may be among them."""
        for kind in kinds:
            yield from self._shown(zone, f"/domain/zone/{zone}/record?fieldType={kind}&subDomain={quote(subdomain)}")

    def services(self, zone: str, subdomain: str) -> Iterator[Service]:
        """The web redirections and DynHosts of this name."""
        for path, (kind, field) in SERVICES.items():
            base = f"/domain/zone/{zone}/{path}"
            for identifier in self._client.numbers(f"{base}?subDomain={quote(subdomain)}"):
                found = self._client.thing(f"{base}/{identifier}", subDomain=str | None, **{field: str})
                if (found["subDomain"] or "").lower() == subdomain:
                    yield Service(zone, subdomain, kind, found[field])

    def create(self, row: Row) -> None:
        """Make a record; where an answer is lost, look whether it was made before it is made again."""
        self._client.patiently(lambda: self._create(row))

    def change(self, row: Row) -> None:
        """Give the record of this id the target and ttl of `row`."""
        body = {"subDomain": row.subdomain, "target": row.target, "ttl": row.ttl}
        try:
            self._client.call("PUT", _path(row), body)
        except Refused as error:
            raise _moved(row, error) if error.status == NOT_FOUND else error from None

    def delete(self, row: Row) -> None:
        """Delete the record; that it is gone already is as good."""
        lost = False

        def attempt() -> None:
            nonlocal lost
            try:
                self._client.once("DELETE", _path(row))
            except Passing:
                lost = True
                raise
            except Refused as error:
                if error.status != NOT_FOUND:
                    raise
                if not lost:
                    self._surely_gone(row, error)

        self._client.patiently(attempt)

    def refresh(self, zone: str) -> None:
        """Have the zone's servers serve what was written."""
        self._client.patiently(lambda: self._refresh(zone))

    def _create(self, row: Row) -> None:
        body = {"fieldType": row.kind, "subDomain": row.subdomain, "target": row.target, "ttl": row.ttl}
        try:
            self._client.once("POST", f"/domain/zone/{row.zone}/record", body)
        except Passing:
            if not any(_alike(same, row) for same in self.rows(row.zone, row.subdomain, [row.kind])):
                raise

    def _surely_gone(self, row: Row, error: Refused) -> None:
        """An id that does not exist is a record that somebody deleted, or one that has another id by now."""
        if any(_alike(same, row) for same in self.rows(row.zone, row.subdomain, [row.kind])):
            raise _moved(row, error)

    def _refresh(self, zone: str) -> None:
        try:
            self._client.once("POST", f"/domain/zone/{zone}/refresh")
        except Refused as error:
            raise Passing(str(error)) if error.status == CONFLICT else error from None  # another one is under way

    def _shown(self, zone: str, listing: str) -> Iterator[Row]:
        """The rows of a listing: whatever is listed counts, though OVH may take a minute to show it."""
        shown: dict[int, Row] = {}
        for pause in (*self._pauses, None):
            listed = self._client.numbers(listing)
            missing = list[Refused]()
            for identifier in listed:
                try:
                    shown[identifier] = shown.get(identifier) or self._row(zone, identifier)
                except Refused as error:
                    if error.status != NOT_FOUND:
                        raise
                    missing.append(error)
            if not missing:
                yield from (shown[i] for i in listed)
                return
            if pause is not None:
                time.sleep(pause)
        raise CloudError(f"{missing[0]} OVH lists that record and does not show it. Wait a minute, then run again.")

    def _row(self, zone: str, identifier: int) -> Row:
        path = f"/domain/zone/{zone}/record/{identifier}"
        found = self._client.thing(path, subDomain=str | None, fieldType=str, target=str, ttl=int | None)
        subdomain = (found["subDomain"] or "").lower()
        return Row(zone, subdomain, found["fieldType"], found["target"], found["ttl"] or 0, identifier)


def _path(row: Row) -> str:
    return f"/domain/zone/{row.zone}/record/{row.id}"


def _alike(one: Row, other: Row) -> bool:
    return (one.subdomain, one.kind, one.value) == (other.subdomain, other.kind, other.value)


def _moved(row: Row, error: Refused) -> CloudError:
    return CloudError(
        f"{error} OVH has that record ({row.kind} {row.name}) no more: the zone was changed or imported meanwhile."
        " Run again: the plan is then made anew."
    )
