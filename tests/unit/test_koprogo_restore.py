"""Restores: versions, the role that is there already, volumes that change places, the note, what is asked."""

import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from koprogo import journal, lock, report, status
from koprogo.backups import (
    backup_state,
    drill,
    dump,
    exchange,
    feeding,
    packing,
    recipe,
    recovery,
    restart,
    restore,
    restoring,
    sets,
    throwaway,
)
from koprogo.backups.backup_state import Run
from koprogo.backups.content import Content
from koprogo.backups.recipe import Recipe
from koprogo.config import Config
from koprogo.deploys.work import Work
from koprogo.journal import Exchange, Journal, Step
from koprogo.problem import Problem
from koprogo.runner import Result, Runner
from koprogo.state import Attempt
from koprogo.state import Step as StepOfDeploy
from koprogo_bench import Bench
from test_koprogo_backup import NIGHT, ORIGIN, server
from test_koprogo_set import REAL, flip, with_files, write

__all__ = ["server"]  # a fixture

NOTE = Journal(
    dump="/b/postgres_20261122_020005.sql.zst", step=Step.STOPPING, started=1.0, by="marie", image="sha256:1",
    database="koprogo-postgres", root="/var/lib/docker/volumes",
    exchanges=(Exchange("production_data", "koprogo-restore-1"), Exchange("production_up", "koprogo-restore-1-up")),
    files=True, running=("koprogo-backend",), lenient=("https://koprogo.test",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("of", "here", "words"),
    [
        ("15.18 (Debian 15.18-0+deb12u1)", "15.18 (Debian 15.18-0+deb12u1)", ""),
        ("15.1", "15.18", ""),
        ("15.9", "15.10", ""),
        ("15.19", "15.18", "is of PostgreSQL 15.19, newer than the 15.18 that is here"),
        ("14.18", "15.18", "is of PostgreSQL 14, and this is PostgreSQL 15"),
        ("16.1", "15.18", "is of PostgreSQL 16, and this is PostgreSQL 15"),
        ("", "15.18", ""),
    ],
)
def test_which_versions_fit(tmp_path: Path, of: str, here: str, words: str) -> None:
    found = dataclasses.replace(write(tmp_path), postgres=of)
    if not words:
        recipe.refuse_version(found, here)
        return
    with pytest.raises(Problem, match=words):
        recipe.refuse_version(found, here)


def test_the_superuser_is_made_once() -> None:
    head = b"--\n\nCREATE ROLE app;\nCREATE ROLE koprogo;\nALTER ROLE koprogo WITH SUPERUSER;\n"
    assert feeding.without_role(head, "koprogo") == (b"--\n\nCREATE ROLE app;\n\nALTER ROLE koprogo WITH SUPERUSER;\n")
    assert feeding.without_role(b'\nCREATE ROLE "The ""Boss""";\n', 'The "Boss"') == b"\n\n"
    assert feeding.without_role(head, "kopro") is None


def fed(found: sets.Set) -> str:
    target = io.BytesIO()
    feeding.feed(target, found, Content())
    return target.getvalue().decode()


def test_a_dump_goes_in_without_that_line_and_else_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = write(tmp_path)
    assert fed(found) == REAL.replace("CREATE ROLE koprogo;\n", "\n", 1)
    # A function that holds such a line keeps it.
    text = REAL.replace("$$\nCOPY", "$$\nCREATE ROLE koprogo;\nCOPY")
    assert fed(write(tmp_path / "2", text)) == text.replace("CREATE ROLE koprogo;\n", "\n", 1)
    # Of many roles, it is not among the first.
    with monkeypatch.context() as patched:
        patched.setattr(packing, "CHUNK", 20)
        assert fed(found) == REAL.replace("CREATE ROLE koprogo;\n", "\n", 1)
    other = dataclasses.replace(write(tmp_path / "3"), user="somebody")
    with pytest.raises(Problem, match="does not make the role somebody"):
        fed(other)


def test_a_dump_without_the_role_is_not_kept_in_memory_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, taken = write(tmp_path), list[bytes]()

    def unpack(_: Path) -> Iterator[bytes]:
        for _line in range(100):
            taken.append(b"-- a line\n")
            yield taken[-1]

    monkeypatch.setattr(packing, "unpack", unpack)
    monkeypatch.setattr(feeding, "ROLES", 50)
    with pytest.raises(Problem, match="does not make the role koprogo"):
        fed(found)
    assert len(taken) == 5


def test_what_a_pipe_takes_only_a_part_of_is_written_to_its_end(tmp_path: Path) -> None:
    class Narrow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data)[:7])

    found = write(tmp_path)
    narrow = Narrow()
    feeding.feed(narrow, found, Content())
    assert narrow.getvalue().decode() == fed(found)


