"""SSH host keys as text: on a console, in a known_hosts file, as fingerprints. No network, no files."""

import base64
import hashlib
import itertools
from collections.abc import Collection, Iterable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
END = "-----END SSH HOST KEY KEYS-----"
TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def on_console(output: str) -> tuple[str, ...]:
    """The host keys that cloud-init printed, each "type base64".

    The last complete block counts: a rebuilt server prints a new one below the old. Lines of a console may
    carry a prefix (cloud-init's "ci-info: ") and end in carriage returns. Empty if there is no complete block.
    """
    keys: tuple[str, ...] = ()
    block, inside = list[str](), False
    for line in output.splitlines():
        if BEGIN in line:
            block, inside = [], True
        elif END in line and inside:
            keys, inside = tuple(block), False
        elif inside and (key := _key(line)):
            block.append(key)
    return keys


def _key(line: str) -> str:
    words = line.split()
    for kind, material in itertools.pairwise(words):
        if is_whole(f"{kind} {material}"):
            return f"{kind} {material}"
    return ""


def is_whole(key: str) -> bool:
    """Whether "type base64" is a host key that a server can be known by; a line may have been cut off."""
    if key.partition(" ")[0] not in TYPES:
        return False
    try:
        load_ssh_public_key(key.encode())
    except (ValueError, UnsupportedAlgorithm):  # ValueError: bytes that are no text, too
        return False
    return True


def _content(public_key: str) -> bytes:
    """The bytes of "type base64 [comment]": strings with their lengths before them, the first being its type."""
    kind, material = [*public_key.split(), "", ""][:2]
    try:
        content = base64.b64decode(material, validate=True)
        return content if kind and content[4 : 4 + len(kind)] == kind.encode() else b""
    except ValueError:  # binascii.Error is one, and so is what is no ASCII
        return b""


def fingerprint(public_key: str) -> str:
    """Type and SHA256 fingerprint, as ssh-keygen -l shows them, of "type base64 [comment]".

    Nova has key pairs that are certificates: "not an SSH key".
    """
    if not (content := _content(public_key)):
        return "not an SSH key"
    digest = hashlib.sha256(content).digest()
    return f"{public_key.split(maxsplit=1)[0]} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def of_type(keys: Iterable[str], kind: str) -> str:
    """The key of this type; the first one if there is none, "" if there are no keys."""
    keys = tuple(keys)
    return next((key for key in keys if key.split()[0] == kind), keys[0] if keys else "")


def change(old: Iterable[str], new: Iterable[str]) -> str:
    """Both fingerprints, "old → new", of the type that comes first in TYPES and that both have."""
    old, new = tuple(old), tuple(new)
    both = {key.split()[0] for key in old} & {key.split()[0] for key in new}
    kind = next((kind for kind in TYPES if kind in both), "")
    return f"{fingerprint(of_type(old, kind))} → {fingerprint(of_type(new, kind))}"


def pinned(known_hosts: str, address: str) -> tuple[tuple[str, str], ...]:
    """The keys that a known_hosts text has for an address, each with the comment of its line.

    A line whose key is broken counts as little for us as for ssh.
    """
    lines = (line.split() for line in _lines(known_hosts) if not line.startswith("#"))
    return tuple(
        (" ".join(words[1:3]), " ".join(words[3:]))
        for words in lines
        if address in [*words, ""][0].split(",") and is_whole(" ".join(words[1:3]))
    )


def pin(known_hosts: str, addresses: Collection[str], keys: Iterable[str], mark: str = "") -> str:
    """The text with these keys, and no others, for these addresses. Lines of other hosts stay as they are.

    `mark` becomes the comment of each line, which no program that reads the file minds.
    """
    own = [f"{address} {key} {mark}".rstrip() for address in addresses for key in keys]
    return unpin(known_hosts, addresses) + "".join(f"{line}\n" for line in own)


def unpin(known_hosts: str, addresses: Collection[str], mark_begins: str | None = None) -> str:
    """The text without the lines of these addresses, nor those whose comment begins so."""
    kept = [
        line
        for line in _lines(known_hosts)
        if not (set([*line.split(), ""][0].split(",")) & set(addresses) or _marked(line, mark_begins))
    ]
    return "".join(f"{line}\n" for line in kept)


def _lines(known_hosts: str) -> list[str]:
    """Those that end in a line feed: str.splitlines has other ends too, which would not be written again."""
    return known_hosts.removesuffix("\n").split("\n") if known_hosts else []


def _marked(line: str, mark_begins: str | None) -> bool:
    comment = " ".join(line.split()[3:])
    return mark_begins is not None and not line.startswith("#") and comment.startswith(mark_begins)
