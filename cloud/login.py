"""Getting into a new server: SSH that trusts only the keys that its console has shown."""

import logging
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from cloud.host_keys import fingerprint
from cloud.trouble import CloudError, NotYet

# paramiko logs every refused connection with a traceback; what matters of it is in its exceptions
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

CONNECT_SECONDS = 10
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
        """Run a command. Its exit status and what it printed. Raises NotYet, or CloudError for what stays so."""
        try:
            with paramiko.SSHClient() as client:
                self._connect(client)
                _, output, _ = client.exec_command(command, timeout=seconds)
                text = output.read().decode(errors="replace")
                status = output.channel.recv_exit_status()
        except paramiko.BadHostKeyException as error:
            raise CloudError(self._another_answers(error)) from None
        except paramiko.PasswordRequiredException:
            raise CloudError(
                f"{self.private_key} is protected by a passphrase. Unlock it first: ssh-add {self.private_key}"
            ) from None
        except paramiko.AuthenticationException:
            raise NotYet(f"{self.address} does not let {self.user} in with {self.private_key}.") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise NotYet(f"{self.address} port {self.port}: {error or type(error).__name__}.") from None
        if status < 0:  # paramiko's for a command of which no exit status came
            raise NotYet(f"{self.address} port {self.port}: the connection ended.")
        return status, text

    def _connect(self, client: paramiko.SSHClient) -> None:
        known_as = self.address if self.port == paramiko.config.SSH_PORT else f"[{self.address}]:{self.port}"
        for line in self.host_keys:
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
        shown = fingerprint(f"{error.key.get_name()} {error.key.get_base64()}")
        expected = ", ".join(fingerprint(key) for key in self.host_keys)
        return (
            f"The machine that answers at {self.address} is not the one that was made: it shows {shown};"
            f" the console of ours shows {expected}. Nothing was sent to it; find out who answers there."
        )
