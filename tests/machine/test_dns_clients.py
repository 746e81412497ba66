"""Other people's clients of OVH's API, unchanged, against the sandbox's: what works here works there."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
import small_world
import yaml
import zone_of_50
from dns_clients import ZONE, Clients, Keys, account, machine, rows

from sandbox import internet
from sandbox.world import World

pytestmark = pytest.mark.machine

NAME = "test-clients"
CHALLENGE = f"_acme-challenge.{ZONE}"
CONFIG = "--config-file=/root/octodns.yaml"
Grant = Callable[..., Keys]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with small_world.with_internet(NAME) as made:
        yield made


@pytest.fixture(scope="module")
def clients(world: World) -> Clients:
    return Clients(world, machine(world))


@pytest.fixture(scope="module")
def ovh_account(world: World) -> Any:
    return account(world)


@pytest.fixture
def foreign(ovh_account: Any) -> Iterator[list[dict[str, Any]]]:
    """What the zone has before a client comes, which has to be there afterwards, byte for byte."""
    before = rows(ovh_account)
    assert len(before) == 8
    yield before
    assert rows(ovh_account) == before


@pytest.fixture
def granted(world: World, ovh_account: Any) -> Grant:
    """Keys with these rights and no others, asked for and validated as a customer does it."""
    values = internet.credentials(world)

    def grant(*rules: str) -> Keys:
        request = ovh_account.new_consumer_key_request()
        for rule in rules:
            request.add_rule(*rule.split(" "))
        asked = request.request()
        assert asked["state"] == "pendingValidation"
        page, _, query = asked["validationUrl"].partition("?")
        choice = {"duration": "3600", "answer": "accept"}
        answer = requests.post(page, internet.ovh_login(world) | dict(parse_qsl(query)) | choice, timeout=5)
        assert "has access now" in answer.text
        ovh_account._consumer_key = values["OVH_CONSUMER_KEY"]  # python-ovh takes the new one by itself
        return Keys(values["OVH_APPLICATION_KEY"], values["OVH_APPLICATION_SECRET"], asked["consumerKey"])

    return grant


def test_lego_certifies_the_apex_and_a_wildcard(clients: Clients, granted: Grant, foreign: list[Any]) -> None:
    """Debian's lego, with the rights that its documentation asks for, and not one more."""
    keys = granted("POST /domain/zone/*", "DELETE /domain/zone/*")
    clients.run(
        "lego", "--path=/root/lego", "--accept-tos", "--email=syndic@example.test", "--dns=ovh",
        f"--domains={ZONE}", f"--domains=*.{ZONE}", "run", **keys.variables,
    )  # fmt: skip
    files = f"/root/lego/certificates/{ZONE}"
    clients.certificate_holds_for(f"{files}.crt", f"{files}.issuer.crt", ZONE, f"any.{ZONE}")
    wait_until(clients, CHALLENGE, "TXT", [])


def test_certbot_certifies_the_apex_and_a_wildcard(clients: Clients, granted: Grant, foreign: list[Any]) -> None:
    """certbot with certbot-dns-ovh, which goes through lexicon, with the rights that its documentation asks for."""
    keys = granted(*(f"{method} /domain/zone/*" for method in ("GET", "PUT", "POST", "DELETE")))
    lines = {"endpoint": "ovh-eu", **vars(keys)}
    clients.write("/root/ovh.ini", "".join(f"dns_ovh_{name} = {value}\n" for name, value in lines.items()))
    clients.python(
        "certbot", "certonly", "--non-interactive", "--agree-tos", "--email=syndic@example.test", "--dns-ovh",
        "--dns-ovh-credentials=/root/ovh.ini", "--dns-ovh-propagation-seconds=3", f"--domain={ZONE}",
        f"--domain=*.{ZONE}",
    )  # fmt: skip
    folder = f"/etc/letsencrypt/live/{ZONE}"
    clients.certificate_holds_for(f"{folder}/cert.pem", f"{folder}/chain.pem", ZONE, f"any.{ZONE}")
    wait_until(clients, CHALLENGE, "TXT", [])


