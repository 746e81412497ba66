"""The stand-in for OVH's API, tried with OVH's own client and with hand-made requests."""

import copy
import hashlib
import time
from pathlib import Path
from typing import Any

import ovh
import pytest
import requests
from ovh_stand_in import CONSUMER, KEY, SECRET, Api, FakePublisher

from cloud.waiting import until
from sandbox.internet.ovh_api.access import granted
from sandbox.internet.ovh_api.records import Record, matches
from sandbox.internet.ovh_api.store import Store
from sandbox.internet.ovh_api.zonefile import render


@pytest.fixture
def client(api: Api) -> Any:
    return api.client()


def deployed(client: Any) -> bool:
    """Whether the name servers came to serve what they were told; the zone's status does not wait for that."""
    task = "/domain/zone/koprogo.test/task"

    def ended() -> bool:
        return all(client.get(f"{task}/{one}")["status"] in ("done", "error") for one in client.get(task))

    return bool(until(ended, 10, 0.01)) and bool(client.get("/domain/zone/koprogo.test/status")["isDeployed"])


def create(client: Any, sub: str = "api", kind: str = "A", target: str = "192.0.2.1", **more: Any) -> Any:
    return client.post("/domain/zone/koprogo.test/record", subDomain=sub, fieldType=kind, target=target, **more)


def test_time_needs_no_credentials(api: Api) -> None:
    answer = requests.get(api.url + "/auth/time", timeout=5)
    assert abs(answer.json() - time.time()) < 2
    assert answer.headers["X-OVH-QUERYID"].startswith("EU.ext-3.")


def test_zones_are_listed_and_described(client: Any) -> None:
    assert client.get("/domain/zone") == ["koprogo.test"]
    assert client.get("/domain/zone/koprogo.test")["nameServers"] == ["ns1.sandbox.test"]


def test_a_record_is_served_only_after_refresh(api: Api, client: Any) -> None:
    before = client.get("/domain/zone/koprogo.test/soa")["serial"]
    record = create(client, ttl=300)
    assert {**record, "id": 0} == {
        "id": 0,
        "zone": "koprogo.test",
        "fieldType": "A",
        "subDomain": "api",
        "target": "192.0.2.1",
        "ttl": 300,
    }
    assert client.get(f"/domain/zone/koprogo.test/record/{record['id']}") == record
    assert api.publisher.names("koprogo.test", "api", "A") == []
    assert client.post("/domain/zone/koprogo.test/refresh") is None
    assert deployed(client)
    assert api.publisher.names("koprogo.test", "api", "A") == ["192.0.2.1"]
    assert client.get("/domain/zone/koprogo.test/soa")["serial"] == before + 1
    assert api.publisher.served["koprogo.test"][0] == before + 1
    (task,) = client.get("/domain/zone/koprogo.test/task")
    assert client.get(f"/domain/zone/koprogo.test/task/{task}")["status"] == "done"


def test_refresh_answers_204_without_a_body(api: Api, client: Any) -> None:
    answer = client.raw_call("POST", "/domain/zone/koprogo.test/refresh")
    assert (answer.status_code, answer.content) == (204, b"")


def test_update_and_delete(api: Api, client: Any) -> None:
    path = f"/domain/zone/koprogo.test/record/{create(client)['id']}"
    assert client.put(path, target="192.0.2.9") is None
    assert client.get(path)["target"] == "192.0.2.9"
    assert client.get(path)["subDomain"] == "api"
    assert client.delete(path) is None
    with pytest.raises(ovh.exceptions.ResourceNotFoundError, match="does not exist"):
        client.get(path)
    client.post("/domain/zone/koprogo.test/refresh")
    assert deployed(client)
    assert sorted(k for _, k, _ in api.publisher.served["koprogo.test"][1]) == ["A", "CNAME", "MX", "NS"]


