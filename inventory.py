"""Which servers pyinfra works on: those of inventory.json, in their groups. No secrets: pyinfra shows this data.

pyinfra runs this file and takes every public list as a group of hosts.
"""

import socket
import sys
from typing import Any

import paramiko

from cloud.machine import inventory_file
from cloud.machine.inventory_file import InventoryError
from settings import SettingsError, load


def _transport(sock: socket.socket, **options: Any) -> paramiko.Transport:
    """An SSH transport that does not wait to fill packets: 40 ms saved on every command."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return paramiko.Transport(sock, **options)


def _groups() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Hosts by group. Ends the program with a line for each mistake."""
    try:
        settings = load()
        servers = inventory_file.read(settings.inventory_file)
    except (SettingsError, InventoryError) as error:
        sys.exit(str(error))
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {"web": [], "database": []}
    for server in servers:
        data = {
            "ssh_user": server.user,
            "ssh_key": str(settings.instance.ssh_private_key),
            "ssh_known_hosts_file": str(settings.known_hosts_file),
            "ssh_strict_host_key_checking": "yes",
            "ssh_paramiko_connect_kwargs": {"transport_factory": _transport},
            "_sudo": True,
            "ipv4": str(server.ipv4),
            "ipv6": str(server.ipv6) if server.ipv6 else None,
        }
        for group in server.groups:
            groups[group].append((str(server.ipv4), data))
    return groups


_all = _groups()
web = _all["web"]
database = _all["database"]
