"""What is mounted below a folder, and how to end it."""

import subprocess
from pathlib import Path


def mounted_below(path: Path) -> list[Path]:
    """Mount points at or below `path`, deepest first; being a lower layer of an overlay counts as well."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # Fields: id, parent, device, root, mount point, options … with octal escapes (proc(5)).
        target = Path(line.split()[4].encode().decode("unicode_escape"))
        if target == path or path in target.parents or f"{path}:" in line or f"={path}," in line:
            found.append(target)
    return sorted(found, key=lambda p: len(p.parts), reverse=True)


def unmount_below(path: Path) -> None:
    """Unmount everything at or below `path`, lazily where something still holds it."""
    for target in mounted_below(path):
        if target == path or path in target.parents:
            done = subprocess.run(["umount", target], capture_output=True, check=False)
            if done.returncode:
                subprocess.run(["umount", "-l", target], capture_output=True, check=False)
