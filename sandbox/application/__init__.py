"""The application that the sandbox deploys: its Git repository and its images, as a layer for the internet machine.

The layer has /srv/git/gilmry/koprogo.git (branch main, owned by www-data; a push publishes images, see post-receive)
and /var/lib/docker-registry (owned by docker-registry), which answers for ghcr.io/gilmry/koprogo/backend and …/frontend
in the versions of images.VERSIONS, and for Docker Hub's library/postgres:15 and library/traefik:v3.7.
"""

import os
from pathlib import Path

from sandbox import ca, cache
from sandbox.application import git, images
from sandbox.application.git import push
from sandbox.application.storage import Storage
from sandbox.errors import SandboxError

_WWW_DATA = 33  # the same number on every Debian


def build(internet_layers: list[Path]) -> Path:
    """Return the layer to lay on top of the internet machine's layers (top first). Raises SandboxError."""
    registry = _user("docker-registry", internet_layers)
    certificate, _ = ca.authority()

    def make(folder: Path) -> None:
        _fill(folder, registry)

    return cache.template("application", cache.key_of(images.HERE, certificate, str(registry)), make)


def _fill(folder: Path, registry: int) -> None:
    bare = folder / git.BARE.relative_to("/")
    commit = git.make(images.SOURCE, bare, images.HERE / "post-receive")
    top = folder / "var/lib/docker-registry"
    storage = Storage(top)
    small = cache.scratch(folder)
    small.mkdir()
    for repository, tag, image in images.build(small):
        # What CI would have done for the first commit.
        first = [f"main-{commit[:7]}"] if tag == (images.SOURCE / "VERSION").read_text().strip() else []
        storage.publish(repository, image, tag, *first)
    _give(bare, _WWW_DATA)
    _give(top, registry)


def _give(top: Path, owner: int) -> None:
    """Change the owner of a tree, but not of blobs: those may be other names of files in other templates."""
    for path in (top, *top.rglob("*")):
        if path.name != "data":
            os.chown(path, owner, owner)


def _user(name: str, layers: list[Path]) -> int:
    """The number of a user, whose group has the same, according to the topmost layer that lists users."""
    for layer in layers:
        file = layer / "etc/passwd"
        if file.exists():
            for line in file.read_text().splitlines():
                fields = line.split(":")
                if fields[0] == name:
                    return int(fields[2])
            break
    raise SandboxError(f"the internet machine has no user {name}: its layers and the application do not fit.")


__all__ = ["build", "push"]
