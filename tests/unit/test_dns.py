"""DNS records: the pure difference, the client against the stand-in for OVH's API, and what name servers answer."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from ovh_stand_in import CONSUMER, KEY, SECRET, Api

from cloud.dns import served as dns_served
from cloud.dns import work as records
from cloud.dns.plan import Row, difference, removal, wanted, wildcards, zone_of
from cloud.ovh import account as ovh_account
from cloud.plan import Action
from cloud.trouble import CloudError

ZONES = ["koprogo.test", "example.test"]
WANT = wanted(["koprogo.test", "api.koprogo.test"], "192.0.2.1", None)
BOTH = wanted(["koprogo.test"], "192.0.2.1", "2001:DB8:0::1")


def row(sub: str, target: str, ttl: int = 300, kind: str = "A", number: int = 1) -> Row:
    return Row("koprogo.test", sub, kind, target, ttl, number)


def lines(rows: list[Row], want: Any = WANT) -> list[str]:
    plan = difference(want, ZONES, rows, 300)
    assert plan.problems == ()
    return plan.lines


# -- the difference --------------------------------------------------------------------------------------------------


def test_an_empty_zone_gets_one_record_a_name() -> None:
    assert lines([]) == ["+ A    api.koprogo.test 192.0.2.1", "+ A    koprogo.test 192.0.2.1"]


def test_ipv6_gets_its_own_records_in_one_spelling() -> None:
    assert lines([], BOTH) == ["+ A    koprogo.test 192.0.2.1", "+ AAAA koprogo.test 2001:db8::1"]


def test_nothing_to_do() -> None:
    assert lines([row("", "192.0.2.1"), row("api", "192.0.2.1", number=2)]) == []
    assert lines([row("", "192.0.2.1"), row("", "2001:db8:0:0::1", kind="AAAA")], BOTH) == []


def test_an_old_address_is_changed_in_place() -> None:
    plan = difference(WANT, ZONES, [row("", "10.0.0.9", 0, number=7), row("api", "192.0.2.1")], 300)
    assert plan.lines == ["~ A    koprogo.test 10.0.0.9 → 192.0.2.1, ttl 0 → ttl 300"]
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


def test_duplicates_of_ours_collapse_into_the_one_with_the_right_ttl() -> None:
    rows = [row("", "192.0.2.1", 0, number=1), row("", "192.0.2.1", 300, number=2), row("api", "192.0.2.1", number=3)]
    plan = difference(WANT, ZONES, rows, 300)
    assert [(c.action, c.row.id) for c in plan.changes] == [(Action.DELETE, 1)]


def test_duplicates_of_one_old_address_become_one_record() -> None:
    rows = [row("", "10.0.0.9", number=1), row("", "10.0.0.9", number=2), row("api", "192.0.2.1", number=3)]
    plan = difference(WANT, ZONES, rows, 300)
    assert [(c.action, c.row.id) for c in plan.changes] == [(Action.CHANGE, 1), (Action.DELETE, 2)]


def test_an_old_address_beside_the_new_one_goes_and_goes_last() -> None:
    rows = [row("api", "10.0.0.9", number=1), row("api", "192.0.2.1", number=2)]
    assert lines(rows) == ["+ A    koprogo.test 192.0.2.1", "- A    api.koprogo.test 10.0.0.9"]


def test_several_foreign_addresses_are_a_question() -> None:
    plan = difference(WANT, ZONES, [row("", "10.0.0.9"), row("", "10.0.0.8", number=2)], 300)
    assert plan.problems == (
        "koprogo.test has 2 A records that are not ours: 10.0.0.8, 10.0.0.9."
        " Remove those that may go in OVH's console, then run again.",
    )
    assert [str(c) for c in plan.changes] == ["+ A    api.koprogo.test 192.0.2.1"]


def test_a_cname_in_the_way_is_reported_once() -> None:
    want = wanted(["api.koprogo.test"], "192.0.2.1", "2001:db8::1")
    plan = difference(want, ZONES, [row("api", "elsewhere.test.", kind="CNAME")], 300)
    assert plan.changes == ()
    assert len(plan.problems) == 1
    assert plan.problems[0].startswith("api.koprogo.test is an alias (CNAME) of elsewhere.test.,")


def test_a_name_outside_the_account_is_a_problem_that_says_what_there_is() -> None:
    plan = difference(wanted(["koprogo.com"], "192.0.2.1", None), ZONES, [], 300)
    assert plan.problems[0].startswith(
        "koprogo.com is in no DNS zone of this OVH account (it has: example.test, koprogo.test)."
    )


def test_an_ipv6_address_of_another_server_is_noted_and_left() -> None:
    rows = [row("", "192.0.2.1"), row("api", "192.0.2.1"), row("", "2001:db8::9", kind="AAAA")]
    plan = difference(WANT, ZONES, rows, 300)
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


_ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["", "api", "mail", "www"]),
        st.sampled_from(["192.0.2.1", "10.0.0.9"]),
        st.sampled_from([0, 60, 300]),
        st.sampled_from(["A", "AAAA", "TXT"]),
    ),
    max_size=12,
)


@given(_ROWS)
@settings(max_examples=300)
def test_a_plan_once_applied_leaves_nothing_to_do_and_no_name_without_address(rows: list[Row]) -> None:
    have = {n: Row(r.zone, r.subdomain, r.kind, r.target, r.ttl, n) for n, r in enumerate(rows, 1)}
    foreign = {n: r for n, r in have.items() if r.kind != "A" or r.subdomain in ("mail", "www")}
    resolving = {r.name for r in have.values() if r.kind == "A"}
    for change in difference(WANT, ZONES, have.values(), 300).changes:
        if change.action is Action.DELETE:
            del have[change.row.id]
        else:
            have[change.row.id or max(have, default=0) + 1] = change.row
        assert {r.name for r in have.values() if r.kind == "A"} >= resolving
    assert lines(list(have.values())) == []
    assert {n: r for n, r in have.items() if n in foreign} == foreign


# -- what has to go --------------------------------------------------------------------------------------------------

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
    plan = removal(NAMES, OURS, ZONES, rows)
    assert [change.row.id for change in plan.changes] == [2, 1, 4, 7]
    assert plan.lines == [
        "- A    koprogo.test 192.0.2.1",
        "- A    koprogo.test 192.0.2.1",
        "- AAAA koprogo.test 2001:db8:0:0::1",
        "- A    api.koprogo.test 192.0.2.1",
    ]
    assert (plan.zones, plan.want, plan.problems, plan.notes) == (("koprogo.test",), {}, (), ())


def test_removal_waits_for_every_name_even_if_its_records_are_gone_already() -> None:
    both = frozenset({"192.0.2.1", "2001:db8::1"})
    assert removal(NAMES, OURS, ZONES, []).gone == {
        "koprogo.test": {
            ("koprogo.test", "A"): both,
            ("koprogo.test", "AAAA"): both,
            ("api.koprogo.test", "A"): both,
            ("api.koprogo.test", "AAAA"): both,
        }
    }


def test_removal_knows_nothing_of_names_that_are_elsewhere() -> None:
    plan = removal(["koprogo.com"], OURS, ZONES, [])
    assert (plan.lines, plan.gone, plan.problems) == ([], {}, ())


def test_removal_leaves_aliases_and_wildcards_and_does_not_wait_for_their_names() -> None:
    rows = [row("api", "koprogo.test.", kind="CNAME"), row("*.b", "192.0.2.1"), row("*", "10.0.0.9")]
    plan = removal(["api.koprogo.test", "a.b.koprogo.test", "c.koprogo.test"], OURS, ZONES, rows)
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


# -- against the API -------------------------------------------------------------------------------------------------


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    running = Api(tmp_path)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone's servers have names that lead nowhere here."""
    monkeypatch.setattr(dns_served, "addresses", lambda servers, resolvers: {})


