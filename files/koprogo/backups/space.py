"""Whether there is room for a deploy: full disks are the commonest death of a server, and a slow one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from koprogo.deploys.work import Work
from koprogo.docker import prune
from koprogo.problem import Problem

FLOOR = 1_000_000_000
"""Bytes that have to be free before a deploy adds anything; on a file system below 20 GB a share of it is enough."""
INODES = 10_000
"""The same for files."""
SHARE = 0.05

CONTAINERD = Path("/var/lib/containerd")
"""Where images are instead, if Docker leaves them to containerd."""


@dataclass(frozen=True)
class Room:
    """A file system. `files` is 0 where it has no limit for them."""

    path: Path
    size: int
    free: int
    files: int
    files_free: int

    def shortage(self) -> str | None:
        """Return what it lacks, or None."""
        wanted = min(FLOOR, self.size * SHARE)
        if self.free < wanted:
            return f"{self.path} has {_mb(self.free)} of {_mb(self.size)} MB free, and a deploy wants {_mb(wanted)}"
        wanted = min(INODES, self.files * SHARE)
        if self.files_free < wanted:
            return (
                f"{self.path} has room for {self.files_free} more files (inodes) of {self.files}, and a deploy wants "
                f"{wanted:.0f}"
            )
        return None


def _mb(size: float) -> str:
    return f"{size / 1e6:.{0 if size >= FLOOR / 100 else 1}f}"


def require(work: Work) -> None:
    """Raise Problem when there is too little room; old images of ours are removed first, if that may help."""
    try:
        places = _places(work)
    except Problem as problem:
        raise Problem(f"{problem} What runs goes on running; the next check tries again.") from None
    if shortage(places) is None:
        return
    prune.images(work)
    trouble = shortage(places)
    if trouble is not None:
        raise Problem(
            f"{trouble}. What runs goes on running; the next check tries again. "
            f"See what takes the room: `df -h`, `docker system df`."
        )


def lacking(work: Work) -> str | None:
    """Return what this server lacks for a deploy, or None; None too where nobody can tell."""
    try:
        return shortage(_places(work))
    except Problem:
        return None


def _places(work: Work) -> list[Path]:
    return [work.docker.root(), CONTAINERD, work.config.state_dir, work.config.checkout, work.config.backup_dir]


def shortage(places: Iterable[Path]) -> str | None:
    """Return what the first of these places lacks, or None."""
    return next((found for place in places if (found := look(place).shortage()) is not None), None)


def look(path: Path) -> Room:
    """Return the file system that `path` is on, or would be."""
    for place in (path, *path.parents):
        try:
            facts = os.statvfs(place)
        except OSError:
            # Not there yet, or in a folder that is closed to this user: it is the same file system as a rule.
            continue
        unit = facts.f_frsize
        return Room(path, facts.f_blocks * unit, facts.f_bavail * unit, facts.f_files, facts.f_favail)
    raise Problem(f"{path}: nobody can tell how much room there is.")
