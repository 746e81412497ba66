"""`koprogo offsite`: encrypted copies of the sets elsewhere, read back before they count, and brought home again.

This server adds copies and never takes one away. What it may do in the store should be no more than that (see
docs/offsite.md): whoever takes the server over has its keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from koprogo import lock, log
from koprogo.backups import backup_folder, backup_state, dump, offsite_store, sets, space
from koprogo.backups.backup_state import Run
from koprogo.backups.offsite_store import NoRepository, Store
from koprogo.backups.sets import Set
from koprogo.config import Config
from koprogo.problem import Problem, words
from koprogo.state import sync_directory, write_durably

LOCK = "offsite.lock"
READY = "offsite-ready.json"
"""In the state directory: the repository that this server's key and the recovery key open. No secrets."""
PATIENCE = 1800.0
"""Seconds that a store gets at least for one set, or one file of it: restic tries again for 15 minutes by itself."""
SLOWEST = 50_000
"""Bytes a second; for what is large, it gets more."""
CHECK_LIMIT = 6 * 3600.0
SHARES = 8
"""So many weekly checks read all that is stored."""
WEEK = 7 * 86400
MANIFEST_LIMIT = 1 << 24

_OTHERWISE = "What is stored is not what its manifest describes."
_SET = re.compile(r"postgres_\d{8}_\d{6}")


def check(config: Config) -> int:
    """Let restic check what is stored, an eighth of all data with it; returns the exit code. Raises Problem."""
    began = time.monotonic()
    share = int(time.time() // WEEK) % SHARES + 1

    def note(problem: str = "") -> None:
        run = Run(time.time(), time.monotonic() - began, problem=problem)
        backup_state.note_if_possible(config.state_dir, "offsite_check", run)

    try:
        with alone(config, wait=True) as store:
            store.unlock()
            store.run("check", f"--read-data-subset={share}/{SHARES}", limit=CHECK_LIMIT)
    except (Problem, OSError) as error:
        note(words(error))
        raise Problem(f"What is stored off-site is not whole, or cannot be read: {words(error)}") from None
    note()
    log.say(f"What is stored off-site is whole; part {share} of {SHARES} of the data was read.")
    return 0


def show(config: Config) -> int:
    """List the sets that are stored, the newest first; returns the exit code."""
    with alone(config) as store:
        found = sorted(stored_sets(store), reverse=True)
    for name in found:
        print(name)
    if not found:
        log.say("Nothing is stored off-site.")
    return 0


def fetch(config: Config, name: str) -> str:
    """Bring a stored set here, the newest if none is named, and verify it; returns its name. Raises Problem."""
    with alone(config) as store, _no_backup(config):
        stored = stored_sets(store)
        wanted = choose(stored, name)
        try:
            found = _bring(config, store, wanted, stored[wanted][-1])
        except Problem as problem:
            older = max((each for each in stored if each < wanted), default="")
            hint = f" The one before it has to be named: {older} (make restore SET={older})" if older else ""
            raise Problem(f"{wanted} was not fetched. {problem}{hint}") from None
    log.say(f"{found.described()} is here and whole.")
    return found.name


def setup(config: Config) -> int:
    """See to it that this server's key and the recovery key open the repository; returns the exit code.

    It is made where there is none. Standard input has {"recovery": the recovery key}, which is not kept here.
    """
    try:
        recovery = json.load(sys.stdin)["recovery"]
        # What restic would read from its file otherwise than from its environment would open nothing.
        if not recovery or recovery != recovery.strip() or not recovery.isprintable():
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem('Standard input has to be {"recovery": "…"}; deploy.py does this.') from None
    with alone(config) as own:
        theirs = own.with_password(recovery)
        try:
            if own.is_open():
                if not theirs.is_open():
                    own.add_key(recovery)
            elif theirs.is_open():
                theirs.add_key(own.password)
            else:
                raise Problem(
                    f"{own.there.repository} holds copies that neither this server's key opens nor the recovery key. "
                    f"Put the recovery key of those copies beside .env, or another path in BACKUP_OFFSITE_REPOSITORY."
                )
        except NoRepository:
            own.init()
            own.add_key(recovery)
        if not (own.is_open() and theirs.is_open()):
            raise Problem("The store said that it had saved a key, and does not have it.")
        ready = {"repository": own.there.repository, "recovery": fingerprint(recovery)}
        write_durably(config.state_dir / READY, json.dumps(ready).encode(), 0o640)
    log.say(f"{ready['repository']}: two keys open it, that of this server and the recovery key.")
    return 0


def fingerprint(recovery: str) -> str:
    """Return what tells one recovery key from another, and nothing about it: it is 256 random bits."""
    return hashlib.sha256(recovery.encode()).hexdigest()


def since(config: Config) -> float | None:
    """Return since when this server is able to store copies, in seconds since 1970; None where none are wanted.

    Where that never came to be: since 1970.
    """
    if config.offsite_file is None:
        return None
    try:
        return (config.state_dir / READY).stat().st_mtime
    except OSError:
        return 0.0


def stored_sets(store: Store) -> dict[str, list[str]]:
    """Return the snapshots of each set that is stored, the last one last."""
    found: dict[str, list[str]] = {}
    for each in store.snapshots():
        if name := _name_of(each):
            found.setdefault(name, []).append(str(each["id"]))
    return found


def choose(stored: Mapping[str, list[str]], name: str) -> str:
    """Return the name of the set that somebody means; "" is the newest one."""
    if not stored:
        raise Problem("Nothing is stored off-site. Is BACKUP_OFFSITE_REPOSITORY in .env the place of the copies?")
    wanted = f"postgres_{bare(name)}" if name else max(stored)
    if wanted not in stored:
        there = ", ".join(sorted(stored, reverse=True)[: sets.NAMED])
        raise Problem(f"No such set is stored off-site: {name}. There is: {there}")
    return wanted


def _bring(config: Config, store: Store, name: str, snapshot: str) -> Set:
    """Return a stored set once it is here and verified by its own manifest."""
    directory = config.backup_dir
    for path in sets.dumps(directory):
        if dump.stem(path.name) == name:
            try:
                return sets.verify(sets.read(path))
            except Problem as problem:
                log.complain(f"{name} is here, and damaged; taking the stored one. {problem}")
    with store.read(snapshot, f"{name}.json", PATIENCE) as pieces:
        text = b"".join(_bounded(pieces, MANIFEST_LIMIT, f"{name}.json, as it is stored, is no manifest."))
    hashes = _files(name, text)
    _require_room(directory, sum(size for size, _ in hashes.values()))
    partial = {file: directory / dump.PARTIAL.format(file.removeprefix(name)) for file in hashes}
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for file, (size, digest) in hashes.items():
            with store.read(snapshot, file, limit(size)) as pieces:
                came = _write(_bounded(pieces, size, _OTHERWISE), partial[file])
            # Not before restic has ended: what it could not read to the end is not stored otherwise for that.
            if came != digest:
                raise Problem(_OTHERWISE)
        # The dump gets its name last, which makes a set.
        first, *others = hashes
        for file in others:
            partial[file].replace(directory / file)
        write_durably(directory / f"{name}.json", text, 0o600)
        partial[first].replace(directory / first)
        sync_directory(directory)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}.") from None
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    try:
        return sets.verify(sets.read(directory / first))
    except Problem:
        # Else it would count: it has the sizes that its manifest says.
        (directory / first).unlink(missing_ok=True)
        backup_folder.clear(directory)
        raise


