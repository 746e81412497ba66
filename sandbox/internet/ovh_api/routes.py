"""The calls that exist, in a table: method, path, who may make it, IAM's action, the query's parameters, handler."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import auth, catalogue, extras, zones
from .access import Need, Request, Who, require
from .accounts import Account
from .answers import NO_CONTENT, Answer, json_answer
from .context import Context
from .errors import ApiError, bad_request, business
from .schema import check_query
from .store import Store


def _catalogue(call: Context) -> dict[str, Any]:
    subsidiary = call.filter("ovhSubsidiary")
    if subsidiary is None:
        raise bad_request("[ovhSubsidiary] Missing required parameter")
    return catalogue.public_cloud(subsidiary)


class Route(NamedTuple):
    """One call. `action` is what IAM knows it by, after "dnsZone:apiovh:"; `query` parameters with their types."""

    method: str
    path: str
    who: Who
    action: str
    handler: Callable[[Context], Any]
    query: Mapping[str, str] = {}


_Z = "/domain/zone/{zone}"
_SUB = {"subDomain": "string"}
_RECORDS = {"fieldType": "domain.zone.RecordTypeEnum", "subDomain": "string"}
_TASKS = {"function": "domain.TaskFunctionEnum", "status": "domain.TaskStatusEnum"}
_SALES = {"ovhSubsidiary": "string", "productName": "string"}

ROUTES = [
    Route("GET", "/auth/time", Who.ANYBODY, "", auth.time),
    Route("POST", "/auth/credential", Who.APPLICATION, "", auth.request_credential),
    Route("GET", "/auth/currentCredential", Who.CUSTOMER, "", auth.current_credential),
    Route("POST", "/auth/logout", Who.CUSTOMER, "", auth.logout),
    Route("GET", "/order/catalog/public/cloud", Who.ANYBODY, "", _catalogue, _SALES),
    # OVH takes this one with a slash behind it too, and Lexicon has one there.
    Route("GET", "/domain/zone/?", Who.GRANTED, "get", zones.list_zones, {"iamTags": "string"}),
    Route("GET", _Z, Who.GRANTED, "get", zones.show_zone),
    Route("GET", _Z + "/dynHost/record", Who.GRANTED, "dynHost/record/get", extras.list_dynhosts, _SUB),
    Route("POST", _Z + "/dynHost/record", Who.GRANTED, "dynHost/record/create", extras.create_dynhost),
    Route("GET", _Z + "/dynHost/record/{id}", Who.GRANTED, "dynHost/record/get", extras.show_dynhost),
    Route("PUT", _Z + "/dynHost/record/{id}", Who.GRANTED, "dynHost/record/edit", extras.update_dynhost),
    Route("DELETE", _Z + "/dynHost/record/{id}", Who.GRANTED, "dynHost/record/delete", extras.delete_dynhost),
    Route("GET", _Z + "/export", Who.GRANTED, "export/get", zones.export),
    Route("POST", _Z + "/import", Who.GRANTED, "import", zones.import_zone),
    Route("GET", _Z + "/record", Who.GRANTED, "record/get", zones.list_records, _RECORDS),
    Route("POST", _Z + "/record", Who.GRANTED, "record/create", zones.create_record),
    Route("GET", _Z + "/record/{id}", Who.GRANTED, "record/get", zones.show_record),
    Route("PUT", _Z + "/record/{id}", Who.GRANTED, "record/edit", zones.update_record),
    Route("DELETE", _Z + "/record/{id}", Who.GRANTED, "record/delete", zones.delete_record),
    Route("GET", _Z + "/redirection", Who.GRANTED, "redirection/get", extras.list_redirections, _SUB),
    Route("POST", _Z + "/redirection", Who.GRANTED, "redirection/create", extras.create_redirection),
    Route("GET", _Z + "/redirection/{id}", Who.GRANTED, "redirection/get", extras.show_redirection),
    Route("PUT", _Z + "/redirection/{id}", Who.GRANTED, "redirection/edit", extras.update_redirection),
    Route("DELETE", _Z + "/redirection/{id}", Who.GRANTED, "redirection/delete", extras.delete_redirection),
    Route("POST", _Z + "/refresh", Who.GRANTED, "refresh", zones.refresh),
    Route("GET", _Z + "/soa", Who.GRANTED, "soa/get", zones.soa),
    Route("GET", _Z + "/status", Who.GRANTED, "status/get", zones.status),
    Route("GET", _Z + "/task", Who.GRANTED, "task/get", zones.list_tasks, _TASKS),
    Route("GET", _Z + "/task/{id}", Who.GRANTED, "task/get", zones.show_task),
]


def handle(account: Account, store: Store, request: Request, now: float) -> Answer:
    """Return the answer to a request for the API."""
    try:
        data = _call(account, store, request, now)
    except ApiError as error:
        return json_answer(error.status, error.body)
    return Answer(204) if data is NO_CONTENT else json_answer(200, data)


def _call(account: Account, store: Store, request: Request, now: float) -> Any:
    route, parts = _find(request)
    need = Need(route.who, f"dnsZone:apiovh:{route.action}", parts.get("zone"))
    caller = require(account, request, need, now)
    check_query(request.query, route.query)
    return route.handler(Context(store, account, request, now, caller, parts))


def _find(request: Request) -> tuple[Route, dict[str, str]]:
    """Return the call that is asked for and the parts of its path."""
    there = [(route, found.groupdict()) for route in ROUTES if (found := _pattern(route.path).fullmatch(request.path))]
    for route, parts in there:
        if route.method == request.method:
            return route, parts
    if there:
        raise business(405, "MethodNotAllowed", f"{request.method} is not implemented for this path")
    raise business(404, "NotFound", "Got an invalid (or empty) URL")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path))
