"""What a person decides about deploys: wait, go on, go back to another version; and where to read what happened."""

from __future__ import annotations

import os
import time

from koprogo import history, log
from koprogo.config import Config
from koprogo.deploys import rollback, session
from koprogo.deploys.recover import recover
from koprogo.deploys.undo import restore_images
from koprogo.docker.engine import Docker
from koprogo.problem import Problem, one_line
from koprogo.runner import Runner
from koprogo.state import Hold, Store

JOURNAL = "journalctl --unit koprogo-gitops"


def pause(config: Config, reason: str) -> int:
    """Let the checks fetch and deploy nothing until `resume`; returns the exit code, as all of these."""
    with session.alone(config, asked=True) as work:
        hold = work.state.hold
        if hold is not None and hold.commit:
            raise Problem(
                f"Nothing is deployed anyway: {hold.commit[:7]} stays since {log.stamp(hold.at)} ({hold.reason}), "
                f"until koprogo resume."
            )
        since = hold.at if hold is not None else time.time()
        work.save(hold=Hold(since, one_line(reason, 100), by=work.by))
        log.say(f"Paused by {work.by} ({one_line(reason, 100)}): no check deploys anything until koprogo resume.")
        if work.state.attempt is not None and work.attempt.step.touched:
            log.say(
                f"A run ended in the middle of {work.attempt.commit[:7]}; the next check still finishes or undoes it."
            )
    return 0


def resume(config: Config) -> int:
    """Let the checks deploy again, beginning with the next one."""
    with session.alone(config, asked=True) as work:
        attempt = work.state.attempt
        begun = attempt is not None and attempt.rollback and not attempt.step.touched
        if work.state.hold is None and not begun:
            log.say("Nothing is paused or rolled back.")
            return 0
        if begun and work.state.deployed is not None:
            # It may have come as far as to give the names of what runs to older images.
            restore_images(work, work.state.deployed)
        # Both at once: a rollback that was killed before it touched anything is not wanted any more either.
        work.save(hold=None, **({"attempt": None} if begun else {}))
        check = work.state.check
        newest = f" ({check.commit[:7]} at the last check)" if check and check.commit else ""
        log.say(
            f"Resumed by {work.by}. The next check brings the newest commit{newest}, unless it is in quarantine. "
            f"First see what that changes: koprogo diff. At once: koprogo deploy"
        )
    return 0


def go_back(config: Config, name: str, *, data_restored: bool) -> int:
    """Go to a version that ran before, and stay there until `resume`."""
    with session.alone(config, asked=True) as work:
        recover(work)
        running = work.state.deployed
        if running is None:
            raise Problem("Nothing was deployed here so far.")
        version = rollback.choose(history.known(config.state_dir, work.state), running, name)
        rollback.go(work, version, data_restored=data_restored)
    return 0


def logs(config: Config, service: str, lines: int, *, follow: bool) -> int:
    """Print the last lines of the deploys' log, or of the containers of a service; and further ones as they come."""
    if service:
        return _service_logs(config, service, lines, follow=follow)
    if config.log_file is None:
        raise Problem(f"This server's configuration names no log of deploys. See: {JOURNAL}")
    if follow:
        os.execvp("tail", ["tail", f"--lines={lines}", "--follow=name", "--retry", str(config.log_file)])  # noqa: S606
    try:
        text = config.log_file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Problem(f"{config.log_file}: {error.strerror}. See: {JOURNAL}") from None
    print("\n".join(text.splitlines()[-lines:]) or "Nothing so far.")
    print(f"More: {config.log_file} and older ones beside it; {JOURNAL}; koprogo logs SERVICE; what failed last: "
          f"{config.state_dir / 'failed.log'}")  # fmt: skip
    return 0


def _service_logs(config: Config, service: str, lines: int, *, follow: bool) -> int:
    deployed = Store(config.state_dir).load().deployed
    if deployed is None:
        raise Problem(
            f"No version was healthy so far: see `docker ps`, `docker logs`, {config.state_dir / 'failed.log'}."
        )
    docker = Docker(Runner())
    containers = docker.containers(deployed.project)
    found = [container for container in containers if container.service == service]
    if not found:
        names = ", ".join(sorted({container.service for container in containers})) or "none"
        raise Problem(f"{service} has no container. There is: {names}.")
    if follow:
        os.execvp("docker", ["docker", "logs", "--follow", "--timestamps", "--tail", str(lines), found[-1].id])  # noqa: S606
    for container in found:
        if len(found) > 1:
            print(f"== {container.name} ({container.image_ref})")
        print(docker.logs(container.id, lines), end="")
    return 0
