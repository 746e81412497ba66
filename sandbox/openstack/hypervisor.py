"""The host's side of Nova: `python -m sandbox.openstack WORLD` makes, boots and ends machines as nova-compute asks.

A request is one line of JSON on a Unix socket that the control plane sees too, `{"action": …, "uuid": …, …}`; the
answer is one line, `{"result": …}` or `{"error": "why"}`.
"""

import contextlib
import ipaddress
import json
import signal
import socketserver
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from sandbox import machine as machines
from sandbox.errors import SandboxError
from sandbox.files import write_whole
from sandbox.machine import Machine
from sandbox.openstack import firewall, firstboot, template
from sandbox.world import World, find, wait_for

_MIB = 1024 * 1024
_CONSOLE_BYTES = 256 * 1024
_RECORD = "server.json"


def folder(world: World) -> Path:
    """What host and control plane both see: the socket, and this sandbox's addresses."""
    return world.run / "hypervisor"


def servers(world: World) -> dict[str, Machine]:
    """The servers of a sandbox, on or off, by Nova's id."""
    found = {}
    for file in sorted(world.state.glob(f"machines/*/{_RECORD}")):
        with contextlib.suppress(OSError, SandboxError):  # it is just being deleted
            found[json.loads(file.read_text())["uuid"]] = machines.load(world.name, file.parent.name)
    return found


def addresses(given: list[str]) -> tuple[str, str]:
    """Pick the IPv4 and the IPv6 address of a port from what Neutron gave it. Raises SandboxError if one is missing."""
    by_version = {ipaddress.ip_address(text).version: text for text in reversed(given)}
    if {4, 6} - by_version.keys():
        raise SandboxError(f"a server needs an IPv4 and an IPv6 address of Ext-Net; its port has {given}")
    return by_version[4], by_version[6]


class Hypervisor:
    """Does what nova-compute asks; each public method is an action and returns what goes into the answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._layers = template.server()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one request, one at a time for each server."""
        action = getattr(self, f"do_{request.pop('action')}")
        with self._locks[request.get("uuid", "")]:
            try:
                return {"result": action(**request)}
            except (SandboxError, OSError) as error:
                return {"error": str(error)}

    def _machine(self, uuid: str) -> Machine:
        found = servers(self._world).get(uuid)
        if found is None:
            raise SandboxError(f"there is no server {uuid}")
        return found

    def do_list(self) -> dict[str, str]:
        """Every server: `on` or `off`."""
        return {uuid: "on" if machine.alive else "off" for uuid, machine in servers(self._world).items()}

    def do_spawn(self, uuid: str, server: dict[str, Any], power_on: bool) -> None:
        """Make a machine and turn it on; like a hypervisor, don't wait for it to boot."""
        ipv4, ipv6 = addresses(server["addresses"])
        hostname = server["hostname"]
        memory = server["memory_mb"] * _MIB
        name = f"{hostname[:24]}-{uuid[:8]}"
        machine = Machine(self._world, name, self._layers, ipv4, ipv6, memory, hostname=hostname, docker=True)
        seed = firstboot.Seed(uuid, hostname, server["image"], server["key"], server["user_data"])
        try:
            machine.save()
            write_whole(machine.folder / _RECORD, json.dumps({"uuid": uuid}))
            with machine.mounted() as root:
                firstboot.write(root, seed)
            if power_on:
                machine.start()
        except BaseException:
            machine.destroy()
            raise

    def do_destroy(self, uuid: str) -> None:
        """End a server and delete its disk; it is gone already: nothing happens."""
        if machine := servers(self._world).get(uuid):
            machine.destroy()

    def do_power_off(self, uuid: str) -> None:
        """Shut a server down."""
        self._machine(uuid).stop()

    def do_power_on(self, uuid: str) -> None:
        """Turn a server on."""
        self._machine(uuid).start()

    def do_reboot(self, uuid: str, hard: bool) -> None:
        """Reboot a server, as its own systemd does or by its reset button."""
        machine = self._machine(uuid)
        before = machine.leader
        if hard or before is None:
            machine.kill()
            machine.start()
            return
        machine.run(["systemctl", "--no-block", "reboot"])
        wait_for(lambda: machine.leader not in {None, before}, 120, f"{machine.name} does not reboot")

    def do_resize(self, uuid: str, memory_mb: int, power_on: bool) -> None:
        """Give a server another size."""
        machine = self._machine(uuid)
        machine.stop()
        machine.memory = memory_mb * _MIB
        machine.save()
        if power_on:
            machine.start()

    def do_console(self, uuid: str) -> str:
        """The end of what a server printed on its console since it was made."""
        console = self._machine(uuid).console
        return console.read_bytes()[-_CONSOLE_BYTES:].decode(errors="replace") if console.exists() else ""

    def do_firewall(self, ports: list[dict[str, Any]]) -> None:
        """Enforce the security groups of all ports."""
        firewall.apply(self._world, ports)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Answer one line."""
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101  # for the types
        answer = server.hypervisor.answer(json.loads(self.rfile.readline()))
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, hypervisor: Hypervisor) -> None:
        self.hypervisor = hypervisor
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)


def main() -> None:
    """Serve until told to end; the servers go on running."""
    world = find(sys.argv[1])
    if world is None:
        raise SystemExit(f"there is no sandbox {sys.argv[1]}")
    folder(world).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    _Server(folder(world) / "socket", Hypervisor(world)).serve_forever()
