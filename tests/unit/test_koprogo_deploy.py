"""A check until it touches something: real repositories, and a `docker` that says what it is told.

What comes after that is tested on a real server, in tests/machine/test_koprogo.py.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from koprogo.config import Config
from koprogo.deploys import deploy, prepare, undo
from koprogo.deploys.work import Work
from koprogo.docker.compose import Compose, Invalid, Project
from koprogo.problem import Problem
from koprogo.runner import Result, Runner
from koprogo.state import Deployed, State, Store
from test_koprogo_git import COMPOSE, Upstream, clone, git

VALID = json.dumps({"name": "production", "services": {"backend": {"image": "x/backend:1"}}})
NOT_BUILT = f"""case "$*" in
info*) echo / ;;
*config*) echo '{VALID}' ;;
pull*) echo 'x/backend:1: not found' >&2; exit 1 ;;
*) exit 1 ;;
esac"""


class Bench:
    """A server on which the first commit runs."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream(folder / "upstream")
        self.first = self.upstream.commit({COMPOSE: "services: {}\n"})
        self.config = clone(self.upstream, folder)
        self.config.env_file.write_text("")
        self.store = Store(self.config.state_dir)
        self.store.save(State(deployed=Deployed(self.first, "main-1", 1.0, "hash", "production", {})))
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "git").symlink_to(shutil.which("git") or "git")

    def docker(self, script: str, mode: int = 0o755) -> None:
        """Make `docker` this script for sh."""
        path = self.programs / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)

    def quarantine(self) -> list[str]:
        """The commits that are not tried again."""
        return [bad.commit for bad in self.store.load().quarantine]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