def account(api: Api, **other: str) -> records.Account:
    values = {"application_key": KEY, "application_secret": SECRET, "consumer_key": CONSUMER} | other
    return records.Account(records.Keys(api.url, **values), pause=0)


def apply(api: Api, want: Any = WANT) -> list[str]:
    """Plan and apply; returns what was planned."""
    there = account(api)
    plan = records.plan(there, want)
    records.apply(there, plan, (), lambda line: None)
    return plan.lines


def table(api: Api) -> list[tuple[str, str, str]]:
    rows = api.store.zone("koprogo.test")["records"]
    return sorted((r["subDomain"], r["fieldType"], r["target"]) for r in rows)


def test_apply_writes_refreshes_once_and_the_second_time_does_nothing(api: Api) -> None:
    before = table(api)
    assert apply(api) == ["+ A    api.koprogo.test 192.0.2.1", "+ A    koprogo.test 192.0.2.1"]
    ours = [("", "A", "192.0.2.1"), ("api", "A", "192.0.2.1")]
    assert table(api) == sorted(before + ours)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    assert apply(api) == []
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1


def test_the_apex_is_not_any_record_of_the_zone(api: Api) -> None:
    apply(api, wanted(["koprogo.test"], "192.0.2.1", None))
    assert ("mail", "A", "10.66.0.25") in table(api)
    assert apply(api, wanted(["koprogo.test"], "192.0.2.2", None)) == ["~ A    koprogo.test 192.0.2.1 → 192.0.2.2"]
    assert [t for s, k, t in table(api) if k == "A"] == ["192.0.2.2", "10.66.0.25"]


