"""Changing a line of a .env file, and nothing else in it."""

import io
import os
import re
import tempfile
from pathlib import Path

from dotenv.parser import parse_stream

from configuration import dotenv_file

# As python-dotenv reads it: a value between quotes, or up to the end of the line or a comment.
_VALUE = r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?!['"])[^\r\n]*?(?=[^\S\r\n]+\#|[^\S\r\n]*(?:[\r\n]|\Z)))"""
_BOM = "\ufeff"


def changed(text: str, name: str, value: str) -> str:
    """The text with another value for a variable.

    Where the variable is not set, its line goes below the comment that shows its default (#NAME=…), or to the end.
    Raises ValueError for a value that no such line can hold.
    """
    mark = _BOM if text.startswith(_BOM) else ""
    new = mark + _with_line(text.removeprefix(mark), name, value)
    bindings, mistakes = dotenv_file.parsed(new.removeprefix(mark))
    if mistakes or not value.isprintable() or [binding.value for binding in bindings if binding.key == name] != [value]:
        raise ValueError("cannot be given this value: no line of a .env file holds it")
    return new


def _with_line(text: str, name: str, value: str) -> str:
    quoted = f"'{value}'"
    written = value if re.fullmatch(r"[\w.:/@+-]+", value, re.ASCII) else quoted
    parts = list(parse_stream(io.StringIO(text)))
    lines = [part.original.string for part in parts]
    for at, part in enumerate(parts):
        if part.key == name:
            start = rf"\A(\s*(?:export[^\S\r\n]+)?'?{name}'?[^\S\r\n]*=(?:[^\S\r\n]*(?![\s#]))?)({_VALUE})"
            if match := re.match(start, lines[at], re.DOTALL):
                lines[at] = match[1] + (quoted if match[2][:1] in ("'", '"') else written) + lines[at][match.end() :]
            return "".join(lines)
    end = "\r\n" if "\r\n" in text else "\n"
    shown = (at for at, part in enumerate(parts) if part.key is None and re.match(rf"\s*#\s*{name}=", lines[at]))
    below = next(shown, len(lines) - 1) + 1
    before = "".join(lines[:below])
    if before and not before.endswith("\n"):
        before += end
    return f"{before}{name}={written}{end}{''.join(lines[below:])}"


def replace(path: Path, content: bytes) -> None:
    """Replace a file at once, with its owner and mode. Raises OSError; the file is then as it was."""
    path = path.resolve(strict=True)  # the file itself, if this is a link to it
    if not os.access(path, os.W_OK):
        raise PermissionError(None, "it is read-only")
    was = path.stat()
    file = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False)  # noqa: SIM115 - below
    try:
        with file:
            file.write(content)
            file.flush()
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(file.name, was.st_uid, was.st_gid)
            Path(file.name).chmod(was.st_mode & 0o7777)
            os.fsync(file.fileno())
        Path(file.name).replace(path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
