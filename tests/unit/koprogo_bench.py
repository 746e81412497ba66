"""A server for the program's commands: real repositories, and a `docker` that keeps images and containers in files.

What `rollout.roll` and the health gate do is not looked at here: containers are those of the compose file at once, and
as healthy as a test wants them.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo import history
from koprogo.deploys import deploy, gate, predump, rollout
from koprogo.deploys.work import Work
from koprogo.docker import routing
from koprogo.docker.compose import Project
from koprogo.state import Deployed, Entry, Outcome, State, Store
from test_koprogo_git import COMPOSE, Upstream, clone, git

DOCKER = """
cd {folder}
echo "$*" >> calls
name() {{ echo "$1" | /usr/bin/tr / _; }}
case "$*" in
info*) echo / ;;
compose*config*)
  test ! -e invalid || {{ echo 'yaml: did not find expected node' >&2; exit 14; }}
  labels='"labels": {{"koprogo.schema": "'$(/bin/cat "schema-$IMAGE_TAG" 2>/dev/null)'"}}'
  echo '{{"name": "production", "services": {{"backend": {{"image": "x/backend:'$IMAGE_TAG'", '$labels'}},'
  echo '"postgres": {{"image": "postgres:15"}}}}}}' ;;
"image inspect --format {{{{.Id}}}} "*)
  test -e "images/$(name "$5")" || {{ echo 'No such image' >&2; exit 1; }}
  echo "$(/bin/cat "images/$(name "$5")") null" ;;
*RepoDigests*) echo '["x/backend@sha256:'$5'"]' ;;
"pull --quiet x/backend@sha256:"*) echo "${{3#*sha256:}}" > "images/${{3#*sha256:}}" ;;
"pull --quiet "*) test ! -e images/registry || {{ echo 'x: not found' >&2; exit 1; }}
  echo "i-$(name "$3")" > "images/$(name "$3")"; echo "i-$(name "$3")" > "images/i-$(name "$3")" ;;
"tag "*) echo "$2" > "images/$(name "$3")" ;;
ps*) /bin/cat ids ;;
"container inspect --format"*) ;;
"container inspect"*) /bin/cat containers ;;
"logs "*) echo "line of $*" ;;
"image ls"*) ;;
*) echo "no such command: $*" >&2; exit 1 ;;
esac
"""


class Cut(BaseException):
    """The program is killed."""


class Bench:
    """A server on which nothing was deployed so far, and its upstream repository with one commit."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.upstream = Upstream(folder / "upstream")
        self.first = self.upstream.commit({COMPOSE: "services: {}\n"}, "First")
        self.second = self.third = ""
        self.config = clone(self.upstream, folder)
        self.config.env_file.write_text("")
        self.store = Store(self.config.state_dir)
        self.docker = folder / "docker"
        (self.docker / "images").mkdir(parents=True)
        (self.docker / "images" / "postgres:15").write_text("i-postgres")
        self.containers({})
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "git").symlink_to(shutil.which("git") or "git")
        (self.programs / "docker").write_text("#!/bin/sh\n" + DOCKER.format(folder=self.docker))
        (self.programs / "docker").chmod(0o755)
        self.sick: set[str] = set()
        """Commits that do not become healthy."""
        self.while_rolling: Callable[[], None] = lambda: None
        self.use(monkeypatch)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the program find this server."""
        self.sick, self.while_rolling = set(), lambda: None
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.setenv("SUDO_USER", "marie")
        monkeypatch.setattr(rollout, "roll", self._roll)
        monkeypatch.setattr(predump, "make", lambda *_: None)
        monkeypatch.setattr(gate.Gate, "wait", lambda *_: None)
        monkeypatch.setattr(gate.Gate, "_ask", lambda *_: ())

    def _roll(self, work: Work, project: Project) -> str | None:
        commit = git(self.config.checkout, "rev-parse", "HEAD")
        self.while_rolling()
        self.containers(project.images, {name: routing.schema(spec) for name, spec in project.services.items()})
        return "backend: unhealthy" if commit in self.sick else None

    def containers(self, images: Mapping[str, str], schemas: Mapping[str, str] | None = None) -> None:
        """Let these run: service → image, and the form of the data that it works with."""
        found = [
            {"Id": f"c-{service}", "Name": f"/{service}", "Image": self.image(ref), "HostConfig": {},
             "Config": {"Image": ref, "Labels": {"com.docker.compose.service": service,
                                                 "koprogo.schema": (schemas or {}).get(service, "")}},
             "State": {"Status": "running", "ExitCode": 0}}
            for service, ref in images.items()
        ]  # fmt: skip
        (self.docker / "containers").write_text(json.dumps(found))
        (self.docker / "ids").write_text("".join(f"c-{service}\n" for service in images))

    def image(self, ref: str) -> str:
        """The ID of an image; "" for one that is not here."""
        file = self.docker / "images" / ref.replace("/", "_")
        return file.read_text().strip() if file.exists() else ""

    def running(self) -> list[str]:
        """The images that run."""
        return [item["Image"] for item in json.loads((self.docker / "containers").read_text())]

    def calls(self) -> list[str]:
        """The calls of docker since the last time."""
        file = self.docker / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found

    def push(self, name: str, schema: str = "") -> str:
        """Commit something; `schema` is the form of the data that it works with."""
        commit = self.upstream.commit({"README": name}, name)
        (self.docker / f"schema-main-{commit[:7]}").write_text(schema)
        return commit

    def check(self, *, asked: bool = False) -> int:
        """One run of `koprogo deploy`, by the timer unless a person asks."""
        return deploy.run(self.config, asked=asked)

    def deploys(self, *names: str) -> list[str]:
        """Commit and deploy, one after the other."""
        commits = []
        for name in names:
            commits.append(self.push(name))
            assert self.check() == 0
        return commits

    @property
    def state(self) -> State:
        """What is remembered."""
        return self.store.load()

    def running_commit(self) -> str:
        """The commit that runs, by state and by the work tree."""
        deployed = self.state.deployed
        assert deployed is not None
        assert git(self.config.checkout, "rev-parse", "HEAD") == deployed.commit
        return deployed.commit


def lived(state_dir: Path, version: Deployed) -> None:
    """Write into the history that a version ran."""
    name = f"{version.commit}{(state_dir / history.FILE).exists() and len(history.read(state_dir))}"
    history.append(state_dir, [Entry(name, version.since, version.commit, Outcome.DEPLOYED, version=version)])


def told(entries: list[Entry]) -> list[tuple[str, str, str]]:
    """Of each entry: subject, result, who."""
    return [(entry.subject, entry.result.value, entry.by) for entry in entries]


class Snapshot:
    """A server on which three commits were deployed, the last a while ago; made once, since that takes a second."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._copy = folder / "server", folder / "copy"
        self._folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            self._bench = Bench(self._folder, patch)
            assert self._bench.check() == 0
            self._bench.second, self._bench.third = self._bench.deploys("Second", "Third")
            self._bench.store.save(replace(self._bench.state, probation=None))
            self._bench.calls()
        shutil.copytree(self._folder, self._copy, symlinks=True)

    def restored(self, monkeypatch: pytest.MonkeyPatch) -> Bench:
        """Return it as it was then."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder, symlinks=True)
        self._bench.use(monkeypatch)
        return self._bench
