"""The clone of the repository, and what the koprogo program says about itself."""

import json
from pathlib import Path
from typing import Any

from facts.on_server.shell import output


def repository(checkout: str, user: str) -> "dict[str, Any]":
    """The clone: {"exists", "clone", "url", "branch", "head", "foreign": a path in it owned by somebody else}."""

    def git(*arguments: str) -> str:
        return (output("git", "-C", checkout, *arguments, user=user) or "").strip()

    folder = Path(checkout)
    exists = folder.is_dir() and any(folder.iterdir())
    clone = (folder / ".git").is_dir()
    if not clone:
        return {"exists": exists, "clone": False, "url": "", "branch": "", "head": "", "foreign": ""}
    foreign = output("find", checkout, "!", "-user", user, "-print", "-quit") or ""
    return {
        "exists": True,
        "clone": True,
        "url": git("config", "--get", "remote.origin.url"),
        "branch": git("symbolic-ref", "--short", "HEAD"),
        "head": git("rev-parse", "HEAD"),
        "foreign": foreign.strip(),
    }


def program() -> "dict[str, Any] | None":
    """What `koprogo status --json` says, or None while there is no program or it cannot tell.

    It exits with 1 where the application is not healthy, and then tells all the same.
    """
    said = output("/usr/local/bin/koprogo", "status", "--json", seconds=60, failing=True)
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
