"""What would stop a server from being made, found out before anything is: names, sizes, and the project's quota."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from openstack import exceptions as sdk
from openstack.compute.v2.flavor import Flavor
from openstack.connection import Connection
from openstack.image.v2.image import Image
from openstack.network.v2.network import Network

from cloud.api.explain import explained
from cloud.resources import Server
from cloud.server_plan import is_deprecated
from cloud.trouble import CloudError, not_found

NO_LIMIT = -1


@dataclass(frozen=True)
class Parts:
    """What a server is made of, found by name in this region; the flavor has its real vcpus, ram (MB) and disk (GB)."""

    flavor: Flavor
    image: Image
    network: Network


@dataclass(frozen=True)
class Needs:
    """How much of what the quota counts is to be made."""

    servers: int = 0
    vcpus: int = 0
    memory_mb: int = 0
    key_pairs: int = 0
    groups: int = 0
    rules: int = 0
    ports: int = 0


@dataclass(frozen=True)
class Room:
    """How much of one thing the quota lets a project have."""

    what: str
    used: int
    limit: int

    def lacks(self, more: int) -> bool:
        """Whether this many more are too many."""
        return more > 0 and self.limit != NO_LIMIT and self.used + more > self.limit


class OfNoUse(CloudError):
    """Names in the settings that this region does not have, or cannot make a server of."""

    def __init__(self, mistakes: Iterable[str], flavor: Flavor | None = None) -> None:
        self.mistakes = tuple(mistakes)
        """A line for each, with what to do about it."""
        self.flavor = flavor
        """None if that is one of them."""
        super().__init__("\n".join(self.mistakes))


def parts(connection: Connection, server: Server) -> Parts:
    """Flavor, image and network of a server. Raises OfNoUse, and CloudError where the cloud cannot be asked."""
    mistakes = list[str]()
    with explained("Reading flavors, images and networks"):
        flavor = _flavor(connection, server.flavor, mistakes)
        image = _image(connection, server.image, mistakes)
        network = _network(connection, server.network, mistakes)
    if flavor and image:
        mistakes += _too_small(flavor, image)
    if mistakes or not (flavor and image and network):
        raise OfNoUse(mistakes, flavor)
    return Parts(flavor, image, network)


def flavor_only(connection: Connection, name: str) -> Flavor:
    """A flavor by its name, for a server whose image and network stay as they are. Raises as `parts` does."""
    mistakes = list[str]()
    with explained("Reading flavors"):
        flavor = _flavor(connection, name, mistakes)
    if flavor is None:
        raise OfNoUse(mistakes)
    return flavor


def lack_of_room(connection: Connection, needs: Needs) -> list[str]:
    """What the project's quota has no room for, in one line; nothing if it has. Raises CloudError."""
    with explained("Reading the quota"):
        lacks = [
            f"{room.used} of {room.limit} {room.what} in use, and {more} more needed"
            for room, more in _rooms(connection, needs)
            if room.lacks(more)
        ]
    advice = "Ask OVH for more (console: Public Cloud > Quota), or free some."
    return [f"The quota has no room: {'; '.join(lacks)}. {advice}"] if lacks else []


def _flavor(connection: Connection, name: str, mistakes: list[str]) -> Flavor | None:
    flavors = list(connection.compute.flavors())  # Nova has no filter by name
    usable = [one.name for one in flavors if not one.is_disabled]
    for one in flavors:
        if one.name == name and not one.is_disabled:
            return one
    mistakes.append(str(not_found("FLAVOR", name, usable)))
    return None


def _image(connection: Connection, name: str, mistakes: list[str]) -> Image | None:
    # OVH's come first: a snapshot of ours may have been given the same name
    found = [one for one in _images(connection, name=name) if one.name == name]  # the filter does not tell A from a
    if found:
        return max(found, key=lambda one: (one.visibility == "public", one.created_at or ""))
    names = [one.name or "" for one in _images(connection)]
    current = [each for each in names if not is_deprecated(each)]
    successors = _successors(name, current) if any(is_deprecated(each, name) for each in names) else []
    if successors:
        mistakes.append(f"IMAGE: {name!r} is deprecated here. Take {' or '.join(successors)} instead.")
    else:
        mistakes.append(str(not_found("IMAGE", name, current)))
    return None


def _images(connection: Connection, **query: str) -> Iterator[Image]:
    return cast(Iterator[Image], connection.image.images(status="active", **query))  # typed as of any resource


def _successors(name: str, names: Iterable[str]) -> list[str]:
    """The images called the same but for the version: the next three, or the last one where none is newer."""
    same = sorted({each for each in names if _but_version(each) == _but_version(name)}, key=_by_version)
    newer = [each for each in same if _by_version(each) > _by_version(name)]
    return newer[:3] or same[-1:]


def _but_version(name: str) -> str:
    return re.sub(r"[\d.]+", "", name)


def _by_version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _network(connection: Connection, name: str, mistakes: list[str]) -> Network | None:
    found = [one for one in connection.network.networks(name=name) if one.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(sorted(one.id for one in found))
        mistakes.append(f"NETWORK: there are {len(found)} networks named {name!r} ({ids}). Rename all but one.")
    else:
        mistakes.append(str(not_found("NETWORK", name, (one.name for one in connection.network.networks()))))
    return None


def _too_small(flavor: Flavor, image: Image) -> Iterator[str]:
    if 0 < flavor.disk < (image.min_disk or 0):  # a flavor without a disk takes that of the image
        yield f"FLAVOR: {flavor.name} has a disk of {flavor.disk} GB, and {image.name} needs {image.min_disk}."
    if flavor.ram < (image.min_ram or 0):
        yield f"FLAVOR: {flavor.name} has {flavor.ram} MB of memory, and {image.name} needs {image.min_ram}."


def _rooms(connection: Connection, needs: Needs) -> Iterator[tuple[Room, int]]:
    if needs.servers or needs.vcpus or needs.memory_mb or needs.key_pairs:
        limits = connection.compute.get_limits().absolute
        yield Room("servers", limits.instances_used, limits.instances), needs.servers
        yield Room("vCPUs", limits.total_cores_used, limits.total_cores), needs.vcpus
        yield Room("MB of memory", limits.total_ram_used, limits.total_ram), needs.memory_mb
        if needs.key_pairs and limits.keypairs != NO_LIMIT:  # Nova does not say how many there are
            yield Room("key pairs", len(list(connection.compute.keypairs())), limits.keypairs), needs.key_pairs
    if needs.groups or needs.rules or needs.ports:
        try:
            quota = connection.network.get_quota(str(connection.session.get_project_id()), details=True)
        except (sdk.ForbiddenException, sdk.NotFoundException):
            return  # not every cloud shows it to its users; Neutron will say so itself
        for what, counted, more in (
            ("security groups", quota.security_groups, needs.groups),
            ("rules of security groups", quota.security_group_rules, needs.rules),
            ("network ports", quota.ports, needs.ports),
        ):
            yield Room(what, counted["used"] + counted["reserved"], counted["limit"]), more
