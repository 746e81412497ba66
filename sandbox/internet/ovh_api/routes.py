"""The calls that exist. A handler takes the store, the request, the time and the path's parts."""

import json
import re
from collections.abc import Callable
from typing import Any

from . import catalogue
from .access import Account, Request, require_grant
from .answers import NO_CONTENT, Answer, json_answer
from .errors import ApiError, bad_request, business
from .records import FIELD_TYPES, changed_record, matches, new_record, not_a_type
from .store import Store
from .zonefile import SOA

Handler = Callable[..., Any]


def handle(account: Account, store: Store, request: Request, now: float) -> Answer:
    """Return the answer to a request."""
    try:
        data = _handle(account, store, request, now)
    except ApiError as error:
        return json_answer(error.status, error.body)
    return Answer(204) if data is NO_CONTENT else json_answer(200, data)


def _handle(account: Account, store: Store, request: Request, now: float) -> Any:
    for method, pattern, handler, signed in ROUTES:
        found = re.fullmatch(pattern, request.path)
        if method == request.method and found:
            if signed:
                require_grant(account, request, now)
            return handler(store, request, now, **found.groupdict())
    raise business(404, "NotFound", "Got an invalid (or empty) URL")


def _time(_store: Store, _request: Request, now: float) -> int:
    return int(now)


def _zones(store: Store, _request: Request, _now: float) -> list[str]:
    return store.names()


def _zone(store: Store, _request: Request, _now: float, zone: str) -> dict[str, Any]:
    found = store.zone(zone)
    apex = [r for r in found["records"] if r["subDomain"] == ""]
    return {
        "name": zone,
        "nameServers": [r["target"].rstrip(".") for r in apex if r["fieldType"] == "NS"],
        "dnssecActivated": False,
        "dnssecSupported": True,
        "hasDnsAnycast": False,
        "lastUpdate": found["lastUpdate"],
    }


def _records(store: Store, request: Request, _now: float, zone: str) -> list[int]:
    _only(request, "fieldType", "subDomain")
    kind, name = request.query.get("fieldType"), request.query.get("subDomain")
    if kind and kind.upper() not in FIELD_TYPES and not set("%_") & set(kind):
        raise not_a_type(kind)
    return [
        r["id"]
        for r in store.zone(zone)["records"]
        if (not kind or matches(kind, r["fieldType"])) and (name is None or matches(name, r["subDomain"]))
    ]


def _create(store: Store, request: Request, _now: float, zone: str) -> Any:
    body = _json(request)
    return store.create(zone, lambda others: new_record(zone, body, others))


def _record(store: Store, _request: Request, _now: float, zone: str, record: str) -> Any:
    return store.record(zone, int(record))


def _update(store: Store, request: Request, _now: float, zone: str, record: str) -> None:
    body = _json(request)
    store.update(zone, int(record), lambda old, others: changed_record(old, body, others))


def _delete(store: Store, _request: Request, _now: float, zone: str, record: str) -> None:
    store.delete(zone, int(record))


def _refresh(store: Store, _request: Request, _now: float, zone: str) -> Any:
    store.refresh(zone)
    return NO_CONTENT


def _status(store: Store, _request: Request, _now: float, zone: str) -> dict[str, Any]:
    found = store.zone(zone)
    pending = any(task["status"] == "doing" for task in found["tasks"])
    return {"isDeployed": not pending and not found["errors"], "errors": found["errors"], "warnings": []}


def _soa(store: Store, _request: Request, _now: float, zone: str) -> dict[str, Any]:
    details = _zone(store, _request, _now, zone)
    timers = {k: v for k, v in SOA.items() if k != "retry"}
    return {
        "server": f"{(details['nameServers'] or [zone])[0]}.",
        "email": f"tech.{zone}.",
        "serial": store.zone(zone)["serial"],
        **timers,
    }


def _tasks(store: Store, request: Request, _now: float, zone: str) -> list[int]:
    _only(request, "status", "function")
    wanted = request.query.get("status")
    return [t["id"] for t in store.zone(zone)["tasks"] if not wanted or t["status"] == wanted]


def _task(store: Store, _request: Request, _now: float, zone: str, task: str) -> Any:
    for found in store.zone(zone)["tasks"]:
        if found["id"] == int(task):
            return found
    raise business(404, "NotFound", f"The requested object (id = {task}) does not exist")


def _catalogue(_store: Store, request: Request, _now: float) -> dict[str, Any]:
    _only(request, "ovhSubsidiary", "productName")
    if "ovhSubsidiary" not in request.query:
        raise bad_request("[ovhSubsidiary] Missing required parameter")
    return catalogue.public_cloud(request.query["ovhSubsidiary"])


def _only(request: Request, *names: str) -> None:
    unknown = sorted(set(request.query) - set(names))
    if unknown:
        raise bad_request(f"Received not described parameters: ({', '.join(unknown)}) while calling the API")


def _json(request: Request) -> Any:
    try:
        return json.loads(request.body or "{}")
    except ValueError:
        raise bad_request("Unable to parse the JSON of the body") from None


_Z = r"/domain/zone/(?P<zone>[^/]+)"

# Method, path, handler, whether the call has to be signed and granted.
ROUTES: list[tuple[str, str, Handler, bool]] = [
    ("GET", r"/auth/time", _time, False),
    ("GET", r"/order/catalog/public/cloud", _catalogue, False),
    ("GET", r"/domain/zone", _zones, True),
    ("GET", _Z, _zone, True),
    ("GET", _Z + r"/record", _records, True),
    ("POST", _Z + r"/record", _create, True),
    ("GET", _Z + r"/record/(?P<record>\d+)", _record, True),
    ("PUT", _Z + r"/record/(?P<record>\d+)", _update, True),
    ("DELETE", _Z + r"/record/(?P<record>\d+)", _delete, True),
    ("POST", _Z + r"/refresh", _refresh, True),
    ("GET", _Z + r"/status", _status, True),
    ("GET", _Z + r"/soa", _soa, True),
    ("GET", _Z + r"/task", _tasks, True),
    ("GET", _Z + r"/task/(?P<task>\d+)", _task, True),
]
