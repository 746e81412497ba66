"""Dumps: what counts as one, what is left of one that does not, and which may go."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path

import pytest
from koprogo.backups import backup, backup_state, dump, packing, sets
from koprogo.backups.backup_state import Run
from koprogo.backups.dump import Origin
from koprogo.backups.retention import Backup, expired, verified
from koprogo.config import Config, parse
from koprogo.problem import Problem
from koprogo.state import Deployed, State, Store

ORIGIN = Origin("koprogo-postgres", "koprogo", "15.18", "a" * 40)
NIGHT = time.mktime((2026, 11, 22, 2, 0, 5, 0, 0, -1))

WHOLE = """--
-- PostgreSQL database cluster dump
--

CREATE ROLE koprogo;
-- Database "template1" dump
\\connect template1
-- Database "koprogo_db" dump
\\connect koprogo_db
COPY public.buildings (id, name) FROM stdin;
1\tRésidence du Parc
\\.
--
-- PostgreSQL database cluster dump complete
--

"""


def write(folder: Path, script: str, now: float = NIGHT) -> Path:
    return dump.write(dump.Source(["/bin/sh", "-c", script], ORIGIN), folder, now)


def unpacked(path: Path) -> str:
    return b"".join(packing.unpack(path)).decode()


def printing(text: str) -> str:
    return f"cat <<'END'\n{text}END\n"


def test_a_whole_dump(tmp_path: Path) -> None:
    path = write(tmp_path, printing(WHOLE))
    assert path.name == "postgres_20261122_020005.sql.zst"
    assert unpacked(path) == WHOLE
    manifest = json.loads((tmp_path / "postgres_20261122_020005.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["size"] == path.stat().st_size
    assert (manifest["databases"], manifest["user"], manifest["postgres"]) == (2, "koprogo", "15.18")
    assert manifest["commit"] == "a" * 40
    assert [p.stat().st_mode & 0o777 for p in sorted(tmp_path.iterdir())] == [0o600, 0o600]
    assert [backup.path for backup in verified(tmp_path)] == [path]


def test_the_restrict_lines_of_newer_minors_do_no_harm(tmp_path: Path) -> None:
    text = WHOLE.replace("CREATE ROLE", "\\restrict abc\nCREATE ROLE") + "\\unrestrict abc\n"
    with pytest.raises(Problem, match="closing line is missing"):
        write(tmp_path, printing(text))
    text = WHOLE.replace("--\n-- PostgreSQL database cluster dump complete", "\\unrestrict abc\n\n--\n"
                         "-- PostgreSQL database cluster dump complete")  # fmt: skip
    assert write(tmp_path, printing(text)).exists()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (printing(WHOLE) + "echo 'role \"postgres\" does not exist' >&2; exit 1", 'exit code 1.: role "postgres"'),
        ("exit 0", "it is empty"),
        (printing(WHOLE[:-60]), "closing line is missing"),
        (printing(WHOLE.replace("-- Database", "-- The database")), "holds no database"),
        (printing("SELECT 1;\n" * 2000 + WHOLE), "does not begin like a dump"),
        (printing(WHOLE) + "kill -9 $$", "exit code -9"),
        (printing(WHOLE.replace("complete\n--", "complete\nERROR: disk full")), "closing line is missing"),
    ],
)
def test_anything_else_leaves_nothing_behind(tmp_path: Path, script: str, text: str) -> None:
    with pytest.raises(Problem, match=text):
        write(tmp_path, script)
    assert list(tmp_path.iterdir()) == []


def test_a_dump_larger_than_its_buffers(tmp_path: Path) -> None:
    rows = "head -c 3000000 /dev/urandom | base64\n"
    begin, end = WHOLE[:-60], WHOLE[-60:]
    path = write(tmp_path, printing(begin + "\n") + rows + printing("\n" + end))
    manifest = json.loads(dump.manifest_of(path).read_text())
    assert manifest["uncompressed_size"] > 4_000_000
    assert manifest["databases"] == 2


def test_damage_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, printing(WHOLE))
    content = path.read_bytes()
    for damaged in (content[:-1], content[:40], content + b"x", content[:50] + b"\xff" + content[51:], b""):
        path.write_bytes(damaged)
        with pytest.raises(Problem, match="not usable"):
            dump.inspect(path)


def test_two_in_one_second_have_two_names(tmp_path: Path) -> None:
    first, second = write(tmp_path, printing(WHOLE)), write(tmp_path, printing(WHOLE))
    assert (first.name, second.name) == ("postgres_20261122_020005.sql.zst", "postgres_20261122_020006.sql.zst")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="No such file or directory"):
        write(tmp_path / "nothing", printing(WHOLE))


FULL = "echo 'zstd: error 70 : Write error : cannot write block : No space left on device' >&2; exit 70"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, folder = tmp_path / "bin", tmp_path / "backups"
    for path in (programs, folder):
        path.mkdir()
    (programs / "zstd").write_text(f"#!/bin/sh\n{FULL}\n")
    (programs / "zstd").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    with pytest.raises(Problem, match=rf"^{folder}: No space left on device\.$"):
        write(folder, printing(WHOLE))
    # as Docker's client says it
    said = "echo 'write /dev/stdout: no space left on device' >&2; exit 1"
    with pytest.raises(Problem, match=rf"^{folder}: No space left on device\.$"):
        dump.write(dump.Source(["/bin/sh", "-c", said], ORIGIN, packed=True), folder, NIGHT)
    assert list(folder.iterdir()) == []


def test_a_dump_that_comes_packed_is_kept_as_it_is(tmp_path: Path) -> None:
    script = f"({printing(WHOLE)}) | zstd -q -19"
    path = dump.write(dump.Source(["/bin/sh", "-c", script], ORIGIN, packed=True), tmp_path, NIGHT)
    assert unpacked(path) == WHOLE
    for script, text in (
        ("echo x", "is damaged: "),
        (f"({printing(WHOLE[:-60] + chr(10))}) | zstd -q", "closing line"),
    ):
        with pytest.raises(Problem, match=text):
            dump.write(dump.Source(["/bin/sh", "-c", script], ORIGIN, packed=True), tmp_path, NIGHT)


def fake(day: str, hour: str = "020000") -> Backup:
    return Backup(Path(f"postgres_{day}_{hour}.sql.gz"), day, 1, 0.0)


def test_seven_days_are_kept() -> None:
    days = [f"202611{day:02d}" for day in range(10, 20)]
    assert [b.day for b in expired([fake(day) for day in days], 7)] == ["20261110", "20261111", "20261112"]


def test_several_of_one_day_are_one_day() -> None:
    backups = [fake("20261110"), fake("20261111"), fake("20261111", "030000"), fake("20261112")]
    assert expired(backups, 3) == []
    assert [b.path.name for b in expired(backups, 1)] == [
        "postgres_20261110_020000.sql.gz",
        "postgres_20261111_020000.sql.gz",
        "postgres_20261111_030000.sql.gz",
    ]


def test_days_without_a_good_backup_push_none_out() -> None:
    backups = [fake("20261001"), fake("20261002"), fake("20261122")]
    assert expired(backups, 7) == []
    assert expired([fake("20250101")], 1) == []
    assert expired([], 7) == []


def test_only_what_has_its_size_and_its_manifest_counts(tmp_path: Path) -> None:
    good = write(tmp_path, printing(WHOLE))
    for name in ("postgres_20261101_020000.sql.gz", "postgres_old.sql.zst", "mine.sql.zst"):
        (tmp_path / name).write_bytes(b"x" * 20)
    truncated = write(tmp_path, printing(WHOLE), NIGHT - 86400)
    truncated.write_bytes(truncated.read_bytes()[:20])
    broken = write(tmp_path, printing(WHOLE), NIGHT - 2 * 86400)
    dump.manifest_of(broken).write_text("{")
    assert [backup.path for backup in verified(tmp_path)] == [good]
    assert verified(tmp_path / "nothing") == []


DOCKER = """#!/bin/sh
echo "$*" >> {calls}
case "$*" in
ps*) echo 0123 ;;
*inspect*) cat {inspected} ;;
*printenv*) {printenv} ;;
*'command -v zstd') {zstd} ;;
*zstd*) cat {dump} | zstd -q ;;
*--version) echo 'pg_dumpall (PostgreSQL) 15.18' ;;
*pg_dumpall*) cat {dump} ;;
esac
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A server with a database that has something to dump; `docker` writes its arguments to `calls`."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    Store(state_dir).save(State(deployed=Deployed("a" * 40, "main-1", 1.0, "hash", "production", {})))
    (tmp_path / "dump").write_text(WHOLE)
    container = {
        "Id": "0123",
        "Name": "/koprogo-postgres",
        "Image": "sha256:1",
        "Config": {"Image": "postgres:15", "Labels": {"com.docker.compose.service": "postgres"}},
        "State": {"Status": "running", "ExitCode": 0},
        "HostConfig": {},
    }
    (tmp_path / "inspected").write_text(json.dumps([container]))
    has_user(tmp_path, "echo koprogo")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return parse(
        {
            "repository": "https://git.koprogo.test/x.git",
            "branch": "main",
            "checkout": "/home/koprogo/koprogo",
            "compose_file": "/home/koprogo/koprogo/docker-compose.yml",
            "env_file": "/home/koprogo/koprogo/.env",
            "image_tag": "main-{sha7}",
            "health_urls": [],
            "database_service": "postgres",
            "backup_dir": str(tmp_path / "backups"),
            "backup_days": 1,
            "state_dir": str(state_dir),
        }
    )


