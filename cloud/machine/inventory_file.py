"""inventory.json: which servers there are. Written by provision.py, read by inventory.py; no secrets."""

import json
import os
import tempfile
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class InventoryError(Exception):
    """The file is missing or wrong; str() says how and what to do."""


class Entry(BaseModel):
    """One server."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1)
    ipv4: IPv4Address
    ipv6: IPv6Address | None = None
    user: str = Field(min_length=1)
    """Who logs in, and may use sudo without a password."""
    groups: tuple[Literal["web", "database"], ...] = Field(("web", "database"), min_length=1)
    """What it does; one server does all of it."""
    id: str
    """Nova's."""
    region: str = ""
    project: str = ""
    """The id of the project that pays for it. "" in a file of before these were noted."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, as text."""
        return tuple(str(address) for address in (self.ipv4, self.ipv6) if address)


class _File(BaseModel):
    servers: tuple[Entry, ...]


def read(path: Path) -> tuple[Entry, ...]:
    """The servers in the file. Raises InventoryError."""
    try:
        return _File.model_validate_json(path.read_bytes()).servers
    except FileNotFoundError:
        raise InventoryError(f"{path}: there is no such file yet; python provision.py writes it") from None
    except OSError as error:
        raise InventoryError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InventoryError(
            f"{path}: {place}: {first['msg']}; remove the file, and python provision.py writes it anew"
        ) from None


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Replace the file at once: a reader sees the old or the new one, whatever happens."""
    servers = [entry.model_dump(mode="json") for entry in entries]
    replace(path, json.dumps({"servers": servers}, indent=2) + "\n")


def replace(path: Path, text: str) -> None:
    """Write a file under another name, and rename it. Raises OSError; the file is then as it was."""
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8", errors="surrogateescape"
    )
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
