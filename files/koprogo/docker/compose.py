"""The compose project that is the application, as Docker Compose reads its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koprogo.config import Config
from koprogo.docker.complaints import complaint, require_server
from koprogo.problem import Lasting, Problem
from koprogo.runner import Result, Runner

DEEPEST = 100
"""Lists and mappings in one another; Python reads some 900, and Compose's own need 10."""
TOO_DEEP = f"more than {DEEPEST} lists and mappings in one another"


class Invalid(Lasting):
    """The compose file itself is wrong."""


@dataclass(frozen=True)
class Project:
    """What a compose file asks for: its name, and the image of every service that should have a container."""

    name: str
    images: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All of it, as `docker compose config` printed it; it holds secrets."""
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Of each service, what it is given beside its definition, where that is known (see `mounted`)."""

    @property
    def services(self) -> dict[str, Mapping[str, Any]]:
        """The definitions of those that should have a container."""
        return {name: spec for name, spec in self.config["services"].items() if name in self.images}


def parse_config(text: str) -> Project:
    """Read the output of `docker compose config --format json`; services scaled to 0 are left out.

    Raises ValueError or KeyError when it is something else.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _require_shallow(data)
    services: dict[str, Any] = data["services"]
    wanted = {name: spec for name, spec in (services or {}).items() if _replicas(spec) > 0}
    if not wanted:
        raise ValueError("no service that should have a container")
    missing = [name for name, spec in wanted.items() if "image" not in spec]
    if missing:
        raise ValueError(f"no image for {', '.join(sorted(missing))}: images are pulled here, never built")
    return Project(data["name"], {name: spec["image"] for name, spec in wanted.items()}, data)


def _require_shallow(data: object) -> None:
    """Raise ValueError for what can be read and might not be written again, that being done from further down."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        inner = (each.values() if isinstance(each, dict) else each if isinstance(each, list) else () for each in level)
        level = [one for several in inner for one in several]


def _replicas(spec: Mapping[str, Any]) -> int:
    replicas = (spec.get("deploy") or {}).get("replicas", spec.get("scale", 1))
    return int(replicas)


class Compose:
    """`docker compose` for one compose file and one image tag."""

    def __init__(self, config: Config, runner: Runner, tag: str, compose_file: Path | None = None) -> None:
        self._runner = runner
        self._environment = {"IMAGE_TAG": tag}
        self._env_file = str(config.env_file)
        self._base = ["docker", "compose", "--env-file", self._env_file]
        self._base += ["-f", str(compose_file or config.compose_file)]

    def project(self) -> Project:
        """Return what the compose file asks for; raises Invalid when it is wrong, Problem when nobody could say."""
        result = self._run("config", "--format", "json", timeout=60)
        if result.code is None or result.code < 0:
            # It took too long or was killed, as on a server that is short of memory.
            raise Problem(f"docker compose config: {complaint(result)}.")
        if not result.ok and self._env_file in result.err:
            # Compose quotes the line that it does not understand.
            raise Problem(
                f"docker compose cannot read {self._env_file}: it is not there, or a line of it is wrong (not shown, "
                f"for it may hold a secret). Mend it and run `koprogo deploy`."
            )
        require_server("docker compose config", result)
        if not result.ok and (name := re.search(r"required variable (\S+) is missing a value", result.err)):
            # The commit is ahead of this server: it can be deployed as soon as somebody says.
            raise Problem(
                f"The compose file wants a value for {name[1]}, which {self._env_file} lacks. On the operator's "
                f"machine: APP_{name[1]}=… in .env, then deploy.py."
            )
        if not result.ok:
            raise Invalid(f"docker compose config: {complaint(result)}.")
        try:
            return parse_config(result.out)
        except (ValueError, KeyError) as error:
            raise Invalid(f"docker compose config: {error}.") from None

    def _run(self, *arguments: str, timeout: float) -> Result:
        return self._runner.run([*self._base, *arguments], timeout=timeout, env=self._environment)
