"""DNS records in an OVH account, against the stand-in for OVH's API."""

import pytest
from dns_account import NAMES, OURS, TTL, WANT, apply, client, put, remove, table, zones
from ovh_stand_in import CLIENT, CLIENT_SECRET, CONSUMER, KEY, SECRET, Api

from cloud.dns import served, work
from cloud.dns.account import Account
from cloud.dns.record import wanted
from cloud.dns.work import Zones
from cloud.ovh.client import Client, Keys
from cloud.trouble import CloudError

ONE = wanted(["koprogo.test"], "192.0.2.1", None)


@pytest.fixture(autouse=True)
def no_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone's servers have names that lead nowhere here."""
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: {})
    monkeypatch.setattr(served, "delegation", lambda zone, resolvers: frozenset())
    monkeypatch.setattr(served, "resolvers_of", lambda zone, resolvers: {})


def test_apply_writes_refreshes_once_and_the_second_time_does_nothing(api: Api) -> None:
    before = table(api)
    assert apply(api) == ["+ A    api.koprogo.test 192.0.2.1", "+ A    koprogo.test 192.0.2.1"]
    ours = [("", "A", "192.0.2.1"), ("api", "A", "192.0.2.1")]
    assert table(api) == sorted(before + ours)
    assert api.publisher.names("koprogo.test", "api", "A") == ["192.0.2.1"]
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    api.faults.calls.clear()
    assert apply(api) == []
    assert {call.method for call in api.calls} == {"GET"}


def test_each_zone_that_changes_is_refreshed_once_and_no_other(api: Api) -> None:
    for zone in ("b.koprogo.test", "example.test"):
        api.store.add_zone(zone, [])
    apply(api, wanted(["koprogo.test"], "192.0.2.1", None))
    names = ["koprogo.test", "www.b.koprogo.test", "b.koprogo.test", "example.test"]
    assert len(apply(api, wanted(names, "192.0.2.1", None))) == 3
    assert {zone: len(api.store.zone(zone)["tasks"]) for zone in api.store.names()} == {
        "koprogo.test": 1,
        "b.koprogo.test": 1,
        "example.test": 1,
    }
    assert api.publisher.names("b.koprogo.test", "www", "A") == ["192.0.2.1"]
    assert apply(api, wanted(names, "192.0.2.1", None)) == []


def test_a_plan_takes_few_calls_and_does_not_ask_what_it_need_not(api: Api) -> None:
    zones(api).plan(WANT, TTL)
    assert [(call.method, call.path) for call in api.calls] == [
        ("GET", "/auth/time"),
        ("GET", "/domain/zone"),
        *(
            ("GET", f"/domain/zone/koprogo.test/record?fieldType={kind}&subDomain={sub}")
            for sub in ("api", "")
            for kind in ("A", "AAAA", "CNAME")
        ),
        ("GET", "/domain/zone/koprogo.test/record?fieldType=NS&subDomain=api"),
        ("GET", "/domain/zone/koprogo.test"),
        ("GET", "/domain/zone/koprogo.test/status"),
    ]


def test_the_apex_is_not_any_record_of_the_zone(api: Api) -> None:
    apply(api, ONE)
    assert ("mail", "A", "10.66.0.25") in table(api)
    assert apply(api, wanted(["koprogo.test"], "192.0.2.2", None)) == ["~ A    koprogo.test 192.0.2.1 → 192.0.2.2"]
    assert [t for s, k, t in table(api) if k == "A"] == ["192.0.2.2", "10.66.0.25"]


def test_a_name_that_is_a_pattern_matches_only_itself(api: Api) -> None:
    apply(api, wanted(["xapi.koprogo.test"], "192.0.2.7", None))
    assert apply(api, wanted(["_api.koprogo.test"], "192.0.2.8", None)) == ["+ A    _api.koprogo.test 192.0.2.8"]
    assert ("xapi", "A", "192.0.2.7") in table(api)


def test_a_record_that_was_not_made_is_not_taken_for_that_of_a_name_alike(api: Api) -> None:
    put(api, "xapi", "192.0.2.8")
    api.faults.add("drop", method="POST", path=".*/record")
    apply(api, wanted(["_api.koprogo.test"], "192.0.2.8", None))
    assert [sub for sub, _, target in table(api) if target == "192.0.2.8"] == ["_api", "xapi"]


def test_the_apex_and_the_default_ttl_may_be_null(api: Api) -> None:
    """As OVH's schema allows."""
    put(api, "", "192.0.2.1", ttl=0)
    null = {"id": 7, "zone": "koprogo.test", "subDomain": None, "fieldType": "A", "target": "192.0.2.1", "ttl": None}
    api.faults.add("odd", path=".*/record/[0-9]+", value=null)
    assert [str(c) for c in zones(api).plan(ONE, TTL).changes] == ["~ A    koprogo.test ttl 0 → ttl 300"]


