"""Consumer keys from the asking to the end, and service accounts, at the stand-in for OVH's API."""

import time
from pathlib import Path
from typing import Any

import ovh
import pytest
import requests
from ovh_stand_in import CONSUMER, KEY, LOGIN, PASSWORD, SECRET, Api

from sandbox.internet.ovh_api.accounts import Account, covers

ZONE = "/domain/zone/koprogo.test"
RULES = [{"method": "GET", "path": "/domain/zone"}, {"method": "POST", "path": f"{ZONE}/record"}]


def ask(api: Api, **body: Any) -> Any:
    ovh.client.ENDPOINTS["test"] = api.url
    return ovh.Client("test", KEY, SECRET).post("/auth/credential", _need_auth=False, **body)


def validate(url: str, **form: Any) -> requests.Response:
    values = {"login": LOGIN, "password": PASSWORD, "duration": 0, "answer": "accept"} | form
    return requests.post(url, values, timeout=5, allow_redirects=False)


def test_the_flow_as_python_ovh_goes_it(api: Api) -> None:
    ovh.client.ENDPOINTS["test"] = api.url
    client = ovh.Client("test", KEY, SECRET)
    request = client.new_consumer_key_request()
    request.add_rule("GET", "/domain/zone")
    asked = request.request(redirect_url="https://koprogo.test/done", allowedIPs=["192.0.2.0/24"])
    assert sorted(asked) == ["consumerKey", "state", "validationUrl"]
    assert asked["state"] == "pendingValidation"
    assert asked["validationUrl"].startswith(api.url.removesuffix("/1.0") + "/auth/?credentialToken=")
    with pytest.raises(ovh.exceptions.InvalidCredential, match="This credential is not valid"):
        client.get("/domain/zone")
    done = validate(asked["validationUrl"])
    assert (done.status_code, done.headers["Location"]) == (302, "https://koprogo.test/done")
    assert client.get("/domain/zone") == ["koprogo.test"]
    with pytest.raises(ovh.exceptions.NotGrantedCall):
        client.get(ZONE)
    shown = client.get("/auth/currentCredential")
    assert shown["rules"] == [{"method": "GET", "path": "/domain/zone"}]
    assert (shown["status"], shown["applicationId"], shown["credentialId"]) == ("validated", 1, 1)
    assert (shown["ovhSupport"], shown["expiration"], shown["allowedIPs"]) == (False, None, ["192.0.2.0/24"])
    assert shown["creation"][:2] == "20"
    assert shown["lastUse"][:2] == "20"


def test_the_page_shows_what_is_asked_for(api: Api) -> None:
    asked = ask(api, accessRules=[{"method": "GET", "path": "/<b>"}])
    page = requests.get(asked["validationUrl"], timeout=5)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["X-OVH-QUERYID"].startswith("EU.ext-3.")
    assert "<li>GET /&lt;b&gt;</li>" in page.text
    assert "<option value=0>unlimited</option>" in page.text


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"password": "wrong"}, "Invalid account or password."),
        ({"login": "other"}, "Invalid account or password."),
        ({"duration": 5}, "Choose a validity."),
    ],
)
def test_a_wrong_answer_leaves_the_key_waiting(api: Api, form: dict[str, Any], says: str) -> None:
    asked = ask(api, accessRules=RULES)
    assert says in validate(asked["validationUrl"], **form).text
    assert api.account.consumer_keys[asked["consumerKey"]].state == "pendingValidation"


def test_a_refused_key_stays_refused_and_the_page_is_gone(api: Api) -> None:
    asked = ask(api, accessRules=RULES)
    assert validate(asked["validationUrl"], answer="refuse").status_code == 200
    assert api.account.consumer_keys[asked["consumerKey"]].state == "refused"
    assert validate(asked["validationUrl"]).status_code == 404
    assert requests.get(api.url.removesuffix("/1.0") + "/auth/?credentialToken=", timeout=5).status_code == 404