def test_filters(client: Any) -> None:
    apex, api_, wild = (create(client, sub)["id"] for sub in ("", "api", "xapi"))

    def ids(**query: str) -> list[int]:
        return list(client.get("/domain/zone/koprogo.test/record", **query))

    mail = next(i for i in ids(fieldType="A") if i not in (apex, api_, wild))
    assert ids(fieldType="A", subDomain="") == [apex]
    assert sorted(ids(fieldType="A")) == sorted([apex, api_, wild, mail])
    assert ids(subDomain="API") == [api_]
    assert ids(subDomain="_api") == [wild]
    assert ids(subDomain="%api") == [api_, wild]
    assert len(ids()) == 7
    with pytest.raises(ovh.exceptions.BadParametersError, match="RecordTypeEnum"):
        ids(fieldType="AA")
    with pytest.raises(ovh.exceptions.BadParametersError, match=r"not described parameters: \(sub\)"):
        ids(sub="api")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"target": "192.0.2.1"}, "[fieldType] Missing"),
        ({"fieldType": "A"}, "[target] Missing"),
        ({"fieldType": "ALIAS", "target": "x"}, "RecordTypeEnum"),
        ({"fieldType": "A", "target": "192.0.2"}, "Invalid target"),
        ({"fieldType": "A", "target": "192.0.2.1", "ttl": 59}, "Invalid ttl 59"),
        ({"fieldType": "A", "target": "192.0.2.1", "ttl": "300"}, "not valid for type long"),
        ({"fieldType": "A", "target": "192.0.2.1", "ttl": True}, "not valid for type long"),
        ({"fieldType": "A", "target": "192.0.2.1", "name": "api"}, "not described parameters: (name)"),
        ({"fieldType": "A", "target": "192.0.2.1", "id": 5}, "read-only properties: id"),
        ({"fieldType": "A", "target": "192.0.2.1", "subDomain": "@"}, "Invalid subDomain"),
        ({"fieldType": "A", "target": "192.0.2.1", "subDomain": "a b"}, "Invalid subDomain"),
        ({"fieldType": "AAAA", "target": "192.0.2.1"}, "Invalid target"),
        ({"fieldType": "MX", "target": "mx1.ovh.net."}, "Invalid target"),
        ({"fieldType": "MX", "target": "65536 mx1.ovh.net."}, "Invalid target"),
        ({"fieldType": "SRV", "target": "10 5060 sip.ovh.net."}, "Invalid target"),
        ({"fieldType": "CNAME", "target": "https://ovh.net"}, "Invalid target"),
        ({"fieldType": "NS", "target": "-ns.ovh.net."}, "Invalid target"),
        ({"fieldType": "PTR", "target": "a b"}, "Invalid target"),
        ({"fieldType": "CAA", "target": "letsencrypt.org"}, "Invalid target"),
        ({"fieldType": "TXT", "target": ""}, "Invalid target"),
        ({"fieldType": "TXT", "target": "a\nb"}, "Invalid target"),
    ],
)
def test_bodies_outside_the_schema_are_refused(client: Any, body: dict[str, Any], says: str) -> None:
    with pytest.raises(ovh.exceptions.BadParametersError) as error:
        client.post("/domain/zone/koprogo.test/record", **body)
    assert says in str(error.value)
    assert error.value.query_id
    assert len(client.get("/domain/zone/koprogo.test/record")) == 4


def test_the_least_ttl_and_the_default_are_taken(client: Any) -> None:
    assert create(client, ttl=60)["ttl"] == 60
    assert create(client, ttl=0)["ttl"] == 0
    assert create(client)["ttl"] == 0


def test_identical_records_may_exist(client: Any) -> None:
    assert create(client)["id"] != create(client)["id"]


def test_a_type_cannot_be_changed(client: Any) -> None:
    path = f"/domain/zone/koprogo.test/record/{create(client)['id']}"
    with pytest.raises(ovh.exceptions.BadParametersError, match="read-only properties: fieldType"):
        client.put(path, fieldType="AAAA", target="2001:db8::1")
    assert client.get(path)["target"] == "192.0.2.1"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"target": "192.0.2"}, 400, "Invalid target"),
        ({"target": None}, 400, "[target] Given data (None) is not valid for type string"),
        ({"ttl": 59}, 400, "Invalid ttl 59"),
        ({"ttl": -1}, 400, "Invalid ttl -1"),
        ({"subDomain": "a b"}, 400, "Invalid subDomain"),
        ({"subDomain": "a.*"}, 400, "Invalid subDomain"),
        ({"subDomain": "www"}, 409, "CNAME"),
        ({"name": "x"}, 400, "not described parameters: (name)"),
        ({"zone": "other.test"}, 400, "read-only properties: zone"),
    ],
)
def test_a_change_outside_the_rules_is_refused(client: Any, body: dict[str, Any], status: int, says: str) -> None:
    path = f"/domain/zone/koprogo.test/record/{create(client, ttl=300)['id']}"
    before = client.get(path)
    answer = client.raw_call("PUT", path, body)
    assert (answer.status_code, says in answer.json()["message"]) == (status, True), answer.text
    assert client.get(path) == before


