"""The store of off-site copies: a restic repository, and restic as this program calls it.

restic encrypts before anything leaves the server. What it is given goes through its environment or through standard
input: a process list shows no secret.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from koprogo.backups import packing
from koprogo.config import Config
from koprogo.problem import Problem, one_line
from koprogo.state import write_durably

PASSWORD = "offsite-password"  # noqa: S105 - the name of a file
"""In the state directory: the key of this server, made here. It never leaves the server."""
CACHE = "offsite-cache"
HOST = "koprogo"
"""Written into each snapshot: that of a server after this one counts as the same."""
QUICK = 120.0
"""Seconds within which a store that works answers. restic alone would try for 15 minutes and more."""

NO_REPOSITORY, WRONG_PASSWORD = 10, 12
"""Exit codes of restic 0.17 and later; before, the words have to do."""
_NONE_THERE = re.compile(r"config(?: file)?: .*(?:does not exist|not found)")
_WRONG = "wrong password or no key found"
_DENIED = re.compile(r"access ?denied|forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|Permission denied", re.I)


class NoRepository(Problem):
    """There is no repository at that place so far."""


class WrongPassword(Problem):
    """The repository knows no such key."""


@dataclass(frozen=True)
class Place:
    """Where copies go: what deploy.py wrote, secrets among it."""

    repository: str
    """As restic writes it."""
    key_id: str = ""
    secret: str = ""
    """The key pair of an S3 user."""
    ssh_key: str = ""
    host_key: str = ""
    """A private key, and the public key of the host, where the copies go by SFTP."""


def place(config: Config) -> Place | None:
    """Return where copies go; None where none are wanted. Raises Problem for a file that cannot be read."""
    if config.offsite_file is None:
        return None
    path = config.offsite_file
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {name: str(data.get(name, "")) for name in Place.__dataclass_fields__}
        if "\0" in "".join(found.values()):
            raise ValueError
        return Place(**found)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}. Run deploy.py again from the operator's machine.") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Without what it says: that would be secrets.
        raise Problem(f"{path} is damaged. Run deploy.py again from the operator's machine.") from None


class Store:
    """The repository, opened by one key."""

    def __init__(self, config: Config, there: Place, password: str = "") -> None:
        self._config = config
        self.there = there
        self.password = password or own_password(config)

    def with_password(self, password: str) -> Store:
        """Return the same repository, opened by another key."""
        return Store(self._config, self.there, password)

    def is_open(self) -> bool:
        """Whether this key opens it; raises NoRepository where there is none, and Problem where nobody can tell."""
        try:
            self.run("cat", "config")
        except WrongPassword:
            return False
        return True

    def init(self) -> None:
        """Make the repository, in the form that every version of restic reads."""
        version = self.run("version")
        found = re.search(r"restic (\d+)\.(\d+)", version)
        knows = found is not None and (int(found[1]), int(found[2])) >= (0, 14)
        self.run("init", *(["--repository-version", "1"] if knows else []), limit=QUICK)

    def add_key(self, password: str) -> None:
        """Let another key open it too; that key is in memory alone, whatever cuts this off."""
        with os.fdopen(os.memfd_create("key"), "w") as file:
            file.write(password)
            file.flush()
            self.run("key", "add", "--new-password-file", f"/dev/fd/{file.fileno()}", given=(file.fileno(),))

    def unlock(self) -> None:
        """Take away the locks of runs that were cut off; those of runs that go on stay."""
        self.run("unlock")

    def snapshots(self) -> list[dict[str, Any]]:
        """Return what is stored, the oldest first, as restic describes it."""
        found = json.loads(self.run("snapshots", "--json", "--no-lock") or "null") or []
        return sorted(found, key=lambda each: str(each["time"]))

    def save(self, folder: Path, names: Sequence[str], tag: str, made: str, limit: float) -> str:
        """Store these files of a folder under a tag, as of `made` (`YYYY-MM-DD hh:mm:ss`); returns the snapshot."""
        options = ["--json", "--host", HOST, "--tag", tag, "--time", made]
        said = self.run("backup", *options, "--", *names, limit=limit, folder=folder)
        try:
            return str(json.loads(said.splitlines()[-1])["snapshot_id"])
        except (ValueError, KeyError, IndexError):
            raise Problem("restic backup did not say what it stored.") from None

    @contextmanager
    def read(self, snapshot: str, name: str, limit: float) -> Iterator[Iterator[bytes]]:
        """Give the content of a stored file piece by piece, from the store itself: nothing comes out of a cache."""
        with (
            tempfile.TemporaryFile() as said,
            self._start(["--no-cache", "--no-lock", "dump", snapshot, f"/{name}"], subprocess.PIPE, said) as child,
            packing.limited(limit, child) as late,
        ):
            if child.stdout is None:
                raise AssertionError("no pipe")
            yield _pieces(child.stdout)
            code = child.wait()
            if late.is_set() or code != 0:
                raise _explained("dump", code, _words(said), limit if late.is_set() else 0)

    def run(self, *arguments: str, limit: float = QUICK, folder: Path | None = None, given: Sequence[int] = ()) -> str:
        """Run restic, with the open files that it is `given`, for at most `limit` seconds; returns what it prints.

        Raises Problem.
        """
        command = next(word for word in arguments if not word.startswith("-"))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            with self._start(arguments, out, said, folder, given) as child, packing.limited(limit, child) as late:
                code = child.wait()
            if late.is_set() or code != 0:
                raise _explained(command, code, _words(said), limit if late.is_set() else 0)
            out.seek(0)
            return out.read().decode("utf-8", "replace")

    @contextmanager
    def _start(
        self,
        arguments: Sequence[str],
        out: int | IO[bytes],
        said: IO[bytes],
        folder: Path | None = None,
        given: Sequence[int] = (),
    ) -> Iterator[subprocess.Popen[bytes]]:
        argv = ["nice", "-n", "10", "restic", "--option", "s3.connections=2", *self._by_ssh(), *arguments]
        more: dict[str, Any] = {"env": self._environment(), "cwd": folder or "/", "pass_fds": given}
        with packing.start(argv, stdout=out, stderr=said, **more) as child:
            yield child

    def _environment(self) -> dict[str, str]:
        state = self._config.state_dir
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "RESTIC_REPOSITORY": self.there.repository,
            "RESTIC_PASSWORD": self.password,
            "RESTIC_CACHE_DIR": str(state / CACHE),
            "AWS_ACCESS_KEY_ID": self.there.key_id,
            "AWS_SECRET_ACCESS_KEY": self.there.secret,
            **_region(self.there.repository),
            # Packs are put together on the disk: /tmp may be memory.
            "TMPDIR": "/var/tmp",  # noqa: S108 - restic makes names of its own there
            # On a server of 2 GB, slower is better than larger.
            "GOGC": "20",
            "GOMEMLIMIT": "200MiB",
            "GOMAXPROCS": "1",
        }

    def _by_ssh(self) -> list[str]:
        if not self.there.repository.startswith("sftp:"):
            return []
        folder = self._config.state_dir / "offsite-ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        user, host, port = ssh_target(self.there.repository)
        name = host if port == 22 else f"[{host}]:{port}"  # noqa: PLR2004
        for file, text in (("key", self.there.ssh_key), ("known_hosts", f"{name} {self.there.host_key}\n")):
            write_durably(folder / file, text.encode(), 0o600)
        ssh = f"ssh -i {folder}/key -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes"
        return [
            "--option",
            f"sftp.command={ssh} -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=30 -p {port} {user}@{host}"
            " -s sftp",
        ]


def _words(stream: IO[bytes]) -> str:
    """Return why restic gave up: its last words, out of many."""
    stream.seek(0)
    lines = [line.strip() for line in stream.read(1 << 20).decode("utf-8", "replace").splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith('{"message_type":"exit_error"'):
            with suppress(ValueError):
                return str(json.loads(line).get("message", "")).partition("\n")[0].removeprefix("Fatal: ")
        if line.startswith("Fatal: "):
            return line.removeprefix("Fatal: ")
    return lines[-1] if lines else "it says nothing"


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read1(packing.CHUNK):  # type: ignore[attr-defined]  # a BufferedReader
        yield piece


def ssh_target(repository: str) -> tuple[str, str, int]:
    """Return user, host and port of sftp:user@host:/path or sftp://user@host:port//path."""
    match = re.match(r"sftp:(?://)?([^@/]+)@(\[[^]]+\]|[^:/]+)(?::(\d+)(?=/))?", repository)
    if match is None:
        raise Problem("The address of the off-site copies is no sftp:user@host:/path.")
    return match[1], match[2].strip("[]"), int(match[3] or 22)


