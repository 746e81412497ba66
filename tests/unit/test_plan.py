"""The difference between what is wanted in the cloud and what there is, and how it is printed."""

import io
from dataclasses import replace

from rich.console import Console

from cloud.plan import Action, Plan, difference, same_image
from cloud.resources import Actual, FoundServer, GroupRule, KeyPair, Rule, Server, open_ports, wanted
from cloud.show import show

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7q2Vn0nmvrS0GBqU4sZbGQbM1hHxZ2RnqVxQb1v3cT"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJx0mQwTn0oVfPqg0Jb5hGk3oCqkKwzN1hJm3iYb0aX"
WANT = wanted(
    Server("koprogo", "d2-2", "Ubuntu 22.04", "Ext-Net", "koprogo", "koprogo", "production"), f"{KEY} me@home\n"
)
FOUND = FoundServer(
    id="5c1e",
    name="koprogo",
    status="ACTIVE",
    flavor="d2-2",
    image="Ubuntu 22.04",
    networks=frozenset({"Ext-Net"}),
    key_pair="koprogo",
    groups=frozenset({"koprogo"}),
    metadata={"project": "koprogo", "environment": "production"},
    ipv4="51.75.1.2",
    ipv6="2001:41d0::1",
)
HAVE = Actual(
    key_pair=WANT.key_pair,
    group=WANT.group,
    rules=WANT.rules,
    server=FOUND,
    records=frozenset({"known_hosts", "inventory.json"}),
)


def shown(plan: Plan, *, terminal: bool = False) -> list[str]:
    """The lines of a plan as they are printed."""
    out = io.StringIO()
    show(plan, Console(file=out, force_terminal=terminal, highlight=False, soft_wrap=True))
    return out.getvalue().splitlines()


def test_in_an_empty_project_everything_is_made_in_an_order_that_works() -> None:
    plan = difference(WANT, Actual())
    assert shown(plan) == [
        "  + key pair        koprogo         ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc",
        "  + security group  koprogo         project=koprogo environment=production",
        "  + rule            koprogo         out IPv4 everything to anywhere",
        "  + rule            koprogo         out IPv6 everything to anywhere",
        "  + rule            koprogo         in  IPv4 icmp from anywhere",
        "  + rule            koprogo         in  IPv6 ipv6-icmp from anywhere",
        "  + rule            koprogo         in  IPv4 tcp 22 from anywhere",
        "  + rule            koprogo         in  IPv6 tcp 22 from anywhere",
        "  + rule            koprogo         in  IPv4 tcp 80 from anywhere",
        "  + rule            koprogo         in  IPv6 tcp 80 from anywhere",
        "  + rule            koprogo         in  IPv4 tcp 443 from anywhere",
        "  + rule            koprogo         in  IPv6 tcp 443 from anywhere",
        "  + server          koprogo         d2-2, Ubuntu 22.04, Ext-Net, environment production",
        "  + file            known_hosts",
        "  + file            inventory.json",
        "",
        "Plan: 15 to create, 0 to change, 0 in place.",
    ]
    assert plan.problems == ()


def test_when_all_is_there_nothing_is_pending() -> None:
    plan = difference(WANT, HAVE)
    assert plan.pending == ()
    assert plan.problems == ()
    assert plan.summary == "Plan: 0 to create, 0 to change, 15 in place."


def test_a_rule_that_somebody_removed_is_added_and_one_they_added_is_only_reported() -> None:
    https = Rule("ingress", "tcp", "443", "IPv6")
    theirs = Rule("ingress", "tcp", "8000-8010", "IPv4", "10.0.0.0/8")
    plan = difference(WANT, replace(HAVE, rules=WANT.rules - {https} | {theirs}))
    assert [(c.action, c.resource) for c in plan.pending] == [(Action.CREATE, GroupRule("koprogo", https))]
    assert "  ! rule            koprogo         in  IPv4 tcp 8000-8010 from 10.0.0.0/8  (not one of ours)" in shown(
        plan
    )
    assert plan.summary == "Plan: 1 to create, 0 to change, 14 in place, 1 not as wanted and left so."


