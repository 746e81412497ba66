"""What there is in one project and region of OpenStack, as plain data. What is made there is in cloud/api/make.py."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from openstack import exceptions as sdk
from openstack.compute.v2.flavor import Flavor
from openstack.compute.v2.server import Server as NovaServer
from openstack.connection import Connection
from openstack.network.v2.security_group import SecurityGroup

from cloud import server_plan
from cloud.api.explain import explained
from cloud.api.patience import Say
from cloud.resources import Actual, FoundGroup, FoundServer, KeyPair, Rule, Server, Size, Wanted

IPV4, IPV6 = 4, 6
GONE = "DELETED"
"""What Nova says of a server for the moment between its end and its disappearance from lists."""


class Compute:
    """One project in one region."""

    def __init__(self, connection: Connection, say: Say) -> None:
        self.connection = connection
        self.say = say
        """Gets a line before anything is tried again; the session itself shows its own."""
        self._images = dict[str, str]()
        self._flavors = dict[str, Flavor]()

    @property
    def region(self) -> str:
        """Its name."""
        return str(self.connection.config.get_region_name())

    @property
    def project(self) -> str:
        """Its id."""
        return str(self.connection.session.get_project_id())

    def actual(self, want: Wanted, known_id: str = "") -> Actual:
        """What there is under the names of what is wanted, but for the files beside .env."""
        groups = self.groups(want.group.name)
        return Actual(
            key_pair=self.key_pair(want.key_pair.name),
            groups=server_plan.first_group(want.group.description, want.rules, groups),
            servers=self.servers_of(want.server, known_id),
        )

    def servers_of(self, want: Server, known_id: str) -> tuple[FoundServer, ...]:
        """The servers of the wanted one's name, and ours of that id if it has another by now; the one to use first."""
        found = self.servers(want.name)
        if known_id and all(one.id != known_id for one in found):
            renamed = self.server(known_id)
            if renamed and server_plan.is_ours(want, renamed):
                found = (*found, renamed)
        return server_plan.first_server(want, known_id, found)

    def key_pair(self, name: str) -> KeyPair | None:
        """The user's key pair of this name."""
        with explained("Reading the key pair"):
            try:
                found = self.connection.compute.get_keypair(name)
            except sdk.NotFoundException:
                return None
            return KeyPair(found.name, " ".join(found.public_key.split()[:2]))

    def groups(self, name: str) -> tuple[FoundGroup, ...]:
        """The project's security groups of this name."""
        with explained("Reading the security groups"):
            found = self.connection.network.security_groups(name=name, project_id=self.project)
            # Neutron's filter takes upper and lower case for the same
            return tuple(_found_group(group) for group in found if group.name == name)

    def servers(self, name: str) -> tuple[FoundServer, ...]:
        """The servers of this name as they are now."""
        # Nova takes the name as a regular expression that may match anywhere in it
        with explained("Asking for the server"):
            found = [one for one in self.connection.compute.servers(name=f"^{name}$") if one.name == name]
            return tuple(self._found(self._with_reason(one)) for one in found if one.status != GONE)

    def server(self, server_id: str) -> FoundServer | None:
        """One server as it is now; None if it is gone."""
        with explained("Asking for the server"):
            try:
                found = self.connection.compute.get_server(server_id)
            except sdk.NotFoundException:
                return None
            return None if found.status == GONE else self._found(found)

    def console(self, server_id: str) -> str:
        """What a server has printed on its console; "" while there is none."""
        with explained("Reading the console"):
            try:
                return str(self.connection.compute.get_server_console_output(server_id).get("output") or "")
            except (sdk.NotFoundException, sdk.ConflictException):
                return ""  # the server is still being made

    def ports(self, server_ids: Iterable[str]) -> tuple[str, ...]:
        """Ids of the network ports of these servers."""
        with explained("Reading the network ports"):
            return tuple(
                port.id for server_id in server_ids for port in self.connection.network.ports(device_id=server_id)
            )

    def _with_reason(self, server: NovaServer) -> NovaServer:
        """A list does not have the reason of an ERROR."""
        return self.connection.compute.get_server(server.id) if server.status == "ERROR" else server

    def _found(self, server: NovaServer) -> FoundServer:
        networks = self._networks(server)
        addresses = {(entry["version"], entry["addr"]) for entries in networks.values() for entry in entries}
        flavor = self._flavor(server.flavor)
        return FoundServer(
            id=server.id,
            name=server.name,
            status=server_plan.LEAVING if server.task_state == "deleting" else server.status,
            flavor=flavor.original_name or flavor.name or flavor.id,
            image=self._image_name(server.image),
            networks=frozenset(networks),
            key_pair=server.key_name or "",
            groups=frozenset(group["name"] for group in server.security_groups or ()),
            metadata=dict(server.metadata),
            ipv4=_first(address for version, address in addresses if version == IPV4),
            ipv6=_first(address for version, address in addresses if version == IPV6),
            fault=(server.fault or {}).get("message", "").rstrip(". "),
            size=Size(flavor.vcpus or 0, flavor.ram or 0, flavor.disk or 0),
            created=server.created_at or "",
            launched=bool(server.launched_at),
            locked=bool(server.is_locked),
            busy=bool(server.task_state),
            region=self.region,
            project=self.project,
        )

    def _networks(self, server: NovaServer) -> dict[str, Any]:
        """Addresses by network. Nova goes on showing those of a port that somebody removed, but no group of it."""
        shown: dict[str, Any] = server.addresses
        return shown if server.security_groups or not shown or self.ports([server.id]) else {}

    def _flavor(self, of_server: Flavor) -> Flavor:
        """A server's flavor with name and size. Nova before microversion 2.47 gives only its id with a server."""
        if of_server.name or of_server.original_name:
            return of_server
        if of_server.id not in self._flavors:
            try:
                self._flavors[of_server.id] = self.connection.compute.get_flavor(of_server.id)
            except sdk.NotFoundException:
                self._flavors[of_server.id] = of_server
        return self._flavors[of_server.id]

    def _image_name(self, image: Any) -> str:
        """Name of a server's image; "" if it is no longer there, or the server boots from a volume."""
        if not image or not image.id:
            return ""
        if image.id not in self._images:
            found = self.connection.image.find_image(image.id, ignore_missing=True)
            self._images[image.id] = found.name if found else ""
        return self._images[image.id]


