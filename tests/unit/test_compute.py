"""What the cloud's libraries answer and raise, in our terms. The calls themselves are tested in tests/cloud."""

from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud.compute import Compute, _by_name, _rule
from cloud.explain import explain, explained
from cloud.resources import GroupRule, Rule
from cloud.trouble import CloudError, NotYet

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
    assert _rule(HTTPS | changes) == rule


def test_the_nearest_names_are_offered() -> None:
    class Flavor:
        def __init__(self, name: str) -> None:
            self.name = name

    flavors = [Flavor(name) for name in ("d2-2", "d2-4", "b3-8", "win-b3-8")]
    assert _by_name("FLAVOR", "d2-4", flavors) is flavors[1]
    with pytest.raises(CloudError) as caught:
        _by_name("FLAVOR", "b3-9", flavors)
    assert str(caught.value) == "FLAVOR: the cloud has no 'b3-9' here. It has: b3-8, win-b3-8."


def http(kind: type[sdk.HttpException], status: int, details: str) -> sdk.HttpException:
    """An exception as openstacksdk raises it."""
    return kind(message="Client Error", details=details, http_status=status)


def make_rule(refusal: str) -> None:
    """Make a rule in a cloud that refuses it with a conflict."""

    def refuse(**_: object) -> None:
        raise http(sdk.ConflictException, 409, refusal)

    network = SimpleNamespace(
        security_groups=lambda **_: [SimpleNamespace(id="7f01")], create_security_group_rule=refuse
    )
    session = SimpleNamespace(get_project_id=lambda: "p1")
    cloud: Any = SimpleNamespace(compute=None, network=network, session=session)
    Compute(cloud).make(GroupRule("koprogo", Rule("ingress", "tcp", "443", "IPv4")))


def test_a_rule_that_is_there_meanwhile_is_made() -> None:
    make_rule("Security group rule already exists. Rule id is 6d2f.")


def test_a_rule_for_which_the_quota_has_no_room_is_not_made() -> None:
    with pytest.raises(CloudError) as caught:
        make_rule("Quota exceeded for resources: ['security_group_rule'].")
    assert str(caught.value) == (
        "Making rule koprogo: Quota exceeded for resources: ['security_group_rule']."
        " Ask OVH for more (console: Public Cloud > Quota), or free some."
    )


@pytest.mark.parametrize(
    ("error", "said", "kind"),
    [
        (keystone.ConnectFailure("x"), "the cloud cannot be reached. Check the network and OS_AUTH_URL", NotYet),
        (keystone.Unauthorized("x"), "the cloud no longer accepts the token or the password.", CloudError),
        (keystone.SSLError("x"), "the cloud's TLS certificate does not verify.", CloudError),
        (http(sdk.HttpException, 429, "slow down"), "the cloud asks for fewer requests (429).", NotYet),
        (
            http(sdk.HttpException, 502, "<html><h1>502 Bad Gateway</h1>\n<p>nginx</p></html>"),
            "the cloud failed (502: 502 Bad Gateway). Run again;",
            NotYet,
        ),
        (
            http(sdk.ForbiddenException, 403, "Quota exceeded for cores: Requested 1, but already used 4 of 4 cores"),
            "Quota exceeded for cores: Requested 1, but already used 4 of 4 cores. Ask OVH for more",
            CloudError,
        ),
        (
            http(sdk.ForbiddenException, 403, "Policy doesn't allow os_compute_api:servers:create"),
            "the user may not do that (Policy doesn't allow os_compute_api:servers:create). Its roles",
            CloudError,
        ),
        (http(sdk.BadRequestException, 400, "Invalid key_name provided."), "Invalid key_name provided.", CloudError),
    ],
)
def test_what_an_exception_says_and_whether_to_ask_again(error: Exception, said: str, kind: type[Exception]) -> None:
    assert explain(error).startswith(said)
    with pytest.raises(CloudError) as caught, explained("Making the server"):
        raise error
    assert str(caught.value).startswith(f"Making the server: {said}")
    assert type(caught.value) is kind
