"""The dump before a deploy: when there is one, what is kept, and what a failure stops. Docker says what it is told."""

import json
import shutil
from pathlib import Path

import pytest
from koprogo.backups import packing, space
from koprogo.backups.retention import Backup
from koprogo.deploys import predump
from koprogo.deploys.work import Work
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Attempt, Step
from test_koprogo_backup import WHOLE
from test_koprogo_deploy import Bench

IMAGES = {"backend": "x/backend:2", "postgres": "postgres:15", "traefik": "docker.io/traefik:v3", "web": "x/web:2"}


def container(service: str, image: str, status: str = "running") -> Container:
    return Container(
        id=f"id-{service}", name=f"koprogo-{service}", service=service, image_ref="", image_id=image, status=status,
        health=None, exit_code=0, restarts=0, started="", restart_policy="always", last_output="",
    )  # fmt: skip


RUNNING = [container(service, f"{service}-1") for service in IMAGES]


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({}, []),
        ({"backend": "backend-2"}, ["backend"]),
        ({"web": "web-2", "backend": "backend-2"}, ["backend", "web"]),
        ({"postgres": "postgres-2", "traefik": "traefik-2"}, []),
        ({"web": None}, ["web"]),
    ],
)
def test_which_images_call_for_a_dump(new: dict[str, str | None], expected: list[str]) -> None:
    ids = {service: f"{service}-1" for service in IMAGES} | new
    assert predump.changing(IMAGES, ids, RUNNING, "postgres") == expected


def test_a_service_without_a_container_may_bring_a_migration() -> None:
    ids = {service: f"{service}-1" for service in IMAGES}
    assert predump.changing(IMAGES, ids, RUNNING[1:], "postgres") == ["backend"]
    two = [*RUNNING, container("backend", "backend-0")]
    assert predump.changing(IMAGES, ids, two, "postgres") == ["backend"]


def test_the_last_three_are_kept_and_one_of_them_is_of_this_deploy() -> None:
    dumps = [Backup(Path(f"/b/{name}"), "20261122", 1, 0.0) for name in "abcde"]
    assert [one.path.name for one in predump.expired(dumps, "")] == ["a", "b"]
    assert [one.path.name for one in predump.expired(dumps, "/b/d")] == ["a", "d"]
    assert [one.path.name for one in predump.expired(dumps[3:], "/b/d")] == ["d"]
    assert predump.expired(dumps[2:], "") == []


class Server(Bench):
    """A server on which a backend and a database run, and a newer backend has been pulled."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.programs / "zstd").symlink_to(shutil.which("zstd") or "zstd")
        self.dump(f"/bin/cat <<'END'\n{WHOLE}END")
        self.inspected("running")
        self.work = Work(self.config, Runner(), asked=False)
        self.work.save(attempt=Attempt("c" * 40, Step.PULLED, 1.0))
        self.folder = self.config.backup_dir / "before-deploys"

    def inspected(self, database: str, backend: str = "sha256:1") -> None:
        """Say what state the database is in, and what the backend runs."""
        facts = [("postgres", "sha256:p", database), ("backend", backend, "running")]
        text = [
            {"Id": name, "Name": f"/koprogo-{name}", "Image": image, "HostConfig": {},
             "Config": {"Image": "x", "Labels": {"com.docker.compose.service": name}},
             "State": {"Status": status, "ExitCode": 0}}
            for name, image, status in facts
        ]  # fmt: skip
        (self.config.state_dir / "inspected").write_text(json.dumps(text))

    def dump(self, script: str) -> None:
        """Make pg_dumpall this script."""
        self.docker(
            f"""case "$*" in
