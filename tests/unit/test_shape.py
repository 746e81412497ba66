"""Answers of status 200 that are not OpenStack's: through openstacksdk, from a small server."""

from collections.abc import Callable
from typing import Any

import pytest
from openstack.connection import Connection
from small_cloud import SmallCloud
from test_preflight import cloud, connection

from cloud import waiting
from cloud.api import shape
from cloud.api.compute import Compute
from cloud.api.explain import explained
from cloud.api.make import Maker
from cloud.api.preflight import Needs, flavor_only, lack_of_room, parts
from cloud.resources import KeyPair, Server
from cloud.trouble import CloudError, NoAnswer

__all__ = ["cloud", "connection"]  # the fixtures

WANT = Server("koprogo", "d2-2", "Ubuntu 22.04", "Ext-Net", "koprogo", "koprogo", "production")
SERVERS = "/nova/v2.1/servers/detail?name=%5Ekoprogo%24"
GROUPS = "/v2.0/security-groups?name=koprogo&project_id=p1"
ODD: list[Any] = [{}, [], None, "none", 7, {"other": 1}]


def compute(connection: Connection) -> Compute:
    return Compute(connection, lambda _: None)


CALLS: dict[str, tuple[str, Callable[[Connection], object], str]] = {
    SERVERS: ("servers", lambda to: compute(to).servers("koprogo"), "Asking for the server: Nova"),
    "/nova/v2.1/servers/1": ("server", lambda to: compute(to).server("1"), "Asking for the server: Nova"),
    "/nova/v2.1/os-keypairs/koprogo": (
        "keypair",
        lambda to: compute(to).key_pair("koprogo"),
        "Reading the key pair: Nova",
    ),
    GROUPS: ("security_groups", lambda to: compute(to).groups("koprogo"), "Reading the security groups: Neutron"),
    "/v2.0/ports?device_id=1": ("ports", lambda to: compute(to).ports(["1"]), "Reading the network ports: Neutron"),
    "/nova/v2.1/flavors/detail?is_public=None": (
        "flavors",
        lambda to: flavor_only(to, "d2-2"),
        "Reading flavors: Nova",
    ),
    "/glance/v2/images?name=Ubuntu+22.04&status=active": (
        "images",
        lambda to: parts(to, WANT),
        "Reading flavors, images and networks: Glance",
    ),
    "/v2.0/networks?name=Ext-Net": (
        "networks",
        lambda to: parts(to, WANT),
        "Reading flavors, images and networks: Neutron",
    ),
    "/nova/v2.1/limits": ("limits", lambda to: lack_of_room(to, Needs(servers=1)), "Reading the quota: Nova"),
    "/v2.0/quotas/p1/details": ("quota", lambda to: lack_of_room(to, Needs(ports=1)), "Reading the quota: Neutron"),
}


@pytest.mark.parametrize("path", CALLS)
def test_what_cannot_be_read_is_a_line(cloud: SmallCloud, connection: Connection, path: str) -> None:
    key, ask, doing = CALLS[path]
    for body in [*ODD, {key: None}, {key: "none"}, {key: {}}, {key: [7]}, {key: [{}]}]:
        cloud.answers_json(f"GET {path}", body)
        with pytest.raises(CloudError) as caught:
            ask(connection)
        assert str(caught.value) == (
            f"{doing} (GET {path.partition('?')[0]}) answered in a way that OpenStack does not. Run again; if it stays"
            " so, check HTTP_PROXY, and see OVH's status page."
        ), body
        assert type(caught.value) is CloudError


@pytest.mark.parametrize("body", ODD)
def test_what_may_have_been_made_is_looked_for(
    cloud: SmallCloud, connection: Connection, monkeypatch: pytest.MonkeyPatch, body: Any
) -> None:
    monkeypatch.setattr(waiting.time, "sleep", lambda _: None)
    said = list[str]()
    maker = Maker(Compute(connection, said.append))
    group = {"id": "g1", "name": "koprogo", "description": "ours", "security_group_rules": []}
    cloud.answers_json(f"GET {GROUPS}", {"security_groups": [group]})
    cloud.answers_json("POST /v2.0/security-groups", body, 201)
    assert maker.make_group("koprogo", "ours") == "g1"
    assert said == [
        "Making security group koprogo: Neutron (POST /v2.0/security-groups) answered in a way that OpenStack does not;"
        " looking for 15 s whether it was made all the same"
    ]


def test_a_key_pair_may_have_the_name_of_a_list(cloud: SmallCloud, connection: Connection) -> None:
    cloud.answers_json("GET /nova/v2.1/os-keypairs/servers", {"keypair": {"name": "servers", "public_key": "t k"}})
    assert compute(connection).key_pair("servers") == KeyPair("servers", "t k")


@pytest.mark.parametrize("path", ["/v2.1/servers", "/v2.1/0123456789abcdef0123456789abcdef/servers/detail"])
def test_a_list_is_known_by_its_path(path: str) -> None:
    assert not shape.is_odd("GET", path, {"servers": []})
    assert shape.is_odd("GET", path, {"servers": {}})
    assert not shape.is_odd("POST", path, {"server": {"id": "1"}})


def test_a_mistake_of_ours_is_no_answer_of_the_clouds(cloud: SmallCloud, connection: Connection) -> None:
    flavor_only(connection, "d2-2")
    with pytest.raises(KeyError), explained("Counting"):
        dict[str, str]()["one"]
    with pytest.raises(NoAnswer), explained("Making it"):
        connection.session.post(f"{cloud.url}/there")
        dict[str, str]()["one"]


def test_a_group_is_a_ticket_by_its_name_and_its_description(cloud: SmallCloud, connection: Connection) -> None:
    def group(name: str, description: str) -> dict[str, Any]:
        return {"id": name, "name": name, "description": description, "security_group_rules": []}

    ours = "koprogo-lease-0123456789ab"
    groups = [
        group(ours, "lease=0123456789ab host=vm"),
        group("koprogo-lease-ba9876543210", "rules of the leasing department"),
        group("koprogo-lease", "lease=0123456789ab host=vm"),
        group("koprogo-lease-lease-0123456789ab", "lease=0123456789ab host=vm"),
        group("koprogo", "project=koprogo environment=production"),
    ]
    cloud.answers_json("GET /v2.0/security-groups?project_id=p1", {"security_groups": groups})
    assert [ticket.name for ticket in Maker(compute(connection)).tickets("koprogo")] == [ours]