def _files(name: str, manifest: bytes) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file that a manifest names, the dump first; none outside the set's own name."""
    try:
        data = json.loads(manifest)
        found = {str(each["file"]): (int(each["size"]), str(each["sha256"])) for each in (data, *data.get("parts", ()))}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Problem(f"{name}.json, as it is stored, is no manifest.") from None
    for file in found:
        if not re.fullmatch(re.escape(name) + r"\.[\w.-]+", file):
            raise Problem(f"{name}.json, as it is stored, names a file that is none of its own.")
    return found


def limit(size: int) -> float:
    """Return how many seconds the store gets for so many bytes."""
    return PATIENCE + size / SLOWEST


def _write(pieces: Iterator[bytes], target: Path) -> str:
    """Write these pieces, to the disk; returns their SHA-256."""
    seen = hashlib.sha256()
    with target.open("wb") as file:
        target.chmod(0o600)
        for piece in pieces:
            seen.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return seen.hexdigest()


def _bounded(pieces: Iterator[bytes], most: int, otherwise: str) -> Iterator[bytes]:
    """Yield these pieces; raises Problem, which says `otherwise`, before there are more than `most` bytes."""
    for piece in pieces:
        most -= len(piece)
        if most < 0:
            raise Problem(otherwise)
        yield piece


def _require_room(directory: Path, size: int) -> None:
    room = space.look(directory)
    reserve = min(space.FLOOR, room.size * space.SHARE)
    if room.free < size + reserve:
        raise Problem(
            f"{directory} has {room.free / 1e6:.1f} MB free; the set has {size / 1e6:.1f} MB, and {reserve / 1e6:.1f} "
            f"MB have to stay free."
        )


@contextmanager
def alone(config: Config, *, wait: bool = False) -> Iterator[Store]:
    """The store, for one run at a time. Raises Problem where none is set; or, not to `wait`, another run is at it."""
    there = offsite_store.place(config)
    if there is None:
        raise Problem("No copies are kept off-site: BACKUP_OFFSITE_REPOSITORY in .env says where to, and deploy.py.")
    path = config.state_dir / LOCK
    if wait and lock.held(path):
        log.say("Another run is at work with the off-site copies; waiting for it to end.")
    try:
        with lock.exclusive(path, wait=wait):
            yield Store(config, there)
    except lock.Busy:
        raise Problem("Another run is at work with the off-site copies; nothing was done.") from None


@contextmanager
def _no_backup(config: Config) -> Iterator[None]:
    try:
        with lock.exclusive(config.state_dir / backup_folder.LOCK, wait=False):
            yield
    except lock.Busy:
        raise Problem("A backup or a restore is at work. Try again when it has ended.") from None


def _name_of(snapshot: Mapping[str, Any]) -> str:
    tags = [str(tag) for tag in snapshot.get("tags") or () if _SET.fullmatch(str(tag))]
    return tags[0] if tags else ""


def bare(name: str) -> str:
    """Return the date and time that a set is called by, of whatever somebody typed."""
    return dump.stem(name.rpartition("/")[2]).removeprefix("postgres_").removesuffix(".json")


def remembered(path: Path) -> dict[str, Any]:
    """Return what a file of JSON holds; nothing, if it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
