"""Container images, written without a container engine: layers, a configuration and a manifest are all there is to one.

Formats: Docker's image manifest version 2, schema 2, which every Docker engine reads
(https://distribution.github.io/distribution/spec/manifest-v2-2/). Everything is reproducible: the same input gives
the same digests.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CREATED = "2026-01-01T00:00:00Z"  # not the time of the build, or no two builds would be alike
_CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a layer; owner and group are the same number."""

    path: str
    content: bytes | Path
    mode: int = 0o644
    owner: int = 0


@dataclass(frozen=True)
class Folder:
    """A folder of a layer."""

    path: str
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Layer:
    """A layer as it lies in a file. `digest` is that of the compressed archive, `contents` of what is in it."""

    blob: Path
    digest: str
    size: int
    contents: str


@dataclass(frozen=True)
class Image:
    """An image: the bytes of its manifest and configuration, and its layers, lowest first."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]


def digest_of(content: bytes) -> str:
    """The name of these bytes in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def compress(archive: Iterable[bytes], blob: Path) -> Layer:
    """Write the chunks of a tar archive to the file `blob`, compressed, and return it as a layer."""
    contents = hashlib.sha256()
    with blob.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
        for chunk in archive:
            contents.update(chunk)
            compressed.write(chunk)
    with blob.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    return Layer(blob, f"sha256:{digest}", blob.stat().st_size, f"sha256:{contents.hexdigest()}")


def pack(entries: Iterable[File | Folder], blob: Path) -> Layer:
    """Make a layer of files and folders in the file `blob`; the folders that they lie in are added."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in sorted(_with_parents(entries), key=lambda each: each.path):
            _add(archive, entry)
    buffer.seek(0)
    return compress(iter(lambda: buffer.read(_CHUNK), b""), blob)


def _with_parents(entries: Iterable[File | Folder]) -> list[File | Folder]:
    found = {entry.path: entry for entry in entries}
    for path in list(found):
        for parent in list(Path(path).parents)[:-1]:
            found.setdefault(str(parent), Folder(str(parent)))
    return list(found.values())


def _add(archive: tarfile.TarFile, entry: File | Folder) -> None:
    member = tarfile.TarInfo(entry.path)
    member.mode, member.uid, member.gid = entry.mode, entry.owner, entry.owner
    if isinstance(entry, Folder):
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
        return
    content = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def image(layers: Iterable[Layer], settings: Mapping[str, object]) -> Image:
    """Put an image together. `settings` are those of a container: Env, Cmd, Entrypoint, User, StopSignal, …"""
    stack = tuple(layers)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _CREATED,
            "config": dict(settings),
            "rootfs": {"type": "layers", "diff_ids": [layer.contents for layer in stack]},
            "history": [{"created": _CREATED, "created_by": "koprogo sandbox"} for _ in stack],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": _CONFIG_TYPE, "size": len(config), "digest": digest_of(config)},
            "layers": [{"mediaType": _LAYER_TYPE, "size": layer.size, "digest": layer.digest} for layer in stack],
        }
    )
    return Image(manifest, config, stack)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