class Answering(Runner):
    """Starts nothing, and answers the same to everything."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result

    def run(self, *_: object, **__: object) -> Result:
        """Answer."""
        return self.result


@pytest.fixture
def config(tmp_path: Path) -> Config:
    upstream = Upstream(tmp_path / "upstream")
    upstream.commit({COMPOSE: "services: {}\n"})
    return clone(upstream, tmp_path)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result(14, "", "yaml: line 2: did not find expected node\n"), "yaml: line 2: did not find expected node"),
        (Result(0, "not JSON", ""), "docker compose config: Expecting value"),
        (Result(0, '{"name": "x", "services": {"a": {"build": "."}}}', ""), "no image for a"),
        (Result(0, '{"name": "x", "services": {}}', ""), "no service that should have a container"),
        (Result(0, '{"name": "x", "services": null}', ""), "no service that should have a container"),
        (Result(0, '{"name": "x", "services": {"a": {"scale": 0, "image": "x"}}}', ""), "no service that should"),
    ],
)
def test_a_compose_file_that_is_not_valid(config: Config, result: Result, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        Compose(config, Answering(result), "main-1").project()


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result(None, "", "no answer from `docker compose` within 60 s"), "no answer from `docker compose` within"),
        (Result(-9, "", ""), "exit code -9"),
        (
            Result(125, "", "unknown flag: --env-file\n\nRun 'docker --help' for more information\n"),
            "its plugin is gone",
        ),
        (Result(1, "", "docker: 'compose' is not a docker command.\nSee 'docker --help'\n"), "its plugin is gone"),
    ],
)
def test_a_docker_that_does_not_answer_says_nothing_about_the_compose_file(
    config: Config, result: Result, text: str
) -> None:
    with pytest.raises(Problem, match=text) as caught:
        Compose(config, Answering(result), "main-1").project()
    assert not isinstance(caught.value, Invalid)


def test_a_wrong_line_of_the_env_file_is_not_shown(config: Config) -> None:
    complaint = f"failed to read {config.env_file}: line 4: unterminated quoted value 'hunter2 x\n"
    with pytest.raises(Problem) as caught:
        Compose(config, Answering(Result(1, "", complaint)), "main-1").project()
    assert not isinstance(caught.value, Invalid)
    assert str(caught.value) == (
        f"docker compose cannot read {config.env_file}: it is not there, or a line of it is wrong (not shown, for it "
        "may hold a secret). Mend it and run `koprogo deploy`."
    )


def test_a_commit_that_is_ahead_of_the_settings_waits_for_them(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = bench.upstream.commit({"a": "1"})
    bench.docker(
        "echo 'error while interpolating services.backend.environment.STRIPE_KEY: required variable STRIPE_KEY is "
        "missing a value: from the dashboard' >&2; exit 1"
    )
    assert deploy.run(bench.config, asked=False) == 1
    assert capsys.readouterr().err.endswith(
        f"PROBLEM The compose file wants a value for STRIPE_KEY, which {bench.config.env_file} lacks. On the "
        f"operator's machine: APP_STRIPE_KEY=… in .env, then deploy.py. What runs goes on running; the next check "
        f"tries again.\n"
    )
    assert bench.quarantine() == []
    bench.docker(NOT_BUILT)
    assert deploy.run(bench.config, asked=False) == 0
    attempt = bench.store.load().attempt
    assert attempt is not None
    assert attempt.commit == commit


def test_a_commit_with_an_invalid_compose_file_is_not_tried_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = bench.upstream.commit({"a": "1"})
    bench.docker("echo 'yaml: did not find expected node' >&2; exit 14")
    assert deploy.run(bench.config, asked=False) == 1
    assert f"Cannot deploy {commit[:7]}: docker compose config: yaml: did not find" in capsys.readouterr().err
    assert bench.quarantine() == [commit]


def test_what_is_mounted_from_the_copy_that_is_looked_at_is_mounted_from_the_checkout(bench: Bench) -> None:
    copy = bench.config.state_dir / "candidate" / "clone"
    mounts = ", ".join(f'{{"source": "{copy}{path}"}}' for path in ("", "/traefik", "-of-somebody-else"))
    bench.docker(f"""echo '{{"name": "p", "services": {{"backend": {{"image": "x", "volumes": [{mounts}]}}}}}}'""")
    project = prepare.read_project(Work(bench.config, Runner(), asked=False), bench.first, "main-1")
    assert [mount["source"] for mount in project.services["backend"]["volumes"]] == [
        str(bench.config.checkout),
        f"{bench.config.checkout}/traefik",
        f"{copy}-of-somebody-else",
    ]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("cd deploy && mv production other && ln -s other production", "deploy/production is a symbolic link in"),
        ("cd deploy && mv production other && ln -s /etc production", "deploy/production is a symbolic link in"),
        ("cd deploy && rm -r production && ln -s production production", "deploy/production is a symbolic link in"),
        ("mv deploy other && ln -s other deploy", "deploy is a symbolic link in the repository, and has to be"),
        ("rm -r deploy && touch deploy", "deploy is a file in the repository, and has to be a folder"),
        ("rm -r deploy/production && git init -q deploy/production && cd deploy/production && "
         "git -c user.name=x -c user.email=x@y commit -q --allow-empty -m x && cd ../.. && git add --all",
         "deploy/production is a submodule in"),
        ("cd deploy/production && mv docker-compose.yml ../a && ln -s ../a docker-compose.yml",
         f"{COMPOSE} is a symbolic link in the repository, and has to be a file there"),
        ("cd deploy/production && ln -s -f .env docker-compose.yml", f"{COMPOSE} is a symbolic link in"),
        (f"rm {COMPOSE} && mkdir {COMPOSE} && touch {COMPOSE}/a", f"{COMPOSE} is a folder in"),
        ("mv deploy/production deploy/Production", f"{COMPOSE} is not in the repository"),
        ("echo A=b > deploy/production/.env", "the repository has deploy/production/.env itself"),
        ("ln -s /etc/passwd deploy/production/.env", "the repository has deploy/production/.env itself"),
        ("mkdir deploy/production/.env && touch deploy/production/.env/a", "the repository has deploy/production/.env"),
    ],
)  # fmt: skip
def test_a_commit_that_puts_something_in_the_place_of_the_settings_is_refused_untouched(
    bench: Bench, capsys: pytest.CaptureFixture[str], script: str, text: str
) -> None:
    bench.config.env_file.write_text("JWT_SECRET=x\n")
    subprocess.run(["/bin/sh", "-ec", script], cwd=bench.upstream.folder, env={"PATH": os.defpath}, check=True)
    commit = bench.upstream.commit({})
    bench.docker(NOT_BUILT)
    assert deploy.run(bench.config, asked=False) == 1
    assert f"Cannot deploy {commit[:7]}: {text}" in capsys.readouterr().err
    assert bench.config.env_file.read_text() == "JWT_SECRET=x\n"
    assert not [path for path in (bench.config.checkout / "deploy/production").iterdir() if path.is_symlink()]
    assert git(bench.config.checkout, "rev-parse", "HEAD") == bench.first
    assert bench.quarantine() == [commit]


def test_a_compose_file_that_calls_the_project_otherwise_is_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.docker(NOT_BUILT.replace("production", "other"))
    commit = bench.upstream.commit({"a": "1"})
    assert deploy.run(bench.config, asked=False) == 1
    said = f"Cannot deploy {commit[:7]}: with the .env of now its compose file calls the project other, and what runs"
    assert said in capsys.readouterr().err
    assert bench.quarantine() == []

    environment = hashlib.sha256(bench.config.env_file.read_bytes()).hexdigest()
    bench.store.save(State(deployed=Deployed(bench.first, "main-1", 1.0, environment, "production", {})))
    assert deploy.run(bench.config, asked=False) == 1
    said = f"Cannot deploy {commit[:7]}: its compose file calls the project other, and what runs is production. "
    assert said in capsys.readouterr().err
    assert bench.quarantine() == [commit]


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_servers_own_faults_are_no_fault_of_the_commit(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = bench.upstream.commit({"a": "1"})
    bench.docker("", mode=0o644)
    assert deploy.run(bench.config, asked=False) == 1
    expected = "Cannot start docker: Permission denied. What runs goes on running; the next check tries again.\n"
    assert capsys.readouterr().err.endswith(expected)
    (bench.config.state_dir / "candidate").touch()
    assert deploy.run(bench.config, asked=False) == 1
    expected = "candidate/clone: Not a directory. What runs goes on running; the next check tries again.\n"
    assert capsys.readouterr().err.endswith(expected)
    (bench.config.state_dir / "candidate").unlink()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Path, "symlink_to", no_space)
        assert deploy.run(bench.config, asked=False) == 1
    expected = ".env: No space left on device. What runs goes on running; the next check tries again.\n"
    assert capsys.readouterr().err.endswith(expected)

    bench.docker(NOT_BUILT)
    assert deploy.run(bench.config, asked=False) == 0
    attempt = bench.store.load().attempt
    assert attempt is not None
    assert (attempt.commit, bench.quarantine()) == (commit, [])


def test_a_person_is_told_what_is_waited_for_though_the_timer_saw_the_commit_first(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "ASKED_PATIENCE", 0)
    bench.docker(NOT_BUILT)
    commit = bench.upstream.commit({"a": "1"})

    def lines(*, asked: bool) -> list[str]:
        assert deploy.run(bench.config, asked=asked) == (1 if asked else 0)
        return [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]

    expected = [
        f"New commit {commit[:7]} on main (Change); {bench.first[:7]} runs.",
        "Waiting for CI to build x/backend:1.",
    ]
    assert lines(asked=False) == expected
    assert lines(asked=False) == []
    assert lines(asked=True) == expected


def sick(bench: Bench) -> Path:
    """Give up a commit that was started: there is nothing to go back to. Returns where its logs should be."""
    bench.docker(
        f"""case "$*" in
