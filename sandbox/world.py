"""A sandbox: its name, its addresses, its folders, and what runs for it on the host."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox import cache, cgroups, network
from sandbox.errors import SandboxError

STATE = Path("/var/lib/koprogo-sandbox")
RUN = Path("/run/koprogo-sandbox")
_MOST = 32


@dataclass(frozen=True)
class World:
    """A sandbox. `index` decides its addresses: 10.77.<index>.0/24 and fd77:77:77:<index>::/64."""

    name: str
    index: int

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

    def ipv4(self, host: int) -> str:
        """The IPv4 address with this last number, e.g. 3 → 10.77.0.3."""
        return str(network.subnet(self.index)[host])

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

    def end_daemon(self, name: str, seconds: float = 60) -> None:
        """Ask a process started by `daemon` to end, and kill it after `seconds`."""
        lock = self.run / "daemons" / name
        _end(lock, seconds)


def wait_for(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Wait until `condition()` is true, for at most `seconds`; then raise SandboxError(otherwise)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxError(otherwise)
        time.sleep(0.02)


def holder(lock: Path) -> int | None:
    """The process that holds this lock file, or None. A process id alone could be another's after a crash."""
    if not lock.exists():
        return None
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read().strip() or 0) or None
        return None


def _end(lock: Path, seconds: float) -> None:
    pid = holder(lock)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while holder(lock) and time.monotonic() < deadline:
            time.sleep(0.02)
        if (left := holder(lock)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(left, signal.SIGKILL)
    lock.unlink(missing_ok=True)


def worlds() -> list[World]:
    """The sandboxes that exist on this host, running or left behind."""
    found = []
    for file in sorted(STATE.glob("*/world.json")):
        with contextlib.suppress(ValueError, KeyError, OSError):
            found.append(World(file.parent.name, json.loads(file.read_text())["index"]))
    return found


def find(name: str) -> World | None:
    """The sandbox of this name, if there is one."""
    return next((world for world in worlds() if world.name == name), None)


def create(name: str) -> World:
    """Return the sandbox `name` with its network up; it is made if it isn't there."""
    with cache.locked(RUN / "lock"):
        world = find(name) or World(name, free_index())
        world.state.mkdir(parents=True, exist_ok=True)
        partial = world.state / "world.json.new"
        partial.write_text(json.dumps({"index": world.index}))
        partial.rename(world.state / "world.json")
        world.run.mkdir(parents=True, exist_ok=True)
        network.create(world.index)
    return world


def free_index() -> int:
    """The lowest index whose addresses nobody uses. Raises SandboxError that says who uses them."""
    taken = {world.index for world in worlds()}
    why = "every one is taken by a sandbox"
    for index in range(_MOST):
        if index in taken or Path(f"/sys/class/net/{network.bridge_name(index)}").exists():
            continue
        reason = network.in_use(index)
        if reason is None:
            return index
        why = f"{network.subnet(index)} is in use by {reason}"
    raise SandboxError(
        f"no free address range in {network.RANGE}: {why}. Choose another with KOPROGO_SANDBOX_NETWORK=10.x.0.0/16."
    )


def destroy(name: str) -> bool:
    """Remove every trace of a sandbox, whatever state a killed run left it in. Returns whether there was any."""
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
            network.remove(world.index, last=not [w for w in worlds() if w.name != name])
        cache.remove_tree(STATE / name)
        shutil.rmtree(RUN / name, ignore_errors=True)
    return True
