"""What a new server finds on its disk before its first boot: who it is and what it shall do, for cloud-init."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

_CONFIG = "etc/cloud/cloud.cfg.d/91-image.cfg"
_SEED = "var/lib/cloud/seed/nocloud-net"


@dataclass(frozen=True)
class Seed:
    """A server as Nova describes it. `user_data` is base64, as Nova keeps it; `key` is a line of authorized_keys."""

    uuid: str
    hostname: str
    image: str
    key: str | None
    user_data: str | None


def first_user(image: str) -> str:
    """The user that images of this name log in with."""
    return "ubuntu" if image.lower().startswith("ubuntu") else "debian"


def files(seed: Seed) -> dict[str, bytes]:
    """Path below the root → content (YAML, of which JSON is a part) of everything cloud-init reads."""
    metadata: dict[str, object] = {"instance-id": seed.uuid, "local-hostname": seed.hostname}
    if seed.key:
        metadata["public-keys"] = [seed.key.strip()]
    user = {"name": first_user(seed.image), "gecos": "", "lock_passwd": True, "shell": "/bin/bash"}
    user |= {"groups": ["adm", "sudo"], "sudo": ["ALL=(ALL) NOPASSWD:ALL"]}
    return {
        _CONFIG: json.dumps({"system_info": {"default_user": user}}).encode(),
        f"{_SEED}/meta-data": json.dumps(metadata).encode(),
        f"{_SEED}/user-data": base64.b64decode(seed.user_data) if seed.user_data else b"",
        f"{_SEED}/vendor-data": b"",
    }


def write(root: Path, seed: Seed) -> None:
    """Put the files on a disk mounted at `root`, the seed readable by root alone: user-data may hold secrets."""
    for name, content in files(seed).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o644 if name == _CONFIG else 0o600)
        target.write_bytes(content)
