"""Where the sandbox's DNS server asks for names that are not its own: what this host itself asks."""

import ipaddress
from pathlib import Path

# systemd-resolved keeps the real servers in the second file when the first names only its own stub.
FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def upstream(files: tuple[Path, ...] = FILES) -> str | None:
    """Return the first name server that a machine can reach too (not a loopback address), or None."""
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                address = ipaddress.ip_address(words[1].partition("%")[0])
                if not address.is_loopback and not address.is_link_local:
                    return str(address)
    return None
