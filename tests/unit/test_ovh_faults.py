"""Trouble on demand, as a client meets it."""

from typing import Any

import ovh
import pytest
import requests
from ovh_stand_in import Api

ZONE = "/domain/zone/koprogo.test"


@pytest.fixture
def client(api: Api) -> Any:
    return api.client()


def create(client: Any, sub: str = "api") -> Any:
    return client.post(f"{ZONE}/record", subDomain=sub, fieldType="A", target="192.0.2.1")


def subs(api: Api) -> list[str]:
    return [r["subDomain"] for r in api.store.zone("koprogo.test")["records"]]


def test_without_a_rule_nothing_goes_wrong_and_every_call_is_in_the_log(api: Api, client: Any) -> None:
    client.get(f"{ZONE}/record", subDomain="", fieldType="A")
    with pytest.raises(ovh.exceptions.ResourceNotFoundError):
        client.get(f"{ZONE}/record/7")
    assert api.calls == [
        ("GET", "/auth/time", 200),
        ("GET", "/domain/zone/koprogo.test/record?subDomain=&fieldType=A", 200),
        ("GET", "/domain/zone/koprogo.test/record/7", 404),
    ]


def test_a_rule_hits_the_nth_call_that_it_matches_and_as_many_as_it_says(api: Api, client: Any) -> None:
    api.faults.add("503", method="GET", path=f"{ZONE}/(soa|status)", nth=2, times=2)
    statuses = [client.raw_call("GET", ZONE + p).status_code for p in ("/soa", "", "/status", "/soa", "/soa")]
    assert statuses == [200, 200, 503, 503, 200]


def test_a_path_may_name_the_query(api: Api, client: Any) -> None:
    api.faults.add("500", path=r".*/record\?subDomain=www", times=None)
    assert len(client.get(f"{ZONE}/record")) == 4
    assert len(client.get(f"{ZONE}/record", subDomain="mail")) == 1
    for _ in range(3):
        with pytest.raises(ovh.exceptions.APIError, match="Internal server error"):
            client.get(f"{ZONE}/record", subDomain="www")


@pytest.mark.parametrize(("do", "status"), [("409", 409), ("429", 429), ("500", 500), ("502", 502), ("503", 503)])
def test_refusals_are_not_carried_out_unless_the_rule_says_so(api: Api, client: Any, do: str, status: int) -> None:
    api.faults.add(do, method="POST")
    api.faults.add(do, method="POST", nth=2, done=True, value=7)
    for sub, retry_after in (("one", None), ("two", "7")):
        with pytest.raises(ovh.exceptions.APIError) as error:
            create(client, sub)
        assert error.value.response is not None
        assert (error.value.response.status_code, error.value.response.headers.get("Retry-After")) == (
            status,
            retry_after,
        )
        assert error.value.query_id.startswith("EU.ext-3.")
    assert subs(api)[4:] == ["two"]


def test_html_has_a_query_id_too(api: Api, client: Any) -> None:
    api.faults.add("html", value=408)
    answer = client.raw_call("GET", ZONE, need_auth=False)
    assert (answer.status_code, answer.headers["Content-Type"]) == (408, "text/html; charset=utf-8")
    assert answer.headers["X-OVH-QUERYID"].startswith("EU.ext-3.")
    api.faults.add("html")
    with pytest.raises(ovh.exceptions.InvalidResponse):
        client.get(ZONE)
    assert api.calls[-1].status == 502


def test_empty_and_odd_answers_come_after_the_call_was_carried_out(api: Api, client: Any) -> None:
    api.faults.add("empty", method="POST")
    api.faults.add("odd", method="POST", nth=2)
    api.faults.add("odd", method="POST", nth=3, value=["what"])
    with pytest.raises(ovh.exceptions.InvalidResponse):
        create(client, "one")
    assert create(client, "two") == {"unexpected": True}
    assert create(client, "three") == ["what"]
    assert subs(api)[4:] == ["one", "two", "three"]


@pytest.mark.parametrize(("do", "made"), [("drop", []), ("cut", ["api"])])
def test_a_connection_is_reset_before_or_after(api: Api, client: Any, do: str, made: list[str]) -> None:
    api.faults.add(do, method="POST")
    with pytest.raises(ovh.exceptions.HTTPError) as error:
        create(client)
    assert isinstance(error.value.args[1], requests.exceptions.ConnectionError)
    assert subs(api)[4:] == made
    assert api.calls[-1] == ("POST", "/domain/zone/koprogo.test/record", 0)
    assert len(client.get(f"{ZONE}/record")) == 4 + len(made)


