"""The session and preflight on a real OpenStack: what small servers in unit tests cannot stand for."""

import re
from collections.abc import Iterator

import pytest
from cloud_project import as_admin
from fault_proxy import FaultProxy
from openstack.connection import Connection

from cloud.api import patience
from cloud.api.explain import explained
from cloud.api.preflight import Needs, lack_of_room, parts
from cloud.api.session import connect
from cloud.resources import Server
from cloud.trouble import NoAnswer
from configuration.sections import OpenStack
from sandbox.world import World

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(120)]

NAME = "patience"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIM1w2X8ZkQ7p7Qk0m0c1F3k4K7O0cQy9v9oH8S0X1yZ"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setattr(patience, "sleep", lambda _: None)
        yield proxy


@pytest.fixture
def account(cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> OpenStack:
    for variable in ("NO_PROXY", "no_proxy", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return OpenStack.model_validate(cloud)


@pytest.fixture
def connection(account: OpenStack, proxy: FaultProxy) -> Iterator[Connection]:
    """A connection through the proxy, in a project that has nothing of our name."""
    connection = connect(account, lambda _: None)
    remove(connection)
    proxy.calls.clear()
    yield connection
    remove(connection)


def remove(connection: Connection) -> None:
    """Take away everything of our name."""
    connection.compute.delete_keypair(NAME)
    for group in connection.network.security_groups(name=NAME):
        connection.network.delete_security_group(group)


def test_a_delete_whose_answer_was_lost_is_done(connection: Connection, proxy: FaultProxy) -> None:
    connection.compute.create_keypair(name=NAME, public_key=KEY)
    group = connection.network.create_security_group(name=NAME)
    proxy.rule("cut", "DELETE", f"/os-keypairs/{NAME}$")
    proxy.rule("cut", "DELETE", f"/security-groups/{group.id}$")
    connection.compute.delete_keypair(NAME)
    connection.network.delete_security_group(group)
    assert [method for method, _ in proxy.calls].count("DELETE") == 4
    assert connection.compute.find_keypair(NAME) is None
    assert list(connection.network.security_groups(name=NAME)) == []


def test_a_create_whose_answer_was_lost_is_asked_once(connection: Connection, proxy: FaultProxy) -> None:
    proxy.rule("cut", "POST", "/security-groups$")
    with pytest.raises(NoAnswer), explained("Making the group"):
        connection.network.create_security_group(name=NAME)
    assert len(list(connection.network.security_groups(name=NAME))) == 1
    assert [call for call in proxy.calls if call[0] == "POST"] == [("POST", "/v2.0/security-groups")]


def test_a_token_that_was_revoked_is_replaced(account: OpenStack, proxy: FaultProxy) -> None:
    connection = connect(account, lambda _: None)  # no service has seen its token: they remember for minutes
    token = str(connection.session.get_token())
    connection.session.delete(f"{account.auth_url}/auth/tokens", headers={"X-Subject-Token": token})
    proxy.calls.clear()
    assert [one.name for one in connection.network.networks(name="Ext-Net")] == ["Ext-Net"]
    assert connection.session.get_token() != token
    assert proxy.calls == [("GET", "/v2.0/networks"), ("POST", "/v3/auth/tokens"), ("GET", "/v2.0/networks")]


def test_no_secret_is_in_the_trace(account: OpenStack, proxy: FaultProxy) -> None:
    traced: list[str] = []
    connection = connect(account, lambda _: None, traced.append)
    list(connection.network.networks(name="Ext-Net"))
    everything = "\n".join(traced)
    assert everything.startswith("POST /v3/auth/tokens 201 ")
    assert "\nGET /v2.0/networks?name=Ext-Net 200 " in everything
    assert everything.count(" ms req-") == 2
    assert account.password.get_secret_value() not in everything
    assert str(connection.session.get_token()) not in everything


def test_parts_and_room_are_there(connection: Connection, proxy: FaultProxy) -> None:
    found = parts(connection, Server(NAME, "d2-2", "Ubuntu 22.04", "Ext-Net", NAME, NAME, "production"))
    assert (found.flavor.vcpus, found.flavor.ram, found.flavor.disk) == (1, 2000, 25)
    assert (found.image.name, found.network.name) == ("Ubuntu 22.04", "Ext-Net")
    needs = Needs(servers=1, vcpus=1, memory_mb=2000, key_pairs=1, groups=1, rules=10, ports=1)
    assert lack_of_room(connection, needs) == []


def test_the_quota_of_the_network_is_that_of_now(connection: Connection, world: World) -> None:
    before = connection.network.get_quota(str(connection.session.get_project_id()), details=True).ports["limit"]
    as_admin(world, "cloud.set_network_quotas('koprogo-sandbox', port=77)")  # others make ports meanwhile
    try:
        (line,) = lack_of_room(connection, Needs(groups=1, rules=10, ports=78))
    finally:
        as_admin(world, f"cloud.set_network_quotas('koprogo-sandbox', port={before})")
    assert re.fullmatch(
        r"The quota has no room: \d+ of 77 network ports in use, and 78 more needed\."
        r" Ask OVH for more \(console: Public Cloud > Quota\), or free some\.",
        line,
    )
