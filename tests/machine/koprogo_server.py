"""A server with Docker and the program, set up without OpenStack and pyinfra: only the program is tested."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import ovh
import small_world

from sandbox import internet
from sandbox.application.git import BARE
from sandbox.machine import Machine, load
from sandbox.world import World

SOURCE = Path(__file__).parents[2] / "files" / "koprogo"
LAUNCHER = Path(__file__).parents[2] / "templates" / "launcher.sh"
LIBRARY = "/usr/local/lib/koprogo/koprogo"
CHECKOUT = "/home/koprogo/koprogo"
ENV_FILE = f"{CHECKOUT}/deploy/production/.env"
URLS = ["https://koprogo.test", "https://api.koprogo.test/api/v1/health"]
REPOSITORY = "https://git.sandbox.test/gilmry/koprogo.git"

CONFIG = {
    "repository": REPOSITORY,
    "branch": "main",
    "checkout": CHECKOUT,
    "compose_file": f"{CHECKOUT}/deploy/production/docker-compose.yml",
    "env_file": ENV_FILE,
    "image_tag": "main-{sha7}",
    "health_urls": URLS,
    "database_service": "postgres",
    "backup_dir": "/home/koprogo/backups",
    "backup_days": 7,
    "state_dir": "/var/lib/koprogo",
    "tls_ca_file": "/etc/koprogo/tls-ca.pem",
}

SECRETS = """GITHUB_REPOSITORY=gilmry/koprogo
ACME_EMAIL=syndic@koprogo.test
API_DOMAIN=api.koprogo.test
FRONTEND_DOMAIN=koprogo.test
POSTGRES_PASSWORD=Xq8ZkT1vB4nW7yRc
JWT_SECRET=0f8e7d6c5b4a39281706f5e4d3c2b1a0
"""

# Nobody logs in here, and sshd has no host keys: a unit that fails, as the health check would say.
_SET_UP = f"""
systemctl --quiet disable --now ssh
systemctl reset-failed
useradd --create-home --shell /bin/bash --groups docker koprogo
install -d -o koprogo -g koprogo -m 0750 /var/lib/koprogo
install -d -o koprogo -g koprogo -m 0700 /home/koprogo/backups
install -d /etc/koprogo {LIBRARY}
install -m 0755 /dev/null /usr/local/bin/koprogo
runuser -u koprogo -- git clone -q {REPOSITORY} {CHECKOUT}
install -o koprogo -g koprogo -m 0600 /dev/null {ENV_FILE}
"""

_WIPE = f"""
docker ps -aq | xargs -r docker rm -f
docker volume ls -q | xargs -r docker volume rm
find /var/lib/koprogo /home/koprogo/backups -mindepth 1 -delete
runuser -u koprogo -- git -C {CHECKOUT} fetch -q origin
runuser -u koprogo -- git -C {CHECKOUT} reset -q --hard origin/main
"""

# Says on standard error which calls of docker there were, and makes them.
_TRACED = "/opt/traced/docker"

# In a clone of the repository, as somebody who may push; $1 and further are the arguments of the script.
_IN_CLONE = f"""
work="$(mktemp -d)"; trap 'rm -rf "$work"' EXIT
git clone -q {BARE} "$work"; cd "$work"
git config user.name KoproGo; git config user.email koprogo@git.sandbox.test
"""

# $1 is the version, $2 the message; the files to change come on standard input as JSON, null to remove one.
_COMMIT = """
printf '%s\\n' "$1" > VERSION
python3 -c 'import json, os, sys
for name, text in json.load(sys.stdin).items(): open(name, "w").write(text) if text is not None else os.remove(name)'
git add --all --force
git commit -q --allow-empty -m "$2"
git push -q origin HEAD:main >&2
git rev-parse HEAD
"""


@dataclass(frozen=True)
class Server:
    """The machine, as its tests use it."""

    world: World
    machine: Machine

    @property
    def internet(self) -> Machine:
        """Where the registry, Git and everything else is."""
        return load(self.world.name, "internet")

    def sh(self, script: str, *, check: bool = True, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script as root."""
        return self.machine.run(["sh", "-e", "-c", script], check=check, input=input)

    def koprogo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program as its user; calls of docker are counted by `docker_calls`."""
        path = "/opt/traced:/usr/local/bin:/usr/bin:/bin"
        command = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo", f"PATH={path}"]
        self.sh("rm -f /tmp/docker-calls")
        return self.machine.run([*command, "/usr/local/bin/koprogo", *arguments], check=False)

    def docker_calls(self) -> list[str]:
        """The calls of docker that the last run of the program made."""
        return self.sh("cat /tmp/docker-calls 2>/dev/null || true").stdout.splitlines()

    def status(self) -> dict[str, Any]:
        """What the program says about the server."""
        found: dict[str, Any] = json.loads(self.koprogo("status", "--json").stdout)
        return found

    def state(self) -> dict[str, Any]:
        """What the program remembers; {} before it remembers anything."""
        text = self.sh("cat /var/lib/koprogo/state.json 2>/dev/null || echo '{}'").stdout
        found: dict[str, Any] = json.loads(text)
        return found

    def configure(self, **changes: object) -> None:
        """Write the configuration, with these values changed."""
        self.sh("cat > /etc/koprogo/config.json", input=json.dumps(CONFIG | changes))

    def push(self, version: str, message: str = "Change", files: Mapping[str, str | None] | None = None) -> str:
        """Commit a version, and files by their path; CI publishes its images if that version exists. Returns the id."""
        return self.in_clone(_COMMIT, version, message, input=json.dumps(files or {})).splitlines()[-1]

    def other_version(self) -> str:
        """A good version that is not the one that runs."""
        return "3" if self.version() == "2" else "2"

    def outlive_probation(self) -> None:
        """Let the version that runs be one that went live more than ten minutes ago."""
        state = self.state()
        if state["probation"] is not None:
            state["probation"]["since"] -= 601
            self.sh("cat > /var/lib/koprogo/state.json", input=json.dumps(state))

    def wipe(self) -> None:
        """Take everything away that the program made or was told, as if it had just been installed."""
        self.sh(_WIPE)
        self.sh(f"cat > {ENV_FILE}", input=SECRETS)
        self.configure()

    def in_clone(self, script: str, *arguments: str, input: str | None = None) -> str:
        """Run a script in a clone of the repository, as somebody who may push; returns what it prints."""
        command = ["runuser", "-u", "www-data", "--", "sh", "-e", "-c", _IN_CLONE + script, "clone", *arguments]
        return self.internet.run(command, input=input).stdout.strip()

    def version(self) -> str:
        """The version that the API answers with, its certificate verified; "" if it does not answer."""
        command = ["curl", "-fsS", "-m", "5", "--cacert", "/etc/koprogo/tls-ca.pem", URLS[1]]
        answer = self.machine.run(command, check=False).stdout
        return str(json.loads(answer)["version"]) if answer else ""

    def image_ids(self) -> dict[str, str]:
        """The image of every container."""
        return dict(line.split() for line in self.sh("docker ps -q | xargs docker inspect -f '{{.Name}} {{.Image}}'")
                    .stdout.splitlines())  # fmt: skip

    def containers(self) -> dict[str, str]:
        """The ID of every container that runs."""
        return dict(line.split() for line in self.sh("docker ps --format '{{.Names}} {{.ID}}'").stdout.splitlines())

    def head(self) -> str:
        """The commit that the checkout is at."""
        return self.sh(f"runuser -u koprogo -- git -C {CHECKOUT} rev-parse HEAD").stdout.strip()

    def sql(self, query: str, container: str = "koprogo-postgres") -> str:
        """What the database answers."""
        return self.machine.run(
            ["docker", "exec", container, "psql", "-U", "koprogo", "-d", "koprogo_db", "-Atc", query]
        ).stdout.strip()


def good(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bad(done: subprocess.CompletedProcess[str]) -> str:
    """What a command complained about that did not."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "PROBLEM" in done.stderr
    return done.stderr