def test_a_role_after_many_others_is_found(tmp_path: Path) -> None:
    many = "".join(f"CREATE ROLE a{number};\n" for number in range(40000))
    (tmp_path / "dump").write_text(text := REAL.replace("CREATE ROLE koprogo", many + "CREATE ROLE koprogo"))
    found = sets.read(dump.write(dump.Source(["cat", str(tmp_path / "dump")], ORIGIN), tmp_path, NIGHT))
    assert fed(found) == text.replace("CREATE ROLE koprogo;\n", "\n", 1)


@pytest.mark.parametrize(
    ("counted", "trouble"),
    [
        ("3|f\n0|f\n", ""),
        ("4|f\n0|f\n", "koprogo_db: public.it's has 4 rows, and the dump had 3."),
        ("2|f\n0|f\n", "koprogo_db: public.it's has 2 rows, and the dump had 3."),
        # An extension brings rows of its own, which no dump has.
        ("3|f\n8500|t\n", ""),
        ("2|t\n0|f\n", "koprogo_db: public.it's has 2 rows, and the dump had 3."),
    ],
)
def test_every_table_has_the_rows_of_the_dump(monkeypatch: pytest.MonkeyPatch, counted: str, trouble: str) -> None:
    asked: list[tuple[str, str]] = []

    def sql(_: throwaway.Throwaway, database: str, text: str, limit: float) -> str:
        asked.append((database, text))
        return counted

    monkeypatch.setattr(throwaway.Throwaway, "sql", sql)
    database = throwaway.Throwaway(Runner(), "x", "koprogo", Path("/pipe"))
    content = Content()
    content.rows = {"template1": {}, "koprogo_db": {"public.it's": 3, "public.refs": 0}}
    if trouble:
        with pytest.raises(Problem, match=f"^{trouble}$"):
            database._compare(content)
    else:
        database._compare(content)
    ((of, text),) = asked
    assert of == "koprogo_db"
    assert text.count("FROM ONLY public.") == 2
    assert "'public.it''s'" in text


@pytest.mark.parametrize(
    ("recorded", "counted", "words"),
    [
        ({"template1": {}, "koprogo_db": {"public.buildings": 3, "public.empty": 0}}, "3|f\n0|f", ""),
        (
            {"template1": {}, "koprogo_db": {"public.buildings": 4, "public.empty": 0}},
            "3|f\n0|f",
            "its rows are not those of its manifest",
        ),
        (None, "2|f\n0|f", r"koprogo_db: public\.buildings has 2 rows, and the dump had 3"),
    ],
)
def test_what_was_read_is_held_against_the_manifest_and_the_database(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: dict[str, dict[str, int]] | None,
    counted: str,
    words: str,
) -> None:
    text = (
        REAL[: REAL.index("--\n-- Data for Name: Odd")]
        + REAL[REAL.index("--\n-- PostgreSQL database cluster dump c") :]
    )
    found = dataclasses.replace(write(tmp_path, text), rows=recorded)
    # psql: it reads all of a file, or answers with so many rows.
    pipe = tmp_path / "sql"
    os.mkfifo(pipe)
    (tmp_path / "docker").write_text(f"#!/bin/sh\ncase $* in *' -f '*) cat {pipe};; *) echo '{counted}';; esac\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    database = throwaway.Throwaway(Runner(), "koprogo-drill", "koprogo", tmp_path)
    if not words:
        database.restore(found)
        return
    with pytest.raises(Problem, match=words):
        database.restore(found)


def test_what_a_database_like_the_one_that_runs_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho '[\"docker-entrypoint.sh\"]'\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    volume = {"Type": "volume", "Name": "data", "Destination": "/var/lib/postgresql/data"}
    container = {
        "Image": "sha256:1",
        "Config": {
            "Env": [
                "POSTGRES_PASSWORD=a=b",
                "POSTGRES_INITDB_ARGS=--locale=C",
                "POSTGRES_HOST_AUTH_METHOD=md5",
                "PGDATA=/var/lib/postgresql/data/pg",
            ],
            "Cmd": ["postgres", "-cwork_mem=5MB", "-c", "shared_preload_libraries=pg_stat_statements"],
        },
        "Mounts": [{"Type": "bind", "Source": "/etc/x", "Destination": "/etc/x"}, volume],
    }
    assert recipe.of(Runner(), container) == Recipe(
        "sha256:1", ("docker-entrypoint.sh",), "pg_stat_statements", "--locale=C", "a=b", "/var/lib/postgresql/data/pg",
        volume, "md5",
    )  # fmt: skip


def test_a_throwaway_database_has_no_network_and_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "available_memory", lambda: 4000 * 2**20)
    made_of = Recipe("sha256:1", ("docker-entrypoint.sh",), "", "", "hidden", "/data", {})
    options = throwaway._options(made_of, "koprogo-drill", "koprogo", Path("/pipe"))
    assert " --network none --memory 536870912 " in " ".join(options)
    assert not [word for word in options if "hidden" in word]
    assert throwaway._environment(made_of)["POSTGRES_PASSWORD"] == "hidden"


