"""Tidying up what is off-site, with the right to delete that no server has: what is damaged, and what is old.

Runs restic on this machine.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import settings as variables
from cloud.trouble import CloudError
from configuration.offsite import Offsite
from operations.offsite import recovery_key

REPAIRS = (0, 16)
"""The version of restic that has `repair`."""


def commands(settings: Offsite, version: tuple[int, int]) -> list[list[str]]:
    """What restic is asked to do, in order."""
    # All of the last days, and not the last of each: whoever took the server over may add copies of any time, and what
    # he adds must not push out those of before.
    keep = {"within": f"{settings.days}d", "weekly": settings.weeks, "monthly": settings.months}
    kept = [f"--keep-{period}={count}" for period, count in keep.items() if count]
    repair = [["repair", "index"], ["repair", "snapshots", "--forget"]] if version >= REPAIRS else [["rebuild-index"]]
    # Lock files of runs that were cut off, first.
    return [["unlock"], *repair, ["forget", "--group-by=host", *kept, "--prune"], ["check"]]


def environment(settings: Offsite) -> dict[str, str]:
    """How restic gets in: as the owner if there is one, else as the server does."""
    secret = settings.owner_secret or settings.secret
    found = {"RESTIC_REPOSITORY": settings.repository, "RESTIC_PASSWORD": recovery_key(settings.recovery_key)}
    if secret:
        found |= {
            "AWS_ACCESS_KEY_ID": settings.owner_key_id or settings.key_id,
            "AWS_SECRET_ACCESS_KEY": secret.get_secret_value(),
        }
    return found


def by_ssh(settings: Offsite, folder: Path) -> list[str]:
    """The options with which restic gets in by SFTP: as the server does, by its key, to the host that is pinned."""
    match = re.match(r"sftp:(?://)?([^@/]+)@([^:/]+)(?::(\d+)(?=/))?", settings.repository)
    if match is None:
        return []
    (folder / "known_hosts").write_text(f"copies {settings.host_key}\n")
    trust = f"-o UserKnownHostsFile={folder}/known_hosts -o HostKeyAlias=copies -o StrictHostKeyChecking=yes"
    key = f"-i {shlex.quote(str(settings.ssh_key))} -o IdentitiesOnly=yes -o BatchMode=yes"
    return ["--option", f"sftp.command=ssh {key} {trust} -p {match[3] or 22} {match[1]}@{match[2]} -s sftp"]


def tidy() -> int:
    """Do it; returns the exit status. Raises SettingsError or CloudError."""
    settings = variables.load().offsite
    if not settings.repository or not recovery_key(settings.recovery_key):
        raise CloudError(f"BACKUP_OFFSITE_REPOSITORY and {settings.recovery_key} are both needed; nothing was done.")
    if shutil.which("restic") is None:
        raise CloudError("restic is not on this machine: sudo apt-get install restic; nothing was done.")
    # What somebody has set for repositories and buckets of his own would be taken for this one: another password file,
    # and another region, which is never answered.
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "AWS_"))}
    given = mine | environment(settings)
    with tempfile.TemporaryDirectory() as folder:
        options = by_ssh(settings, Path(folder))
        for command in commands(settings, _version(given)):
            if subprocess.run(["restic", *options, *command], env=given, check=False).returncode:
                said = f"restic {command[0]} failed, and its lines above say why."
                raise CloudError(f"{said} Copies that are whole stay so.")
    return 0


def _version(given: Mapping[str, str]) -> tuple[int, int]:
    said = subprocess.run(["restic", "version"], env=given, capture_output=True, text=True, check=False).stdout
    found = re.search(r"restic (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