def own_password(config: Config) -> str:
    """Return the key of this server, made on first use."""
    path = config.state_dir / PASSWORD
    try:
        there = path.read_text(encoding="ascii").strip() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}.") from None
    if not there:
        there = os.urandom(32).hex()
        write_durably(path, f"{there}\n".encode(), 0o600)
    return there


def _region(repository: str) -> dict[str, str]:
    """Return the region that an address of OVH's names, which signatures have to name as well."""
    match = re.match(r"s3:https?://s3\.([a-z0-9-]+)\.(?:io|perf)\.cloud\.ovh\.", repository)
    return {"AWS_DEFAULT_REGION": match[1]} if match else {}


def _explained(command: str, code: int, said: str, late: float) -> Problem:
    words = one_line(said, 200).rstrip(". ")
    if late:
        return Problem(f"The store did not answer restic {command} within {late:.0f} s: {words}.")
    if code == WRONG_PASSWORD or _WRONG in said:
        return WrongPassword(
            "The repository knows no such key. To add this server's: deploy.py, with the recovery key."
        )
    if _DENIED.search(said):
        return Problem(f"The store refuses us (restic {command}): {words}.")
    if _NONE_THERE.search(said) or (code == NO_REPOSITORY and "does not exist" in said):
        return NoRepository("There is no repository.")
    return Problem(f"restic {command} failed (exit code {code}): {words}.")