def _found_group(group: SecurityGroup) -> FoundGroup:
    rules = frozenset(rule_of(rule) for rule in group.security_group_rules)
    return FoundGroup(group.id, group.name, group.description or "", rules, group.created_at or "")


PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "icmpv6": "ipv6-icmp"}
"""Neutron takes a protocol by its number, too, and keeps it as it was given."""


def rule_of(rule: dict[str, Any]) -> Rule:
    """A rule of Neutron's, with what means the same written the same way."""
    protocol, ethertype = str(rule["protocol"] or ""), rule["ethertype"]
    protocol = PROTOCOLS.get(protocol, protocol)
    if ethertype == "IPv6" and protocol == "icmp":
        protocol = "ipv6-icmp"
    network = rule["remote_ip_prefix"] or ""
    group = rule["remote_group_id"] or rule.get("remote_address_group_id")
    remote = group or ("" if network in ("0.0.0.0/0", "::/0") else network)
    return Rule(rule["direction"], protocol, _ports(protocol, rule), ethertype, remote, rule.get("id") or "")


def _ports(protocol: str, rule: dict[str, Any]) -> str:
    """Ports; for ICMP they are its type and code, of which the code may be missing."""
    low, high = rule["port_range_min"], rule["port_range_max"]
    if low is None:
        return ""
    one_port = low == high and not protocol.endswith("icmp")
    return str(low) if high is None or one_port else f"{low}-{high}"


def _first(addresses: Iterable[str]) -> str:
    """The address to use: one that is reached from everywhere, where there is one."""
    return min(addresses, key=lambda address: (not ip_address(address).is_global, address), default="")