def test_a_change_leaves_what_is_null_or_not_there(client: Any) -> None:
    before = create(client, ttl=300)
    path = f"/domain/zone/koprogo.test/record/{before['id']}"
    client.put(path, subDomain=None, ttl=None, target="192.0.2.9")
    assert client.get(path) == before | {"target": "192.0.2.9"}
    client.put(path, subDomain="New.API", ttl=0)
    assert client.get(path) == before | {"target": "192.0.2.9", "subDomain": "new.api", "ttl": 0}


def test_a_cname_is_not_in_its_own_way(client: Any) -> None:
    (www,) = client.get("/domain/zone/koprogo.test/record", subDomain="www")
    client.put(f"/domain/zone/koprogo.test/record/{www}", target="elsewhere.test.")
    assert client.get(f"/domain/zone/koprogo.test/record/{www}")["target"] == "elsewhere.test."


@pytest.mark.parametrize(("sub", "kind", "target"), [("www", "A", "192.0.2.1"), ("mail", "CNAME", "x.test.")])
def test_a_cname_stands_alone(client: Any, sub: str, kind: str, target: str) -> None:
    with pytest.raises(ovh.exceptions.ResourceConflictError, match="CNAME"):
        create(client, sub, kind, target)


@pytest.mark.parametrize(
    ("keys", "kind", "status", "code"),
    [
        ({"key": "nobody"}, ovh.exceptions.InvalidKey, 403, "INVALID_KEY"),
        ({"consumer": "nobody"}, ovh.exceptions.NotCredential, 403, "NOT_CREDENTIAL"),
        ({"key": "otherkey", "secret": "othersecret"}, ovh.exceptions.NotCredential, 403, "NOT_CREDENTIAL"),
        ({"secret": "wrong"}, ovh.exceptions.BadParametersError, 400, "INVALID_SIGNATURE"),
        ({"consumer": "pending"}, ovh.exceptions.InvalidCredential, 403, "INVALID_CREDENTIAL"),
        ({"consumer": "readonly"}, ovh.exceptions.NotGrantedCall, 403, "NOT_GRANTED_CALL"),
    ],
)
def test_credentials_are_checked(api: Api, keys: dict[str, str], kind: type[Exception], status: int, code: str) -> None:
    with pytest.raises(kind) as error:
        create(api.client(**keys))
    response = error.value.response  # type: ignore[attr-defined]  # every class of python-ovh has it
    assert (response.status_code, response.json()["errorCode"]) == (status, code)
    assert len(api.store.zone("koprogo.test")["records"]) == 4


def test_a_call_without_a_consumer_key_has_to_log_in(api: Api) -> None:
    answer = requests.get(api.url + "/domain/zone", headers={"X-Ovh-Application": KEY}, timeout=5)
    assert (answer.status_code, answer.json()["message"]) == (401, "You must login first")


@pytest.mark.parametrize("skew", [60, -60])
def test_the_timestamp_has_to_be_near(api: Api, client: Any, skew: int) -> None:
    client.get("/domain/zone")  # the client has measured its difference from the server's clock
    api.ahead = skew
    with pytest.raises(ovh.exceptions.BadParametersError, match="Query out of time"):
        client.get("/domain/zone")


@pytest.mark.parametrize("skew", [20, -20])
def test_a_clock_need_not_be_exact(api: Api, client: Any, skew: int) -> None:
    client.get("/domain/zone")
    api.ahead = skew
    assert client.get("/domain/zone") == ["koprogo.test"]