def test_the_rows_of_partitions_are_counted_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$*" > asked; cat >> asked; printf "3|f\\n5|f\\n"\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    content = Content()
    content.rows, content.roots = {"db": {"public.votes": 3, 'public."o\'ne"': 5}}, {("db", "public.votes")}
    throwaway.Throwaway(Runner(), "drill", "koprogo", tmp_path)._compare(content)
    command, *asked = Path("asked").read_text().splitlines()
    assert [line.partition("pg_catalog.regclass) ")[2] for line in asked] == [
        "FROM public.votes WHERE tableoid NOT IN ('public.\"o''ne\"'::regclass);",
        'FROM ONLY public."o\'ne";',
    ]
    # what the application's roles were told must not keep anybody from restoring
    assert "-e PGOPTIONS=-c default_transaction_read_only=off -c statement_timeout=0 drill psql" in command
    content.rows["db"]["public.votes"] = 4
    with pytest.raises(Problem, match=r"^db: public\.votes has 3 rows, and the dump had 4\.$"):
        throwaway.Throwaway(Runner(), "drill", "koprogo", tmp_path)._compare(content)


def test_what_a_throw_away_database_wrote_is_found_where_docker_removed_only_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n[ "$1" != rm ] || {{ echo No such container >&2; exit 1; }}\n'
        '[ "$1$2" != volumels ] || echo 0123\n'
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made_of = Recipe("sha256:1", ("sh",), "", "", "", "/data/pg", {"Type": "volume", "Destination": "/data"})
    with throwaway.scratch(Runner(), made_of, "koprogo-x", "koprogo"):
        pass
    removed, listed, left, made, *_ = (tmp_path / "calls").read_text().splitlines()
    assert removed == "rm --force --volumes koprogo-x"
    assert listed == "volume ls --quiet --filter dangling=true --filter label=koprogo.throwaway=koprogo-x"
    assert left == "volume rm --force 0123"
    assert " --mount type=volume,destination=/data,volume-label=koprogo.throwaway=koprogo-x " in made


def test_what_a_throw_away_database_wrote_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text(
        '#!/bin/sh\n[ "$1" != run ] || exec cat\n'
        '[ "$1" != rm ] || { echo removal of container koprogo-x is already in progress >&2; exit 1; }\n'
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    done: list[str] = []
    monkeypatch.setattr(os, "sync", lambda: done.append("on the disk"))
    made_of = Recipe("sha256:1", ("sh",), "", "", "", "/data/pg", {"Type": "volume", "Destination": "/data"})
    for volume in ("", "fresh"):
        with throwaway.running(Runner(), made_of, "koprogo-x", "koprogo", volume):
            done.append(f"written to {volume or 'nowhere'}")
    assert done == ["written to nowhere", "written to fresh", "on the disk"]


def test_a_restore_that_is_ended_by_a_signal_says_nothing_of_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write(tmp_path)
    (tmp_path / "docker").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    os.mkfifo(tmp_path / "sql")
    with pytest.raises(Problem, match=rf"^{found.name} was not restored to its end: psql was ended by signal 9\.$"):
        throwaway.Throwaway(Runner(), "drill", "koprogo", tmp_path).restore(found)


def test_a_server_without_memory_restores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "available_memory", lambda: 200 * 2**20)
    with pytest.raises(Problem, match=r"136 MB of memory can be had, and a throw-away database wants 160 MB\."):
        throwaway.memory()
    monkeypatch.setattr(throwaway, "available_memory", lambda: 300 * 2**20)
    assert throwaway.memory() == 236 * 2**20
    monkeypatch.setattr(throwaway, "available_memory", lambda: 4000 * 2**20)
    assert throwaway.memory() == 512 * 2**20


