"""`koprogo offsite`: encrypted copies of the sets elsewhere, read back before they count, and brought home again.

This server adds copies and never takes one away. What it may do in the store should be no more than that (see
docs/offsite.md): whoever takes the server over has its keys.
"""

from __future__ import annotations

import hashlib
import json
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
from koprogo.backups.retention import verified
from koprogo.backups.sets import Set
from koprogo.config import Config
from koprogo.problem import Problem
from koprogo.state import FILE as STATE
from koprogo.state import sync_directory, write_durably

LOCK = "offsite.lock"
VERIFIED = "offsite.json"
"""In the state directory: the sets that were read back from the store, and the snapshots that they are in."""
READY = "offsite-ready.json"
"""In the state directory: the repository that this server's key and the recovery key open. No secrets."""
RECOVERY = "recovery.json"
"""In the state directory of a server that takes the place of a lost one: the set that it shall have."""
PATIENCE = 1800.0
"""Seconds that a store gets at least for one set, or one file of it: restic tries again for 15 minutes by itself."""
SLOWEST = 50_000
"""Bytes a second; for what is large, it gets more."""
CHECK_LIMIT = 6 * 3600.0
SHARES = 8
"""So many weekly checks read all that is stored."""
WEEK = 7 * 86400
MANIFEST_LIMIT = 1 << 24

_SET = re.compile(r"postgres_\d{8}_\d{6}")


def upload(config: Config) -> int:
    """Store the sets of the night that are not stored so far, and read them back; returns the exit code.

    Raises Problem, which is remembered too; the sets here are as good as before.
    """
    if (pending := _recovery(config)) and "done" not in pending:
        log.say(f"Nothing is stored off-site: this server still has to get the data of {pending['set']}.")
        return 0
    began, name = time.monotonic(), ""
    try:
        with _alone(config) as store:
            store.unlock()
            stored = {_name_of(each): str(each["id"]) for each in store.snapshots()}
            here = [sets.read(each.path) for each in verified(config.backup_dir)]
            before = _json(config.state_dir / VERIFIED)
            good = {each.name: before[each.name] for each in here if before.get(each.name) in stored.values()}
            for found in reversed(here):
                if found.name not in good:
                    name = found.name
                    good[name] = _store(store, found, stored.get(name))
                    write_durably(config.state_dir / VERIFIED, json.dumps(good, indent=1).encode(), 0o640)
                    log.say(f"Stored {name} off-site and read it back ({time.monotonic() - began:.0f} s).")
    except (Problem, OSError) as error:
        problem = Problem(f"No copy is off-site of {name or 'the newest set'}: {error} The sets here are whole.")
        _note(config, "upload", Run(time.time(), time.monotonic() - began, name, str(problem)))
        raise problem from None
    newest = here[-1].name if here else ""
    _note(config, "upload", Run(time.time(), time.monotonic() - began, newest))
    return 0


