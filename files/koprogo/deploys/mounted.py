"""What a service is given beside its definition: files and folders of the checkout, configs, secrets.

A container that runs does not see that they changed: Git puts a new file into the place of the old one, which the
container keeps; and what reads a file only when it starts has read it. So they count like the definition. Only what the
commit has counts: what lies elsewhere, or what a container writes there itself, is no reason to replace it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from koprogo.deploys.work import Work, environment_hash
from koprogo.docker.compose import Compose, Project
from koprogo.docker.routing import Spec


def project(work: Work, commit: str, tag: str) -> Project:
    """Read the compose file of the checkout, which is at `commit`."""
    return as_in(work, commit, Compose(work.config, work.runner, tag).project())


def as_in(work: Work, commit: str, found: Project) -> Project:
    """Return the project with what `commit` gives to each of its services."""
    return replace(found, given={name: _given(work, commit, found, spec) for name, spec in found.services.items()})


def _given(work: Work, commit: str, found: Project, spec: Spec) -> dict[str, Any]:
    checkout, defined = work.config.checkout, definitions(found.config, spec)
    inside = {path.relative_to(checkout) for path in sources(spec, defined) if path.is_relative_to(checkout)}
    names = sorted(path.as_posix() if path.parts else "" for path in inside)
    content = {name: text for name in names if (text := work.repository.content(commit, name))}
    # Compose does not print what a variable gives to a secret; that it is another one shows by .env alone.
    settings = {".env": environment_hash(work.config)} if any(_of_a_variable(one) for one in defined.values()) else {}
    return {**defined, **content, **settings}


def _of_a_variable(definition: Any) -> bool:
    return bool(definition and definition.get("environment"))


def definitions(config: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """Return the definitions of the configs and secrets that a service uses: it only names them."""
    return {
        f"{kind} {used['source']}": (config.get(kind) or {}).get(used["source"])
        for kind in ("configs", "secrets")
        for used in spec.get(kind) or ()
    }


def sources(spec: Spec, defined: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files and folders of the server that a service gets to see."""
    for volume in spec.get("volumes") or ():
        if volume.get("type") == "bind" and volume.get("source"):
            yield Path(volume["source"])
    for one in defined.values():
        if one and one.get("file"):
            yield Path(one["file"])
