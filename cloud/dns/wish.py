"""What names are to lead to, from the command line or else .env and inventory.json; every mistake at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import settings as variables
from cloud.dns.record import Wanted, wanted
from cloud.machine import inventory_file
from cloud.trouble import CloudError
from configuration.checks import ca_issuer, domain
from configuration.sections import LONGEST_TTL, SHORTEST_TTL, Ovh
from settings import SettingsError


@dataclass(frozen=True)
class Wish:
    """What the names are to lead to."""

    ovh: Ovh
    want: Wanted
    ttl: int
    """Seconds."""
    resolvers: Sequence[str]


def wish_of(  # noqa: PLR0913 - the arguments of a command
    names: tuple[str, ...], ipv4: str, ipv6: str, issuer: str | None, *, ttl: int | None = None, keys: bool = True
) -> Wish:
    """What is wanted; without `keys`, those of OVH need not be there. Raises SettingsError, CloudError."""
    mistakes = list[str]()

    def right(where: str, check: Callable[[str], str], text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            mistakes.append(f"{where}: {error}")
            return ""

    names = tuple(right(name or "''", domain, name) for name in names)
    ipv4 = ipv4 and right(f"--ipv4 ({ipv4})", _ipv4, ipv4)
    ipv6 = ipv6 and right(f"--ipv6 ({ipv6})", _ipv6, ipv6)
    issuer = issuer and right(f"--issuer ({issuer})", ca_issuer, issuer)
    if ttl is not None and not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        mistakes.append(f"--ttl ({ttl}): is not between {SHORTEST_TTL} and {LONGEST_TTL} seconds")
    if not mistakes and names and not ipv4:
        mistakes.append("Names need an address: --ipv4 192.0.2.1, and --ipv6 where there is one.")
    if not mistakes and not names and (ipv4 or ipv6):
        mistakes.append("An address needs names: www.example.org --ipv4 192.0.2.1")
    try:
        ovh, resolvers = variables.load_dns(keys=keys)
    except SettingsError as error:
        raise SettingsError("\n".join([*mistakes, str(error)])) from None
    if mistakes:
        raise CloudError("\n".join(mistakes))
    if not names:
        names, ipv4, ipv6 = _of_the_project()
    allowed = ovh.caa_issuer if issuer is None else issuer
    return Wish(ovh, wanted(names, ipv4, ipv6 or None, allowed), ttl or ovh.ttl, resolvers)


def _of_the_project() -> tuple[tuple[str, ...], str, str]:
    """The names of .env and the addresses of its server; "" for none. Raises SettingsError, CloudError."""
    project = variables.load()
    try:
        entries = inventory_file.read(project.inventory_file)
    except inventory_file.InventoryError as error:
        raise CloudError(f"{error}. Or say which names and where: www.example.org --ipv4 192.0.2.1") from None
    for entry in entries:
        if entry.name == project.instance.name:
            return project.site.names, str(entry.ipv4), str(entry.ipv6 or "")
    raise CloudError(f"{project.inventory_file}: has no server {project.instance.name}; python provision.py makes it.")


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text.strip()))
    except ValueError:
        raise ValueError("is no IPv4 address; put one like 192.0.2.1") from None


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text.strip())
    except ValueError:
        raise ValueError("is no IPv6 address; put one like 2001:db8::1") from None
    if address.scope_id:
        raise ValueError("is an address on one machine's network only; put one like 2001:db8::1")
    return str(address)
