"""Sets: what is counted of a dump, what belongs to one, which are found, what damage is seen, what is remembered."""

import errno
import fcntl
import gzip
import hashlib
import json
import os
import threading
import time
import tomllib
from pathlib import Path

import koprogo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from koprogo import lock
from koprogo.backups import backup, backup_folder, backup_state, dump, packing, parts, restoring, sets
from koprogo.backups.backup_state import BackupState, Run
from koprogo.backups.content import EDGE, Content
from koprogo.backups.dump import Other
from koprogo.backups.retention import Backup, expired, verified
from koprogo.config import Config
from koprogo.deploys.work import Work
from koprogo.problem import Problem
from koprogo.runner import Runner
from test_koprogo_backup import NIGHT, ORIGIN, WHOLE, printing, server

__all__ = ["server"]  # a fixture

# As pg_dumpall 15 prints it; the function holds what looks like the rows of a table.
REAL = '''--
-- PostgreSQL database cluster dump
--

SET default_transaction_read_only = off;

CREATE ROLE koprogo;
ALTER ROLE koprogo WITH SUPERUSER INHERIT;

--
-- Database "template1" dump
--

\\connect template1

--
-- Database "koprogo_db" dump
--

CREATE DATABASE koprogo_db WITH TEMPLATE = template0 ENCODING = 'UTF8';

\\connect koprogo_db

CREATE FUNCTION public.fill() RETURNS void AS $$
COPY public.buildings (id) FROM stdin;

\\connect elsewhere

$$ LANGUAGE sql;

--
-- Data for Name: buildings; Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public.buildings (id, name) FROM stdin;
1\tRésidence du Parc
2\tLes\\nTilleuls
3\t\\\\.
\\.


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public.empty (id) FROM stdin;
\\.


--
-- Data for Name: Odd (one); Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public."Odd (one)" ("A ""b""") FROM stdin;

\\N
\\.


--
-- Data for Name: Two FROM stdin; lines; Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public."Two FROM stdin;
lines" (id, "and (another FROM stdin;
column") FROM stdin;
1\t2
\\.


--
-- Data for Name: bare; Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public.bare  FROM stdin;


\\.

--
-- Database "it's two" dump
--

\\connect -reuse-previous=on "dbname='it\\'s two'"

--
-- Data for Name: buildings; Type: TABLE DATA; Schema: public; Owner: koprogo
--

COPY public.buildings (id) FROM stdin;
7
\\.

--
-- PostgreSQL database cluster dump complete
--

'''
ROWS = {
    "template1": {},
    "koprogo_db": {
        "public.buildings": 3,
        "public.empty": 0,
        'public."Odd (one)"': 2,
        'public."Two FROM stdin;\nlines"': 1,
        "public.bare": 2,
    },
    "it's two": {"public.buildings": 1},
}


def read(data: bytes, size: int) -> Content:
    content = Content()
    for start in range(0, len(data), size):
        content.add(data[start : start + size])
    return content


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 1000, 1 << 20])
def test_rows_are_counted_however_a_dump_is_cut(size: int) -> None:
    content = read(REAL.encode(), size)
    assert (content.size, content.rows, content.databases, content.trouble()) == (len(REAL.encode()), ROWS, 3, None)


@given(st.lists(st.text("ab\t\\", max_size=9), max_size=30), st.integers(1, 40))
def test_a_line_is_a_row(values: list[str], size: int) -> None:
    escaped = [value.replace("\\", "\\\\").replace("\t", "\\t") for value in values]
    begin = REAL[: REAL.index("1\tRésidence")]
    end = REAL[REAL.index("\\.\n\n") :]
    content = read((begin + "".join(f"{value}\n" for value in escaped) + end).encode(), size)
    assert content.rows["koprogo_db"]["public.buildings"] == len(values)


def test_a_name_of_nothing_but_quotes_is_read_at_once() -> None:
    name = 'public."' + '""' * 31 + '"'
    text = f"\n-- Data for Name: x\n--\n\nCOPY {name} (id, {name[7:]}) FROM stdin;\n1\n2\n\\.\n"
    assert read(text.encode(), 1).rows == {"": {name: 2}}


def test_of_what_is_no_row_next_to_nothing_is_kept_in_memory() -> None:
    content = Content()
    for _ in range(100):
        content.add(b"SELECT pg_catalog.lowrite(0, 'x');\n" * 1000)
    assert len(content._rest) <= EDGE


