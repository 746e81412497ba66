"""The folder in which Debian's docker-registry 2.8 keeps its images, written as it writes it.

    <root>/docker/registry/v2/blobs/sha256/<2 digits>/<digest>/data      every blob once, whoever uses it
    <root>/docker/registry/v2/repositories/<name>/_layers/…/link         which blobs belong to a repository
                                                 /_manifests/revisions/…/link, /_manifests/tags/<tag>/…/link

A `link` holds the digest that it points to. The registry needs no telling: it looks on each request.
"""

import os
import shutil
from pathlib import Path

from sandbox.application.oci import Image, digest_of


class Storage:
    """A registry's folder (its `rootdirectory`), to be filled before the registry runs."""

    def __init__(self, root: Path) -> None:
        self._top = root / "docker/registry/v2"

    def publish(self, repository: str, image: Image, *tags: str) -> None:
        """Store an image in a repository such as `library/postgres` under these tags."""
        manifest, config = digest_of(image.manifest), digest_of(image.config)
        self._blob(manifest).write_bytes(image.manifest)
        self._blob(config).write_bytes(image.config)
        for layer in image.layers:
            blob = self._blob(layer.digest)
            if not blob.exists():
                _link_or_copy(layer.blob, blob)
        folder = self._top / "repositories" / repository
        for digest in (config, *(layer.digest for layer in image.layers)):
            _point(folder / "_layers" / _split(digest), digest)
        _point(folder / "_manifests/revisions" / _split(manifest), manifest)
        for tag in tags:
            _point(folder / "_manifests/tags" / tag / "current", manifest)
            _point(folder / "_manifests/tags" / tag / "index" / _split(manifest), manifest)

    def _blob(self, digest: str) -> Path:
        algorithm, number = digest.split(":")
        folder = self._top / "blobs" / algorithm / number[:2] / number
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "data"


def _split(digest: str) -> Path:
    return Path(*digest.split(":"))


def _point(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name costs neither time nor space, but needs the same file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
