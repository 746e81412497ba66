"""A private key with a passphrase is said before a server is made that nobody can log in to."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paramiko import agent as agents

from cloud.machine.private_key import is_locked


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An ssh-agent of our own, without keys."""
    path = tmp_path / "agent"
    process = subprocess.Popen([shutil.which("ssh-agent") or "ssh-agent", "-D", "-a", path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it says where it listens once it does
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
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


def refuses(connection: socket.socket) -> None:
    """Say SSH_AGENT_FAILURE, as an agent that is locked does."""
    connection.recv(1 << 16)
    connection.sendall(b"\0\0\0\x01\x05")


def talks_nonsense(connection: socket.socket) -> None:
    """Answer with one key, whose type is no text."""
    connection.recv(1 << 16)
    connection.sendall(b"\0\0\0\x12\x0c\0\0\0\x01\0\0\0\x05\0\0\0\x01\xff\0\0\0\0")


def ends_early(connection: socket.socket) -> None:
    """Answer with nothing, not even what kind of answer it is."""
    connection.recv(1 << 16)
    connection.sendall(b"\0\0\0\0")


def hangs_up_in_the_middle(connection: socket.socket) -> None:
    """Begin to answer."""
    connection.recv(1 << 16)
    connection.sendall(b"\0\0")


def hangs_up(connection: socket.socket) -> None:
    """Close what was accepted."""


@pytest.mark.parametrize("behave", [refuses, talks_nonsense, ends_early, hangs_up_in_the_middle, hangs_up])
def test_an_agent_that_is_of_no_use_holds_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behave: Callable[[socket.socket], None]
) -> None:
    public = make(tmp_path / "key", "secret words")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            behave(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        assert is_locked(tmp_path / "key", public)
        thread.join()


def test_an_agent_that_died_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))  # which stays when the agent goes
    assert is_locked(tmp_path / "key", make(tmp_path / "key", "secret words"))


def test_an_agent_that_closes_before_it_is_asked_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    monkeypatch.setattr(agents, "get_agent_connection", lambda: ours)
    assert is_locked(tmp_path / "key", make(tmp_path / "key", "secret words"))
