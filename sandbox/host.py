"""What this host needs before a sandbox is made: every problem is one line, and all are said at once."""

import os
import shutil
import subprocess
from pathlib import Path

from sandbox import cache, world
from sandbox.errors import SandboxError
from sandbox.progress import step

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "git": "git",
}
"""Command → the Debian package that brings it."""

DISK_GIB = 12
"""What the templates (7 GiB) and a running sandbox with one server (3 GiB) take, and some room."""

MEMORY_GIB = 5
"""The control plane's 1.8 GiB, a server's 2 GiB and the internet machine."""

# Folders that hold administrators' tools; an ordinary PATH may lack them.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def need_root() -> None:
    """Raise SandboxError for anyone but root."""
    if os.geteuid() != 0:
        raise SandboxError("the sandbox makes machines and networks: run it as root (sudo make demo)")


def missing_packages() -> list[str]:
    """The Debian packages whose commands are not on this host."""
    return sorted({package for tool, package in TOOLS.items() if shutil.which(tool, path=_PATH) is None})


def install(packages: list[str]) -> None:
    """Install Debian packages on this host. Raises SandboxError with apt's last line."""
    with step(f"installing on this host: {' '.join(packages)}"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-qq", *command], capture_output=True, text=True, env=environment, check=False
            )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise SandboxError(f"missing: {' '.join(packages)}; apt-get could not install them: {' '.join(last)}")


def _free_gib(path: Path) -> float:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / 2**30


def _available_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def problems(name: str) -> list[str]:
    """What stands in the way of the sandbox `name`, one line each; empty if nothing does."""
    found = []
    if packages := missing_packages():
        found.append(f"missing: apt-get install {' '.join(packages)}")
    if world.find(name) is None:
        for folder in {cache.ROOT, world.STATE}:
            if (free := _free_gib(folder)) < DISK_GIB:
                found.append(f"too little disk for {folder}: {free:.1f} GiB free, {DISK_GIB} needed")
        if (memory := _available_gib()) < MEMORY_GIB:
            found.append(f"too little memory: {memory:.1f} GiB available, {MEMORY_GIB} needed")
        if not packages:
            try:
                world.free_addresses()
            except SandboxError as error:
                found.append(str(error))
    return found


def prepare(name: str) -> None:
    """Install what is missing, then raise SandboxError with every problem that is left."""
    need_root()
    if (packages := missing_packages()) and shutil.which("apt-get"):
        install(packages)
    if found := problems(name):
        raise SandboxError("\n".join(found))
