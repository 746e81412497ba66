"""`koprogo restore`: a set back into place, or into a database beside it; what it will do is shown and asked first."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koprogo import journal, lock, log
from koprogo.backups import (
    backup_folder,
    backup_state,
    drill,
    exchange,
    parts,
    recipe,
    restart,
    restoring,
    running_database,
    sets,
    throwaway,
)
from koprogo.backups.backup_state import Run
from koprogo.backups.sets import Set
from koprogo.config import Config
from koprogo.deploys import session
from koprogo.deploys.recover import recover
from koprogo.deploys.work import Work
from koprogo.problem import Problem
from koprogo.runner import Runner

SCRATCH = "koprogo-scratch"


def run(config: Config, name: str, *, files: bool, yes: bool, env: bool = True) -> int:
    """Put a set into place, the newest that is whole if none is named; returns the exit code, as all of these.

    `files`: its volumes too, and its .env, unless `env` is false.
    """
    # Nobody is kept from deploying while somebody reads and thinks.
    shown = Work(config, Runner(), asked=True)
    found = restoring.look(shown, name)
    if not env:
        found = sets.without_settings(found)
    drill.require_room(shown.runner, found, files=files)
    # Nobody is shown, and asked about, what is then refused.
    restoring.ready(shown, found, files=files)
    print("\n".join(plan(shown, found, files=files)))
    _ask(found.name.removeprefix("postgres_"), f"Type the set's name, {found.name}, to restore it: ", yes=yes)
    with session.alone(config, asked=True) as work, _no_backup(config):
        recover(work)
        began = time.monotonic()
        note, made_of = restoring.begin(work, found, files=files)
        return _finish(work, note, found, made_of, began)


def resume(config: Config) -> int:
    """Go on with a restore that was cut off, before a check undoes it."""
    with session.alone(config, asked=True) as work, _no_backup(config):
        note = journal.load(config.state_dir)
        if note is None:
            raise Problem("No restore was cut off, or a check has undone it since; see: koprogo logs")
        began = time.monotonic()
        found = sets.verify(sets.read(Path(note.dump)))
        if not note.settings:
            found = sets.without_settings(found)
        log.say(f"Going on with the restore of {found.name} ({note.step.value}).")
        inspected = parts.mounts(work.runner, [note.database])[0]
        return _finish(work, note, found, recipe.of(work.runner, inspected), began)


def _finish(work: Work, note: journal.Journal, found: Set, made_of: recipe.Recipe, began: float) -> int:
    try:
        restoring.run(work, note, found, made_of)
    except Problem as problem:
        run = Run(time.time(), time.monotonic() - began, found.name, str(problem))
        backup_state.note_if_possible(work.config.state_dir, "restore", run)
        raise
    seconds = time.monotonic() - began
    kept = ", ".join(one.fresh for one in note.exchanges)
    log.say(
        f"Restored {found.described()} in {seconds:.0f} s. The data of before are kept in {kept}, until: "
        f"koprogo restore --drop-old"
    )
    return 0


def plan(work: Work, found: Set, *, files: bool) -> list[str]:
    """Return what a restore of this set is going to do, a line each."""
    deployed = restart.deployed_version(work)
    lines = [found.described(), f"  PostgreSQL {found.postgres.partition(' ')[0] or 'unknown'}"]
    if found.commit and found.commit != deployed.commit:
        lines.append(
            f"  Version {found.commit[:7]} ran then; {deployed.commit[:7]} runs now, and goes on with its data."
        )
    for database, tables in (found.rows or {}).items():
        if tables:
            lines.append(f"  {database}: {sum(tables.values())} rows in {len(tables)} tables")
    lines.append("~ the database: all of it becomes what it was then; what came after is in the last dump only")
    env, volumes = restoring.settings(found), restoring.volumes(found)
    if files:
        lines += [f"~ {work.config.env_file}"] if env else []
        lines += [f"~ the volume {part.volume}" for part in volumes]
    elif env or volumes:
        names = [".env"] if env else []
        lines.append(f"  {', '.join([*names, *(part.volume for part in volumes)])} stay as they are (--with-files)")
    lines.append("The application stops for about as long as a dump takes. The data of now are kept.")
    return lines


def into_scratch(config: Config, name: str) -> int:
    """Restore a set into a database beside the real one, which stays until somebody removes it."""
    with lock.exclusive(config.state_dir / "scratch.lock", wait=True) as held:
        runner = Runner(held=[held])
        # Nothing is journalled, so nothing has to be recovered first: the application is not touched.
        work = Work(config, runner, asked=True)
        if runner.run(["docker", "container", "inspect", SCRATCH]).ok:
            raise Problem(f"There is a {SCRATCH} already. First: docker rm -f -v {SCRATCH}")
        found = restoring.look(work, name)
        drill.require_room(runner, found)
        began = time.monotonic()
        container = running_database.find(config, work.docker, work.state)
        made_of = recipe.of(runner, parts.mounts(runner, [container.id])[0])
        recipe.refuse_version(found, recipe.version(runner, made_of.image))
        # Called otherwise until it is complete: a run that is cut off leaves nothing that looks like one.
        partial = f"{SCRATCH}-partial"
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            # A connection that is lost ends it as Ctrl-C does, and not at once; nohup's wish is another.
            signal.signal(signal.SIGHUP, signal.default_int_handler)
        try:
            with throwaway.scratch(runner, made_of, partial, found.user) as database:
                database.restore(found)
            work.docker.rename(partial, SCRATCH)
        except BaseException:
            throwaway.remove(runner, partial)
            raise
    databases = [database for database, tables in (found.rows or {}).items() if tables]
    log.say(
        f"Restored {found.described()} into {SCRATCH} in {time.monotonic() - began:.0f} s.\n"
        f"To look at it:  docker exec -it {SCRATCH} psql -U {found.user} {(databases or ['postgres'])[0]}\n"
        f"To remove it:   docker rm -f -v {SCRATCH}"
    )
    return 0


def drop_old(config: Config, *, yes: bool) -> int:
    """Remove the data that restored data were exchanged for."""
    with session.alone(config, asked=True) as work:
        recover(work)
        volumes = exchange.kept(work.runner)
        if not volumes:
            log.say("No data of before a restore are kept.")
            return 0
        print("\n".join(f"- {name}" for name in volumes))
        _ask("yes", "Remove these data for ever? Type yes: ", yes=yes)
        exchange.remove(work.runner, volumes)
        log.say(f"Removed {', '.join(volumes)}.")
    return 0


@contextmanager
def _no_backup(config: Config) -> Iterator[None]:
    """Nobody makes sets or takes them away meanwhile; raises Problem where somebody is at it."""
    try:
        with lock.exclusive(config.state_dir / backup_folder.LOCK, wait=False):
            yield
    except lock.Busy:
        raise Problem("A backup or a restore is at work. Try again when it has ended.") from None


def _ask(wanted: str, question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Problem("Nothing was done: nobody is there to be asked. With --yes nobody is.")
    try:
        answer = input(question).strip()
    except EOFError:
        answer = ""
    if answer.removeprefix("postgres_") != wanted:
        raise Problem(f"Nothing was done: that is not {wanted}.")