def signed(api: Api, path: str, **other: str) -> dict[str, str]:
    """The headers of a GET, as OVH's guide describes them; `other` in the place of those."""
    now = str(int(time.time()))
    text = "+".join((SECRET, CONSUMER, "GET", api.url + path, "", now))
    signature = "$1$" + hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 (OVH's protocol)
    right = {"Application": KEY, "Consumer": CONSUMER, "Timestamp": now, "Signature": signature}
    return {f"X-Ovh-{name}": value for name, value in (right | other).items() if value}


def test_a_call_that_is_signed_by_hand(api: Api) -> None:
    answer = requests.get(f"{api.url}/domain/zone", headers=signed(api, "/domain/zone"), timeout=5)
    assert answer.json() == ["koprogo.test"]


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ({"Application": ""}, 403, "INVALID_KEY"),
        ({"Timestamp": ""}, 400, "QUERY_TIME_OUT"),
        ({"Timestamp": "soon"}, 400, "QUERY_TIME_OUT"),
        ({"Signature": ""}, 400, "INVALID_SIGNATURE"),
        ({"Signature": "$1$" + 40 * "0"}, 400, "INVALID_SIGNATURE"),
    ],
)
def test_no_header_may_be_missing_or_wrong(api: Api, other: dict[str, str], status: int, code: str) -> None:
    answer = requests.get(f"{api.url}/domain/zone", headers=signed(api, "/domain/zone", **other), timeout=5)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)


def test_rules_of_the_zone_do_not_cover_the_list(api: Api) -> None:
    readonly = api.client(consumer="readonly")
    assert len(readonly.get("/domain/zone/koprogo.test/record")) == 4
    with pytest.raises(ovh.exceptions.NotGrantedCall):
        readonly.get("/domain/zone")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/domain/zone", False), ("/domain/zone/z/record", True), ("/domain/zone/z/record/5", True), ("/me", False)],
)
def test_granted(path: str, allowed: bool) -> None:
    assert granted((("GET", "/domain/zone/*"),), "GET", path) is allowed
    assert granted((("GET", "/domain/zone/*"),), "POST", path) is False


def test_unknown_zone_record_and_path(client: Any) -> None:
    with pytest.raises(ovh.exceptions.ResourceNotFoundError, match="This service does not exist"):
        client.get("/domain/zone/other.test")
    with pytest.raises(ovh.exceptions.ResourceNotFoundError, match=r"object \(id = 7\) does not exist"):
        client.delete("/domain/zone/koprogo.test/record/7")
    with pytest.raises(ovh.exceptions.ResourceNotFoundError, match="invalid"):
        client.get("/domain/nothing")


def test_both_base_paths_answer(api: Api, client: Any) -> None:
    assert client.get("/v1/domain/zone") == ["koprogo.test"]
    assert requests.get(api.url.removesuffix("/1.0") + "/auth/time", timeout=5).status_code == 404


def test_a_zone_that_servers_refuse_is_not_deployed(api: Api, client: Any) -> None:
    api.publisher.refuses = "line 3: no"
    create(client)
    client.post("/domain/zone/koprogo.test/refresh")
    assert not deployed(client)
    status = client.get("/domain/zone/koprogo.test/status")
    assert status == {"isDeployed": False, "errors": ["line 3: no"], "warnings": None}


def test_the_store_survives_a_restart(api: Api, client: Any, tmp_path: Path) -> None:
    create(client, "served")
    client.post("/domain/zone/koprogo.test/refresh")
    assert deployed(client)
    create(client, "waiting")
    again, publisher = tmp_path / "store.json", FakePublisher()
    store = Store(again, publisher)
    store.add_zone("koprogo.test", [])
    store.deploy_all()
    subs = [r["subDomain"] for r in store.zone("koprogo.test")["records"]]
    assert subs == ["", "", "mail", "www", "served", "waiting"]
    assert publisher.names("koprogo.test", "served", "A") == ["192.0.2.1"]
    assert publisher.names("koprogo.test", "waiting", "A") == []


