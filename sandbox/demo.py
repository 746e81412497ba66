"""The main job as a newcomer sees it: a sandbox, then the real commands of the README against it."""

import json
import subprocess
import sys
from pathlib import Path

from sandbox import lifecycle, operator_folder
from sandbox.errors import SandboxError
from sandbox.machine import load
from sandbox.progress import console, say
from sandbox.world import World

_ROOT = Path(__file__).parent.parent
_API = "https://api.koprogo.test/api/v1/health"
_SITE = "https://koprogo.test"


def _command(env_file: Path, *command: str, capture: bool = False) -> str:
    """Run one of the project's commands as an operator would; its failure ends the demo with its own message."""
    environment = operator_folder.environment(env_file)
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SandboxError(f"{' '.join(command[-3:])} ended with {done.returncode}; what it said stands above.")
    return done.stdout or ""


def _provision(env_file: Path) -> None:
    say("\n[bold]python provision.py[/bold]")
    _command(env_file, sys.executable, "provision.py", "--yes")


def _deploy(env_file: Path) -> int:
    """Run deploy.py; returns how many of its operations changed something."""
    say("\n[bold]pyinfra inventory.py deploy.py[/bold]")
    pyinfra = str(Path(sys.executable).parent / "pyinfra")
    output = _command(env_file, pyinfra, "-y", "--json", "inventory.py", "deploy.py", capture=True)
    results = json.loads(output[output.index("{") :])["results"]
    if results["totals"]["error"] or results["failed_hosts"]:
        raise SandboxError("deploy.py could not finish; what it said stands above.")
    return int(results["totals"]["success"])


def _verify(made: World) -> str:
    """Ask both names from another machine, verifying the certificate; returns what the API answers."""
    outside = load(made.name, "internet")
    root = (lifecycle.env_file(made).parent / "public-ca.crt").read_text()
    outside.run(["sh", "-c", "cat > /run/public-ca.crt"], input=root)
    answers = [
        outside.run(["curl", "-fsS", "--max-time", "10", "--cacert", "/run/public-ca.crt", url]).stdout
        for url in (_SITE, _API)
    ]
    return answers[1].strip()


def _summary(made: World, answer: str, server: dict[str, str]) -> None:
    folder = lifecycle.env_file(made).parent
    ssh = f"ssh -i {folder}/id_ed25519 -o UserKnownHostsFile={folder}/known_hosts {server['user']}@{server['ipv4']}"
    curl = f"curl --cacert {folder}/public-ca.crt --resolve api.koprogo.test:443:{server['ipv4']} {_API}"
    console.print(f"""
[bold]It runs.[/bold] {_API} answers {answer}, with a certificate that verifies.

  server    {server["name"]}, {server["ipv4"]}, {server.get("ipv6") or "no IPv6"}
  cloud     {made.ipv4(2)}   an OpenStack: Keystone, Nova, Neutron, Glance, Placement
  internet  {made.ipv4(3)}   DNS, OVH API, ACME, registry, Git, mail
  files     {folder}

Try next:
  {curl}
  {ssh} sudo koprogo status
  make demo-push VERSION=2   commit a new version; it is live within 3 minutes
  make plan ENV_FILE={folder}/.env
  make demo-down             remove every trace
""", soft_wrap=True)  # fmt: skip


def run(name: str) -> None:
    """Sandbox, provision, deploy, check, and say what was made."""
    made = lifecycle.up(name)
    env_file = lifecycle.env_file(made)
    _provision(env_file)
    changed = _deploy(env_file)
    answer = _verify(made)
    server = json.loads((env_file.parent / "inventory.json").read_text())["servers"][0]
    if changed == 0:
        say("\n[bold]Nothing to do:[/bold] everything is in place, no operation changed anything.")
    _summary(made, answer, server)
