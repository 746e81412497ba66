"""Runs on the server, from standard input: one command, and a line of JSON with what it took.

`seconds`; `code`; `peak` (bytes): the most memory that it and its descendants held at once, as the sum of their
resident pages, those that they share counted for each. Docker's own client, which carries what goes in and out of a
container, is counted apart: `docker`.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

PAGE = resource.getpagesize()
POLL = 0.05


def _processes() -> dict[int, tuple[int, int, str]]:
    """Every process: its parent, its resident bytes, and its name."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        fields = rest.split()
        found[int(folder.name)] = (int(fields[1]), int(fields[21]) * PAGE, name.partition("(")[2])
    return found


def _held(top: int) -> tuple[int, int]:
    """What the family of a process holds, without and of Docker's client."""
    processes = _processes()
    family, size = {top}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, (parent, _, _) in processes.items() if parent in family}
    docker = {pid for pid in family if pid in processes and processes[pid][2].startswith("docker")}
    ours = sum(processes[pid][1] for pid in family - docker if pid in processes)
    return ours, sum(processes[pid][1] for pid in docker)


def main() -> None:
    """Measure."""
    peak = docker = 0
    began = time.monotonic()
    with subprocess.Popen(sys.argv[1:], stdout=sys.stderr) as running:
        while running.poll() is None:
            ours, theirs = _held(running.pid)
            peak, docker = max(peak, ours), max(docker, theirs)
            time.sleep(POLL)
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "code": running.returncode, "peak": peak, "docker": docker}), flush=True)


if __name__ == "__main__":
    main()