def make(world: World, machine: Machine | None = None) -> Server:
    """Start the server in a world with the internet, install the program, and point the names at it."""
    machine = machine or small_world.docker_machine(world)
    server = Server(world, machine)
    _publish_names(world, machine.ipv4)
    server.sh(_SET_UP)
    install(server)
    server.sh("cat > /etc/koprogo/tls-ca.pem", input=internet.acme_root(world))
    server.wipe()
    trace = '#!/bin/sh\necho "$*" >> /tmp/docker-calls\nexec /usr/bin/docker "$@"\n'
    server.sh(f"mkdir -p {Path(_TRACED).parent}; cat > {_TRACED}; chmod 755 {_TRACED}", input=trace)
    return server


def install(server: Server) -> None:
    """Copy the program as it is in this checkout."""
    server.sh(f"rm -rf {LIBRARY}; mkdir -p {LIBRARY}")
    launcher = jinja2.Template(LAUNCHER.read_text()).render(library=str(Path(LIBRARY).parent))
    server.sh("cat > /usr/local/bin/koprogo", input=launcher)
    for file in sorted(SOURCE.rglob("*.py")):
        goal = Path(LIBRARY) / file.relative_to(SOURCE)
        server.sh(f"mkdir -p {goal.parent} && cat > {goal}", input=file.read_text())
    server.sh(f"python3 -m compileall -q {LIBRARY}")


def _publish_names(world: World, address: str) -> None:
    keys = internet.credentials(world)
    endpoint = keys["OVH_ENDPOINT"]
    ovh.client.ENDPOINTS[endpoint] = endpoint
    client = ovh.Client(
        endpoint=endpoint,
        application_key=keys["OVH_APPLICATION_KEY"],
        application_secret=keys["OVH_APPLICATION_SECRET"],
        consumer_key=keys["OVH_CONSUMER_KEY"],
    )
    for name in ("", "api", "status"):
        client.post("/domain/zone/koprogo.test/record", fieldType="A", subDomain=name, target=address, ttl=60)
    client.post("/domain/zone/koprogo.test/refresh")
