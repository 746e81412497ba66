"""Which sets there are, which of them count, and which may go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from koprogo.backups import sets
from koprogo.backups.dump import stem
from koprogo.problem import Problem


@dataclass(frozen=True)
class Backup:
    """A set that was verified when it was written, and has kept its size since."""

    path: Path
    """Of the dump."""
    day: str
    """YYYYMMDD, in the server's time zone."""
    size: int
    """Of all parts, bytes."""
    modified: float
    """Seconds since 1970."""
    others: tuple[Path, ...] = ()
    """The other parts."""


def verified(directory: Path) -> list[Backup]:
    """Return the sets in `directory` that count, oldest first.

    What has no manifest, or a part that has not the size which the manifest says, is not ours to count nor to delete.
    """
    found = []
    for path in reversed([*sets.dumps(directory)]):
        try:
            parts = sets.read(path).parts
            sizes = [part.path.stat().st_size for part in parts]
            modified = path.stat().st_mtime
        except (Problem, OSError):
            continue
        if sizes == [part.size for part in parts]:
            others = tuple(part.path for part in parts if part.path != path)
            found.append(Backup(path, path.name.split("_")[1], sum(sizes), modified, others))
    return found


def expired(backups: Iterable[Backup], days: int, weeks: int = 0, months: int = 0, restored: str = "") -> list[Backup]:
    """Return the sets that may be deleted, of all those that count, oldest first.

    Kept are all of the newest `days` days that have one, and the last of each of the newest weeks and months that have
    one. Time without a good set does not count: after a week of failures, the last good one is still there. So is the
    set of the name `restored`, the last that a drill restored: whole dumps can be such that no server takes them.
    """
    everything = list(backups)
    kept = {backup.day for backup in everything if backup.day in _newest(everything, lambda day: day, max(days, 1))}
    last = [*_newest(everything, _week, weeks).values(), *_newest(everything, _month, months).values()]
    return [
        backup
        for backup in everything
        if backup.day not in kept and backup not in last and stem(backup.path.name) != restored
    ]


def _newest(backups: Iterable[Backup], period: Callable[[str], str], count: int) -> dict[str, Backup]:
    """Return the newest periods that have a set, and the last set of each."""
    last = {period(backup.day): backup for backup in backups}
    return {name: last[name] for name in sorted(last, reverse=True)[:count]}


def _week(day: str) -> str:
    return time.strftime("%G-%V", time.strptime(day, "%Y%m%d"))


def _month(day: str) -> str:
    return day[:6]
