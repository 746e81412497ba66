"""Volumes that change places: by renaming what Docker keeps them in, so that the compose file need not know.

    before    real/_data   the data of now        fresh/_data   the restored data
    between                                       fresh/_data, fresh/old
    after     real/_data   the restored data      fresh/old     the data of before

Each line is one rename on one file system, and what is there tells which of them are done: both ways can be cut off
and begun again anywhere. Between the two renames there is no `_data` at all, so nothing can start on half of it. The
renaming is done in a container, since these folders are root's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from koprogo.docker.complaints import complaint
from koprogo.journal import Exchange
from koprogo.problem import Problem
from koprogo.runner import Runner

LABEL = "koprogo.restore"
"""Of the volumes that hold what was exchanged for restored data."""

_FORTH = """
cd /volumes
for pair in "$@"; do
    real="${pair%%=*}"; fresh="${pair#*=}"
    [ -d "$fresh/old" ] || mv -T "$real/_data" "$fresh/old"
    [ ! -d "$fresh/_data" ] || mv -T "$fresh/_data" "$real/_data"
done
sync
"""
_BACK = """
cd /volumes
for pair in "$@"; do
    real="${pair%%=*}"; fresh="${pair#*=}"
    [ -d "$fresh/old" ] || continue
    [ -d "$fresh/_data" ] || mv -T "$real/_data" "$fresh/_data"
    mv -T "$fresh/old" "$real/_data"
done
sync
"""


def forth(runner: Runner, image: str, root: str, exchanges: Iterable[Exchange]) -> None:
    """Bring the restored data into place; nothing may run on these volumes. Raises Problem."""
    _rename(runner, image, root, exchanges, _FORTH)


def back(runner: Runner, image: str, root: str, exchanges: Iterable[Exchange]) -> None:
    """Bring the data of before into place again, if it is not; nothing may run on these volumes. Raises Problem."""
    _rename(runner, image, root, exchanges, _BACK)


def create(runner: Runner, name: str) -> None:
    """Make a volume to restore into, empty; raises Problem."""
    result = runner.run(["docker", "volume", "create", "--label", f"{LABEL}={name}", name])
    if not result.ok:
        raise Problem(f"docker volume create: {complaint(result)}.")


def remove(runner: Runner, names: Iterable[str]) -> None:
    """Remove volumes, of which some may be gone; raises Problem."""
    for name in names:
        result = runner.run(["docker", "volume", "rm", "--force", name], timeout=600)
        if not result.ok and "no such volume" not in result.err.lower():
            raise Problem(f"docker volume rm {name}: {complaint(result)}.")


def kept(runner: Runner) -> list[str]:
    """Return the volumes that hold what was exchanged for restored data, the oldest first."""
    result = runner.run(["docker", "volume", "ls", "--quiet", "--filter", f"label={LABEL}"])
    if not result.ok:
        raise Problem(f"docker volume ls: {complaint(result)}.")
    return sorted(result.out.split())


def root_of(runner: Runner, name: str) -> str:
    """Return the folder that Docker keeps a volume in, together with the others; raises Problem if it is elsewhere."""
    form = "{{.Driver}} {{len .Options}} {{.Mountpoint}}"
    result = runner.run(["docker", "volume", "inspect", "--format", form, name])
    match = re.fullmatch(rf"local 0 (/.+)/{re.escape(name)}/_data", result.out.strip())
    if not result.ok or match is None:
        raise Problem(f"{name} is no ordinary volume of Docker's, so its content cannot be exchanged here.")
    return match[1]


def volume_of(mount: Mapping[str, Any]) -> str:
    """Return the volume that a database keeps its data in; raises Problem if that is something else."""
    if mount.get("Type") != "volume":
        where = mount.get("Source") or "its container"
        raise Problem(
            f"The database keeps its data in {where}, which is no volume of Docker's, so it cannot be exchanged here. "
            f"koprogo restore --into-scratch puts the set into a database beside it."
        )
    return str(mount["Name"])


def _rename(runner: Runner, image: str, root: str, exchanges: Iterable[Exchange], script: str) -> None:
    pairs = [f"{one.real}={one.fresh}" for one in exchanges]
    argv = ["docker", "run", "--rm", "--network", "none", "--user", "0:0", "--volume", f"{Path(root)}:/volumes"]
    result = runner.run([*argv, "--entrypoint", "sh", image, "-ec", script, "sh", *pairs], timeout=600)
    if not result.ok:
        raise Problem(f"The volumes could not be exchanged: {complaint(result)}.")
