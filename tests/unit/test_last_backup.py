"""The last backup of a server: what is asked of it, and what of its answers is believed."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_first_boot import out, printed

from cloud.machine import last_backup
from cloud.trouble import CloudError, NotYet

__all__ = ["out"]  # a fixture

NAME = "postgres_20261122_020000.sql.gz"
MANIFEST = "postgres_20261122_020000.json"
SQL = (
    b"--\n-- PostgreSQL database cluster dump\n--\n\n\\connect koprogo\n"
    b"SELECT 1;\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"
)
DUMP = gzip.compress(SQL, mtime=0)
LISTED = f"{NAME}\n{MANIFEST}\npostgres_20261121_020000.sql.gz\nnotes\n"


def manifest(dump: bytes, **other: Any) -> bytes:
    """What the server says of a dump."""
    said = {"file": NAME, "size": len(dump), "sha256": hashlib.sha256(dump).hexdigest(), "databases": 1}
    return json.dumps(said | other).encode()


class Server:
    """As much of Login as a backup asks for."""

    address = "51.75.1.2"

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {
            "test -x /usr/local/bin/koprogo": (0, ""),
            "sudo -n /usr/local/bin/koprogo backup 2>&1": (0, "2026-11-22 02:00:03 Backup … written and verified\n"),
            "sudo -n ls -1t /home/koprogo/backups": (0, LISTED),
        }
        self.files: dict[str, bytes | Exception] = {
            f"/home/koprogo/backups/{NAME}": DUMP,
            f"/home/koprogo/backups/{MANIFEST}": manifest(DUMP),
        }

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """One of the answers."""
        return self.answers[command]

    def fetch(self, remote: str, local: Path, seconds: float) -> None:
        """One of the files."""
        content = self.files[remote]
        if isinstance(content, Exception):
            raise content
        local.write_bytes(content)


def take(server: Server, into: Path, out: Console) -> Path | None:
    """Take a backup of this server."""
    return last_backup.take(server, into, out)  # type: ignore[arg-type]  # stand-in


def failure(server: Server, into: Path, out: Console) -> str:
    """Why there is no backup; and nothing of it is left."""
    with pytest.raises(CloudError) as caught:
        take(server, into, out)
    assert not isinstance(caught.value, NotYet)
    assert [path for path in into.rglob("*") if path.is_file() or path.name.startswith(".")] == []
    return str(caught.value)


def test_the_newest_set_comes_whole_into_a_private_folder(tmp_path: Path, out: Console) -> None:
    folder = tmp_path / "backups"
    assert take(Server(), folder, out) == folder / "51.75.1.2" / NAME
    assert sorted(path.name for path in folder.rglob("*")) == ["51.75.1.2", MANIFEST, NAME]
    assert gzip.decompress((folder / "51.75.1.2" / NAME).read_bytes()) == SQL
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "51.75.1.2")] == ["0o700", "0o700"]
    assert [line.split(" …")[0] for line in printed(out).splitlines()] == [
        "  Making a last backup",
        "  Fetching postgres_20261122_020000.sql.gz",
        f"  {folder}/51.75.1.2/{NAME} (0.0 MB) is whole: its checksum is the server's.",
    ]


def test_a_set_that_could_not_be_copied_elsewhere_is_a_set(tmp_path: Path, out: Console) -> None:
    server = Server()
    said = "02:00:03 Backup … written and verified; 7 kept.\n02:00:09 PROBLEM No copy is off-site of it.\n"
    server.answers["sudo -n /usr/local/bin/koprogo backup 2>&1"] = (1, said)
    assert take(server, tmp_path, out) == tmp_path / "51.75.1.2" / NAME


def with_parts(server: Server, env: bytes, name: str = "postgres_20261122_020000.env") -> None:
    """Let the set be of today's form: a dump by zstd, and a .env that this manifest describes."""
    zst, packed = NAME.replace(".gz", ".zst"), b"(\xb5/\xfd as zstd does"
    part = {"file": name, "kind": "env", "size": 4, "sha256": hashlib.sha256(b"A=1\n").hexdigest()}
    server.answers["sudo -n ls -1t /home/koprogo/backups"] = (0, f"{zst}\n{MANIFEST}\n")
    server.files = {
        f"/home/koprogo/backups/{zst}": packed,
        f"/home/koprogo/backups/{MANIFEST}": manifest(packed, file=zst, parts=[part]),
        f"/home/koprogo/backups/{name}": env,
    }