@pytest.mark.parametrize(("done", "made"), [(False, []), (True, ["api"])])
def test_an_answer_that_takes_too_long(api: Api, client: Any, *, done: bool, made: list[str]) -> None:
    client._timeout = 0.2
    api.faults.add("delay", method="POST", value=2, done=done)
    with pytest.raises(ovh.exceptions.HTTPError):
        create(client)
    assert subs(api)[4:] == made


def test_id_0_is_only_in_the_answer(api: Api, client: Any) -> None:
    api.faults.add("id0", method="POST")
    assert create(client)["id"] == 0
    (made,) = client.get(f"{ZONE}/record", subDomain="api")
    assert client.get(f"{ZONE}/record/{made}")["target"] == "192.0.2.1"


def test_a_new_record_is_listed_before_it_can_be_read(api: Api, client: Any) -> None:
    api.faults.add("notyet", method="POST", value=2)
    made = create(client)["id"]
    assert client.get(f"{ZONE}/record", subDomain="api") == [made]
    statuses = [client.raw_call("GET", f"{ZONE}/record/{made}").status_code for _ in range(3)]
    assert statuses == [404, 404, 200]


def test_ids_change_between_the_list_and_the_reading(api: Api, client: Any) -> None:
    first = client.get(f"{ZONE}/record")
    api.faults.add("newids", path=f"{ZONE}/record/{first[0]}")
    with pytest.raises(ovh.exceptions.ResourceNotFoundError):
        client.get(f"{ZONE}/record/{first[0]}")
    second = client.get(f"{ZONE}/record")
    assert (len(second), set(first) & set(second)) == (4, set())


def test_the_clock_can_be_wrong_from_a_call_on(api: Api, client: Any) -> None:
    client.get(ZONE)
    api.faults.add("skew", path=ZONE, value=-90)
    for _ in range(2):
        with pytest.raises(ovh.exceptions.BadParametersError, match="Query out of time"):
            client.get(ZONE)
    assert api.client().get(ZONE)["name"] == "koprogo.test"  # it has measured anew


@pytest.mark.parametrize("do", ["expire", "pend"])
def test_a_consumer_key_ends_in_the_middle(api: Api, client: Any, do: str) -> None:
    api.faults.add(do, method="POST")
    assert len(client.get(f"{ZONE}/record")) == 4
    with pytest.raises(ovh.exceptions.InvalidCredential):
        create(client)
    with pytest.raises(ovh.exceptions.InvalidCredential):
        client.get(ZONE)


def test_one_right_is_taken_away(api: Api, client: Any) -> None:
    api.faults.add("revoke", method="POST", path=".*/refresh")
    create(client)
    for _ in range(2):
        with pytest.raises(ovh.exceptions.NotGrantedCall):
            client.post(f"{ZONE}/refresh")
    create(client)


def test_clear_takes_back_rules_clock_and_log(api: Api, client: Any) -> None:
    api.faults.add("skew", value=3600)
    api.faults.add("500", times=None)
    client.raw_call("GET", "/auth/time", need_auth=False)
    api.faults.clear()
    assert api.calls == []
    assert client.get(ZONE)["name"] == "koprogo.test"


@pytest.mark.parametrize(
    "rule", [{"do": "nothing"}, {"do": "500", "path": "("}, {"do": "500", "nht": 2}, {"do": "skew"}]
)
def test_a_rule_that_cannot_hit_is_refused(api: Api, rule: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        api.faults.add(**rule)


def test_every_state_of_the_zone_can_be_looked_at(api: Api, client: Any) -> None:
    made = create(client)["id"]
    client.put(f"{ZONE}/record/{made}", target="192.0.2.9")
    client.post(f"{ZONE}/refresh")
    client.delete(f"{ZONE}/record/{made}")
    seen = [[r["target"] for r in zone["records"] if r["subDomain"] == "api"] for zone in api.history]
    assert seen == [["192.0.2.1"], ["192.0.2.9"], ["192.0.2.9"], []]
    served = [[r["target"] for r in zone["served"] if r["subDomain"] == "api"] for zone in api.history]
    assert served == [[], [], ["192.0.2.9"], ["192.0.2.9"]]
