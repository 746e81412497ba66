"""Less than a whole sandbox, for tests that need no cloud: the internet, and a machine with Docker."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox import application, host, internet, templates
from sandbox import world as worlds
from sandbox.machine import Machine
from sandbox.world import World

PACKAGES = ["docker.io", "docker-cli", "docker-compose", "git", "iptables", "zstd", "restic"]


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


def docker_machine(world: World, *, packages: Sequence[str] = (), disk: int | None = None) -> Machine:
    """A machine as small as the real server, with Docker, and further Debian packages.

    `disk`: what Docker keeps is on a file system of its own, of so many bytes, until the machine is turned off.
    """
    layers = [templates.apt_layer("docker", [templates.base()], PACKAGES), templates.base()]
    if packages:
        layers.insert(0, templates.apt_layer("docker-and-more", layers, list(packages)))
    machine = Machine(world, "server", layers, world.ipv4(50), world.ipv6(50), memory=2 * 2**30, docker=True)
    with _own_disk(machine, disk):
        machine.start()
        machine.wait_boot()
    return machine


@contextmanager
def _own_disk(machine: Machine, size: int | None) -> Iterator[None]:
    """Mount a disk where the machine's Docker has its files, until it is on: then it has a mount of its own."""
    if size is None:
        yield
        return
    machine.save()
    image, folder = machine.folder / "docker.img", machine.folder / "docker"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
