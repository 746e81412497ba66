"""Logging in to a new server: with the pinned keys only, and what is said when it does not work."""

import contextlib
import errno
import hashlib
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from test_settings import key_pair

from cloud.machine.login import Login, shown_key
from cloud.trouble import CloudError, NotYet

CONTENT = bytes(range(256)) * 1024


class Sshd(paramiko.ServerInterface):
    """Lets `ubuntu` in with one key, and answers each command with its own text and status 3.

    `reboot` does not end, nor does `chatter`, which goes on talking; `no-status` ends without its status;
    `odd` gets a packet that is not SSH's; and `sudo -n cat -- /…` gives out one file.
    """

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
        if command == b"odd":
            odd = paramiko.Message(b"\xfd")  # a type that nobody has defined
            channel.get_transport().packetizer.send_message(odd)
        elif command.startswith(b"sudo -n cat"):
            there = command == b"sudo -n cat -- '/home/koprogo/a file'"
            channel.sendall(CONTENT if there else b"")
            channel.send_exit_status(0 if there else 1)
        else:
            channel.sendall(b"you said: " + command)
            if command == b"chatter":
                threading.Thread(target=chatter, args=(channel,), daemon=True).start()
            elif command not in (b"reboot", b"no-status"):
                channel.send_exit_status(3)
        if command not in (b"reboot", b"chatter"):
            channel.shutdown_write()
        return True


def chatter(channel: paramiko.Channel) -> None:
    """Talk until nobody listens."""
    with contextlib.suppress(OSError):
        while True:
            channel.sendall(b".")
            time.sleep(0.05)


@pytest.fixture
def host_key() -> paramiko.ECDSAKey:
    return paramiko.ECDSAKey.generate()


@pytest.fixture(scope="module")
def rsa_key() -> paramiko.RSAKey:
    """The server's other key; it takes a moment to make."""
    return paramiko.RSAKey.generate(2048)


@pytest.fixture
def connections() -> list[paramiko.Transport]:
    """The server's ends."""
    return []


@pytest.fixture
def sshd(
    tmp_path: Path, host_key: paramiko.ECDSAKey, rsa_key: paramiko.RSAKey, connections: list[paramiko.Transport]
) -> Iterator[Login]:
    """A server on this machine, and how to log in to it."""
    key_pair(tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            # as OpenSSH since 8.8
            transport = paramiko.Transport(connection, disabled_algorithms={"keys": ["ssh-rsa"]})
            connections.append(transport)
            transport.add_server_key(host_key)
            transport.add_server_key(rsa_key)
            transport.start_server(event=threading.Event(), server=Sshd((tmp_path / "id_ed25519.pub").read_text()))

    threading.Thread(target=serve, daemon=True).start()
    pinned = f"ecdsa-sha2-nistp256 {host_key.get_base64()}"
    yield Login("127.0.0.1", "ubuntu", tmp_path / "id_ed25519", (pinned,), port=listener.getsockname()[1])
    listener.close()


def test_a_command_runs_on_the_server_whose_key_is_pinned(sshd: Login) -> None:
    assert sshd.run("true", 10) == (3, "you said: true")


@pytest.mark.parametrize("broken", ["ecdsa-sha2-nistp256 AAA", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "ssh-rsa", ""])
def test_a_pinned_key_that_was_cut_off_is_none(sshd: Login, broken: str) -> None:
    assert replace(sshd, host_keys=(broken, *sshd.host_keys)).run("true", 10) == (3, "you said: true")
    with pytest.raises(NotYet, match="not found in known_hosts"):
        replace(sshd, host_keys=(broken,)).run("true", 10)


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


@pytest.mark.parametrize("command", ["reboot", "chatter", "no-status"])
def test_a_command_that_does_not_end_is_not_waited_for_without_end(sshd: Login, command: str) -> None:
    begun = time.monotonic()
    with pytest.raises(NotYet, match=rf"^127\.0\.0\.1 port {sshd.port}: no answer in time\.$"):
        sshd.run(command, 0.5)
    assert time.monotonic() - begun < 5


def test_a_file_comes_whole_and_for_its_owner_only(sshd: Login, tmp_path: Path) -> None:
    local = tmp_path / "here" / "file"
    local.parent.mkdir()
    sshd.fetch("/home/koprogo/a file", local, 10)
    assert hashlib.sha256(local.read_bytes()).hexdigest() == (
        "2312394bd99545d9de131c24efb781e765ac1aec243f2ed9347597a793a415e9"
    )
    assert local.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in local.parent.iterdir()] == ["file"]


