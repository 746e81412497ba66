"""The DNS records of the server's names in an OVH account: plan, apply exactly that, wait until it is served."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cloud.dns import served
from cloud.dns.account import Account, ZoneState
from cloud.dns.difference import difference, disputed
from cloud.dns.plan import Change, Plan
from cloud.dns.record import (
    ADDRESSES,
    ALIAS,
    CAA,
    DELEGATION,
    Have,
    Row,
    Service,
    Wanted,
    subdomain,
    wildcards,
    within,
    zone_of,
)
from cloud.dns.removal import removal
from cloud.ovh.client import Client, Keys, Say, silent
from cloud.plan import Action
from cloud.trouble import CloudError
from cloud.waiting import until
from configuration.sections import Ovh

SECONDS = 300.0
"""How long a zone's servers may take. OVH's take seconds, at busy times a few minutes."""
PAUSE = 1.0
"""Seconds between two looks at them."""


def keys(ovh: Ovh) -> Keys:
    """The keys that the OVH_* variables hold."""
    secrets = {
        name: value.get_secret_value() if (value := getattr(ovh, name)) else None
        for name in ("application_key", "application_secret", "consumer_key", "client_secret")
    }
    return Keys(ovh.endpoint, client_id=ovh.client_id or None, **secrets)


@dataclass(frozen=True)
class Zones:
    """The zones of an account, planned and written as a whole. Every method raises CloudError."""

    account: Account
    resolvers: Sequence[str] = ()
    """Addresses; the system's, if none. They only tell where a zone's own servers are."""
    say: Say = silent
    """Gets a line for whatever takes longer."""

    @classmethod
    def of(cls, ovh: Ovh, resolvers: Sequence[str] = (), say: Say = silent) -> "Zones":
        """Those that the OVH_* variables lead to. Connects nowhere yet; raises CloudError for keys that do not fit."""
        return cls(Account(Client(keys(ovh), say)), resolvers, say)

    def plan(self, want: Wanted, ttl: int, *, replace_foreign: bool = False) -> Plan:
        """Read what there is and compare; see `cloud.dns.difference`."""
        kinds = (*ADDRESSES, ALIAS, *([CAA] if any(kind == CAA for _, kind in want) else []))
        zones, homes = self._homes(name for name, _ in want)
        parents = {parent: zone for name, zone in homes.items() for parent in within(name, zone)}
        have = Have(zones, [*self._rows(homes, kinds), *self._rows(parents, [DELEGATION])])
        found = difference(want, have, ttl, replace_foreign=replace_foreign)
        if services := self._services(disputed(found, want, have.rows), have):
            found = difference(want, replace(have, services=services), ttl, replace_foreign=replace_foreign)
        return self._with_state(found)

    def plan_removal(self, names: Iterable[str], addresses: Iterable[str], issuer: str = "") -> Plan:
        """Read what there is and tell what has to go; see `cloud.dns.removal.removal`."""
        names, addresses = frozenset(names), frozenset(addresses)
        zones, homes = self._homes(names)
        above = {star: zone for name, zone in homes.items() for star in wildcards(name, zone)}
        have = Have(zones, self._rows(homes | above, (*ADDRESSES, ALIAS, *([CAA] if issuer else []))))
        found = removal(names, addresses, have, issuer)
        if services := self._services({change.row.name for change in found.changes}, have):
            found = removal(names, addresses, replace(have, services=services), issuer)
        return self._with_state(found)

    def apply(self, found: Plan) -> None:
        """Write the plan, refresh each changed zone once, and wait until its servers answer as wanted.

        What was written until an error is completed by the next run.
        """
        if found.problems:
            raise CloudError("\n".join(found.problems))
        for number, change in enumerate(found.changes):
            try:
                self._write(change)
            except CloudError as error:
                raise CloudError(f"{error} {_progress(number, len(found.changes))}") from None
        for zone in found.zones:
            try:
                self.account.refresh(zone)
            except CloudError as error:
                raise CloudError(f"{error} The records are written and not served: run again.") from None
        for zone in found.zones:
            self._wait(found, zone)

    def _homes(self, names: Iterable[str]) -> tuple[Sequence[str], dict[str, str]]:
        """All zones of the account; name → its zone, for those that have one."""
        zones = self.account.zones()
        return zones, {name: zone for name in names if (zone := zone_of(name, zones))}

    def _rows(self, homes: Mapping[str, str], kinds: Sequence[str]) -> list[Row]:
        every = sorted(homes.items())
        return [row for name, zone in every for row in self.account.rows(zone, subdomain(name, zone), kinds)]

    def _services(self, names: Iterable[str], have: Have) -> list[Service]:
        homes = ((name, zone) for name in sorted(names) if (zone := zone_of(name, have.zones)))
        return [service for name, zone in homes for service in self.account.services(zone, subdomain(name, zone))]

    def _with_state(self, found: Plan) -> Plan:
        """What the plan says, and what is said and served of its zones."""
        unserved, notes = list[str](), list[str]()
        for zone in sorted({*found.want, *found.gone}):
            state = self.account.state(zone)
            notes += _notes(zone, state, served.delegation(zone, self.resolvers))
            if zone in found.zones:
                continue
            servers = self._servers(zone, state) or served.resolvers_of(zone, self.resolvers)
            if self._missing(found, zone, servers):
                unserved.append(zone)
            if not servers:
                notes.append(f"Nobody can be asked from here whether {zone} is served as it is written.")
        return replace(found, unserved=tuple(unserved), notes=(*found.notes, *notes))

    def _write(self, change: Change) -> None:
        match change.action:
            case Action.CREATE:
                self.account.create(change.row)
            case Action.CHANGE:
                self.account.change(change.row)
            case _:
                self.account.delete(change.row)

    def _wait(self, found: Plan, zone: str) -> None:
        report = _Once(self.say)
        state = until(lambda: self._deployed(zone, report), SECONDS, PAUSE)
        if state is None:
            raise CloudError(f"OVH has accepted the records of {zone}, and after {SECONDS:.0f} s has not served them."
                             " Wait some minutes, then run again; the zone's state is in OVH's console.")  # fmt: skip
        servers = self._servers(zone, state)
        if not servers:
            self.say(f"The name servers of {zone} cannot be asked from here; OVH has accepted the records.")
        elif not until(lambda: report.nothing_in(self._missing(found, zone, servers)), SECONDS, PAUSE):
            raise CloudError(f"OVH has accepted the records of {zone}, and after {SECONDS:.0f} s {report.last}."
                             " Wait some minutes, then run again; the zone's state is in OVH's console.")  # fmt: skip

    def _deployed(self, zone: str, report: "_Once") -> ZoneState | None:
        state = self.account.state(zone)
        if state.errors:
            raise CloudError(f"OVH cannot serve {zone}: {'; '.join(state.errors)}. What was served before still is."
                             " Correct the zone in OVH's console, then run again.")  # fmt: skip
        return state if report.nothing_in([] if state.deployed else [f"OVH is sending {zone} to its servers"]) else None

    def _servers(self, zone: str, state: ZoneState) -> dict[str, str]:
        return served.addresses(zone, state.servers, self.resolvers)

    def _missing(self, found: Plan, zone: str, servers: dict[str, str]) -> list[str]:
        return served.differences(found.want.get(zone, {}), found.gone.get(zone, {}), servers, found.ttl)


class _Once:
    """Says what is waited for, and again only when that changes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self.last = say, ""

    def nothing_in(self, missing: Sequence[str]) -> bool:
        if missing and missing[0] != self.last:
            self.last = missing[0]
            self._say(f"waiting: {self.last}")
        return not missing


def _progress(done: int, total: int) -> str:
    if not done:
        return "No record was changed before that."
    return f"{done} of {total} changes are written and not served; the next run completes them."


def _notes(zone: str, state: ZoneState, delegated: frozenset[str]) -> Iterator[str]:
    if state.errors:
        yield f"OVH reports of {zone}: {'; '.join(state.errors)}."
    if delegated and state.servers and not delegated & {server.lower().rstrip(".") for server in state.servers}:
        yield (
            f"{zone} is served by {', '.join(sorted(delegated))} and not by OVH's {', '.join(state.servers)}: until"
            " the registrar's entry is changed, these records have no effect."
        )
