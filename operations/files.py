"""Files on the server, compared with what was read of them and written in one step, with what they are for."""

import difflib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2
from pyinfra import host, logger
from pyinfra import state as run
from pyinfra.api import StringCommand, operation

from facts.server import Entry, State
from facts.wire import ship
from operations.on_server.put_files import with_block

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    autoescape=False,  # noqa: S701  # nothing here is HTML
)


@dataclass(frozen=True)
class File:
    """A file as it has to be. With `block`, `text` is our part of a file that others write too. No secrets here."""

    path: str
    text: str
    mode: str = "644"
    owner: str = "root"
    group: str = "root"
    block: bool = False

    def wanted(self, actual: Entry | None) -> str:
        """The whole text, given what is there."""
        return with_block((actual and actual["text"]) or "", self.text) if self.block else self.text

    def differs(self, actual: Entry | None) -> bool:
        """Whether it has to be written: text, mode, owner and group all count."""
        if actual is None or actual["kind"] != "file" or actual["text"] != self.wanted(actual):
            return True
        return (actual["mode"], actual["owner"], actual["group"]) != (self.mode, self.owner, self.group)


def render(template: str, **values: object) -> str:
    """A template of templates/, filled in; a name that is missing is an error."""
    return _TEMPLATES.get_template(template).render(**values)


def actual(state: State, path: str) -> Entry | None:
    """What is at a path that was asked for, alone or as part of a tree."""
    for tree, entries in state["trees"].items():
        if PurePosixPath(path).is_relative_to(tree):
            return entries.get(path)
    return state["files"][path]


def drifted(state: State, wanted: Sequence[File]) -> list[File]:
    """Those that have to be written."""
    return [file for file in wanted if file.differs(actual(state, file.path))]


def settings_in(state: State, path: str) -> dict[str, Any]:
    """The JSON object that a file holds; empty where there is no such file, or it holds something else."""
    entry = actual(state, path)
    try:
        found = json.loads((entry and entry["text"]) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@operation()
def sync(
    state: State, wanted: Sequence[File], absent: Sequence[str] = (), check: str = "", then: str = ""
) -> Generator[StringCommand, None, None]:
    """Write those that differ and remove those in `absent`; then `check` them and do `then`, both shell.

    If one of the two fails, the former files come back: the next run sees the difference again.
    """
    stale = [path for path in absent if actual(state, path)]
    changed = drifted(state, wanted)
    if not changed and not stale:
        host.noop("files are as they should be")
        return
    if run.config.DIFF and not run.is_executing:
        _show(state, changed, stale)
    order = {"files": [asdict(file) for file in changed], "absent": stale, "check": check, "then": then}
    yield StringCommand(ship("operations.on_server.put_files"), _stdin=json.dumps(order))


def _show(state: State, changed: Sequence[File], stale: Sequence[str]) -> None:
    for file in changed:
        entry = actual(state, file.path)
        before = ((entry and entry["text"]) or "").splitlines()
        lines = difflib.unified_diff(before, file.wanted(entry).splitlines(), file.path, file.path, lineterm="", n=1)
        for line in lines:
            logger.info(f"    {line}")
        if entry and entry["mode"] != file.mode:
            logger.info(f"    ~ {file.path}: mode {entry['mode']} → {file.mode}")
        if entry and (entry["owner"], entry["group"]) != (file.owner, file.group):
            logger.info(f"    ~ {file.path}: owner {entry['owner']}:{entry['group']} → {file.owner}:{file.group}")
    for path in stale:
        logger.info(f"    - {path}")
