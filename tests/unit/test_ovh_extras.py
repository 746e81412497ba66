"""Redirections, DynHost, export and import at the stand-in for OVH's API."""

from typing import Any

import ovh
import pytest
from ovh_stand_in import Api

from sandbox.internet.ovh_api.zonefile import parse

ZONE = "/domain/zone/koprogo.test"


@pytest.fixture
def client(api: Api) -> Any:
    return api.client()


def rows(client: Any, sub: str) -> list[tuple[str, str]]:
    found = [client.get(f"{ZONE}/record/{i}") for i in client.get(f"{ZONE}/record", subDomain=sub)]
    return [(r["fieldType"], r["target"]) for r in found]


def test_a_redirection_owns_rows_and_takes_them_with_it(client: Any) -> None:
    made = client.post(f"{ZONE}/redirection", subDomain="Old", target="https://x.test/", type="visible", title="T")
    assert {**made, "id": 0} == {
        "id": 0,
        "zone": "koprogo.test",
        "subDomain": "old",
        "target": "https://x.test/",
        "type": "visible",
        "title": "T",
        "keywords": None,
        "description": None,
    }
    path = f"{ZONE}/redirection/{made['id']}"
    assert client.get(path) == made
    assert rows(client, "old") == [("A", "213.186.33.5"), ("TXT", '"1|https://x.test/"'), ("TXT", '"3|T"')]
    assert client.put(path, type="visiblePermanent", title=None) is None
    assert rows(client, "old") == [("A", "213.186.33.5"), ("TXT", '"4|https://x.test/"')]
    assert client.delete(path) is None
    assert rows(client, "old") == []
    assert len(client.get(f"{ZONE}/record")) == 4
    with pytest.raises(ovh.exceptions.ResourceNotFoundError):
        client.get(path)


def test_redirections_are_filtered_by_equality(client: Any) -> None:
    apex = client.post(f"{ZONE}/redirection", target="https://x.test/", type="visible")["id"]
    sub = client.post(f"{ZONE}/redirection", subDomain="a", target="https://x.test/", type="invisible")["id"]
    assert client.get(f"{ZONE}/redirection") == [apex, sub]
    assert client.get(f"{ZONE}/redirection", subDomain="") == [apex]
    assert client.get(f"{ZONE}/redirection", subDomain="A") == [sub]
    assert client.get(f"{ZONE}/redirection", subDomain="%") == []


def test_a_redirection_beside_a_cname_is_refused_whole(client: Any) -> None:
    with pytest.raises(ovh.exceptions.ResourceConflictError):
        client.post(f"{ZONE}/redirection", subDomain="www", target="https://x.test/", type="visible")
    assert client.get(f"{ZONE}/redirection") == []
    assert len(client.get(f"{ZONE}/record")) == 4


def test_a_dynhost_owns_the_row_of_its_address(client: Any) -> None:
    made = client.post(f"{ZONE}/dynHost/record", subDomain="home", ip="192.0.2.7")
    assert {**made, "id": 0} == {"id": 0, "zone": "koprogo.test", "subDomain": "home", "ip": "192.0.2.7", "ttl": 60}
    path = f"{ZONE}/dynHost/record/{made['id']}"
    assert client.get(path) == made
    assert client.get(f"{ZONE}/dynHost/record", subDomain="H%") == [made["id"]]
    assert client.get(f"{ZONE}/dynHost/record", subDomain="") == []
    assert rows(client, "home") == [("A", "192.0.2.7")]
    assert client.put(path, ip="2001:db8::7", id=made["id"], zone="koprogo.test") is None
    assert rows(client, "home") == [("AAAA", "2001:db8::7")]
    with pytest.raises(ovh.exceptions.BadParametersError, match="read-only properties: ttl"):
        client.put(path, ttl=300)
    assert client.delete(path) is None
    assert rows(client, "home") == []


def test_owned_rows_are_served_after_refresh_only(api: Api, client: Any) -> None:
    client.post(f"{ZONE}/dynHost/record", subDomain="home", ip="192.0.2.7")
    assert api.publisher.names("koprogo.test", "home", "A") == []
    assert api.history[-1]["dynhosts"][0]["rows"] == [api.history[-1]["records"][-1]["id"]]


def test_owners_keep_their_rows_when_ids_change(api: Api, client: Any) -> None:
    made = client.post(f"{ZONE}/redirection", subDomain="old", target="https://x.test/", type="visible")
    api.store.renumber("koprogo.test")
    client.delete(f"{ZONE}/redirection/{made['id']}")
    assert len(client.get(f"{ZONE}/record")) == 4


def test_what_is_exported_can_be_imported_and_gets_new_ids(api: Api, client: Any) -> None:
    client.post(f"{ZONE}/record", fieldType="TXT", subDomain="", target="v=1; x", ttl=60)
    before, text = client.get(f"{ZONE}/record"), client.get(f"{ZONE}/export")
    assert text.splitlines()[-1] == '@ 60 IN TXT "v=1; x"'
    task = client.post(f"{ZONE}/import", zoneFile=text + "\n; a comment\nnew 300 IN A 192.0.2.1\n")
    assert (task["function"], task["canCancel"]) == ("ZoneImport", False)
    after = client.get(f"{ZONE}/record")
    assert (len(before), len(after), set(before) & set(after)) == (5, 6, set())
    assert rows(client, "") == [("NS", "ns1.sandbox.test."), ("MX", "1 mx1.mail.ovh.net."), ("TXT", '"v=1; x"')]
    assert rows(client, "new") == [("A", "192.0.2.1")]
    assert client.get(f"{ZONE}/task", function="ZoneImport") == [task["id"]]


@pytest.mark.parametrize("text", ["@ 60 A", "a IN A 300.0.0.1", "a IN B x", "a IN CNAME b\na IN A 192.0.2.1"])
def test_a_zone_file_with_a_wrong_line_changes_nothing(client: Any, text: str) -> None:
    before = client.get(f"{ZONE}/record")
    with pytest.raises((ovh.exceptions.BadParametersError, ovh.exceptions.ResourceConflictError)):
        client.post(f"{ZONE}/import", zoneFile=text)
    assert client.get(f"{ZONE}/record") == before


def test_parse() -> None:
    assert parse("$TTL 60\n@ IN SOA a b 1 2 3 4 5\nx 60 IN a 192.0.2.1\n") == [
        {"fieldType": "A", "subDomain": "x", "target": "192.0.2.1", "ttl": 60}
    ]
