"""Templates that are built once and used many times: one folder outside the checkout, keyed by what they are made of.

A template is immutable once its folder has its final name. It is built under a lock into a folder
with another name and renamed when complete, so that neither a killed build nor two runs at once can leave a half-made
one behind.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sandbox import cgroups
from sandbox.mounts import unmount_below, used_by_anyone
from sandbox.progress import say, step

ROOT = Path(os.environ.get("KOPROGO_SANDBOX_CACHE", "/var/cache/koprogo-sandbox"))
"""Where templates live, from one run to the next."""

_GROUP: ContextVar[str | None] = ContextVar("group", default=None)
"""The control group of the build that this thread is in."""

KEEP_SECONDS = 7 * 24 * 3600
"""An older template of the same name that nobody used for this long is removed."""


@contextmanager
def locked(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`; it ends with the process, however that ends.

    `waiting` is said if another run has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_tree(path: Path) -> None:
    """Delete a folder that may still have mounts below it (an interrupted build, a killed machine)."""
    unmount_below(path)
    shutil.rmtree(path, ignore_errors=False) if path.exists() else None


def key_of(*materials: str | bytes | Path) -> str:
    """12 hexadecimal digits that change when any of the materials (texts, bytes, files or folders of files) does."""
    digest = hashlib.sha256()
    for material in materials:
        if isinstance(material, Path):
            files = sorted(p for p in material.rglob("*") if p.is_file()) if material.is_dir() else [material]
            for file in files:
                if "__pycache__" in file.parts:
                    continue
                digest.update(f"{file.relative_to(material)}\0{file.stat().st_mode:o}\0".encode())
                digest.update(file.read_bytes())
        else:
            digest.update(material.encode() if isinstance(material, str) else material)
        digest.update(b"\0")
    return digest.hexdigest()[:12]


def template(name: str, key_material: str | bytes, build: Callable[[Path], None]) -> Path:
    """Return the folder of the template `name` for this key, built by `build(folder)` if it is not there yet."""
    key = key_of(key_material)
    final = ROOT / "templates" / f"{name}-{key}"
    with locked(ROOT / "locks" / f"{name}-{key}", f"another run is building the template {name}; waiting for it"):
        if final.exists():
            os.utime(final)
            return final
        partial = _clear(final)
        partial.mkdir(parents=True)
        within = _GROUP.set(_group_of(final))
        with step(f"template {name}"):
            try:
                build(partial)
                partial.rename(final)
            finally:
                _GROUP.reset(within)
                _clear(final)
        os.utime(final)
        _prune(name, final)
    return final


def _group_of(final: Path) -> str:
    return f"builds/{final.name}"


def enter_build() -> Callable[[], None] | None:
    """What a command of a build does before it starts, so that nothing of it outlives a build that is killed."""
    group = _GROUP.get()
    if group is None:
        return None
    folders = cgroups.create(group, None)
    return lambda: cgroups.enter(folders)


def _clear(final: Path) -> Path:
    """End what still runs of a build of this template and remove its files; returns the folder to build it in."""
    cgroups.kill(_group_of(final))
    partial = final.with_name(f".{final.name}.partial")
    for left in (partial, scratch(partial)):
        remove_tree(left)
    return partial


def scratch(partial: Path) -> Path:
    """A folder beside the one of a build, for what is not part of the result; it goes with the build."""
    return partial.with_name(f"{partial.name}.scratch")


def sweep() -> None:
    """Remove what killed builds left; builds that go on in another run are left alone."""
    for left in list((ROOT / "templates").glob(".*.partial*")):
        final = left.with_name(left.name.removeprefix(".").partition(".partial")[0])
        with (ROOT / "locks" / final.name).open("w") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(final)


def _prune(name: str, keep: Path) -> None:
    """Remove templates of this name that have not been used for long and are not mounted."""
    for sibling in keep.parent.glob(f"{name}-" + "[0-9a-f]" * 12):
        old = time.time() - sibling.stat().st_mtime > KEEP_SECONDS
        if sibling != keep and old and not used_by_anyone(sibling):
            remove_tree(sibling)
