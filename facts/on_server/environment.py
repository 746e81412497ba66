"""The server's .env: how it is read and written, and what may be told about it. No secret leaves the server."""

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

from facts.on_server.files import metadata, text

HEADER = "# Written by deploy.py; edit the .env on your own machine instead. Secrets were made here, once.\n"
_PLAIN = re.compile(r"[A-Za-z0-9_./:@,+-]*")


def parse(text: str) -> "dict[str, str]":
    """NAME=value lines, in order; quotes around a value are taken off."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            values[name.strip()] = value[1:-1] if quoted else value
    return values


def render(values: "dict[str, str]") -> str:
    """The file. Between single quotes a shell and Compose take a value as it stands (no $ is replaced)."""
    lines = (f"{name}={v}" if _PLAIN.fullmatch(v) else f"{name}='{v}'" for name, v in values.items())
    return HEADER + "".join(f"{line}\n" for line in lines)


def kept(master: str) -> "dict[str, str]":
    """The secrets made on this server, from root's own copy of them."""
    path = Path(master)
    return dict(json.loads(path.read_text())) if path.exists() else {}


def state(path: str, master: str, plain: "list[str]", make: "list[str]", salt: str) -> "dict[str, Any]":
    """What may be told: values of `plain`, a keyed hash of every other, how those made here stand (see `_judge`)."""
    written = text(path)
    values = parse(written)
    secrets = kept(master)
    made = {name: _judge(values.get(name), secrets.get(name)) for name in make}
    others = [name for name in values if name not in plain and name not in make]
    return {
        "file": metadata(path),
        "master": metadata(master),
        "names": list(values),
        "values": {name: values[name] for name in plain if name in values},
        "hashes": {name: keyed_hash(salt, values[name]) for name in others},
        "made": made,
        "canonical": written == render(values),
    }


def hashed(path: str, salt: str) -> "dict[str, Any] | None":
    """As `look` of files.py, with a keyed hash in place of the text: for a file that holds secrets."""
    seen = metadata(path)
    return seen and {**seen, "text": keyed_hash(salt, text(path))}


def keyed_hash(salt: str, value: str) -> str:
    """A hash that tells nothing to anyone without the salt, which is new in every run."""
    return hmac.new(salt.encode(), value.encode(), hashlib.sha256).hexdigest()


def _judge(value: "str | None", secret: "str | None") -> str:
    """`value` in .env against root's copy: "set", "missing", "drifted", or "unkept" where root has no copy yet."""
    if not value:
        return "missing"
    return "set" if value == secret else "drifted" if secret else "unkept"
