"""The two files beside .env that say what exists: whether they agree with the cloud, and how they come to."""

from pathlib import Path

from cloud import inventory_file
from cloud.host_keys import pin, pinned
from cloud.inventory_file import Entry, InventoryError
from cloud.resources import FoundServer
from cloud.trouble import CloudError
from settings import Settings


def entry(settings: Settings, server: FoundServer) -> Entry:
    """The entry in inventory.json of a server with an address, in the groups that an operator may have given it."""
    former = {one.name: one for one in _entries(settings.inventory_file)}.get(server.name)
    groups = {"groups": former.groups} if former else {}
    return Entry.model_validate(
        {
            "name": server.name,
            "ipv4": server.ipv4,
            "ipv6": server.ipv6 or None,
            "user": settings.instance.user,
            "id": server.id,
            **groups,
        }
    )


def in_place(settings: Settings, server: FoundServer | None) -> frozenset[str]:
    """Names of the files that agree with the server. Keys pinned for another server at its address do not."""
    if server is None or not server.ipv4:
        return frozenset()
    here = entry(settings, server)
    if here not in _entries(settings.inventory_file):
        return frozenset()
    known_hosts = _known_hosts(settings.known_hosts_file)
    all_pinned = all(pinned(known_hosts, address) for address in here.addresses)
    return frozenset({"inventory.json", *(["known_hosts"] if all_pinned else [])})


def write(settings: Settings, here: Entry, keys: tuple[str, ...]) -> None:
    """Note the server and its keys; other servers in the files stay."""
    known_hosts = _known_hosts(settings.known_hosts_file)
    others = [one for one in _entries(settings.inventory_file) if one.name != here.name]
    try:
        inventory_file.replace(settings.known_hosts_file, pin(known_hosts, here.addresses, keys))
        inventory_file.write(settings.inventory_file, [*others, here])
    except OSError as error:
        raise CloudError(
            f"{settings.folder}: known_hosts and inventory.json cannot be written ({error.strerror})."
            " Mend that, then run again."
        ) from None


def former_keys(settings: Settings, here: Entry) -> tuple[str, ...]:
    """Host keys that an earlier run pinned for the server; none if they are those of another one at its address."""
    if any(one.ipv4 == here.ipv4 and one.id != here.id for one in _entries(settings.inventory_file)):
        return ()
    return pinned(_known_hosts(settings.known_hosts_file), str(here.ipv4))


def _known_hosts(path: Path) -> str:
    """The file as it is; "" if there is none."""
    try:
        return path.read_text(encoding="utf-8")
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
