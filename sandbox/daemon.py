"""Run a command as a daemon of a sandbox: `python -m sandbox.daemon WORLD LOCK COMMAND…`.

The command holds LOCK as long as it lives.
"""

import fcntl
import os
import sys
from pathlib import Path

from sandbox import cgroups


def main() -> None:
    """Take the lock, write the process id into it, join the sandbox's own group, and become the command."""
    world, lock, *command = sys.argv[1:]
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{Path(lock).name} runs already")
    # In a group of the sandbox, `down` finds it even if its lock file is lost.
    cgroups.enter(cgroups.create(f"{world}/host", None))
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    os.set_inheritable(descriptor, True)
    os.execvp(command[0], command)  # noqa: S606  # the whole purpose


if __name__ == "__main__":
    main()
