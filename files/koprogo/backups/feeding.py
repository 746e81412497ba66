"""A dump on its way into a database: through a named pipe, without the role that is there already."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from koprogo.backups import packing
from koprogo.backups.content import Content
from koprogo.backups.sets import Set
from koprogo.problem import Problem

ROLES = 1 << 24
"""Bytes at the beginning of a dump, within which the superuser has to be made: roles come first."""
POLL = 0.025


@contextmanager
def writing(pipe: Path, child: subprocess.Popen[bytes]) -> Iterator[IO[bytes]]:
    """Open a named pipe as soon as `child` reads from it; raises BrokenPipeError if it never does."""
    while True:
        try:
            handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if child.poll() is not None:
            raise BrokenPipeError
        time.sleep(POLL)
    os.set_blocking(handle, True)
    with suppress(OSError):
        fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, packing.PIPE)
    with os.fdopen(handle, "wb", buffering=0) as target:
        yield target


def feed(target: IO[bytes], found: Set, content: Content) -> None:
    """Write the dump of a set into `target`, and note in `content` what goes by; raises Problem if it is damaged."""
    head, passed = b"", False
    for piece in packing.unpack(found.dump):
        content.add(piece)
        if passed:
            _write(target, piece)
            continue
        head += piece
        if (changed := without_role(head, found.user)) is not None:
            _write(target, changed)
            passed = True
        elif len(head) >= ROLES:
            break
    if not passed:
        raise Problem(f"{found.name} does not make the role {found.user}, so it is not what its manifest says.")


def _write(target: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[target.write(left) :]


def without_role(piece: bytes, user: str) -> bytes | None:
    """Return the beginning of a dump without the line that makes the superuser, who is there already.

    None where there is no such line.
    """
    name = user.encode("utf-8", "surrogateescape")
    for form in (name, b'"' + name.replace(b'"', b'""') + b'"'):
        line = b"\nCREATE ROLE " + form + b";\n"
        if line in piece:
            return piece.replace(line, b"\n\n", 1)
    return None
