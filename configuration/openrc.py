r"""openrc.sh as OVH's console and Horizon let one download it, read without a shell: nothing in it is ever run.

Of the shell's language it knows what such files have: assignments with and without `export`, the three ways of
quoting, comments, `$NAME`, `${NAME:-default}`, `read` and `unset`. shlex does not do: it ends a value at a # in the
middle of a word, and after it '$x' and "$x" look the same.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from configuration import checks

_NAME = r"[A-Za-z_]\w*"
_EXPANSION = rf"""\$(?:{_NAME}|\d|\{{{_NAME}(?::?-(?:"[^"`$]*"|'[^']*'|[^}}"'`])*)?\}})"""
_LONE_DOLLAR = r"""\$(?=[\s"]|$)"""
_TOKEN = rf"""'[^']*'|"(?:[^"\\`$]|\\.|{_EXPANSION}|{_LONE_DOLLAR})*"|\\.|{_EXPANSION}"""
_WORD = re.compile(rf"""(?!\#)(?:{_TOKEN}|[^\s;&|<>()'"\\`$]|{_LONE_DOLLAR})+""")
_BEFORE_AN_ASSIGNMENT = ("export", "declare", "typeset", "-x", "then", "else", "do")

WANTED = (
    "OS_AUTH_URL",
    "OS_AUTH_TYPE",
    "OS_USERNAME",
    "OS_PASSWORD",
    "OS_PROJECT_ID",
    "OS_TENANT_ID",
    "OS_PROJECT_NAME",
    "OS_TENANT_NAME",
    "OS_USER_DOMAIN_ID",
    "OS_USER_DOMAIN_NAME",
    "OS_PROJECT_DOMAIN_ID",
    "OS_PROJECT_DOMAIN_NAME",
    "OS_REGION_NAME",
    "OS_IDENTITY_API_VERSION",
)
"""What such a file may say of an account; it has other variables too, which nobody here needs."""


class _AskedFor(Exception):
    """The value is what somebody types when a shell runs the file."""


def read(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the file, see parse(). Raises ValueError: what is wrong, a line for each mistake."""
    try:
        file = checks.at_home(path)
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not text, so it is no openrc.sh") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not text.strip():
        raise ValueError(f"{path}: is empty; download openrc.sh again")
    if text.lstrip().startswith("<"):
        raise ValueError(f"{path}: is a web page and no openrc.sh; log in to the console, and download it again")
    if re.search(r"^clouds:", text, re.MULTILINE):
        raise ValueError(f"{path}: is a clouds.yaml and no openrc.sh; put it beside .env, and OS_CLOUD=name into .env")
    try:
        values = parse(text, environment)
    except ValueError as error:
        raise ValueError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    if not values:
        raise ValueError(f"{path}: has no line like export OS_USERNAME=…, so it is no openrc.sh")
    return values


def parse(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The WANTED variables that the text sets; not those that it asks for, as the password, nor empty ones.

    The environment is what $NAME means where the text does not set NAME. Raises ValueError with a line for each value
    that only a shell can find.
    """
    known: dict[str, str | None] = dict(environment)
    here, mistakes = set[str](), list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        for words in _commands(line):
            if words[0] == "unset":  # what the file sets it takes back only where it is empty
                known = {name: value for name, value in known.items() if name in here or name not in words}
            elif words[0] == "read":
                known |= dict.fromkeys(set(words[1:]) - here)
            else:
                mistakes += [f"line {number}: {mistake}" for mistake in _assign(words, known, here)]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return {name: value for name in WANTED if name in here and (value := known[name])}


def _assign(words: list[str], known: dict[str, str | None], here: set[str]) -> Iterator[str]:
    """Do the assignments that a command begins with; gives the mistakes in them."""
    for word in words:
        name, equals, raw = word.partition("=")
        if not equals or not re.fullmatch(_NAME, name):
            return
        try:
            known[name] = _value(raw, known)
            here.add(name)
        except _AskedFor:
            if name not in here:  # a password that was written above the question is the answer to it
                known[name] = None
        except ValueError as error:
            if name in WANTED:
                yield f"{name} {error}"


def _commands(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, quoted as they are. What cannot be split is one word, to the line's end."""
    words, at = list[str](), 0
    while at < len(line) and line[at] != "#":
        if line[at].isspace():
            at += 1
        elif line[at] in ";&|<>()":
            yield from _command(words)
            words, at = [], at + 1
        else:
            word = _WORD.match(line, at)
            end = word.end() if word else at
            if line[end : end + 1] in ("'", '"', "\\", "`", "$"):  # unfinished, or the output of a command
                end = len(line)
            words.append(line[at:end])
            at = end
    yield from _command(words)


def _command(words: list[str]) -> Iterator[list[str]]:
    while words and words[0] in _BEFORE_AN_ASSIGNMENT:
        words = words[1:]
    if words:
        yield words


def _value(raw: str, known: Mapping[str, str | None]) -> str:
    """What the shell makes of a word. Raises ValueError where only the shell knows, _AskedFor where a person does."""
    if raw and not _WORD.fullmatch(f"={raw}"):
        raise ValueError("is not a plain value (a command's output is not fetched); write it out between single quotes")

    def token(match: re.Match[str]) -> str:
        found = match[0]
        if found[0] == "'":
            return found[1:-1]
        if found[0] == '"':
            return re.sub(rf'\\["$`\\]|{_EXPANSION}', token, found[1:-1])
        if found[0] == "\\":
            return found[1:]
        name, dash, default = found[1:].strip("{}").partition("-")
        value = known.get(name.removesuffix(":"), "")
        if value is None:
            raise _AskedFor
        return value or (re.sub(_TOKEN, token, default) if dash else "")

    return re.sub(_TOKEN, token, raw)
