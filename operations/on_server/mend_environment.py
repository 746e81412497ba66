"""Write the server's .env. Secrets that are made here are made once and kept; none of them is ever printed."""

import json
import secrets
import string
import sys
from pathlib import Path
from typing import Any

from facts.on_server.environment import kept, parse, render
from operations.on_server.put_files import write

_ALPHABET = string.ascii_letters + string.digits


def secrets_for(make: "dict[str, int]", master: "dict[str, str]", present: "dict[str, str]") -> "dict[str, str]":
    """The secrets to use: root's copy first, then what .env has (of an earlier set-up), then new ones."""
    return {
        name: master.get(name) or present.get(name) or "".join(secrets.choice(_ALPHABET) for _ in range(length))
        for name, length in make.items()
    }


def main() -> None:
    """Do what standard input says: {"path", "master", "lines": {name: value}, "make": {name: length}, "user"}."""
    order: dict[str, Any] = json.load(sys.stdin)
    path, master = Path(order["path"]), Path(order["master"])
    if not path.parent.is_dir():
        sys.exit(f"The repository has no folder {path.parent}. Correct COMPOSE_FILE or BRANCH and run again.")
    try:
        present = parse(path.read_text()) if path.is_file() else {}
        former = kept(str(master))
        made = secrets_for(order["make"], former, present)
        # Root's copy first, and it stays: whatever happens next, secrets that the application will see are not lost.
        write(master, json.dumps({**former, **made}, indent=1) + "\n", 0o600, "root", "root")
        write(path, render({**order["lines"], **made}), 0o600, order["user"], order["user"])
    except (OSError, KeyError, UnicodeError) as error:  # without what it says, secrets in it would be lost
        sys.exit(f"{path}: could not be rewritten ({error}); it is as it was. Log in and see `df -h`, then run again.")
