"""Files as they are: text, mode, owner and group."""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any


def look(path: str) -> "dict[str, Any] | None":
    """What is at a path: {"kind": "file", "text", "mode": "644", "owner", "group"}, or None. Links are not followed."""
    try:
        entry = os.lstat(path)
    except OSError:
        return None
    kind = "folder" if stat.S_ISDIR(entry.st_mode) else "file" if stat.S_ISREG(entry.st_mode) else "other"
    return {
        "kind": kind,
        "text": text(path) if kind == "file" else None,
        "mode": f"{stat.S_IMODE(entry.st_mode):o}",
        "owner": _name(pwd.getpwuid, entry.st_uid),
        "group": _name(grp.getgrgid, entry.st_gid),
    }


def tree(folder: str) -> "dict[str, Any]":
    """Every file below a folder, but for Python's compiled ones."""
    found = {}
    for path in Path(folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found[str(path)] = look(str(path))
    return found


def metadata(path: str) -> "dict[str, Any] | None":
    """As `look`, without the text: for logs, and for what holds secrets."""
    seen = look(path)
    return seen and {**seen, "text": None}


def text(path: str) -> str:
    """What a file says; empty where there is none, or none that is UTF-8."""
    try:
        return Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _name(look_up: Any, number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)