def has_user(folder: Path, printenv: str, zstd: str = "exit 127") -> None:
    """Make `docker`; `printenv` and `zstd` are what the container does when it is asked for POSTGRES_USER and zstd."""
    program = folder / "docker"
    files = {name: folder / name for name in ("calls", "inspected", "dump")}
    program.write_text(DOCKER.format(printenv=printenv, zstd=zstd, **files))
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("printenv", "user"), [("echo koprogo", "koprogo"), ("exit 1", "postgres"), ("echo", "postgres")]
)
def test_the_database_is_asked_for_nothing_but_its_user_and_its_dump(
    server: Config, tmp_path: Path, printenv: str, user: str
) -> None:
    has_user(tmp_path, printenv)
    assert backup.run(server) == 0
    (made,) = verified(server.backup_dir)
    assert json.loads(dump.manifest_of(made.path).read_text())["user"] == user
    assert (tmp_path / "calls").read_text().splitlines() == [
        "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=production",
        "container inspect 0123",
        "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=production",
        "container inspect 0123",
        "exec 0123 printenv POSTGRES_USER",
        "exec 0123 pg_dumpall --version",
        "exec 0123 bash -c command -v zstd",
        f"exec 0123 pg_dumpall --username={user} --lock-wait-timeout=600000",
    ]


