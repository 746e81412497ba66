"""Less than a whole sandbox, for tests that need no cloud: the internet, and a machine with Docker."""

from collections.abc import Iterator
from contextlib import contextmanager

from sandbox import application, host, internet, templates
from sandbox import world as worlds
from sandbox.machine import Machine
from sandbox.world import World

PACKAGES = ["docker.io", "docker-cli", "docker-compose", "git", "iptables", "zstd", "restic", "busybox-static"]


@contextmanager
def with_internet(name: str, *, keep: bool = False) -> Iterator[World]:
    """A new sandbox with the internet and nothing else; `keep` leaves it running afterwards."""
    worlds.destroy(name)
    host.prepare(name)
    world = worlds.create(name)
    internet.start(world, [application.build(internet.layers())])
    yield world
    if not keep:
        worlds.destroy(name)


def docker_machine(world: World) -> Machine:
    """A machine as small as the real server, with Docker."""
    layers = [templates.apt_layer("docker", [templates.base()], PACKAGES), templates.base()]
    machine = Machine(world, "server", layers, world.ipv4(50), world.ipv6(50), memory=2 * 2**30, docker=True)
    machine.start()
    machine.wait_boot()
    return machine
