"""The folder of the sets: room for one more, what goes, and what was left behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from koprogo.backups import dump, space
from koprogo.backups.retention import Backup, verified
from koprogo.problem import Problem

LOCK = "backup.lock"
"""Of the state directory; whoever writes or deletes sets holds it."""

_LEFT = re.compile(r"(postgres_\d{8}_\d{6})\..+")


def require_room(directory: Path, like: Path | None = None) -> None:
    """Raise Problem where a set of the size of the last one would fill the disk, which the database is on as well.

    The last dump in `like` counts, too: the last set in `directory` may be of long ago.
    """
    last, other = verified(directory)[-1:], verified(like)[-1:] if like else []
    size = max([0, *(one.size for one in last), *(one.path.stat().st_size for one in other)])
    room = space.look(directory)
    reserve = min(space.FLOOR, room.size * space.SHARE)
    if room.free < size + reserve:
        raise Problem(
            f"{directory} has {room.free / 1e6:.1f} of {room.size / 1e6:.1f} MB free; the last set has "
            f"{size / 1e6:.1f} MB, and {reserve / 1e6:.1f} MB have to stay free."
        )


def clear(directory: Path) -> None:
    """Remove what a kill or a full disk left: a file that is written in part, or parts without their dump."""
    for part in directory.glob(".postgres*.partial"):
        part.unlink()
    for path in directory.glob("postgres_*.*"):
        match = _LEFT.fullmatch(path.name)
        if match and not any((directory / (match.group(1) + suffix)).exists() for suffix in dump.SUFFIXES):
            path.unlink()


def remove(old: Iterable[Backup], newest: Path) -> None:
    """Delete sets, now that `newest` is good: never that one, which a clock that was wrong may have made the oldest."""
    for backup in (one for one in old if one.path != newest):
        try:
            # The dump first: without it the rest is no set, and the next run clears it away.
            for path in (backup.path, dump.manifest_of(backup.path), *backup.others):
                path.unlink(missing_ok=path != backup.path)
        except OSError as error:
            raise Problem(
                f"Backup {newest} is good, but an old one could not be deleted: {backup.path}: {error.strerror}."
            ) from None
