"""The name servers of this host: the sandbox's own asks them for names that are not its own."""

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

# systemd-resolved keeps the real servers in the second file when the first names only its own stub.
FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def name_servers(file: Path) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses that a resolv.conf names, in order; none if there is no such file."""
    for line in file.read_text().splitlines() if file.exists() else ():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield ipaddress.ip_address(words[1].partition("%")[0])


def upstream(files: tuple[Path, ...] = FILES) -> str | None:
    """Return the first name server that a machine can reach too (not a loopback address), or None."""
    for address in (address for file in files for address in name_servers(file)):
        if not address.is_loopback and not address.is_link_local:
            return str(address)
    return None
