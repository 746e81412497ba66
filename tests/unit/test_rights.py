"""The rights at OVH that the DNS part needs: enough, not one too many, and the same in every form."""

import re

import pytest
from dns_account import LEAST, NAMES, WANT, ZONE, apply, put, remove, zones
from ovh_stand_in import CONSUMER, KEY, Api

from cloud.ovh import rights
from cloud.ovh.rights import Rule
from sandbox.internet.ovh_api.accounts import ConsumerKey


def test_each_rule_is_used_and_none_is_missing(api: Api) -> None:
    owner = api.client()
    api.account.consumer_keys[CONSUMER] = ConsumerKey(KEY, "validated", tuple(LEAST))
    put(api, "", "10.0.0.9")
    apply(api)  # changes, makes
    put(api, "api", "192.0.2.1")
    apply(api)  # takes a duplicate away
    remove(api, NAMES)
    api.account.consumer_keys[CONSUMER] = ConsumerKey(KEY, "validated", (("POST", "/*"),))
    owner.post(f"{ZONE}/redirection", subDomain="api", type="visible", target="https://elsewhere.test")
    owner.post(f"{ZONE}/dynHost/record", subDomain="api", ip="192.0.2.9")
    api.account.consumer_keys[CONSUMER] = ConsumerKey(KEY, "validated", tuple(LEAST))
    zones(api).plan(WANT, 300)
    by_us = [call for call in api.calls if "/auth/" not in call[1]]
    assert {status for _, _, status in by_us} == {200, 204}
    called = {(method, re.sub(r"/\d+$", "/*", path.partition("?")[0])) for method, path, _ in by_us}
    asked_by_the_test = {("POST", f"{ZONE}/redirection"), ("POST", f"{ZONE}/dynHost/record")}
    assert called - asked_by_the_test == set(LEAST)


def test_the_rules_of_two_zones_name_what_they_share_once() -> None:
    assert rights.rules(["koprogo.test"]) == LEAST
    both = rights.rules(["koprogo.test", "koprogo.example"])
    assert len(both) == 25
    assert both.count(Rule("GET", "/domain/zone")) == 1
    assert both[13] == ("GET", "/domain/zone/koprogo.example")


def test_the_body_of_a_request_for_a_key() -> None:
    assert rights.access_rules([Rule("PUT", "/domain/zone/z.test/record/*")]) == [
        {"method": "PUT", "path": "/domain/zone/z.test/record/*"}
    ]


@pytest.mark.parametrize(
    ("endpoint", "page"),
    [
        ("ovh-eu", "https://eu.api.ovh.com/createToken/?GET=/domain/zone&POST=/domain/zone/z.test/refresh"),
        ("ovh-ca", "https://ca.api.ovh.com/createToken/?GET=/domain/zone&POST=/domain/zone/z.test/refresh"),
        ("ovh-us", "https://api.us.ovhcloud.com/createToken/?GET=/domain/zone&POST=/domain/zone/z.test/refresh"),
        ("http://127.0.0.1/1.0", None),
    ],
)
def test_the_page_that_makes_all_keys(endpoint: str, page: str | None) -> None:
    assert rights.page(endpoint, [Rule("GET", "/domain/zone"), Rule("POST", "/domain/zone/z.test/refresh")]) == page


def test_the_policy_of_a_service_account() -> None:
    policy = rights.policy("ovh-ca", ["z.test", "y.test"])
    assert policy["resources"] == [
        {"urn": "urn:v1:ca:resource:dnsZone:z.test"},
        {"urn": "urn:v1:ca:resource:dnsZone:y.test"},
    ]
    assert [allowed["action"] for allowed in policy["permissions"]["allow"]] == [
        "dnsZone:apiovh:get",
        "dnsZone:apiovh:status/get",
        "dnsZone:apiovh:record/get",
        "dnsZone:apiovh:record/create",
        "dnsZone:apiovh:record/edit",
        "dnsZone:apiovh:record/delete",
        "dnsZone:apiovh:redirection/get",
        "dnsZone:apiovh:dynHost/record/get",
        "dnsZone:apiovh:refresh",
    ]


@pytest.mark.parametrize(
    ("has", "needs", "covered"),
    [
        ("GET /domain/zone/*", "GET /domain/zone", False),
        ("GET /domain/zone", "GET /domain/zone/z.test", False),
        ("GET /domain/zone*", "GET /domain/zone", True),
        ("GET /domain/zone/*", "GET /domain/zone/z.test/record/*", True),
        ("GET /domain/zone/z.test/record/*", "GET /domain/zone/z.test/record/*", True),
        ("GET /domain/zone/z.test/record/7", "GET /domain/zone/z.test/record/*", False),
        ("POST /*", "GET /domain/zone", False),
        ("GET /domain/zone/zXtest", "GET /domain/zone/z.test", False),
        ("GET /domain/zone/z.test", "GET /domain/zone/zXtest", False),
    ],
)
def test_which_rule_covers_which(has: str, needs: str, covered: bool) -> None:
    assert Rule(*has.split()).covers(Rule(*needs.split())) is covered
