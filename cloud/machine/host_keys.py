"""SSH host keys as text: on a console, in a known_hosts file, as fingerprints. No network, no files."""

import base64
import binascii
import hashlib
import itertools
from collections.abc import Collection, Iterable

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
        if kind in TYPES and _begins_with_its_type(material, kind):
            return f"{kind} {material}"
    return ""


def _begins_with_its_type(material: str, kind: str) -> bool:
    """A public key is a sequence of strings with their lengths before them, the first being its type."""
    try:
        content = base64.b64decode(material, validate=True)
    except (binascii.Error, ValueError):
        return False
    return content[4 : 4 + len(kind)] == kind.encode()


def fingerprint(public_key: str) -> str:
    """Type and SHA256 fingerprint, as ssh-keygen -l shows them, of "type base64 [comment]"."""
    kind, material = public_key.split()[:2]
    digest = hashlib.sha256(base64.b64decode(material)).digest()
    return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


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
    """The keys that a known_hosts text has for an address, each with the comment of its line."""
    lines = (line.split() for line in known_hosts.splitlines() if not line.startswith("#"))
    return tuple(
        (" ".join(words[1:3]), " ".join(words[3:]))
        for words in lines
        if len(words) >= 3 and address in words[0].split(",")  # noqa: PLR2004
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
        for line in known_hosts.splitlines()
        if not (set(line.split(" ")[0].split(",")) & set(addresses) or _marked(line, mark_begins))
    ]
    return "".join(f"{line}\n" for line in kept)


def _marked(line: str, mark_begins: str | None) -> bool:
    comment = " ".join(line.split()[3:])
    return mark_begins is not None and not line.startswith("#") and comment.startswith(mark_begins)
