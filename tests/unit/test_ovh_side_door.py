"""The stand-in for OVH's API as another machine meets it: its side door for faults, and its start from a file."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ovh_stand_in import DOOR, Api

from sandbox import internet
from sandbox.internet import configuration
from sandbox.world import within

ZONE = "/domain/zone/koprogo.test"
KEY = {"X-Faults-Token": DOOR}


@pytest.fixture
def door(api: Api) -> str:
    return api.url.removesuffix("/1.0") + "/_faults"


def test_rules_and_calls_go_through_it(api: Api, door: str) -> None:
    rules = [{"do": "503", "path": f"{ZONE}/soa"}, {"do": "skew", "value": 5, "nth": 2}]
    taken = requests.post(door, json=rules, headers=KEY, timeout=5).json()
    assert [(r["do"], r["path"], r["nth"], r["seen"]) for r in taken["rules"]] == [
        ("503", "/domain/zone/koprogo.test/soa", 1, 0),
        ("skew", ".*", 2, 0),
    ]
    assert api.client().raw_call("GET", f"{ZONE}/soa").status_code == 503
    there = requests.get(door, headers=KEY, timeout=5).json()
    assert there["calls"] == [["GET", "/auth/time", 200], ["GET", "/domain/zone/koprogo.test/soa", 503]]
    assert requests.post(door, json={"do": "drop"}, headers=KEY, timeout=5).status_code == 200
    gone = requests.delete(door, headers=KEY, timeout=5).json()
    assert gone == {"rules": [], "skew": 0.0, "calls": []}
    assert api.client().get(ZONE)["name"] == "koprogo.test"


@pytest.mark.parametrize(
    "body", ['{"do": "nothing"}', '{"path": ".*"}', "[5]", "{", '[{"do": "500"}, {"do": "delay"}]']
)
def test_what_is_no_rule_is_refused(api: Api, door: str, body: str) -> None:
    answer = requests.post(door, body, headers=KEY, timeout=5)
    assert answer.status_code == 400
    assert api.faults.rules == []


@pytest.mark.parametrize("headers", [{}, {"X-Faults-Token": "wrong"}])
def test_without_the_token_it_is_not_there(api: Api, door: str, headers: dict[str, str]) -> None:
    answer = requests.post(door, json={"do": "500"}, headers=headers, timeout=5)
    nowhere = requests.post(door + "x", json={"do": "500"}, headers=headers, timeout=5)
    assert (answer.status_code, answer.text) == (404, nowhere.text)
    assert api.faults.rules == []


def test_it_is_no_call_of_the_api(api: Api) -> None:
    assert api.client().raw_call("GET", "/_faults", headers=KEY).status_code == 404
    api.server.door = None
    answer = requests.get(api.url.removesuffix("/1.0") + "/_faults", headers={"X-Faults-Token": ""}, timeout=5)
    assert answer.status_code == 404


@pytest.fixture
def from_file(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """The stand-in in a process of its own, served from the file that the sandbox writes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    secrets = configuration.Secrets("key", "secret", "consumer", "git", "customer's", "client's", "token")
    config = json.loads(configuration.ovh_account(secrets))
    config |= {"port": port, "state": str(tmp_path / "zones.json"), "zones_folder": str(tmp_path)}
    (tmp_path / "account.json").write_text(json.dumps(config))
    package = Path(internet.__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "ovh_api", str(tmp_path / "account.json")],  # -S: the standard library only
        env=os.environ | {"PYTHONPATH": str(package)},
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}", config
    process.kill()
    process.wait()


def answers(url: str) -> bool:
    try:
        return requests.get(url + "/1.0/auth/time", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_it_serves_the_account_that_the_sandbox_describes(from_file: tuple[str, Any]) -> None:
    url, config = from_file
    assert within(20, lambda: answers(url))
    (client,) = config["service_accounts"]
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": "client's"}
    token = requests.post(url + "/auth/oauth2/token", form, timeout=5).json()["access_token"]
    zones = requests.get(url + "/v1/domain/zone", headers={"Authorization": f"Bearer {token}"}, timeout=5)
    assert zones.json() == ["example.org", "example.test", "koprogo.test"]
    assert requests.get(url + "/_faults", headers={"X-Faults-Token": "token"}, timeout=5).status_code == 200
    asked = requests.post(
        url + "/1.0/auth/credential", json={"accessRules": []}, headers={"X-Ovh-Application": "key"}, timeout=5
    ).json()
    form = {"login": config["customer"]["login"], "password": "customer's", "duration": "0", "answer": "accept"}
    assert "has access now" in requests.post(asked["validationUrl"], form, timeout=5).text