def test_partitions_that_may_be_others_after_a_restore_are_counted_together() -> None:
    # As pg_dump writes those of a hash of an enum.
    parts = "".join(
        f"--\n-- Data for Name: {name}; Type: TABLE DATA; Schema: public; Owner: koprogo\n--\n\n"
        f"-- load via partition root public.votes\n\nCOPY public.votes (vote) FROM stdin;\nyes\n\\.\n\n\n"
        for name in ("votes_1", "votes_2")
    )
    content = read(REAL.replace("--\n-- Database \"it's", parts + "--\n-- Database \"it's").encode(), 100)
    assert content.rows["koprogo_db"] == ROWS["koprogo_db"] | {"public.votes": 2}
    assert content.roots == {("koprogo_db", "public.votes")}


def test_rows_that_do_not_end_are_no_dump() -> None:
    text = REAL.replace("7\n\\.\n", "7\n")
    assert read(text.encode(), 100).trouble() == "the rows of public.buildings do not end"


def write(folder: Path, text: str = REAL, now: float = NIGHT, others: tuple[Other, ...] = ()) -> sets.Set:
    """A set whose dump is this text."""
    folder.mkdir(exist_ok=True)
    source = dump.Source(["/bin/sh", "-c", printing(text)], ORIGIN)
    return sets.read(dump.write(source, folder, now, others))


def _settings(path: Path) -> None:
    path.write_text("A=1\n")


def with_files(folder: Path) -> sets.Set:
    """A set with a .env and a volume."""
    others = (
        Other(".env", "env", _settings),
        Other(
            ".uploads.tar.zst",
            "volume",
            lambda path: packing.pack(
                ["/bin/sh", "-c", "head -c 300000 /dev/urandom; head -c 1024 /dev/zero"], path, 60
            ),
            "uploads",
        ),
    )
    return write(folder, others=others)


