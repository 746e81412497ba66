"""What is mounted below a folder, and how to end it."""

import contextlib
import subprocess
from pathlib import Path


def mounted_below(path: Path) -> list[Path]:
    """Mount points at or below `path`, deepest first."""
    # Fields: id, parent, device, root, mount point, options …, with octal escapes (proc(5)).
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    found = [target for target in targets if target == path or path in target.parents]
    return sorted(found, key=lambda p: len(p.parts), reverse=True)


def unmount_below(path: Path) -> None:
    """Unmount everything at or below `path`, lazily where something still holds it."""
    for target in mounted_below(path):
        done = subprocess.run(["umount", target], capture_output=True, check=False)
        if done.returncode:
            subprocess.run(["umount", "-l", target], capture_output=True, check=False)


def used_by_anyone(path: Path) -> bool:
    """Whether any process sees a mount of or on `path`; running machines have mount namespaces of their own."""
    for file in Path("/proc").glob("[0-9]*/mountinfo"):
        # The process may have ended meanwhile.
        with contextlib.suppress(OSError):
            if str(path) in file.read_text():
                return True
    return False
