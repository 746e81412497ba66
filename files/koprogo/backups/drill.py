"""`koprogo drill`: the newest set, restored into a throw-away database; its rows are counted, the time is recorded.

A backup that nobody restored is a hope. cron does this every week.
"""

from __future__ import annotations

import time

from koprogo import lock, log
from koprogo.backups import backup_state, parts, recipe, running_database, sets, space, throwaway
from koprogo.backups.backup_state import Run
from koprogo.backups.sets import Set
from koprogo.config import Config
from koprogo.docker.engine import Docker
from koprogo.problem import Problem, words
from koprogo.runner import Runner
from koprogo.state import Store

NAME = "koprogo-drill"
GROWTH = 2
"""How many times as large as its dump a database is, indexes and all, at most as a rule."""


def run(config: Config) -> int:
    """Restore the newest set and count; returns the exit code. Raises Problem when it is not what it should be."""
    began, name = time.monotonic(), ""
    try:
        with lock.exclusive(config.state_dir / "drill.lock", wait=False) as held:
            found = sets.read(sets.find(config.backup_dir, ""))
            name = found.name
            _drill(config, found, held)
    except lock.Busy:
        raise Problem("Another drill is at work; nothing was done.") from None
    except (Problem, OSError) as error:
        _note(config, began, name, words(error))
        raise Problem(f"The drill failed: {words(error)}") from None
    seconds = _note(config, began, name, "")
    log.say(f"{found.described()} was restored in {seconds:.0f} s, every row counted, and thrown away.")
    return 0


def require_room(runner: Runner, found: Set, *, files: bool = False) -> None:
    """Raise Problem where a database of the size of this set would fill Docker's disk; with `files`, its volumes."""
    room = space.look(Docker(runner).root())
    # What users upload is packed already, as a rule.
    volumes = sum(part.size for part in found.parts if part.kind == "volume") if files else 0
    wanted = found.uncompressed_size * GROWTH + volumes + min(space.FLOOR, room.size * space.SHARE)
    if room.free < wanted:
        raise Problem(
            f"{room.path} has {room.free / 1e6:.0f} MB free, and restoring {found.name} wants {wanted / 1e6:.0f} MB."
        )


def _drill(config: Config, found: Set, held: int) -> None:
    runner = Runner(held=[held])
    throwaway.remove(runner, NAME)
    # What the dump holds is looked at while it is read into the database: nothing depends on it before.
    sets.require_unchanged(found)
    container = running_database.find(config, Docker(runner), Store(config.state_dir).load())
    made_of = recipe.of(runner, parts.mounts(runner, [container.id])[0])
    recipe.refuse_version(found, recipe.version(runner, made_of.image))
    require_room(runner, found)
    with throwaway.running(runner, made_of, NAME, found.user) as database:
        database.restore(found)


def _note(config: Config, began: float, name: str, problem: str) -> float:
    seconds = time.monotonic() - began
    backup_state.note_if_possible(config.state_dir, "drill", Run(time.time(), seconds, name, problem))
    return seconds