def test_a_set_says_what_is_in_it(tmp_path: Path) -> None:
    found = with_files(tmp_path)
    assert found.name == "postgres_20261122_020005"
    assert [part.path.name.removeprefix(found.name) for part in found.parts] == [
        ".sql.zst", ".env", ".uploads.tar.zst",
    ]  # fmt: skip
    assert [part.kind for part in found.parts] == ["dump", "env", "volume"]
    assert found.parts[1].sha256 == hashlib.sha256(b"A=1\n").hexdigest()
    assert (found.postgres, found.user, found.commit, found.total_rows) == ("15.18", "koprogo", "a" * 40, 9)
    assert found.rows == ROWS
    assert sets.verify(found) == found
    (backed_up,) = verified(tmp_path)
    assert (backed_up.path, backed_up.size, len(backed_up.others)) == (found.dump, found.size, 2)
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is brought to the disk and what gets another name from here on, in order."""
    done: list[str] = []
    brought, replace_by = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        brought(handle)

    def rename(path: Path, target: Path) -> Path:
        done.append(f"{path.name} is {target.name}")
        return replace_by(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    return done


def test_each_part_is_on_the_disk_before_it_has_its_name_and_the_dump_gets_its_own_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = tmp_path / "settings"
    env.write_text("A=1\n")
    others = (
        Other(".env", "env", lambda path: parts._copy(env, path)),
        Other(".up.tar.zst", "volume", lambda path: packing.pack(["head", "-c1024", "/dev/zero"], path, 60), "up"),
    )
    folder = tmp_path / "sets"
    done = recorded(monkeypatch)
    name = write(folder, others=others).name
    assert done == [
        "fsync .postgres.sql.zst.partial",
        "fsync .postgres.env.partial",
        "fsync .postgres.up.tar.zst.partial",
        f".postgres.env.partial is {name}.env",
        f".postgres.up.tar.zst.partial is {name}.up.tar.zst",
        f"fsync .{name}.json.partial",
        f".{name}.json.partial is {name}.json",
        "fsync sets",
        f".postgres.sql.zst.partial is {name}.sql.zst",
        "fsync sets",
    ]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_set_that_is_removed_in_part_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    with_files(tmp_path)
    newest = write(tmp_path, now=NIGHT + 86400)
    (old, _), left, unlink = verified(tmp_path), [files], Path.unlink

    def cut(path: Path, missing_ok: bool = False) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", cut)
        backup_folder.remove([old], newest.dump)
    backup_folder.clear(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{newest.name}.json", f"{newest.name}.sql.zst"]


def test_days_weeks_and_months_are_kept_as_the_settings_say(server: Config) -> None:
    # Three weeks in two months.
    made = [write(server.backup_dir, now=NIGHT - days * 86400) for days in (40, 14, 7, 0)]
    config = Config(**{**server.__dict__, "backup_days": 1, "backup_weeks": 2, "backup_months": 3})
    assert backup._rotate(config, made[-1].dump) == 3
    assert [each.path for each in verified(server.backup_dir)] == [made[0].dump, made[2].dump, made[3].dump]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_damage_of_any_part_is_seen(tmp_path: Path) -> None:
    for part, words in ((0, "SHA-256 is another"), (1, "SHA-256 is another"), (2, "SHA-256 is another")):
        found = with_files(tmp_path / str(part))
        flip(found.parts[part].path)
        with pytest.raises(Problem, match=words):
            sets.verify(found)
    found = with_files(tmp_path / "short")
    found.parts[2].path.write_bytes(b"x")
    with pytest.raises(Problem, match="has 1 bytes, and had"):
        sets.verify(found)
    assert verified(tmp_path / "short") == []
    found.parts[2].path.unlink()
    with pytest.raises(Problem, match=r"uploads.tar.zst: No such file or directory\."):
        sets.verify(found)


def test_an_archive_without_its_end_is_seen(tmp_path: Path) -> None:
    cut = Other(".a.tar.zst", "volume", lambda path: packing.pack(["head", "-c1023", "/dev/zero"], path, 60), "a")
    with pytest.raises(Problem, match=r"a\.tar\.zst is no whole archive: its end is missing\."):
        sets.verify(write(tmp_path, others=(cut,)))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": float("inf")},
        {"rows": [1]},
        {"rows": {"koprogo_db": [1]}},
        {"rows": {"koprogo_db": {"public.ledger": "many"}}},
        {"parts": [{"file": "a\0b", "kind": "env", "size": 1, "sha256": ""}]},
        {"parts": [{"file": "\ud800", "kind": "env", "size": 1, "sha256": ""}]},
        {"parts": [1]},
        {"user": "a\0b"},
        {"user": "\ud800"},
        None,
    ],
)
def test_a_manifest_that_is_nonsense_is_damage_and_nothing_else(tmp_path: Path, changes: dict[str, object]) -> None:
    found = write(tmp_path)
    path = dump.manifest_of(found.dump)
    path.write_text("[" * 100_000 if changes is None else json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(Problem, match=r"json is damaged\.$"):
        sets.read(found.dump)
    assert verified(tmp_path) == []


def test_a_manifest_that_counts_other_rows_is_seen(tmp_path: Path) -> None:
    found = write(tmp_path)
    path = dump.manifest_of(found.dump)
    data = json.loads(path.read_text())
    data["rows"]["koprogo_db"]["public.empty"] = 1
    path.write_text(json.dumps(data))
    with pytest.raises(Problem, match="its rows are not those of its manifest"):
        sets.verify(sets.read(found.dump))


def old_format(folder: Path, name: str = "postgres_20261101_020000", text: str = WHOLE) -> Path:
    """A set as this program wrote it before there were parts."""
    path = folder / f"{name}.sql.gz"
    path.write_bytes(gzip.compress(text.encode()))
    facts = {"file": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / f"{name}.json").write_text(json.dumps(facts | {"postgres": "15.18", "user": "koprogo", "commit": None}))
    return path


def test_a_set_of_before_counts(tmp_path: Path) -> None:
    path = old_format(tmp_path)
    assert [one.path for one in verified(tmp_path)] == [path]
    found = sets.verify(sets.read(path))
    assert (found.rows, found.user, len(found.parts)) == (None, "koprogo", 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Problem, match=r"has \d+ bytes, and had"):
        sets.verify(found)


def test_a_gzip_that_unpacks_to_much_more_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gz"
    path.write_bytes(gzip.compress(bytes(5_000_000)))
    pieces = [len(piece) for piece in packing.unpack(path)]
    assert (sum(pieces), max(pieces)) == (5_000_000, packing.CHUNK)


def test_a_file_that_went_away_is_a_line(tmp_path: Path) -> None:
    for name in ("a.zst", "a.gz"):
        with pytest.raises(Problem, match=r"a.*: No such file or directory"):
            list(packing.unpack(tmp_path / name))


def test_damage_of_a_gzip_is_seen(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.gz", gzip.compress(REAL.encode())
    for damaged in (whole[:-1], whole[:40], whole + b"x", whole[:50] + b"\xff" + whole[51:], b""):
        path.write_bytes(damaged)
        with pytest.raises(Problem, match=r"a\.gz is damaged: "):
            list(packing.unpack(path))


def test_which_set_is_meant(tmp_path: Path) -> None:
    nightly, newest = write(tmp_path), write(tmp_path, now=NIGHT + 86400)
    before = write(tmp_path / "before-restores", now=NIGHT + 2 * 86400)
    old = old_format(tmp_path)
    assert sets.find(tmp_path, "") == newest.dump
    for name in ("postgres_20261122_020005", "20261122_020005", str(nightly.dump), nightly.dump.name):
        assert sets.find(tmp_path, name) == nightly.dump
    assert sets.find(tmp_path, "20261124_020005") == before.dump
    assert sets.find(tmp_path, "20261101_020000") == old
    with pytest.raises(Problem) as caught:
        sets.find(tmp_path, "2027")
    assert str(caught.value) == (
        "No such set: 2027. There is:\n  postgres_20261123_020005.sql.zst\n  postgres_20261122_020005.sql.zst"
        "\n  postgres_20261101_020000.sql.gz\n  before-restores/postgres_20261124_020005.sql.zst"
    )
    with pytest.raises(Problem, match=r"There is no set\. There is none in .*/nothing\."):
        sets.find(tmp_path / "nothing", "")


def test_a_dump_of_before_a_change_is_never_the_newest_set(tmp_path: Path) -> None:
    write(tmp_path / "before-deploys")
    with pytest.raises(Problem, match=r"There is no set\. There is:\n  before-deploys/postgres_20261122_020005"):
        sets.find(tmp_path, "")


@pytest.mark.parametrize("name", ["../state.json", "/etc/passwd", "x/../../y"])
def test_a_part_is_in_the_folder_of_its_set(tmp_path: Path, name: str) -> None:
    found = with_files(tmp_path)
    path = dump.manifest_of(found.dump)
    data = json.loads(path.read_text())
    data["parts"][0]["file"] = name
    path.write_text(json.dumps(data))
    assert {part.path.parent for part in sets.read(found.dump).parts} == {tmp_path}


def test_a_set_that_is_named_is_read_before_anything_is_done(server: Config) -> None:
    found = write(server.backup_dir)
    work = Work(server, Runner(), asked=True)
    assert restoring.look(work, found.name) == found
    flip(found.dump)
    with pytest.raises(Problem, match="its SHA-256 is another"):
        restoring.look(work, found.name)


def test_a_damaged_newest_set_does_not_hide_the_one_before(tmp_path: Path) -> None:
    good, bad = write(tmp_path), write(tmp_path, now=NIGHT + 86400)
    flip(bad.dump)
    found, troubles = sets.newest_good(tmp_path)
    assert (found, len(troubles)) == (good, 1)
    good.dump.unlink()
    with pytest.raises(Problem, match=r"There is no set that is whole\. postgres_20261123_020005\.sql\.zst is not"):
        sets.newest_good(tmp_path)


def days(*names: str) -> list[Backup]:
    return [Backup(Path(name), name, 1, 0.0) for name in names]


def test_an_older_set_takes_no_place_of_one_that_nobody_could_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    write(tmp_path, now=NIGHT + 86400)
    (tmp_path / "zstd").write_text("#!/bin/sh\nkill -KILL $$\n")
    (tmp_path / "zstd").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=":")
        with pytest.raises(Problem, match=r"was not read to its end: zstd was ended by signal 9\.$"):
            sets.newest_good(tmp_path)
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(Problem, match=r"^Cannot start zstd: No such file or directory\.$"):
            sets.newest_good(tmp_path)
        patch.undo()
        patch.setattr(packing.tempfile, "TemporaryFile", _no_room)
        with pytest.raises(Problem, match=r"^/tmp: No space left on device\.$"):
            sets.newest_good(tmp_path)
    assert sets.newest_good(tmp_path)[1] == []


def _no_room() -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp")


def test_weeks_and_months_keep_the_last_of_each() -> None:
    # 1 November 2026 is a Sunday.
    every = days(*(f"202610{day:02d}" for day in range(20, 32)), *(f"202611{day:02d}" for day in range(1, 24)))
    kept = [b.day for b in every if b not in expired(every, 2, weeks=3, months=2)]
    assert kept == ["20261031", "20261115", "20261122", "20261123"]
    # Night after night it comes to the same.
    left: list[Backup] = []
    for backup_of_day in every:
        left.append(backup_of_day)
        left = [b for b in left if b not in expired(left, 2, weeks=3, months=2)]
    assert [b.day for b in left] == kept
    assert expired(days("20250101"), 1, weeks=5, months=5) == []
    # One week, in two years.
    assert [b.day for b in expired(days("20261228", "20261231", "20270102"), 1, weeks=2)] == ["20261228", "20261231"]


@given(st.lists(st.integers(0, 900), max_size=40), st.integers(1, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_newest_set_never_goes(ages: list[int], daily: int, weeks: int, months: int) -> None:
    begin = 1_700_000_000
    names = sorted(time.strftime("%Y%m%d", time.gmtime(begin - age * 86400)) for age in ages)
    every = days(*names)
    gone = expired(every, daily, weeks, months)
    assert not every or every[-1] not in gone
    assert len({b.day for b in every} - {b.day for b in gone}) >= min(daily, len({b.day for b in every}))
    assert len({b.day for b in every if b not in gone}) <= daily + weeks + months


_DOCKER = """#!/bin/sh
case "$*" in
ps*) echo 0123 4567 ;;
*inspect*0123*) cat {inspected} ;;
*inspect*4567) cat {proxy} ;;
'volume ls'*volume=uploads) echo production_uploads ;;
'volume ls'*volume=acme) echo production_acme ;;
'volume ls'*) ;;
'volume inspect --format'*) echo acme ;;
'volume inspect outside') ;;
'volume inspect'*) exit 1 ;;
*printenv*) echo koprogo ;;
*zstd*) exit 127 ;;
*--version) echo 'pg_dumpall (PostgreSQL) 15.18' ;;
*pg_dumpall*) cat {dump} ;;
run*) {tar} ;;
esac
"""


def docker(folder: Path, tar: str) -> None:
    """Let `docker` be a server with Traefik; `tar` is what copying a volume does."""
    mounts = [{"Type": "bind", "Source": "/var/run/docker.sock"}, {"Type": "volume", "Name": "production_acme"}]
    database = json.loads((folder / "inspected").read_text())[0]
    of = {"Image": "docker.io/library/traefik:v3", "Labels": {"com.docker.compose.service": "proxy"}}
    proxy = {**database, "Id": "4567", "Name": "/traefik", "Config": of, "Mounts": mounts}
    (folder / "proxy").write_text(json.dumps([proxy]))
    (folder / "inspected").write_text(json.dumps([database, proxy]))
    files = {name: folder / name for name in ("inspected", "dump", "proxy")}
    text = _DOCKER.format(tar=tar, **files)
    (folder / "docker").write_text(text)


def volumes_of(config: Config, *names: str) -> Config:
    return Config(**{**config.__dict__, "backup_volumes": names})


def test_a_backup_holds_the_settings_the_certificates_and_the_volumes(server: Config, tmp_path: Path) -> None:
    docker(tmp_path, f'echo "tar of $*"; {ENDS}')
    env = tmp_path / ".env"
    env.write_text("SECRET=1\n")
    config = Config(**{**volumes_of(server, "uploads", "outside").__dict__, "env_file": env})
    assert backup.run(config) == 0
    found = sets.read(verified(server.backup_dir)[0].path)
    assert [(part.kind, part.volume, part.service) for part in found.parts] == [
        ("dump", "", ""),
        ("env", "", ""),
        ("volume", "acme", "proxy"),
        ("volume", "outside", ""),
        ("volume", "uploads", ""),
    ]
    assert b"".join(packing.unpack(found.parts[4].path)) == (
        b"tar of run --rm --network none --log-driver none --user 0:0 --volume production_uploads:/volume:ro "
        b"--entrypoint tar sha256:1 -C /volume --numeric-owner -cf - .\n" + packing.TAR_ENDS
    )
    assert {path.stat().st_mode & 0o777 for path in server.backup_dir.iterdir()} == {0o600}
    assert backup.verify(config, "") == 0
    state = backup_state.load(server.state_dir)
    assert state.good_backup == state.backup
    assert state.backup is not None
    assert (state.backup.set, state.backup.problem) == (found.name, "")


def test_a_volume_that_is_not_there_is_no_backup(server: Config, tmp_path: Path) -> None:
    docker(tmp_path, "exit 0")
    with pytest.raises(Problem, match="There is no volume photos, which BACKUP_VOLUMES names"):
        backup.run(volumes_of(server, "photos"))
    state = backup_state.load(server.state_dir)
    assert state.good_backup is None
    assert state.backup is not None
    assert state.backup.problem.startswith("No backup was made; the older ones are untouched. There is no volume")


ENDS = "head -c 1024 /dev/zero"
MANY = f'{ENDS}; for n in $(seq 500); do echo "tar: ./documents/$n.pdf: file changed as we read it" >&2; done; '


@pytest.mark.parametrize(
    ("tar", "good"),
    [
        (ENDS + "; echo 'tar: ./a: file changed as we read it' >&2; exit 1", True),
        (ENDS + "; echo 'tar: ./a: File shrank by 17 bytes; padding with zeros' >&2; exit 1", True),
        (ENDS + "; printf 'tar: ./a: File removed before we read it\\ntar: ./b: file changed as we read it' >&2;"
         " exit 1", True),
        (MANY + "exit 1", True),
        (MANY + "echo 'tar: ./a: Cannot open: Permission denied' >&2; exit 1", False),
        (ENDS + "; echo 'tar: ./a: Cannot open: Permission denied' >&2; exit 1", False),
        (ENDS + "; echo 'tar: ./a: file changed as we read it' >&2; exit 2", False),
        (ENDS + "; exit 1", False),
        # Docker lost the rest of it, and says nothing.
        ("echo x", False),
    ],
)  # fmt: skip
def test_a_user_who_writes_meanwhile_is_no_failure(server: Config, tmp_path: Path, tar: str, good: bool) -> None:
    docker(tmp_path, tar)
    config = volumes_of(server, "uploads")
    if good:
        assert backup.run(config) == 0
        return
    with pytest.raises(Problem, match=r"tar failed|tar\.zst\.partial is no whole archive: its end is missing"):
        backup.run(config)
    assert list(server.backup_dir.iterdir()) == []


def test_a_full_disk_is_noticed_before_it_is_full(server: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backup.run(server) == 0
    (before,) = verified(server.backup_dir)
    room = backup_folder.space.look(server.backup_dir)
    small = backup_folder.space.Room(room.path, 10_000_000, 500_000 + before.size - 1, 0, 0)
    monkeypatch.setattr(backup_folder.space, "look", lambda _: small)
    with pytest.raises(Problem, match=r"MB free; the last set has 0.0 MB, and 0.5 MB have to stay free\."):
        backup.run(server)
    assert verified(server.backup_dir) == [before]


def test_what_is_remembered_survives_damage_and_newer_programs(tmp_path: Path) -> None:
    assert backup_state.load(tmp_path) == BackupState()
    good, bad = Run(1.0, 2.0, "one"), Run(3.0, 4.0, "", "no room")
    backup_state.note(tmp_path, "backup", good)
    backup_state.note(tmp_path, "backup", bad)
    backup_state.note(tmp_path, "drill", good)
    assert backup_state.load(tmp_path) == BackupState(bad, good, good, good)
    path = tmp_path / "backup.json"
    path.write_text(path.read_text().replace('"seconds"', '"of later": 1, "seconds"').replace("{", '{"new": null,', 1))
    assert backup_state.load(tmp_path).backup == bad
    for text in ("", "[]", '{"backup": 1}', '{"backup": {"at": "x", "seconds": 1}}', '{"backup": {}}'):
        path.write_text(text)
        assert backup_state.load(tmp_path) == BackupState()


def test_two_who_remember_at_once_forget_nothing(tmp_path: Path) -> None:
    good = Run(1.0, 2.0, "one")
    with lock.exclusive(tmp_path / "backup.json.lock", wait=False) as held:
        drilled = threading.Thread(target=backup_state.note, args=(tmp_path, "drill", good))
        drilled.start()
        drilled.join(0.3)
        assert backup_state.load(tmp_path) == BackupState()
        fcntl.flock(held, fcntl.LOCK_UN)
        drilled.join()
    assert backup_state.load(tmp_path).drill == good


def test_one_version_of_the_program() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == koprogo.VERSION


def test_the_volume_of_a_name(server: Config, tmp_path: Path) -> None:
    docker(tmp_path, "")
    assert parts.find(Runner(), "production", "uploads").real == "production_uploads"
    assert parts.find(Runner(), "production", "outside").real == "outside"
    named_twice = volumes_of(server, "acme", "uploads")
    assert [volume.name for volume in parts.volumes(named_twice, Runner(), "production")] == ["acme", "uploads"]
