"""Write files on the server, all or none: if what they are for refuses them, the former ones come back."""

import grp
import json
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BEGIN, END = "# BEGIN koprogo\n", "# END koprogo\n"


def with_block(text: str, block: str) -> str:
    """`text` with our part of it replaced by `block`, or added at its end."""
    before, begin, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if begin else ""
    if not begin and before and not before.endswith("\n"):
        before += "\n"
    return before + BEGIN + block + END + after


def write(path: Path, text: str, mode: int, owner: str, group: str) -> None:
    """Replace a file in one step; whoever reads it sees the old or the new one, never with the wrong mode."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=0o755)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchown(file.fileno(), pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise


class Former:
    """Files as they were before."""

    def __init__(self, paths: "list[Path]") -> None:
        self._kept = {path: (path.read_bytes(), path.stat()) if path.is_file() else None for path in paths}

    def restore(self) -> None:
        """Put them back, and remove those that were not there."""
        for path, kept in self._kept.items():
            if kept is None:
                if path.is_file():
                    path.unlink()
            else:
                content, entry = kept
                path.write_bytes(content)
                os.chown(path, entry.st_uid, entry.st_gid)
                path.chmod(entry.st_mode & 0o7777)


def _shell(command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _fail(what: str, output: str) -> None:
    tail = "\n".join(line for line in output.strip().splitlines()[-5:])
    sys.exit(f"{tail}\n{what}".strip())


def main() -> None:
    """Do what standard input says: {"files": […], "absent": […], "check": command, "then": command}."""
    order: dict[str, Any] = json.load(sys.stdin)
    paths = [Path(file["path"]) for file in order["files"]]
    former = Former(paths + [Path(path) for path in order["absent"]])
    names = ", ".join(map(str, paths))
    try:
        for file, path in zip(order["files"], paths, strict=True):
            text = file["text"]
            if file["block"]:
                text = with_block(path.read_text() if path.exists() else "", text)
            write(path, text, int(file["mode"], 8), file["owner"], file["group"])
        for path in order["absent"]:
            Path(path).unlink(missing_ok=True)
    except (OSError, KeyError, UnicodeError) as error:  # KeyError: a user or a group that is not there
        former.restore()
        _fail(f"{names}: could not be written ({error}); the former state is back.", "")
    if order["check"]:
        done = _shell(order["check"])
        if done.returncode:
            former.restore()
            _fail(
                f"{names}: refused by `{order['check']}`; the former state is back, nothing was restarted.", done.stdout
            )
    if order["then"]:
        done = _shell(order["then"])
        if done.returncode:
            former.restore()
            _shell(order["then"])
            _fail(f"{names}: `{order['then']}` failed; the former state is back.", done.stdout)
