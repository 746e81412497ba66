"""`koprogo status`: what a tired person needs to know, in less than a screen; `--json` for programs.

Keys of the JSON, which other programs may rely on:
  running_commit       commit that runs and was seen healthy; null before the first deploy
  image_tag, since     of that version; `since` in seconds since 1970
  wanted_commit        newest commit of the branch at the last check; null before it
  healthy              every container of the version runs and is healthy, and every public address answers
  settings_applied     what runs was started with .env and the image tag as they are now; if not, `koprogo deploy`
                       applies them
  deployed_by          who asked for that version: "timer" or a person's name; null where nobody knows
  previous_commit      where `koprogo rollback` goes; null if there is no such version
  attempt              {commit, step, started, service, by, rollback, tries, at_work} of a deploy that has not ended;
                       at_work: a program is at it now, and does not wait for the next check; null
  hold                 {at, reason, commit, by} while no check deploys anything: paused, or rolled back to commit; null
  quarantine           [{commit, reason, at}]
  last_check           {at, commit, problem}; null
  next_check           in seconds since 1970; null where nobody knows, and while a check is at work
  containers           [{name, service, image, status, health, restarts}]
  addresses            [{url, trouble, certificate_days}], trouble null when it answers
  last_backup          {file, size, at}; null
  backups              how many good ones there are
  last_drill           {set, at, seconds, problem} of the last restore into a throw-away database, problem null when
                       every row was there; null
  offsite              {stored, checked, problem}: when all that is here was last stored elsewhere, and when that was
                       last checked, null where it never was; problem null where the last run of both went well; null
                       where no copies are wanted
  disk_used            0 to 1, of the fullest file system
  restore              {set, step, started, at_work} of a restore that has not ended; null
  alerts               [{key, text, since}] of what somebody was told and is not over
  alerts_trouble       why nobody is told of anything; null where somebody is
  status_page          the name that the status page is served at; null if it is not served
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from koprogo import history, journal, log, report
from koprogo.alerts import notify
from koprogo.backups import dump
from koprogo.backups.backup_state import BackupState
from koprogo.config import Config
from koprogo.deploys import decide, diff, work
from koprogo.docker.containers import Container, judge
from koprogo.health import health, memory
from koprogo.page import page_server
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.runner import Runner
from koprogo.state import Attempt

COLUMNS = 80
LINES = 24
INDENT = 13


def run(config: Config, *, as_json: bool) -> int:
    """Print the status; returns the exit code, which is 0 for every answer: read `healthy`."""
    found = report.collect(config, public=False)
    try:
        environment: str | None = work.environment_hash(config)
    except Problem:
        environment = None
    data = facts(found, decide.settings_applied(found.state, environment, config.image_tag))
    data["offsite"] = copies(found.runs) if config.offsite_file is not None else None
    data["restore"] = restoring(config, found)
    data["alerts"] = health.alerts(memory.load(config.state_dir).watch)
    data["alerts_trouble"] = notify.nobody(config) or None
    data["status_page"] = page_server.served(Runner())
    print(json.dumps(data, indent=1) if as_json else screen(found, data))
    return 0


def facts(found: Report, settings_applied: bool) -> dict[str, Any]:
    """Return what `--json` prints."""
    deployed, attempt, check, hold = found.state.deployed, found.state.attempt, found.state.check, found.state.hold
    last = found.backups[-1] if found.backups else None
    return {
        "running_commit": deployed.commit if deployed else None,
        "image_tag": deployed.tag if deployed else None,
        "since": deployed.since if deployed else None,
        "wanted_commit": check.commit if check else None,
        "healthy": healthy(found),
        "settings_applied": settings_applied,
        "deployed_by": _by(found) or None,
        "previous_commit": _previous(found),
        "attempt": _attempt(found, attempt) if attempt else None,
        "hold": {"at": hold.at, "reason": hold.reason, "commit": hold.commit or None, "by": hold.by or None}
        if hold
        else None,
        "quarantine": [{"commit": b.commit, "reason": b.reason, "at": b.at} for b in found.state.quarantine],
        "last_check": {"at": check.at, "commit": check.commit, "problem": check.problem} if check else None,
        "next_check": found.next_check,
        "containers": [
            {
                "name": c.name,
                "service": c.service,
                "image": c.image_ref,
                "status": c.status,
                "health": c.health,
                "restarts": c.restarts,
            }
            for c in found.containers
        ],
        "addresses": [{"url": a.url, "trouble": a.trouble, "certificate_days": a.days_left} for a in found.answers],
        "last_backup": {"file": str(last.path), "size": last.size, "at": last.modified} if last else None,
        "backups": len(found.backups),
        "last_drill": _drill(found.runs),
        "disk_used": found.disk_used,
    }


def copies(runs: BackupState) -> dict[str, Any]:
    """Return how the copies do that are kept elsewhere."""
    stored, checked = runs.good_upload, runs.good_offsite_check
    wrong = [run.problem for run in (runs.upload, runs.offsite_check) if run is not None and run.problem]
    return {
        "stored": stored.at if stored else None,
        "checked": checked.at if checked else None,
        "problem": " ".join(wrong) or None,
    }


def restoring(config: Config, found: Report) -> dict[str, Any] | None:
    """Return how far a restore has come that has not ended; None where there is none."""
    try:
        note = journal.load(config.state_dir)
    except Problem:
        return None  # the checks run into it, and what they say is shown
    if note is None:
        return None
    name = dump.stem(Path(note.dump).name)
    return {"set": name, "step": note.step.value, "started": note.started, "at_work": found.at_work}


def healthy(found: Report) -> bool:
    """Whether the version that should run does, and the public can see it."""
    if found.state.deployed is None or found.docker_trouble is not None:
        return False
    containers = judge(found.containers, found.state.deployed.images)
    return containers.healthy and all(answer.trouble is None for answer in found.answers)


def _attempt(found: Report, attempt: Attempt) -> dict[str, Any]:
    return {
        "commit": attempt.commit,
        "step": attempt.step.value,
        "started": attempt.started,
        "service": attempt.service or None,
        "by": attempt.by or None,
        "rollback": attempt.rollback,
        "tries": attempt.tries,
        "at_work": found.at_work,
    }


def _drill(runs: BackupState) -> dict[str, Any] | None:
    if runs.drill is None:
        return None
    drill = runs.drill
    return {"set": drill.set, "at": drill.at, "seconds": drill.seconds, "problem": drill.problem or None}


def _by(found: Report) -> str:
    """Who asked for the version that runs; "" where nobody knows."""
    return next((e.by for e in reversed(found.entries) if e.result.ran and found.state.runs(e.commit)), "")


def _previous(found: Report) -> str | None:
    deployed = found.state.deployed
    version = history.previous(found.entries, deployed.commit) if deployed else None
    return version.commit if version else None


def screen(found: Report, data: dict[str, Any]) -> str:
    """Return what a person sees: at most 24 lines of 80 characters, for two public addresses."""
    lines = _field("Docker", found.docker_trouble) if found.docker_trouble else []
    for answer in found.answers:
        days = f", certificate {answer.days_left:.0f} days" if answer.days_left is not None else ""
        lines.append(f"  {answer.url:<39} {(answer.trouble or 'answers') + days}")
    alerts = _alerts(data)
    lines += ["", *_restore(data), *_deploys(found, 2 if alerts else 3), *_rest(found, data), *alerts]
    top = [*_version(found, data), ""]
    lines = [*top, *_containers(found.containers, LINES - len(top) - len(lines)), *lines]
    return "\n".join(line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…" for line in lines)


def _field(name: str, text: str, most: int = 1) -> list[str]:
    """Return a name and a text beside it, on at most so many lines."""
    words = textwrap.wrap(text, COLUMNS - INDENT, max_lines=most, placeholder=" …", break_on_hyphens=False)
    return [f"{name if not number else '':<{INDENT}}{line}" for number, line in enumerate(words)]


def _version(found: Report, data: dict[str, Any]) -> list[str]:
    deployed = found.state.deployed
    if deployed is None:
        left = " What stands there was left: docker ps" if found.state.quarantine else ""
        return [f"Nothing was deployed successfully so far.{left}"]
    word = "healthy" if data["healthy"] else "being replaced" if _being_replaced(found) else "NOT HEALTHY"
    lines = [f"{deployed.commit[:7]} ({deployed.tag}) runs since {log.stamp(deployed.since)}: {word}"]
    if by := _by(found):
        back = f"; koprogo rollback goes to {data['previous_commit'][:7]}" if data["previous_commit"] else ""
        lines.append(f"deployed by {by}{back}")
    if not data["settings_applied"]:
        lines.append("The settings differ from those it was started with: `koprogo deploy`.")
    return lines


def _being_replaced(found: Report) -> bool:
    """Whether nothing is wrong but that a deploy, which goes on, waits for what it has started."""
    attempt, deployed = found.state.attempt, found.state.deployed
    if not (found.at_work and attempt and attempt.step.touched and deployed and found.docker_trouble is None):
        return False
    failing = judge(found.containers, deployed.images).failing
    return not failing and all(answer.trouble is None for answer in found.answers)


def _restore(data: Mapping[str, Any]) -> list[str]:
    there = data.get("restore")
    if not there:
        return []
    how = "finishes" if there["step"] == journal.Step.WRITING.value else "undoes"
    goes = "" if there["at_work"] else f"; cut off: the next check {how} it, or now: koprogo restore --resume"
    return _field("Restore", f"{there['set']}: {there['step']}{goes}", 2)


def _alerts(data: Mapping[str, Any]) -> list[str]:
    there = data.get("alerts", [])
    count = f"{len(there)} things: " if len(there) > 1 else ""
    said = [count + there[0]["text"]] if there else []
    return _field("Alerts", "; ".join([*said, *([data["alerts_trouble"]] if data.get("alerts_trouble") else [])]))


def _containers(containers: Sequence[Container], room: int) -> list[str]:
    """Return a line for each, or, if there is no room for them all, those that are not well first, and how many not."""
    if len(containers) > room:
        containers = sorted(containers, key=_is_well)
    shown = containers if len(containers) <= room else containers[: max(room - 1, 1)]
    width = min(max([19, *(len(c.name) for c in shown)]), 30)
    lines = [f"  {c.name:<{width}} {_state(c):<19} {diff.short(c.image_ref)}" for c in shown]
    rest = containers[len(shown) :]
    well = sum(map(_is_well, rest))
    return [*lines, *([f"  and {len(rest)} more, {well} of them well: koprogo status --json"] if rest else [])]


def _is_well(container: Container) -> bool:
    return container.finished or (container.status == "running" and container.health in (None, "healthy"))


def _state(container: Container) -> str:
    health = f" ({container.health})" if container.health else ""
    code = f" {container.exit_code}" if container.status == "exited" else ""
    return container.status + code + health


def _deploys(found: Report, most: int) -> list[str]:
    state, lines = found.state, list[str]()
    if state.hold is not None:
        what = "Rolled back" if state.hold.commit else "Paused"
        by = f" by {state.hold.by}" if state.hold.by else ""
        lines += _field(
            what, f"since {log.stamp(state.hold.at)}{by} ({state.hold.reason}); to go on: koprogo resume", 2
        )
    if state.check is None:
        lines += _field("Checked", "never" + _next(found))
    else:
        newest = f", newest commit {state.check.commit[:7]}" if state.check.commit else ""
        lines += _field("Checked", f"{log.stamp(state.check.at)}{newest}{_next(found)}", 2)
        if state.check.problem:
            lines += _field("Problem", state.check.problem, most)
    if state.attempt is not None:
        lines += _field("In progress", _progress(found, state.attempt), 2)
    for bad in state.quarantine[-1:]:
        more = f" (and {len(state.quarantine) - 1} before)" if len(state.quarantine) > 1 else ""
        lines += _field("Quarantine", f"{bad.commit[:7]}{more} since {log.stamp(bad.at)}: {bad.reason}", 2)
    return lines


def _next(found: Report) -> str:
    if found.timer_trouble:
        return f"; {found.timer_trouble}"
    if found.next_check is None:
        return "; one is at work" if found.at_work else ""
    return f"; next in {max(found.next_check - found.now, 0):.0f} s"


def _progress(found: Report, attempt: Attempt) -> str:
    service = f" ({attempt.service})" if attempt.service else ""
    if found.at_work:
        goes = ""
    elif attempt.step.touched:
        goes = "; interrupted, the next check takes it up"
    else:
        goes = "; the next check goes on"
    tries = f", try {attempt.tries}" if attempt.tries > 1 else ""
    back = "back to " if attempt.rollback else ""
    return f"{back}{attempt.commit[:7]}: {attempt.step.value}{service}{tries}{goes}"


def _drilled(found: Report) -> str:
    drill = found.runs.drill
    if drill is None:
        return "; no drill yet"
    return "; the drill failed" if drill.problem else f"; drill {log.age(found.now - drill.at)} ago"


def _offsite(found: Report, data: Mapping[str, Any]) -> list[str]:
    there = data.get("offsite")
    if there is None:
        return []
    ages = [
        f"{log.age(found.now - at)} ago" if at is not None else "never" for at in (there["stored"], there["checked"])
    ]
    failed = "; the last failed" if there["problem"] else ""
    return _field("Off-site", f"stored {ages[0]}, checked {ages[1]}{failed}")


def _rest(found: Report, data: Mapping[str, Any]) -> list[str]:
    if found.backups:
        last = found.backups[-1]
        age = log.age(found.now - last.modified)
        text = f"{log.minute(last.modified)} ({age} ago), {last.size / 1e6:.1f} MB, {len(found.backups)} kept"
        text += _drilled(found)
    else:
        text = found.backups_trouble or "none yet"
    disk = f"{found.disk_used:.0%} used, {found.disk_free / 1e9:.1f} GB free"
    return [*_field("Backup", text), *_offsite(found, data), *_field("Disk", disk)]
