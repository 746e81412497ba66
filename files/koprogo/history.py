"""What was deployed here and what failed, newest last: one line of JSON each in history.jsonl.

The state is the truth; whatever outcome it holds and the history does not is written down after each run and before
the next, so that a kill in between neither loses an entry nor doubles it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from koprogo import log
from koprogo.problem import Problem
from koprogo.state import Deployed, Image, State, write_durably

KEPT = 200
"""Entries."""
SHOWN = 15


def path(state_dir: Path) -> Path:
    """Return where it is."""
    return state_dir / "history.jsonl"


def read(state_dir: Path) -> list[dict[str, Any]]:
    """Return the entries, oldest first; a line that a power cut left unfinished is none."""
    try:
        lines = path(state_dir).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Problem(f"{path(state_dir)}: {error.strerror}.") from None
    return [entry for entry in map(_entry, lines) if entry is not None]


def note(state_dir: Path, state: State, subject: Callable[[str], str]) -> None:
    """Write down the outcomes that the state holds and the history does not; `subject` tells a commit's first line."""
    entries = read(state_dir)
    known = {entry["id"] for entry in entries}
    found = [entry for entry in _outcomes(state) if entry["id"] not in known]
    if not found:
        return
    for entry in found:
        entry["subject"] = subject(entry["commit"])
    if len(entries) + len(found) > KEPT:
        kept = [*entries, *found][-KEPT // 2 :]
        write_durably(path(state_dir), b"".join(map(_line, kept)), 0o640)
        return
    _append(path(state_dir), found)


def versions(entries: Sequence[dict[str, Any]]) -> list[Deployed]:
    """Return every version that was live, newest first, each commit once."""
    found: dict[str, Deployed] = {}
    for entry in reversed(entries):
        if entry["result"] == "deployed" and entry["commit"] not in found:
            data = entry["version"]
            images = {name: Image(**image) for name, image in data["images"].items()}
            found[entry["commit"]] = Deployed(**{**data, "images": images})
    return list(found.values())


def screen(entries: Sequence[dict[str, Any]], running: str | None) -> str:
    """Return what a person sees."""
    if not entries:
        return "Nothing was deployed here so far."
    lines = []
    for entry in entries[-SHOWN:]:
        mark = "*" if entry["commit"] == running and entry["result"] == "deployed" else " "
        what = entry["reason"] or entry["subject"]
        lines.append(f"{mark} {log.stamp(entry['at'])}  {entry['commit'][:7]}  {entry['result']:<9} {what}")
    return "\n".join(line[:118] for line in lines)


def _outcomes(state: State) -> list[dict[str, Any]]:
    found = []
    if (live := state.deployed) is not None:
        version = dataclasses.asdict(live)
        found.append(_made(live.commit, live.since, "deployed", "", version))
    found += [_made(bad.commit, bad.at, "failed", bad.reason, None) for bad in state.quarantine]
    return sorted(found, key=lambda entry: float(entry["at"]))


def _made(commit: str, at: float, result: str, reason: str, version: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": f"{commit} {at}", "at": at, "commit": commit, "result": result, "reason": reason, "version": version,
    }  # fmt: skip


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"id", "at", "commit", "result"} <= entry.keys() else None


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _append(file: Path, entries: Sequence[dict[str, Any]]) -> None:
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
        with os.fdopen(handle, "rb+") as stream:
            size = stream.seek(0, os.SEEK_END)
            # Half a line of a power cut must not swallow the next one.
            broken = size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
            stream.write((b"\n" if broken else b"") + b"".join(map(_line, entries)))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise Problem(f"{file}: {error.strerror}.") from None
