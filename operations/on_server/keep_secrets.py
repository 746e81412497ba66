"""Give a new server the secrets of a lost one, which its backup has, before it makes its own. None is printed."""

import json
import sys
from pathlib import Path
from typing import Any

from facts.on_server.environment import kept, parse
from operations.on_server.put_files import write


def main() -> None:
    """Do what standard input says: {"recovery", "backups", "master": paths, "make": [names]}."""
    order: dict[str, Any] = json.load(sys.stdin)
    try:
        recovery = json.loads(Path(order["recovery"]).read_text())
        if "done" in recovery:
            # It has made its own way since, and may have other secrets by now.
            return
        name = Path(recovery["set"]).name
        lines = parse(Path(order["backups"], f"{name}.env").read_text())
        former = {each: lines[each] for each in order["make"] if lines.get(each)}
        write(
            Path(order["master"]),
            json.dumps({**kept(order["master"]), **former}, indent=1) + "\n",
            0o600,
            "root",
            "root",
        )
    except FileNotFoundError as error:
        if str(error.filename).endswith(".env"):
            print("The backup has no .env: this server makes secrets of its own, and everybody has to log in again.")
            return
        sys.exit(f"{error.filename} is not there. Run again.")
    except (OSError, KeyError, ValueError) as error:
        sys.exit(
            f"The secrets of the backup could not be kept ({type(error).__name__}); nothing was changed. Run again."
        )
