"""What a record may be beyond its published types: names, targets, TTL, neighbours."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from .errors import bad_request, business
from .schema import check_body, is_ipv4, is_ipv6

# Seconds; 0 stands for the zone's default. For what is between, OVH has been seen to store 60 instead
# (terraform-provider-ovh, #397); it is refused here, so that nobody asks for what he does not get.
MIN_TTL = 60


class Record(TypedDict):
    """A record as the API shows it; the apex has the subDomain ""."""

    id: int
    zone: str
    fieldType: str
    subDomain: str
    target: str
    ttl: int


_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(@|{_LABEL}(\.{_LABEL})*\.?)", re.IGNORECASE)
_SUBDOMAIN = re.compile(rf"(\*|(\*\.)?{_LABEL}(\.{_LABEL})*)?", re.IGNORECASE)
_DMARC = re.compile(r"_dmarc(\..+)?", re.IGNORECASE)


def _host(target: str) -> bool:
    return _HOST.fullmatch(target) is not None


def _numbers_then_host(count: int) -> Callable[[str], bool]:
    def check(target: str) -> bool:
        *numbers, host = target.split(" ")
        return len(numbers) == count and all(n.isdigit() and int(n) < 2**16 for n in numbers) and _host(host)

    return check


def _text(target: str) -> bool:
    return bool(target) and "\n" not in target


def _caa(target: str) -> bool:
    return re.fullmatch(r"\d{1,3} (issue|issuewild|iodef) \"[^\"\n]*\"", target) is not None


# fieldType (domain.zone.RecordTypeEnum) -> what its target has to look like.
TARGETS: dict[str, Callable[[str], bool]] = {
    "A": is_ipv4,
    "AAAA": is_ipv6,
    "CAA": _caa,
    "CNAME": _host,
    "DKIM": _text,
    "DMARC": _text,
    "DNAME": _host,
    "HTTPS": _text,
    "LOC": _text,
    "MX": _numbers_then_host(1),
    "NAPTR": _text,
    "NS": _host,
    "PTR": _host,
    "RP": _text,
    "SPF": _text,
    "SRV": _numbers_then_host(3),
    "SSHFP": _text,
    "SVCB": _text,
    "TLSA": _text,
    "TXT": _text,
}


def new_record(zone: str, body: Any, others: Iterable[Record]) -> Record:
    """Return the record that POST makes of `body` (its id is 0 until it is stored), or raise ApiError."""
    fields = check_body("domain.zone.RecordCreate", body)
    record = Record(
        id=0,
        zone=zone,
        fieldType=fields["fieldType"],
        subDomain=fields.get("subDomain") or "",
        target=fields["target"],
        ttl=fields.get("ttl", 0),
    )
    return _checked(record, others)


def changed_record(record: Record, body: Any, others: Iterable[Record]) -> Record:
    """Return `record` as PUT changes it by `body`, or raise ApiError."""
    fields = check_body("domain.zone.RecordUpdate", body, record)
    given = {name: value for name, value in fields.items() if value is not None}
    return _checked(Record(**{**record, **given}), others)  # type: ignore[typeddict-item]  # names were checked above


def matches(pattern: str, value: str) -> bool:
    """Say whether a filter matches (as SQL's ILIKE: % any text, _ any character; "" only an empty value)."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), value, re.IGNORECASE) is not None


def quoted(text: str) -> str:
    """Quote a text unless it is quoted, in the pieces of 255 characters that the DNS allows."""
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text
    pieces = [text[i : i + 255] for i in range(0, len(text), 255)]
    return " ".join('"' + p.replace("\\", "\\\\").replace('"', '\\"') + '"' for p in pieces)


def _checked(record: Record, others: Iterable[Record]) -> Record:
    """Return the record as OVH stores it, or raise ApiError if it may not be."""
    record["subDomain"] = record["subDomain"].lower()
    if not _SUBDOMAIN.fullmatch(record["subDomain"]):
        raise bad_request(f"Invalid subDomain {record['subDomain']}")
    if record["fieldType"] == "DMARC" and not _DMARC.fullmatch(record["subDomain"]):
        raise bad_request(f"Invalid subDomain {record['subDomain']} for a record of type DMARC")
    if not TARGETS[record["fieldType"]](record["target"]):
        raise bad_request(f"Invalid target {record['target']} for a record of type {record['fieldType']}")
    if record["ttl"] != 0 and record["ttl"] < MIN_TTL:
        raise bad_request(f"Invalid ttl {record['ttl']}: it has to be 0 or at least {MIN_TTL}")
    # OVH has been seen to take a TXT beside a CNAME, and to serve now the one, now the other (cert-manager-webhook-ovh,
    # #47); a client of ours that asks for that is wrong.
    same_name = [o for o in others if o["subDomain"] == record["subDomain"] and o["id"] != record["id"]]
    if any("CNAME" in (o["fieldType"], record["fieldType"]) for o in same_name):
        raise business(409, "Conflict", "A CNAME record cannot stand beside other records of the same name")
    if record["fieldType"] == "TXT":
        record["target"] = quoted(record["target"])
    return record
