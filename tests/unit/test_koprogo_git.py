"""The clone on the server, against real repositories."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo.config import Config, parse
from koprogo.deploys.git import Kind, Repository
from koprogo.problem import Problem
from koprogo.runner import Runner

COMPOSE = "deploy/production/docker-compose.yml"


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder; returns what it printed."""
    identity = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def head(config: Config) -> str:
    """The commit that the work tree is at."""
    return git(config.checkout, "rev-parse", "HEAD")


class Upstream:
    """A repository to clone, and somebody who commits to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        """Run git in it; returns what it printed."""
        return git(self.folder, *arguments)

    def commit(self, files: dict[str, str], message: str = "Change") -> str:
        """Commit these files; returns the commit."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit({COMPOSE: "services: {}\n", ".gitignore": ".env\n"}, "First")
    return made


def clone(upstream: Upstream, tmp_path: Path) -> Config:
    """Clone the repository, and return the configuration of a server that has this clone."""
    checkout = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(upstream.folder), str(checkout)], check=True)
    (tmp_path / "state").mkdir()
    return parse(
        {
            "repository": str(upstream.folder),
            "branch": "main",
            "checkout": str(checkout),
            "compose_file": str(checkout / COMPOSE),
            "env_file": str(checkout / "deploy/production/.env"),
            "image_tag": "main-{sha7}",
            "health_urls": ["https://koprogo.test"],
            "database_service": "postgres",
            "backup_dir": str(tmp_path / "backups"),
            "backup_days": 7,
            "state_dir": str(tmp_path / "state"),
            "tls_ca_file": None,
        }
    )


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Config:
    return clone(upstream, tmp_path)


@pytest.fixture
def repository(config: Config) -> Repository:
    return Repository(config, Runner())


def test_the_newest_commit_is_seen_before_it_is_here(
    upstream: Upstream, repository: Repository, config: Config
) -> None:
    first = head(config)
    second = upstream.commit({"a": "1"}, "Second\n\nbody")
    assert repository.remote_head() == second
    assert git(config.checkout, "rev-parse", "origin/main") == first
    assert repository.fetch() == second
    assert git(config.checkout, "rev-parse", "origin/main") == second
    assert head(config) == first
    assert repository.subject(second) == "Second"
    assert repository.is_ancestor(first, second)
    assert not repository.is_ancestor(second, first)


def test_names_that_others_give_to_commits_stay_with_them(
    upstream: Upstream, repository: Repository, config: Config
) -> None:
    second = upstream.commit({"a": "1"})
    upstream.git("tag", "v2")
    assert repository.fetch() == second
    assert git(config.checkout, "tag") == ""


def test_a_rewritten_history_is_fetched_and_seen_as_such(upstream: Upstream, repository: Repository) -> None:
    second = upstream.commit({"a": "1"})
    assert repository.fetch() == second
    upstream.git("reset", "--quiet", "--hard", "HEAD~1")
    other = upstream.commit({"a": "2"})
    assert repository.fetch() == other
    assert not repository.is_ancestor(second, other)


def test_a_subject_cannot_write_to_the_terminal(upstream: Upstream, repository: Repository) -> None:
    commit = upstream.commit({}, "red \x1b[31m " + "x" * 200)
    repository.fetch()
    subject = repository.subject(commit)
    assert subject.startswith("red [31m xxx")
    assert len(subject) == 80


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"branch": "production"}, "has no branch production"),
        ({"repository": "/nowhere/at/all"}, "'/nowhere/at/all' does not appear to be a git repository"),
        ({"repository": "https://127.0.0.1:9/x.git"}, "Failed to connect|Couldn't connect|Connection refused"),
    ],
)
def test_what_goes_wrong_is_one_line(config: Config, change: dict[str, str], text: str) -> None:
    with pytest.raises(Problem, match=text) as caught:
        Repository(replace(config, **change), Runner()).remote_head()  # type: ignore[arg-type]  # only text fields
    assert "\n" not in str(caught.value)
    assert "The running version goes on" in str(caught.value)


def test_a_folder_that_is_no_clone(config: Config, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is not a clone"):
        Repository(replace(config, checkout=tmp_path / "nothing"), Runner()).local_changes()


def test_export_leaves_the_work_tree_alone(
    upstream: Upstream, repository: Repository, config: Config, tmp_path: Path
) -> None:
    first = head(config)
    commit = upstream.commit({COMPOSE: "services: {new: {}}\n", "other/file": "x", ".index": "x"})
    repository.fetch()
    copy = tmp_path / "state" / "candidate"
    (copy / "left" / "over").mkdir(parents=True)
    repository.export(commit, copy)
    assert (copy / COMPOSE).read_text() == "services: {new: {}}\n"
    assert (copy / "other/file").read_text() == "x"
    assert not (copy / "left").exists()
    assert config.compose_file.read_text() == "services: {}\n"
    assert head(config) == first
    assert repository.local_changes() == []


def test_check_out_keeps_the_secrets_and_mends_what_a_killed_git_left(
    upstream: Upstream, repository: Repository, config: Config
) -> None:
    config.env_file.write_text("JWT_SECRET=x\n")
    commit = upstream.commit({COMPOSE: "services: {new: {}}\n"})
    repository.fetch()
    config.compose_file.write_text("half of a fi")
    (config.checkout / ".git" / "index.lock").touch()
    repository.check_out(commit)
    assert head(config) == commit
    assert config.compose_file.read_text() == "services: {new: {}}\n"
    assert config.env_file.read_text() == "JWT_SECRET=x\n"
    assert repository.local_changes() == []


def test_no_hook_of_the_clone_is_run(upstream: Upstream, repository: Repository, config: Config) -> None:
    hooks, ran = config.checkout / ".git" / "hooks", config.checkout / ".git" / "ran"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    upstream.commit({"a": "1"})
    repository.check_out(repository.fetch())
    assert not ran.exists()


def test_check_out_goes_back_and_stays_on_the_branch(
    upstream: Upstream, repository: Repository, config: Config
) -> None:
    first = head(config)
    repository.check_out(upstream.commit({"new": "1"}) and repository.fetch())
    assert (config.checkout / "new").exists()
    repository.check_out(first)
    assert head(config) == first
    assert not (config.checkout / "new").exists()
    assert git(config.checkout, "symbolic-ref", "--short", "HEAD") == "main"


def test_local_changes_and_tracked_secrets(upstream: Upstream, repository: Repository, config: Config) -> None:
    config.env_file.write_text("JWT_SECRET=x\n")
    config.compose_file.write_text("services: {mine: {}}\n")
    assert repository.local_changes() == [COMPOSE]
    upstream.git("add", "--all")
    (upstream.folder / "deploy/production/.env").write_text("JWT_SECRET=y\n")
    upstream.git("add", "--force", "deploy/production/.env")
    commit = upstream.commit({})
    repository.fetch()
    assert repository.kind(commit, "deploy/production/.env") is Kind.FILE
    assert repository.kind(commit, "deploy") is Kind.FOLDER
    assert repository.kind(head(config), "deploy/production/.env") is None


def test_a_clone_of_one_commit_is_enough(upstream: Upstream, config: Config, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{upstream.folder}", str(shallow)], check=True)
    repository = Repository(replace(config, checkout=shallow, repository=f"file://{upstream.folder}"), Runner())
    first = git(shallow, "rev-parse", "HEAD")
    upstream.commit({"a": "1"})
    newest = upstream.commit({"a": "2"})
    assert repository.fetch() == newest
    assert repository.is_ancestor(first, newest)
