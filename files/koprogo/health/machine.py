"""The machine that all this runs on: memory, inodes, load, units, clock, as the kernel and systemd tell it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from koprogo.problem import Problem
from koprogo.runner import Runner

PROC = Path("/proc")
REBOOT = Path("/run/reboot-required")
"""Made by packages that want a reboot, on Ubuntu and, with unattended-upgrades, on Debian."""


@dataclass(frozen=True)
class Machine:
    """Facts only. Shares are 0 to 1."""

    memory_free: float
    """The share of the memory that programs can still have."""
    swap_used: float
    inodes_used: float
    """On the file system that has the least left."""
    load: float
    """Programs that want to run, for each processor, over the last 15 minutes."""
    out_of_memory: int
    """How many programs the kernel has ended for want of memory since it started."""
    failed_units: tuple[str, ...] = ()
    reboot_since: float | None = None
    """Since when a reboot is wanted, seconds since 1970."""
    clock_adrift: bool = False
    """Whether the clock should be kept right by a time server, and is not."""


def look(runner: Runner, folders: list[Path], proc: Path = PROC) -> Machine:
    """Look once. What cannot be read counts as well: another system may not have it."""
    memory = _numbers(proc / "meminfo", r"(\w+):\s+(\d+)")
    total, swap = memory.get("MemTotal", 0), memory.get("SwapTotal", 0)
    return Machine(
        memory_free=memory.get("MemAvailable", total) / total if total else 1,
        swap_used=(swap - memory.get("SwapFree", swap)) / swap if swap else 0,
        inodes_used=max(map(_inodes, folders), default=0),
        load=os.getloadavg()[2] / (os.cpu_count() or 1),
        out_of_memory=_numbers(proc / "vmstat", r"(oom_kill) (\d+)").get("oom_kill", 0),
        failed_units=_failed(runner),
        reboot_since=REBOOT.stat().st_mtime if REBOOT.exists() else None,
        clock_adrift=_adrift(runner),
    )


def _numbers(path: Path, pattern: str) -> dict[str, int]:
    try:
        return {name: int(value) for name, value in re.findall(pattern, path.read_text())}
    except OSError:
        return {}


def _inodes(folder: Path) -> float:
    facts = os.statvfs(folder)
    return (facts.f_files - facts.f_favail) / facts.f_files if facts.f_files else 0  # btrfs counts none


def _failed(runner: Runner) -> tuple[str, ...]:
    said = _said(runner, "systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager")
    return tuple(line.split()[0] for line in said.splitlines() if line.strip())


def _adrift(runner: Runner) -> bool:
    facts = dict(line.split("=", 1) for line in _said(runner, "timedatectl", "show").splitlines() if "=" in line)
    return facts.get("NTP") == "yes" and facts.get("NTPSynchronized") == "no"


def _said(runner: Runner, *argv: str) -> str:
    try:
        result = runner.run(list(argv), timeout=10)
    except Problem:
        return ""
    return result.out if result.ok else ""
