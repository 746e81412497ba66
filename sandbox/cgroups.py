"""One control group per machine in every hierarchy, so that limits are real and ending a machine ends all of it."""

import contextlib
import os
import signal
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PARENT = "koprogo-sandbox"


def _unified() -> bool:
    """Whether this host has the one tree of cgroup v2 only."""
    return (_ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    return [_ROOT] if _unified() else [p for p in _ROOT.iterdir() if p.is_dir() and not p.is_symlink()]


def _enable_controllers(folder: Path) -> None:
    """In cgroup v2, pass the controllers on to the children of `folder`."""
    for name in ("cpu", "memory", "pids", "io", "cpuset"):
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{name}")


def create(group: str, memory: int | None) -> list[Path]:
    """Make the groups `group` (world/machine) with a limit of `memory` bytes; returns a folder per hierarchy."""
    folders = [_create(hierarchy, group) for hierarchy in _hierarchies()]
    for folder in folders:
        limit = folder / ("memory.max" if _unified() else "memory.limit_in_bytes")
        if memory is not None and limit.exists():
            limit.write_text(str(memory))
    return folders


def _create(hierarchy: Path, group: str) -> Path:
    # `kill` removes parents that have become empty: one may go between the making of it and of its child.
    for _ in range(20):
        with contextlib.suppress(FileNotFoundError):
            return _make(hierarchy, group)
    return _make(hierarchy, group)


def _make(hierarchy: Path, group: str) -> Path:
    folder = hierarchy
    for part in (_PARENT, *group.split("/")):
        if _unified():
            _enable_controllers(folder)
        folder = folder / part
        folder.mkdir(exist_ok=True)
        # A cpuset group takes no process before it has processors and memory nodes of its own.
        for name in ("cpuset.cpus", "cpuset.mems"):
            with contextlib.suppress(OSError):
                if not (folder / name).read_text().strip():
                    (folder / name).write_text((folder.parent / name).read_text())
    return folder


def enter(folders: list[Path]) -> None:
    """Move this process into the groups."""
    for folder in folders:
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def enter_existing(group: str) -> None:
    """Move this process into the groups of a machine that exists."""
    enter([f for h in _hierarchies() if (f := h / _PARENT / group).is_dir()])


def _groups(top: Path) -> list[Path]:
    """A group and those below it, parents first. One that goes away meanwhile is left out, where rglob would raise."""
    return [Path(folder) for folder, _, _ in os.walk(top)]


def _pids(folder: Path) -> set[int]:
    found: set[int] = set()
    for group in _groups(folder):
        with contextlib.suppress(OSError):
            found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    return found - {os.getpid(), 0}


def kill(group: str) -> None:
    """End every process of a group and of the groups below it, and remove them; none there is fine too."""
    for hierarchy in _hierarchies():
        top = hierarchy / _PARENT / group
        deadline = time.monotonic() + 20
        while top.is_dir() and time.monotonic() < deadline:
            for pid in _pids(top):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # A process that is just ending is listed no more and keeps its group busy for a moment.
            for folder in reversed(_groups(top)):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if top.is_dir():
                time.sleep(0.02)
        for folder in (top.parent, top.parent.parent):
            # Parents go with their last child; the hierarchy's own root can't be removed.
            with contextlib.suppress(OSError):
                folder.rmdir()
