"""`provision.py destroy`: take away what is ours, in the order of the plan, and prove that nothing is left."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rich.console import Console

from cloud.api.compute import Compute
from cloud.api.lease import Lease
from cloud.api.make import Maker
from cloud.dns.plan import Plan as DnsPlan
from cloud.dns.work import Zones
from cloud.machine import records
from cloud.plan import Change, Plan
from cloud.removal import removal
from cloud.resources import Actual, Address, Existing, KeyPair, Port, Record, Wanted
from cloud.server_plan import ours
from cloud.show import describe, step
from cloud.trouble import CloudError
from settings import CloudSettings


@dataclass(frozen=True)
class Found:
    """What there is to take away."""

    plan: Plan
    have: Actual
    records: DnsPlan | None
    """None where the DNS records are the operator's to keep."""
    server_ids: tuple[str, ...]
    """Also of one that went in an earlier run, which may have left a port."""
    targets: tuple[str, ...]
    """Where DNS records of ours may lead to."""


class Destroy:
    """Takes away everything of one server."""

    def __init__(self, settings: CloudSettings, cloud: Compute, want: Wanted, to: Console) -> None:
        self._settings, self._cloud, self._want, self._to = settings, cloud, want, to
        self._zones = self._zones_of(settings) if settings.ovh.configure_dns else None

    def look(self) -> Found:
        """Compare what there is with nothing. Raises CloudError."""
        with step(self._to, "Looking at what there is"):
            have = self._cloud.actual(self._want, records.known_id(self._settings))
            have = replace(have, records=dict.fromkeys(records.files_with(self._settings), ""))
            ids, targets = self._ids(have), self._targets(have)
            found = self._dns(targets)
            rows = [change.row for change in found.changes] if found else []
            addresses = [Address(row.name, row.kind, row.target) for row in rows]
            plan = removal(self._want, have, addresses, self._cloud.ports(ids))
            trouble = records.not_writable(self._settings) if have.records else ""
            plan = replace(plan, problems=(*plan.problems, trouble)) if trouble else plan
        return Found(plan, have, found, ids, targets)

    def run(self, found: Found, lease: Lease) -> None:
        """Take it away."""
        if found.records:
            self._remove_records(found.records)
        maker = Maker(self._cloud)
        for change in found.plan.pending:
            lease.keep()
            self._do(change, maker)

    def left(self, found: Found) -> list[str]:
        """What of ours is there nonetheless: looked up anew, and not taken from memory."""
        with step(self._to, "Looking for anything that is left"):
            after = self._cloud.actual(self._want)
            dns_after = self._dns(found.targets)
            changes = removal(self._want, after, ()).pending
            left = [" ".join(describe(change.resource)[:2]) for change in changes]
            by_name = {server.id for server in after.servers}
            left += [f"server {one}" for one in found.server_ids if one not in by_name and self._cloud.server(one)]
            left += [f"port {port}" for port in self._cloud.ports(found.server_ids)]
            left += [f"security group {one.name}" for one in Maker(self._cloud).tickets(self._want.server.name)]
            left += [str(change) for change in (dns_after.changes if dns_after else ())]
        return left

    def _ids(self, have: Actual) -> tuple[str, ...]:
        """Of the servers that are ours, and of one that went in an earlier run: it may have left a port."""
        ids = [server.id for server in ours(self._want.server, have.servers)]
        known = records.known_id(self._settings)
        gone = known and known not in ids and self._cloud.server(known) is None
        return (*ids, known) if gone else tuple(ids)

    def _targets(self, have: Actual) -> tuple[str, ...]:
        servers = ours(self._want.server, have.servers)
        addresses = [address for server in servers for address in (server.ipv4, server.ipv6) if address]
        return *addresses, *records.addresses(self._settings)

    def _dns(self, targets: Iterable[str]) -> DnsPlan | None:
        if self._zones is None:
            return None
        site = self._settings.site
        try:
            return self._zones.plan_removal(site.names, targets, self._settings.ovh.caa_issuer)
        except CloudError as error:
            raise CloudError(
                f"{error} To remove the server and leave its DNS records: CONFIGURE_DNS_AUTO=false"
            ) from None

    def _remove_records(self, found: DnsPlan) -> None:
        for note in found.notes:
            self._to.print(note)
        if found.zones and self._zones:
            self._to.print(f"  Removing DNS records from {', '.join(found.zones)}")
            self._zones.apply(found)

    def _zones_of(self, settings: CloudSettings) -> Zones:
        return Zones.of(settings.ovh, settings.site.dns_resolvers, lambda text: self._to.print(f"  {text}"))

    def _do(self, change: Change, maker: Maker) -> None:
        if isinstance(change.resource, Address):
            return  # removed already, all by one plan of their own
        with step(self._to, f"Removing {' '.join(describe(change.resource)[:2])}"):
            match change.resource:
                case Existing(kind="server") as server:
                    maker.delete_server(server.id)
                case Existing() as group:
                    maker.delete_group(group.id)
                case Port() as port:
                    maker.delete_port(port.id)
                case KeyPair() as pair:
                    maker.delete_key_pair(pair.name)
                case Record():
                    records.forget(self._settings)
                case other:
                    raise NotImplementedError(str(other))
