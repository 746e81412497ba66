"""Starting the application again, on data that changed places."""

from __future__ import annotations

from pathlib import Path

from koprogo import journal
from koprogo.backups import dump
from koprogo.deploys.apply import apply
from koprogo.deploys.gate import restarts_of
from koprogo.deploys.work import Work
from koprogo.docker.complaints import complaint
from koprogo.docker.compose import Project
from koprogo.journal import Journal
from koprogo.problem import Problem
from koprogo.state import Deployed


def deployed_version(work: Work) -> Deployed:
    """Return what runs; raises Problem where nothing was ever deployed."""
    if work.state.deployed is None:
        raise Problem("Nothing was deployed here so far. First: koprogo deploy")
    return work.state.deployed


def kept_settings(work: Work) -> Path:
    """Return where the .env of before is kept until what was restored is in place."""
    return work.config.state_dir / "env-before-restore"


def start_database(work: Work, note: Journal) -> str | None:
    """Start it, and return why it is not healthy, or None; raises Problem where Docker does not start it."""
    before = restarts_of(work.docker.containers(deployed_version(work).project))
    start(work, [note.database])
    return work.gate.wait_for(deployed_version(work).project, {work.config.database_service}, before)


def start_all(work: Work, note: Journal) -> None:
    """Start everything else, and see it healthy. What was restored stays in place, whatever comes of that."""
    deployed = deployed_version(work)
    if note.files:
        _apply_settings(work, note, deployed)
        return
    start(work, [note.database])
    trouble = start_others(work, note)
    journal.clear(work.config.state_dir)
    if trouble is not None:
        back = f" To go back to the data of before: koprogo restore {dump.stem(Path(note.last_dump).name)}"
        raise Problem(
            f"The data of {dump.stem(Path(note.dump).name)} are in place, and the application is not healthy with "
            f"them: {trouble}.{back if note.last_dump else ''}"
        )


def _apply_settings(work: Work, note: Journal, deployed: Deployed) -> None:
    """Make the containers anew by the restored .env: as a deploy of the version that runs does it.

    Where that is refused, they are started as they were: nobody is served by an application that stands still.
    """
    try:
        apply(work, deployed.commit)
    except Problem as problem:
        if work.state.attempt is not None and work.state.attempt.step.touched:
            raise
        start(work, (note.database, *note.running))
        what = "The data and the .env" if note.settings else "The data"
        raise Problem(
            f"{what} of {dump.stem(Path(note.dump).name)} are in place, and the containers were started as they were "
            f"before: {problem} When that is mended: koprogo deploy"
        ) from None
    finally:
        # A deploy that was begun is brought to its end by the next check, without this note.
        if work.state.attempt is None or work.state.attempt.step.touched:
            kept_settings(work).unlink(missing_ok=True)
            journal.clear(work.config.state_dir)


def start_others(work: Work, note: Journal) -> str | None:
    """Start what else ran before, and return why not everything is healthy then, or None."""
    deployed = deployed_version(work)
    before = restarts_of(work.docker.containers(deployed.project))
    start(work, note.running)
    images = {service: image.ref for service, image in deployed.images.items()}
    return work.gate.wait(Project(deployed.project, images), before, note.lenient)


def start(work: Work, names: tuple[str, ...] | list[str]) -> None:
    """Start these containers; raises Problem where Docker does not."""
    if names:
        docker(work, "start", *names)


def docker(work: Work, *arguments: str, limit: float = 120) -> None:
    """Let Docker do something, within so many seconds; raises Problem where it does not."""
    result = work.runner.run(["docker", *arguments], timeout=limit)
    if not result.ok:
        raise Problem(f"docker {arguments[0]}: {complaint(result)}.")
