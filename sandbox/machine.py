"""A machine of the sandbox: its own systemd, network, control groups and disk, on an overlay of templates.

A supervisor process (supervisor.py) keeps it running through reboots; everything it mounts and the network namespace
are private to that process, so a killed one leaves none behind.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sandbox import cache, cgroups
from sandbox.errors import SandboxError
from sandbox.files import write_whole
from sandbox.world import World, find, holder, wait_for, within

BOOT_SECONDS = 120
"""How long a machine may take from its start until systemd says that it runs (busy two-core hosts included)."""

STOP_SECONDS = 60
"""How long a machine may take to shut down before its power is cut."""

DROPPED = ["sys_time", "sys_module", "sys_rawio", "wake_alarm"]
"""Capabilities no machine has: with them it could set the host's clock and load modules into the host's kernel."""

_WITHOUT = ",".join(f"-{name}" for name in DROPPED)

# Ends systemd in a container cleanly, as `systemctl poweroff` does (systemd(1), signals).
_POWER_OFF = signal.SIGRTMIN + 4
_ASK_AGAIN_SECONDS = 3


@dataclass
class Machine:
    """A machine. `layers` are templates, top first; `binds` are (folder here, path inside); `memory` is in bytes.

    With `docker`, /var/lib/docker and /var/lib/containerd are folders of the host's own file system, since Docker's
    overlay does not work on an overlay.
    """

    world: World
    name: str
    layers: list[Path]
    ipv4: str
    ipv6: str
    memory: int | None = None
    binds: list[tuple[Path, str]] = field(default_factory=list)
    hostname: str = ""
    docker: bool = False

    @property
    def folder(self) -> Path:
        """Its disk and its console log."""
        return self.world.state / "machines" / self.name

    @property
    def upper(self) -> Path:
        """What differs from the templates. Write here only while the machine is off; `mounted` is safer."""
        return self.folder / "upper"

    @property
    def console(self) -> Path:
        """What it printed on its console since it was made."""
        return self.folder / "console.log"

    @property
    def group(self) -> str:
        """Its control group below the sandbox's parent group."""
        return f"{self.world.name}/{self.name}"

    @property
    def mac(self) -> str:
        """A hardware address that stays the same through reboots."""
        digest = hashlib.sha256(f"{self.world.name}/{self.name}".encode()).hexdigest()
        return ":".join(["02", *(digest[i : i + 2] for i in range(0, 10, 2))])

    @property
    def leader(self) -> int | None:
        """The process id, on the host, of its init; None while it is off or just rebooting."""
        if not self.alive:
            return None
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.world.run / "leaders" / self.name).read_text())
            if Path(f"/proc/{pid}").exists():
                return pid
        return None

    @property
    def rootdir(self) -> Path:
        """Its root as the host sees it, while it runs."""
        leader = self.leader
        if leader is None:
            raise SandboxError(f"{self.name} is not running")
        return Path(f"/proc/{leader}/root")

    @property
    def _lock(self) -> Path:
        return self.world.run / "daemons" / f"machine-{self.name}"

    @property
    def alive(self) -> bool:
        """Whether it is on (which is true before it has booted)."""
        return holder(self._lock) is not None

    def save(self) -> None:
        """Write what it is made of, which `load` reads and the supervisor starts it from."""
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        record = asdict(self) | {"world": self.world.name}
        write_whole(self.folder / "machine.json", json.dumps(record, default=str, indent=1))

    def start(self, prepare: Callable[[Path], None] | None = None) -> None:
        """Turn it on; `prepare(root)` may change its files before it boots. It is on already: nothing happens."""
        if self.alive:
            return
        self.save()
        with self.mounted() as root:
            self._identity(root)
            if prepare:
                prepare(root)
        self.world.daemon(
            f"machine-{self.name}", [sys.executable, "-m", "sandbox.supervisor", self.world.name, self.name]
        )

    def _identity(self, root: Path) -> None:
        """Give it its name, and the sandbox's DNS server as the resolver."""
        hostname = self.hostname or self.name
        (root / "etc/hostname").write_text(hostname + "\n")
        hosts = f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
        if not (root / "etc/hosts").exists() or hostname not in (root / "etc/hosts").read_text():
            (root / "etc/hosts").write_text(hosts)
        resolver = root / "etc/resolv.conf"
        # Only once: the templates hold the resolver of the host that built them, the machine may change its own.
        if not resolver.is_symlink() and not (self.upper / "etc/resolv.conf").exists():
            resolver.write_text(f"nameserver {self.world.ipv4(3)}\n")
        (root / "root").mkdir(exist_ok=True)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Its root file system, mounted on the host while the machine is off."""
        if self.alive:
            raise SandboxError(f"{self.name} is running")
        root = self.folder / "root"
        mount_root(self, root)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)

    def wait_boot(self) -> None:
        """Wait until its systemd says that it is up. Raises SandboxError with the end of its console otherwise."""

        def up() -> bool:
            if not self.alive:
                raise SandboxError(f"{self.name} ended while booting; see {self.console}")
            done = self._run(["systemctl", "is-system-running"]) if self.leader else None
            return done is not None and done.stdout.strip() in {"running", "degraded"}

        wait_for(up, BOOT_SECONDS, f"{self.name} did not boot within {BOOT_SECONDS} s; see {self.console}")

    def _run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        leader = self.leader
        if leader is None:
            raise SandboxError(f"{self.name} is not running")
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/"]
        # A process that enters from the host brings the host's capabilities; it gets no more than the machine has.
        confine = ["setpriv", "--inh-caps=-all", f"--bounding-set={_WITHOUT}"]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [*enter, "--", *confine, "--", *command], capture_output=True, text=True, check=False, env=environment,
            preexec_fn=lambda: cgroups.enter_existing(self.group),  # must be this very process
            **options,
        )  # fmt: skip

    def run(
        self,
        command: list[str],
        *,
        check: bool = True,
        input: str | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root. With `check`, a failure raises SandboxError with what it printed."""
        done = self._run(command, input=input, timeout=timeout)
        if check and done.returncode:
            output = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise SandboxError(f"on {self.name}: {' '.join(command)} ended with {done.returncode}: {output}")
        return done

    def stop(self) -> None:
        """Shut it down as `poweroff` does; it is cut off if that takes longer than a minute."""
        asked = 0.0

        def off() -> bool:
            nonlocal asked
            # Again every few seconds: a machine that reboots just now has forgotten it when it is back.
            if time.monotonic() - asked > _ASK_AGAIN_SECONDS and (leader := self.leader):
                asked = time.monotonic()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(leader, _POWER_OFF)
            return not self.alive

        within(STOP_SECONDS, off)
        self.kill()

    def kill(self) -> None:
        """Cut its power."""
        if pid := holder(self._lock):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cgroups.kill(self.group)
        wait_for(lambda: not self.alive, 20, f"{self.name} can't be ended")
        self._lock.unlink(missing_ok=True)

    def destroy(self) -> None:
        """Cut its power and delete its disk."""
        self.kill()
        cache.remove_tree(self.folder)
        (self.world.run / "leaders" / self.name).unlink(missing_ok=True)

    def reset(self) -> None:
        """Throw away everything written since it was made (it must be off)."""
        for part in ("upper", "work", "docker", "containerd"):
            shutil.rmtree(self.folder / part, ignore_errors=True)


def mount_root(machine: Machine, root: Path) -> None:
    """Mount the overlay of a machine's templates and its own changes on `root`, in the caller's mount namespace."""
    lower = ":".join(str(layer) for layer in machine.layers)
    options = f"lowerdir={lower},upperdir={machine.upper},workdir={machine.folder / 'work'}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, root],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SandboxError(f"the disk of {machine.name} can't be mounted: {done.stderr.strip()}")


def load(world_name: str, name: str) -> Machine:
    """Return the machine that `save` wrote down. Raises SandboxError if there is none."""
    world = find(world_name)
    file = (world.state / "machines" / name / "machine.json") if world else None
    if world is None or file is None or not file.exists():
        raise SandboxError(f"the sandbox {world_name} has no machine {name}")
    record = json.loads(file.read_text())
    record["world"] = world
    record["layers"] = [Path(layer) for layer in record["layers"]]
    record["binds"] = [(Path(here), inside) for here, inside in record["binds"]]
    return Machine(**record)


def machines(world: World) -> list[Machine]:
    """The machines of a sandbox, running or not."""
    return [load(world.name, file.parent.name) for file in sorted(world.state.glob("machines/*/machine.json"))]
