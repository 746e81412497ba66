"""Keep one machine running: `python -m sandbox.supervisor WORLD MACHINE`, started by Machine.start.

The mounts live in this process' own mount namespace and the network in a namespace that ends with the machine: both
are gone when this process is, however it ends.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from sandbox import cgroups
from sandbox.files import write_whole
from sandbox.machine import DROPPED, Machine, load, mount_root
from sandbox.network import ip
from sandbox.world import wait_for

_REBOOT = 133
"""systemd-nspawn ends with this code when the machine asked to be rebooted."""

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000
_ATTEMPTS, _EARLY = 2, 3.0
_INTERFACE = "ens3"

# Writable control groups have to be there before systemd starts, or it does not enforce its units' limits.
# The kernel counts the programs that it ended for want of memory for all machines together; a machine that had one of
# its own would not know of those of others.
_INIT = """for c in /sys/fs/cgroup/*/; do mount -o remount,rw,bind "$c" 2>/dev/null; done
sed 's/^oom_kill .*/oom_kill 0/' /proc/vmstat > /run/vmstat && mount --bind /run/vmstat /proc/vmstat
exec /lib/systemd/systemd"""

_DROPPED = ",".join(f"CAP_{name.upper()}" for name in DROPPED)


def _dies_with_parent(groups: list[Path] | None = None) -> Callable[[], None]:
    """What a child does before it becomes another program: end when this process ends, and enter its groups."""

    def prepare() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if groups:
            cgroups.enter(groups)

    return prepare


def _network(machine: Machine, holder: int) -> None:
    """Connect the namespace of process `holder` with the bridge, and give it the machine's addresses."""
    world = machine.world
    outside = f"k{world.index}{machine.mac.replace(':', '')[2:]}"
    ip("link", "del", outside, check=False)
    ip(
        "link",
        "add",
        outside,
        "type",
        "veth",
        "peer",
        "name",
        _INTERFACE,
        "address",
        machine.mac,
        "netns",
        str(holder),
    )
    ip("link", "set", outside, "master", world.bridge, "up")
    inside = ["nsenter", f"--target={holder}", "--net", "ip"]
    for arguments in (
        ["link", "set", "lo", "up"],
        ["link", "set", _INTERFACE, "up"],
        ["addr", "add", f"{machine.ipv4}/24", "dev", _INTERFACE],
        ["addr", "add", f"{machine.ipv6}/64", "dev", _INTERFACE, "nodad"],
        ["route", "add", "default", "via", world.ipv4(1)],
        ["-6", "route", "add", "default", "via", world.ipv6(1)],
    ):
        subprocess.run([*inside, *arguments], check=True)


def _nspawn(machine: Machine, holder: int) -> list[str]:
    """The command that boots the machine."""
    binds = [f"--bind={here}:{inside}" for here, inside in machine.binds]
    if machine.docker:
        for name in ("docker", "containerd"):
            (machine.folder / name).mkdir(exist_ok=True)
            binds.append(f"--bind={machine.folder / name}:/var/lib/{name}")
    return [
        "systemd-nspawn", "-q", "-D", str(machine.folder / "root"), "--kill-signal=SIGRTMIN+3",
        f"--machine={machine.world.name}-{machine.name}", "--register=no", "--keep-unit",
        f"--network-namespace-path=/proc/{holder}/ns/net", "--resolv-conf=off", "--timezone=off", "--console=read-only",
        "--capability=all", f"--drop-capability={_DROPPED}", "--system-call-filter=add_key keyctl bpf", *binds,
        "/bin/sh", "-c", _INIT,
    ]  # fmt: skip


def _leader_of(nspawn: int) -> int | None:
    """The machine's init: the one child of systemd-nspawn that runs in a process namespace of its own."""
    own = Path("/proc/self/ns/pid").readlink()
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split():
            if Path(f"/proc/{child}/ns/pid").readlink() != own:
                return int(child)
    return None


def _boot(machine: Machine) -> int:
    """Run the machine until it ends; returns the exit code of systemd-nspawn."""
    groups = cgroups.create(machine.group, machine.memory)
    # A new network namespace at every boot: rules and bridges of the last one must not survive a "reboot".
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE,
        preexec_fn=_dies_with_parent(),  # noqa: PLW1509  # no threads here
    ) as holder, machine.console.open("ab") as console:  # fmt: skip
        try:
            if holder.stdout is not None:
                holder.stdout.readline()
            _network(machine, holder.pid)
            nspawn = subprocess.Popen(
                _nspawn(machine, holder.pid), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                preexec_fn=_dies_with_parent(groups),  # noqa: PLW1509  # no threads here
            )  # fmt: skip
            _note_leader(machine, nspawn)
            return nspawn.wait()
        finally:
            holder.kill()


def _note_leader(machine: Machine, nspawn: "subprocess.Popen[bytes]") -> None:
    file = machine.world.run / "leaders" / machine.name
    file.parent.mkdir(parents=True, exist_ok=True)
    found: list[int] = []

    def there() -> bool:
        leader = _leader_of(nspawn.pid)
        found.extend([leader] if leader else [])
        return bool(leader) or nspawn.poll() is not None

    wait_for(there, 30, f"systemd-nspawn did not start {machine.name}")
    if found:
        write_whole(file, str(found[-1]))


def main() -> None:
    """Mount, boot, boot again after each reboot, until the machine is powered off or this process is told to end."""
    machine = load(sys.argv[1], sys.argv[2])
    ending = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        if leader := machine.leader:
            os.kill(leader, signal.SIGRTMIN + 4)

    signal.signal(signal.SIGTERM, end)
    _own_mounts(machine)
    attempts = 1
    while not ending:
        started = time.monotonic()
        code = _boot(machine)
        cgroups.kill(machine.group)
        print(f"systemd-nspawn ended with {code}", flush=True)
        if code not in {0, _REBOOT}:
            # Seen once in hundreds of starts: it lost its control group while it was being set up. Once more is enough.
            if attempts == _ATTEMPTS or time.monotonic() - started > _EARLY:
                break
            attempts += 1
        elif code != _REBOOT:
            break
        time.sleep(0.2)


def _own_mounts(machine: Machine) -> None:
    """Enter a mount namespace that ends with this process, and mount the machine's disk there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        sys.exit(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # systemd-nspawn leaves locks and folders here when it is killed.
    Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd/nspawn"], check=True)
    mount_root(machine, machine.folder / "root")


if __name__ == "__main__":
    main()