def test_a_container_that_has_zstd_packs_by_itself(server: Config, tmp_path: Path) -> None:
    has_user(tmp_path, "echo koprogo", "exit 0")
    assert backup.run(server) == 0
    assert unpacked(verified(server.backup_dir)[0].path) == WHOLE
    assert (tmp_path / "calls").read_text().splitlines()[-1] == (
        'exec 0123 bash -o pipefail -c pg_dumpall "$@" | zstd -1 --single-thread --quiet --stdout --check '
        "bash --username=koprogo --lock-wait-timeout=600000"
    )


def test_what_a_full_disk_or_a_kill_left_is_cleared_away(server: Config, capsys: pytest.CaptureFixture[str]) -> None:
    server.backup_dir.mkdir()
    for name in (
        ".postgres.sql.zst.partial",
        ".postgres.uploads.tar.zst.partial",
        ".postgres_20261101_020000.json.partial",
        "postgres_20261101_020000.json",
        "postgres_20261101_020000.env",
        "postgres_20261101_020000.uploads.tar.zst",
    ):
        (server.backup_dir / name).touch()
    (server.backup_dir / "postgres_mine.txt").touch()
    assert backup.run(server) == 0
    (made,) = verified(server.backup_dir)
    left = sorted(path.name for path in server.backup_dir.iterdir())
    assert left == sorted([made.path.name, dump.manifest_of(made.path).name, "postgres_mine.txt"])
    assert capsys.readouterr().out.endswith("written and verified; 1 kept.\n")


