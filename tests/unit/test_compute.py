"""What the cloud's answers are in our terms. The calls themselves are tested in tests/cloud."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from openstack import exceptions as sdk
from openstack.compute.v2.flavor import Flavor
from openstack.compute.v2.server import Server as NovaServer
from openstack.connection import Connection
from test_plan import WANT

from cloud.api.compute import Compute, rule_of
from cloud.resources import FoundServer, Rule, Size

HTTPS = {
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": 443,
    "port_range_max": 443,
    "remote_ip_prefix": None,
    "remote_group_id": None,
}

ALL_PORTS = {"port_range_min": None, "port_range_max": None}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, Rule("ingress", "tcp", "443", "IPv4")),
        ({"remote_ip_prefix": "0.0.0.0/0"}, Rule("ingress", "tcp", "443", "IPv4")),
        ({"ethertype": "IPv6", "remote_ip_prefix": "::/0"}, Rule("ingress", "tcp", "443", "IPv6")),
        ({"remote_ip_prefix": "10.0.0.0/8"}, Rule("ingress", "tcp", "443", "IPv4", "10.0.0.0/8")),
        ({"remote_group_id": "6d2f"}, Rule("ingress", "tcp", "443", "IPv4", "6d2f")),
        ({"remote_address_group_id": "6d30"}, Rule("ingress", "tcp", "443", "IPv4", "6d30")),
        ({"port_range_max": 450}, Rule("ingress", "tcp", "443-450", "IPv4")),
        (
            {"protocol": "icmpv6", "ethertype": "IPv6", "port_range_min": None, "port_range_max": None},
            Rule("ingress", "ipv6-icmp", "", "IPv6"),
        ),
        ({"protocol": "6"}, Rule("ingress", "tcp", "443", "IPv4")),
        ({"protocol": "17"}, Rule("ingress", "udp", "443", "IPv4")),
        ({"protocol": "1"} | ALL_PORTS, Rule("ingress", "icmp", "", "IPv4")),
        ({"protocol": "58", "ethertype": "IPv6"} | ALL_PORTS, Rule("ingress", "ipv6-icmp", "", "IPv6")),
        ({"protocol": "icmp", "ethertype": "IPv6"} | ALL_PORTS, Rule("ingress", "ipv6-icmp", "", "IPv6")),
        ({"protocol": "icmp", "port_range_min": 8, "port_range_max": None}, Rule("ingress", "icmp", "8", "IPv4")),
        ({"protocol": "icmp", "port_range_min": 3, "port_range_max": 3}, Rule("ingress", "icmp", "3-3", "IPv4")),
        ({"protocol": "132"}, Rule("ingress", "132", "443", "IPv4")),
        (
            {"direction": "egress", "protocol": None, "port_range_min": None, "port_range_max": None},
            Rule("egress", "", "", "IPv4"),
        ),
    ],
)
def test_rules_that_mean_the_same_are_the_same(changes: dict[str, Any], rule: Rule) -> None:
    assert rule_of(HTTPS | changes) == rule


class Nova:
    """One server, and flavors by their ids."""

    def __init__(self, **server: Any) -> None:
        self.body = {"id": "1", "name": "koprogo", "status": "ACTIVE", "addresses": {}, "metadata": {}} | server
        self.flavors = {"f1": Flavor(id="f1", name="d2-2", vcpus=1, ram=2000, disk=25)}
        self.asked = list[str]()
        self.ports = [SimpleNamespace(id="9a")]

    def get_server(self, _: str) -> NovaServer:
        """Show the server."""
        return NovaServer.existing(**self.body)

    def servers(self, **_: str) -> list[NovaServer]:
        """Show those that have the name that is asked for."""
        return []

    def get_flavor(self, flavor_id: str) -> Flavor:
        """Show a flavor."""
        self.asked.append(flavor_id)
        if flavor_id not in self.flavors:
            raise sdk.NotFoundException("no such flavor", http_status=404)
        return self.flavors[flavor_id]


def compute(nova: Nova) -> Compute:
    config = SimpleNamespace(get_region_name=lambda: "GRA11")
    session = SimpleNamespace(get_project_id=lambda: "p1")
    network = SimpleNamespace(ports=lambda device_id: nova.ports)
    return Compute(
        cast(Connection, SimpleNamespace(compute=nova, config=config, session=session, network=network)), print
    )


def found(cloud: Compute) -> FoundServer:
    server = cloud.server("1")
    assert server
    return server


NEW_FLAVOR = {"original_name": "d2-4", "vcpus": 2, "ram": 4000, "disk": 50}


def test_the_flavor_comes_with_the_server() -> None:
    nova = Nova(flavor=NEW_FLAVOR)
    server = found(compute(nova))
    assert (server.flavor, server.size, nova.asked) == ("d2-4", Size(2, 4000, 50), [])


def test_the_flavor_of_which_an_old_nova_gives_the_id_is_looked_up_once() -> None:
    nova = Nova(flavor={"id": "f1", "links": []})
    cloud = compute(nova)
    for _ in range(3):
        server = found(cloud)
        assert (server.flavor, server.size) == ("d2-2", Size(1, 2000, 25))
    assert nova.asked == ["f1"]


def test_a_flavor_that_is_gone_is_called_by_its_id() -> None:
    nova = Nova(flavor={"id": "f9", "links": []})
    cloud = compute(nova)
    assert (found(cloud).flavor, found(cloud).size, nova.asked) == ("f9", Size(0, 0, 0), ["f9"])


def test_of_several_addresses_one_that_all_reach_is_taken() -> None:
    def on(*addresses: str) -> list[dict[str, Any]]:
        return [{"addr": address, "version": 6 if ":" in address else 4} for address in addresses]

    several = {"private": on("10.0.0.5", "2001:db8::5"), "Ext-Net": on("51.68.1.9", "51.68.1.10", "2001:41d0::7")}
    server = found(compute(Nova(flavor=NEW_FLAVOR, addresses=several)))
    assert (server.ipv4, server.ipv6) == ("51.68.1.10", "2001:41d0::7")
    two_private = {"private": on("10.77.1.101", "10.77.1.100")}
    server = found(compute(Nova(flavor=NEW_FLAVOR, addresses=two_private)))
    assert (server.ipv4, server.ipv6) == ("10.77.1.100", "")


OURS = {"project": "koprogo", "environment": "production"}


def test_a_server_says_where_it_is() -> None:
    server = found(compute(Nova(flavor=NEW_FLAVOR)))
    assert (server.region, server.project) == ("GRA11", "p1")


@pytest.mark.parametrize(("metadata", "ids"), [(OURS, ["1"]), ({}, []), (OURS | {"environment": "staging"}, [])])
def test_ours_is_found_by_its_id_under_another_name(metadata: dict[str, str], ids: list[str]) -> None:
    cloud = compute(Nova(name="by hand", flavor=NEW_FLAVOR, metadata=metadata))
    assert [one.id for one in cloud.servers_of(WANT.server, "1")] == ids
    assert cloud.servers_of(WANT.server, "") == ()


def test_addresses_of_a_port_that_is_gone_are_none() -> None:
    nova = Nova(flavor=NEW_FLAVOR, addresses={"Ext-Net": [{"version": 4, "addr": "51.75.1.2"}]})
    assert found(compute(nova)).ipv4 == "51.75.1.2"  # in no group, by hand
    nova.ports = []
    without = found(compute(nova))
    assert (without.ipv4, without.networks) == ("", frozenset())
