"""Room for a deploy: what is too little, and what is said and done about it."""

import os
from pathlib import Path

import pytest
from koprogo.backups import space
from koprogo.backups.space import Room
from koprogo.deploys import deploy
from koprogo.deploys.work import Work
from koprogo.problem import Problem
from koprogo.runner import Runner
from test_koprogo_deploy import NOT_BUILT, Bench

GB = 1_000_000_000


def room(size: int, free: int, files: int = 1_000_000, files_free: int = 500_000) -> Room:
    return Room(Path("/var/lib/docker"), size, free, files, files_free)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (room(25 * GB, GB), None),
        (room(25 * GB, GB - 1), "/var/lib/docker has 1000 of 25000 MB free, and a deploy wants 1000"),
        (room(4 * GB, 200_000_000), None),
        (room(4 * GB, 199_000_000), "/var/lib/docker has 199 of 4000 MB free, and a deploy wants 200"),
        (room(2000 * GB, GB), None),
        (
            room(25 * GB, 20 * GB, 1_600_000, 9_999),
            "/var/lib/docker has room for 9999 more files (inodes) of 1600000, and a deploy wants 10000",
        ),
        (room(4 * GB, GB, 1000, 50), None),
        (
            room(4 * GB, GB, 1000, 49),
            "/var/lib/docker has room for 49 more files (inodes) of 1000, and a deploy wants 50",
        ),
        (room(4 * GB, GB, 0, 0), None),
    ],
)
def test_what_is_too_little(found: Room, expected: str | None) -> None:
    assert found.shortage() == expected


def test_a_folder_that_is_not_there_is_on_the_file_system_above_it(tmp_path: Path) -> None:
    facts = os.statvfs(tmp_path)
    found = space.look(tmp_path / "not" / "there")
    assert (found.path, found.size) == (tmp_path / "not" / "there", facts.f_blocks * facts.f_frsize)
    assert found.free > 0


def test_the_first_place_that_lacks_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = {"/a": room(GB, GB), "/b": Room(Path("/b"), GB, 5, 0, 0)}
    monkeypatch.setattr(space, "look", lambda path: rooms[str(path)])
    assert space.shortage([Path("/a"), Path("/b")]) == "/b has 0.0 of 1000 MB free, and a deploy wants 50"
    assert space.shortage([Path("/a")]) is None


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    made.docker(f'echo "$*" >> {tmp_path}/calls\n{NOT_BUILT}')
    monkeypatch.setenv("PATH", str(made.programs))
    monkeypatch.setattr(space, "look", lambda path: Room(path, 25 * GB, 300_000_000, 0, 0))
    return made


def test_a_full_disk_stops_a_deploy_before_anything_is_pulled(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.upstream.commit({"a": "1"})
    assert deploy.run(bench.config, asked=False) == 1
    assert capsys.readouterr().err.split(" ", 1)[1] == (
        "PROBLEM / has 300 of 25000 MB free, and a deploy wants 1000. What runs goes on running; the next check "
        "tries again. See what takes the room: `df -h`, `docker system df`.\n"
    )
    assert "pull" not in (tmp_path / "calls").read_text()
    assert bench.quarantine() == []
    assert deploy.run(bench.config, asked=False) == 1
    assert capsys.readouterr().err == ""


def test_old_images_make_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.upstream.commit({"a": "1"})

    def images(_: object) -> None:
        monkeypatch.setattr(space, "look", lambda path: Room(path, 25 * GB, 2 * GB, 0, 0))

    monkeypatch.setattr("koprogo.docker.prune.images", images)
    assert deploy.run(bench.config, asked=False) == 0
    assert "Waiting for CI to build x/backend:1." in capsys.readouterr().out


def test_a_docker_that_cannot_be_asked_is_one_line(bench: Bench) -> None:
    bench.docker("echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1")
    with pytest.raises(Problem, match=r"^docker info: Cannot connect to the Docker daemon .* What runs goes on"):
        space.require(Work(bench.config, Runner(), asked=False))
