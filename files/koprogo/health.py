"""`koprogo health`: one line when all is well, else one line for each thing that is not, and exit code 1."""

from __future__ import annotations

from koprogo import log, page, report
from koprogo.config import Config
from koprogo.containers import judge
from koprogo.report import Report
from koprogo.state import Hold

DISK_LIMIT = 0.90
CERTIFICATE_DAYS = 14
BACKUP_HOURS = 26
"""One night's backup and two hours."""
HOLD_HOURS = 24
"""After which a pause has been forgotten rather than meant."""
CHECK_MINUTES = 15
"""Five checks that did not take place."""


def run(config: Config) -> int:
    """Look at everything and write down what is wrong; returns the exit code."""
    found = report.collect(config, public=True)
    wrong = problems(found)
    for text in wrong:
        log.complain(text)
    if not wrong:
        log.say(summary(found))
    page.update(config, page.sample(found, attention=bool(wrong)))
    return 1 if wrong else 0


def problems(found: Report) -> list[str]:
    """Return what is wrong, one line each, what the public notices first."""
    return _public(found) + _containers(found) + _deploys(found) + _backups(found) + _disk(found)


def summary(found: Report) -> str:
    """Return the one line of a server that is well."""
    days = min((a.days_left for a in found.answers if a.days_left is not None), default=None)
    certificate = f", certificate for {days:.0f} days" if days is not None else ""
    return (
        f"OK: {len(found.answers)} addresses{certificate}, {len(found.containers)} containers, "
        f"disk {found.disk_used:.0%}, {len(found.backups)} backups"
        + (f"; {held(found.state.hold)}" if found.state.hold else "")
    )


def held(hold: Hold) -> str:
    """Say since when, why and for whom nothing is deployed."""
    return f"no deploys since {log.stamp(hold.at)}" + (f" by {hold.by}" if hold.by else "") + f" ({hold.reason})"


def _public(found: Report) -> list[str]:
    wrong = [f"{a.url}: {a.trouble}" for a in found.answers if a.trouble is not None]
    for answer in found.answers:
        if answer.trouble is None and answer.days_left is not None and answer.days_left < CERTIFICATE_DAYS:
            wrong.append(f"{answer.url}: the certificate ends in {answer.days_left:.0f} days and was not renewed")
    return wrong


def _containers(found: Report) -> list[str]:
    if found.docker_trouble is not None:
        return [found.docker_trouble]
    if found.state.deployed is None:
        return ["nothing was deployed successfully so far; see /var/log/koprogo-gitops.log"]
    verdict = judge(found.containers, found.state.deployed.images)
    return [*verdict.failing, *verdict.waiting]


def _deploys(found: Report) -> list[str]:
    state, wrong = found.state, list[str]()
    if state.hold is not None and found.now - state.hold.at > HOLD_HOURS * 3600:
        wrong.append(f"{held(state.hold)}; to go on: koprogo resume")
    # A check that seems to come from the future is one too: the clock was set back.
    if state.check is None or abs(found.now - state.check.at) > CHECK_MINUTES * 60:
        when = f"since {log.stamp(state.check.at)}" if state.check else "ever"
        wrong.append(f"the branch was not looked at {when}; see `systemctl status koprogo-gitops.timer`")
    elif state.check.problem is not None:
        wrong.append(f"deploy: {state.check.problem}")
    newest = state.check.commit if state.check else None
    bad = state.bad(newest) if newest else None
    if bad is not None and not (state.check and state.check.problem):
        wrong.append(f"commit {bad.commit[:7]} failed and is in quarantine: {bad.reason}")
    return wrong


def _backups(found: Report) -> list[str]:
    if found.backups_trouble is not None:
        return [found.backups_trouble]
    since = found.state.first_deployed
    if found.backups:
        last = found.backups[-1].modified
    elif since is not None:
        last = since
    else:
        return []
    if found.now - last <= BACKUP_HOURS * 3600:
        return []
    what = f"the last good backup is of {log.stamp(last)}" if found.backups else "there is no good backup"
    return [f"{what}; see /var/log/koprogo-backup.log"]


def _disk(found: Report) -> list[str]:
    if found.disk_used < DISK_LIMIT:
        return []
    return [f"a disk is {found.disk_used:.0%} full ({found.disk_free / 1e9:.1f} GB free); see `df -h`"]
