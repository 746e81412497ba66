"""Removing old images of the application: what neither runs nor is needed to go back.

Ours are those of the repositories that CI pushes to (their images carry the tag of a commit), and those, of whatever
repository, that a version ran which is too old by now. Everything else belongs to somebody else, as do volumes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from koprogo import history, log
from koprogo.deploys import decide
from koprogo.deploys.work import Work
from koprogo.docker.engine import LocalImage, repository_name
from koprogo.problem import Problem
from koprogo.state import Deployed

KEPT = 3
"""How many of the last versions one can go back to without a registry, the one that runs included."""

NONE = "<none>"


def after(work: Work) -> None:
    """Clear up after a deploy that went well; a failure is a line, and no failure of the deploy."""
    try:
        images(work)
        work.repository.tidy()
    except Problem as problem:
        log.say(f"Old images were not removed: {problem}")


def images(work: Work) -> None:
    """Remove old images, once so many versions are known as are kept. Raises Problem when Docker cannot be asked."""
    versions = last(work)
    if len(versions) < KEPT:
        return
    kept = [*versions[:KEPT], *_to_go_back_to(work, versions[0])]
    commits = {version.commit for version in kept}
    dropped = [version for version in versions if version.commit not in commits]
    attempt = work.state.attempt
    tags = {decide.tag_for(work.config.image_tag, attempt.commit)} if attempt else set()
    names = surplus(work.docker.images(), kept, dropped, used=work.docker.used_images(), tags=tags)
    if not names:
        return
    error = work.docker.remove_images(names)
    if error is not None:
        raise Problem(f"docker image rm: {error}.")
    log.say(f"Removed {len(names)} old images.")


def _to_go_back_to(work: Work, running: Deployed) -> list[Deployed]:
    """Return where a way back from what runs leads: further than to the last ones, where those were undone."""
    probation = work.state.probation
    entries = history.legible(work.config.state_dir, work.state)
    found = (history.previous(entries, running.commit), probation.before if probation else None)
    return [version for version in found if version is not None]


def surplus(
    here: Collection[LocalImage],
    kept: Sequence[Deployed],
    dropped: Sequence[Deployed],
    *,
    used: set[str],
    tags: set[str],
) -> list[str]:
    """Return the names of images to take away, of those that are `here`.

    `used` are the IDs of images that something needs anyway, `tags` those of a deploy that is under way.
    """
    needed = used | {image.id for version in kept for image in version.images.values()}
    refs = {image.ref for version in kept for image in version.images.values()}
    versions = [*kept, *dropped]
    built = {
        repository_name(image.ref)
        for version in versions
        for image in version.images.values()
        if image.ref.endswith(f":{version.tag}")
    }
    ran = {(image.id, repository_name(image.ref)) for version in dropped for image in version.images.values()}
    # Of these another name stays: versions with the same content share an image, and then a name more is only a name.
    called = {image.id for image in here if image.name in refs}
    found = {
        image.name
        for image in here
        if (image.repository in built or (image.id, image.repository) in ran)
        and (image.id not in needed or (image.id in called and image.tag != NONE))
        and image.tag not in tags
        and image.name not in refs
    }
    return sorted(name for name in found if name is not None)


def last(work: Work) -> list[Deployed]:
    """Return the versions that were live, newest first; the one that runs may not be in the history so far.

    It is all that is known where the history cannot be read: no reason not to deploy.
    """
    deployed = work.state.deployed
    if deployed is None:
        return []
    known = history.versions(history.legible(work.config.state_dir, work.state))
    return [deployed, *(version for version in known if version.commit != deployed.commit)]
