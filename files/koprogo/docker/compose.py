"""The edge to Docker: the compose project that is the application, its containers and its images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koprogo.config import Config
from koprogo.docker import containers
from koprogo.docker.containers import Container
from koprogo.problem import Lasting, Problem, one_line
from koprogo.runner import Result, Runner

PULL_TIMEOUT = 900
NO_COMPOSE = 125
"""With it docker ends that does not know a word of what it was told; Compose never does."""
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
        _require_server("docker compose config", result)
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
        _require_server("docker compose up", result)
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
        _require_server(f"docker image inspect {ref}", result)
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


def not_built_yet(error: str) -> bool:
    """Whether a pull failed because the registry has no such image, and not because it could not be asked.

    Registries say `manifest unknown`; ghcr.io says `denied` for a package that nobody has pushed.
    """
    if re.search(r"no such host|lookup |dial tcp|timeout|connection re|permission denied", error):
        return False
    return re.search(r"manifest unknown|not found|does not exist|denied", error) is not None


def _require_server(what: str, result: Result) -> None:
    """Raise Problem where it is this server that failed, whatever Docker was asked to do."""
    if result.code == NO_COMPOSE or "docker command" in result.err:
        raise Problem("This server's docker has no `docker compose`: its plugin is gone. Run deploy.py again.")
    if not result.ok and servers_fault(result.err):
        raise Problem(f"{what}: {complaint(result)}.")


def servers_fault(error: str) -> bool:
    """Whether it is this server that failed: no commit is to blame for that.

    Docker is down, or this user may not ask it (older versions call it `the Docker daemon`, newer ones `the docker
    API`); or the disk or the memory is full.
    """
    signs = (
        r"docker (daemon|api)\b"
        r"|error during connect|shutting down"
        r"|no space left on device|cannot allocate memory|too many open files|input/output error"
    )
    return re.search(signs, error, re.IGNORECASE) is not None


def complaint(result: Result) -> str:
    """Return what Docker complained about, on one line, without its warnings."""
    lines = [line.strip() for line in result.err.splitlines() if line.strip()]
    lines = [line for line in lines if "level=warning" not in line]
    text = lines[-1] if lines else f"exit code {result.code}"
    text = text.removeprefix("Error response from daemon: ").removesuffix(" Is the docker daemon running?")
    return one_line(text).rstrip(".")
