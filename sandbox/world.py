"""A sandbox: its name, its addresses, its folders, and what runs for it on the host."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from sandbox import cache, cgroups, network
from sandbox.errors import SandboxError
from sandbox.files import write_whole

STATE = Path("/var/lib/koprogo-sandbox")
RUN = Path("/run/koprogo-sandbox")
_NAME = re.compile(r"(?!builds$)[a-z0-9][a-z0-9-]{0,20}")
"""Of a sandbox: it becomes part of paths, of host names and of control groups, where templates have builds."""


@dataclass(frozen=True)
class World:
    """A sandbox. `index` decides its addresses: the /24 with this number of `range`, and fd77:77:77:<index>::/64."""

    name: str
    index: int
    range: str = network.RANGE

    @property
    def state(self) -> Path:
        """What stays: disks of machines, logs, the operator's folder."""
        return STATE / self.name

    @property
    def run(self) -> Path:
        """What does not outlive a boot of the host: process ids, sockets, requests."""
        return RUN / self.name

    @property
    def bridge(self) -> str:
        """The bridge on the host that all machines hang on."""
        return network.bridge_name(self.index)

    @property
    def subnet(self) -> IPv4Network:
        """Its IPv4 addresses."""
        return network.subnet(self.range, self.index)

    def ipv4(self, host: int) -> str:
        """The IPv4 address with this last number, e.g. 3 → 10.77.0.3."""
        return str(self.subnet[host])

    def ipv6(self, host: int) -> str:
        """The IPv6 address with this last number, written alike: 3 → fd77:77:77:0::3, 100 → …::100."""
        return f"{network.SIX}:{self.index}::{host}"

    def daemon(self, name: str, argv: list[str]) -> None:
        """Start a process on the host that lives as long as the sandbox; it runs already: nothing happens."""
        lock = self.run / "daemons" / name
        if holder(lock):
            return
        lock.parent.mkdir(parents=True, exist_ok=True)
        (self.state / "log").mkdir(parents=True, exist_ok=True)
        log = self.state / "log" / f"{name}.log"
        command = [sys.executable, "-m", "sandbox.daemon", self.name, str(lock), *argv]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        with log.open("ab") as output:
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        wait_for(lambda: holder(lock) is not None, 10, f"{name} did not start; see {log}")


def within(seconds: float, condition: Callable[[], object], pause: float = 0.05) -> bool:
    """Wait until `condition()` is true, for at most `seconds`; returns whether it came true. `pause`: between looks."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def wait_for(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until `condition()` is true, for at most `seconds`; then raise SandboxError(otherwise)."""
    if not within(seconds, condition):
        raise SandboxError(otherwise)


def holder(lock: Path) -> int | None:
    """The process that holds this lock file, or None. A process id alone could be another's after a crash."""
    if not lock.exists():
        return None
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: another look is no holder
        except BlockingIOError:
            return int(file.read().strip() or 0) or None
        return None


def _end(lock: Path, seconds: float) -> None:
    pid = holder(lock)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        within(seconds, lambda: holder(lock) is None)
        if (left := holder(lock)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
    lock.unlink(missing_ok=True)


def worlds() -> list[World]:
    """The sandboxes that exist on this host, running or left behind."""
    found = []
    for file in sorted(STATE.glob("*/world.json")):
        with contextlib.suppress(ValueError, TypeError, OSError):
            found.append(World(file.parent.name, **json.loads(file.read_text())))
    return found


def find(name: str) -> World | None:
    """The sandbox of this name, if there is one."""
    return next((world for world in worlds() if world.name == name), None)


def create(name: str) -> World:
    """Return the sandbox `name` with its network up; it is made if it isn't there."""
    check_name(name)
    with cache.locked(RUN / "lock"):
        world = find(name) or World(name, *free_addresses())
        world.state.mkdir(parents=True, exist_ok=True)
        write_whole(world.state / "world.json", json.dumps({"index": world.index, "range": world.range}))
        world.run.mkdir(parents=True, exist_ok=True)
        network.create(world.index, world.subnet)
    return world


def check_name(name: str) -> None:
    """Raise SandboxError for what is no name of a sandbox: `destroy` deletes the folders that are called so."""
    if not _NAME.fullmatch(name):
        raise SandboxError(f"{name!r} can't be the name of a sandbox: use a-z, 0-9 and -, at most 21, and not `builds`")


def free_addresses() -> tuple[int, str]:
    """The lowest index whose addresses nobody uses, and the range. Raises SandboxError that says who uses them."""
    taken = {world.index for world in worlds()}
    why, within_range = "every one is taken by a sandbox", network.chosen_range()
    for index in range(network.MOST):
        if index in taken or Path(f"/sys/class/net/{network.bridge_name(index)}").exists():
            continue
        subnet = network.subnet(within_range, index)
        reason = network.in_use(subnet)
        if reason is None:
            return index, within_range
        why = f"{subnet} is in use by {reason}"
    raise SandboxError(f"no free address range in {within_range}: {why}. Choose another: {network.EXAMPLE}")


def destroy(name: str) -> bool:
    """Remove every trace of a sandbox, whatever state a killed run left it in. Returns whether there was any."""
    check_name(name)
    world = find(name)
    leftovers = (STATE / name).exists() or (RUN / name).exists()
    if world is None and not leftovers:
        return False
    for lock in sorted((RUN / name / "daemons").glob("*")):
        _end(lock, 0 if lock.name.startswith("machine-") else 5)
    cgroups.kill(name)
    cache.remove_tree(STATE / name / "machines")
    with cache.locked(RUN / "lock"):
        if world is not None:
            network.remove(world.index, world.subnet, last=not [w for w in worlds() if w.name != name])
        cache.remove_tree(STATE / name)
        shutil.rmtree(RUN / name, ignore_errors=True)
    return True