def test_the_folder_is_its_owners_alone(server: Config) -> None:
    assert backup.run(server) == 0
    assert server.backup_dir.stat().st_mode & 0o777 == 0o700


def test_an_old_backup_that_cannot_be_deleted_does_not_make_the_new_one_bad(server: Config) -> None:
    server.backup_dir.mkdir()
    old = server.backup_dir / "postgres_20261101_020000.sql.gz"
    old.mkdir()
    dump.manifest_of(old).write_text(json.dumps({"size": old.stat().st_size}))
    with pytest.raises(Problem) as caught:
        backup.run(server)
    made = verified(server.backup_dir)[-1].path
    assert unpacked(made) == WHOLE
    assert str(caught.value) == f"Backup {made} is good, but an old one could not be deleted: {old}: Is a directory."


def test_a_set_of_a_clock_that_was_wrong_does_not_push_out_what_was_just_made(server: Config) -> None:
    server.backup_dir.mkdir()
    future = write(server.backup_dir, printing(WHOLE), NIGHT + 5000 * 86400)
    assert backup.run(server) == 0
    made, old = verified(server.backup_dir)
    assert old.path == future
    assert unpacked(made.path) == WHOLE


def test_a_foreign_file_is_never_the_newest_set(server: Config) -> None:
    assert backup.run(server) == 0
    (made,) = verified(server.backup_dir)
    (server.backup_dir / "postgres_before_the_move.sql.gz").write_bytes(b"mine")
    assert sets.find(server.backup_dir, "") == made.path
    assert sets.newest_good(server.backup_dir)[1] == []


def test_the_last_set_that_a_drill_restored_stays_until_another_was(server: Config) -> None:
    server.backup_dir.mkdir()
    for day in ("20261101", "20261102", "20261103"):
        old = server.backup_dir / f"postgres_{day}_020000.sql.zst"
        old.touch()
        dump.manifest_of(old).write_text(json.dumps({"size": 0}))
    backup_state.note(server.state_dir, "drill", Run(1.0, 2.0, "postgres_20261102_020000"))
    backup_state.note(server.state_dir, "drill", Run(1.0, 2.0, "postgres_20261103_020000", "ERROR: nonsense"))
    assert backup.run(dataclasses.replace(server, backup_days=1)) == 0
    kept = verified(server.backup_dir)
    assert [one.path.name for one in kept[:-1]] == ["postgres_20261102_020000.sql.zst"]
    backup_state.note(server.state_dir, "drill", Run(1.0, 2.0, dump.stem(kept[-1].path.name)))
    assert backup.run(dataclasses.replace(server, backup_days=1)) == 0
    assert kept[0] not in verified(server.backup_dir)


def test_a_backup_that_fails_says_so(server: Config, tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("")
    with pytest.raises(
        Problem, match=r"^No backup was made; the older ones are untouched. The dump is not usable: it is"
    ):
        backup.run(server)
    server.backup_dir.rmdir()
    server.backup_dir.touch()
    with pytest.raises(Problem, match=r"^No backup was made; .*backups: (File exists|Not a directory)\.$"):
        backup.run(server)