ps*) echo 0123 ;;
*inspect*) /bin/cat {bench.config.state_dir}/inspected ;;
logs*) echo 'thread main panicked' ;;
esac"""
    )
    labels = {"com.docker.compose.service": "backend"}
    container = {"Id": "0123", "Name": "/koprogo-backend", "Image": "sha256:1", "HostConfig": {},
                 "Config": {"Image": "x/backend:1", "Labels": labels},
                 "State": {"Status": "exited", "ExitCode": 1}}  # fmt: skip
    (bench.config.state_dir / "inspected").write_text(json.dumps([container]))
    return bench.config.state_dir / "failed.log"


def given_up(bench: Bench) -> str:
    work = Work(bench.config, Runner(), asked=False)
    with pytest.raises(Problem) as caught:
        undo.fail(work, bench.first, "backend: exited with 1", Project("production", {"backend": "x/backend:1"}))
    return str(caught.value)


def test_the_logs_of_a_failed_version_are_kept_for_its_user_alone(bench: Bench) -> None:
    logs = sick(bench)
    logs.write_text("of the last one, longer than what comes now\n" * 9)
    logs.chmod(0o644)
    assert given_up(bench) == (
        f"{bench.first[:7]} was started and is not healthy: backend: exited with 1. There is no other version to go "
        f"back to; its containers are left as they are. If the settings (.env) were changed, mend them; then: koprogo "
        f"deploy. Its logs: {logs}"
    )
    assert logs.read_text() == (
        f"{bench.first}: backend: exited with 1\n\n"
        "== koprogo-backend (exited, x/backend:1)\nthread main panicked\n"
    )  # fmt: skip
    assert logs.stat().st_mode & 0o777 == 0o600


def test_logs_that_cannot_be_kept_are_no_matter(bench: Bench) -> None:
    logs = sick(bench)
    logs.mkdir()
    assert given_up(bench).endswith(f"koprogo deploy. (Its logs could not be kept: {logs}: Is a directory.)")
