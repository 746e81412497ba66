"""Logging in to a new server: with the pinned keys only, and what is said when it does not work."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from test_settings import key_pair

from cloud.login import Login
from cloud.trouble import CloudError, NotYet


class Sshd(paramiko.ServerInterface):
    """Lets `ubuntu` in with one key, and answers each command with its own text and status 3; `reboot` does not end."""

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed

    def get_allowed_auths(self, username: str) -> str:
        """Keys, as on a server in the cloud."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """One user with one key."""
        right = username == "ubuntu" and key.get_base64() == self.allowed.split()[1]
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """Sessions."""
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Answer at once, and leave closing to the client: closed before the request is granted would be a refusal."""
        channel.sendall(b"you said: " + command)
        if command != b"reboot":
            channel.send_exit_status(3)
            channel.shutdown_write()
        return True


@pytest.fixture
def host_key() -> paramiko.ECDSAKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture
def connections() -> list[paramiko.Transport]:
    """The server's ends."""
    return []


@pytest.fixture
def sshd(tmp_path: Path, host_key: paramiko.ECDSAKey, connections: list[paramiko.Transport]) -> Iterator[Login]:
    """A server on this machine, and how to log in to it."""
    key_pair(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            connections.append(transport)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=Sshd((tmp_path / "id_ed25519.pub").read_text()))

    threading.Thread(target=serve, daemon=True).start()
    pinned = f"ecdsa-sha2-nistp256 {host_key.get_base64()}"
    yield Login("127.0.0.1", "ubuntu", tmp_path / "id_ed25519", (pinned,), port=listener.getsockname()[1])
    listener.close()


def test_a_command_runs_on_the_server_whose_key_is_pinned(sshd: Login) -> None:
    assert sshd.run("true", 10) == (3, "you said: true")


def test_a_connection_that_breaks_is_no_command_that_ended(
    sshd: Login, connections: list[paramiko.Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = paramiko.SSHClient.exec_command

    def run_and_break(client: paramiko.SSHClient, *arguments: Any, **options: Any) -> Any:
        files = run(client, *arguments, **options)
        connections[0].close()
        return files

    monkeypatch.setattr(paramiko.SSHClient, "exec_command", run_and_break)
    with pytest.raises(NotYet, match=rf"^127\.0\.0\.1 port {sshd.port}: the connection ended\.$"):
        sshd.run("reboot", 10)


def test_another_key_of_the_same_type_is_a_stop_that_shows_both(sshd: Login, host_key: paramiko.ECDSAKey) -> None:
    other = paramiko.ECDSAKey.generate()
    with pytest.raises(CloudError) as caught:
        replace(sshd, host_keys=(f"ecdsa-sha2-nistp256 {other.get_base64()}",)).run("true", 10)
    assert not isinstance(caught.value, NotYet)
    said = str(caught.value)
    assert said.startswith("The machine that answers at 127.0.0.1 is not the one that was made: it shows ecdsa-sha2-")
    assert f"it shows ecdsa-sha2-nistp256 {host_key.fingerprint}" in said
    assert f"the console of ours shows ecdsa-sha2-nistp256 {other.fingerprint}" in said


def test_a_server_without_a_pinned_key_is_not_talked_to(sshd: Login) -> None:
    with pytest.raises(NotYet, match="not found in known_hosts"):
        replace(sshd, host_keys=()).run("true", 10)


def test_a_server_that_does_not_let_us_in_yet_is_asked_again(sshd: Login, tmp_path: Path) -> None:
    with pytest.raises(NotYet, match=rf"127\.0\.0\.1 does not let debian in with {tmp_path}/id_ed25519\."):
        replace(sshd, user="debian").run("true", 10)


def test_nobody_there_is_asked_again() -> None:
    with pytest.raises(NotYet, match=r"127\.0\.0\.1 port 9: .*Unable to connect"):
        Login("127.0.0.1", "ubuntu", Path("key"), (), port=9).run("true", 10)


def test_a_key_under_a_passphrase_is_a_stop_that_says_ssh_add(
    sshd: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret words", "-f", key], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(CloudError, match=f"{key} is protected by a passphrase. Unlock it first: ssh-add {key}"):
        sshd.run("true", 10)
