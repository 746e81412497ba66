"""`koprogo offsite upload`: the sets that are not stored elsewhere so far, read back before they count."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from koprogo import log
from koprogo.backups import backup_state, dump, offsite, recovery, sets
from koprogo.backups.backup_state import Run
from koprogo.backups.offsite_store import Store
from koprogo.backups.retention import verified
from koprogo.backups.sets import Set
from koprogo.config import Config
from koprogo.problem import Problem, words
from koprogo.state import write_durably

VERIFIED = "offsite.json"
"""In the state directory: the sets that were read back from the store, and the snapshots that they are in."""


@dataclass
class _Copies:
    """How far an upload came."""

    good: dict[str, str] = field(default_factory=dict)
    """The sets that are stored and were read back, and their snapshots."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with sets of here, which are not stored for that."""
    at: str = ""
    """The set that it is at."""


def upload(config: Config) -> int:
    """Store the sets of the night that are not stored so far, and read them back; returns the exit code.

    Raises Problem, which is remembered too; the sets here are as good as before.
    """
    if (waiting := recovery.pending(config)) and "done" not in waiting:
        log.say(f"Nothing is stored off-site: this server still has to get the data of {waiting['set']}.")
        return 0
    began, copies = time.monotonic(), _Copies()

    def note(problem: str = "") -> None:
        run = Run(time.time(), time.monotonic() - began, copies.at, problem)
        backup_state.note_if_possible(config.state_dir, "upload", run)

    try:
        _add(config, copies, began)
    except (Problem, OSError) as error:
        said = f"No copy is off-site of {copies.at or 'the newest set'}: {words(error)} What is here is as it was."
        note(said)
        raise Problem(said) from None
    copies.at = max(copies.good, default="")
    if copies.at:
        note()
    if copies.damaged:
        said = f"Not stored off-site, being damaged here: {' '.join(copies.damaged)}"
        note(said)
        raise Problem(said)
    return 0


def _add(config: Config, copies: _Copies, began: float) -> None:
    """Store what is missing, the newest first, and note in `copies` how far that came."""
    # To wait is better than to have no copy of this night, because somebody looked at the list of them just then.
    with offsite.alone(config, wait=True) as store:
        store.unlock()
        stored, before = offsite.stored_sets(store), offsite.remembered(config.state_dir / VERIFIED)
        here = [sets.read(each.path) for each in verified(config.backup_dir)]
        copies.good = {
            each.name: before[each.name] for each in here if before.get(each.name) in stored.get(each.name, ())
        }
        for found in reversed(here):
            if found.name in copies.good:
                continue
            copies.at = found.name
            try:
                sets.require_unchanged(found)
            except Problem as problem:
                copies.damaged.append(str(problem))
                continue
            copies.good[found.name] = _store(store, found, stored.get(found.name, []))
            write_durably(config.state_dir / VERIFIED, json.dumps(copies.good, indent=1).encode(), 0o640)
            log.say(f"Stored {found.name} off-site and read it back ({time.monotonic() - began:.0f} s).")


def _store(store: Store, found: Set, there: list[str]) -> str:
    """Store a set, unless the last snapshot of it can be read back, and read it back; returns the snapshot."""
    files = [*(part.path for part in found.parts), dump.manifest_of(found.dump)]
    if there:
        try:
            _read_back(store, there[-1], files)
            return there[-1]
        except Problem as problem:
            log.complain(f"{found.name} is stored, and not as it is here; storing it again. {problem}")
    names, made = [path.name for path in files], _moment(found.name, len(there))
    snapshot = store.save(found.dump.parent, names, found.name, made, offsite.limit(found.size))
    try:
        _read_back(store, snapshot, files)
    except Problem as problem:
        raise Problem(
            f"the store said that it had saved everything, and gives it back otherwise. {problem} If it stays so, from "
            f"the operator's machine: make offsite-tidy."
        ) from None
    return snapshot


def _moment(name: str, copies: int) -> str:
    """Return when a set was made, a second later for each copy that there is.

    By it restic tells which copies of a day are the last: the newest set has to be, in whatever order they were stored.
    """
    made = time.mktime(time.strptime(name, "postgres_%Y%m%d_%H%M%S"))
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made + copies))


def _read_back(store: Store, snapshot: str, files: list[Path]) -> None:
    for path in files:
        try:
            _compare(store, snapshot, path)
        except Problem:
            # The owner may have tidied up just then: the indexes that were being read are gone, and others are there.
            _compare(store, snapshot, path)


def _compare(store: Store, snapshot: str, path: Path) -> None:
    ours, theirs = hashlib.sha256(), hashlib.sha256()
    with store.read(snapshot, path.name, offsite.limit(path.stat().st_size)) as pieces, path.open("rb") as file:
        for piece in pieces:
            theirs.update(piece)
            ours.update(file.read(len(piece)))
        more = file.read(1)
    if more or ours.digest() != theirs.digest():
        raise Problem(f"{path.name} is not what is here.")
