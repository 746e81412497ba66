"""A private key with a passphrase is said before a server is made that nobody can log in to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.machine.private_key import is_locked


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An ssh-agent of our own, without keys."""
    socket = tmp_path / "agent"
    process = subprocess.Popen([shutil.which("ssh-agent") or "ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it says where it listens once it does
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.wait()


def make(path: Path, passphrase: str) -> str:
    """Make a key pair; returns the public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def test_a_key_without_a_passphrase_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "key", make(tmp_path / "key", ""))


def test_one_with_a_passphrase_is_until_an_agent_holds_it(tmp_path: Path, agent: None) -> None:
    public = make(tmp_path / "key", "secret words")
    assert is_locked(tmp_path / "key", public)
    asking = tmp_path / "asking"
    asking.write_text("#!/bin/sh\necho secret words\n")
    asking.chmod(0o700)
    variables = os.environ | {"SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", tmp_path / "key"], env=variables, check=True)
    assert not is_locked(tmp_path / "key", public)
