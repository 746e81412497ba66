"""The steps of a restore, and their undoing.

Everything that takes long and everything that can fail comes first, beside the application, which runs on: the set is
read into new volumes and its rows are counted. Then what writes is stopped, the last dump is made, and the volumes
change places. A run that is cut off leaves the old data or the new data in place, never a mixture: the next check of
GitOps, also after a boot, undoes it up to the moment when there may be new rows, and finishes it from then on.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
import time
from pathlib import Path

from koprogo import journal, log
from koprogo.backups import (
    backup_folder,
    backup_state,
    dump,
    exchange,
    packing,
    parts,
    recipe,
    restart,
    running_database,
    sets,
    throwaway,
)
from koprogo.backups.backup_state import Run
from koprogo.backups.recipe import Recipe
from koprogo.backups.retention import verified
from koprogo.backups.sets import Part, Set
from koprogo.deploys import predump
from koprogo.deploys.prepare import refuse_surprises
from koprogo.deploys.work import Work
from koprogo.docker.compose import Compose
from koprogo.docker.engine import repository_name
from koprogo.journal import Exchange, Journal, Step
from koprogo.problem import Problem, words
from koprogo.state import write_durably

NAME = "koprogo-restore"
"""The throw-away database, and the beginning of the names of the new volumes."""
FOLDER = "before-restores"
GRACE = 30
DATABASE_GRACE = 120
"""Seconds that a container gets to end."""


def begin(work: Work, found: Set, *, files: bool) -> tuple[Journal, Recipe]:
    """Note that a restore begins. Raises Problem where something that it needs is missing; nothing was touched then."""
    note, made_of = ready(work, found, files=files)
    journal.save(work.config.state_dir, note)
    return note, made_of


def ready(work: Work, found: Set, *, files: bool) -> tuple[Journal, Recipe]:
    """Look at everything that a restore needs, and return what it is going to note. Raises Problem."""
    deployed = restart.deployed_version(work)
    if files:
        refuse_surprises(work, deployed.commit)
    containers = [c for c in work.docker.containers(deployed.project) if c.service == work.config.database_service]
    if not containers:
        raise Problem(f"The database ({work.config.database_service}) has no container. First: koprogo deploy")
    made_of = recipe.of(work.runner, parts.mounts(work.runner, [containers[0].id])[0])
    recipe.refuse_version(found, recipe.version(work.runner, made_of.image))
    real = exchange.volume_of(made_of.mount)
    root = exchange.root_of(work.runner, real)
    fresh = f"{NAME}-{time.strftime('%Y%m%d-%H%M%S')}"
    exchanges = [Exchange(real, fresh)]
    for part in volumes(found) if files else ():
        volume = parts.find(work.runner, deployed.project, part.volume).real
        if exchange.root_of(work.runner, volume) != root:
            raise Problem(f"{volume} is elsewhere than {real}.")
        exchanges.append(Exchange(volume, f"{fresh}-{part.volume}"))
    note = Journal(
        dump=str(found.dump),
        step=Step.BEGUN,
        started=time.time(),
        by=work.by,
        image=made_of.image,
        database=containers[0].name,
        root=root,
        exchanges=tuple(exchanges),
        files=files,
        settings=settings(found) is not None,
    )
    return note, made_of


def volumes(found: Set) -> list[Part]:
    """Return the parts of a set that are volumes."""
    return [part for part in found.parts if part.kind == "volume"]


def settings(found: Set) -> Part | None:
    """Return the part of a set that is its .env."""
    return next((part for part in found.parts if part.kind == "env"), None)


def run(work: Work, note: Journal, found: Set, made_of: Recipe) -> Journal:
    """Go on from the step that was reached, to the end; returns what was noted last.

    Raises Problem; then everything is as it was before, unless the problem says something else.
    """
    try:
        if note.step is Step.BEGUN:
            _fill(work, note, found, made_of)
            note = _reached(work, note, Step.RESTORED)
        if note.step is Step.RESTORED:
            note = _reached(work, _looked(work, note), Step.STOPPING)
        if note.step is Step.STOPPING:
            note = _stop(work, note)
        if note.step is Step.DUMPED:
            note = _reached(work, note, Step.EXCHANGING)
        if note.step is Step.EXCHANGING:
            _exchange(work, note, found)
            note = _reached(work, note, Step.STARTING)
        if note.step is Step.STARTING:
            if (trouble := restart.start_database(work, note)) is not None:
                raise Problem(f"The database is not healthy with the restored data: {trouble}.")
            note = _reached(work, note, Step.WRITING)
    except (Problem, OSError) as error:
        text = words(error).rstrip(".")
        try:
            undo(work, note)
        except (Problem, OSError) as second:
            raise Problem(f"{text}. That could not be undone: {words(second)} The next check tries again.") from None
        raise Problem(f"{text}. Nothing was restored: the data of before are in place.") from None
    _start(work, note)
    return note


def recover(work: Work) -> None:
    """Bring a restore that was cut off to its end, or undo it. Raises Problem when that fails; later runs try again."""
    note = journal.load(work.config.state_dir)
    if note is None:
        return
    name = dump.stem(Path(note.dump).name)
    if note.step is Step.WRITING:
        log.say(f"The restore of {name} was cut off when its data were in place; starting what does not run.")
        _start(work, note)
        return
    log.complain(f"The restore of {name} was cut off ({note.step.value}); undoing it.")
    undo(work, note)
    log.say(f"The restore of {name} is undone; the data of before are in place. To begin again: koprogo restore {name}")


def _start(work: Work, note: Journal) -> None:
    """Start everything on data that are in place, which counts as restored: from here on there may be new rows."""
    seconds = time.time() - note.started
    backup_state.note_if_possible(
        work.config.state_dir, "restore", Run(time.time(), seconds, dump.stem(Path(note.dump).name))
    )
    restart.start_all(work, note)


def undo(work: Work, note: Journal) -> None:
    """Bring everything back to how it was; raises Problem when that fails, and what is left is noted."""
    throwaway.remove(work.runner, NAME)
    if note.step.exchanged:
        restart.docker(work, "stop", "--time", str(DATABASE_GRACE), note.database, limit=DATABASE_GRACE + 60)
        exchange.back(work.runner, note.image, note.root, note.exchanges)
        _settings_back(work, note)
    if note.step.stopped:
        trouble = restart.start_database(work, note) or restart.start_others(work, note)
        if trouble is not None:
            # It may be why somebody wants to restore: no reason to begin again and again.
            restart.start(work, note.running)
            log.complain(f"The application is not healthy with the data of before: {trouble}.")
    exchange.remove(work.runner, [one.fresh for one in note.exchanges])
    journal.clear(work.config.state_dir)


def _reached(work: Work, note: Journal, step: Step) -> Journal:
    after = dataclasses.replace(note, step=step)
    journal.save(work.config.state_dir, after)
    return after


def _fill(work: Work, note: Journal, found: Set, made_of: Recipe) -> None:
    """Make the new volumes, and read the set into them."""
    began = time.monotonic()
    throwaway.remove(work.runner, NAME)
    exchange.remove(work.runner, [one.fresh for one in note.exchanges])
    for one in note.exchanges:
        exchange.create(work.runner, one.fresh)
        if exchange.root_of(work.runner, one.fresh) != note.root:
            raise Problem(f"Docker keeps new volumes elsewhere than in {note.root}")
    password = _with_settings(work, found) if note.files else made_of.password
    with throwaway.running(work.runner, made_of, NAME, found.user, note.exchanges[0].fresh) as database:
        database.restore(found)
        if password:
            database.set_password(password)
    for one, part in zip(note.exchanges[1:], volumes(found), strict=False):
        _untar(work, note.image, part, one.fresh)
    os.sync()
    log.say(f"Read {found.name} into a new volume and counted its rows ({time.monotonic() - began:.0f} s).")


def _with_settings(work: Work, found: Set) -> str:
    """Read the compose file with the .env of the set, and bring the images here that it names then.

    Returns the database's password by it; "" where the compose file does not name that. Raises Problem.
    """
    part = settings(found)
    config = dataclasses.replace(work.config, env_file=part.path) if part else work.config
    project = Compose(config, work.runner, restart.deployed_version(work).tag).project()
    # Not when the application has been stopped already, and waits for it.
    for ref in sorted(set(project.images.values())):
        if work.docker.image_id(ref) is None and (trouble := work.docker.pull(ref)) is not None:
            raise Problem(f"The .env of {found.name} asks for {ref}, which cannot be pulled: {trouble}")
    environment = project.services[work.config.database_service].get("environment") or {}
    return str(environment.get("POSTGRES_PASSWORD") or "")


def _untar(work: Work, image: str, part: Part, volume: str) -> None:
    argv = ["docker", "run", "--rm", "--interactive", "--network", "none", "--log-driver", "none", "--user", "0:0"]
    argv += ["--volume", f"{volume}:/volume", "--entrypoint", "tar", image, "-C", "/volume", "--numeric-owner", "-xpf"]
    with (
        tempfile.TemporaryFile() as said,
        packing.start([*argv, "-"], stdin=subprocess.PIPE, stderr=said, pass_fds=work.runner.held) as child,
        packing.limited(throwaway.LIMIT, child),
    ):
        if child.stdin is None:
            raise AssertionError("no pipe")
        try:
            for piece in packing.unpack(part.path):
                child.stdin.write(piece)
            child.stdin.close()
        except BrokenPipeError:
            pass
        if (code := child.wait()) != 0:
            raise Problem(f"{part.path.name} cannot be unpacked: {packing.last(said, f'exit code {code}')}.")


def _looked(work: Work, note: Journal) -> Journal:
    """Note what runs now, to be started again."""
    deployed = restart.deployed_version(work)
    running = [c for c in work.docker.containers(deployed.project) if c.status in ("running", "restarting")]
    running = [c for c in running if c.name != note.database and (note.files or not _is_traefik(c.image_ref))]
    # What the application does from here on is not to be held against its newest version.
    work.save(probation=None)
    lenient = work.gate.before(deployed).lenient
    return dataclasses.replace(note, running=tuple(c.name for c in running), lenient=lenient)


def _is_traefik(ref: str) -> bool:
    return repository_name(ref).rpartition("/")[2] == "traefik"


def _stop(work: Work, note: Journal) -> Journal:
    """Stop what writes, then dump what is there: no row that somebody was told is saved is missing in that."""
    if note.running:
        restart.docker(work, "stop", "--time", str(GRACE), *note.running, limit=(GRACE + 30) * len(note.running))
    deployed = restart.deployed_version(work)
    databases = [c for c in work.docker.containers(deployed.project) if c.name == note.database]
    if not databases or databases[0].status != "running":
        log.say("The database does not run, so there is no last dump; its files are kept as they are.")
        return _reached(work, note, Step.DUMPED)
    directory = work.config.backup_dir / FOLDER
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        backup_folder.clear(directory)
        backup_folder.require_room(work.config.backup_dir)
        source = running_database.source(work.docker, databases[0], deployed.commit)
        path = dump.write(source, directory, time.time(), parts.env(work.config))
        backup_folder.remove(predump.expired(verified(directory), ""), path)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}.") from None
    except Problem as problem:
        raise Problem(
            f"No dump could be made of what is there: {problem} To restore without one, which keeps its files as they "
            f"are: docker stop {note.database}, and again"
        ) from None
    log.say(f"Dumped what is there to {path}.")
    return _reached(work, dataclasses.replace(note, last_dump=str(path)), Step.DUMPED)


def _exchange(work: Work, note: Journal, found: Set) -> None:
    restart.docker(work, "stop", "--time", str(DATABASE_GRACE), note.database, limit=DATABASE_GRACE + 60)
    exchange.forth(work.runner, note.image, note.root, note.exchanges)
    part = settings(found)
    if note.files and part is not None:
        kept = restart.kept_settings(work)
        try:
            if not kept.exists():
                write_durably(kept, work.config.env_file.read_bytes(), 0o600)
            write_durably(work.config.env_file, part.path.read_bytes(), 0o600)
        except OSError as error:
            raise Problem(f"{work.config.env_file}: {error.strerror}.") from None


def _settings_back(work: Work, note: Journal) -> None:
    kept = restart.kept_settings(work)
    if note.files and kept.exists():
        write_durably(work.config.env_file, kept.read_bytes(), 0o600)
        kept.unlink()


def look(work: Work, name: str) -> Set:
    """Return the set that is meant, verified; the newest one that is whole if none is named. Raises Problem."""
    if name:
        return sets.verify(sets.read(sets.find(work.config.backup_dir, name)))
    found, troubles = sets.newest_good(work.config.backup_dir)
    for trouble in troubles:
        log.complain(f"Passed over: {trouble}")
    return found
