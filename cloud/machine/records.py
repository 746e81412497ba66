"""The two files beside .env that say what exists: whether they agree with the cloud, and how they come to.

Each line of known_hosts that is written here ends in a comment, "name/id" with Nova's id. Addresses are given again to
other servers: a key counts for a server only if its line says so, even where inventory.json was lost or a run was cut
off before it came to write it. A line without such a comment, which an operator may have added, counts as long as
inventory.json has this very server at that address.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.machine import inventory_file
from cloud.machine.host_keys import change, on_console, pin, pinned, unpin
from cloud.machine.inventory_file import Entry, InventoryError
from cloud.resources import FoundServer
from cloud.trouble import CloudError
from settings import Settings


def entry(settings: Settings, server: FoundServer) -> Entry:
    """The entry in inventory.json of a server with an address, in the groups that an operator may have given it."""
    name = settings.instance.name if server.id == known_id(settings) else server.name  # it may have been renamed
    former = {one.name: one for one in _entries(settings.inventory_file)}.get(name)
    groups = {"groups": former.groups} if former else {}
    return Entry.model_validate(
        {
            "name": name,
            "ipv4": server.ipv4,
            "ipv6": server.ipv6 or None,
            "user": settings.instance.user,
            "id": server.id,
            "region": server.region,
            "project": server.project,
            **groups,
        }
    )


def compare(settings: Settings, server: FoundServer | None, console: str) -> dict[str, str]:
    """Names of the files that know the server → what in them is not so any more, "" if they agree with it.

    `console` is its console's output: where that shows host keys, these are the right ones; where they have scrolled
    away, or nobody may read it, the pinned ones stay.
    """
    if server is None or not server.ipv4:
        return {}
    here = entry(settings, server)
    remarks = {
        "inventory.json": _inventory_remark(settings, here),
        "known_hosts": _keys_remark(settings, here, console),
    }
    return {name: remark for name, remark in remarks.items() if remark is not None}


def _inventory_remark(settings: Settings, here: Entry) -> str | None:
    try:
        entries = inventory_file.read(settings.inventory_file)
    except InventoryError:
        return "it cannot be read, and is written anew" if settings.inventory_file.exists() else None
    former = next((one for one in entries if one.name == here.name), None)
    if former is None:
        return None
    pairs = [(field, getattr(former, field), getattr(here, field)) for field in NOTED]
    return "; ".join(f"{field}: {old or 'none'} → {new or 'none'}" for field, old, new in pairs if old != new)


NOTED = ("id", "region", "project", "ipv4", "ipv6", "user")


def _keys_remark(settings: Settings, here: Entry, console: str) -> str | None:
    known_hosts, shown = _known_hosts(settings.known_hosts_file), on_console(console)
    if not any(pinned(known_hosts, address) for address in here.addresses):
        return None
    pins = {address: _keys_of(settings, here, address) for address in here.addresses}
    if any(_keys_of(settings, here, address, DOUBTED) for address in here.addresses):
        return "it was to be rebuilt, and its new keys are not here yet"
    if not any(pins.values()):
        return f"the keys there are those of another server that had {here.ipv4}"
    for keys in pins.values():
        if keys and shown and not set(keys) <= set(shown):
            return f"the server was rebuilt: its console shows new keys, {change(keys, shown)}"
    without = [address for address, keys in pins.items() if not keys]
    return f"no key for {', '.join(without)}" if without else ""


def write(settings: Settings, here: Entry, keys: tuple[str, ...]) -> None:
    """Note the server and its keys; other servers in the files stay, and addresses that it had before go."""
    known_hosts = _known_hosts(settings.known_hosts_file)
    entries = _entries(settings.inventory_file)
    before = [address for one in entries if one.name == here.name for address in one.addresses]
    without = unpin(known_hosts, before, f"{here.name}/")
    with _written(settings):
        inventory_file.replace(settings.known_hosts_file, pin(without, here.addresses, keys, _mark(here)))
        inventory_file.write(settings.inventory_file, [*(one for one in entries if one.name != here.name), here])


def forget(settings: Settings) -> None:
    """Take the server of the settings out of both files; a file with nothing left in it goes. It may be done twice."""
    entries, name = _entries(settings.inventory_file), settings.instance.name
    known_hosts = _known_hosts(settings.known_hosts_file)
    # keys first: until the inventory is written, it says which addresses were the server's
    without = unpin(known_hosts, addresses(settings), f"{name}/")
    others = [one for one in entries if one.name != name]
    with _written(settings):
        if without != known_hosts:
            if without.strip():
                inventory_file.replace(settings.known_hosts_file, without)
            else:
                settings.known_hosts_file.unlink(missing_ok=True)
        if len(others) < len(entries):
            if others:
                inventory_file.write(settings.inventory_file, others)
            else:
                settings.inventory_file.unlink(missing_ok=True)


def files_with(settings: Settings) -> tuple[str, ...]:
    """Names of the files in which there is something of the server of the settings."""
    known_hosts = _known_hosts(settings.known_hosts_file)
    has_keys = unpin(known_hosts, addresses(settings), f"{settings.instance.name}/") != known_hosts
    has_entry = bool(_own(settings))
    return tuple(name for name, has in (("known_hosts", has_keys), ("inventory.json", has_entry)) if has)


def not_writable(settings: Settings) -> str:
    """Why the files cannot be written; "" if they can."""
    try:
        tempfile.TemporaryFile(dir=settings.folder).close()
    except OSError as error:
        return f"{settings.folder}: inventory.json and known_hosts cannot be written there ({error.strerror})."
    return ""


def known_id(settings: Settings) -> str:
    """Nova's id of the server of the settings, as it was noted; "" if it was not."""
    return next((one.id for one in _own(settings)), "")


