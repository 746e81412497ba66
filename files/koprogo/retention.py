"""Which dumps there are, which of them count, and which may go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from koprogo.dump import manifest_of

NAME = re.compile(r"postgres_(\d{8})_(\d{6})\.sql\.gz")


@dataclass(frozen=True)
class Backup:
    """A dump that was verified when it was written, and has kept its size since."""

    path: Path
    day: str
    """YYYYMMDD, in the server's time zone."""
    size: int
    modified: float
    """Seconds since 1970."""


def verified(directory: Path) -> list[Backup]:
    """Return the dumps in `directory` that count, oldest first.

    What has no manifest, or not the size that the manifest says, is not ours to count nor to delete.
    """
    found = []
    for path in sorted(directory.glob("postgres_*.sql.gz")):
        match = NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            size = int(json.loads(manifest_of(path).read_bytes())["size"])
            facts = path.stat()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if facts.st_size == size:
            found.append(Backup(path, match.group(1), size, facts.st_mtime))
    return found


def expired(backups: Iterable[Backup], days: int) -> list[Backup]:
    """Return the backups that may be deleted: all but those of the newest `days` days that have one.

    Days without a good backup do not count: after a week of failures, the last good one is still there.
    """
    everything = list(backups)
    kept = sorted({backup.day for backup in everything}, reverse=True)[: max(days, 1)]
    return [backup for backup in everything if backup.day not in kept]
