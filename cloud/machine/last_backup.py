"""The last backup of a server that is about to lose its disk: made there, brought here, verified here.

`koprogo backup` writes a set of files with one name: the dump, postgres_YYYYMMDD_HHMMSS.sql.zst, other parts, and the
manifest (.json) that describes all of them (files/koprogo/backups/dump.py).
"""

import hashlib
import json
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cloud.machine.login import Login
from cloud.show import step
from cloud.trouble import CloudError, NotYet
from facts import layout

NAME = re.compile(r"(postgres_\d{8}_\d{6})\.sql\.(?:zst|gz)")
PART = re.compile(r"[\w.-]+")
LAST_LINE = b"-- PostgreSQL database cluster dump complete"
WRITTEN = "written and verified"
"""What the program says of a set once it has one."""
SECONDS = 60
MINUTES = 60
"""How long the dump may take, and how long its way here; the database may be large."""
PIECE = 1 << 18
TAIL = 4096
"""Bytes at the end of a dump in which its last line is."""


def take(login: Login, into: Path, to: Console) -> Path | None:
    """Make a backup on the server and bring it into `into`/<its address>; returns the path of the dump.

    None where there is no program koprogo, which is said. Raises CloudError; then nothing new is in the folder.
    """
    try:
        if login.run(f"test -x {layout.PROGRAM}", SECONDS)[0]:
            to.print(f"  There is no {layout.PROGRAM} on {login.address}, so there is nothing to back up.")
            return None
        with step(to, "Making a last backup"):
            name = _made(login)
        with step(to, f"Fetching {name}"):
            path = _fetched(login, name, _folder(into, login.address))
    except NotYet as error:
        raise CloudError(f"There is no last backup. {error}") from None
    except OSError as error:
        raise CloudError(f"There is no last backup here. {into}: {error.strerror}.") from None
    to.print(f"  {path} ({path.stat().st_size / 1e6:.1f} MB) is whole: its checksum is the server's.")
    return path


def _made(login: Login) -> str:
    """Make a set on the server; the name of its dump."""
    status, said = login.run(f"sudo -n {layout.PROGRAM} backup 2>&1", MINUTES * 60)
    # A set that could not be copied elsewhere is a set: it is fetched and compared next.
    if status and WRITTEN not in said:
        last = (said.strip().splitlines() or ["it says nothing"])[-1]
        words = last.partition(" PROBLEM ")[2] or last  # files/koprogo/log.py
        raise CloudError(f"There is no last backup: koprogo backup ended with {status}: {words[:300].rstrip('.')}.")
    # the newest first: names have the server's local time, in which an hour comes twice a year
    _, listed = login.run(f"sudo -n ls -1t {layout.BACKUPS}", SECONDS)
    names = [line for line in listed.splitlines() if NAME.fullmatch(line)]
    if not names:
        raise CloudError(f"There is no last backup: koprogo backup left nothing in {layout.BACKUPS}.")
    return names[0]


def _folder(into: Path, address: str) -> Path:
    """Where the sets of this server are; names alone do not say whose they are."""
    folder = into / address
    for each in (into, folder):
        each.mkdir(mode=0o700, exist_ok=True)
        each.chmod(0o700)
    return folder


def _fetched(login: Login, name: str, folder: Path) -> Path:
    """Bring a set here. It is in the folder once it is verified, the dump last."""
    match = NAME.fullmatch(name)
    if match is None:
        raise AssertionError(name)
    manifest, whole = match[1] + ".json", f"The backup {name} did not come whole"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as part:
        login.fetch(f"{layout.BACKUPS}/{manifest}", Path(part, manifest), MINUTES * 60)
        parts = _parts(Path(part, manifest), match[1])
        if parts is None or parts[-1].file != name:
            raise CloudError(f"{whole}: its manifest is not one. On the server it is as it was.")
        for each in parts:
            login.fetch(f"{layout.BACKUPS}/{each.file}", Path(part, each.file), MINUTES * 60)
            if trouble := _trouble(Path(part, each.file), each):
                raise CloudError(f"{whole}: {trouble}. On the server it is as it was.")
        for file in (*(each.file for each in parts[:-1]), manifest, name):
            Path(part, file).replace(folder / file)
    return folder / name


@dataclass(frozen=True)
class Part:
    """One file of a set, as its manifest describes it."""

    file: str
    size: int
    sha256: str


def _parts(manifest: Path, name: str) -> list[Part] | None:
    """The files of the set `name`, the dump last; None if the manifest is not one."""
    try:
        said = json.loads(manifest.read_bytes())
        parts = [Part(each["file"], each["size"], each["sha256"]) for each in (*said.get("parts", ()), said)]
        good = all(PART.fullmatch(part.file) and part.file.startswith(f"{name}.") for part in parts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return parts if good else None


def _trouble(path: Path, part: Part) -> str:
    """What is wrong with a file of a set, or ""."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    if (path.stat().st_size, digest.hexdigest()) != (part.size, part.sha256):
        return "it is not the file that its manifest describes"
    # zstd's the server has read back; here there may be no zstd
    return _unpacked_trouble(path) if path.name.endswith(".sql.gz") else ""


def _unpacked_trouble(dump: Path) -> str:
    unpack, tail = zlib.decompressobj(16 + zlib.MAX_WBITS), b""
    try:
        for piece in _pieces(dump):
            tail = (tail + unpack.decompress(piece))[-TAIL:]
    except zlib.error:
        return "it cannot be unpacked"
    if not unpack.eof:
        return "its end is missing"
    return "" if LAST_LINE in tail else "its closing line is missing"


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece
