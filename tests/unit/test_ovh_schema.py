"""The tables of the stand-in for OVH's API: which calls exist, what they take, who may make them."""

from typing import Any

import pytest
import requests
from ovh_stand_in import Api

from sandbox.internet.ovh_api.access import Who
from sandbox.internet.ovh_api.errors import ApiError
from sandbox.internet.ovh_api.records import TARGETS
from sandbox.internet.ovh_api.routes import ROUTES
from sandbox.internet.ovh_api.schema import ENUMS, MODELS, TYPES, check_body

ZONE = "/domain/zone/koprogo.test"


def test_every_type_in_the_tables_is_defined() -> None:
    used = {field.type for model in MODELS.values() for field in model.values()}
    used |= {kind for route in ROUTES for kind in route.query.values()}
    assert {kind.removesuffix("[]") for kind in used} <= set(MODELS) | set(ENUMS) | set(TYPES)
    assert set(TARGETS) == set(ENUMS["domain.zone.RecordTypeEnum"])


def test_only_the_published_calls_are_open() -> None:
    closed = {(r.method, r.path) for r in ROUTES if r.who is Who.GRANTED}
    assert {(r.method, r.path) for r in ROUTES} - closed == {
        ("GET", "/auth/time"),
        ("POST", "/auth/credential"),
        ("GET", "/auth/currentCredential"),
        ("POST", "/auth/logout"),
        ("GET", "/order/catalog/public/cloud"),
    }
    assert all(path.startswith("/domain/zone") for _, path in closed)
    assert all(route.action for route in ROUTES if route.who is Who.GRANTED)


@pytest.mark.parametrize(
    ("call", "body", "status", "says"),
    [
        ("GET /domain/zone?name=x", None, 400, "not described parameters: (name)"),
        (f"GET {ZONE}/soa?x=", None, 400, "not described parameters: (x)"),
        (f"GET {ZONE}/record?fieldType=", None, 400, "does not belong to the RecordTypeEnum enumeration"),
        (f"GET {ZONE}/record?fieldType=a", None, 400, "[fieldType] Given data (a) does not belong to the Record"),
        (f"GET {ZONE}/record?fieldType=A%25", None, 400, "[fieldType] Given data (A%) does not belong to the Record"),
        (f"POST {ZONE}/refresh", {"force": True}, 400, "not described parameters: (force)"),
        ("POST /auth/logout", {"all": True}, 400, "not described parameters: (all)"),
        (
            f"POST {ZONE}/record",
            {"fieldType": "AAAA", "target": "fe80::1%eth0"},
            400,
            "Invalid target fe80::1%eth0 for a record of type AAAA",
        ),
        (f"GET {ZONE}/task?status=ready", None, 400, "does not belong to the TaskStatusEnum enumeration"),
        (f"GET {ZONE}/task?function=DnsZoneRefresh", None, 400, "does not belong to the TaskFunctionEnum"),
        (f"GET {ZONE}/record/abc", None, 400, "[id] Given data (abc) is not valid for type long"),
        (f"GET {ZONE}/record/", None, 404, "Got an invalid (or empty) URL"),
        (f"DELETE {ZONE}", None, 405, "DELETE is not implemented for this path"),
        (f"PATCH {ZONE}/record/5", {}, 405, "PATCH is not implemented for this path"),
        (f"POST {ZONE}/record", [], 400, "The body has to be a JSON object"),
        (f"POST {ZONE}/redirection", {"target": "https://x.test"}, 400, "[type] Missing required parameter"),
        (
            f"POST {ZONE}/redirection",
            {"target": "https://x.test", "type": "301"},
            400,
            "does not belong to the RedirectionTypeEnum enumeration",
        ),
        (
            f"POST {ZONE}/redirection",
            {"target": "https://x.test", "type": "visible", "subDomain": None},
            400,
            "[subDomain] Given data (None) is not valid for type string",
        ),
        (
            f"POST {ZONE}/dynHost/record",
            {"ip": "192.0.2"},
            400,
            "[ip] Given data (192.0.2) is not valid for type ip",
        ),
        (f"POST {ZONE}/import", {}, 400, "[zoneFile] Missing required parameter"),
        (f"POST {ZONE}/record", {"fieldType": "A", "target": 5}, 400, "[target] Given data (5) is not valid"),
        (
            f"POST {ZONE}/record",
            {"fieldType": "A", "target": "192.0.2.1", "ttl": None},
            400,
            "[ttl] Given data (None) is not valid for type long",
        ),
        (
            f"POST {ZONE}/record",
            {"fieldType": "A", "target": "192.0.2.1", "ttl": 300.0},
            400,
            "[ttl] Given data (300.0) is not valid for type long",
        ),
        (
            f"POST {ZONE}/record",
            {"fieldType": "DMARC", "target": "v=DMARC1", "subDomain": "mail"},
            400,
            "Invalid subDomain mail for a record of type DMARC",
        ),
    ],
)
def test_calls_outside_the_schema_are_refused(api: Api, call: str, body: Any, status: int, says: str) -> None:
    answer = api.client().raw_call(*call.split(), body)
    assert answer.status_code == status
    assert says in answer.json()["message"]
    assert api.history == []