def check(config: Config) -> int:
    """Let restic check what is stored, an eighth of all data with it; returns the exit code. Raises Problem."""
    began = time.monotonic()
    share = int(time.time() // WEEK) % SHARES + 1
    try:
        with _alone(config) as store:
            store.unlock()
            store.run("check", f"--read-data-subset={share}/{SHARES}", limit=CHECK_LIMIT)
    except Problem as problem:
        _note(config, "offsite_check", Run(time.time(), time.monotonic() - began, "", str(problem)))
        raise Problem(f"What is stored off-site is not whole, or cannot be read: {problem}") from None
    _note(config, "offsite_check", Run(time.time(), time.monotonic() - began))
    log.say(f"What is stored off-site is whole; part {share} of {SHARES} of the data was read.")
    return 0


def show(config: Config) -> int:
    """List the sets that are stored, the newest first; returns the exit code."""
    with _alone(config) as store:
        found = sorted(store.snapshots(), key=_name_of, reverse=True)
    for each in found:
        print(f"{_name_of(each)}  stored {str(each['time'])[:16].replace('T', ' ')} UTC")
    if not found:
        log.say("Nothing is stored off-site.")
    return 0


def fetch(config: Config, name: str) -> str:
    """Bring a stored set here, the newest if none is named, and verify it; returns its name. Raises Problem."""
    with _alone(config) as store, _no_backup(config):
        wanted = _choose(store, name)
        found = _bring(config, store, *wanted)
    log.say(f"{found.described()} is here and whole.")
    return found.name


def setup(config: Config) -> int:
    """See to it that this server's key and the recovery key open the repository; returns the exit code.

    It is made where there is none. Standard input has {"recovery": the recovery key}, which is not kept here.
    """
    try:
        recovery = str(json.load(sys.stdin)["recovery"])
    except (ValueError, KeyError, TypeError):
        raise Problem('Standard input has to be {"recovery": "…"}; deploy.py does this.') from None
    with _alone(config) as own:
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


def recover(config: Config, name: str) -> int:
    """Bring the set here that this new server shall have, the newest if none is named; returns the exit code.

    Which set that is stays the same from the first call on. Raises Problem where the server has data of its own.
    """
    pending = _recovery(config)
    if pending is None:
        if (config.state_dir / STATE).exists():
            raise Problem("This server has data of its own. To replace them: koprogo restore --from-offsite")
        with _alone(config) as store:
            chosen, _ = _choose(store, name)
        pending = {"set": chosen, "begun": time.time()}
        write_durably(config.state_dir / RECOVERY, json.dumps(pending).encode(), 0o640)
    elif name and f"postgres_{_bare(name)}" != pending["set"]:
        raise Problem(f"This server is getting the data of {pending['set']} already.")
    if "done" in pending:
        log.say(f"This server has the data of {pending['set']} already.")
    else:
        fetch(config, pending["set"])
    return 0


def finish(config: Config) -> int:
    """Restore the set that `recover` brought, once; returns the exit code. Raises Problem."""
    from koprogo.backups import restore  # noqa: PLC0415 - and with it nearly everything else

    pending = _recovery(config)
    if pending is None:
        raise Problem("Nothing is to be recovered here. First: koprogo offsite recover")
    name, last = pending["set"], backup_state.load(config.state_dir).good_restore
    if "done" in pending:
        log.say(f"This server has the data of {name} already.")
        return 0
    if not (last and last.set == name and last.at > pending["begun"]):
        restore.run(config, name, files=True, yes=True)
    write_durably(config.state_dir / RECOVERY, json.dumps({**pending, "done": time.time()}).encode(), 0o640)
    return 0


def _store(store: Store, found: Set, there: str | None) -> str:
    """Store a set, unless a snapshot of it is there that can be read back, and read it back; returns the snapshot."""
    files = [*(part.path for part in found.parts), dump.manifest_of(found.dump)]
    if there is not None:
        try:
            _read_back(store, there, files)
            return there
        except Problem as problem:
            log.complain(f"{found.name} is stored, and not as it is here; storing it again. {problem}")
    snapshot = store.save(found.dump.parent, [path.name for path in files], found.name, _limit(found.size))
    try:
        _read_back(store, snapshot, files)
    except Problem as problem:
        raise Problem(
            f"the store said that it had saved everything, and gives it back otherwise. {problem} If it stays so, from "
            f"the operator's machine: make offsite-tidy."
        ) from None
    return snapshot


def _read_back(store: Store, snapshot: str, files: list[Path]) -> None:
    for path in files:
        _compare(store, snapshot, path)


def _compare(store: Store, snapshot: str, path: Path) -> None:
    ours, theirs = hashlib.sha256(), hashlib.sha256()
    with store.read(snapshot, path.name, _limit(path.stat().st_size)) as pieces, path.open("rb") as file:
        for piece in pieces:
            theirs.update(piece)
            ours.update(file.read(len(piece)))
        more = file.read(1)
    if more or ours.digest() != theirs.digest():
        raise Problem(f"{path.name} is not what is here.")


def _choose(store: Store, name: str) -> tuple[str, str]:
    """Return name and snapshot of the set that somebody means; "" is the newest one."""
    stored = {_name_of(each): str(each["id"]) for each in store.snapshots()}
    wanted = f"postgres_{_bare(name)}" if name else max(stored, default="")
    if wanted not in stored:
        there = ", ".join(sorted(stored, reverse=True)[: sets.NAMED]) or "nothing"
        raise Problem(f"No such set is stored off-site: {name or 'the newest'}. There is: {there}")
    return wanted, stored[wanted]


def _bring(config: Config, store: Store, name: str, snapshot: str) -> Set:
    """Return a stored set once it is here and verified by its own manifest."""
    directory = config.backup_dir
    for path in sets.dumps(directory):
        if dump.stem(path.name) == name:
            return sets.verify(sets.read(path))
    with store.read(snapshot, f"{name}.json", PATIENCE) as pieces:
        text = b"".join(pieces)[:MANIFEST_LIMIT]
    hashes = _files(name, text)
    _require_room(directory, sum(size for size, _ in hashes.values()))
    partial = {file: directory / dump.PARTIAL.format(file.removeprefix(name)) for file in hashes}
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for file, (size, digest) in hashes.items():
            with store.read(snapshot, file, _limit(size)) as pieces:
                _write(pieces, partial[file], digest)
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
    return sets.verify(sets.read(directory / first))


def _files(name: str, manifest: bytes) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file that a manifest names, the dump first; none outside the set's own name."""
    try:
        data = json.loads(manifest)
        found = {str(each["file"]): (int(each["size"]), str(each["sha256"])) for each in (data, *data.get("parts", ()))}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Problem(f"{name}.json, as it is stored, is no manifest.") from None
    for file in found:
        if not re.fullmatch(re.escape(name) + r"\.[\w.-]+", file):
            raise Problem(f"{name}.json, as it is stored, names a file that is none of its own.")
    return found


def _limit(size: int) -> float:
    return PATIENCE + size / SLOWEST


def _write(pieces: Iterator[bytes], target: Path, digest: str) -> None:
    seen = hashlib.sha256()
    with target.open("wb") as file:
        target.chmod(0o600)
        for piece in pieces:
            seen.update(piece)
            file.write(piece)
    if digest and seen.hexdigest() != digest:
        raise Problem("What is stored is not what its manifest describes.")


def _require_room(directory: Path, size: int) -> None:
    room = space.look(directory)
    reserve = min(space.FLOOR, room.size * space.SHARE)
    if room.free < size + reserve:
        raise Problem(
            f"{directory} has {room.free / 1e6:.1f} MB free; the set has {size / 1e6:.1f} MB, and {reserve / 1e6:.1f} "
            f"MB have to stay free."
        )


@contextmanager
def _alone(config: Config) -> Iterator[Store]:
    """The store, for one run at a time. Raises Problem where none is set, or another run is at it."""
    there = offsite_store.place(config)
    if there is None:
        raise Problem("No copies are kept off-site: BACKUP_OFFSITE_REPOSITORY in .env says where to, and deploy.py.")
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=False):
            yield Store(config, there)
    except lock.Busy:
        raise Problem("Another run is at work with the off-site copies; nothing was done.") from None


@contextmanager
def _no_backup(config: Config) -> Iterator[None]:
    try:
        with lock.exclusive(config.state_dir / backup_folder.LOCK, wait=False):
            yield
    except lock.Busy:
        raise Problem("A backup is at work. Try again when it has ended.") from None


def _name_of(snapshot: Mapping[str, Any]) -> str:
    tags = [str(tag) for tag in snapshot.get("tags") or () if _SET.fullmatch(str(tag))]
    return tags[0] if tags else ""


def _bare(name: str) -> str:
    return dump.stem(name.rpartition("/")[2]).removeprefix("postgres_").removesuffix(".json")


def _recovery(config: Config) -> dict[str, Any] | None:
    return _json(config.state_dir / RECOVERY) or None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(config: Config, kind: str, run: Run) -> None:
    try:
        backup_state.note(config.state_dir, kind, run)
    except Problem as unwritten:
        log.complain(str(unwritten))
