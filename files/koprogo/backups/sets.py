"""A set as it lies on the disk: what its manifest says, which one somebody means, and whether all of it is whole."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koprogo.backups import packing
from koprogo.backups.content import Content
from koprogo.backups.dump import inspect, manifest_of, stem
from koprogo.problem import Problem

FOLDERS = ("", "before-deploys", "before-restores")
"""Inside the folder of the backups: those of every night, and those that are made before something is changed."""
NAME = re.compile(r"postgres_(\d{8})_\d{6}\.sql\.(?:zst|gz)")
"""Of a dump."""
NAMED = 8
"""How many sets to name to somebody who asked for one that there is not."""


@dataclass(frozen=True)
class Part:
    """One file of a set."""

    path: Path
    kind: str
    """"dump", "env" or "volume"."""
    size: int
    sha256: str
    volume: str = ""
    """What the compose file calls the volume."""
    service: str = ""
    """The one that the volume was found by, if it was."""


@dataclass(frozen=True)
class Set:
    """What the manifest of a set says."""

    name: str
    dump: Path
    parts: tuple[Part, ...]
    """The dump is the first one."""
    created: str
    postgres: str
    """As in `15.18 (Debian …)`."""
    user: str
    """The superuser."""
    commit: str | None
    uncompressed_size: int
    """Of the dump."""
    rows: Mapping[str, Mapping[str, int]] | None
    """By database and table; None where nobody counted them, as in sets of an earlier version of this program."""

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(part.size for part in self.parts)

    @property
    def total_rows(self) -> int:
        """In all tables of all databases."""
        return sum(sum(tables.values()) for tables in (self.rows or {}).values())

    def described(self) -> str:
        """Say which set it is, in a few words."""
        rows = "" if self.rows is None else f", {self.total_rows} rows"
        return f"Set {self.name} of {self.created} ({self.size / 1e6:.1f} MB{rows})"


def read(dump: Path) -> Set:
    """Return what the manifest of a dump says; raises Problem where there is none that can be read."""
    path = manifest_of(dump)
    try:
        data = json.loads(path.read_bytes())
        parts = [Part(dump, "dump", int(data["size"]), str(data.get("sha256", "")))]
        for other in data.get("parts", ()):
            file = dump.parent / Path(_text(other, "file")).name
            kind, volume, service = (_text(other, key) for key in ("kind", "volume", "service"))
            parts.append(Part(file, kind, int(other["size"]), str(other["sha256"]), volume, service))
        return Set(
            name=stem(dump.name),
            dump=dump,
            parts=tuple(parts),
            created=_text(data, "created"),
            postgres=_text(data, "postgres"),
            user=_text(data, "user") or "postgres",
            commit=_text(data, "commit") or None,
            uncompressed_size=int(data.get("uncompressed_size", 0)),
            rows=_rows(data.get("rows")),
        )
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Problem(f"{path} is damaged.") from None


def _text(data: Mapping[str, Any], key: str) -> str:
    """Return a text that a file or another program can be called by; raises ValueError where it is none."""
    found = str(data.get(key) or "")
    if b"\0" in os.fsencode(found):
        raise ValueError(key)
    return found


def _rows(counted: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, int]] | None:
    if counted is None:
        return None
    return {name: {table: int(rows) for table, rows in tables.items()} for name, tables in counted.items()}


def dumps(directory: Path) -> Iterator[Path]:
    """Yield the dumps of a folder, the newest first; what somebody else put there is none."""
    found = [path for path in directory.glob("postgres_*.sql.*") if NAME.fullmatch(path.name)]
    yield from sorted(found, key=lambda path: path.name, reverse=True)


def find(backup_dir: Path, name: str) -> Path:
    """Return the dump that somebody means: by its set's name, with or without `postgres_`; "" is the newest one.

    Only a set of the night can be the newest: those of before a change are there to be named. Raises Problem, which
    names those that there are.
    """
    wanted = name.rpartition("/")[2]
    wanted = stem(wanted).removeprefix("postgres_").removesuffix(".json")
    for folder in FOLDERS if name else FOLDERS[:1]:
        for path in dumps(backup_dir / folder):
            if not name or stem(path.name) == f"postgres_{wanted}":
                return path
    there = [f"\n  {path.relative_to(backup_dir)}" for folder in FOLDERS for path in dumps(backup_dir / folder)]
    listed = " There is:" + "".join(there[:NAMED]) if there else f" There is none in {backup_dir}."
    raise Problem(f"No such set: {name}.{listed}" if name else f"There is no set.{listed}")


def newest_good(backup_dir: Path) -> tuple[Set, list[str]]:
    """Return the newest set of the night that is whole, and what is wrong with those that are newer.

    A set that was damaged after it was written does not stand in the way of the one before. Raises Problem if none is,
    and where nobody can tell: an older set must not take the place of a good one.
    """
    troubles: list[str] = []
    for path in dumps(backup_dir):
        try:
            return verify(read(path)), troubles
        except packing.Hindered:
            raise
        except Problem as problem:
            troubles.append(str(problem))
    raise Problem(" ".join(["There is no set that is whole.", *troubles[:3]]))


def without_settings(found: Set) -> Set:
    """Return the same set, but for its .env."""
    return dataclasses.replace(found, parts=tuple(part for part in found.parts if part.kind != "env"))


def require_unchanged(found: Set) -> None:
    """Raise Problem when a part of a set is missing or not what the manifest describes."""
    for part in found.parts:
        try:
            size = part.path.stat().st_size
            if size != part.size:
                raise Problem(f"{part.path.name} has {size} bytes, and had {part.size} when it was written.")
            if part.sha256 and packing.digest(part.path) != part.sha256:
                raise Problem(f"{part.path.name} is not what was written: its SHA-256 is another.")
        except OSError as error:
            raise Problem(f"{part.path}: {error.strerror}.") from None


def verify(found: Set) -> Set:
    """Read all of a set, and return it; raises Problem when a part is damaged, or no backup."""
    require_unchanged(found)
    for part in found.parts:
        if part.kind == "volume":
            packing.require_tar(part.path)
    require_whole(found, inspect(found.dump))
    return found


def require_whole(found: Set, content: Content) -> None:
    """Raise Problem when `content`, all that a dump has, is no whole dump, or not what its manifest counted."""
    trouble = content.trouble()
    if trouble is None and found.rows is not None and content.rows != found.rows:
        trouble = "its rows are not those of its manifest"
    if trouble is not None:
        raise Problem(f"{found.dump.name} is not usable: {trouble}.")
