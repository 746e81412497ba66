"""What is done about a server that is there: which of several it is, what is changed, when it is made again."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cloud.resources import Actual, Aspect, Difference, FoundGroup, FoundServer, Rule, Server, Size, Wanted

AT_WORK = ("BUILD", "REBOOT", "HARD_REBOOT", "REBUILD", "RESIZE", "REVERT_RESIZE", "PASSWORD", "MIGRATING")
"""Nova's words for a server that will be ACTIVE, or VERIFY_RESIZE, soon."""
RUNS = ("ACTIVE", "VERIFY_RESIZE", *AT_WORK)
STARTS = "SHUTOFF"
LEAVING = "DELETING"
"""Ours for a server that Nova is just removing."""


@dataclass(frozen=True)
class Replaced:
    """Why a server is made again, and how."""

    why: str
    loses_data: bool
    keeps_address: bool
    differences: tuple[Difference, ...] = ()


def is_ours(want: Server, have: FoundServer) -> bool:
    """Whether its metadata says that we made it, for this environment."""
    return all(have.metadata.get(key) == value for key, value in want.metadata.items())


def same_image(have: str, want: str) -> bool:
    """Whether these are one image. OVH renames an old build to "Ubuntu 22.04 … deprecated …" when a new one comes."""
    return have == want or is_deprecated(have, want)


def is_deprecated(name: str, of: str = "") -> bool:
    """Whether an image is an old build, of this image or of any."""
    return bool(re.match(rf"{re.escape(of)}\b.*deprecated", name, re.IGNORECASE))


def ours(want: Server, servers: Iterable[FoundServer]) -> list[FoundServer]:
    """Those of some servers that are ours."""
    return [one for one in servers if is_ours(want, one)]


def first_server(want: Server, known_id: str, servers: Iterable[FoundServer]) -> tuple[FoundServer, ...]:
    """The servers of one name with the one to use first: the known one, or else ours, that runs, the oldest."""

    def place(one: FoundServer) -> tuple[bool, bool, bool, str, str]:
        return one.id != known_id, not is_ours(want, one), one.status == "ERROR", one.created, one.id

    return tuple(sorted(servers, key=place))


def first_group(description: str, rules: frozenset[Rule], groups: Iterable[FoundGroup]) -> tuple[FoundGroup, ...]:
    """The groups of one name with the one to use first: ours, with most of the wanted rules, the oldest."""

    def place(one: FoundGroup) -> tuple[bool, int, str, str]:
        return one.description != description, -len(one.rules & rules), one.created, one.id

    return tuple(sorted(groups, key=place))


def replaced(want: Server, have: FoundServer, *, rebuild: bool) -> Replaced | None:
    """Why the server has to be made again; None if it need not."""
    if have.status == "ERROR" and not have.launched:
        return Replaced(f"it is in ERROR ({have.fault or 'Nova gives no reason'}) and never ran", False, False)
    if have.status not in ("ACTIVE", STARTS) or have.busy:
        return None
    if have.networks and want.network not in have.networks:  # a server without any is one that Nova is not done with
        networks = ", ".join(sorted(have.networks))
        why = f"network: {networks} → {want.network}; its disk and its addresses are lost"
        return Replaced(why, True, False, (Difference("network", networks, want.network),))
    if have.image and not same_image(have.image, want.image):
        why = f"image: {have.image} → {want.image}; everything on its disk is lost"
        return Replaced(why, True, True, (Difference("image", have.image, want.image),))
    if rebuild:
        return Replaced(f"rebuilt from {want.image}; everything on its disk is lost", True, True)
    return None


def aspects(want: Server, have: FoundServer, size: Size | None) -> Iterator[tuple[Aspect, str]]:
    """What is changed while the server and its disk stay, and what to say about it; in this order.

    `size` is that of the wanted flavor, if it was looked up.
    """
    if have.name != want.name:
        yield Aspect(want.name, "name", want.name), f"{have.name} → {want.name}"
    missing = {key: value for key, value in want.metadata.items() if have.metadata.get(key) != value}
    if missing:
        said = ", ".join(f"{key}: {have.metadata.get(key, 'none')} → {value}" for key, value in missing.items())
        yield Aspect(want.name, "metadata", "ours"), said
    if have.status == STARTS:
        yield Aspect(want.name, "status", "ACTIVE"), f"{have.status} → ACTIVE"
    elif have.status != "BUILD" and (have.busy or have.status in AT_WORK):
        yield Aspect(want.name, "status", "ACTIVE"), f"Nova is at work on it ({have.status}); waits until it is done"
    if have.status == "VERIFY_RESIZE":
        wanted_one = have.flavor == want.flavor
        said = (
            f"{have.flavor}, to be confirmed"
            if wanted_one
            else f"{have.flavor}, not confirmed: back to what it was before"
        )
        yield Aspect(want.name, "flavor", want.flavor), said
    elif have.status == "RESIZE":
        said = f"it is being given one; {want.flavor} is kept if the server is well with it, another is taken back"
        yield Aspect(want.name, "flavor", want.flavor), said
    elif have.status != "BUILD" and have.flavor != want.flavor:
        yield Aspect(want.name, "flavor", want.flavor), f"{have.flavor} → {want.flavor}, {_one_way(have, size)}"
    if have.status not in AT_WORK and have.networks and have.groups != {want.group}:
        groups = ", ".join(sorted(have.groups)) or "none"
        yield Aspect(want.name, "security groups", want.group), f"{groups} → {want.group}"