def test_a_permit_is_written_once_and_goes_with_the_addresses(api: Api) -> None:
    before = table(api)
    want = wanted(["koprogo.test"], "192.0.2.1", None, "letsencrypt.org")
    assert apply(api, want) == [
        "+ A    koprogo.test 192.0.2.1",
        '+ CAA  koprogo.test 0 issue "letsencrypt.org"',
    ]
    assert apply(api, want) == []
    there = zones(api)
    there.apply(there.plan_removal(NAMES, OURS, "letsencrypt.org"))
    assert table(api) == before


def test_problems_keep_everything_as_it_is(api: Api) -> None:
    there, before = zones(api), table(api)
    plan = there.plan(wanted(["www.koprogo.test", "api.koprogo.test"], "192.0.2.1", None), TTL)
    with pytest.raises(CloudError, match=r"www.koprogo.test is an alias \(CNAME\) of koprogo.test"):
        there.apply(plan)
    assert table(api) == before


def test_a_delegation_above_the_name_keeps_everything_as_it_is(api: Api) -> None:
    put(api, "app", "ns1.elsewhere.test.", "NS")
    before = table(api)
    with pytest.raises(CloudError, match=r"app.koprogo.test is delegated \(NS\) to ns1.elsewhere.test, so"):
        apply(api, wanted(["a.app.koprogo.test"], "192.0.2.1", None))
    assert table(api) == before


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (
            "redirection",
            {"subDomain": "", "target": "https://elsewhere.test", "type": "visible"},
            "koprogo.test has a web redirection to https://elsewhere.test, which keeps an address record of its own.",
        ),
        (
            "dynHost/record",
            {"subDomain": "", "ip": "10.0.0.9"},
            "koprogo.test has a DynHost to 10.0.0.9, which keeps an address record of its own.",
        ),
    ],
)
def test_what_a_service_of_ovh_keeps_is_reported_and_left(api: Api, path: str, body: dict[str, str], says: str) -> None:
    api.client().post(f"/domain/zone/koprogo.test/{path}", **body)
    before = table(api)
    plan = zones(api).plan(WANT, TTL, replace_foreign=True)
    assert plan.problems == (f"{says} Remove it in OVH's console, then run again.",)
    with pytest.raises(CloudError, match="Remove it in OVH's console"):
        zones(api).apply(plan)
    assert table(api) == before


def test_a_dynhost_of_our_address_is_left_with_its_ttl(api: Api) -> None:
    api.client().post("/domain/zone/koprogo.test/dynHost/record", subDomain="", ip="192.0.2.1")
    assert zones(api).plan(ONE, TTL).problems == (
        "koprogo.test has a DynHost to 192.0.2.1, which keeps an address record of its own."
        " Remove it in OVH's console, then run again.",
    )
    plan = zones(api).plan(ONE, 60)
    assert (plan.changes, plan.problems) == ((), ())


def test_a_dynhost_among_other_addresses_is_named_and_not_asked_about(api: Api) -> None:
    api.client().post("/domain/zone/koprogo.test/dynHost/record", subDomain="", ip="10.0.0.9")
    put(api, "", "10.0.0.8")
    (problem,) = zones(api).plan(ONE, TTL).problems
    assert problem.startswith("koprogo.test has a DynHost to 10.0.0.9,")


def test_a_dynhost_does_not_take_back_that_other_addresses_may_go(api: Api) -> None:
    api.client().post("/domain/zone/koprogo.test/dynHost/record", subDomain="", ip="10.0.0.9")
    put(api, "api", "10.0.0.7")
    put(api, "api", "10.0.0.8")
    (problem,) = zones(api).plan(WANT, TTL, replace_foreign=True).problems
    assert problem.startswith("koprogo.test has a DynHost to 10.0.0.9,")


def test_a_dynhost_of_another_name_is_in_nobodys_way(api: Api) -> None:
    api.client().post("/domain/zone/koprogo.test/dynHost/record", subDomain="xapi", ip="10.0.0.9")
    put(api, "_api", "10.0.0.8")
    assert apply(api, wanted(["_api.koprogo.test"], "192.0.2.1", None)) == [
        "~ A    _api.koprogo.test 10.0.0.8 → 192.0.2.1"
    ]


def test_a_dynhost_of_our_address_survives_a_removal(api: Api) -> None:
    api.client().post("/domain/zone/koprogo.test/dynHost/record", subDomain="api", ip="192.0.2.1")
    put(api, "", "192.0.2.1")
    assert remove(api) == ["- A    koprogo.test 192.0.2.1"]
    assert ("api", "A", "192.0.2.1") in table(api)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"application_key": "x"}, "GET /domain/zone: OVH does not know the application key. Check OVH_APPL"),
        ({"application_secret": "x"}, "GET /domain/zone: the signature is wrong. Check OVH_APPLICATION_SECRET"),
        ({"consumer_key": "pending"}, "GET /domain/zone: the consumer key has expired or was never validated"),
        ({"consumer_key": "readonly"}, "GET /domain/zone: the consumer key (OVH_CONSUMER_KEY) has no right to"),
    ],
)
def test_refusals_name_call_and_variable_and_carry_the_query_id(api: Api, other: dict[str, str], says: str) -> None:
    with pytest.raises(CloudError) as error:
        client(api, **other).names("/domain/zone")
    text = str(error.value)
    assert text.startswith(f"OVH: {says}")
    assert "(OVH-Query-ID: EU.ext-3." in text
    assert "\n" not in text
    assert not [secret for secret in (SECRET, CONSUMER, KEY) if secret in text]


def test_an_api_that_is_not_there_is_tried_again_and_named() -> None:
    said: list[str] = []
    there = Client(Keys("http://127.0.0.1:9/1.0", "k", "s", "c"), said.append, pause=0)
    with pytest.raises(CloudError, match=r"OVH's API at http://127\.0\.0\.1:9/1\.0 cannot be reached"):
        there.names("/domain/zone")
    assert len(said) == 4
    assert said[0].endswith("Trying again in 0 s.")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"REQUESTS_CA_BUNDLE": "/no/such/bundle"},
            "REQUESTS_CA_BUNDLE names /no/such/bundle, which is not there. Mend or unset that variable.",
        ),
        (
            {"http_proxy": "http://user:hidden@127.0.0.1:1", "no_proxy": ""},
            "The proxy in HTTP_PROXY or HTTPS_PROXY does not let us through (Connection refused)."
            " Mend that variable, or name 127.0.0.1 in NO_PROXY.",
        ),
    ],
)
def test_what_the_environment_says_of_proxies_and_authorities_is_named(
    api: Api, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CloudError) as caught:
        zones(api).plan(WANT, TTL)
    assert str(caught.value).endswith(says)
    assert "hidden" not in str(caught.value)


def test_an_endpoint_that_speaks_no_tls_is_named(api: Api) -> None:
    keys = Keys(api.url.replace("http:", "https:"), KEY, SECRET, CONSUMER)
    with pytest.raises(
        CloudError, match=r"127\.0\.0\.1:\d+ does not speak TLS\. Check OVH_ENDPOINT: is it http:// there"
    ):
        Client(keys, pause=0).names("/domain/zone")


def test_what_was_made_is_removed_and_nothing_else(api: Api) -> None:
    before = table(api)
    apply(api, wanted([name.lower() for name in NAMES], "192.0.2.1", "2001:db8::1"))
    put(api, "api", "10.0.0.9")
    assert remove(api, [*NAMES, "www.koprogo.test", "koprogo.com"]) == [
        "- A    koprogo.test 192.0.2.1",
        "- AAAA koprogo.test 2001:db8::1",
        "- A    api.koprogo.test 192.0.2.1",
        "- AAAA api.koprogo.test 2001:db8::1",
    ]
    assert table(api) == sorted([*before, ("api", "A", "10.0.0.9")])
    assert len(api.store.zone("koprogo.test")["tasks"]) == 2
    assert remove(api) == []
    assert len(api.store.zone("koprogo.test")["tasks"]) == 2


def test_the_api_is_asked_for_the_wildcards_above_a_name(api: Api) -> None:
    put(api, "*", "192.0.2.1")
    plan = zones(api).plan_removal(NAMES, OURS)
    assert plan.changes == ()
    assert plan.notes[0].startswith("*.koprogo.test has the A record 192.0.2.1,")
    assert {name for name, _ in plan.gone["koprogo.test"]} == {"koprogo.test"}


def test_a_zone_that_the_world_asks_elsewhere_is_noted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "delegation", lambda zone, resolvers: frozenset({"ns1.elsewhere.net"}))
    assert zones(api).plan(ONE, TTL).notes == (
        "koprogo.test is served by ns1.elsewhere.net and not by OVH's ns1.sandbox.test: until the registrar's entry is"
        " changed, these records have no effect.",
    )