def test_every_part_of_a_set_comes(tmp_path: Path, out: Console) -> None:
    server = Server()
    with_parts(server, b"A=1\n")
    path = take(server, tmp_path, out)
    assert path == tmp_path / "51.75.1.2" / "postgres_20261122_020000.sql.zst"
    assert sorted(path.name for path in path.parent.iterdir()) == [
        "postgres_20261122_020000.env",
        "postgres_20261122_020000.json",
        "postgres_20261122_020000.sql.zst",
    ]


@pytest.mark.parametrize(
    ("env", "name", "trouble"),
    [
        (b"A=2\n", "postgres_20261122_020000.env", "it is not the file that its manifest describes"),
        (b"A=1\n", "postgres_20261121_020000.env", "its manifest is not one"),
        (b"A=1\n", "postgres_20261122_020000./../x", "its manifest is not one"),
    ],
)
def test_a_part_that_is_another_is_not_kept(tmp_path: Path, out: Console, env: bytes, name: str, trouble: str) -> None:
    server = Server()
    with_parts(server, env, name)
    assert f"The backup postgres_20261122_020000.sql.zst did not come whole: {trouble}." in failure(
        server, tmp_path, out
    )


def test_a_server_without_the_program_has_nothing_to_back_up(tmp_path: Path, out: Console) -> None:
    server = Server()
    server.answers["test -x /usr/local/bin/koprogo"] = (1, "")
    assert take(server, tmp_path / "backups", out) is None
    assert printed(out) == "  There is no /usr/local/bin/koprogo on 51.75.1.2, so there is nothing to back up.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_backup_that_fails_there_is_told_with_its_reason(tmp_path: Path, out: Console) -> None:
    server = Server()
    log = "2026-11-22T02:00:00+0100 PROBLEM No backup was made. The database (postgres) is exited.\n"
    server.answers["sudo -n /usr/local/bin/koprogo backup 2>&1"] = (1, f"one\n{log}")
    assert failure(server, tmp_path, out) == (
        "There is no last backup: koprogo backup ended with 1: No backup was made. The database (postgres) is exited."
    )


def test_a_backup_that_fails_without_a_word_is_told_too(tmp_path: Path, out: Console) -> None:
    server = Server()
    server.answers["sudo -n /usr/local/bin/koprogo backup 2>&1"] = (137, "\n")
    assert failure(server, tmp_path, out) == (
        "There is no last backup: koprogo backup ended with 137: it says nothing."
    )


def test_a_backup_that_left_nothing_is_none(tmp_path: Path, out: Console) -> None:
    server = Server()
    server.answers["sudo -n ls -1t /home/koprogo/backups"] = (0, "notes\n")
    assert failure(server, tmp_path, out) == (
        "There is no last backup: koprogo backup left nothing in /home/koprogo/backups."
    )


TORN = gzip.compress(SQL[: SQL.index(b"SELECT")], mtime=0)


@pytest.mark.parametrize(
    ("dump", "said", "trouble"),
    [
        (DUMP, b"{}", "its manifest is not one"),
        (DUMP, b"[", "its manifest is not one"),
        (DUMP[:-1] + b"x", manifest(DUMP), "it is not the file that its manifest describes"),
        (DUMP[:-1], manifest(DUMP), "it is not the file that its manifest describes"),
        (
            DUMP,
            manifest(DUMP, file="postgres_20261121_020000.sql.gz"),
            "its manifest is not one",
        ),
        (DUMP[:-9], manifest(DUMP[:-9]), "its end is missing"),
        (b"no gzip", manifest(b"no gzip"), "it cannot be unpacked"),
        (b"", manifest(b""), "its end is missing"),
        (TORN, manifest(TORN), "its closing line is missing"),
    ],
)
def test_what_does_not_come_whole_is_not_kept(
    tmp_path: Path, out: Console, dump: bytes, said: bytes, trouble: str
) -> None:
    server = Server()
    server.files = {f"/home/koprogo/backups/{NAME}": dump, f"/home/koprogo/backups/{MANIFEST}": said}
    assert failure(server, tmp_path, out) == (
        f"The backup {NAME} did not come whole: {trouble}. On the server it is as it was."
    )


def test_a_connection_that_breaks_on_the_way_leaves_nothing(tmp_path: Path, out: Console) -> None:
    server = Server()
    server.files[f"/home/koprogo/backups/{NAME}"] = NotYet("51.75.1.2 port 22: no answer in time.")
    assert failure(server, tmp_path, out) == "There is no last backup. 51.75.1.2 port 22: no answer in time."


def test_a_folder_that_cannot_be_made_is_a_line(tmp_path: Path, out: Console) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CloudError) as caught:
        take(Server(), tmp_path / "file", out)
    assert str(caught.value) == f"There is no last backup here. {tmp_path}/file: File exists."