def test_what_volumes_take_is_asked_for_where_they_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = with_files(tmp_path)
    monkeypatch.setattr(drill.Docker, "root", lambda _: tmp_path)
    free = found.uncompressed_size * drill.GROWTH + 500_000 + found.parts[2].size - 1
    monkeypatch.setattr(drill.space, "look", lambda path: drill.space.Room(path, 10_000_000, free, 0, 0))
    drill.require_room(Runner(), found)
    with pytest.raises(Problem, match=r"has 1 MB free, and restoring postgres_20261122_020005 wants 1 MB\."):
        drill.require_room(Runner(), found, files=True)


@pytest.mark.parametrize("trouble", ["", "Nothing was restored."])
def test_what_cannot_be_noted_hides_nothing(
    server: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    def step(*_: object) -> None:
        if trouble:
            raise Problem(trouble)

    def full(*_: object) -> None:
        raise Problem("/var/lib/koprogo/backup.json: No space left on device.")

    found, made_of = write(tmp_path / "sets"), Recipe("", (), "", "", "", "", {})
    note = dataclasses.replace(NOTE, step=Step.WRITING)
    monkeypatch.setattr(restart, "start_all", step)
    monkeypatch.setattr(drill, "_drill", step)
    monkeypatch.setattr(drill.sets, "find", lambda *_: found.dump)
    monkeypatch.setattr("koprogo.backups.backup_state.write_durably", full)
    if trouble:
        with pytest.raises(Problem, match=f"^{trouble}$"):
            restore._finish(work(server), note, found, made_of, 0.0)
        with pytest.raises(Problem, match=f"^The drill failed: {trouble}$"):
            drill.run(server)
    else:
        assert restore._finish(work(server), note, found, made_of, 0.0) == drill.run(server) == 0
    assert capsys.readouterr().err.count("No space left on device") == (3 if trouble else 2)


class Miscounting:
    """A throw-away database in which a row is missing."""

    def restore(self, found: sets.Set) -> None:
        raise Problem(f"a row of {found.total_rows} is missing.")


def test_rows_are_counted_before_a_restore_and_a_drill_go_on(
    server: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, made_of = write(server.backup_dir), Recipe("", (), "", "", "", "", {})
    monkeypatch.setattr(throwaway, "remove", lambda *_: None)
    monkeypatch.setattr(recipe, "of", lambda *_: made_of)
    monkeypatch.setattr(recipe, "version", lambda *_: "15.18")
    monkeypatch.setattr(throwaway, "running", lambda *_: contextlib.nullcontext(Miscounting()))
    monkeypatch.setattr(restoring.exchange, "create", lambda *_: None)
    monkeypatch.setattr(restoring.exchange, "remove", lambda *_: None)
    monkeypatch.setattr(restoring.exchange, "root_of", lambda *_: NOTE.root)
    note = dataclasses.replace(NOTE, step=Step.BEGUN, files=False, running=())
    with pytest.raises(
        Problem, match=r"^a row of 9 is missing\. Nothing was restored: the data of before are in place"
    ):
        restoring.run(work(server), note, found, made_of)
    monkeypatch.setattr(drill, "require_room", lambda *_: None)
    with pytest.raises(Problem, match=r"^The drill failed: a row of 9 is missing\."):
        drill.run(server)


def test_a_drill_wants_room_and_a_set_that_is_whole(server: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    found = write(server.backup_dir)
    monkeypatch.setattr(throwaway, "remove", lambda *_: None)
    monkeypatch.setattr(recipe, "of", lambda *_: Recipe("", (), "", "", "", "", {}))
    monkeypatch.setattr(recipe, "version", lambda *_: "15.18")
    monkeypatch.setattr(drill.Docker, "root", lambda _: server.backup_dir)
    monkeypatch.setattr(drill.space, "look", lambda path: drill.space.Room(path, 10_000_000, 1, 0, 0))
    with pytest.raises(Problem, match="has 0 MB free, and restoring"):
        drill.run(server)
    with lock.exclusive(server.state_dir / "drill.lock", wait=False), pytest.raises(Problem, match="Another drill"):
        drill.run(server)
    flip(found.dump)
    with pytest.raises(Problem, match="its SHA-256 is another"):
        drill.run(server)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("cat > $OUT", ""),
        ("cat > $OUT; echo 'tar: Unexpected EOF in archive' >&2; exit 2", "unpacked: tar: Unexpected EOF in archive"),
        (
            "echo 'No such image' >&2; exit 125",
            "postgres_20261122_020005.uploads.tar.zst cannot be unpacked: No such image",
        ),
    ],
)
def test_a_volume_that_cannot_be_unpacked_is_a_failure(
    server: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    part = with_files(tmp_path / "sets").parts[2]
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    if not words:
        restoring._untar(work(server), "sha256:1", part, "fresh")
        assert (tmp_path / "out").read_bytes() == b"".join(packing.unpack(part.path))
        return
    with pytest.raises(Problem, match=f"{words}\\."):
        restoring._untar(work(server), "sha256:1", part, "fresh")


def test_settings_of_before_come_back_however_often_it_was_cut_off(
    server: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = tmp_path / ".env"
    env.write_text("B=now\n")
    at = work(dataclasses.replace(server, env_file=env))
    found = with_files(tmp_path / "sets")
    monkeypatch.setattr(restart, "docker", lambda *_, **__: None)
    monkeypatch.setattr(restoring.exchange, "forth", lambda *_: None)
    for _ in range(2):
        restoring._exchange(at, NOTE, found)
        assert env.read_text() == "A=1\n"
    restoring._settings_back(at, NOTE)
    assert (env.read_text(), env.stat().st_mode & 0o777) == ("B=now\n", 0o600)
    restoring._settings_back(at, NOTE)
    assert env.read_text() == "B=now\n"


# ── volumes that change places ──


def volumes(folder: Path) -> Path:
    for real, fresh in (("a", "x"), ("b", "y")):
        for name, text in ((real, "now"), (fresh, "then")):
            (folder / name / "_data").mkdir(parents=True)
            (folder / name / "_data" / "PG_VERSION").write_text(text)
    return folder


def rename(folder: Path, script: str, renames: int = 99) -> bool:
    """Run the script; it is killed before so many renames and one more. Returns whether it came to its end."""
    cut = f'count=0; mv() {{ [ $count -lt {renames} ] || kill -9 $$; count=$((count + 1)); command mv "$@"; }}\n'
    # All of it is on the disk before the note says so.
    assert script.endswith("\ndone\nsync\n")
    text = cut + script.replace("/volumes", str(folder)).removesuffix("sync\n")
    return subprocess.run(["sh", "-ec", text, "sh", "a=x", "b=y"], check=False).returncode == 0


def content(folder: Path) -> list[str | None]:
    """What a database would start on, of each volume; None where it would not."""
    paths = [folder / name / "_data" / "PG_VERSION" for name in "ab"]
    return [path.read_text() if path.exists() else None for path in paths]


@pytest.mark.parametrize("renames", range(5))
def test_an_exchange_that_was_cut_off_can_be_finished_and_undone(tmp_path: Path, renames: int) -> None:
    finished, undone = volumes(tmp_path / "1"), volumes(tmp_path / "2")
    for folder in (finished, undone):
        assert rename(folder, exchange._FORTH, renames) is (renames == 4)
    assert rename(finished, exchange._FORTH)
    assert rename(finished, exchange._FORTH)
    assert content(finished) == ["then", "then"]
    assert (finished / "x/old/PG_VERSION").read_text() == "now"
    assert rename(undone, exchange._BACK)
    assert rename(undone, exchange._BACK)
    assert content(undone) == ["now", "now"]
    assert (undone / "y/_data/PG_VERSION").read_text() == "then"
    for again in range(4):
        folder = volumes(tmp_path / f"again{again}")
        rename(folder, exchange._FORTH, renames)
        rename(folder, exchange._BACK, again)
        assert rename(folder, exchange._BACK)
        assert content(folder) == ["now", "now"]


def test_only_ordinary_volumes_change_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exchange.volume_of({"Type": "volume", "Name": "data"}) == "data"
    with pytest.raises(Problem, match="keeps its data in /srv/pg, which is no volume of Docker's"):
        exchange.volume_of({"Type": "bind", "Source": "/srv/pg"})
    with pytest.raises(Problem, match="keeps its data in its container"):
        exchange.volume_of({})
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$ANSWER"\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("ANSWER", "local 0 /var/lib/docker/volumes/data/_data")
    assert exchange.root_of(Runner(), "data") == "/var/lib/docker/volumes"
    for answer in ("local 2 /var/lib/docker/volumes/data/_data", "nfs 0 /mnt/data", "local 0 /mnt/x/_data"):
        monkeypatch.setenv("ANSWER", answer)
        with pytest.raises(Problem, match="data is no ordinary volume"):
            exchange.root_of(Runner(), "data")


# ── the note ──


def test_the_note_survives(tmp_path: Path) -> None:
    assert journal.load(tmp_path) is None
    for step in Step:
        note = dataclasses.replace(NOTE, step=step)
        journal.save(tmp_path, note)
        assert journal.load(tmp_path) == note
        # A program that is newer than this one writes more.
        path = tmp_path / journal.FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"of_tomorrow": 1}))
        assert journal.load(tmp_path) == note
    journal.clear(tmp_path)
    journal.clear(tmp_path)
    assert journal.load(tmp_path) is None
    for damaged in ('{"step": "dreaming"}', "[" * 100_000):
        (tmp_path / "restore.json").write_text(damaged)
        with pytest.raises(Problem, match="is damaged, so nobody knows how far a restore had come"):
            journal.load(tmp_path)