def check_place(settings: Settings, region: str, project: str) -> None:
    """Raise CloudError if the server was noted in another region or project: looked for here, it would seem gone."""
    for one in _own(settings):
        noted = f"region {one.region}, project {one.project}"
        if one.region and (one.region, one.project) != (region, project):
            raise CloudError(
                f"{settings.inventory_file} says that {one.name} is in {noted}; this is region {region}, project"
                f" {project}. Nothing was done. Mend OS_REGION_NAME and the project in .env, the environment or"
                " openrc.sh. For one more server, take another folder with a .env of its own. If the one noted is gone"
                f" for good, remove {settings.inventory_file.name}."
            )


def known_user(settings: Settings, server_id: str) -> str:
    """Who logs in to this server, as it was noted; "" if it was not."""
    return next((one.user for one in _own(settings) if one.id == server_id), "")


def addresses(settings: Settings) -> tuple[str, ...]:
    """The addresses of the server of the settings, as they were noted."""
    return tuple(address for one in _own(settings) for address in one.addresses)


def former_keys(settings: Settings, here: Entry) -> tuple[str, ...]:
    """Host keys that an earlier run pinned for this server; none of another one that had its address."""
    return _keys_of(settings, here, str(here.ipv4))


def doubt_keys(settings: Settings, server: FoundServer) -> None:
    """Note that these are no longer a server's keys: it is about to be made again, and this run may not see its end."""
    here = entry(settings, server)
    keys = former_keys(settings, here)
    without = unpin(_known_hosts(settings.known_hosts_file), here.addresses, f"{here.name}/")
    if keys:
        with _written(settings):
            text = pin(without, here.addresses, keys, _mark(here) + DOUBTED)
            inventory_file.replace(settings.known_hosts_file, text)


def doubted_keys(settings: Settings, here: Entry) -> tuple[str, ...]:
    """The keys that a server had before an earlier run set out to make it again."""
    return _keys_of(settings, here, str(here.ipv4), DOUBTED)


def _keys_of(settings: Settings, here: Entry, address: str, ending: str = "") -> tuple[str, ...]:
    known_hosts = _known_hosts(settings.known_hosts_file)
    noted = any(one.id == here.id and address in one.addresses for one in _entries(settings.inventory_file))
    return tuple(
        key
        for key, comment in pinned(known_hosts, address)
        if comment == _mark(here) + ending or (noted and not ending and "/" not in comment)
    )


def _mark(here: Entry) -> str:
    return f"{here.name}/{here.id}"


DOUBTED = "/before"
"""How the comment of a key ends that a server had before it was to be made again."""


def _own(settings: Settings) -> tuple[Entry, ...]:
    return tuple(one for one in _entries(settings.inventory_file) if one.name == settings.instance.name)


@contextmanager
def _written(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CloudError(
            f"{settings.folder}: known_hosts and inventory.json cannot be written ({error.strerror})."
            " Mend that, then run again."
        ) from None


def _known_hosts(path: Path) -> str:
    """The file as it is; "" if there is none."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")  # lines of others stay byte for byte
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CloudError(f"{path}: cannot be read ({error.strerror})") from None


def _entries(path: Path) -> tuple[Entry, ...]:
    """What the file has; nothing if it is missing or broken, since it is then written anew."""
    try:
        return inventory_file.read(path)
    except InventoryError:
        return ()