def test_a_key_ends_when_its_time_is_over(api: Api) -> None:
    asked = ask(api, accessRules=RULES)
    assert validate(asked["validationUrl"], duration=3600).status_code == 200
    client = api.client(consumer=asked["consumerKey"])
    assert client.get("/domain/zone") == ["koprogo.test"]
    api.ahead = 3599
    assert api.client(consumer=asked["consumerKey"]).get("/domain/zone") == ["koprogo.test"]
    api.ahead = 3601
    with pytest.raises(ovh.exceptions.InvalidCredential):
        api.client(consumer=asked["consumerKey"]).get("/domain/zone")


def test_logout_ends_the_key(api: Api) -> None:
    client = api.client()
    assert client.post("/auth/logout") is None
    with pytest.raises(ovh.exceptions.InvalidCredential):
        client.get("/domain/zone")


def test_calls_of_auth_need_no_rule(api: Api) -> None:
    readonly = api.client(consumer="readonly")
    assert readonly.get("/auth/currentCredential")["rules"] == [{"method": "GET", "path": "/domain/zone/*"}]
    with pytest.raises(ovh.exceptions.InvalidCredential):
        api.client(consumer="pending").get("/auth/currentCredential")


def test_keys_survive_a_restart(api: Api, tmp_path: Path) -> None:
    asked = ask(api, accessRules=RULES)
    validate(asked["validationUrl"], duration=3600)
    api.client().post("/auth/logout")
    again = Account({KEY: SECRET}, {}, saved=tmp_path / "keys.json")
    kept = again.consumer_keys[asked["consumerKey"]]
    assert kept == api.account.consumer_keys[asked["consumerKey"]]
    assert kept.rules == (("GET", "/domain/zone"), ("POST", "/domain/zone/koprogo.test/record"))
    assert again.consumer_keys[CONSUMER].state == "expired"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "[accessRules] Missing required parameter"),
        ({"accessRules": None}, "[accessRules] Missing required parameter"),
        ({"accessRules": {}}, "[accessRules] Given data ({}) is not valid for type auth.AccessRuleRequest[]"),
        ({"accessRules": [{"method": "GET"}]}, "[path] Missing required parameter"),
        (
            {"accessRules": [{"method": "PATCH", "path": "/"}]},
            "[method] Given data (PATCH) does not belong to the HTTPMethodEnum enumeration",
        ),
        (
            {"accessRules": [], "rules": []},
            "Received not described parameters: (rules) while calling the API",
        ),
        ({"accessRules": [], "redirection": 5}, "[redirection] Given data (5) is not valid for type string"),
        ({"accessRules": [], "allowedIPs": ["x"]}, "[allowedIPs[0]] Given data (x) is not valid for type ipBlock"),
    ],
)
def test_a_request_for_a_key_is_checked(api: Api, body: dict[str, Any], says: str) -> None:
    answer = requests.post(api.url + "/auth/credential", json=body, headers={"X-Ovh-Application": KEY}, timeout=5)
    assert (answer.status_code, answer.json()) == (400, {"class": "Client::BadRequest", "message": says})
    assert len(api.account.consumer_keys) == 3


def test_only_an_application_may_ask_for_a_key(api: Api) -> None:
    answer = requests.post(api.url + "/auth/credential", json={"accessRules": []}, timeout=5)
    assert (answer.status_code, answer.json()["errorCode"]) == (403, "INVALID_KEY")


# -- service accounts ------------------------------------------------------------------------------------------------