def test_a_server_of_other_size_or_system_is_reported_and_left() -> None:
    server = replace(FOUND, flavor="d2-4", image="Debian 12", key_pair="", groups=frozenset({"default"}))
    plan = difference(WANT, replace(HAVE, server=server))
    assert plan.pending == ()
    (line,) = [line for line in shown(plan) if "server" in line]
    assert line.endswith(
        "(flavor: d2-4 → d2-2; image: Debian 12 → Ubuntu 22.04; key pair: none → koprogo;"
        " security group: default → koprogo)"
    )


def test_a_server_that_is_being_made_does_not_drift() -> None:
    server = replace(FOUND, status="BUILD", networks=frozenset(), groups=frozenset(), ipv4="", ipv6="")
    plan = difference(WANT, replace(HAVE, server=server, records=frozenset()))
    assert [change.resource.name for change in plan.pending if not isinstance(change.resource, GroupRule)] == [
        "known_hosts",
        "inventory.json",
    ]
    assert plan.problems == ()


def test_an_image_that_ovh_renamed_or_removed_is_the_same() -> None:
    assert same_image("Ubuntu 22.04", "Ubuntu 22.04")
    assert same_image("Ubuntu 22.04 - deprecated_20251105", "Ubuntu 22.04")
    assert not same_image("Ubuntu 22.04.1", "Ubuntu 22.04")
    assert not same_image("Ubuntu 24.04", "Ubuntu 22.04")
    assert difference(WANT, replace(HAVE, server=replace(FOUND, image=""))).count(Action.REPORT) == 0


def problem(have: Actual) -> str:
    """The one thing that stands in the way."""
    (said,) = difference(WANT, have).problems
    return said


def test_a_server_of_our_name_that_is_not_ours_stops_everything() -> None:
    for metadata in ({}, {"project": "koprogo"}, {"project": "koprogo", "environment": "staging"}):
        said = problem(replace(HAVE, server=replace(FOUND, metadata=metadata)))
        assert said == (
            "The server koprogo (5c1e) is not ours: it lacks the metadata project=koprogo, environment=production."
            " Choose another INSTANCE_NAME, or adopt it:"
            " openstack server set --property project=koprogo --property environment=production 5c1e"
        )


def test_a_group_of_our_name_that_is_not_ours_stops_everything() -> None:
    said = problem(replace(HAVE, group=replace(WANT.group, description="web servers")))
    assert said.startswith("The security group koprogo is not ours")
    assert 'openstack security group set --description "project=koprogo environment=production" koprogo' in said


def test_another_key_under_our_name_stops_everything() -> None:
    said = problem(replace(HAVE, key_pair=KeyPair("koprogo", OTHER_KEY)))
    assert said.startswith("The key pair koprogo in the cloud is not SSH_PUBLIC_KEY.")


def test_a_server_in_error_is_reported_with_novas_reason_and_one_that_is_off_too() -> None:
    fault = "No valid host was found. There are not enough hosts available"
    assert problem(replace(HAVE, server=replace(FOUND, status="ERROR", fault=fault))) == (
        f"The server koprogo (5c1e) is in ERROR: {fault}."
        " It is billed until you remove it: openstack server delete 5c1e"
    )
    assert problem(replace(HAVE, server=replace(FOUND, status="SHUTOFF"))).endswith("openstack server start 5c1e")


def test_colours_are_for_terminals() -> None:
    plan = difference(WANT, Actual())
    assert "\x1b[" not in "".join(shown(plan))
    assert shown(plan, terminal=True)[0].startswith("\x1b[32m  + key pair")


def test_the_rules_of_a_port() -> None:
    assert open_ports((22,)) == {
        Rule("ingress", "tcp", "22", "IPv4"),
        Rule("ingress", "tcp", "22", "IPv6"),
        Rule("ingress", "icmp", "", "IPv4"),
        Rule("ingress", "ipv6-icmp", "", "IPv6"),
        Rule("egress", "", "", "IPv4"),
        Rule("egress", "", "", "IPv6"),
    }