def test_a_name_that_is_a_pattern_matches_only_itself(api: Api) -> None:
    apply(api, wanted(["xapi.koprogo.test"], "192.0.2.7", None))
    assert apply(api, wanted(["_api.koprogo.test"], "192.0.2.8", None)) == ["+ A    _api.koprogo.test 192.0.2.8"]
    assert ("xapi", "A", "192.0.2.7") in table(api)


def test_problems_keep_everything_as_it_is(api: Api) -> None:
    there, before = account(api), table(api)
    plan = records.plan(there, wanted(["www.koprogo.test", "api.koprogo.test"], "192.0.2.1", None))
    with pytest.raises(CloudError, match=r"www.koprogo.test is an alias \(CNAME\) of koprogo.test"):
        records.apply(there, plan, (), lambda line: None)
    assert table(api) == before


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"application_key": "x"}, "GET /domain/zone: OVH does not know the application key. Check OVH_APPL"),
        ({"application_secret": "x"}, "GET /domain/zone: the signature is wrong. Check OVH_APPLICATION_SECRET"),
        ({"consumer_key": "pending"}, "GET /domain/zone: the consumer key has expired or was never validated"),
        ({"consumer_key": "readonly"}, "GET /domain/zone: the consumer key (OVH_CONSUMER_KEY) has no right to"),
    ],
)
def test_refusals_name_call_and_variable_and_carry_the_query_id(api: Api, other: dict[str, str], says: str) -> None:
    with pytest.raises(CloudError) as error:
        account(api, **other).zones()
    text = str(error.value)
    assert text.startswith(f"OVH: {says}")
    assert "(OVH-Query-ID: EU.ext-3." in text
    assert "\n" not in text
    assert not [secret for secret in (SECRET, CONSUMER, KEY) if secret in text]


def test_an_api_that_is_not_there_is_tried_again_and_named() -> None:
    there = records.Account(records.Keys("http://127.0.0.1:9/1.0", "k", "s", "c"), pause=0)
    with pytest.raises(CloudError, match=r"OVH's API at http://127\.0\.0\.1:9/1\.0 cannot be reached"):
        there.zones()