def test_a_zone_that_ovh_cannot_serve_is_named_with_its_reason(api: Api) -> None:
    api.publisher.refuses = "koprogo.test: line 7: not a name"
    with pytest.raises(CloudError, match=r"OVH cannot serve koprogo\.test: koprogo\.test: line 7: not a name\."):
        apply(api)
    assert "OVH reports of koprogo.test: koprogo.test: line 7: not a name." in zones(api).plan(WANT, TTL).notes


UNDER_WAY = {"isDeployed": False, "errors": None, "warnings": None}


def test_a_zone_on_its_way_to_its_servers_is_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PAUSE", 0.01)
    said: list[str] = []
    there = zones(api, said.append)
    plan = there.plan(ONE, TTL)
    api.faults.add("odd", path=".*/status", times=2, value=UNDER_WAY)
    there.apply(plan)
    assert said[0] == "waiting: OVH is sending koprogo.test to its servers"
    assert [call.path for call in api.calls].count("/domain/zone/koprogo.test/status") == 4


def test_a_zone_that_never_arrives_is_not_waited_for_for_ever(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SECONDS", 0.1)
    monkeypatch.setattr(work, "PAUSE", 0.01)
    api.faults.add("odd", path=".*/status", times=None, value=UNDER_WAY)
    with pytest.raises(
        CloudError, match=r"OVH has accepted the records of koprogo\.test, and after 0 s has not served"
    ):
        apply(api, ONE)


def test_a_list_of_something_else_is_asked_for_again(api: Api) -> None:
    api.faults.add("odd", path=r".*/record\?.*", value=["one"])
    assert [str(change) for change in zones(api).plan(ONE, TTL).changes] == ["+ A    koprogo.test 192.0.2.1"]


def test_keys_are_not_shown() -> None:
    assert SECRET not in repr(Keys("ovh-eu", KEY, SECRET, CONSUMER))


def test_keys_that_do_not_fit_together() -> None:
    with pytest.raises(CloudError, match="OVH: the OVH_"):
        Client(Keys("ovh-eu", KEY, SECRET, CONSUMER, client_id="x", client_secret="y"))


# -- a service account -----------------------------------------------------------------------------------------------


def as_service(
    api: Api, monkeypatch: pytest.MonkeyPatch, identifier: str = CLIENT, secret: str = CLIENT_SECRET
) -> Zones:
    keys = Keys(api.secure_url(monkeypatch), client_id=identifier, client_secret=secret)
    return Zones(Account(Client(keys, pause=0)))


def test_a_service_account_does_the_same(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    there = as_service(api, monkeypatch)
    there.apply(there.plan(ONE, TTL))
    assert api.publisher.names("koprogo.test", "", "A") == ["192.0.2.1"]
    assert there.plan(ONE, TTL).zones == ()


def test_a_token_that_is_over_in_the_middle_is_renewed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    there = as_service(api, monkeypatch)
    plan = there.plan(ONE, TTL)
    api.ahead = 4000
    there.apply(plan)
    assert api.publisher.names("koprogo.test", "", "A") == ["192.0.2.1"]


def test_a_service_account_that_ovh_does_not_know(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        CloudError, match=r"does not accept the service account\. Check OVH_CLIENT_ID.* \(OVH-Query-ID: EU"
    ):
        as_service(api, monkeypatch, secret="wrong").plan(ONE, TTL)


def test_an_action_that_no_policy_allows_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Keys(api.secure_url(monkeypatch), client_id="EU.reader", client_secret="readersecret")
    with pytest.raises(
        CloudError, match=r"POST /domain/zone/koprogo\.test/refresh: .*missing: dnsZone:apiovh:refresh\)"
    ):
        Client(reader, pause=0).call("POST", "/domain/zone/koprogo.test/refresh")


def test_a_token_endpoint_that_fails_a_while_is_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.faults.add("503", path="/auth/oauth2/token", times=2)
    assert as_service(api, monkeypatch).plan(ONE, TTL).lines == ["+ A    koprogo.test  192.0.2.1"]


def test_a_token_endpoint_that_fails_or_stays_silent_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.faults.add("500", path="/auth/oauth2/token", times=None)
    with pytest.raises(CloudError, match=r"no token .* at the moment\. Run again in a minute \(OVH-Query-ID: EU\."):
        as_service(api, monkeypatch).plan(ONE, TTL)
    assert [call.status for call in api.calls] == [500] * 5
    api.faults.clear()
    monkeypatch.setattr("cloud.ovh.client.TIMEOUTS", (5.0, 0.1))
    api.faults.add("delay", path="/auth/oauth2/token", times=None, value=5)
    with pytest.raises(CloudError, match="cannot be reached"):
        as_service(api, monkeypatch).plan(ONE, TTL)
