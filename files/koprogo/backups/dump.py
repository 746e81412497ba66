"""One verified set: a dump of the whole database server and what belongs to it, written so that what counts is good.

A set is a group of files with one name, postgres_YYYYMMDD_HHMMSS: the dump (.sql.zst), the other parts (.env,
.VOLUME.tar.zst), and the manifest (.json), which describes all of them. The dump gets its name last: its appearance is
what makes a set.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koprogo import VERSION
from koprogo.backups import packing
from koprogo.backups.content import Content
from koprogo.problem import Problem
from koprogo.state import sync_directory, write_durably

SUFFIXES = (".sql.zst", ".sql.gz")
"""Of a dump; the second one is how they were written before."""
PARTIAL = ".postgres{}.partial"

LIMIT = 6 * 3600.0
"""Seconds that a dump may take: one that hangs must not keep every later one from being made."""


@dataclass(frozen=True)
class Origin:
    """Where a dump comes from, for its manifest."""

    container: str
    user: str
    postgres: str
    commit: str | None


@dataclass(frozen=True)
class Source:
    """What prints a dump."""

    argv: Sequence[str]
    origin: Origin
    limit: float = LIMIT
    """Seconds that it may take."""
    packed: bool = False
    """Whether it prints what zstd made of the dump, and not the dump."""


@dataclass(frozen=True)
class Other:
    """A part beside the dump, and how to write it."""

    suffix: str
    kind: str
    """"env" or "volume"."""
    write: Callable[[Path], None]
    volume: str = ""
    """What the compose file calls the volume."""
    service: str = ""
    """The one that it belongs to, where it was found by that."""


def write(source: Source, directory: Path, now: float, others: Sequence[Other] = ()) -> Path:
    """Keep what a pg_dumpall prints, and `others`, as a set in `directory`; returns the path of the dump.

    Raises Problem when anything at all is wrong; then nothing of it counts, and what a full disk or a kill leaves
    behind is cleared away by the next `koprogo backup`.
    """
    partial = {suffix: directory / PARTIAL.format(suffix) for suffix in (SUFFIXES[0], *(o.suffix for o in others))}
    dump = partial[SUFFIXES[0]]
    try:
        packing.pack(source.argv, dump, source.limit, packed=source.packed)
        content = inspect(dump)
        if (trouble := content.trouble()) is not None:
            raise Problem(f"The dump is not usable: {trouble}.")
        # After the dump: a file that a row of it speaks of was there before the row was.
        for other in others:
            other.write(partial[other.suffix])
        return _name(directory, partial, _manifest(source.origin, now, content), others, now)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}.") from None
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def inspect(path: Path) -> Content:
    """Read a compressed dump back from the disk, its checksum included; raises Problem when it is damaged."""
    content = Content()
    try:
        for piece in packing.unpack(path):
            content.add(piece)
    except packing.Hindered:
        raise
    except Problem as problem:
        raise Problem(f"The dump is not usable: {problem}") from None
    return content


def manifest_of(dump: Path) -> Path:
    """Return where the manifest of a dump is."""
    return dump.with_name(stem(dump.name) + ".json")


def stem(name: str) -> str:
    """Return the name of the set that a dump belongs to."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _manifest(origin: Origin, now: float, content: Content) -> dict[str, Any]:
    return {
        "file": "",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        "size": 0,
        "sha256": "",
        "uncompressed_size": content.size,
        "databases": content.databases,
        "rows": content.rows,
        "postgres": origin.postgres,
        "user": origin.user,
        "container": origin.container,
        "commit": origin.commit,
        "program": VERSION,
        "parts": [],
    }


def _name(
    directory: Path, partial: dict[str, Path], manifest: dict[str, Any], others: Sequence[Other], now: float
) -> Path:
    """Give everything its final name; returns that of the dump."""
    name, suffix = _free_name(directory, now), SUFFIXES[0]
    final = directory / (name + suffix)
    manifest |= {
        "file": final.name,
        "size": partial[suffix].stat().st_size,
        "sha256": packing.digest(partial[suffix]),
        "parts": [
            {
                "file": name + other.suffix,
                "kind": other.kind,
                "volume": other.volume,
                "service": other.service,
                "size": partial[other.suffix].stat().st_size,
                "sha256": packing.digest(partial[other.suffix]),
            }
            for other in others
        ],
    }
    for other in others:
        partial[other.suffix].replace(directory / (name + other.suffix))
    text = json.dumps(manifest, indent=1) + "\n"
    write_durably(manifest_of(final), text.encode(), 0o600)
    partial[suffix].replace(final)
    sync_directory(directory)
    return final


def _free_name(directory: Path, now: float) -> str:
    while True:
        name = time.strftime("postgres_%Y%m%d_%H%M%S", time.localtime(now))
        if not any(directory.glob(name + ".*")):
            return name
        # The hour that comes twice when summer time ends.
        now += 1
