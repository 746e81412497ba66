"""The machine itself: system, packages, users, swap, units."""

import grp
import pwd
import re
import time
from pathlib import Path
from typing import Any

from facts.on_server.files import text
from facts.on_server.shell import output

LISTS_STAMP = Path("/var/lib/apt/periodic/update-success-stamp")
_WEEK = 7 * 86400


def system() -> "dict[str, Any]":
    """What runs here, where, and through which network interfaces the world is reached."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text("/etc/os-release"), re.M))
    routes = "".join(output("ip", family, "route", "show", "default") or "" for family in ("-4", "-6"))
    return {
        "id": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "architecture": (output("dpkg", "--print-architecture") or "").strip(),
        "container": (output("systemd-detect-virt", "--container") or "none").strip(),
        "timezone": timezone(Path("/etc/localtime")),
        "interfaces": sorted(set(re.findall(r"\bdev (\S+)", routes))),
    }


def timezone(link: Path) -> str:
    """The time zone that was set; empty if none was. Links of /usr/share/zoneinfo itself, as UTC, are not followed."""
    return str(link.readlink()).partition("zoneinfo/")[2] if link.is_symlink() else ""


def packages() -> "dict[str, str]":
    """Installed packages and their versions."""
    form = "${db:Status-Status} ${Package} ${Version}\n"
    lines = (output("dpkg-query", "-W", "-f", form) or "").splitlines()
    return {line.split()[1]: line.split()[2] for line in lines if line.startswith("installed ")}


def apt() -> "dict[str, Any]":
    """Whether apt's lists are of this week, and which upgrades they hold. Packages kept back do not count."""
    fresh = LISTS_STAMP.exists() and time.time() - LISTS_STAMP.stat().st_mtime < _WEEK
    if not fresh:
        return {"fresh": False, "pending": []}
    simulated = output("apt-get", "-s", "-o", "Debug::NoLocking=1", "--with-new-pkgs", "upgrade") or ""
    return {"fresh": True, "pending": re.findall(r"^Inst (\S+)", simulated, re.M)}


def swap() -> "dict[str, Any]":
    """Size in MB of /swapfile (0: none), whether it is in use, and whether it comes back after a boot."""
    file = Path("/swapfile")
    return {
        "file_mb": file.stat().st_size >> 20 if file.is_file() else 0,
        "active": "/swapfile " in text("/proc/swaps"),
        "at_boot": bool(re.search(r"^/swapfile\s", text("/etc/fstab"), re.M)),
    }


def account(user: str) -> "dict[str, Any] | None":
    """Shell and groups of a user."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return None
    groups = [group.gr_name for group in grp.getgrall() if user in group.gr_mem]
    return {"shell": entry.pw_shell, "groups": groups}


def units(names: "list[str]") -> "dict[str, dict[str, str]]":
    """State of systemd's units: {unit: {"active": "active", "enabled": "enabled"}}; empty strings if unknown."""
    fields = "--property=Id,ActiveState,UnitFileState"
    found = {}
    for block in (output("systemctl", "show", fields, *names) or "").split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit:
            found[unit["Id"]] = {"active": unit["ActiveState"], "enabled": unit["UnitFileState"]}
    return {name: found.get(name, {"active": "", "enabled": ""}) for name in names}