def differences(what: str, want: Server, have: FoundServer) -> tuple[Difference, ...]:
    """How an aspect of the server is, and how it will be."""
    match what:
        case "name":
            found = [Difference("name", have.name, want.name)]
        case "metadata":
            found = [
                Difference(f"metadata {key}", have.metadata.get(key), value) for key, value in want.metadata.items()
            ]
        case "security groups":
            found = [Difference("security group", None, want.group)] if want.group not in have.groups else []
            found += [Difference("security group", group, None) for group in sorted(have.groups - {want.group})]
        case "flavor" if have.flavor != want.flavor:
            found = [Difference("flavor", have.flavor, want.flavor)]
        case _:
            found = [Difference("status", have.status, "ACTIVE")]
    return tuple(one for one in found if one.old != one.new)


def _one_way(have: FoundServer, size: Size | None) -> str:
    """What a resize means."""
    if size and size.disk_gb > have.size.disk_gb > 0:
        return f"with a restart; its disk grows to {size.disk_gb} GB, for good"
    return "with a restart"


def drift(want: Server, have: FoundServer) -> str:
    """What is not as wanted and is left so; "" for nothing."""
    if have.status not in (*RUNS, STARTS):
        return f"it is {have.status}"
    if have.status not in AT_WORK and have.key_pair != want.key_pair:
        return f"made with key pair {have.key_pair or 'none'}, and Nova changes none"
    return ""


def problems(want: Wanted, have: Actual, *, adopt: bool, changes: bool, resizes: bool) -> Iterator[str]:
    """Why nothing can be done. `changes`, `resizes`: whether the plan does that to the server that is there."""
    server = have.server
    if server is None:
        return
    if not is_ours(want.server, server) and not adopt:
        lacks = [
            f"{key}={value}" + (f" (it has {server.metadata[key]})" if server.metadata.get(key) else "")
            for key, value in want.server.metadata.items()
            if server.metadata.get(key) != value
        ]
        yield (
            f"The server {want.server.name} ({server.id}) is not ours: it lacks the metadata {', '.join(lacks)}."
            " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt"
        )
        return
    others = [one for one in have.servers[1:] if not is_ours(want.server, one)]
    if others:
        ids = ", ".join(one.id for one in others)
        yield f"There are more servers named {server.name} that are not ours ({ids}); rename or remove them."
    yield from _state_problems(server)
    if changes and server.locked:
        yield (
            f"The server {server.name} ({server.id}) is locked, by its owner or an administrator, and Nova changes"
            " nothing about it. Have it unlocked by whoever locked it (Horizon: Instances > Unlock)."
        )
    resized = server.status in ("RESIZE", "VERIFY_RESIZE")  # and can go back
    if have.size and resizes and not resized and have.size.disk_gb < server.size.disk_gb:
        yield (
            f"FLAVOR: {want.server.flavor} has {have.size.disk_gb} GB of disk, and {server.name} ({server.flavor}) has"
            f" {server.size.disk_gb} GB, which cannot shrink. Put FLAVOR={server.flavor}, or a flavor with as much."
        )


def _state_problems(server: FoundServer) -> Iterator[str]:
    if server.status == "ERROR" and server.launched:
        yield (
            f"The server {server.name} ({server.id}) is in ERROR: {server.fault or 'Nova gives no reason'}. It is"
            " billed, and its disk may still be good: a hard reboot in OVH's console can bring it back. To give it"
            " up: python provision.py destroy"
        )
    elif server.status == LEAVING:
        yield f"The server {server.name} ({server.id}) is just being removed. Wait a moment, then run again."
    elif server.status in ("ACTIVE", STARTS) and not server.busy and not server.networks:
        yield (
            f"The server {server.name} ({server.id}) has no network port, and so no address: somebody removed it. It"
            " is billed. Attach a network with public addresses to it in OVH's console, then run again; or give it up:"
            " python provision.py destroy"
        )
    elif server.status not in (*RUNS, STARTS, "ERROR"):
        yield (
            f"The server {server.name} ({server.id}) is {server.status}, which provision.py does not end;"
            " bring it back in OVH's console (Public Cloud > Instances), then run again."
        )