def test_a_file_that_is_not_given_out_leaves_nothing(sshd: Login, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(CloudError, match=r"^127\.0\.0\.1 does not give out /etc/shadow\.$"):
        sshd.fetch("/etc/shadow", folder / "file", 10)
    with pytest.raises(CloudError, match=r"/there/file: cannot be written \(No such file or directory\)\.$"):
        sshd.fetch("/etc/shadow", tmp_path / "there" / "file", 10)
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_no_fault_of_the_connection(
    sshd: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CloudError, match=r"/here/file: cannot be written \(No space left on device\)\.$") as caught:
        sshd.fetch("/home/koprogo/a file", folder / "file", 10)
    assert not isinstance(caught.value, NotYet)
    assert list(folder.iterdir()) == []


def test_the_key_that_a_machine_shows(sshd: Login, host_key: paramiko.ECDSAKey) -> None:
    assert shown_key("127.0.0.1", (), sshd.port) == f"ecdsa-sha2-nistp256 {host_key.get_base64()}"
    assert shown_key("127.0.0.1", ["ecdsa-sha2-nistp256"], sshd.port) == f"ecdsa-sha2-nistp256 {host_key.get_base64()}"
    assert shown_key("127.0.0.1", (), 9) == ""


def test_the_type_that_is_pinned_is_asked_for_first(sshd: Login, rsa_key: paramiko.RSAKey) -> None:
    assert shown_key("127.0.0.1", ["ssh-rsa"], sshd.port) == f"ssh-rsa {rsa_key.get_base64()}"


def test_another_key_of_the_same_type_is_a_stop_that_shows_both(sshd: Login, host_key: paramiko.ECDSAKey) -> None:
    other = paramiko.ECDSAKey.generate()
    with pytest.raises(CloudError) as caught:
        replace(sshd, host_keys=(f"ecdsa-sha2-nistp256 {other.get_base64()}",)).run("true", 10)
    assert not isinstance(caught.value, NotYet)
    said = str(caught.value)
    assert said == (
        "The machine that answers at 127.0.0.1 shows another host key than it should: ecdsa-sha2-nistp256"
        f" {host_key.fingerprint}, and not ecdsa-sha2-nistp256 {other.fingerprint}. Either the server was rebuilt or"
        " given other host keys, and its console does not show them; or another machine answers at its address."
        " Nothing was sent to it. Compare it with what the server says of itself in OVH's console (Public Cloud >"
        " Instances > VNC console), on its screen or to: ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub. If it is"
        " the same, let the server print its keys on its console, as root there: cloud-init single --name"
        " keys_to_console --frequency always. Or, where that shows none, remove the lines of 127.0.0.1 from"
        " known_hosts. Then run again."
    )


def test_a_server_without_a_pinned_key_is_not_talked_to(sshd: Login) -> None:
    with pytest.raises(NotYet, match="not found in known_hosts"):
        replace(sshd, host_keys=()).run("true", 10)


def test_a_server_that_does_not_let_us_in_yet_is_asked_again(sshd: Login, tmp_path: Path) -> None:
    with pytest.raises(NotYet, match=rf"127\.0\.0\.1 does not let debian in with {tmp_path}/id_ed25519\."):
        replace(sshd, user="debian").run("true", 10)


def test_nobody_there_is_asked_again() -> None:
    with pytest.raises(NotYet, match=r"127\.0\.0\.1 port 9: .*Unable to connect"):
        Login("127.0.0.1", "ubuntu", Path("key"), (), port=9).run("true", 10)


def name_list(names: bytes) -> bytes:
    return struct.pack(">I", len(names)) + names


KEXINIT = b"\x14" + bytes(16)
NO_TEXT = b"\xff\xfe"
DISCONNECT = b"\x01" + struct.pack(">I", 2) + name_list(NO_TEXT) + name_list(b"")
X25519 = [b"curve25519-sha256@libssh.org", b"ecdsa-sha2-nistp256", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2]
OFFER = KEXINIT + b"".join(map(name_list, [*X25519, *[b"none"] * 2, b"", b""])) + bytes(5)
SHORT_KEY = b"\x1f" + name_list(b"") + name_list(b"short") + name_list(b"")


@pytest.mark.parametrize(
    "packets",
    [
        [KEXINIT + name_list(NO_TEXT) + bytes(41)],
        [DISCONNECT],
        [OFFER, DISCONNECT],
        [OFFER, SHORT_KEY],
    ],
)
def test_a_machine_that_sends_odd_packets_is_none_that_speaks_ssh(packets: list[bytes]) -> None:
    def serve() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-odd\r\n")
                for packet in packets:
                    padding = 16 - (5 + len(packet)) % 8
                    connection.sendall(struct.pack(">IB", 1 + len(packet) + padding, padding) + packet + bytes(padding))
                while connection.recv(1 << 16):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        assert shown_key("127.0.0.1", (), port) == ""
        with pytest.raises(NotYet) as caught:
            Login("127.0.0.1", "ubuntu", Path("key"), (), port).run("true", 10)
    assert str(caught.value) == f"127.0.0.1 port {port}: what answers there does not speak SSH as it should."


def test_a_server_that_sends_an_odd_packet_later_on_is_asked_again(sshd: Login) -> None:
    with pytest.raises(NotYet, match=r": what answers there does not speak SSH as it should\.$"):
        sshd.run("odd", 10)


def test_a_key_under_a_passphrase_is_a_stop_that_says_ssh_add(
    sshd: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret words", "-f", key], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(CloudError, match=f"{key} is protected by a passphrase. Unlock it first: ssh-add {key}"):
        sshd.run("true", 10)
