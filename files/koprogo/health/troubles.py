"""What is wrong with a server, by what was found out about it. Nothing here looks at anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from koprogo import log
from koprogo.backups.backup_state import Run
from koprogo.config import Limits
from koprogo.deploys import timer
from koprogo.docker.containers import judge
from koprogo.health.machine import Machine
from koprogo.report import Report
from koprogo.state import Hold

USUAL = Limits()
BACKUP_HOURS = 26
"""One night's backup and two hours."""
CLOCK_AHEAD = 3600
"""Seconds that the clock may have been ahead when a backup was made."""
DRILL_DAYS = 8
"""One week's drill and a day."""
COPY_DAYS = 2
"""The copies of two nights."""
HOLD_HOURS = 24
"""After which a pause has been forgotten rather than meant."""
CHECK_MINUTES = 15
"""Five checks that did not take place."""
MEMORY_LEFT = 0.05
SWAP_LIMIT = 0.90
INODES_LIMIT = 0.90
LOAD_LIMIT = 10.0
"""For each processor, over a quarter of an hour: then nobody gets an answer in time."""
OUT_OF_MEMORY_HOURS = 1
"""For how long a program that the kernel had to end is told of."""
UNITS = 5
"""Failed ones that are named, one by one: a second one is news, too."""
REBOOT_DAYS = 14
STATE = "state"
"""The key of a disk that takes nothing any more."""


@dataclass(frozen=True)
class Trouble:
    """One thing that is wrong."""

    key: str
    """The same as long as it is the same thing."""
    text: str
    """One line."""
    told: bool = False
    """Whether somebody is told of it elsewhere: by the deploy itself."""


def by_deploy(key: str) -> bool:
    """Whether a deploy that goes on may cause what has this key."""
    return key.startswith(("public ", "container ", "checks"))


def of_application(found: Report, limits: Limits = USUAL) -> list[Trouble]:
    """Return what is wrong with the application, what the public notices first."""
    first = _public(found, limits.certificate_days) + _containers(found)
    return first + _deploys(found) + _backups(found) + _disk(found, limits.disk_percent)


def held(hold: Hold) -> str:
    """Say since when, why and for whom nothing is deployed."""
    return f"no deploys since {log.stamp(hold.at)}" + (f" by {hold.by}" if hold.by else "") + f" ({hold.reason})"


def _public(found: Report, certificate_days: int) -> list[Trouble]:
    wrong = [Trouble(f"public {a.url}", f"{a.url}: {a.trouble}") for a in found.answers if a.trouble]
    for answer in found.answers:
        if answer.trouble is None and answer.days_left is not None and answer.days_left < certificate_days:
            text = f"{answer.url}: the certificate ends in {answer.days_left:.0f} days and was not renewed"
            wrong.append(Trouble(f"certificate {answer.url}", text))
    return wrong


def _containers(found: Report) -> list[Trouble]:
    if found.docker_trouble is not None:
        return [Trouble("docker", found.docker_trouble)]
    if found.state.deployed is None:
        return [Trouble("deployed", "nothing was deployed successfully so far; see /var/log/koprogo-gitops.log")]
    verdict = judge(found.containers, found.state.deployed.images)
    lines = [*verdict.failing, *verdict.waiting]
    return [Trouble(f"container {line.partition(':')[0]}", line) for line in lines]


def _deploys(found: Report) -> list[Trouble]:
    state, wrong = found.state, list[Trouble]()
    if state.hold is not None and found.now - state.hold.at > HOLD_HOURS * 3600:
        wrong.append(Trouble("hold", f"{held(state.hold)}; to go on: koprogo resume"))
    # A check that seems to come from the future is one too: the clock was set back.
    if state.check is None or abs(found.now - state.check.at) > CHECK_MINUTES * 60:
        when = f"since {log.stamp(state.check.at)}" if state.check else "ever"
        text = f"the branch was not looked at {when}; see `systemctl status koprogo-gitops.timer`"
        # A deploy that goes on for long holds up the next check.
        wrong.append(Trouble("checks", text))
    elif state.check.problem is not None:
        wrong.append(Trouble("deploy", f"deploy: {state.check.problem}", told=True))
    newest = state.check.commit if state.check else None
    bad = state.bad(newest) if newest else None
    if bad is not None and not (state.check and state.check.problem):
        text = f"commit {bad.commit[:7]} failed and is in quarantine: {bad.reason}"
        wrong.append(Trouble("quarantine", text, told=True))
    return wrong


