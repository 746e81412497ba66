"""Which DNS records go with a server."""

import pytest

from cloud.dns.record import Have, Row, Service, wildcards
from cloud.dns.removal import removal

ZONES = ["koprogo.test", "example.test"]


def row(sub: str, target: str, ttl: int = 300, kind: str = "A", number: int = 1) -> Row:
    return Row("koprogo.test", sub, kind, target, ttl, number)


NAMES = ["koprogo.test", "API.koprogo.test"]
OURS = ["192.0.2.1", "2001:DB8:0::1"]


def test_removal_takes_the_addresses_and_leaves_everything_else() -> None:
    rows = [
        row("", "192.0.2.1", number=1),
        row("", "192.0.2.1", 0, number=2),
        row("", "192.0.2.9", number=3),
        row("", "2001:db8:0:0::1", kind="AAAA", number=4),
        row("", "192.0.2.1", kind="TXT", number=5),
        row("mail", "192.0.2.1", number=6),
        row("api", "192.0.2.1", number=7),
        row("xapi", "192.0.2.1", number=8),
    ]
    plan = removal(NAMES, OURS, Have(ZONES, rows))
    assert [change.row.id for change in plan.changes] == [2, 1, 4, 7]
    assert [str(change) for change in plan.changes] == [
        "- A    koprogo.test 192.0.2.1",
        "- A    koprogo.test 192.0.2.1",
        "- AAAA koprogo.test 2001:db8:0:0::1",
        "- A    api.koprogo.test 192.0.2.1",
    ]
    assert (plan.zones, plan.want, plan.problems, plan.notes) == (("koprogo.test",), {}, (), ())


def test_removal_waits_for_every_name_even_if_its_records_are_gone_already() -> None:
    both = frozenset({"192.0.2.1", "2001:db8::1"})
    assert removal(NAMES, OURS, Have(ZONES, [])).gone == {
        "koprogo.test": {
            ("koprogo.test", "A"): both,
            ("koprogo.test", "AAAA"): both,
            ("api.koprogo.test", "A"): both,
            ("api.koprogo.test", "AAAA"): both,
        }
    }


def test_removal_knows_nothing_of_names_that_are_elsewhere() -> None:
    plan = removal(["koprogo.com"], OURS, Have(ZONES, []))
    assert (plan.lines, plan.gone, plan.problems) == ([], {}, ())


def test_removal_leaves_aliases_and_wildcards_and_does_not_wait_for_their_names() -> None:
    rows = [row("api", "koprogo.test.", kind="CNAME"), row("*.b", "192.0.2.1"), row("*", "10.0.0.9")]
    plan = removal(["api.koprogo.test", "a.b.koprogo.test", "c.koprogo.test"], OURS, Have(ZONES, rows))
    assert plan.changes == ()
    assert {name for name, _ in plan.gone["koprogo.test"]} == {"c.koprogo.test"}
    assert plan.notes == (
        "*.b.koprogo.test has the A record 192.0.2.1, which is not one of those that are made here, and stays."
        " Remove it in OVH's console.",
    )


@pytest.mark.parametrize(
    ("name", "stars"),
    [
        ("koprogo.test", []),
        ("API.koprogo.test", ["*.koprogo.test"]),
        ("a.b.koprogo.test", ["*.b.koprogo.test", "*.koprogo.test"]),
    ],
)
def test_wildcards(name: str, stars: list[str]) -> None:
    assert wildcards(name, "Koprogo.test") == stars


PERMIT = row("api", '0 issue "letsencrypt.org"', kind="CAA", number=9)


def test_the_permit_of_our_issuer_goes_with_the_name_and_another_one_stays() -> None:
    other = row("api", '0 issue "digicert.com"', kind="CAA", number=8)
    have = Have(ZONES, [row("api", "192.0.2.1"), PERMIT, other])
    assert [c.row.id for c in removal(NAMES, OURS, have, "letsencrypt.org").changes] == [1, 9]
    assert [c.row.id for c in removal(NAMES, OURS, have).changes] == [1]


def test_a_permit_for_nobody_stays_where_there_is_no_issuer_of_ours() -> None:
    nobody = row("api", '0 issue ""', kind="CAA", number=8)
    assert removal(NAMES, OURS, Have(ZONES, [nobody])).changes == ()


@pytest.mark.parametrize("left", [row("api", "10.0.0.9", number=3), row("api", "x.test.", kind="CNAME", number=3)])
def test_the_permit_stays_where_the_name_is_still_in_use(left: Row) -> None:
    plan = removal(NAMES, OURS, Have(ZONES, [left, PERMIT]), "letsencrypt.org")
    assert plan.changes == ()


def test_what_a_dynhost_keeps_is_left_and_said() -> None:
    dynhost = Service("koprogo.test", "api", "DynHost", "192.0.2.1")
    plan = removal(NAMES, OURS, Have(ZONES, [row("api", "192.0.2.1"), row("", "192.0.2.1", number=2)], [dynhost]))
    assert [c.row.id for c in plan.changes] == [2]
    assert plan.notes[0].startswith("api.koprogo.test has the A record 192.0.2.1, which is not one of those")
    assert {name for name, _ in plan.gone["koprogo.test"]} == {"koprogo.test"}
