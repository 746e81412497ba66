"""One verified dump of the whole database server, written so that what has the final name is good."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from koprogo.problem import Problem, one_line
from koprogo.runner import end_group
from koprogo.state import sync_directory, write_durably

PARTIAL = ".postgres.sql.gz.partial"
CHUNK = 1 << 18
GZIP = 16 + zlib.MAX_WBITS
LEVEL = 6

BEGINS = b"-- PostgreSQL database cluster dump"
ENDS = b"-- PostgreSQL database cluster dump complete"
CONNECTS = b"\n\\connect "
"""pg_dumpall writes it once per database; every server has at least one."""

EDGE = 4096
"""How much of both ends of a dump is looked at, bytes."""

LIMIT = 6 * 3600.0
"""Seconds that a dump may take: one that hangs must not keep every later one from being made."""


@dataclass(frozen=True)
class Origin:
    """Where a dump comes from, for its manifest."""

    container: str
    user: str
    postgres: str
    commit: str | None


class Content:
    """What went by of an uncompressed dump: enough to know that it is whole."""

    def __init__(self) -> None:
        self.size = 0
        self.databases = 0
        self._head = b""
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Take note of the next piece."""
        seam = self._tail[-len(CONNECTS) + 1 :] if self.size else b""
        self.databases += (seam + data).count(CONNECTS)
        if len(self._head) < EDGE:
            self._head += data[: EDGE - len(self._head)]
        self._tail = (self._tail + data)[-EDGE:]
        self.size += len(data)

    def trouble(self) -> str | None:
        """Return why this is not a whole dump, or None."""
        if self.size == 0:
            return "it is empty"
        if BEGINS not in self._head:
            return "it does not begin like a dump"
        last = [line for line in self._tail.splitlines() if line.strip(b"- \t")]
        if not last or last[-1] != ENDS:
            return "its closing line is missing"
        if self.databases == 0:
            return "it holds no database"
        return None


def write(argv: Sequence[str], directory: Path, origin: Origin, now: float, *, limit: float = LIMIT) -> Path:
    """Run the pg_dumpall in `argv`, and keep what it prints as postgres_YYYYMMDD_HHMMSS.sql.gz in `directory`.

    It may take `limit` seconds.

    The manifest, the same name with .json, is on the disk first: the appearance of the dump is what makes a set.
    Raises Problem when anything at all is wrong; then nothing of it counts. A full disk may leave part of the manifest
    behind: the next `koprogo backup` clears it away.
    """
    partial = directory / PARTIAL
    try:
        digest = _stream(argv, partial, limit)
        content = inspect(partial)
        trouble = content.trouble()
        if trouble is not None:
            raise Problem(f"The dump is not usable: {trouble}.")
        final = _free_name(directory, now)
        manifest = {
            "file": final.name,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "size": partial.stat().st_size,
            "uncompressed_size": content.size,
            "sha256": digest,
            "databases": content.databases,
            "postgres": origin.postgres,
            "user": origin.user,
            "container": origin.container,
            "commit": origin.commit,
        }
        write_durably(manifest_of(final), json.dumps(manifest, indent=1).encode() + b"\n", 0o600)
        partial.replace(final)
        sync_directory(directory)
    except OSError as error:
        raise Problem(f"{directory}: {error.strerror}.") from None
    finally:
        partial.unlink(missing_ok=True)
    return final


def manifest_of(dump: Path) -> Path:
    """Return where the manifest of a dump is."""
    return dump.with_name(dump.name.removesuffix(".sql.gz") + ".json")


def inspect(path: Path) -> Content:
    """Read a compressed dump back from the disk, checksum included; raises Problem when it is damaged."""
    content = Content()
    unpack = zlib.decompressobj(GZIP)
    try:
        with path.open("rb") as stream:
            while data := stream.read(CHUNK):
                content.add(unpack.decompress(data))
        content.add(unpack.flush())
    except zlib.error as error:
        raise Problem(f"The dump is not usable: {error}.") from None
    if not unpack.eof or unpack.unused_data:
        raise Problem("The dump is not usable: its end is missing.")
    return content


def _stream(argv: Sequence[str], partial: Path, limit: float) -> str:
    """Compress what `argv` prints into `partial`, on the disk, 0600; returns the SHA-256 of the file."""
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise Problem(f"Cannot start {argv[0]}: {error.strerror}.") from None
        late = threading.Event()
        watch = threading.Timer(limit, _give_up, (child, late))
        try:
            watch.start()
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as target:
                digest = _compress(child.stdout, target)
                target.flush()
                os.fsync(target.fileno())
            code = child.wait()
        finally:
            watch.cancel()
            end_group(child)
        if late.is_set():
            raise Problem(f"pg_dumpall did not end within {limit:.0f} s.")
        if code != 0:
            errors.seek(0)
            words = one_line(errors.read(4000).decode("utf-8", "replace")) or "it says nothing"
            raise Problem(f"pg_dumpall failed (exit code {code}): {words.rstrip('.')}.")
    return digest


def _give_up(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _compress(source: IO[bytes] | None, target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    pack = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    while data := (source.read(CHUNK) if source else b""):
        packed = pack.compress(data)
        digest.update(packed)
        target.write(packed)
    packed = pack.flush()
    digest.update(packed)
    target.write(packed)
    return digest.hexdigest()


def _free_name(directory: Path, now: float) -> Path:
    while True:
        path = directory / time.strftime("postgres_%Y%m%d_%H%M%S.sql.gz", time.localtime(now))
        if not path.exists():
            return path
        # The hour that comes twice when summer time ends.
        now += 1
