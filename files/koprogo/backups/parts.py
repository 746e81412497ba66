"""What belongs into a set beside the dump: .env, the certificates, and the volumes that the settings name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koprogo.backups import packing
from koprogo.backups.dump import Other
from koprogo.config import Config
from koprogo.docker.complaints import complaint
from koprogo.docker.containers import SERVICE_LABEL
from koprogo.docker.engine import Docker, repository_name
from koprogo.problem import Problem
from koprogo.runner import Runner

LIMIT = 6 * 3600.0
"""Seconds that copying a volume may take."""
VOLUME_LABEL = "com.docker.compose.volume"
_CHANGED = re.compile(
    r"(file changed as we read it|File removed before we read it|File shrank by \d+ bytes?; padding with zeros"
    r"|file is the archive)"
)


@dataclass(frozen=True)
class Volume:
    """A volume of Docker's."""

    name: str
    """As the compose file calls it, or, of one that is not Compose's, as Docker does."""
    real: str
    """As Docker calls it."""
    service: str = ""


def others(config: Config, runner: Runner, project: str, image: str) -> list[Other]:
    """Return the parts of a set that is made now; the dump is not among them.

    `image` is one that is here and has a tar. Raises Problem for a volume that there is not.
    """
    found = env(config)
    for volume in volumes(config, runner, project):

        def write(path: Path, volume: Volume = volume) -> None:
            packing.pack(_tar(volume, image), path, LIMIT, tolerated=_only_changed)
            packing.require_tar(path)

        found.append(Other(f".{volume.name}.tar.zst", "volume", write, volume.name, volume.service))
    return found


def env(config: Config) -> list[Other]:
    """Return the .env as a part, where there is one."""
    return [Other(".env", "env", lambda path: _copy(config.env_file, path))] if config.env_file.exists() else []


def volumes(config: Config, runner: Runner, project: str) -> list[Volume]:
    """Return Traefik's volumes, where acme.json is, and those of the settings. Raises Problem if one is missing."""
    by_name = {volume.name: volume for volume in _of_traefik(runner, project)}
    for name in config.backup_volumes:
        by_name.setdefault(name, find(runner, project, name))
    return [by_name[name] for name in sorted(by_name)]


def find(runner: Runner, project: str, name: str) -> Volume:
    """Return the volume that the compose file, or else Docker, calls `name`; raises Problem when there is none."""
    filters = ["--filter", f"label=com.docker.compose.project={project}", "--filter", f"label={VOLUME_LABEL}={name}"]
    listed = runner.run(["docker", "volume", "ls", "--quiet", *filters])
    if not listed.ok:
        raise Problem(f"docker volume ls: {complaint(listed)}.")
    if names := listed.out.split():
        return Volume(name, names[0])
    # One that somebody else made, which the compose file calls external.
    if not runner.run(["docker", "volume", "inspect", name]).ok:
        raise Problem(f"There is no volume {name}, which BACKUP_VOLUMES names.")
    return Volume(name, name)


def mounts(runner: Runner, containers: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return what `docker inspect` says about these containers."""
    if not containers:
        return []
    result = runner.run(["docker", "container", "inspect", *containers])
    if not result.ok:
        raise Problem(f"docker inspect: {complaint(result)}.")
    found: list[Mapping[str, Any]] = json.loads(result.out)
    return found


def _of_traefik(runner: Runner, project: str) -> list[Volume]:
    # By the name that it was made from: `docker ps` shows another once a newer image has taken that over.
    found = Docker(runner).containers(project)
    ids = [one.id for one in found if repository_name(one.image_ref).rpartition("/")[2] == "traefik"]
    return [
        Volume(_compose_name(runner, mount["Name"]), mount["Name"], item["Config"]["Labels"].get(SERVICE_LABEL, ""))
        for item in mounts(runner, ids)
        for mount in item["Mounts"]
        if mount["Type"] == "volume"
    ]


def _compose_name(runner: Runner, real: str) -> str:
    form = f'{{{{index .Labels "{VOLUME_LABEL}"}}}}'
    result = runner.run(["docker", "volume", "inspect", "--format", form, real])
    return result.out.strip() or real if result.ok else real


def _tar(volume: Volume, image: str) -> list[str]:
    # Without a log of its own: Docker would keep all that goes by, not compressed, on the same disk.
    return [
        "docker", "run", "--rm", "--network", "none", "--log-driver", "none", "--user", "0:0",
        "--volume", f"{volume.real}:/volume:ro", "--entrypoint", "tar", image,
        "-C", "/volume", "--numeric-owner", "-cf", "-", ".",
    ]  # fmt: skip


def _only_changed(code: int, said: Iterable[str]) -> bool:
    """Whether tar only noticed that somebody wrote to a file meanwhile, as users do, however many there are."""
    found = [_CHANGED.search(line) is not None for line in said if line.strip()]
    return code == 1 and bool(found) and all(found)


def _copy(source: Path, target: Path) -> None:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(source.read_bytes())
        stream.flush()
        os.fsync(stream.fileno())
