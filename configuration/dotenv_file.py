"""What can be wrong with a .env file as a text, before any value is looked at."""

import difflib
import io
import logging
from collections.abc import Iterable
from pathlib import Path

from dotenv.parser import Binding, parse_stream

# it logs a line that it cannot read at every reading; read() below says it once
logging.getLogger("dotenv").setLevel(logging.ERROR)

CURLY_QUOTES = set("\u201c\u201d\u2018\u2019\u201e\u00ab\u00bb")
APPLICATION_PREFIX = "APP_"
"""APP_NAME=value goes into the server's .env as NAME=value."""


def read(path: Path) -> tuple[list[Binding], list[str]]:
    """The assignments of a .env file, and the mistakes that keep it from being read as it was meant."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return [], [f"{path}: cannot be read ({error.strerror})"]
    except UnicodeDecodeError as error:
        return [], [f"{path}: is not UTF-8 text (byte {error.start + 1}); save it as UTF-8"]
    bindings, mistakes = parsed(text)
    return bindings, [f"{path}: {mistake}" for mistake in mistakes]


def parsed(text: str) -> tuple[list[Binding], list[str]]:
    """The assignments of a text, and the mistakes in it."""
    bindings = list(parse_stream(io.StringIO(text)))
    return bindings, _mistakes_in_text(bindings)


def _mistakes_in_text(bindings: Iterable[Binding]) -> list[str]:
    mistakes, seen = [], dict[str, int]()
    for binding in bindings:
        line = binding.original.line + binding.original.string.count("\n", 0, _indent(binding.original.string))
        if binding.error:
            mistakes.append(f"line {line} cannot be read; write NAME=value, and quote a value with spaces")
        elif binding.key is None:
            continue
        elif binding.value is None:
            mistakes.append(f"line {line}: {binding.key} has no = after it; write {binding.key}=value")
        elif binding.key in seen:
            mistakes.append(f"line {line}: {binding.key} stands on line {seen[binding.key]} too; keep one")
        elif CURLY_QUOTES & set(binding.value):
            mistakes.append(f"line {line}: {binding.key} has curly quotes; write plain ones, or none")
        elif "${" in binding.value:
            mistakes.append(f"line {line}: {binding.key} has ${{…}} in it, which is not replaced; write it out")
        if binding.key:
            seen.setdefault(binding.key, line)
    return mistakes


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def typos(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names that are no variable of ours and look like one.

    Others are left alone: people keep variables of other tools in the same file.
    """
    known = list(known)
    found = []
    for name in names:
        if name in known or name.startswith(APPLICATION_PREFIX):
            continue
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
        if near:
            found.append(f"{name}: unknown, did you mean {near[0]}?")
    return found
