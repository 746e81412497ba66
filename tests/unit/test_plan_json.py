"""A plan for programs: whole, as it is documented in docs/provision.md."""

import json
from dataclasses import replace
from typing import Any

import pytest
from test_compute import HTTPS
from test_plan import GROUP, HAVE, KEY, OTHER_KEY, WANT, having

from cloud.api.compute import rule_of
from cloud.plan import difference
from cloud.plan_json import as_data
from cloud.resources import Actual, KeyPair, Rule


def data(have: Actual, **how: bool) -> list[dict[str, Any]]:
    """The changes of a plan that are more than in place, after a way through JSON."""
    whole = json.loads(json.dumps(as_data(difference(WANT, have, **how), have)))
    assert list(whole) == ["changes", "problems"]
    return [change for change in whole["changes"] if change["action"] != "keep"]


def test_a_change_of_the_server_whole() -> None:
    assert data(having(flavor="d2-4")) == [
        {
            "action": "change",
            "kind": "server",
            "name": "koprogo",
            "id": "5c1e",
            "changes": [{"what": "flavor", "old": "d2-4", "new": "d2-2"}],
            "rule": None,
            "details": "flavor",
            "remark": "d2-4 → d2-2, with a restart",
            "loses_data": False,
        }
    ]


def test_a_rule_whole() -> None:
    by_hand = Rule("ingress", "tcp", "8000-8010", "IPv4", "10.0.0.0/8", id="7b02")
    (change,) = data(replace(HAVE, groups=(replace(GROUP, rules=WANT.rules | {by_hand}),)))
    assert change == {
        "action": "delete",
        "kind": "rule",
        "name": "koprogo",
        "id": "7b02",
        "changes": [],
        "rule": {
            "direction": "ingress",
            "ethertype": "IPv4",
            "protocol": "tcp",
            "port_min": 8000,
            "port_max": 8010,
            "cidr": "10.0.0.0/8",
            "group": None,
        },
        "details": "in  IPv4 tcp 8000-8010 from 10.0.0.0/8",
        "remark": "added by hand",
        "loses_data": False,
    }


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        (Rule("ingress", "tcp", "443", "IPv6"), ("tcp", 443, 443, "::/0", None)),
        (Rule("egress", "", "", "IPv4"), (None, None, None, "0.0.0.0/0", None)),
        (Rule("ingress", "icmp", "3-3", "IPv4", "6d2f"), ("icmp", 3, 3, None, "6d2f")),
    ],
)
def test_the_fields_of_a_rule(rule: Rule, fields: tuple[Any, ...]) -> None:
    found = next(
        change["rule"]
        for change in as_data(difference(replace(WANT, rules=frozenset({rule})), Actual()), Actual())["changes"]
        if change["rule"]
    )
    assert tuple(found[name] for name in ("protocol", "port_min", "port_max", "cidr", "group")) == fields


def test_what_is_made_has_no_id_and_what_is_there_has() -> None:
    assert {change["id"] for change in data(Actual())} == {None}
    numbered = frozenset(replace(rule, id=f"r-{rule.ports}") for rule in WANT.rules)
    have = replace(HAVE, groups=(replace(GROUP, rules=numbered),))
    ids = [(change["kind"], change["id"]) for change in as_data(difference(WANT, have), have)["changes"]]
    assert [(kind, there) for kind, there in ids if kind != "rule"] == [
        ("key pair", "koprogo"),
        ("security group", "6a01"),
        ("server", "5c1e"),
        ("file", None),
        ("file", None),
    ]
    assert {there for kind, there in ids if kind == "rule"} == {"r-", "r-22", "r-80", "r-443"}
    other = replace(GROUP, id="6a00")
    assert [change["id"] for change in data(replace(HAVE, groups=(GROUP, other)))] == ["6a00"]


def test_the_id_of_a_rule_is_neutrons() -> None:
    assert (rule_of(HTTPS | {"id": "7b02"}).id, rule_of(HTTPS).id) == ("7b02", "")
    assert rule_of(HTTPS | {"id": "7b02"}) == rule_of(HTTPS)


OURS = {"project": "koprogo", "environment": "production"}


@pytest.mark.parametrize(
    ("have", "adopt", "changes"),
    [
        (having(status="SHUTOFF"), False, [("status", "SHUTOFF", "ACTIVE")]),
        (having(status="VERIFY_RESIZE"), False, [("status", "VERIFY_RESIZE", "ACTIVE")]),
        (having(status="VERIFY_RESIZE", flavor="d2-4"), False, [("flavor", "d2-4", "d2-2")]),
        (having(metadata=OURS | {"environment": "staging"}), True, [("metadata environment", "staging", "production")]),
        (having(metadata={"project": "koprogo"}), True, [("metadata environment", None, "production")]),
        (
            having(groups=frozenset({"default", "web"})),
            False,
            [("security group", None, "koprogo"), ("security group", "default", None), ("security group", "web", None)],
        ),
        (having(image="Debian 12"), False, [("image", "Debian 12", "Ubuntu 22.04")]),
        (having(networks=frozenset({"private"})), False, [("network", "private", "Ext-Net")]),
        (replace(HAVE, key_pair=KeyPair("koprogo", OTHER_KEY)), False, [("public key", OTHER_KEY, KEY)]),
        (
            replace(HAVE, groups=(replace(GROUP, description=""),)),
            True,
            [("description", None, "project=koprogo environment=production")],
        ),
        (having(busy=True), False, []),
    ],
)
def test_what_differs(have: Actual, adopt: bool, changes: list[tuple[str, str | None, str | None]]) -> None:
    found = [one for change in data(have, adopt=adopt) for one in change["changes"]]
    assert [(one["what"], one["old"], one["new"]) for one in found] == changes
