"""The clone of the repository, and what the koprogo program says about itself."""

import json
from pathlib import Path
from typing import Any

from facts.on_server.shell import output


def repository(checkout: str, user: str) -> "dict[str, Any]":
    """The clone: {"exists", "clone", "url", "branch", "foreign": a path in it that belongs to somebody else}.

    Git itself refuses a clone with foreign files in it; its own files tell all the same.
    """
    folder, metadata = Path(checkout), Path(checkout, ".git")
    exists = folder.is_dir() and any(folder.iterdir())
    if not (metadata / "HEAD").is_file():
        return {"exists": exists, "clone": False, "url": "", "branch": "", "foreign": ""}
    head = (metadata / "HEAD").read_text().strip()
    return {
        "exists": True,
        "clone": True,
        "url": (output("git", "config", "--file", f"{metadata}/config", "remote.origin.url") or "").strip(),
        "branch": head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else "",
        "foreign": (output("find", checkout, "!", "-user", user, "-print", "-quit") or "").strip(),
    }


def program(command: str) -> "dict[str, Any] | None":
    """What `koprogo status --json` says (`command` is its path), or None while there is no program or it cannot tell.

    It exits with 1 where the application is not healthy, and then tells all the same.
    """
    said = output(command, "status", "--json", seconds=60, failing=True)
    try:
        found = json.loads(said or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def docker() -> "dict[str, str]":
    """Versions of the engine (of the client while the engine is off) and of Compose; empty if missing."""
    engine = output("docker", "version", "--format", "{{.Server.Version}}")
    client = (output("docker", "--version") or "").partition("version ")[2].partition(",")[0]
    compose = output("docker", "compose", "version", "--short") or ""
    return {"engine": (engine or client).strip(), "compose": compose.strip().lstrip("v")}
