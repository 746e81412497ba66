"""Compressed files: written by zstd, which is five times as fast as gzip and packs no worse; read also from gzip.

zstd works in a process of its own; nothing here holds more than a piece of what goes by.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from koprogo.problem import Problem, one_line
from koprogo.runner import end_group

CHUNK = 1 << 18
GZIP = 16 + zlib.MAX_WBITS
TAR_ENDS = bytes(1024)
OPTIONS = ("-1", "--single-thread", "--quiet", "--stdout", "--check")
"""In one thread it takes a quarter of the memory, and there is one processor as a rule. The lowest level takes half of
the third one's time, and packs better than gzip still."""
PIPE = 1 << 20
"""Bytes that a pipe may hold; fewer changes between the processes of one small machine."""


class Hindered(Problem):
    """A file could not be read for want of something else on this server, which says nothing of the file."""


def pack(
    argv: Sequence[str],
    target: Path,
    limit: float,
    *,
    packed: bool = False,
    tolerated: Callable[[int, Iterable[str]], bool] | None = None,
) -> None:
    """Run `argv`, and keep what it prints, compressed, in `target`: on the disk, 0600.

    It may take `limit` seconds. `packed`: it prints what zstd made already. `tolerated` says of an exit code and of
    the lines that were complained whether it is good all the same. Raises Problem when anything is wrong.
    """
    name = _called(argv)
    # A program that a killed run had started may still write to the file of that name.
    target.unlink(missing_ok=True)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        with ExitStack() as stack:
            source = stack.enter_context(start(argv, stdout=file if packed else subprocess.PIPE, stderr=said))
            children = [source]
            if source.stdout is not None:
                packer = start(["zstd", *OPTIONS], stdin=source.stdout, stdout=file, stderr=complained)
                children.append(stack.enter_context(packer))
                # Only the packer reads it: where that ends, its source has to notice.
                source.stdout.close()
            late = stack.enter_context(limited(limit, *children))
            code, *packer_code = [child.wait() for child in children]
        if late.is_set():
            raise Problem(f"{name} did not end within {limit:.0f} s.")
        if any(packer_code):
            words = last(complained, f"zstd ended with {packer_code[0]}").rpartition(" : ")[2]
            raise Problem(f"{target.parent}: {words}.")
        words = last(said, "it says nothing")
        if code != 0 and "no space left on device" in words.lower():
            raise Problem(f"{target.parent}: No space left on device.")
        if code != 0 and not (tolerated and tolerated(code, _lines(said))):
            raise Problem(f"{name} failed (exit code {code}): {words}.")
        os.fsync(file.fileno())


def unpack(path: Path) -> Iterator[bytes]:
    """Yield what is in a compressed file, its own checksum verified; raises Problem when it is damaged or gone."""
    try:
        with path.open("rb") as file:
            yield from _gunzip(path, file) if path.suffix == ".gz" else _unzstd(path, file)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None


def require_tar(path: Path) -> None:
    """Raise Problem where a compressed archive of tar's is damaged, or ends before its end."""
    last = b""
    for piece in unpack(path):
        last = (last + piece)[-len(TAR_ENDS) :]
    if last != TAR_ENDS:
        raise Problem(f"{path.name} is no whole archive: its end is missing.")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(CHUNK):
            found.update(data)
    return found.hexdigest()


@contextmanager
def start(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    **more: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a group of its own (`more` is for Popen), and end all of it afterwards if it still runs."""
    try:
        child = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, **more)
    except OSError as error:
        raise Hindered(f"Cannot start {argv[0]}: {error.strerror}.") from None
    try:
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(OSError):
                    fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
        yield child
    finally:
        if child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()
        end_group(child)


@contextmanager
def limited(seconds: float, *children: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kill the children when it takes longer; the event says whether that was so."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    watch = threading.Timer(seconds, give_up)
    watch.start()
    try:
        yield late
    finally:
        watch.cancel()


def _gunzip(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(GZIP)
    try:
        while data := file.read(CHUNK):
            while data:
                yield unpacker.decompress(data, CHUNK)
                data = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error as error:
        raise Problem(f"{path.name} is damaged: {error}.") from None
    if not unpacker.eof or unpacker.unused_data:
        raise Problem(f"{path.name} is damaged: its end is missing.")


def _unzstd(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    argv = ["zstd", "--decompress", "--quiet", "--stdout"]
    with _temporary() as said, start(argv, stdin=file, stdout=subprocess.PIPE, stderr=said) as child:
        if child.stdout is None:
            raise AssertionError("no pipe")
        while data := child.stdout.read1(CHUNK):  # type: ignore[attr-defined]  # a BufferedReader
            yield data
        if (code := child.wait()) < 0:
            raise Hindered(f"{path.name} was not read to its end: zstd was ended by signal {-code}.")
        if code != 0:
            words = last(said, f"zstd ended with {code}").rpartition(" : ")[2]
            raise Problem(f"{path.name} is damaged: {words}.")


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise Hindered(f"{error.filename or tempfile.gettempdir()}: {error.strerror}.") from None


def last(stream: IO[bytes], otherwise: str) -> str:
    """Return what a program wrote into `stream`, on one line."""
    stream.seek(0)
    lines = [line.strip() for line in stream.read(4000).decode("utf-8", "replace").splitlines() if line.strip()]
    return one_line(" ".join(lines)).rstrip(". ") or otherwise


def _lines(stream: IO[bytes]) -> Iterator[str]:
    stream.seek(0)
    for line in stream:
        yield line.decode("utf-8", "replace")


def _called(argv: Sequence[str]) -> str:
    """Return the name of the program that `docker exec` or `docker run` starts, or of this one."""
    return next((name for name in ("pg_dumpall", "tar") if any(name in word for word in argv)), Path(argv[0]).name)
