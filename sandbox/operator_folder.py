"""The operator of a sandbox: a folder with a key pair and the `.env` that the real commands read."""

import os
import shlex
import subprocess
from pathlib import Path

from sandbox import internet, openstack
from sandbox.world import World

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "COLUMNS", "NO_COLOR")


def environment(env_file: Path) -> dict[str, str]:
    """The environment of the operator's commands: no variable of this shell that is a setting too gets into them."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"ENV_FILE": str(env_file)}


def folder(world: World) -> Path:
    """Where the operator's files are."""
    return world.state / "operator"


def lines(world: World) -> dict[str, str]:
    """The variables of the `.env`: what an operator of the real thing would write, with this sandbox's addresses."""
    here = folder(world)
    return {
        **openstack.credentials(world),
        **internet.credentials(world),
        "SSH_PUBLIC_KEY": str(here / "id_ed25519.pub"),
        "KOPROGO_DOMAIN": "koprogo.test",
        "ACME_EMAIL": "syndic@koprogo.test",
        "REPOSITORY_URL": "https://git.sandbox.test/gilmry/koprogo.git",
        "DNS_RESOLVERS": world.ipv4(3),
        "TLS_CA_FILE": str(here / "public-ca.crt"),
    }


def write(world: World) -> Path:
    """Write the folder, keeping an existing key pair; returns the `.env`."""
    here = folder(world)
    here.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = here / "id_ed25519"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"operator@{world.name}", "-f", key],
            check=True,
        )
    (here / "public-ca.crt").write_text(internet.acme_root(world))
    env = here / ".env"
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in lines(world).items())
    env.touch(mode=0o600)
    env.write_text(text)
    return env
