"""What a health check remembers for the next one, on a disk that is full, and on one that nobody can write to, too.

Whatever happens to the disk, somebody is told of it once, and not never and not at every check.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from koprogo import log
from koprogo.health import flapping
from koprogo.health.flapping import Counted
from koprogo.health.watch import Alarm, News, Watch
from koprogo.problem import Problem
from koprogo.state import write_durably

FILE = "health.json"
ROOM = 32768
"""Bytes that the file has in any case: on a disk that is full it is written over, which needs no more of it."""
SPARE = Path("/dev/shm/koprogo")  # noqa: S108 - see `spare`
"""Where it is kept meanwhile on a disk that takes nothing: in the memory of the machine, until it is started again."""


@dataclass(frozen=True)
class Memory:
    """What is remembered from one check to the next."""

    watch: Watch = field(default_factory=Watch)
    unsent: tuple[News, ...] = ()
    out_of_memory: int = -1
    """How many programs the kernel had ended; -1 where nobody knows."""
    out_of_memory_at: float = 0
    """When that number grew last."""
    counted: tuple[Counted, ...] = ()
    """How often containers had restarted, by the checks of the last hour."""


def load(folder: Path) -> Memory:
    """Return what is remembered; nothing, if that is damaged: what is wrong will be found again."""
    return (_read(SPARE / FILE) if _ours(SPARE) else None) or _read(folder / FILE) or Memory()


def _read(path: Path) -> Memory | None:
    try:
        data = json.loads(path.read_bytes())
        alarms = tuple(Alarm(**alarm) for alarm in data["watch"]["alarms"])
        news = tuple(
            News(one["title"], tuple(one["lines"]), bool(one["good"]), float(one.get("at", time.time())))
            for one in data["unsent"]
        )
        noted = Watch(alarms, float(data["watch"]["said_at"]))
        counted = flapping.decode(data.get("counted", ()))
        return Memory(noted, news, int(data["out_of_memory"]), float(data["out_of_memory_at"]), counted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(folder: Path, memory: Memory) -> None:
    """Remember this. Where it cannot be, that is a line."""
    path, text = folder / FILE, json.dumps(dataclasses.asdict(memory), indent=1).encode() + b"\n"
    try:
        write_durably(path, text.ljust(ROOM), 0o640)
    except Problem as problem:
        if not _written_over(path, text):
            log.complain(str(problem))
            _save_elsewhere(text)
            return
    if _ours(SPARE):
        (SPARE / FILE).unlink(missing_ok=True)


def _save_elsewhere(text: bytes) -> None:
    try:
        write_durably(spare() / FILE, text, 0o600)
    except Problem as problem:
        log.complain(str(problem))


def spare() -> Path:
    """Return the folder for what the disk does not take; anybody may make one there, so it has to be this user's."""
    try:
        SPARE.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Problem(f"{SPARE}: {error.strerror}.") from None
    if not _ours(SPARE):
        raise Problem(f"{SPARE} is not this user's.")
    return SPARE


def _ours(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()


def unwritable(folder: Path) -> str | None:
    """Return why nothing can be written there; None where it can, or if the disk is full: that is told of by itself."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return None if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"{folder}: {error.strerror}"


def _written_over(path: Path, text: bytes) -> bool:
    """Write into the file that is there, if it has the room. A power cut meanwhile leaves a damaged one: see `load`."""
    try:
        with path.open("r+b") as file:
            room = path.stat().st_size
            if len(text) > room:
                return False
            file.write(text.ljust(room))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True