def test_what_each_step_may_have_touched() -> None:
    assert [step.value for step in Step if not step.stopped] == ["begun", "restored"]
    assert [step.value for step in Step if step.exchanged] == ["exchanging", "starting"]
    assert [step.value for step in Step][-1] == "writing"


# ── what is shown and asked ──


def work(config: Config) -> Work:
    return Work(config, Runner(), asked=True)


def test_a_plan_says_what_goes_and_what_stays(server: Config, tmp_path: Path) -> None:
    found = with_files(tmp_path / "sets")
    assert restore.plan(work(server), found, files=False) == [
        f"Set postgres_20261122_020005 of {found.created} ({found.size / 1e6:.1f} MB, 9 rows)",
        "  PostgreSQL 15.18",
        "  koprogo_db: 8 rows in 5 tables",
        "  it's two: 1 rows in 1 tables",
        "~ the database: all of it becomes what it was then; what came after is in the last dump only",
        "  .env, uploads stay as they are (--with-files)",
        "The application stops for about as long as a dump takes. The data of now are kept.",
    ]
    lines = restore.plan(work(server), dataclasses.replace(found, commit="b" * 40), files=True)
    assert "  Version bbbbbbb ran then; aaaaaaa runs now, and goes on with its data." in lines
    assert lines[-3:-1] == ["~ /home/koprogo/koprogo/.env", "~ the volume uploads"]


