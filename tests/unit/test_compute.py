"""What the cloud's answers are in our terms. The calls themselves are tested in tests/cloud."""

from typing import Any

import pytest

from cloud.api.compute import rule_of
from cloud.resources import Rule

HTTPS = {
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": 443,
    "port_range_max": 443,
    "remote_ip_prefix": None,
    "remote_group_id": None,
}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, Rule("ingress", "tcp", "443", "IPv4")),
        ({"remote_ip_prefix": "0.0.0.0/0"}, Rule("ingress", "tcp", "443", "IPv4")),
        ({"ethertype": "IPv6", "remote_ip_prefix": "::/0"}, Rule("ingress", "tcp", "443", "IPv6")),
        ({"remote_ip_prefix": "10.0.0.0/8"}, Rule("ingress", "tcp", "443", "IPv4", "10.0.0.0/8")),
        ({"remote_group_id": "6d2f"}, Rule("ingress", "tcp", "443", "IPv4", "6d2f")),
        ({"port_range_max": 450}, Rule("ingress", "tcp", "443-450", "IPv4")),
        (
            {"protocol": "icmpv6", "ethertype": "IPv6", "port_range_min": None, "port_range_max": None},
            Rule("ingress", "ipv6-icmp", "", "IPv6"),
        ),
        (
            {"direction": "egress", "protocol": None, "port_range_min": None, "port_range_max": None},
            Rule("egress", "", "", "IPv4"),
        ),
    ],
)
def test_rules_that_mean_the_same_are_the_same(changes: dict[str, Any], rule: Rule) -> None:
    assert rule_of(HTTPS | changes) == rule
