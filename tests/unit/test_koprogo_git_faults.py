"""What Git servers, kills and full disks do to the clone, and what is left of it afterwards."""

import http.server
import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo.config import Config
from koprogo.deploys import git as edge
from koprogo.deploys.git import Repository
from koprogo.problem import Problem
from koprogo.runner import Result, Runner
from test_koprogo_git import COMPOSE, Upstream, clone, git, head

COMMITS = 10_000


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit({COMPOSE: "services: {}\n"}, "First")
    return made


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream) -> Config:
    return clone(upstream, tmp_path)


@pytest.fixture
def repository(config: Config) -> Repository:
    return Repository(config, Runner())


class Trickle(http.server.BaseHTTPRequestHandler):
    """Says that it is a Git server, and then a byte now and then, for ever."""

    def do_GET(self) -> None:
        """Answer without end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"0")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def trickling() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/koprogo.git"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_trickles_is_given_up(config: Config, trickling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "LOOK_TIMEOUT", 1)
    monkeypatch.setattr(edge, "FETCH_TIMEOUT", 1)
    slow = Repository(replace(config, repository=trickling), Runner())
    began = time.monotonic()
    with pytest.raises(Problem) as caught:
        slow.remote_head()
    assert str(caught.value) == (
        "Git server: `git ls-remote` did not end within 1 s. The running version goes on; the next check tries again."
    )
    with pytest.raises(Problem, match=r"^git fetch: `git fetch` did not end within 1 s\. The running version goes on"):
        slow.fetch()
    assert time.monotonic() - began < 10
    assert subprocess.run(["pgrep", "-f", trickling], stdout=subprocess.DEVNULL, check=False).returncode == 1


@pytest.mark.parametrize(
    "lock",
    [
        ".git/index.lock",
        ".git/HEAD.lock",
        ".git/packed-refs.lock",
        ".git/refs/heads/main.lock",
        ".git/refs/remotes/origin/main.lock",
    ],
)
def test_locks_that_a_killed_git_left_stop_nothing(
    upstream: Upstream, repository: Repository, config: Config, lock: str
) -> None:
    commit = upstream.commit({"a": "1"})
    (config.checkout / lock).touch()
    assert repository.fetch() == commit
    (config.checkout / lock).touch()
    repository.check_out(commit)
    assert head(config) == commit


@pytest.mark.parametrize(
    "left",
    [
        "packed-refs.new",
        "gc.pid.lock",
        "logs/HEAD.lock",
        "logs/refs/heads/main.lock",
        "logs/refs/remotes/origin/main.lock",
        "objects/info/commit-graph.lock",
    ],
)
def test_what_a_killed_housekeeping_left_does_not_stop_the_next(
    upstream: Upstream, repository: Repository, config: Config, left: str
) -> None:
    for number in range(2):
        upstream.commit({"a": str(number)})
        repository.check_out(repository.fetch())
    (config.checkout / ".git" / left).touch()
    repository.fetch()
    git(config.checkout, "gc", "--quiet")


def test_parts_of_packs_do_not_fill_the_disk(upstream: Upstream, repository: Repository, config: Config) -> None:
    objects = config.checkout / ".git" / "objects"
    (objects / "ab").mkdir(exist_ok=True)
    parts = [objects / "pack" / "tmp_pack_x1y2z3", objects / "ab" / "tmp_obj_x1y2z3"]
    parts.append(objects / "pack" / ".tmp-812-pack-0a1b.pack")  # of `git gc`, which leaves those of others for ever
    for part in parts:
        part.write_bytes(b"x" * 1000)
    gone = Repository(replace(config, repository="/nowhere"), Runner())
    with pytest.raises(Problem, match="'/nowhere' does not appear to be a git repository"):
        gone.fetch()
    assert [part.exists() for part in parts] == [False, False, False]


def test_a_fetch_that_fails_leaves_no_part_of_a_pack(config: Config) -> None:
    part = config.checkout / ".git" / "objects" / "pack" / "tmp_pack_x1y2z3"

    class FullDisk(Runner):
        def run(self, *_: object, **__: object) -> Result:
            part.write_bytes(b"x" * 1000)
            return Result(128, "", "remote: 1 object\nfatal: write error: No space left on device\nfatal: more\n")

    with pytest.raises(Problem, match=r"^git fetch: fatal: write error: No space left on device\. The running"):
        Repository(config, FullDisk()).fetch()
    assert not part.exists()


def test_what_cannot_be_removed_is_one_line(repository: Repository, config: Config) -> None:
    (config.checkout / ".git" / "index.lock").mkdir()
    with pytest.raises(Problem, match=r"/.git/index.lock: Is a directory\.$"):
        repository.fetch()


def test_a_branch_that_ends_like_ours_is_another_one(upstream: Upstream, repository: Repository) -> None:
    first = upstream.git("rev-parse", "main")
    upstream.git("checkout", "-q", "-b", "a/refs/heads/main")
    upstream.commit({"a": "1"})
    assert repository.remote_head() == first
    upstream.git("branch", "-q", "-D", "main")
    with pytest.raises(Problem, match=r"^The repository has no branch main\. The running version goes on\.$"):
        repository.remote_head()


def test_a_remote_that_is_cut_off_gives_nothing_but_a_line(upstream: Upstream, config: Config, tmp_path: Path) -> None:
    upstream.commit({"a": "1"})
    upstream.commit({"a": "2"})
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{upstream.folder}", str(shallow)], check=True)
    with pytest.raises(Problem, match="shallow is a shallow clone, which lacks what comes before its commits"):
        Repository(replace(config, repository=f"file://{shallow}"), Runner()).fetch()
    assert not (config.checkout / ".git" / "shallow").exists()


def test_an_empty_repository_has_no_branch(config: Config, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "empty")], check=True)
    with pytest.raises(Problem, match="The repository has no branch main"):
        Repository(replace(config, repository=str(tmp_path / "empty")), Runner()).remote_head()


def grow(upstream: Upstream, count: int) -> None:
    """Add many commits to main at once."""
    lines = ["feature done"]
    for number in range(count):
        message, text = f"Change {number}", f"{number}\n"
        lines += ["commit refs/heads/main", f"committer x <x@y> {1_700_000_000 + number} +0000"]
        lines += [f"data {len(message)}", message, *(["from refs/heads/main^0"] if number == 0 else [])]
        lines += [f"M 644 inline file{number % 500}", f"data {len(text)}", text]
    stream = "\n".join([*lines, "done\n"])
    command = ["git", "-C", str(upstream.folder), "fast-import", "--quiet"]
    subprocess.run(command, input=stream, text=True, check=True)


def test_ten_thousand_commits(upstream: Upstream, repository: Repository, config: Config, tmp_path: Path) -> None:
    first = head(config)
    grow(upstream, COMMITS)
    times = [time.monotonic()]
    newest = repository.remote_head()
    times.append(time.monotonic())
    assert repository.fetch() == newest
    times.append(time.monotonic())
    assert repository.is_ancestor(first, newest)
    assert repository.subject(newest) == f"Change {COMMITS - 1}"
    repository.export(newest, tmp_path / "state" / "candidate")
    repository.check_out(newest)
    times.append(time.monotonic())
    assert git(config.checkout, "rev-list", "--count", "HEAD") == str(COMMITS + 1)
    look, fetch, rest = (after - before for before, after in itertools.pairwise(times))
    assert look < 2, "the check of a large repository"
    assert fetch < 30, "its fetch"
    assert rest < 10, "its check-out"


def test_housekeeping_is_no_matter(repository: Repository, config: Config) -> None:
    repository.tidy()
    (config.checkout / ".git" / "gc.pid.lock").touch()
    repository.tidy()