def test_ids_are_unique_across_a_restart(api: Api, client: Any, tmp_path: Path) -> None:
    first = create(client)["id"]
    store = Store(tmp_path / "store.json", FakePublisher())
    assert store.create("koprogo.test", lambda rows: copy.copy(rows[-1]))["id"] == first + 1


@pytest.mark.parametrize(
    ("pattern", "value", "result"),
    [("", "", True), ("", "a", False), ("a", "ab", False), ("a%", "ab", True), ("a.c", "abc", False)],
)
def test_matches(pattern: str, value: str, result: bool) -> None:
    assert matches(pattern, value) is result


def test_zone_file() -> None:
    rows = [
        Record(id=1, zone="z.test", fieldType="A", subDomain="", target="192.0.2.1", ttl=0),
        Record(id=2, zone="z.test", fieldType="SPF", subDomain="m", target='v=spf1 "x"', ttl=60),
        Record(id=3, zone="z.test", fieldType="TXT", subDomain="t", target='"a" "b"', ttl=0),
    ]
    assert render("z.test", 2026010100, rows, "ns1.sandbox.test") == (
        "$ORIGIN z.test.\n"
        "$TTL 3600\n"
        "@ IN SOA ns1.sandbox.test. tech.z.test. 2026010100 86400 3600 3600000 60\n"
        "@  IN A 192.0.2.1\n"
        'm 60 IN TXT "v=spf1 \\"x\\""\n'
        't  IN TXT "a" "b"\n'
    )


def test_the_catalogue_needs_no_credentials_and_has_the_form_of_the_original(api: Api) -> None:
    answer = requests.get(f"{api.url}/order/catalog/public/cloud", {"ovhSubsidiary": "FR"}, timeout=5).json()
    assert sorted(answer) == ["addons", "catalogId", "locale", "planFamilies", "plans", "products"]
    assert answer["locale"] == {"currencyCode": "EUR", "subsidiary": "FR", "taxRate": 20}
    (d2_2,) = (addon for addon in answer["addons"] if addon["planCode"] == "d2-2.consumption")
    assert (d2_2["product"], d2_2["invoiceName"]) == ("publiccloud-instance", "d2-2")
    assert d2_2["pricings"] == [
        {
            "phase": 0,
            "capacities": ["consumption"],
            "commitment": 0,
            "description": "hourly prices",
            "interval": 1,
            "intervalUnit": "hour",
            "quantity": {"min": 1, "max": None},
            "repeat": {"min": 1, "max": None},
            "price": 1040000,
            "formattedPrice": "0.01 €",
            "tax": 208000,
            "mode": "default",
            "strategy": "tiered",
            "mustBeCompleted": False,
            "type": "consumption",
            "promotions": [],
            "engagementConfiguration": None,
        }
    ]
    assert d2_2["blobs"]["technical"]["memory"] == {"size": 2}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({}, "[ovhSubsidiary] Missing required parameter"),
        ({"ovhSubsidiary": "EU"}, "invalid ovhSubsidiary"),
        ({"ovhSubsidiary": "fr"}, "invalid ovhSubsidiary"),
        ({"ovhSubsidiary": "FR", "region": "GRA"}, "Received not described parameters: (region) while calling the API"),
    ],
)
def test_a_catalogue_of_no_subsidiary_is_refused(api: Api, query: dict[str, str], says: str) -> None:
    answer = requests.get(f"{api.url}/order/catalog/public/cloud", query, timeout=5)
    assert answer.status_code == 400
    assert answer.json() == {"class": "Client::BadRequest", "message": says}


def test_the_list_of_zones_may_be_asked_for_with_a_slash(api: Api) -> None:
    assert api.client().get("/domain/zone/") == ["koprogo.test"]


def test_a_zone_that_is_being_sent_to_its_servers_is_deployed_nevertheless(api: Api, client: Any) -> None:
    api.store.deploy_seconds = 60
    create(client)
    client.post("/domain/zone/koprogo.test/refresh")
    assert client.get("/domain/zone/koprogo.test/task?status=doing") != []
    status = client.get("/domain/zone/koprogo.test/status")
    assert status == {"isDeployed": True, "errors": None, "warnings": None}