def test_a_failing_write_says_how_far_it_got(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    there = account(api)
    plan = records.plan(there, WANT)
    real, calls = there._client.call, []

    def broken(method: str, path: str, *rest: Any) -> Any:
        calls.append(method)
        if calls.count("POST") == 2:
            raise ovh_account.ovh.exceptions.HTTPError("lost")
        return real(method, path, *rest)

    monkeypatch.setattr(there._client, "call", broken)
    with pytest.raises(CloudError, match=r"1 of 2 changes are written and not served; the next run completes them\.$"):
        records.apply(there, plan, (), lambda line: None)
    assert calls == ["POST", "POST"]
    assert apply(api) == ["+ A    koprogo.test 192.0.2.1"]


def test_reads_and_updates_survive_a_moment_of_trouble(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    there = account(api)
    real, failed = there._client.call, []

    def flaky(method: str, path: str, *rest: Any) -> Any:
        if path not in failed:
            failed.append(path)
            raise ovh_account.ovh.exceptions.InvalidResponse("an HTML page")
        return real(method, path, *rest)

    monkeypatch.setattr(there._client, "call", flaky)
    assert there.zones() == ["koprogo.test"]
    there.refresh("koprogo.test")
    assert failed == ["/domain/zone", "/auth/time", "/domain/zone/koprogo.test/refresh"]


def test_a_record_that_is_gone_already_counts_as_deleted(api: Api) -> None:
    account(api).write(Action.DELETE, row("api", "192.0.2.1", number=77))


def test_rate_limit_and_failure_are_explained(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    there = account(api)

    def answer(code: int, body: bytes) -> Any:
        response = requests.Response()
        response.status_code, response._content = code, body
        monkeypatch.setattr(there._client, "raw_call", lambda **_: response)
        with pytest.raises(CloudError) as error:
            there.zones()
        return str(error.value)

    assert "asks for fewer requests (429)" in answer(429, b'{"message": "slow down"}')
    assert "OVH failed (503: busy)" in answer(503, b'{"message": "busy"}')
    assert "something that is not JSON" in answer(502, b"<html>Bad gateway</html>")
    assert "in a way that OVH's API does not" in answer(500, b'"oops"')
    assert "may not do this (User not granted for this request)" in answer(
        403, b'{"class": "Client::Forbidden", "message": "User not granted for this request"}'
    )


def remove(api: Api, names: list[str] | None = None) -> list[str]:
    there = account(api)
    plan = records.plan_removal(there, names or NAMES, OURS)
    records.apply(there, plan, (), lambda line: None)
    return plan.lines


def test_what_was_made_is_removed_and_nothing_else(api: Api) -> None:
    before = table(api)
    apply(api, wanted([name.lower() for name in NAMES], "192.0.2.1", "2001:db8::1"))
    api.store.create(
        "koprogo.test", lambda rows: {**rows[0], "fieldType": "A", "subDomain": "api", "target": "10.0.0.9"}
    )
    assert remove(api, [*NAMES, "www.koprogo.test", "koprogo.com"]) == [
        "- A    koprogo.test 192.0.2.1",
        "- AAAA koprogo.test 2001:db8::1",
        "- A    api.koprogo.test 192.0.2.1",
        "- AAAA api.koprogo.test 2001:db8::1",
    ]
    assert table(api) == sorted([*before, ("api", "A", "10.0.0.9")])
    assert len(api.store.zone("koprogo.test")["tasks"]) == 2
    assert remove(api) == []
    assert len(api.store.zone("koprogo.test")["tasks"]) == 2


def test_the_api_is_asked_for_the_wildcards_above_a_name(api: Api) -> None:
    api.store.create(
        "koprogo.test", lambda rows: {**rows[0], "fieldType": "A", "subDomain": "*", "target": "192.0.2.1"}
    )
    plan = records.plan_removal(account(api), NAMES, OURS)
    assert plan.changes == ()
    assert plan.notes[0].startswith("*.koprogo.test has the A record 192.0.2.1,")
    assert {name for name, _ in plan.gone["koprogo.test"]} == {"koprogo.test"}


def test_a_removal_that_fails_in_the_middle_is_completed_by_the_next(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(api)
    there = account(api)
    plan = records.plan_removal(there, NAMES, OURS)
    real, deleted = there._client.call, list[str]()

    def broken(method: str, path: str, *rest: Any) -> Any:
        if method == "DELETE" and deleted:
            raise ovh_account.ovh.exceptions.HTTPError("lost")
        deleted.extend([path] * (method == "DELETE"))
        return real(method, path, *rest)

    monkeypatch.setattr(there._client, "call", broken)
    with pytest.raises(CloudError, match=r"1 of 2 changes are written and not served; the next run completes them\.$"):
        records.apply(there, plan, (), lambda line: None)
    assert remove(api) == ["- A    api.koprogo.test 192.0.2.1"]
    assert remove(api) == []


def test_keys_are_not_shown() -> None:
    assert SECRET not in repr(records.Keys("ovh-eu", KEY, SECRET, CONSUMER))


def test_keys_that_do_not_fit_together() -> None:
    with pytest.raises(CloudError, match="OVH_"):
        records.Account(records.Keys("ovh-eu", KEY, SECRET, CONSUMER, client_id="x", client_secret="y"))


# -- what is served --------------------------------------------------------------------------------------------------


class NameServer:
    """Answers A questions from a table, on UDP; a name that is missing does not exist, None is silence."""

    def __init__(self) -> None:
        self.table: dict[str, str | None] = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                data, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            question = dns.message.from_wire(data)
            name = question.question[0].name.to_text().rstrip(".")
            answer = dns.message.make_response(question)
            if name not in self.table:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif target := self.table[name]:
                answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "A", target))
            else:
                continue
            self.socket.sendto(answer.to_wire(), sender)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    running = NameServer()
    real, port = dns_served.dns.query.udp_with_fallback, running.socket.getsockname()[1]
    monkeypatch.setattr(
        dns_served.dns.query, "udp_with_fallback", lambda q, where, timeout: real(q, where, timeout, port)
    )
    monkeypatch.setattr(dns_served, "SECONDS_PER_QUESTION", 0.2)
    monkeypatch.setattr(dns_served, "PAUSE", 0.02)
    yield running
    running.socket.close()


APEX = wanted(["koprogo.test"], "192.0.2.1", None)
HERE = {"ns1.test": "127.0.0.1"}


def test_differences_name_server_and_answer(server: NameServer) -> None:
    assert dns_served.differences(APEX, {}, HERE) == ["ns1.test answers nothing for A koprogo.test"]
    server.table["koprogo.test"] = "10.0.0.9"
    assert dns_served.differences(APEX, {}, HERE) == ["ns1.test answers 10.0.0.9 for A koprogo.test"]
    server.table["koprogo.test"] = "192.0.2.1"
    assert dns_served.differences(APEX, {}, HERE) == []


def test_a_server_that_is_silent_is_no_difference(server: NameServer) -> None:
    server.table["koprogo.test"] = None
    assert dns_served.differences(APEX, {}, HERE) == []


def test_wait_ends_when_the_answer_comes(server: NameServer) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        server.table["koprogo.test"] = "192.0.2.1"

    assert dns_served.wait(lambda: dns_served.differences(APEX, {}, HERE), 5, say) == []
    assert said == ["waiting: ns1.test answers nothing for A koprogo.test"]


def test_wait_gives_up(server: NameServer) -> None:
    assert dns_served.wait(lambda: ["not yet"], 0.1, lambda line: None) == ["not yet"]


def test_records_written_and_never_served_are_refreshed(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = account(api)
    for change in records.plan(there, APEX).changes:
        there.write(change.action, change.row)
    monkeypatch.setattr(dns_served, "addresses", lambda servers, resolvers: HERE)
    plan = records.plan(there, APEX)
    assert plan.lines == ["~ zone koprogo.test: written earlier and not served yet"]
    server.table["koprogo.test"] = "192.0.2.1"
    records.apply(there, plan, (), lambda line: None)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    assert records.plan(there, APEX).lines == []


def test_a_zone_that_is_never_served_is_an_error(api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_served, "addresses", lambda servers, resolvers: HERE)
    monkeypatch.setattr(records, "SECONDS", 0.1)
    with pytest.raises(CloudError, match=r"OVH has accepted .* ns1.test answers nothing for A koprogo.test\. Wait"):
        apply(api, APEX)


def test_what_is_to_be_gone_is_named_while_it_is_served(server: NameServer) -> None:
    gone = removal(["koprogo.test"], ["192.0.2.1"], ZONES, []).gone["koprogo.test"]
    server.table["koprogo.test"] = "192.0.2.1"
    assert dns_served.differences({}, gone, HERE)[0] == "ns1.test still answers 192.0.2.1 for A koprogo.test"
    server.table["koprogo.test"] = "10.0.0.9"
    assert dns_served.differences({}, gone, HERE) == []
    server.table["koprogo.test"] = None
    assert dns_served.differences({}, gone, HERE) == []
    del server.table["koprogo.test"]
    assert dns_served.differences({}, gone, HERE) == []


def test_a_removal_waits_until_it_is_served(api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(api, APEX)
    server.table["koprogo.test"] = "192.0.2.1"
    monkeypatch.setattr(dns_served, "addresses", lambda servers, resolvers: HERE)
    there, said = account(api), []

    def say(line: str) -> None:
        said.append(line)
        del server.table["koprogo.test"]

    records.apply(there, records.plan_removal(there, ["koprogo.test"], ["192.0.2.1"]), (), say)
    assert said == ["waiting: ns1.test still answers 192.0.2.1 for A koprogo.test"]


def test_a_removal_that_was_never_served_is_refreshed(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.table["koprogo.test"] = "192.0.2.1"
    monkeypatch.setattr(dns_served, "addresses", lambda servers, resolvers: HERE)
    there = account(api)
    plan = records.plan_removal(there, NAMES, OURS)
    assert plan.lines == ["~ zone koprogo.test: written earlier and not served yet"]
    del server.table["koprogo.test"]
    records.apply(there, plan, (), lambda line: None)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    assert records.plan_removal(there, NAMES, OURS).lines == []
