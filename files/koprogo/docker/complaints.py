"""What Docker complains of, and whose fault that is."""

from __future__ import annotations

import re

from koprogo.problem import Problem, one_line
from koprogo.runner import Result

NO_COMPOSE = 125
"""With it docker ends that does not know a word of what it was told; Compose never does."""


def complaint(result: Result) -> str:
    """Return what Docker complained about, on one line, without its warnings."""
    lines = [line.strip() for line in result.err.splitlines() if line.strip()]
    lines = [line for line in lines if "level=warning" not in line]
    text = lines[-1] if lines else f"exit code {result.code}"
    text = text.removeprefix("Error response from daemon: ").removesuffix(" Is the docker daemon running?")
    return one_line(text).rstrip(".")


def servers_fault(error: str) -> bool:
    """Whether it is this server that failed: no commit is to blame for that.

    Docker is down, or this user may not ask it (older versions call it `the Docker daemon`, newer ones `the docker
    API`); or the disk or the memory is full.
    """
    signs = (
        r"docker (daemon|api)\b"
        r"|error during connect|shutting down"
        r"|no space left on device|cannot allocate memory|too many open files|input/output error"
    )
    return re.search(signs, error, re.IGNORECASE) is not None


def require_server(what: str, result: Result) -> None:
    """Raise Problem where it is this server that failed, whatever Docker was asked to do."""
    if result.code == NO_COMPOSE or "docker command" in result.err:
        raise Problem("This server's docker has no `docker compose`: its plugin is gone. Run deploy.py again.")
    if not result.ok and servers_fault(result.err):
        raise Problem(f"{what}: {complaint(result)}.")


def not_built_yet(error: str) -> bool:
    """Whether a pull failed because the registry has no such image, and not because it could not be asked.

    Registries say `manifest unknown`; ghcr.io says `denied` for a package that nobody has pushed.
    """
    if re.search(r"no such host|lookup |dial tcp|timeout|connection re|permission denied", error):
        return False
    return re.search(r"manifest unknown|not found|does not exist|denied", error) is not None
