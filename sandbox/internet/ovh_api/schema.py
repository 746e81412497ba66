"""What calls take, as OVH publishes it (https://eu.api.ovh.com/1.0/domain.json and /auth.json), and the check of it.

The names of models, enumerations and types are OVH's own.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .errors import bad_request


class Field(NamedTuple):
    """A property of a body. `read_only`: shown, and refused when a call sets it to something else."""

    type: str
    required: bool = False
    nullable: bool = False
    read_only: bool = False


MODELS: dict[str, dict[str, Field]] = {
    "auth.ApiCredentialRequestParams": {
        "accessRules": Field("auth.AccessRuleRequest[]", required=True),
        "redirection": Field("string", nullable=True),
        "allowedIPs": Field("ipBlock[]", nullable=True),
    },
    # Published as not required, which would leave a rule without meaning.
    "auth.AccessRuleRequest": {
        "method": Field("auth.HTTPMethodEnum", required=True),
        "path": Field("string", required=True),
    },
    "domain.zone.RecordCreate": {
        "fieldType": Field("domain.zone.RecordTypeEnum", required=True),
        "id": Field("long", read_only=True),
        "subDomain": Field("string", nullable=True),
        "target": Field("string", required=True),
        "ttl": Field("long"),
        "zone": Field("string", read_only=True),
    },
    # fieldType, id and zone are not published here; clients that send them are told that they are read-only.
    "domain.zone.RecordUpdate": {
        "fieldType": Field("domain.zone.RecordTypeEnum", read_only=True),
        "id": Field("long", read_only=True),
        "subDomain": Field("string", nullable=True),
        "target": Field("string"),
        "ttl": Field("long", nullable=True),
        "zone": Field("string", read_only=True),
    },
    "domain.zone.RedirectionCreate": {
        "description": Field("string", nullable=True),
        "keywords": Field("string", nullable=True),
        "subDomain": Field("string"),
        "target": Field("string", required=True),
        "title": Field("string", nullable=True),
        "type": Field("domain.zone.RedirectionTypeEnum", required=True),
    },
    "domain.zone.RedirectionUpdate": {
        "description": Field("string", nullable=True),
        "keywords": Field("string", nullable=True),
        "target": Field("string"),
        "title": Field("string", nullable=True),
        "type": Field("domain.zone.RedirectionTypeEnum"),
    },
    "domain.zone.dynHost.Record": {
        "id": Field("long", read_only=True),
        "ip": Field("ip"),
        "subDomain": Field("string", nullable=True),
        "ttl": Field("long", nullable=True, read_only=True),
        "zone": Field("string", read_only=True),
    },
    "domain.zone.Import": {"zoneFile": Field("string", required=True)},
    # Of a POST for which no body is published.
    "void": {},
}

ENUMS: dict[str, tuple[str, ...]] = {
    "auth.HTTPMethodEnum": ("DELETE", "GET", "POST", "PUT"),
    "domain.TaskFunctionEnum": (
        *("DnsAnycastActivate", "DnsAnycastDeactivate", "DnssecDisable", "DnssecEnable", "DnssecResigning"),
        *("DnssecRollKsk", "DnssecRollZsk", "ZoneCheck", "ZoneCreate", "ZoneCut", "ZoneDelete", "ZoneImport"),
        *("ZoneRefresh", "ZoneRestore"),
    ),
    "domain.TaskStatusEnum": ("cancelled", "doing", "done", "error", "problem", "todo"),
    "domain.zone.RecordTypeEnum": (
        *("A", "AAAA", "CAA", "CNAME", "DKIM", "DMARC", "DNAME", "HTTPS", "LOC", "MX", "NAPTR", "NS", "PTR", "RP"),
        *("SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"),
    ),
    "domain.zone.RedirectionTypeEnum": ("invisible", "visible", "visiblePermanent"),
}


def _parses(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return isinstance(value, str) and "%" not in value  # for Python, an address may name an interface behind it

    return check


is_ipv4 = _parses(ipaddress.IPv4Address)
is_ipv6 = _parses(ipaddress.IPv6Address)

TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    # bool is an int for Python, not for JSON.
    "long": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "ip": lambda value: is_ipv4(value) or is_ipv6(value),
    "ipBlock": _parses(ipaddress.ip_network),
}


def check_body(model: str, body: Any, old: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the writable properties of `body`, or raise ApiError with the first thing that the model forbids.

    `old` is the object that a PUT changes: read-only properties may be sent as they are.
    """
    fields = MODELS[model]
    if not isinstance(body, dict):
        raise bad_request("The body has to be a JSON object")
    refuse_unknown(body, fields)
    altered = [
        name for name in fields if fields[name].read_only and name in body and body[name] != (old or {}).get(name)
    ]
    if altered:
        raise bad_request(f"Try to alter read-only properties: {', '.join(altered)}")
    for name, field in fields.items():
        if field.required and body.get(name) is None:
            raise bad_request(f"[{name}] Missing required parameter")
        if name in body and not (body[name] is None and field.nullable):
            check_type(name, field.type, body[name])
    return {name: value for name, value in body.items() if not fields[name].read_only}


def check_query(query: Mapping[str, str], parameters: Mapping[str, str]) -> None:
    """Raise ApiError unless the query has only these parameters (name -> type), each a value of its type."""
    refuse_unknown(query, parameters)
    for name, value in query.items():
        check_type(name, parameters[name], value)


def refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise ApiError if a name is not known."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise bad_request(f"Received not described parameters: ({', '.join(unknown)}) while calling the API")


def check_type(name: str, kind: str, value: Any) -> None:
    """Raise ApiError unless `value` is of the published type."""
    if kind.endswith("[]"):
        if not isinstance(value, list):
            raise bad_request(f"[{name}] Given data ({value}) is not valid for type {kind}")
        for position, item in enumerate(value):
            check_type(f"{name}[{position}]", kind.removesuffix("[]"), item)
    elif kind in MODELS:
        check_body(kind, value)
    elif kind in ENUMS:
        if value not in ENUMS[kind]:
            short = kind.rpartition(".")[2]
            raise bad_request(f"[{name}] Given data ({value}) does not belong to the {short} enumeration")
    elif not TYPES[kind](value):
        raise bad_request(f"[{name}] Given data ({value}) is not valid for type {kind}")
