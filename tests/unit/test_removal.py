"""What destroy takes away, and what it leaves."""

from dataclasses import replace

import pytest
from test_plan import FOUND, GROUP, HAVE, KEY, OTHER_KEY, WANT, shown

from cloud.removal import removal
from cloud.resources import Actual, Address, KeyPair

ADDRESSES = (Address("koprogo.com", "A", "51.75.1.2"),)


def test_everything_of_ours_goes_and_names_go_first() -> None:
    plan = removal(WANT, HAVE, ADDRESSES, ("77f8",))
    assert shown(plan) == [
        "  - DNS record      koprogo.com     A 51.75.1.2",
        "  - server          koprogo         5c1e  d2-2, Ubuntu 22.04, 51.75.1.2, 2001:41d0::1, ACTIVE"
        "  (everything on its disk is lost)",
        "  - port            77f8  (goes with its server)",
        "  - security group  koprogo         6a01  10 rules",
        "  - key pair        koprogo         ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc",
        "  - file            known_hosts",
        "  - file            inventory.json",
        "",
        "Plan: 0 to create, 0 to change, 7 to delete, 0 in place.",
    ]
    assert plan.loses_data
    assert plan.problems == ()


def test_where_there_is_nothing_there_is_nothing_to_do() -> None:
    assert removal(WANT, Actual(), ()).changes == ()


def test_what_only_has_our_name_is_left() -> None:
    have = Actual(
        key_pair=KeyPair("koprogo", OTHER_KEY),
        groups=(replace(GROUP, description="web servers"),),
    )
    plan = removal(WANT, have, ())
    assert plan.pending == ()
    assert [line[:20] for line in shown(plan)[:2]] == ["  ! security group  ", "  ! key pair        "]


def test_a_server_that_only_has_our_name_stops_everything() -> None:
    """Names, files and keys may be about it."""
    (said,) = removal(WANT, replace(HAVE, servers=(replace(FOUND, metadata={}),)), ADDRESSES).problems
    assert said == (
        "The server koprogo (5c1e) is not ours, and nothing is removed while it has this name. Rename it, or, if it is"
        " to go, adopt it first: python provision.py adopt"
    )


@pytest.mark.parametrize(
    ("public_key", "servers", "goes"),
    [
        (KEY, (), True),
        (OTHER_KEY, (), False),
        (OTHER_KEY, (FOUND,), True),
        (OTHER_KEY, (replace(FOUND, key_pair="else"),), False),
        (OTHER_KEY, (replace(FOUND, metadata={}),), False),
    ],
)
def test_a_key_pair_is_ours_by_its_key_or_by_a_server_of_ours(
    public_key: str, servers: tuple[object, ...], goes: bool
) -> None:
    plan = removal(WANT, Actual(key_pair=KeyPair("koprogo", public_key), servers=servers), ())  # type: ignore[arg-type]
    assert any(isinstance(change.resource, KeyPair) for change in plan.pending) is goes


def test_a_key_pair_is_ours_while_our_group_is_there() -> None:
    """The server may have gone in a run that was cut off."""
    have = Actual(key_pair=KeyPair("koprogo", OTHER_KEY), groups=(GROUP,))
    assert [change.resource for change in removal(WANT, have, ()).pending] == [GROUP.existing, have.key_pair]


def test_a_state_that_changes_by_itself_makes_no_other_plan() -> None:
    before, after = removal(WANT, HAVE, ()), removal(WANT, replace(HAVE, servers=(replace(FOUND, status="OFF"),)), ())
    assert before == after
    assert shown(before) != shown(after)


def test_a_locked_server_stops_it() -> None:
    (said,) = removal(WANT, replace(HAVE, servers=(replace(FOUND, locked=True),)), ()).problems
    assert said.startswith("The server koprogo (5c1e) is locked")
