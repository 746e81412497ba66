"""What a record may be: the fields that a call takes, the types, what each type's target looks like."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from .errors import ApiError, bad_request, business

MIN_TTL = 60  # seconds; 0 stands for the zone's default


class Record(TypedDict):
    """A record as the API shows it; the apex has the subDomain ""."""

    id: int
    zone: str
    fieldType: str
    subDomain: str
    target: str
    ttl: int


# Field of a body -> its JSON type. The schema calls these domain.zone.Record's writable properties.
CREATE_FIELDS: dict[str, type] = {"fieldType": str, "subDomain": str, "target": str, "ttl": int}
UPDATE_FIELDS: dict[str, type] = {"subDomain": str, "target": str, "ttl": int}
REQUIRED_FIELDS = ("fieldType", "target")
READ_ONLY_FIELDS = ("fieldType", "id", "zone")

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(@|{_LABEL}(\.{_LABEL})*\.?)", re.IGNORECASE)
_SUBDOMAIN = re.compile(rf"(\*|(\*\.)?{_LABEL}(\.{_LABEL})*)?", re.IGNORECASE)


def _ipv4(target: str) -> bool:
    return _parses(ipaddress.IPv4Address, target)


def _ipv6(target: str) -> bool:
    return _parses(ipaddress.IPv6Address, target)


def _parses(kind: Callable[[str], object], target: str) -> bool:
    try:
        kind(target)
    except ValueError:
        return False
    return True


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


# fieldType -> what its target has to look like (zone.NamedResolutionFieldTypeEnum).
FIELD_TYPES: dict[str, Callable[[str], bool]] = {
    "A": _ipv4,
    "AAAA": _ipv6,
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
    fields = _checked_fields(body, CREATE_FIELDS)
    for name in REQUIRED_FIELDS:
        if fields.get(name) is None:
            raise bad_request(f"[{name}] Missing required parameter")
    if fields["fieldType"] not in FIELD_TYPES:
        raise not_a_type(fields["fieldType"])
    record = Record(
        id=0,
        zone=zone,
        fieldType=fields["fieldType"],
        subDomain=(fields.get("subDomain") or "").lower(),
        target=fields["target"],
        ttl=fields.get("ttl") or 0,
    )
    _check(record, others)
    return record


def changed_record(record: Record, body: Any, others: Iterable[Record]) -> Record:
    """Return `record` as PUT changes it by `body`, or raise ApiError."""
    for name in READ_ONLY_FIELDS:
        if isinstance(body, Mapping) and name in body and body[name] != record.get(name):
            raise bad_request(f"Try to alter read-only properties: {name}")
    if isinstance(body, Mapping):
        body = {name: value for name, value in body.items() if name not in READ_ONLY_FIELDS}
    fields = {n: v for n, v in _checked_fields(body, UPDATE_FIELDS).items() if v is not None}
    changed = Record(**{**record, **fields})  # type: ignore[typeddict-item]  # names were checked above
    changed["subDomain"] = changed["subDomain"].lower()
    _check(changed, others)
    return changed


def not_a_type(value: str) -> ApiError:
    """Return the error for a fieldType that does not exist."""
    return bad_request(f"[fieldType] Given data ({value}) does not belong to the NamedTypeEnum enumeration")


def matches(pattern: str, value: str) -> bool:
    """Say whether a filter matches (as SQL's ILIKE: % any text, _ any character; "" only an empty value)."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), value, re.IGNORECASE) is not None


def _checked_fields(body: Any, allowed: dict[str, type]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad_request("The body has to be a JSON object")
    unknown = sorted(set(body) - set(allowed))
    if unknown:
        raise bad_request(f"Received not described parameters: ({', '.join(unknown)}) while calling the API")
    for name, value in body.items():
        # bool is an int for Python, not for JSON.
        if value is not None and (not isinstance(value, allowed[name]) or isinstance(value, bool)):
            kind = "long" if allowed[name] is int else "string"
            raise bad_request(f"[{name}] Given data ({value}) is not valid for type {kind}")
    return body


def _check(record: Record, others: Iterable[Record]) -> None:
    if not _SUBDOMAIN.fullmatch(record["subDomain"]):
        raise bad_request(f"Invalid subDomain {record['subDomain']}")
    if not FIELD_TYPES[record["fieldType"]](record["target"]):
        raise bad_request(f"Invalid target {record['target']} for a record of type {record['fieldType']}")
    if record["ttl"] != 0 and record["ttl"] < MIN_TTL:
        raise bad_request(f"Invalid ttl {record['ttl']}: it has to be 0 or at least {MIN_TTL}")
    same_name = [o for o in others if o["subDomain"] == record["subDomain"] and o["id"] != record["id"]]
    if any("CNAME" in (o["fieldType"], record["fieldType"]) for o in same_name):
        raise business(409, "Conflict", "A CNAME record cannot stand beside other records of the same name")
