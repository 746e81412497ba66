"""Run a command as a daemon of a sandbox: `python -m sandbox.daemon WORLD LOCK COMMAND…`.

The command holds LOCK as long as it lives.
"""

import fcntl
import os
import sys
from pathlib import Path

from sandbox import cgroups
from sandbox.world import within

_LOOK_SECONDS = 1
"""Others lock the file for a moment to see whether anybody holds it."""


def main() -> None:
    """Take the lock, write the process id into it, join the sandbox's own group, and become the command."""
    world, lock, *command = sys.argv[1:]
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    if not within(_LOOK_SECONDS, lambda: _taken(descriptor)):
        sys.exit(f"{Path(lock).name} runs already")
    # In a group of the sandbox, `down` finds it even if its lock file is lost.
    cgroups.enter(cgroups.create(f"{world}/host", None))
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)
    os.execvp(command[0], command)  # noqa: S606  # the whole purpose


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main()
