"""The operator's private key: whether it can be used without anybody typing its passphrase."""

import base64
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization


def is_locked(private: Path, public_key: str) -> bool:
    """Whether the key is protected by a passphrase and no agent holds it. `public_key` is "type base64"."""
    try:
        serialization.load_ssh_private_key(private.read_bytes(), password=None)
    except TypeError:  # the library's way of asking for a password
        wanted = base64.b64decode(public_key.split()[1])
        return wanted not in _held()
    except ValueError:
        return False  # an older form, which logging in will tell about
    return False


def _held() -> list[bytes]:
    """The public keys that the agent holds; none if it is dead, refuses, hangs up or talks nonsense."""
    try:
        return [key.asbytes() for key in paramiko.Agent().get_keys()]
    except (paramiko.SSHException, OSError, ValueError, ArithmeticError):  # the last two over what is no key
        return []
