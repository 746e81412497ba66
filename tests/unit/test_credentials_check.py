"""`provision.py credentials --check` says which rights the present key has, and writes nothing."""

import time
from pathlib import Path
from typing import Any

import pytest
from credentials_operator import KEYS, ZONE, Operator, lines
from dns_account import client
from ovh_stand_in import CLIENT, CLIENT_SECRET, CONSUMER, EVERYTHING, KEY, Api

from cloud.ovh.check import check
from cloud.ovh.rights import rules
from cloud.trouble import CloudError
from sandbox.internet.ovh_api.accounts import ConsumerKey, ServiceAccount


def test_missing_rights_are_named(api: Api, tmp_path: Path) -> None:
    api.account.consumer_keys[CONSUMER] = ConsumerKey(
        KEY, "validated", (("GET", "/domain/*"), ("PUT", f"{ZONE}/record/*"), ("POST", f"{ZONE}/record"))
    )
    status, out, _ = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS).run("--check")
    assert status == 1
    assert lines(out)[-3:] == [
        f"- missing: DELETE {ZONE}/record/*",
        f"- missing: POST {ZONE}/refresh",
        "2 of 13 rights are missing. To ask for all: python provision.py credentials",
    ]
    written = [call for call in api.calls if call[0] != "GET"]
    assert written == []


def test_a_right_that_the_rules_have_and_the_call_has_not_is_missing(api: Api, tmp_path: Path) -> None:
    api.account.revoked.add((CONSUMER, "GET", f"{ZONE}/status"))
    status, out, _ = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS).run("--check")
    assert status == 1
    assert lines(out)[-2] == f"- missing: GET {ZONE}/status"


def test_the_end_of_a_key_is_told_two_weeks_before(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS)
    day = 86400
    for days, warned in ((15, False), (13, True)):
        end_of_key = time.time() + days * day + 60
        api.account.consumer_keys[CONSUMER] = ConsumerKey(KEY, "validated", EVERYTHING, expiration=end_of_key)
        status, out, _ = operator.run("--check")
        assert status == 0
        assert bool([line for line in lines(out) if f"in {days} days" in line]) is warned


def test_an_account_without_the_zone_is_said_so(api: Api, tmp_path: Path) -> None:
    operator = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS, KOPROGO_DOMAIN="elsewhere.test")
    status, _, errors = operator.run("--check")
    assert status == 1
    assert errors.startswith(
        "No zone of this OVH account holds elsewhere.test or api.elsewhere.test. It has: koprogo.test."
    )


def test_keys_of_both_kinds_are_named_before_anything_connects(api: Api, tmp_path: Path) -> None:
    service = {"OVH_CLIENT_ID": CLIENT, "OVH_CLIENT_SECRET": CLIENT_SECRET}
    status, _, errors = Operator(tmp_path, OVH_ENDPOINT=api.url, **KEYS, **service).run("--check")
    assert (status, api.calls) == (1, [])
    assert lines(errors)[:3] == [
        "OVH_APPLICATION_KEY: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
        "OVH_APPLICATION_SECRET: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
        "OVH_CONSUMER_KEY: is set and so is OVH_CLIENT_ID; keep the service account or the three keys",
    ]


def test_a_service_account(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = api.secure_url(monkeypatch)
    service = {"OVH_CLIENT_ID": CLIENT, "OVH_CLIENT_SECRET": CLIENT_SECRET}
    operator = Operator(tmp_path, OVH_ENDPOINT=url, **service)
    status, out, errors = operator.run("--check")
    assert (status, errors) == (0, "")
    assert lines(out)[-5:] == [
        f"? not tried, since it writes: POST {ZONE}/record",
        f"? not tried, since it writes: PUT {ZONE}/record/*",
        f"? not tried, since it writes: DELETE {ZONE}/record/*",
        f"? not tried, since it writes: POST {ZONE}/refresh",
        "None of the rights that can be tried is missing; 4 of 13 are not tried.",
    ]
    policy = tuple(("*:dnsZone:koprogo.test", f"dnsZone:apiovh:{action}") for action in ("get", "record/get"))
    api.account.service_accounts[CLIENT] = ServiceAccount(CLIENT_SECRET, policy)  # type: ignore[index]  # a dict
    status, out, _ = operator.run("--check")
    assert status == 1
    assert f"- missing: GET {ZONE}/status" in lines(out)
    status, out, _ = operator.run("--oauth2", "--zone=koprogo.test")
    assert status == 0
    assert '"urn": "urn:v1:eu:resource:dnsZone:koprogo.test"' in lines(out)
    assert '"flow": "CLIENT_CREDENTIALS",' in lines(out)


@pytest.mark.parametrize(
    "answer",
    [
        {"rules": [1], "expiration": None},
        {"rules": [{"method": "GET"}], "expiration": None},
        {"rules": [], "expiration": "tomorrow"},
    ],
)
def test_a_key_that_is_told_of_in_another_form_is_an_odd_answer(api: Api, answer: Any) -> None:
    api.faults.add("odd", path="/auth/currentCredential", times=None, value=answer)
    with pytest.raises(CloudError, match=r"^OVH: GET /auth/currentCredential: .* answered in a way .*OVH-Query-ID: EU"):
        check(client(api), rules(["koprogo.test"]))