def _backups(found: Report) -> list[Trouble]:
    if found.backups_trouble is not None:
        return [Trouble("backups", found.backups_trouble)]
    since = found.state.first_deployed
    if found.backups:
        last = found.backups[-1].modified
    elif since is not None:
        last = since
    else:
        return []
    if found.backups and last > found.now + CLOCK_AHEAD:
        # It would count as the newest one until that day comes, for restores and drills as well.
        path = found.backups[-1].path
        return [
            Trouble("backup", f"{path.name} is of {log.stamp(last)}, so the clock was wrong; move that set elsewhere")
        ]
    if found.now - last <= BACKUP_HOURS * 3600:
        return []
    what = f"the last good backup is of {log.stamp(last)}" if found.backups else "there is no good backup"
    return [Trouble("backup", f"{what}; see /var/log/koprogo-backup.log")]


def _disk(found: Report, percent: int) -> list[Trouble]:
    if found.disk_used * 100 < percent:
        return []
    text = f"a disk is {found.disk_used:.0%} full ({found.disk_free / 1e9:.1f} GB free); see `df -h`"
    return [Trouble("disk", text)]


def of_backups(found: Report, offsite_since: float | None) -> list[Trouble]:
    """Return what is wrong with what was done with the backups: made, restored in a drill, stored elsewhere.

    `offsite_since` is since when copies can be stored elsewhere; None where none are wanted.
    """
    since, runs, now = found.state.first_deployed, found.runs, found.now
    if since is None:
        return []
    wrong = [_failed("backup", "the last backup failed", runs.backup), _failed("drill", "the drill failed", runs.drill)]
    wrong.append(_late("drill", "no backup was restored in a drill", now, _last(runs.good_drill, since)))
    if offsite_since is not None:
        ready = max(since, offsite_since)
        wrong.append(_failed("upload", "no copy elsewhere", runs.upload))
        wrong.append(_late("upload", "nothing was stored elsewhere", now, _last(runs.good_upload, ready), COPY_DAYS))
        wrong.append(_failed("offsite", "the copies elsewhere", runs.offsite_check))
        checked = _last(runs.good_offsite_check, ready)
        wrong.append(_late("offsite", "the copies elsewhere were not checked", now, checked))
    return [trouble for trouble in wrong if trouble is not None]


def _failed(key: str, what: str, run: Run | None) -> Trouble | None:
    return Trouble(f"{key} run", f"{what}: {run.problem}") if run is not None and run.problem else None


def _last(good: Run | None, since: float) -> float:
    return good.at if good is not None else since


def _late(key: str, what: str, now: float, last: float, days: int = DRILL_DAYS) -> Trouble | None:
    return Trouble(f"{key} age", f"{what} since {log.stamp(last)}") if now - last > days * 86400 else None


def of_state(unwritable: str | None) -> list[Trouble]:
    """Return what is wrong where this program writes down what it does."""
    return [Trouble(STATE, f"nothing can be written to {unwritable}; see `dmesg`")] if unwritable else []


def of_alerts(broken: Mapping[str, str]) -> list[Trouble]:
    """Return what is wrong with the ways by which somebody is told."""
    return [
        Trouble(
            f"alerts {way}", f"alerts do not arrive by {way}: {trouble.rstrip('.')}; see `koprogo health --test-alert`"
        )
        for way, trouble in broken.items()
    ]


def of_machine(seen: Machine, now: float, out_of_memory_at: float) -> list[Trouble]:
    """Return what is wrong with the machine; `out_of_memory_at` is when the kernel last had to end a program."""
    wrong = []
    if seen.inodes_used >= INODES_LIMIT:
        wrong.append(Trouble("inodes", f"{seen.inodes_used:.0%} of the inodes of a disk are used; see `df -i`"))
    if seen.memory_free < MEMORY_LEFT:
        wrong.append(Trouble("memory", f"{seen.memory_free:.0%} of the memory are left; see `docker stats`"))
    if seen.swap_used >= SWAP_LIMIT:
        wrong.append(Trouble("swap", f"{seen.swap_used:.0%} of the swap are used; see `free -h`"))
    if seen.load >= LOAD_LIMIT:
        wrong.append(Trouble("load", f"the load is {seen.load:.0f} for each processor; see `top`"))
    if 0 < now - out_of_memory_at < OUT_OF_MEMORY_HOURS * 3600 or out_of_memory_at == now:
        wrong.append(Trouble("oom", "the kernel ended a program for want of memory; see `journalctl -k -g oom`"))
    units = [unit for unit in seen.failed_units if unit != timer.SERVICE]  # its checks are told of: see _deploys
    wrong += [Trouble(f"unit {unit}", f"{unit} failed; see `systemctl status {unit}`") for unit in units[:UNITS]]
    if seen.reboot_since is not None and now - seen.reboot_since > REBOOT_DAYS * 86400:
        wrong.append(Trouble("reboot", f"updates wait for a reboot since {log.stamp(seen.reboot_since)}"))
    if seen.clock_adrift:
        wrong.append(Trouble("clock", "the clock is not kept right; see `timedatectl`"))
    return wrong
