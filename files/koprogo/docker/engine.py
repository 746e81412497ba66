"""The edge to Docker: containers and images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koprogo.docker import containers
from koprogo.docker.complaints import complaint, require_server
from koprogo.docker.containers import Container
from koprogo.problem import Problem
from koprogo.runner import Result, Runner

PULL_TIMEOUT = 900


@dataclass(frozen=True)
class ImageHere:
    """An image on this server, and what it says of its containers (`Healthcheck`, `Volumes`, …)."""

    id: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class LocalImage:
    """A name of an image, as `docker image ls` tells it: `<none>` is what it has not got."""

    id: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str | None:
        """What to call it by to Docker; None if it has no name of its own."""
        if "<none>" not in (self.repository, self.tag):
            return f"{self.repository}:{self.tag}"
        return None if "<none>" in (self.repository, self.digest) else f"{self.repository}@{self.digest}"


class Docker:
    """`docker` itself, and `docker compose` for a project that is given as data."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def containers(self, project: str) -> list[Container]:
        """Return the containers of a compose project, running or not."""
        label = f"label={containers.PROJECT_LABEL}={project}"
        listed = self._run("ps", "--all", "--quiet", "--no-trunc", "--filter", label)
        if not listed.ok:
            raise Problem(f"docker ps: {complaint(listed)}.")
        ids = listed.out.split()
        if not ids:
            return []
        # A container may go away between the two calls: docker then prints the others, and fails.
        result = self._run("container", "inspect", *ids)
        try:
            return containers.parse(result.out)
        except (ValueError, KeyError):
            raise Problem(f"docker inspect: {complaint(result)}.") from None

    def up(
        self,
        config: Mapping[str, Any],
        *services: str,
        env_file: Path,
        timeout: float,
        beside: int = 0,
        grace: int | None = None,
    ) -> str | None:
        """Start services as `config` defines them (all of them and in order, if none are named).

        `env_file` gives values to its secrets and configs that name a variable of the environment.
        Containers that differ are replaced, and get `grace` seconds to end (else what their definition says); or, if
        `beside` is a number, left alone: then the service has that many containers afterwards. Images have to be here.
        Returns what Compose complained about, or None; raises Problem where it was the server that failed.
        """
        options = ["--detach", "--pull", "never", "--no-build"]
        options += ["--no-deps"] if services else []
        options += ["--no-recreate", "--scale", f"{services[0]}={beside}"] if beside else []
        options += ["--timeout", str(grace)] if grace is not None else []
        # Not from a file: it holds secrets.
        command = ["docker", "compose", "--env-file", str(env_file), "-f", "-", "up", *options, *services]
        result = self._runner.run(command, timeout=timeout, text=json.dumps(config))
        require_server("docker compose up", result)
        return None if result.ok else complaint(result)

    def remove(self, container: str, *, grace: int) -> None:
        """Stop a container, which gets `grace` seconds to finish its work, and remove it. Gone already is as good."""
        stopped = self._run("stop", "--time", str(grace), container, timeout=grace + 60)
        result = self._run("rm", "--force", container, timeout=60) if stopped.ok else stopped
        if not result.ok and "No such container" not in result.err:
            raise Problem(f"docker stop {container}: {complaint(result)}.")

    def rename(self, container: str, name: str) -> None:
        """Give a container another name."""
        result = self._run("rename", container, name)
        if not result.ok:
            raise Problem(f"docker rename {container} {name}: {complaint(result)}.")

    def memory(self, container: str) -> int:
        """Return how many bytes of memory a container uses now; 0 for one that does not run."""
        result = self._run("stats", "--no-stream", "--format", "{{.MemUsage}}", container)
        return memory_used(result.out) if result.ok else 0

    def image(self, ref: str) -> ImageHere | None:
        """Return what `ref` means on this server now; None when it is not here. Raises Problem when nobody can tell."""
        result = self._run("image", "inspect", "--format", "{{.Id}} {{json .Config}}", ref)
        require_server(f"docker image inspect {ref}", result)
        if not result.ok:
            return None
        image_id, config = result.out.split(" ", 1)
        return ImageHere(image_id, json.loads(config) or {})

    def image_id(self, ref: str) -> str | None:
        """Return the ID of what `ref` means here; None when it is not here. Raises Problem when nobody can tell."""
        image = self.image(ref)
        return image.id if image else None

    def digest(self, image_id: str, ref: str) -> str | None:
        """Return `name@sha256:…` by which a registry would give this image again; None for one made here."""
        result = self._run("image", "inspect", "--format", "{{json .RepoDigests}}", image_id)
        digests: list[str] = (json.loads(result.out) if result.ok else None) or []
        name = repository_name(ref)
        return next((d for d in digests if repository_name(d) == name), digests[0] if digests else None)

    def pull(self, ref: str) -> str | None:
        """Bring an image here; returns what the registry or Docker complained about, or None."""
        result = self._run("pull", "--quiet", ref, timeout=PULL_TIMEOUT)
        if result.code is None:
            return f"it did not arrive within {PULL_TIMEOUT:.0f} s"
        return None if result.ok else complaint(result)

    def tag(self, image_id: str, ref: str) -> None:
        """Make `ref` mean `image_id` on this server."""
        result = self._run("tag", image_id, ref)
        if not result.ok:
            raise Problem(f"docker tag {ref}: {complaint(result)}.")

    def images(self) -> list[LocalImage]:
        """Return every name that an image has on this server."""
        form = "{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}}"
        result = self._run("image", "ls", "--digests", "--no-trunc", "--format", form)
        if not result.ok:
            raise Problem(f"docker image ls: {complaint(result)}.")
        return [LocalImage(*line.split()) for line in result.out.splitlines()]

    def used_images(self) -> set[str]:
        """Return the IDs of the images that containers were made from, whoever made them and whether they run."""
        listed = self._run("ps", "--all", "--quiet", "--no-trunc")
        result = self._run("container", "inspect", "--format", "{{.Image}}", *listed.out.split())
        if not listed.ok or (listed.out.split() and not result.ok):
            raise Problem(f"docker ps: {complaint(result if listed.ok else listed)}.")
        return set(result.out.split())

    def remove_images(self, names: Iterable[str]) -> str | None:
        """Take these names away, and images that have no other; returns what Docker complained about, or None."""
        result = self._run("image", "rm", *names, timeout=300)
        return None if result.ok else complaint(result)

    def root(self) -> Path:
        """Return the folder that Docker keeps everything in."""
        result = self._run("info", "--format", "{{.DockerRootDir}}")
        if not result.ok or not result.out.strip():
            raise Problem(f"docker info: {complaint(result)}.")
        return Path(result.out.strip())

    def execute(self, container: str, *command: str) -> Result:
        """Run a command in a running container."""
        return self._run("exec", container, *command)

    def logs(self, container: str, lines: int) -> str:
        """Return the last lines that a container wrote."""
        result = self._run("logs", "--tail", str(lines), "--timestamps", container)
        return result.out + result.err

    def _run(self, *arguments: str, timeout: float = 60) -> Result:
        return self._runner.run(["docker", *arguments], timeout=timeout)


def memory_used(text: str) -> int:
    """Read the first figure of `12.3MiB / 384MiB`, in bytes; 0 for anything else."""
    found = re.match(r"([\d.]+)([KMGT]?i?)B", text.strip())
    if found is None:
        return 0
    base = 1024 if found[2].endswith("i") else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2][:1] or " "))


def repository_name(ref: str) -> str:
    """Return an image's name without tag and digest: `ghcr.io/x/backend:1` is `ghcr.io/x/backend`."""
    name = ref.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]
