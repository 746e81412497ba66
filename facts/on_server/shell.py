"""Run a command and take what it says; a command that is missing or fails says nothing."""

import subprocess

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


def output(*command: str, seconds: float = 30, failing: bool = False) -> "str | None":
    """What the command prints, or None if it is not there, fails (unless `failing`) or takes longer than `seconds`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds, env=_ENVIRONMENT, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if failing or done.returncode == 0 else None
