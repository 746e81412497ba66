"""Getting into a server: SSH that trusts only the keys that are pinned for it, and is never waited for without end."""

import logging
import os
import re
import shlex
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from cloud.machine.host_keys import fingerprint, is_whole
from cloud.trouble import CloudError, NotYet

# paramiko logs every refused connection with a traceback; what matters of it is in its exceptions
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

CONNECT_SECONDS = 10
ODD_PACKETS = (ValueError, LookupError, ArithmeticError)
"""paramiko's thread trips over packets that are not as SSH has them, and hands on what it tripped over as it is."""
PIECE = 1 << 16
"""Bytes that are read at once."""
END_OF_FIRST_BOOT = (
    "if command -v cloud-init >/dev/null; then cloud-init status --wait; else systemctl is-system-running --wait; fi"
)
"""What is done to a server before its first boot has ended fails now and then, for lack of apt's lock."""


@dataclass(frozen=True)
class Login:
    """How to log in to a server."""

    address: str
    user: str
    private_key: Path
    host_keys: tuple[str, ...]
    """"type base64" of each; no other key is accepted."""
    port: int = paramiko.config.SSH_PORT

    def run(self, command: str, seconds: float) -> tuple[int, str]:
        """Run a command that takes `seconds` at most. Its exit status and what it printed.

        Raises NotYet, or CloudError for what stays so.
        """
        pieces = list[bytes]()
        status = self._run(command, seconds, pieces.append)
        return status, b"".join(pieces).decode(errors="replace")

    def fetch(self, remote: str, local: Path, seconds: float) -> None:
        """Copy a file of the server's, read with sudo, to a file that only its owner may read.

        By `cat` and not by SFTP, which has the rights of the login user only. What is there has been received whole.
        Raises NotYet, or CloudError.
        """
        try:
            file = tempfile.NamedTemporaryFile(dir=local.parent, prefix=f".{local.name}.", delete=False)  # noqa: SIM115
        except OSError as error:
            raise CloudError(f"{local}: cannot be written ({error.strerror}).") from None
        part = Path(file.name)  # which tempfile makes 0600
        try:
            with file:

                def keep(piece: bytes) -> None:
                    with _local(local):
                        file.write(piece)

                if self._run(f"sudo -n cat -- {shlex.quote(remote)}", seconds, keep):
                    raise CloudError(f"{self.address} does not give out {remote}.")
                with _local(local):
                    file.flush()
                    os.fsync(file.fileno())
            with _local(local):
                part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def _run(self, command: str, seconds: float, take: Callable[[bytes], object]) -> int:
        """Run a command, hand on what it prints piece by piece, and return its exit status."""
        try:
            with paramiko.SSHClient() as client:
                self._connect(client)
                end = time.monotonic() + seconds
                _, output, _ = client.exec_command(command, timeout=seconds)
                channel = output.channel
                # each wait on its own may take as long as is left: a server that has died closes nothing
                while piece := _receive(channel, end):
                    take(piece)
                if not channel.status_event.wait(_left(end)):
                    raise TimeoutError
                status = channel.recv_exit_status()
        except paramiko.BadHostKeyException as error:
            raise CloudError(self._another_answers(error)) from None
        except paramiko.PasswordRequiredException:
            raise CloudError(
                f"{self.private_key} is protected by a passphrase. Unlock it first: ssh-add {self.private_key}"
            ) from None
        except paramiko.AuthenticationException:
            raise NotYet(f"{self.address} does not let {self.user} in with {self.private_key}.") from None
        except (paramiko.SSHException, OSError, EOFError, *ODD_PACKETS) as error:
            raise NotYet(f"{self.address} port {self.port}: {_words(error)}.") from None
        if status < 0:  # paramiko's for a command of which no exit status came
            raise NotYet(f"{self.address} port {self.port}: the connection ended.")
        return status

    def _connect(self, client: paramiko.SSHClient) -> None:
        known_as = self.address if self.port == paramiko.config.SSH_PORT else f"[{self.address}]:{self.port}"
        for line in filter(is_whole, self.host_keys):
            entry = HostKeyEntry.from_line(f"{known_as} {line}")
            if entry and entry.key:
                client.get_host_keys().add(known_as, entry.key.get_name(), entry.key)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            self.address,
            self.port,
            username=self.user,
            key_filename=str(self.private_key),
            look_for_keys=False,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
        )

    def _another_answers(self, error: paramiko.BadHostKeyException) -> str:
        return another_answers(self.address, f"{error.key.get_name()} {error.key.get_base64()}", self.host_keys)


def compare(shown: str) -> str:
    """What to hold a shown host key, "type base64", against."""
    kind = shown.removeprefix("ssh-").partition("-")[0].partition(" ")[0]
    return (
        "Compare it with what the server says of itself in OVH's console (Public Cloud > Instances > VNC console), on"
        f" its screen or to: ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub."
    )


def another_answers(address: str, shown: str, expected: Iterable[str]) -> str:
    """What is said of a machine that shows another host key than it should."""
    return (
        f"The machine that answers at {address} shows another host key than it should: {fingerprint(shown)},"
        f" and not {', '.join(fingerprint(key) for key in expected)}. Either the server was rebuilt or given other"
        " host keys, and its console does not show them; or another machine answers at its address. Nothing was sent"
        f" to it. {compare(shown)} If it is the same, let the server print its keys on its console, as root there:"
        " cloud-init single --name keys_to_console --frequency always. Or, where that shows none, remove the lines of"
        f" {address} from known_hosts. Then run again."
    )


def shown_key(address: str, prefer: Iterable[str] = (), port: int = paramiko.config.SSH_PORT) -> str:
    """The host key, "type base64", that the machine at an address shows; "" if nobody answers by SSH there.

    Nobody has vouched for it. `prefer`: types to ask for first. Nothing but the exchange of keys is done.
    """
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS) as connection:
            transport = paramiko.Transport(connection)
            try:
                transport.banner_timeout = transport.handshake_timeout = CONNECT_SECONDS
                options = transport.get_security_options()
                wanted = tuple(prefer)
                options.key_types = sorted(options.key_types, key=lambda kind: _key_type(kind) not in wanted)
                transport.start_client(timeout=CONNECT_SECONDS)
                key = transport.get_remote_server_key()
                return f"{key.get_name()} {key.get_base64()}"
            finally:
                transport.close()
    except (paramiko.SSHException, OSError, EOFError, *ODD_PACKETS):
        return ""


def _key_type(algorithm: str) -> str:
    """An RSA key signs in several ways, and is called ssh-rsa in all of them (RFC 8332)."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _receive(channel: paramiko.Channel, end: float) -> bytes:
    channel.settimeout(_left(end))
    return channel.recv(PIECE)


def _left(end: float) -> float:
    """Seconds until then. Raises TimeoutError if there are none."""
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _words(error: Exception) -> str:
    if isinstance(error, ODD_PACKETS):
        return "what answers there does not speak SSH as it should"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return re.sub(r"\[Errno \w+\] ", "", str(error)) or type(error).__name__


@contextmanager
def _local(path: Path) -> Iterator[None]:
    """A fault of the disk here is no fault of the connection."""
    try:
        yield
    except OSError as error:
        raise CloudError(f"{path}: cannot be written ({error.strerror}).") from None
