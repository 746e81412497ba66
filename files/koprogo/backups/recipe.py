"""What the running database is made of: another one like it is made of the same, and a dump has to fit it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from koprogo.backups.sets import Set
from koprogo.docker.complaints import complaint
from koprogo.problem import Problem
from koprogo.runner import Runner


@dataclass(frozen=True)
class Recipe:
    """What a database like the one that runs is made of."""

    image: str
    """Its ID."""
    entrypoint: tuple[str, ...]
    libraries: str
    """shared_preload_libraries, without which an extension may not be made."""
    initdb: str
    """POSTGRES_INITDB_ARGS: encoding and locale."""
    password: str
    """Of the superuser; "" where the image gets it from a file."""
    pgdata: str
    """Where it keeps its data."""
    mount: Mapping[str, Any]
    """What of it is there, as `docker inspect` describes it; {} if nothing is."""
    authentication: str = ""
    """POSTGRES_HOST_AUTH_METHOD: by it the image says who gets in, and with what kind of password."""


def of(runner: Runner, container: Mapping[str, Any]) -> Recipe:
    """Return what makes another database like that of a container, given as `docker inspect` describes it."""
    image = container["Image"]
    result = runner.run(["docker", "image", "inspect", "--format", "{{json .Config.Entrypoint}}", image])
    if not result.ok:
        raise Problem(f"The image of the database is gone: {complaint(result)}.")
    env = dict(item.partition("=")[::2] for item in container["Config"].get("Env") or ())
    words = " ".join(container["Config"].get("Cmd") or ())
    pgdata = env.get("PGDATA", "/var/lib/postgresql/data")
    libraries = re.search(r"-c ?shared_preload_libraries=(\S+)", words)
    return Recipe(
        image=image,
        entrypoint=tuple(json.loads(result.out) or ["docker-entrypoint.sh"]),
        libraries=libraries[1] if libraries else "",
        initdb=env.get("POSTGRES_INITDB_ARGS", ""),
        password=env.get("POSTGRES_PASSWORD", ""),
        pgdata=pgdata,
        mount=next((m for m in container["Mounts"] if PurePosixPath(pgdata).is_relative_to(m["Destination"])), {}),
        authentication=env.get("POSTGRES_HOST_AUTH_METHOD", ""),
    )


def version(runner: Runner, image: str) -> str:
    """Return the version of the PostgreSQL in an image, as in `15.18`."""
    argv = ["docker", "run", "--rm", "--network", "none", "--log-driver", "none", "--entrypoint", "postgres"]
    result = runner.run([*argv, image, "--version"])
    if not result.ok:
        raise Problem(f"docker run postgres --version: {complaint(result)}.")
    return result.out.rpartition("(PostgreSQL)")[2].strip()


def refuse_version(found: Set, server: str) -> None:
    """Raise Problem where a dump would not fit this server: of another major version, or newer than it."""
    theirs, ours = _numbers(found.postgres), _numbers(server)
    if not theirs or not ours:
        return
    if theirs[0] != ours[0]:
        raise Problem(f"{found.name} is of PostgreSQL {theirs[0]}, and this is PostgreSQL {ours[0]}.")
    if theirs > ours:
        newer, older = (".".join(map(str, numbers)) for numbers in (theirs, ours))
        raise Problem(
            f"{found.name} is of PostgreSQL {newer}, newer than the {older} that is here: what the newer one writes, "
            f"the older one may not understand."
        )


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
