"""From records to a zone file and back, and from the file to knot."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .records import Record, quoted
from .store import PublishError

DEFAULT_TTL = 3600  # seconds: what a record's ttl 0 stands for
SOA = {"refresh": 86400, "retry": 3600, "expire": 3600000, "nxDomainTtl": 60, "ttl": DEFAULT_TTL}
# OVH's own names for what the DNS knows as TXT.
AS_TEXT = ("TXT", "SPF", "DKIM", "DMARC")
_RECORD = re.compile(r"(\S+)\s+(?:(\d+)\s+)?(?:IN\s+)?([A-Za-z]+)\s+(.*)")


def render(name: str, serial: int, records: Sequence[Record], server: str) -> str:
    """Return the zone file (RFC 1035) of `name`, whose first name server is `server` (without final dot)."""
    timers = " ".join(str(SOA[k]) for k in ("refresh", "retry", "expire", "nxDomainTtl"))
    lines = [
        f"$ORIGIN {name}.",
        f"$TTL {DEFAULT_TTL}",
        f"@ IN SOA {server}. tech.{name}. {serial} {timers}",
    ]
    return "\n".join(lines + [_line(record) for record in records]) + "\n"


def _line(record: Record) -> str:
    kind = "TXT" if record["fieldType"] in AS_TEXT else record["fieldType"]
    target = quoted(record["target"]) if kind == "TXT" else record["target"]
    return f"{record['subDomain'] or '@'} {record['ttl'] or ''} IN {kind} {target}"


def parse(text: str) -> list[dict[str, Any]]:
    """Return the records of a zone file as bodies of POST /record; ValueError with the line that is not one.

    Every record on a line of its own, with its name; SOA is left out, as the zone keeps its own.
    """
    bodies = []
    for line in text.splitlines():
        found = _RECORD.fullmatch(line.rstrip())
        if not line.strip() or line.startswith((";", "$")):
            continue
        if not found:
            raise ValueError(line)
        name, ttl, kind, target = found.groups()
        if kind.upper() != "SOA":
            sub = "" if name == "@" else name
            bodies.append({"fieldType": kind.upper(), "subDomain": sub, "target": target, "ttl": int(ttl or 0)})
    return bodies


class KnotPublisher:
    """Writes the zone's file into knot's folder and has knot load it; returns once it is served."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._server = server

    def __call__(self, name: str, serial: int, records: Sequence[Record]) -> None:
        """Serve the zone; raises PublishError with knot's reason, and the old one stays served."""
        file = self._folder / f"{name}.zone"
        before = file.read_bytes() if file.exists() else None
        file.write_text(render(name, serial, records, self._server))
        try:
            self._reload(name)
        except PublishError:
            if before is not None:
                file.write_bytes(before)
            raise

    @staticmethod
    def _reload(name: str) -> None:
        command = ["knotc", "--blocking", "zone-reload", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode != 0:
            raise PublishError((done.stdout + done.stderr).strip())
