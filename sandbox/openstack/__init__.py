"""A real OpenStack (Keystone, Nova, Neutron, Glance, Placement) in one machine; its servers are machines here."""

import datetime
import json
import sys
import urllib.error
import urllib.request

from sandbox import machine as machines
from sandbox.errors import SandboxError
from sandbox.machine import Machine
from sandbox.openstack import addresses, firewall, hypervisor, template
from sandbox.world import World, within

Credentials = dict[str, str]
"""The OS_* variables that an operator logs in with."""

MACHINE = "control"
_PORTS = (5000, 8774, 8778, 9292, 9696)
_SECONDS = 180
_FRESH = "SELECT COUNT(DISTINCT topic) FROM nova.services WHERE updated_at > '{since:%Y-%m-%d %H:%M:%S}'"
_NOVA_SERVICES = 3
_HEARTBEATS = datetime.timedelta(seconds=20)
"""Nova's services report every five seconds; one that was silent for so long is not up."""


def build() -> None:
    """Make the templates of control plane and servers, if they aren't there."""
    template.server()
    template.control_plane()


def start(world: World) -> None:
    """Start control plane and hypervisor of a sandbox, and wait until a server can be made.

    A control plane that runs goes on (an earlier start may have been interrupted before it was ready). Otherwise it
    starts empty, so servers of an earlier one are removed. Raises SandboxError if it isn't ready within three minutes.
    """
    control = Machine(
        world, MACHINE, template.control_plane(), world.ipv4(2), world.ipv6(2),
        binds=[(hypervisor.folder(world), "/hypervisor")],
    )  # fmt: skip
    fresh = not control.alive
    since = datetime.datetime.now(datetime.UTC) - (datetime.timedelta() if fresh else _HEARTBEATS)
    if fresh:
        for left in hypervisor.servers(world).values():
            left.destroy()
        control.reset()
        firewall.apply(world, [])
        hypervisor.folder(world).mkdir(parents=True, exist_ok=True)
        (hypervisor.folder(world) / "addresses.sql").write_text(addresses.statements(world))
    world.daemon("hypervisor", [sys.executable, "-m", "sandbox.openstack", world.name])
    if fresh:
        control.start()
    _wait_ready(control, since)


def credentials(world: World) -> Credentials:
    """The OS_* variables of a sandbox's ordinary user, who is not an administrator."""
    layers = machines.load(world.name, MACHINE).layers
    variables: Credentials = json.loads((layers[0] / "etc/openstack/credentials.json").read_text())
    return {"OS_AUTH_URL": f"http://{world.ipv4(2)}:5000/v3", **variables}


def _answers(address: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500  # noqa: PLR2004  # 300 lists versions, 401 wants a token
    except OSError:
        return False


def _nova_is_up(control: Machine, since: datetime.datetime) -> bool:
    """Whether conductor, scheduler and compute reported after the start: a heartbeat from before says nothing."""
    command = ["mariadb", "--socket=/run/mysqld/mysqld.sock", "-N", "-e", _FRESH.format(since=since)]
    done = control.run(command, check=False)
    return done.returncode == 0 and int(done.stdout) >= _NOVA_SERVICES


def _wait_ready(control: Machine, since: datetime.datetime) -> None:
    waiting = list(_PORTS)

    def ready() -> bool:
        if not control.alive:
            raise SandboxError(f"the control plane ended; see {control.console}")
        waiting[:] = [port for port in waiting if not _answers(control.ipv4, port)]
        return not waiting and control.leader is not None and _nova_is_up(control, since)

    if within(_SECONDS, ready, pause=0.2):
        return
    missing = ", ".join(str(port) for port in waiting) or "Nova's services"
    raise SandboxError(
        f"the control plane is not ready: {missing} did not answer. Look at {control.console}, or run "
        f"journalctl in the machine {MACHINE}."
    )
