"""`koprogo status`: what a tired person needs to know, in less than a screen; `--json` for programs.

Keys of the JSON, which other programs may rely on:
  running_commit       commit that runs and was seen healthy; null before the first deploy
  image_tag, since     of that version; `since` in seconds since 1970
  wanted_commit        newest commit of the branch at the last check; null before it
  healthy              every container of the version runs and is healthy, and every public address answers
  settings_applied     what runs was started with .env and the image tag as they are now; if not, `koprogo deploy`
                       applies them
  attempt              {commit, step, started} of a deploy that has not ended; null
  hold                 {at, reason, commit} while no check deploys anything: paused, or rolled back to commit; null
  quarantine           [{commit, reason, at}]
  last_check           {at, commit, problem}; null
  containers           [{name, service, image, status, health, restarts}]
  addresses            [{url, trouble, certificate_days}], trouble null when it answers
  last_backup          {file, size, at}; null
  backups              how many good ones there are
  disk_used            0 to 1, of the fullest file system
"""

from __future__ import annotations

import json
from typing import Any

from koprogo import decide, log, report, work
from koprogo.config import Config
from koprogo.containers import Container, judge
from koprogo.problem import Problem
from koprogo.report import Report


def run(config: Config, *, as_json: bool) -> int:
    """Print the status; returns the exit code, which is 0 for every answer: read `healthy`."""
    found = report.collect(config, public=False)
    try:
        environment: str | None = work.environment_hash(config)
    except Problem:
        environment = None
    data = facts(found, decide.settings_applied(found.state, environment, config.image_tag))
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
        "attempt": {"commit": attempt.commit, "step": attempt.step.value, "started": attempt.started}
        if attempt
        else None,
        "hold": {"at": hold.at, "reason": hold.reason, "commit": hold.commit or None} if hold else None,
        "quarantine": [{"commit": b.commit, "reason": b.reason, "at": b.at} for b in found.state.quarantine],
        "last_check": {"at": check.at, "commit": check.commit, "problem": check.problem} if check else None,
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
        "disk_used": found.disk_used,
    }


def healthy(found: Report) -> bool:
    """Whether the version that should run does, and the public can see it."""
    if found.state.deployed is None or found.docker_trouble is not None:
        return False
    containers = judge(found.containers, found.state.deployed.images)
    return containers.healthy and all(answer.trouble is None for answer in found.answers)


def screen(found: Report, data: dict[str, Any]) -> str:
    """Return what a person sees."""
    lines = [*_version(found, data), ""]
    lines += [f"  {c.name:<24} {_state(c):<22} {c.image_ref}" for c in found.containers]
    if found.docker_trouble:
        lines.append(f"  {found.docker_trouble}")
    for answer in found.answers:
        days = f", certificate {answer.days_left:.0f} days" if answer.days_left is not None else ""
        lines.append(f"  {answer.url:<47} {(answer.trouble or 'answers') + days}")
    lines += ["", *_deploys(found), *_rest(found)]
    return "\n".join(lines)


def _version(found: Report, data: dict[str, Any]) -> list[str]:
    deployed = found.state.deployed
    if deployed is None:
        return ["Nothing was deployed successfully so far."]
    word = "healthy" if data["healthy"] else "NOT HEALTHY"
    lines = [f"{deployed.commit[:7]} ({deployed.tag}) runs since {log.stamp(deployed.since)}: {word}"]
    if not data["settings_applied"]:
        lines.append("The settings differ from those it was started with: `koprogo deploy` applies them.")
    return lines


def _state(container: Container) -> str:
    health = f" ({container.health})" if container.health else ""
    code = f" {container.exit_code}" if container.status == "exited" else ""
    return container.status + code + health


def _deploys(found: Report) -> list[str]:
    state = found.state
    if state.check is None:
        lines = ["Checked      never"]
    else:
        newest = f", newest commit {state.check.commit[:7]}" if state.check.commit else ""
        lines = [f"Checked      {log.stamp(state.check.at)}{newest}"]
        if state.check.problem:
            lines.append(f"Problem      {state.check.problem}")
    if state.hold is not None:
        what = "Rolled back" if state.hold.commit else "Paused     "
        lines.append(f"{what:<11}  {state.hold.reason} since {log.stamp(state.hold.at)}; to go on: koprogo resume")
    if state.attempt is not None:
        lines.append(f"In progress  {state.attempt.commit[:7]}: {state.attempt.step.value}")
    lines += [f"Quarantine   {bad.commit[:7]} since {log.stamp(bad.at)}: {bad.reason}" for bad in state.quarantine[-3:]]
    return lines


def _rest(found: Report) -> list[str]:
    if found.backups:
        last = found.backups[-1]
        text = f"{log.stamp(last.modified)}, {last.size / 1e6:.1f} MB, {len(found.backups)} kept"
    else:
        text = found.backups_trouble or "none yet"
    disk = f"{found.disk_used:.0%} used, {found.disk_free / 1e9:.1f} GB free"
    return [f"Backup       {text}", f"Disk         {disk}"]