def test_lexicon_makes_lists_changes_and_deletes_a_record(clients: Clients, granted: Grant, foreign: list[Any]) -> None:
    keys = granted(*(f"{method} /domain/zone/*" for method in ("GET", "PUT", "POST", "DELETE")))
    text = ("--name=note", "--content=first; of two")
    assert clients.lexicon(keys, "create", ZONE, "TXT", *text, "--ttl=120") is True
    (listed,) = clients.lexicon(keys, "list", ZONE, "TXT", "--name=note")
    assert (listed["content"], listed["ttl"]) == ('"first; of two"', 120)
    wait_until(clients, f"note.{ZONE}", "TXT", ['"first; of two"'])
    clients.lexicon(keys, "update", ZONE, "TXT", "--name=note", "--content=second")
    wait_until(clients, f"note.{ZONE}", "TXT", ['"second"'])
    clients.lexicon(keys, "delete", ZONE, "TXT", "--name=note")
    wait_until(clients, f"note.{ZONE}", "TXT", [])


def test_python_ovh_logs_in_as_a_service_account(clients: Clients, world: World, foreign: list[Any]) -> None:
    """OAuth2 needs two names of OVH: that of the API, and www.ovh.com, which gives tokens."""
    program = "import json, ovh; print(json.dumps(ovh.Client().get('/domain/zone')))"
    variables = internet.service_account(world)
    own = {"PYTHONPATH": "/opt/dns-clients", "REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}
    said = clients.run("python3", "-c", program, **own, **variables).stdout
    assert json.loads(said) == ["example.org", "example.test", "koprogo.test"]


def wait_until(clients: Clients, name: str, kind: str, expected: list[str]) -> None:
    """Wait until the name server says exactly this, a few seconds at most."""
    for _ in range(20):
        if clients.answers(name, kind) == expected:
            return
        time.sleep(0.25)
    assert clients.answers(name, kind) == expected


def test_octodns_dumps_plans_and_changes_a_zone_of_fifty(clients: Clients, granted: Grant, ovh_account: Any) -> None:
    zone = "koprogo.test"
    for name, kind, target, ttl in zone_of_50.MORE:
        ovh_account.post(f"/domain/zone/{zone}/record", subDomain=name, fieldType=kind, target=target, ttl=ttl)
    ovh_account.post(f"/domain/zone/{zone}/refresh")
    before = rows(ovh_account, zone)
    assert len(before) == 50
    clients.octodns_files(granted(*(f"{method} /domain/zone/{zone}/*" for method in ("GET", "POST", "DELETE"))))

    clients.python("octodns-dump", CONFIG, "--output-dir=/root/zones", f"{zone}.", "ovh")
    assert "No changes were planned" in clients.python("octodns-sync", CONFIG)

    file = f"/root/zones/{zone}.yaml"
    dumped = yaml.safe_load(clients.run("cat", file).stdout)
    assert dumped["pool"][0] == {"type": "A", "ttl": 60, "values": ["192.0.2.41", "192.0.2.42", "192.0.2.43"]}
    dumped["pool"][0]["values"] = ["192.0.2.41", "192.0.2.44"]
    dumped["new"] = {"type": "TXT", "ttl": 300, "value": "said by octodns\\; really"}
    del dumped["printer"]
    clients.write(file, yaml.safe_dump(dumped))
    planned = clients.python("octodns-sync", CONFIG)
    assert "Summary: Creates=1, Updates=1, Deletes=1" in planned
    assert rows(ovh_account, zone) == before

    clients.python("octodns-sync", CONFIG, "--doit")
    wait_until(clients, f"pool.{zone}", "A", ["192.0.2.41", "192.0.2.44"])
    assert clients.answers(f"new.{zone}", "TXT") == ['"said by octodns; really"']
    assert clients.answers(f"printer.{zone}", "A") == []
    assert "No changes were planned" in clients.python("octodns-sync", CONFIG)
    changed = {"pool", "new", "printer"}
    after = rows(ovh_account, zone)
    untouched = [row for row in before if (row["subDomain"], row["fieldType"]) not in {(n, "A") for n in changed}]
    assert [row for row in after if row in untouched] == untouched
    assert sorted((r["subDomain"], r["fieldType"], r["target"], r["ttl"]) for r in after if r not in untouched) == [
        ("new", "TXT", '"said by octodns; really"', 300),
        ("pool", "A", "192.0.2.41", 60),
        ("pool", "A", "192.0.2.44", 60),
    ]
