"""The ways to bring a new version to a server that are compared, and how a server is asked about them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from koprogo_server import CHECKOUT, URLS, Server

from bench.report import Cost
from sandbox.errors import SandboxError
from sandbox.world import within

COMPOSE = "deploy/production/docker-compose.yml"
SICK = "… sick, rolled back"
TRAEFIK = "… Traefik changed"
POSTGRES = "… Postgres changed"
DOWN = "compose down; pull; up -d"
PLAIN = "compose pull; up -d"

PATIENCE = 120
"""Seconds after which a version that does not answer is given up."""

# As the script that this project replaces had it, without what it does when an image is missing.
_OLD = """
cd "$1"
git fetch -q origin main
git reset -q --hard origin/main
cd deploy/production
export IMAGE_TAG="main-$(git rev-parse HEAD | cut -c-7)"
"""
_COMMANDS = {
    DOWN: "docker compose down; docker compose pull -q; docker compose up -d",
    PLAIN: "docker compose pull -q; docker compose up -d",
}

# What changes nothing that the application could notice.
_CHANGES = {
    TRAEFIK: ("      - --accesslog=true\n", "      - --accesslog=true\n      - --accesslog.bufferingsize=10\n"),
    POSTGRES: ("-cwork_mem=5MB", "-cwork_mem=6MB"),
}


@dataclass(frozen=True)
class Deploy:
    """One deploy: how long it took, and what is wrong with how it ended ("" if nothing)."""

    way: str
    seconds: float
    trouble: str


def deploy(server: Server, way: str) -> Deploy:
    """Push a commit of its own for one deploy, and make it. Raises SandboxError where the sandbox is at fault."""
    if way in _COMMANDS:
        return _by_script(server, way)
    before = server.version()
    version = "sick" if way == SICK else server.other_version()
    server.push(version, way, _files(server, way))
    began = time.monotonic()
    done = server.koprogo("deploy")
    seconds = time.monotonic() - began
    answers = server.version()
    if way == SICK:
        fine = done.returncode == 1 and "was rolled back" in done.stderr and answers == before
    else:
        fine = done.returncode == 0 and answers == version
    return Deploy(
        way, seconds, "" if fine else f"version {answers or 'none'} answers; {_last(done.stdout, done.stderr)}"
    )


def check_cost(server: Server) -> Cost:
    """Measure checks that find nothing new."""
    program = (Path(__file__).parent / "check_cost.py").read_text(encoding="utf-8")
    user = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo"]
    lines = server.machine.run([*user, "python3", "-"], input=program).stdout.splitlines()
    runs = [json.loads(line) for line in lines if line.startswith("{")]
    if any(run["code"] for run in runs):
        raise SandboxError(f"koprogo deploy --check ended with {[run['code'] for run in runs]}, not with 0")
    return Cost([run["peak"] for run in runs], [run["cpu"] for run in runs])


def rows(server: Server, mark: str) -> set[str]:
    """Return the rows whose name begins with `mark`."""
    return set(server.sql(f"select name from buildings where starts_with(name, '{mark}')").split())  # noqa: S608  # ours


def _by_script(server: Server, way: str) -> Deploy:
    version = server.other_version()
    server.push(version, way)
    began = time.monotonic()
    user = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo"]
    done = server.machine.run([*user, "sh", "-ec", _OLD + _COMMANDS[way], "old", CHECKOUT], check=False)
    came = within(PATIENCE, lambda: server.version() == version and _page_shows(server, version), pause=0.2)
    fine = done.returncode == 0 and came
    return Deploy(way, time.monotonic() - began, "" if fine else _last(done.stdout, done.stderr))


def _page_shows(server: Server, version: str) -> bool:
    """Whether the frontend answers, with this version."""
    command = ["curl", "-fsS", "-m", "5", "--cacert", "/etc/koprogo/tls-ca.pem", URLS[0]]
    return f'id="version">{version}<' in server.machine.run(command, check=False).stdout


def _files(server: Server, way: str) -> Mapping[str, str | None]:
    """What a commit changes besides the version."""
    if way not in _CHANGES:
        return {}
    old, new = _CHANGES[way]
    text = server.in_clone(f"cat {COMPOSE}") + "\n"
    if old not in text:
        raise SandboxError(f"{COMPOSE} has no {old.strip()!r}: bench/ways.py has to change something else")
    return {COMPOSE: text.replace(old, new)}


def _last(*outputs: str) -> str:
    """The last line of a program's output, errors last."""
    return " / ".join(output.strip().splitlines()[-1] for output in outputs if output.strip()) or "no output"
