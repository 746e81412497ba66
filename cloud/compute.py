"""The OpenStack side: find what there is by name, make what a plan says. What to make is decided in cloud.plan."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from openstack import exceptions as sdk
from openstack.compute.v2.flavor import Flavor
from openstack.compute.v2.server import Server as NovaServer
from openstack.connection import Connection
from openstack.image.v2.image import Image
from openstack.network.v2.network import Network
from openstack.network.v2.security_group import SecurityGroup

from cloud.explain import explained
from cloud.resources import Actual, FoundServer, Group, GroupRule, KeyPair, Resource, Rule, Server, Wanted
from cloud.show import describe
from cloud.trouble import CloudError, not_found


@dataclass(frozen=True)
class Parts:
    """What a server is made of, found by name in this region."""

    flavor: Flavor
    image: Image
    network: Network


class Compute:
    """One project in one region."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._images = dict[str, str]()

    def parts(self, want: Server) -> Parts:
        """Flavor, image and network of a server. Raises CloudError with the nearest names for one unknown."""
        with explained("Reading flavors, images and networks"):
            compute, image, network = self._connection.compute, self._connection.image, self._connection.network
            return Parts(
                _by_name("FLAVOR", want.flavor, list(compute.flavors())),
                _by_name("IMAGE", want.image, list(image.images(status="active"))),
                _by_name("NETWORK", want.network, list(network.networks())),
            )

    def room_for(self, parts: Parts) -> None:
        """Raise CloudError if the project's quota has no room for one more server of this size."""
        with explained("Reading the quota"):
            limits = self._connection.compute.get_limits().absolute
        for what, used, limit, more in (
            ("servers", limits.instances_used, limits.instances, 1),
            ("vCPUs", limits.total_cores_used, limits.total_cores, parts.flavor.vcpus),
            ("MB of memory", limits.total_ram_used, limits.total_ram, parts.flavor.ram),
        ):
            if 0 <= limit < used + more:  # -1 is no limit
                raise CloudError(
                    f"The quota has no room: {used} of {limit} {what} in use, and {more} more needed."
                    " Ask OVH for more (console: Public Cloud > Quota), or free some."
                )

    def actual(self, want: Wanted) -> Actual:
        """What there is under the names of what is wanted, but for the files beside .env."""
        with explained("Reading what there is"):
            key_pair = self._connection.compute.find_keypair(want.key_pair.name)
            group = self._group(want.group.name)
            return Actual(
                key_pair=KeyPair(key_pair.name, " ".join(key_pair.public_key.split()[:2])) if key_pair else None,
                group=Group(group.name, group.description) if group else None,
                rules=frozenset(_rule(rule) for rule in group.security_group_rules) if group else frozenset(),
                server=self.server(want.server.name),
            )

    def make(self, resource: Resource) -> None:
        """Make one thing of a plan."""
        compute, network = self._connection.compute, self._connection.network
        with explained(f"Making {' '.join(describe(resource)[:2])}"):
            match resource:
                case KeyPair():
                    compute.create_keypair(name=resource.name, public_key=resource.public_key)
                case Group():
                    network.create_security_group(name=resource.name, description=resource.description)
                case GroupRule():
                    self._make_rule(resource)
                case Server():
                    self._make_server(resource)

    def server(self, name: str) -> FoundServer | None:
        """The server of this name as it is now; None if there is none. Raises CloudError if there are several."""
        # Nova takes the name as a regular expression that may match anywhere in it
        with explained("Asking for the server"):
            found = [one for one in self._connection.compute.servers(name=f"^{name}$") if one.name == name]
            if len(found) > 1:
                ids = ", ".join(one.id for one in found)
                raise CloudError(f"There are {len(found)} servers named {name} ({ids}); remove or rename all but one.")
            if not found:
                return None
            failed = found[0].status == "ERROR"  # the reason is not in the list
            return self._found(self._connection.compute.get_server(found[0].id) if failed else found[0])

    def console(self, server_id: str) -> str:
        """What a server has printed on its console; "" while there is none."""
        with explained("Reading the console"):
            try:
                return str(self._connection.compute.get_server_console_output(server_id).get("output") or "")
            except (sdk.NotFoundException, sdk.ConflictException):
                return ""  # the server is still being made

    def _make_server(self, resource: Server) -> None:
        parts = self.parts(resource)
        self._connection.compute.create_server(
            name=resource.name,  # Nova takes the host name from it
            flavor_id=parts.flavor.id,
            image_id=parts.image.id,
            networks=[{"uuid": parts.network.id}],
            key_name=resource.key_pair,
            security_groups=[{"name": self._existing_group(resource.group).id}],
            metadata=resource.metadata,
        )

    def _make_rule(self, resource: GroupRule) -> None:
        rule = resource.rule
        first, _, last = rule.ports.partition("-")
        ports = {"port_range_min": int(first), "port_range_max": int(last or first)} if first else {}
        try:
            self._connection.network.create_security_group_rule(
                security_group_id=self._existing_group(resource.group).id,
                direction=rule.direction,
                ether_type=rule.ethertype,
                protocol=rule.protocol or None,
                **ports,
            )
        except sdk.ConflictException as error:
            # a new group has its two egress rules from birth, and another run may have made any; a full quota, which
            # Neutron calls a conflict too, is another matter
            if "already exists" not in str(error.details):
                raise

    def _existing_group(self, name: str) -> SecurityGroup:
        group = self._group(name)
        if group is None:
            raise CloudError(f"The security group {name} is gone: somebody removed it. Run again.")
        return group

    def _group(self, name: str) -> SecurityGroup | None:
        groups = list(self._connection.network.security_groups(name=name, project_id=self._project))
        if len(groups) > 1:
            raise CloudError(
                f"There are {len(groups)} security groups named {name}; remove all but one, or choose another"
                " INSTANCE_NAME."
            )
        return groups[0] if groups else None

    @property
    def _project(self) -> str:
        return str(self._connection.session.get_project_id())

    def _found(self, server: NovaServer) -> FoundServer:
        addresses = {(entry["version"], entry["addr"]) for entries in server.addresses.values() for entry in entries}
        return FoundServer(
            id=server.id,
            name=server.name,
            status=server.status,
            flavor=server.flavor.original_name or server.flavor.name or server.flavor.id,
            image=self._image_name(server.image),
            networks=frozenset(server.addresses),
            key_pair=server.key_name or "",
            groups=frozenset(group["name"] for group in server.security_groups or ()),
            metadata=dict(server.metadata),
            ipv4=_first(address for version, address in addresses if version == 4),  # noqa: PLR2004 - IPv4
            ipv6=_first(address for version, address in addresses if version == 6),  # noqa: PLR2004 - IPv6
            fault=(server.fault or {}).get("message", "").rstrip(". "),
        )

    def _image_name(self, image: Any) -> str:
        """Name of a server's image; "" if it is no longer there, or the server boots from a volume."""
        if not image or not image.id:
            return ""
        if image.id not in self._images:
            found = self._connection.image.find_image(image.id, ignore_missing=True)
            self._images[image.id] = found.name if found else ""
        return self._images[image.id]


def _by_name(variable: str, name: str, all_of_them: list[Any]) -> Any:
    found = [one for one in all_of_them if one.name == name]
    if not found:
        raise not_found(variable, name, (one.name for one in all_of_them))
    return found[0]


def _rule(rule: dict[str, Any]) -> Rule:
    """A rule of Neutron's, with what means the same written the same way."""
    low, high = rule["port_range_min"], rule["port_range_max"]
    ports = "" if low is None else str(low) if low == high else f"{low}-{high}"
    protocol, ethertype = rule["protocol"] or "", rule["ethertype"]
    if ethertype == "IPv6" and protocol in ("icmp", "icmpv6", "58"):
        protocol = "ipv6-icmp"
    network = rule["remote_ip_prefix"] or ""
    remote = rule["remote_group_id"] or ("" if network in ("0.0.0.0/0", "::/0") else network)
    return Rule(rule["direction"], protocol, ports, ethertype, remote)


def _first(addresses: Iterator[str]) -> str:
    return min(addresses, default="")
