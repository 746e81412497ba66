"""The difference between what is wanted in the cloud and what there is, and how it is printed."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from cloud.plan import Action, Change, Plan, difference
from cloud.resources import (
    Actual,
    Address,
    Difference,
    Existing,
    FoundGroup,
    FoundServer,
    KeyPair,
    Port,
    Rule,
    Server,
    Size,
    open_ports,
    wanted,
)
from cloud.server_plan import first_group, first_server, same_image
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
    size=Size(1, 2000, 25),
    created="2026-11-01T10:00:00Z",
    region="GRA11",
    project="p1",
)
GROUP = FoundGroup("6a01", "koprogo", "project=koprogo environment=production", WANT.rules)
HAVE = Actual(
    key_pair=WANT.key_pair,
    groups=(GROUP,),
    servers=(FOUND,),
    records={"known_hosts": "", "inventory.json": ""},
    size=Size(1, 2000, 25),
)


def having(**server: Any) -> Actual:
    """Everything in place, but for something about the server."""
    return replace(HAVE, servers=(replace(FOUND, **server),))


def about(have: Actual, *words: str, **how: bool) -> list[str]:
    """The lines of a plan that hold one of these words and are more than in place."""
    lines = [line for line in shown(difference(WANT, have, **how)) if not line.startswith("  =")]
    return [line for line in lines[:-2] if not words or any(word in line for word in words)]


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


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    names = Address("api.koprogo.example.org", "A", "51.75.1.2")
    server = Existing("server", "koprogo", "5c1e", "d2-2")
    removed = Plan((Change(Action.DELETE, names), Change(Action.DELETE, server), Change(Action.DELETE, Port("6a01"))))
    assert shown(removed)[:3] == [
        "  - DNS record      api.koprogo.example.org A 51.75.1.2",
        "  - server          koprogo                 5c1e  d2-2",
        "  - port            6a01",
    ]
    assert shown(Plan(())) == ["", "Plan: 0 to create, 0 to change, 0 in place."]


def test_when_all_is_there_nothing_is_pending() -> None:
    plan = difference(WANT, HAVE)
    assert plan.pending == ()
    assert plan.problems == ()
    assert plan.summary == "Plan: 0 to create, 0 to change, 15 in place."


def test_a_rule_that_somebody_removed_is_added_and_one_they_added_goes() -> None:
    https = Rule("ingress", "tcp", "443", "IPv6")
    theirs = Rule("ingress", "tcp", "8000-8010", "IPv4", "10.0.0.0/8")
    have = replace(HAVE, groups=(replace(GROUP, rules=WANT.rules - {https} | {theirs}),))
    assert about(have) == [
        "  + rule            koprogo         in  IPv6 tcp 443 from anywhere",
        "  - rule            koprogo         in  IPv4 tcp 8000-8010 from 10.0.0.0/8  (added by hand)",
    ]
    assert difference(WANT, have).summary == "Plan: 1 to create, 0 to change, 1 to delete, 14 in place."


def test_a_server_of_another_size_is_resized_and_one_in_another_group_is_moved() -> None:
    have = having(flavor="d2-4", groups=frozenset({"default"}))
    assert about(have) == [
        "  ~ server          koprogo         flavor: d2-4 → d2-2, with a restart",
        "  ~ server          koprogo         security groups: default → koprogo",
    ]
    assert difference(WANT, have).problems == ()


def test_a_resize_without_a_way_back_says_so() -> None:
    have = replace(having(flavor="d2-1", size=Size(1, 1000, 10)))
    assert about(have) == [
        "  ~ server          koprogo         flavor: d2-1 → d2-2, with a restart; its disk grows to 25 GB, for good"
    ]


def test_a_disk_does_not_shrink() -> None:
    assert problem(having(flavor="d2-4", size=Size(2, 4000, 50))) == (
        "FLAVOR: d2-2 has 25 GB of disk, and koprogo (d2-4) has 50 GB, which cannot shrink."
        " Put FLAVOR=d2-4, or a flavor with as much."
    )


def test_a_resize_that_was_cut_off_is_brought_to_its_end() -> None:
    assert about(having(status="VERIFY_RESIZE")) == [
        "  ~ server          koprogo         flavor: d2-2, to be confirmed"
    ]
    other = having(status="VERIFY_RESIZE", flavor="d2-4", size=Size(2, 4000, 50))
    assert about(other) == [
        "  ~ server          koprogo         flavor: d2-4, not confirmed: back to what it was before"
    ]
    assert difference(WANT, other).problems == ()


def test_another_image_is_a_rebuild_that_loses_the_disk() -> None:
    have = having(image="Debian 12")
    assert about(have) == [
        "-/+ server          koprogo         d2-2, Ubuntu 22.04, Ext-Net, environment production"
        "  (image: Debian 12 → Ubuntu 22.04; everything on its disk is lost)",
        "  ~ file            known_hosts  (it will be another machine)",
    ]
    plan = difference(WANT, have)
    assert plan.loses_data
    (change,) = [change for change in plan.pending if change.loses_data]
    assert change.keeps_address


def test_another_image_and_size_are_both_done() -> None:
    have = having(image="Debian 12", flavor="d2-1", size=Size(1, 1000, 10))
    assert [line[:60] for line in about(have, "server")] == [
        "  ~ server          koprogo         flavor: d2-1 → d2-2, wit",
        "-/+ server          koprogo         d2-2, Ubuntu 22.04, Ext-",
    ]


def test_a_server_that_nova_shows_no_network_of_is_waited_for_and_not_replaced() -> None:
    assert about(replace(having(networks=frozenset(), ipv4="", ipv6=""), records={})) == [
        "  + file            known_hosts",
        "  + file            inventory.json",
    ]


@pytest.mark.parametrize("state", [{"status": "REBUILD"}, {"status": "REBOOT"}, {"busy": True}])
def test_what_nova_is_at_work_on_is_waited_for(state: dict[str, Any]) -> None:
    have = having(**state)
    (line,) = about(have, "server", rebuild=True)
    assert line.startswith("  ~ server          koprogo         status: Nova is at work on it (")
    assert not difference(WANT, have, rebuild=True).makes_a_server
    assert ("known_hosts  (it is being rebuilt)" in "".join(about(have))) is (state == {"status": "REBUILD"})


def test_another_network_is_another_server() -> None:
    have = having(networks=frozenset({"private"}))
    assert about(have) == [
        "-/+ server          koprogo         d2-2, Ubuntu 22.04, Ext-Net, environment production"
        "  (network: private → Ext-Net; its disk and its addresses are lost)",
        "  ~ file            known_hosts  (it will be another machine)",
        "  ~ file            inventory.json  (it will be another machine)",
    ]
    assert not difference(WANT, have).pending[0].keeps_address


def test_a_rebuild_is_asked_for() -> None:
    assert about(HAVE, rebuild=True)[0].endswith("(rebuilt from Ubuntu 22.04; everything on its disk is lost)")
    assert about(HAVE) == []


def test_a_server_that_is_off_is_started() -> None:
    assert about(having(status="SHUTOFF")) == ["  ~ server          koprogo         status: SHUTOFF → ACTIVE"]


def test_a_server_that_is_being_made_does_not_drift() -> None:
    have = having(status="BUILD", networks=frozenset(), groups=frozenset(), ipv4="", ipv6="", key_pair="")
    assert about(replace(have, records={})) == [
        "  + file            known_hosts",
        "  + file            inventory.json",
    ]
    assert difference(WANT, have).problems == ()


def test_an_image_that_ovh_renamed_or_removed_is_the_same() -> None:
    assert same_image("Ubuntu 22.04", "Ubuntu 22.04")
    assert same_image("Ubuntu 22.04 - deprecated_20251105", "Ubuntu 22.04")
    assert not same_image("Ubuntu 22.04.1", "Ubuntu 22.04")
    assert not same_image("Ubuntu 24.04", "Ubuntu 22.04")
    assert about(having(image="")) == []


def test_a_key_pair_of_another_server_is_reported_and_left() -> None:
    assert about(having(key_pair="")) == [
        "  ! server          koprogo         d2-2, Ubuntu 22.04, Ext-Net, environment production"
        "  (made with key pair none, and Nova changes none)"
    ]


def problem(have: Actual) -> str:
    """The one thing that stands in the way."""
    (said,) = difference(WANT, have).problems
    return said


def test_a_server_of_our_name_that_is_not_ours_stops_everything_until_it_is_adopted() -> None:
    for metadata, lacks in (
        ({}, "project=koprogo, environment=production"),
        ({"project": "koprogo"}, "environment=production"),
        ({"project": "koprogo", "environment": "staging"}, "environment=production (it has staging)"),
    ):
        assert problem(having(metadata=metadata)) == (
            f"The server koprogo (5c1e) is not ours: it lacks the metadata {lacks}."
            " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt"
        )
    theirs = having(metadata={"project": "koprogo"})
    assert about(theirs) == [
        "  ! server          koprogo         5c1e  d2-2, Ubuntu 22.04, 51.75.1.2, 2001:41d0::1, ACTIVE  (not ours)"
    ]
    assert about(theirs, adopt=True) == ["  ~ server          koprogo         metadata: environment: none → production"]
    assert difference(WANT, theirs, adopt=True).problems == ()
    # what else differs is for the next plan to show: nothing is lost by adopting
    other = having(metadata={}, image="Debian 12")
    assert about(other, adopt=True) == [
        "  ~ server          koprogo         metadata: project: none → koprogo, environment: none → production"
    ]
    assert not difference(WANT, other, adopt=True, rebuild=True).loses_data


def test_a_group_of_our_name_that_is_not_ours_stops_everything_until_it_is_adopted() -> None:
    theirs = replace(HAVE, groups=(replace(GROUP, description="web servers", rules=frozenset()),))
    assert problem(theirs) == (
        'The security group koprogo is not ours: its description is not "project=koprogo environment=production".'
        " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt"
    )
    assert about(theirs) == ["  ! security group  koprogo         6a01  0 rules  (not ours)"]
    adopted = about(theirs, adopt=True)
    assert adopted[0].endswith("(description: web servers → ours)")
    assert len(adopted) == 11


def test_another_key_is_put_in_place_if_the_server_knows_it() -> None:
    have = replace(HAVE, key_pair=KeyPair("koprogo", OTHER_KEY))
    assert about(have) == [
        "-/+ key pair        koprogo         ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc"
        "  (ssh-ed25519 SHA256:RyaD1e4+fZRye17+LIiQOuscDVnHubRwhhVLAIq10TI → SSH_PUBLIC_KEY)"
    ]
    assert difference(WANT, have).problems == ()
    assert not difference(WANT, have).loses_data
    assert difference(WANT, replace(have, key_trouble="It does not let us in.")).problems == ("It does not let us in.",)
    # one that is made again gets the new key
    assert not difference(WANT, replace(have, key_trouble="It does not let us in."), rebuild=True).problems


def test_a_key_pair_that_nothing_marks_as_ours_is_left_until_it_is_adopted() -> None:
    alone = Actual(key_pair=KeyPair("koprogo", OTHER_KEY))
    assert problem(alone) == (
        "The key pair koprogo is not SSH_PUBLIC_KEY, and nothing says that it is ours. Choose another INSTANCE_NAME, or"
        " have it replaced: python provision.py adopt"
    )
    assert difference(WANT, alone, adopt=True).problems == ()
    assert difference(WANT, replace(alone, groups=(GROUP,))).problems == ()


def test_a_server_in_error_is_replaced_only_if_it_never_ran() -> None:
    fault = "No valid host was found"
    never = having(status="ERROR", fault=fault, launched=False)
    assert about(never, "server")[0].endswith("(it is in ERROR (No valid host was found) and never ran)")
    assert not difference(WANT, never).loses_data
    larger = having(status="ERROR", launched=False, flavor="d2-4", size=Size(2, 4000, 50))
    assert difference(WANT, larger).problems == ()
    assert problem(having(status="ERROR", fault=fault)) == (
        "The server koprogo (5c1e) is in ERROR: No valid host was found. It is billed, and its disk may still be good:"
        " a hard reboot in OVH's console can bring it back. To give it up: python provision.py destroy"
    )


def test_what_nova_does_not_allow_is_said_before() -> None:
    assert problem(having(status="DELETING")) == (
        "The server koprogo (5c1e) is just being removed. Wait a moment, then run again."
    )
    assert problem(having(status="SHELVED_OFFLOADED")).startswith("The server koprogo (5c1e) is SHELVED_OFFLOADED")
    assert problem(having(flavor="d2-4", locked=True)).startswith("The server koprogo (5c1e) is locked")
    assert difference(WANT, having(locked=True)).problems == ()


def test_of_two_servers_the_known_one_stays() -> None:
    older = replace(FOUND, id="0001", created="2026-10-01T10:00:00Z")
    failed = replace(FOUND, id="0000", created="2026-09-01T10:00:00Z", status="ERROR", launched=False)
    theirs = replace(FOUND, id="0002", created="2026-08-01T10:00:00Z", metadata={})
    servers = (theirs, failed, FOUND, older)
    assert [one.id for one in first_server(WANT.server, "5c1e", servers)] == ["5c1e", "0001", "0000", "0002"]
    assert [one.id for one in first_server(WANT.server, "", servers)] == ["0001", "5c1e", "0000", "0002"]
    two = replace(HAVE, servers=(FOUND, older))
    assert about(two) == [
        "  - server          koprogo         0001  d2-2, Ubuntu 22.04, 51.75.1.2, 2001:41d0::1, ACTIVE"
        "  (there are two of this name)"
    ]
    assert difference(WANT, two).loses_data
    assert problem(replace(HAVE, servers=(FOUND, theirs))) == (
        "There are more servers named koprogo that are not ours (0002); rename or remove them."
    )


def test_of_two_groups_the_one_with_the_rules_stays() -> None:
    empty = replace(GROUP, id="6a00", rules=frozenset())
    groups = first_group(WANT.group.description, WANT.rules, (empty, GROUP))
    assert [group.id for group in groups] == ["6a01", "6a00"]
    assert about(replace(HAVE, groups=groups)) == [
        "  - security group  koprogo         6a00  0 rules  (there are two of this name)"
    ]
    foreign = (GROUP, replace(empty, description="web"))
    assert problem(replace(HAVE, groups=foreign)).startswith("There are 2 security groups named koprogo, and not all")


def test_what_the_files_beside_env_say_is_compared_too() -> None:
    remark = "the server was rebuilt: its console shows new keys"
    assert about(replace(HAVE, records={"known_hosts": remark})) == [
        f"  ~ file            known_hosts  ({remark})",
        "  + file            inventory.json",
    ]


def test_the_size_of_a_flavor_in_words() -> None:
    assert str(Size(1, 2000, 25)) == "1 vCPU, 2 GB of memory, 25 GB of disk"
    assert str(Size(2, 4096, 50)) == "2 vCPUs, 4 GB of memory, 50 GB of disk"
    assert str(Size(2, 7000, 50)) == "2 vCPUs, 7 GB of memory, 50 GB of disk"


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


def test_a_server_that_was_renamed_by_hand_gets_its_name_back() -> None:
    renamed = having(name="koprogo-old")
    assert about(renamed) == ["  ~ server          koprogo         name: koprogo-old → koprogo"]
    (change,) = difference(WANT, renamed).pending
    assert change.differences == (Difference("name", "koprogo-old", "koprogo"),)
    assert not difference(WANT, renamed).makes_a_server


@pytest.mark.parametrize("status", ["PAUSED", "SUSPENDED", "RESCUE", "SHELVED_OFFLOADED"])
def test_a_state_that_is_left_so_is_not_called_in_place(status: str) -> None:
    (line,) = about(having(status=status))
    assert line == (
        f"  ! server          koprogo         d2-2, Ubuntu 22.04, Ext-Net, environment production  (it is {status})"
    )
    assert problem(having(status=status)).startswith(f"The server koprogo (5c1e) is {status}, which provision.py does")


def test_a_server_without_its_port_says_what_is_lost_and_is_not_changed() -> None:
    without = having(networks=frozenset(), groups=frozenset(), ipv4="", ipv6="")
    assert problem(without).startswith("The server koprogo (5c1e) has no network port, and so no address:")
    assert difference(WANT, without).pending == ()


@pytest.mark.parametrize("shown", ["d2-2", "d2-4"])
def test_a_resize_that_is_under_way_is_brought_to_its_end_too(shown: str) -> None:
    """Nova comes to rest with a size to be confirmed, whichever it shows until then."""
    resizing = having(status="RESIZE", busy=True, flavor=shown, size=Size(2, 4000, 50))
    assert about(resizing) == [
        "  ~ server          koprogo         status: Nova is at work on it (RESIZE); waits until it is done",
        "  ~ server          koprogo         flavor: it is being given one; d2-2 is kept if the server is well with it,"
        " another is taken back",
    ]
    assert difference(WANT, resizing).problems == ()
    assert difference(WANT, resizing).resizes
