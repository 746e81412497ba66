"""DNS records wanted against those that a zone has: the pure difference."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.dns.difference import difference
from cloud.dns.plan import Plan
from cloud.dns.record import Have, Row, Service, canonical, subdomain, wanted, zone_of
from cloud.plan import Action

ZONES = ["koprogo.test", "example.test"]
WANT = wanted(["koprogo.test", "api.koprogo.test"], "192.0.2.1", None)
BOTH = wanted(["koprogo.test"], "192.0.2.1", "2001:DB8:0::1")


def row(sub: str, target: str, ttl: int = 300, kind: str = "A", number: int = 1) -> Row:
    return Row("koprogo.test", sub, kind, target, ttl, number)


def plan_of(rows: list[Row], want: Any = WANT, services: tuple[Service, ...] = (), *, replace: bool = False) -> Plan:
    return difference(want, Have(ZONES, rows, services), 300, replace_foreign=replace)


def lines(rows: list[Row], want: Any = WANT) -> list[str]:
    plan = plan_of(rows, want)
    assert plan.problems == ()
    return [str(change) for change in plan.changes]


def test_an_empty_zone_gets_one_record_a_name() -> None:
    assert lines([]) == ["+ A    api.koprogo.test 192.0.2.1", "+ A    koprogo.test 192.0.2.1"]


def test_ipv6_gets_its_own_records_in_one_spelling() -> None:
    assert lines([], BOTH) == ["+ A    koprogo.test 192.0.2.1", "+ AAAA koprogo.test 2001:db8::1"]


def test_nothing_to_do() -> None:
    assert lines([row("", "192.0.2.1"), row("api", "192.0.2.1", number=2)]) == []
    assert lines([row("", "192.0.2.1"), row("", "2001:db8:0:0::1", kind="AAAA")], BOTH) == []


def test_an_old_address_is_changed_in_place() -> None:
    plan = plan_of([row("", "10.0.0.9", 0, number=7), row("api", "192.0.2.1")])
    assert plan.lines == ["~ A    koprogo.test  10.0.0.9 → 192.0.2.1, ttl 0 → ttl 300"]
    assert plan.changes[0].row == row("", "192.0.2.1", 300, number=7)
    assert plan.zones == ("koprogo.test",)


def test_a_wrong_ttl_is_changed() -> None:
    assert lines([row("", "192.0.2.1", 0), row("api", "192.0.2.1")]) == ["~ A    koprogo.test ttl 0 → ttl 300"]


def test_other_names_and_types_are_not_touched() -> None:
    rows = [
        row("mail", "10.0.0.25"),
        row("xapi", "10.0.0.26"),
        row("", "1 mx1.mail.ovh.net.", kind="MX"),
        row("", "10.0.0.9", kind="TXT"),
    ]
    assert lines(rows) == ["+ A    api.koprogo.test 192.0.2.1", "+ A    koprogo.test 192.0.2.1"]


def test_case_is_of_no_importance_in_names() -> None:
    rows = [Row("Koprogo.test", sub, "A", "192.0.2.1", 300, number) for number, sub in enumerate(["", "API"], 1)]
    assert difference(WANT, Have(["Koprogo.test"], rows), 300).changes == ()
    assert [change.row for change in difference(WANT, Have(["Koprogo.test"], []), 300).changes] == [
        Row("Koprogo.test", "api", "A", "192.0.2.1", 300),
        Row("Koprogo.test", "", "A", "192.0.2.1", 300),
    ]


def test_duplicates_of_ours_collapse_into_the_one_with_the_right_ttl() -> None:
    rows = [row("", "192.0.2.1", 0, number=1), row("", "192.0.2.1", 300, number=2), row("api", "192.0.2.1", number=3)]
    plan = plan_of(rows)
    assert [(c.action, c.row.id) for c in plan.changes] == [(Action.DELETE, 1)]


def test_duplicates_of_one_old_address_go_before_it_is_changed() -> None:
    rows = [row("", "10.0.0.9", number=1), row("", "10.0.0.9", number=2), row("api", "192.0.2.1", number=3)]
    plan = plan_of(rows)
    assert [(c.action, c.row.id) for c in plan.changes] == [(Action.DELETE, 2), (Action.CHANGE, 1)]
    assert plan.changes[0].what == "10.0.0.9 (a duplicate)"


def test_several_foreign_addresses_are_a_question() -> None:
    rows = [row("", "10.0.0.9"), row("", "10.0.0.8", number=2)]
    plan = plan_of(rows)
    assert plan.problems == (
        "koprogo.test leads elsewhere, by A: 10.0.0.8, 10.0.0.9. If they may go: python -m cloud.dns apply --replace",
    )
    assert [str(c) for c in plan.changes] == ["+ A    api.koprogo.test 192.0.2.1"]
    assert [str(c) for c in plan_of(rows, replace=True).changes] == [
        "+ A    api.koprogo.test 192.0.2.1",
        "~ A    koprogo.test 10.0.0.9 → 192.0.2.1",
        "- A    koprogo.test 10.0.0.8",
    ]


def test_a_foreign_address_beside_ours_is_a_question_and_goes_last() -> None:
    rows = [row("api", "10.0.0.9", number=1), row("api", "192.0.2.1", number=2)]
    assert plan_of(rows).problems == (
        "api.koprogo.test leads elsewhere as well, by A: 10.0.0.9. If they may go: python -m cloud.dns apply --replace",
    )
    assert [str(c) for c in plan_of(rows, replace=True).changes] == [
        "+ A    koprogo.test 192.0.2.1",
        "- A    api.koprogo.test 10.0.0.9",
    ]


@pytest.mark.parametrize("kind", ["web redirection", "DynHost"])
def test_a_service_in_the_way_is_reported_and_its_record_stays_even_if_all_may_go(kind: str) -> None:
    service = Service("koprogo.test", "", kind, "elsewhere.test")
    plan = plan_of([row("", "213.186.33.5"), row("", "10.0.0.8", number=2)], services=(service,), replace=True)
    assert plan.problems == (
        f"koprogo.test has a {kind} to elsewhere.test, which keeps an address record of its own."
        " Remove it in OVH's console, then run again.",
    )
    assert [str(c) for c in plan.changes] == ["+ A    api.koprogo.test 192.0.2.1"]


PERMIT = wanted(["koprogo.test"], "192.0.2.1", None, "LetsEncrypt.org")


def test_a_service_is_not_in_the_way_of_a_permit() -> None:
    plan = plan_of([row("", "213.186.33.5")], PERMIT, (Service("koprogo.test", "", "DynHost", "213.186.33.5"),))
    assert [str(c) for c in plan.changes] == ['+ CAA  koprogo.test 0 issue "letsencrypt.org"']
    assert len(plan.problems) == 1


def test_a_permit_is_added_beside_those_of_others() -> None:
    rows = [row("", "192.0.2.1"), row("", '0 issue "digicert.com"', kind="CAA", number=2)]
    plan = plan_of(rows, PERMIT)
    assert [str(c) for c in plan.changes] == ['+ CAA  koprogo.test 0 issue "letsencrypt.org"']
    assert plan.notes == ('koprogo.test has the CAA record 0 issue "digicert.com" as well, which stays.',)


@pytest.mark.parametrize(
    "target", ['0 issue "letsencrypt.org"', "0 ISSUE letsencrypt.org", '0  issue  "LetsEncrypt.org"']
)
def test_a_permit_that_is_there_is_left(target: str) -> None:
    assert lines([row("", "192.0.2.1"), row("", target, kind="CAA", number=2)], PERMIT) == []


def test_ipv6_addresses_are_one_whatever_their_spelling() -> None:
    rows = [row("", "192.0.2.1")]
    rows += [row("", "2001:DB8::9", kind="AAAA", number=2), row("", "2001:db8:0::9", kind="AAAA", number=3)]
    assert [str(c) for c in plan_of(rows, BOTH).changes] == [
        "- AAAA koprogo.test 2001:db8:0::9 (a duplicate)",
        "~ AAAA koprogo.test 2001:DB8::9 → 2001:db8::1",
    ]


@pytest.mark.parametrize("target", ["mail.ovh.net.", "v=spf1 -all", "10 mx1.ovh.net."])
def test_targets_of_other_types_are_left_as_they_are(target: str) -> None:
    assert canonical(target) == target


def test_a_cname_in_the_way_is_reported_once() -> None:
    want = wanted(["api.koprogo.test"], "192.0.2.1", "2001:db8::1")
    plan = plan_of([row("api", "elsewhere.test.", kind="CNAME")], want)
    assert plan.changes == ()
    assert len(plan.problems) == 1
    assert plan.problems[0].startswith("api.koprogo.test is an alias (CNAME) of elsewhere.test,")


def test_a_name_outside_the_account_is_a_problem_that_says_what_there_is() -> None:
    plan = plan_of([], wanted(["koprogo.com"], "192.0.2.1", None))
    assert plan.problems[0].startswith(
        "koprogo.com is in no DNS zone of this OVH account (it has: example.test, koprogo.test)."
    )


def test_an_ipv6_address_of_another_server_is_noted_and_left() -> None:
    rows = [row("", "192.0.2.1"), row("api", "192.0.2.1"), row("", "2001:db8::9", kind="AAAA")]
    plan = plan_of(rows)
    assert plan.changes == ()
    assert plan.notes[0].startswith("koprogo.test has the AAAA record 2001:db8::9 and the server has no IPv6")


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("koprogo.co.uk", "koprogo.co.uk"),
        ("api.koprogo.co.uk", "koprogo.co.uk"),
        ("a.b.koprogo.co.uk", "b.koprogo.co.uk"),
        ("API.Koprogo.co.uk", "koprogo.co.uk"),
        ("mykoprogo.co.uk", None),
        ("co.uk", None),
    ],
)
def test_zone_of_takes_the_longest_suffix(name: str, zone: str | None) -> None:
    assert zone_of(name, ["koprogo.co.uk", "b.koprogo.co.uk"]) == zone


@pytest.mark.parametrize(
    ("name", "sub"), [("koprogo.test", ""), ("API.koprogo.test", "api"), ("a.B.koprogo.test", "a.b")]
)
def test_a_subdomain_is_what_stands_before_the_zone(name: str, sub: str) -> None:
    assert subdomain(name, "Koprogo.test") == sub


_A = ["192.0.2.1", "192.0.2.2", "10.0.0.9", "10.0.0.8"]
_TARGETS = {
    "A": st.sampled_from(_A),
    "AAAA": st.sampled_from(["2001:db8::1", "2001:DB8:0::1", "2001:db8::9"]),
    "CAA": st.sampled_from(['0 issue "letsencrypt.org"', "0 issue letsencrypt.org", '0 issue "digicert.com"']),
    "TXT": st.sampled_from(["v=spf1 -all", "10.0.0.9"]),
    "MX": st.just("1 mx1.mail.ovh.net."),
}
_ROW = st.sampled_from(sorted(_TARGETS)).flatmap(
    lambda kind: st.builds(
        row, st.sampled_from(["", "api", "mail", "xapi"]), _TARGETS[kind], st.sampled_from([0, 60, 300]), st.just(kind)
    )
)
_WISH = st.builds(
    wanted,
    st.lists(st.sampled_from(["koprogo.test", "api.koprogo.test", "new.koprogo.test"]), min_size=1, unique=True),
    st.sampled_from(_A[:2]),
    st.sampled_from([None, "2001:db8::1"]),
    st.sampled_from(["", "letsencrypt.org"]),
)
Zone = dict[int, Row]


def numbered(rows: list[Row]) -> Zone:
    """The rows with ids of their own."""
    return {n: Row(r.zone, r.subdomain, r.kind, r.target, r.ttl, n) for n, r in enumerate(rows, 1)}


def states(zone: Zone, plan: Plan) -> list[Zone]:
    """The zone before, between and after the changes of a plan."""
    found = [zone]
    for change in plan.changes:
        zone = {n: r for n, r in zone.items() if n != change.row.id}
        if change.action is not Action.DELETE:
            zone[change.row.id or max(zone, default=0) + 1000] = change.row
        found.append(zone)
    return found


def resolving(zone: Zone) -> set[tuple[str, str]]:
    """The names and types that have an address."""
    return {(r.name, r.kind) for r in zone.values() if r.kind in ("A", "AAAA")}


def others(zone: Zone, want: Any) -> Zone:
    """The rows that are none of ours to touch; a permit of another CA is one of them."""
    return {n: r for n, r in zone.items() if (r.name, r.kind) not in want or (r.kind == "CAA" and "digi" in r.target)}


def contents(zone: Zone) -> list[tuple[str, str, str, int]]:
    """What the zone says, whatever the ids."""
    return sorted((r.name, r.kind, r.value, r.ttl) for r in zone.values())


@given(st.lists(_ROW, max_size=14), _WISH)
@settings(max_examples=500, deadline=None)
def test_whatever_there_is_one_run_is_enough_and_no_name_stops_resolving(rows: list[Row], want: Any) -> None:
    start = numbered(rows)
    path = states(start, plan_of(list(start.values()), want, replace=True))
    for state in path:
        assert others(state, want) == others(start, want)
        assert resolving(state) >= resolving(start)
    again = plan_of(list(path[-1].values()), want)
    assert (again.changes, again.problems) == ((), ())
    for key, targets in want.items():
        found = [r.value for r in path[-1].values() if (r.name, r.kind) == key and "digi" not in r.target]
        assert sorted(found) == sorted(targets)


@given(st.lists(_ROW, max_size=14), _WISH)
@settings(max_examples=500, deadline=None)
def test_a_run_that_ends_anywhere_is_completed_by_the_next_without_a_question(rows: list[Row], want: Any) -> None:
    start = numbered(rows)
    plan = plan_of(list(start.values()), want)
    path = states(start, plan) if not plan.problems else [start]  # nothing is written where there is a question
    for cut in path:
        rest = plan_of(list(cut.values()), want)
        assert rest.problems == plan.problems
        assert plan.problems or contents(states(cut, rest)[-1]) == contents(path[-1])


@pytest.mark.parametrize("name", ["intern.koprogo.test", "api.intern.koprogo.test"])
def test_a_name_that_is_delegated_away_is_a_problem(name: str) -> None:
    servers = [Row("koprogo.test", "intern", "NS", f"ns{i}.elsewhere.test.", 0, 10 + i) for i in (1, 2)]
    plan = difference(wanted([name], "192.0.2.1", None, "letsencrypt.org"), Have(["koprogo.test"], servers), 300)
    assert plan.changes == ()
    assert plan.problems == (
        f"intern.koprogo.test is delegated (NS) to ns1.elsewhere.test, ns2.elsewhere.test, so records of {name} in"
        " koprogo.test have no effect. Write them there, or remove the delegation in OVH's console, then run again.",
    )


@pytest.mark.parametrize("name", ["koprogo.test", "api.koprogo.test"])
def test_the_name_servers_of_the_zone_itself_are_no_delegation(name: str) -> None:
    own = Row("koprogo.test", "", "NS", "ns1.elsewhere.test.", 0, 11)
    assert difference(wanted([name], "192.0.2.1", None), Have(["koprogo.test"], [own]), 300).problems == ()


def test_a_plan_with_a_problem_does_not_count_what_would_be_written() -> None:
    rows = [Row("koprogo.test", "", "A", f"10.0.0.{i}", 300, i) for i in (1, 2)]
    plan = difference(wanted(["koprogo.test"], "192.0.2.1", "2001:db8::1"), Have(["koprogo.test"], rows), 300)
    assert (len(plan.changes), plan.summary) == (1, "Nothing can be written.")
