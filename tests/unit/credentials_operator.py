"""An operator who runs `provision.py credentials` against the stand-in for OVH's API."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import requests
from ovh_stand_in import CLIENT_SECRET, CONSUMER, KEY, LOGIN, PASSWORD, SECRET

ROOT = Path(__file__).parents[2]
ZONE = "/domain/zone/koprogo.test"
LEAST = [
    "GET    /domain/zone",
    f"GET    {ZONE}",
    f"GET    {ZONE}/status",
    f"GET    {ZONE}/record",
    f"POST   {ZONE}/record",
    f"GET    {ZONE}/record/*",
    f"PUT    {ZONE}/record/*",
    f"DELETE {ZONE}/record/*",
    f"GET    {ZONE}/redirection",
    f"GET    {ZONE}/redirection/*",
    f"GET    {ZONE}/dynHost/record",
    f"GET    {ZONE}/dynHost/record/*",
    f"POST   {ZONE}/refresh",
]
RULES = tuple((line.split()[0], line.split()[1]) for line in LEAST)
APPLICATION = {"OVH_APPLICATION_KEY": KEY, "OVH_APPLICATION_SECRET": SECRET}
KEYS = APPLICATION | {"OVH_CONSUMER_KEY": CONSUMER}


class Operator:
    """Somebody with a .env, who runs the command."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.file = folder / ".env"
        lines = {"KOPROGO_DOMAIN": "koprogo.test", "ACME_EMAIL": "you@koprogo.test", **variables}
        self.file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in lines.items()))
        self.file.chmod(0o600)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start it, with these variables in the environment too."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OVH_", "DNS_"))}
        return subprocess.Popen(
            ["env", "--default-signal=INT", sys.executable, "-u", "provision.py", "credentials", *arguments],
            cwd=ROOT,
            env={**clean, "ENV_FILE": str(self.file), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run it to its end."""
        return end(self.start(*arguments, **variables))


def end(process: subprocess.Popen[str], already: str = "") -> tuple[int, str, str]:
    """Exit status, output and errors, none of which has a secret or a traceback."""
    out, errors = process.communicate(timeout=60)
    out = already + out
    for secret in (KEY, SECRET, CONSUMER, CLIENT_SECRET):
        assert secret not in out + errors
    assert "Traceback" not in errors
    return process.returncode, out, errors


def lines(out: str) -> list[str]:
    return [line.strip() for line in out.splitlines()]


def validate(page: str, answer: str = "accept", duration: str = "0") -> None:
    address, _, query = page.partition("?")
    form = {**dict(parse_qsl(query)), "login": LOGIN, "password": PASSWORD, "duration": duration, "answer": answer}
    assert requests.post(address, form, timeout=5).status_code == 200


def until_the_page(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed up to the page, and the page."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(r"http://\S+/auth/\S+", line):
            return said, found[0]
    pytest.fail(f"it gave no page: {said}")
