"""A lock that the kernel lets go of: neither a crash nor a reboot leaves it behind."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koprogo.problem import Problem


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[int]:
    """Hold the lock on `path` and give its file descriptor; raises Busy when another holds it and `wait` is false."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy from None
        yield handle
    finally:
        os.close(handle)


def held(path: Path) -> bool:
    """Whether somebody holds the lock; asking takes it from nobody."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    # `1: FLOCK  ADVISORY  WRITE 812 08:01:1315 0 EOF`; in containers the device is not the one that stat() tells.
    return any(re.search(rf"FLOCK .*:{inode} 0 EOF$", line) for line in locks)