ps*) echo 0123 ;;
'container inspect'*) /bin/cat {self.config.state_dir}/inspected ;;
*'image inspect'*postgres*) echo sha256:p null ;;
*'image inspect'*) echo sha256:2 null ;;
*printenv*) echo koprogo ;;
*zstd*) exit 127 ;;
*--version) echo 'pg_dumpall (PostgreSQL) 15.18' ;;
*pg_dumpall*) {script}
;;
*) exit 9 ;;
esac"""
        )

    def make(self) -> None:
        """Dump, if that is called for."""
        project = Project("production", {"backend": "x/backend:2", "postgres": "postgres:15"})
        predump.make(self.work, "c" * 40, project)

    def dumps(self) -> list[str]:
        """The files there are."""
        return sorted(path.name for path in self.folder.glob("*")) if self.folder.exists() else []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


def test_a_dump_before_a_new_backend(server: Server) -> None:
    server.make()
    attempt = server.store.load().attempt
    assert attempt is not None
    assert attempt.step is Step.DUMPED
    path = Path(attempt.dump)
    assert path.parent == server.folder
    assert b"".join(packing.unpack(path)).decode() == WHOLE
    assert json.loads(path.with_name(path.name.replace(".sql.zst", ".json")).read_text())["commit"] == server.first
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_dump_where_nothing_changes_or_no_database_runs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.inspected("running", backend="sha256:2")
    server.make()
    assert capsys.readouterr().out == ""
    server.inspected("exited")
    server.make()
    assert "The database (postgres) does not run: no dump before this deploy." in capsys.readouterr().out
    assert server.dumps() == []
    assert server.work.attempt.step is Step.PULLED


def test_a_dump_that_fails_stops_the_deploy_and_keeps_the_older_ones(server: Server) -> None:
    server.make()
    before = server.dumps()
    server.dump("echo 'FATAL: out of memory' >&2; exit 1")
    server.work.save(attempt=Attempt("d" * 40, Step.PULLED, 1.0))
    with pytest.raises(Problem) as caught:
        server.make()
    assert str(caught.value) == (
        "No dump of the database could be made, so ccccccc is not deployed: pg_dumpall failed (exit code 1): FATAL: "
        "out of memory. What runs goes on running, untouched; the next check tries again."
    )
    assert server.dumps() == before
    assert (server.work.attempt.step, server.work.attempt.dump) == (Step.PULLED, "")


@pytest.mark.parametrize("first", [True, False])
def test_no_dump_that_would_fill_the_disk(server: Server, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server.make()
    if first:
        for path in server.folder.iterdir():
            path.rename(server.config.backup_dir / path.name)
    (dump,) = server.config.backup_dir.rglob("*.sql.zst")
    before = server.dumps()
    monkeypatch.setattr(space, "look", lambda path: space.Room(path, 20_000_000_000, 1_000_000_000, 0, 0))
    with pytest.raises(Problem) as caught:
        server.make()
    assert str(caught.value) == (
        f"No dump of the database could be made, so ccccccc is not deployed: {server.folder} has 1000.0 of 20000.0 MB "
        f"free; the last set has {dump.stat().st_size / 1e6:.1f} MB, and 1000.0 MB have to stay free. What runs goes "
        f"on running, untouched; the next check tries again."
    )
    assert server.dumps() == before
    monkeypatch.setattr(space, "look", lambda path: space.Room(path, 20_000_000_000, 1_000_010_000, 0, 0))
    server.make()
    assert len(server.dumps()) == 2


def test_a_database_that_grew_since_the_last_deploy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.make()
    for path in server.folder.iterdir():
        (server.config.backup_dir / path.name).write_bytes(path.read_bytes())
    (grown,) = server.config.backup_dir.glob("*.sql.zst")
    grown.write_bytes(bytes(9_000_000))
    manifest = grown.with_name(grown.name.replace(".sql.zst", ".json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"size": 9_000_000}))
    monkeypatch.setattr(space, "look", lambda path: space.Room(path, 20_000_000_000, 1_001_000_000, 0, 0))
    with pytest.raises(Problem, match=r"the last set has 9\.0 MB"):
        server.make()


def test_a_dump_that_hangs_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predump, "LIMIT", 0.5)
    server.dump("exec /bin/sleep 60")
    with pytest.raises(Problem, match=r"is not deployed: pg_dumpall did not end within 0 s\. What runs"):
        server.make()
    assert server.dumps() == []


def test_a_deploy_that_is_begun_again_has_one_dump(server: Server) -> None:
    server.make()
    first = server.work.attempt.dump
    server.make()
    assert server.work.attempt.dump != first
    assert len(server.dumps()) == 2
    for commit in "def":
        server.work.save(attempt=Attempt(commit * 40, Step.PULLED, 1.0))
        server.make()
    assert len(server.dumps()) == 6
    assert server.work.attempt.dump.endswith(server.dumps()[-1])


def test_what_a_kill_left_of_a_dump_goes(server: Server) -> None:
    server.folder.mkdir(parents=True, mode=0o755)
    (server.folder / ".postgres.sql.zst.partial").write_bytes(b"x")
    server.make()
    assert len(server.dumps()) == 2
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_stops_the_deploy(server: Server) -> None:
    server.config.backup_dir.touch()
    with pytest.raises(Problem, match=r"is not deployed: /.*/backups/before-deploys: File exists\. What runs"):
        server.make()


def test_an_old_dump_that_stays_is_no_failure(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koprogo.backups.backup_folder.remove", _refused)
    server.make()
    assert "an old one could not be deleted" in capsys.readouterr().out
    assert server.work.attempt.step is Step.DUMPED


def _refused(*_: object) -> None:
    raise Problem("Backup x is good, but an old one could not be deleted: y: Operation not permitted.")