def test_a_service_account_works_with_python_ovh(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.service(monkeypatch)
    assert client.get("/domain/zone") == ["koprogo.test"]
    made = client.post(f"{ZONE}/record", fieldType="A", subDomain="api", target="192.0.2.1")
    client.put(f"{ZONE}/record/{made['id']}", target="192.0.2.2")
    assert client.get(f"{ZONE}/record/{made['id']}")["target"] == "192.0.2.2"
    assert client.post(f"{ZONE}/refresh") is None
    assert api.calls[0] == ("POST", "/auth/oauth2/token", 200)
    assert [call.path for call in api.calls].count("/auth/oauth2/token") == 1


def test_an_action_without_a_policy_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.service(monkeypatch, "EU.reader", "readersecret")
    assert len(client.get(f"{ZONE}/record")) == 4
    assert client.get("/domain/zone") == []
    with pytest.raises(ovh.exceptions.APIError) as error:
        client.post(f"{ZONE}/record", fieldType="A", subDomain="api", target="192.0.2.1")
    assert type(error.value) is ovh.exceptions.APIError  # python-ovh knows the other 403s by their errorCode
    assert error.value.response is not None
    assert error.value.response.status_code == 403
    assert error.value.response.json() == {
        "class": "Client::Forbidden",
        "message": "User not granted for this request",
        "details": {
            "unauthorizedActionsByAuthentication": "",
            "unauthorizedActionsByIAM": "dnsZone:apiovh:record/create",
        },
    }
    with pytest.raises(ovh.exceptions.APIError, match="User not granted"):
        client.get("/domain/zone/other.test/record")


@pytest.mark.parametrize(("client", "secret"), [("EU.nobody", "readersecret"), ("EU.reader", "wrong")])
def test_a_wrong_service_account_gets_no_token(
    api: Api, monkeypatch: pytest.MonkeyPatch, client: str, secret: str
) -> None:
    with pytest.raises(ovh.exceptions.OAuth2FailureError, match="invalid_client"):
        api.service(monkeypatch, client, secret).get("/domain/zone")


def test_the_token_endpoint_takes_basic_credentials_and_no_other_grant(api: Api) -> None:
    url = api.url.removesuffix("/1.0") + "/auth/oauth2/token"
    form = {"grant_type": "client_credentials", "scope": "all"}
    answer = requests.post(url, form, auth=("EU.reader", "readersecret"), timeout=5)
    assert {**answer.json(), "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "all",
    }
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert len(requests.get(f"{api.url}{ZONE}/record", headers=bearer, timeout=5).json()) == 4
    assert requests.get(f"{api.url}/auth/currentCredential", headers=bearer, timeout=5).status_code == 403
    refused = requests.post(url, {"grant_type": "password"}, auth=("EU.reader", "readersecret"), timeout=5)
    assert (refused.status_code, refused.json()) == (400, {"error": "unsupported_grant_type"})


def test_a_token_ends_after_an_hour(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.service(monkeypatch)
    client.get("/domain/zone")
    api.ahead = 3601
    assert client.raw_call("GET", "/domain/zone").status_code == 401


def test_faults_reach_service_accounts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.service(monkeypatch)
    api.faults.add("503", path="/auth/oauth2/token")
    with pytest.raises(ovh.exceptions.OAuth2FailureError, match="status_code=503"):
        client.get("/domain/zone")
    api.faults.add("revoke", path=".*/refresh")
    with pytest.raises(ovh.exceptions.APIError) as error:
        client.post(f"{ZONE}/refresh")
    assert error.value.response is not None
    assert error.value.response.json()["details"]["unauthorizedActionsByIAM"] == "dnsZone:apiovh:refresh"
    api.faults.add("expire", path="/domain/zone")
    assert client.raw_call("GET", "/domain/zone").status_code == 401


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [("*", "x", True), ("a:*", "a:b", True), ("a:*", "ab", False), ("a.b", "acb", False)],
)
def test_covers(pattern: str, text: str, result: bool) -> None:
    assert covers(pattern, text) is result


def test_lastuse_is_the_time_of_the_last_call(api: Api) -> None:
    api.client().get("/domain/zone")
    used = api.account.consumer_keys[CONSUMER].last_use
    assert used is not None
    assert abs(used - time.time()) < 5