def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    answer = requests.post(api.url + "/auth/credential", "{", headers={"X-Ovh-Application": "otherkey"}, timeout=5)
    assert (answer.status_code, answer.json()["message"]) == (400, "Unable to parse the JSON of the body")


def test_rights_are_looked_at_before_parameters(api: Api) -> None:
    answer = api.client(consumer="readonly").raw_call("POST", f"{ZONE}/record", {"nonsense": 1})
    assert answer.json()["errorCode"] == "NOT_GRANTED_CALL"


def test_every_answer_has_a_query_id_of_its_own(api: Api) -> None:
    origin = api.url.removesuffix("/1.0")
    ids = [
        requests.request(method, origin + path, timeout=5).headers["X-OVH-QUERYID"]
        for method, path in (
            *(("GET", "/1.0/auth/time"), ("GET", "/v1/auth/time"), ("GET", "/1.0/domain/zone"), ("GET", "/nothing")),
            *(("BREW", "/1.0/auth/time"), ("PATCH", "/1.0/auth/time")),
        )
    ]
    assert len(set(ids)) == 6


def test_both_bases_are_signed_as_they_are_written(api: Api) -> None:
    answer = api.client().raw_call("GET", "/v1/domain/zone/koprogo.test/record?subDomain=a%2Fb")
    assert (answer.status_code, answer.json()) == (200, [])
    assert api.calls[-1] == ("GET", "/domain/zone/koprogo.test/record?subDomain=a%2Fb", 200)


def test_a_text_is_stored_in_quotes_and_one_in_quotes_as_it_is(api: Api) -> None:
    client = api.client()

    def stored(kind: str, target: str) -> str:
        made = client.post(f"{ZONE}/record", fieldType=kind, subDomain="t", target=target)
        assert isinstance(made["target"], str)
        return made["target"]

    assert stored("TXT", 'a "b" c') == '"a \\"b\\" c"'
    assert stored("TXT", '"a" "b"') == '"a" "b"'
    assert stored("TXT", "x" * 256) == '"' + "x" * 255 + '" "x"'
    assert stored("SPF", "v=spf1 -all") == "v=spf1 -all"


def test_read_only_properties_may_be_sent_back_as_they_are() -> None:
    old = {"id": 5, "fieldType": "A", "zone": "z"}
    assert check_body("domain.zone.RecordUpdate", {"id": 5, "fieldType": "A", "ttl": 60}, old) == {"ttl": 60}
    with pytest.raises(ApiError, match="read-only properties: id, zone"):
        check_body("domain.zone.RecordUpdate", {"id": 6, "zone": "y"}, old)