@pytest.mark.parametrize(
    ("answer", "good"), [("20261122_020005", True), (" postgres_20261122_020005 ", True), ("yes", False), ("", False)]
)
def test_the_name_is_asked_for(monkeypatch: pytest.MonkeyPatch, answer: str, good: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    if good:
        restore._ask("20261122_020005", "? ", yes=False)
        return
    with pytest.raises(Problem, match=r"Nothing was done: that is not 20261122_020005\."):
        restore._ask("20261122_020005", "? ", yes=False)


def test_where_nobody_is_nothing_is_done(monkeypatch: pytest.MonkeyPatch, server: Config, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(Problem, match="Nothing was done: nobody is there to be asked"):
        restore._ask("x", "? ", yes=False)
    restore._ask("x", "? ", yes=True)
    with pytest.raises(Problem, match="No restore was cut off"):
        restore.resume(server)


@pytest.mark.parametrize("broken", ["", "undo"])
def test_a_disk_that_fills_up_undoes_a_restore_like_anything_else(
    server: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/koprogo-x")

    undone: list[Journal] = []
    monkeypatch.setattr(restoring, "_fill", full)
    monkeypatch.setattr(restoring, "undo", full if broken else lambda _, note: undone.append(note))
    note, recipe = dataclasses.replace(NOTE, step=Step.BEGUN), Recipe("i", (), "", "", "", "", {})
    with pytest.raises(Problem) as caught:
        restoring.run(work(server), note, write(tmp_path / "sets"), recipe)
    said = "/tmp/koprogo-x: No space left on device. "
    assert str(caught.value) == said + (
        f"That could not be undone: {said}The next check tries again."
        if broken
        else "Nothing was restored: the data of before are in place."
    )
    assert undone == ([] if broken else [note])


@pytest.mark.parametrize(
    ("before", "then"), [(signal.SIG_DFL, signal.default_int_handler), (signal.SIG_IGN, signal.SIG_IGN)]
)
def test_a_scratch_database_that_is_interrupted_is_removed_and_nohup_is_obeyed(
    server: Config, monkeypatch: pytest.MonkeyPatch, before: signal.Handlers, then: object
) -> None:
    removed: list[str] = []
    handlers: list[object] = []

    @contextlib.contextmanager
    def scratch(*_: object) -> Iterator[None]:
        handlers.append(signal.getsignal(signal.SIGHUP))
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(restore.running_database, "find", lambda *_: Mock(id="0123"))
    monkeypatch.setattr(restore.parts, "mounts", lambda *_: [{}])
    monkeypatch.setattr(Runner, "run", lambda *_, **__: Result(1, "", ""))
    monkeypatch.setattr(recipe, "of", lambda *_: Recipe("i", (), "", "", "", "", {}))
    monkeypatch.setattr(recipe, "version", lambda *_: "15.18")
    monkeypatch.setattr(restore.drill, "require_room", lambda *_: None)
    monkeypatch.setattr(throwaway, "scratch", scratch)
    monkeypatch.setattr(throwaway, "remove", lambda _, name: removed.append(name))
    write(server.backup_dir)
    usual = signal.signal(signal.SIGHUP, before)
    try:
        with pytest.raises(KeyboardInterrupt):
            restore.into_scratch(server, "")
    finally:
        signal.signal(signal.SIGHUP, usual)
    assert (removed, handlers) == (["koprogo-scratch-partial"], [then])


@pytest.mark.parametrize("writable", [True, False])
def test_a_drill_that_fails_says_why_whatever_it_was(
    server: Config, monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(2, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/']")

    write(server.backup_dir)
    monkeypatch.setattr(drill, "_drill", full)
    if not writable:
        (server.state_dir / "backup.json").mkdir()
    with pytest.raises(Problem, match=r"^The drill failed: a file: No usable temporary directory found in .*\.$"):
        drill.run(server)
    remembered = backup_state.load(server.state_dir).drill
    assert (remembered is not None and "No usable temporary" in remembered.problem) == writable


def test_what_was_cut_off_is_undone_before_anything_else(
    server: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(restoring, "undo", lambda _, note: done.append(f"undo {note.step.value}"))
    monkeypatch.setattr(restart, "start_all", lambda _, note: done.append(f"start {note.step.value}"))
    restoring.recover(work(server))
    for step in Step:
        journal.save(server.state_dir, dataclasses.replace(NOTE, step=step))
        restoring.recover(work(server))
    assert done == [
        "undo begun", "undo restored", "undo stopping", "undo dumped", "undo exchanging", "undo starting",
        "start writing",
    ]  # fmt: skip
    assert "To begin again: koprogo restore postgres_20261122_020005" in capsys.readouterr().out


def test_what_was_cut_off_with_its_data_in_place_or_failed_then_counts_as_restored(
    server: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lost server's return would be begun anew, and take back the rows that came since."""

    def refuse(*_: object) -> None:
        raise Problem("The application is not healthy.")

    monkeypatch.setattr(restart, "start_all", refuse)
    monkeypatch.setattr(restoring, "undo", lambda *_: None)
    again: list[str] = []
    monkeypatch.setattr(restore, "run", lambda _, name, **__: again.append(name))
    begun = time.time()
    pending = {"set": "postgres_20261122_020005", "begun": begun}
    for step in (Step.STARTING, Step.WRITING):
        (server.state_dir / "recovery.json").write_text(json.dumps(pending))
        journal.save(server.state_dir, dataclasses.replace(NOTE, step=step))
        with contextlib.suppress(Problem):
            restoring.recover(work(server))
        recovery.finish(server)
        assert again == ["postgres_20261122_020005"]
    # the one that is told of is the failure, and that does not change what is in place
    restored = Run(begun + 1, 1.0, "postgres_20261122_020005")
    backup_state.note(server.state_dir, "restore", dataclasses.replace(restored, problem="The application …"))
    (server.state_dir / "recovery.json").write_text(json.dumps(pending))
    recovery.finish(server)
    assert len(again) == 1


def test_a_restore_that_was_cut_off_is_undone_before_the_next_begins(
    server: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    found = write(server.backup_dir)
    journal.save(server.state_dir, dataclasses.replace(NOTE, step=Step.EXCHANGING))
    monkeypatch.setattr(restoring, "undo", lambda _, note: done.append(f"undo {note.step.value}"))

    def begin(*_: object, **__: object) -> tuple[Journal, None]:
        done.append("begin")
        return NOTE, None

    monkeypatch.setattr(restoring, "begin", begin)
    monkeypatch.setattr(restoring, "ready", lambda *_, **__: None)
    monkeypatch.setattr(drill, "require_room", lambda *_, **__: None)
    monkeypatch.setattr(restore, "_finish", lambda *_: 0)
    assert restore.run(server, found.name, files=False, yes=True) == 0
    assert done == ["undo exchanging", "begin"]


def test_a_set_that_was_damaged_meanwhile_is_not_gone_on_with(server: Config) -> None:
    found = write(server.backup_dir)
    note = dataclasses.replace(NOTE, step=Step.RESTORED, dump=str(found.dump))
    journal.save(server.state_dir, note)
    flip(found.dump)
    with pytest.raises(Problem, match="its SHA-256 is another"):
        restore.resume(server)
    assert journal.load(server.state_dir) == note


@pytest.mark.parametrize("settings", [True, False])
def test_what_is_gone_on_with_has_the_settings_only_where_it_had_them(
    server: Config, monkeypatch: pytest.MonkeyPatch, *, settings: bool
) -> None:
    found = with_files(server.backup_dir)
    note = dataclasses.replace(NOTE, step=Step.RESTORED, dump=str(found.dump), settings=settings)
    journal.save(server.state_dir, note)
    seen: list[list[str]] = []
    monkeypatch.setattr(restore.parts, "mounts", lambda *_: [{}])
    monkeypatch.setattr(recipe, "of", lambda *_: Recipe("i", (), "", "", "", "", {}))

    def finish(_: Work, __: Journal, found: sets.Set, *___: object) -> int:
        seen.append([part.kind for part in found.parts])
        return 0

    monkeypatch.setattr(restore, "_finish", finish)
    assert restore.resume(server) == 0
    assert seen == [["dump", "env", "volume"] if settings else ["dump", "volume"]]


def test_status_says_that_a_restore_goes_on_or_was_cut_off(server: Config) -> None:
    found = report.collect(server, public=False)

    def said(*, at_work: bool) -> str:
        now = dataclasses.replace(found, at_work=at_work)
        data = status.facts(now, settings_applied=True) | {"restore": status.restoring(server, now)}
        return " ".join(status.screen(now, data).split())

    assert status.restoring(server, found) is None
    assert "Restore" not in said(at_work=True)
    journal.save(server.state_dir, NOTE)
    assert "Restore postgres_20261122_020005: stopping Checked" in said(at_work=True)
    undone = "stopping; cut off: the next check undoes it, or now: koprogo restore --resume"
    assert f"Restore postgres_20261122_020005: {undone}" in said(at_work=False)
    journal.save(server.state_dir, dataclasses.replace(NOTE, step=Step.WRITING))
    assert "writing; cut off: the next check finishes it" in said(at_work=False)


def test_settings_are_restored_only_where_a_deploy_could_apply_them(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{bench.programs}:/usr/bin:/bin")
    found = with_files(tmp_path / "sets")
    (bench.config.checkout / "README").write_text("edited")
    with pytest.raises(Problem, match="README"):
        restoring.begin(work(bench.config), found, files=True)
    assert journal.load(bench.config.state_dir) is None


def test_a_database_that_cannot_be_dumped_is_no_dead_end(server: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> None:
        raise Problem("pg_dumpall failed (exit code 1): invalid page in block 7.")

    monkeypatch.setattr(restoring.dump, "write", unreadable)
    server.backup_dir.mkdir()
    note = dataclasses.replace(NOTE, running=())
    with pytest.raises(Problem) as caught:
        restoring._stop(work(server), note)
    assert str(caught.value) == (
        "No dump could be made of what is there: pg_dumpall failed (exit code 1): invalid page in block 7. To restore "
        "without one, which keeps its files as they are: docker stop koprogo-postgres, and again"
    )


@pytest.mark.parametrize(
    ("attempt", "started", "left"),
    [
        (None, True, False),
        (Attempt("c" * 40, StepOfDeploy.PULLED, 1.0), True, True),
        (Attempt("c" * 40, StepOfDeploy.SWITCHED, 1.0), False, False),
    ],
)
def test_an_application_whose_settings_are_refused_is_started_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, attempt: Attempt | None, *, started: bool, left: bool
) -> None:
    begun: list[tuple[str, ...]] = []

    def refuse(work: Work, _: str) -> None:
        work.save(attempt=attempt)
        raise Problem("the registry is down.")

    monkeypatch.setattr(restart, "apply", refuse)
    monkeypatch.setattr(restart, "start", lambda _, names: begun.append(names))
    note = dataclasses.replace(NOTE, step=Step.WRITING)
    journal.save(bench.config.state_dir, note)
    said = (
        "The data and the .env of postgres_20261122_020005 are in place, and the containers were started as they were "
        "before: the registry is down. When that is mended: koprogo deploy"
    )
    with pytest.raises(Problem) as caught:
        restart.start_all(work(bench.config), note)
    assert str(caught.value) == (said if started else "the registry is down.")
    assert begun == ([("koprogo-postgres", "koprogo-backend")] if started else [])
    assert (journal.load(bench.config.state_dir) is not None) == left
