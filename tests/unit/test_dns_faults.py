"""OVH's API failing at every call of a change of DNS records: retried or explained, and completed by the next run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dns_account import LEAST, NAMES, OURS, TTL, put, serve, table, zones
from ovh_stand_in import CONSUMER, KEY, SECRET, Api

from cloud.dns.record import wanted
from cloud.ovh import client
from cloud.trouble import CloudError

WANT = wanted(["koprogo.test", "api.koprogo.test"], "192.0.2.1", "2001:db8::1", "letsencrypt.org")
WRITTEN = [
    (sub, kind, target)
    for sub in ("", "api")
    for kind, target in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("CAA", '0 issue "letsencrypt.org"'))
]
FOREIGN_PERMIT = ("api", "CAA", '0 issue "digicert.com"')
QUERY = r"\(OVH-Query-ID: EU\.ext-3\.\w{8}\.\w{16}\)"
RECORD = (
    r"/domain/zone/koprogo\.test/record/\d+: OVH refused it \(404: The requested object \(id = \d+\) does not exist\)"
)
NEVER_SHOWN = (
    rf"^OVH: GET {RECORD} {QUERY}\. OVH lists that record and does not show it\. Wait a minute, then run again\."
)
MOVED = (
    rf"{RECORD} {QUERY}\. OVH has that record \([A-Z]+ [a-z.]+\) no more: the zone was changed or imported"
    r" meanwhile\. Run again"
)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], "Trial"]]:
    """Makes accounts, each with a zone in which there is something to create, to change and to delete."""
    made: list[Trial] = []

    def one() -> Trial:
        made.append(Trial(tmp_path / str(len(made)), monkeypatch))
        return made[-1]

    yield one
    for trial in made:
        trial.api.stop()


class Trial:
    """An account whose name servers answer what its publisher was given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.api = Api(folder)
        self.foreign = sorted([*table(self.api), FOREIGN_PERMIT])
        put(self.api, "", "10.0.0.9", "A")
        put(self.api, "", "10.0.0.9", "A")
        put(self.api, "api", "2001:db8::1", "AAAA", 60)
        put(self.api, *FOREIGN_PERMIT[::2], "CAA")
        self.api.store.deploy_all()
        self.api.history.clear()
        serve(self.api, monkeypatch)
        self.said: list[str] = []

    def change(self) -> None:
        """One run."""
        there = zones(self.api, self.said.append)
        there.apply(there.plan(WANT, TTL))

    def take_away(self) -> None:
        """One run of a removal."""
        there = zones(self.api, self.said.append)
        there.apply(there.plan_removal(NAMES, OURS, "letsencrypt.org"))

    def assert_changed(self) -> None:
        """All is written once and served, and the rest is as it was."""
        assert table(self.api) == sorted(WRITTEN + self.foreign)
        assert sorted(self.api.publisher.served["koprogo.test"][1]) == sorted(WRITTEN + self.foreign)
        assert zones(self.api).plan(WANT, TTL).zones == ()

    def assert_always_resolving(self) -> None:
        """In every state of the zone since the start the names that had an address have one."""
        for state in self.api.history:
            having = {(r["subDomain"], r["fieldType"]) for r in state["records"]}
            assert having >= {("", "A"), ("api", "AAAA")}


def calls(trial: Trial, work: Callable[[], None]) -> int:
    """How many calls an undisturbed run makes."""
    trial.api.faults.calls.clear()
    work()
    return len(trial.api.calls)


ONCE: dict[str, dict[str, Any]] = {
    "429": {"do": "429", "value": 0},
    "500": {"do": "500"},
    "500 after it was carried out": {"do": "500", "done": True},
    "503 with Retry-After": {"do": "503", "value": 0},
    "an HTML page": {"do": "html"},
    "an HTML page after it was carried out": {"do": "html", "done": True},
    "408 in HTML": {"do": "html", "value": 408},
    "200 and empty": {"do": "empty"},
    "200 and of another form": {"do": "odd"},
    "no answer": {"do": "drop"},
    "the answer is lost": {"do": "cut"},
}


@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("fault", ONCE)
def test_every_third_call_may_fail(make: Callable[[], Trial], fault: str, first: int) -> None:
    trial = make()
    for nth in range(first, 400, 3):
        trial.api.faults.add(nth=nth, **ONCE[fault])
    trial.change()
    trial.api.faults.clear()
    trial.assert_changed()
    trial.assert_always_resolving()


@pytest.mark.parametrize(
    "fault",
    [{"do": "cut"}, {"do": "500", "done": True}, {"do": "skew", "value": 3600}],
    ids=["the answer is lost", "500 after it was carried out", "the clock jumps"],
)
def test_any_one_call_may_go_wrong(make: Callable[[], Trial], fault: dict[str, Any]) -> None:
    trial = make()
    for nth in range(1, calls(trial, trial.change) + 1):
        trial = make()
        trial.api.faults.add(nth=nth, **fault)
        trial.change()
        trial.api.faults.clear()
        trial.assert_changed()


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_record_that_was_not_made_is_not_taken_for_anothers(make: Callable[[], Trial], nth: int) -> None:
    trial = make()
    rule = trial.api.faults.add("drop", method="POST", path=".*/record", nth=nth)
    trial.change()
    assert rule.seen == 5
    trial.assert_changed()


@pytest.mark.parametrize("done", [False, True])
def test_an_outage_from_any_call_on_is_explained_and_completed_by_the_next_run(
    make: Callable[[], Trial], *, done: bool
) -> None:
    trial = make()
    count = calls(trial, trial.change)
    assert count > 25
    for nth in range(1, count + 1):
        trial = make()
        trial.api.faults.add("503", nth=nth, times=None, done=done, value=0)
        with pytest.raises(CloudError, match=r"OVH failed \(503: Service unavailable\).*\(OVH-Query-ID: EU\.ext-3\."):
            trial.change()
        trial.assert_always_resolving()
        trial.api.faults.clear()
        trial.change()
        trial.assert_changed()


def test_an_outage_at_any_call_of_a_removal_is_completed_by_the_next_run(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.change()
    count = calls(trial, trial.take_away)
    assert count > 25
    for nth in range(1, count + 1):
        trial = make()
        trial.change()
        trial.api.faults.calls.clear()
        trial.api.faults.add("drop", nth=nth, times=None)
        with pytest.raises(CloudError, match="cannot be reached"):
            trial.take_away()
        trial.api.faults.clear()
        trial.take_away()
        assert table(trial.api) == trial.foreign
        assert sorted(trial.api.publisher.served["koprogo.test"][1]) == trial.foreign


def test_an_answer_that_does_not_come_in_time_is_not_waited_for(
    make: Callable[[], Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUTS", (5.0, 0.5))
    trial = make()
    for method, path in (("GET", ".*"), ("DELETE", ".*"), ("PUT", ".*"), ("POST", ".*/record"), ("POST", ".*/refresh")):
        trial.api.faults.add("delay", method=method, path=path, value=10, done=True)
    trial.change()
    said = [line.partition(": OVH's API at ")[0].partition("/record/")[0] for line in trial.said]
    assert said == [
        "OVH: GET /domain/zone",
        "OVH: DELETE /domain/zone/koprogo.test",
        "OVH: PUT /domain/zone/koprogo.test",
        "OVH: POST /domain/zone/koprogo.test/refresh",  # and not the record that was made, which is found
    ]
    trial.assert_changed()
    trial.assert_always_resolving()


def test_a_retry_is_shown_and_waits_as_long_as_ovh_asks(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("429", method="PUT", value=1)
    trial.change()
    retries = [line for line in trial.said if not line.startswith("waiting: ")]  # the servers may take a moment
    assert len(retries) == 1
    assert "PUT /domain/zone/koprogo.test/record/" in retries[0]
    assert "OVH asks for fewer requests (429)" in retries[0]
    assert retries[0].endswith("Trying again in 1 s.")


def test_who_is_asked_to_wait_too_long_is_told_at_once(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("429", times=None, value=3600)
    with pytest.raises(CloudError, match="asks for fewer requests"):
        trial.change()
    assert trial.said == []


def test_ids_of_zero_do_not_matter(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("id0", method="POST", path=".*/record", times=None)
    trial.change()
    trial.assert_changed()


def test_a_record_that_is_listed_and_not_shown_yet_is_waited_for_and_not_made_twice(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("notyet", method="POST", path=".*/record", times=None, value=3)
    trial.change()
    trial.change()
    trial.assert_changed()


@pytest.mark.parametrize("path", ["/auth/time", "/domain/zone", ".*/record\\?.*", ".*/status"])
def test_an_odd_answer_that_stays_is_named_with_its_query_id(make: Callable[[], Trial], path: str) -> None:
    trial = make()
    trial.api.faults.add("odd", method="GET", path=path, times=None)
    with pytest.raises(
        CloudError, match=rf"^OVH: GET /domain/zone\S*: http\S+ answered in a way .* a minute {QUERY}\.$"
    ):
        trial.change()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (".*/record/.*", {"subDomain": "", "fieldType": "A", "target": None, "ttl": 0}),
        (".*/record/.*", {"subDomain": 5, "fieldType": "A", "target": "10.0.0.9", "ttl": 0}),
        (".*/record/.*", {"subDomain": "", "fieldType": "A", "target": "10.0.0.9", "ttl": "0"}),
        ("/domain/zone/koprogo.test", {"nameServers": None}),
        (".*/status", {"isDeployed": None}),
    ],
)
def test_a_field_of_another_type_is_an_odd_answer(make: Callable[[], Trial], path: str, answer: Any) -> None:
    trial = make()
    trial.api.faults.add("odd", method="GET", path=path, times=None, value=answer)
    with pytest.raises(CloudError, match=rf"answered in a way that OVH's API does not\. .* {QUERY}\.$"):
        trial.change()


def test_a_page_in_the_place_of_the_time_is_a_failure_with_its_query_id(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("html", path="/auth/time", times=None)
    with pytest.raises(
        CloudError, match=rf"^OVH: GET /domain/zone: OVH failed \(502\)\. Run again; .* page {QUERY}\.$"
    ):
        trial.change()


def test_a_record_that_is_never_shown_is_an_error(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("404", method="GET", path=".*/record/[0-9]+", times=None)
    with pytest.raises(CloudError, match=NEVER_SHOWN):
        trial.change()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_ids_that_change_meanwhile_are_explained_and_nothing_else_is_hit(
    make: Callable[[], Trial], method: str
) -> None:
    trial = make()
    trial.api.faults.add("newids", method=method)
    with pytest.raises(CloudError, match=rf"OVH: {method} {MOVED}"):
        trial.change()
    trial.assert_always_resolving()
    trial.change()
    trial.assert_changed()


def test_a_record_with_another_id_does_not_count_as_deleted(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.change()
    trial.api.faults.add("newids", method="DELETE", nth=6)
    with pytest.raises(CloudError, match=rf"OVH: DELETE {MOVED}"):
        trial.take_away()
    trial.take_away()
    assert table(trial.api) == trial.foreign


def test_a_record_that_somebody_else_deleted_counts_as_deleted(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.change()
    there = zones(trial.api)
    plan = there.plan_removal(NAMES, OURS, "letsencrypt.org")
    trial.api.client().delete(f"/domain/zone/koprogo.test/record/{plan.changes[0].row.id}")
    there.apply(plan)
    assert table(trial.api) == trial.foreign


def test_a_refresh_while_another_one_runs_is_repeated(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("409", method="POST", path=".*/refresh", times=3)
    trial.change()
    assert [call.status for call in trial.api.calls if call.path.endswith("/refresh")] == [409, 409, 409, 204]
    trial.assert_changed()


def test_a_refresh_that_stays_impossible_says_that_the_records_are_not_served(make: Callable[[], Trial]) -> None:
    trial = make()
    trial.api.faults.add("409", method="POST", path=".*/refresh", times=None)
    with pytest.raises(CloudError, match=r"\(409: A task is .* The records are written and not served: run again\.$"):
        trial.change()
    trial.api.faults.clear()
    trial.change()
    trial.assert_changed()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("expire", "the consumer key has expired or was never validated in a browser."),
        ("pend", "the consumer key has expired or was never validated in a browser."),
        ("revoke", "the consumer key (OVH_CONSUMER_KEY) has no right to this call."),
    ],
)
def test_a_key_that_loses_its_rights_in_the_middle_says_how_far_it_got(
    make: Callable[[], Trial], fault: str, says: str
) -> None:
    trial = make()
    trial.api.faults.add(fault, method="PUT")
    with pytest.raises(CloudError) as error:
        trial.change()
    text = str(error.value)
    assert text.startswith("OVH: P")
    assert says in text
    assert text.endswith("2 of 7 changes are written and not served; the next run completes them.")
    assert not [secret for secret in (SECRET, CONSUMER, KEY) if secret in text]


def test_a_missing_right_is_named_before_anything_is_written(make: Callable[[], Trial]) -> None:
    trial = make()
    before = table(trial.api)
    trial.api.faults.add("revoke", method="GET", path=".*/status")
    with pytest.raises(CloudError, match=r"GET /domain/zone/koprogo\.test/status: the consumer key .* has no right"):
        trial.change()
    assert table(trial.api) == before


# A redirection or DynHost is read only where there is one.
USED = [right for right in LEAST if not right[1].endswith(("redirection/*", "dynHost/record/*"))]


@pytest.mark.parametrize("missing", USED, ids=" ".join)
def test_whichever_right_is_missing_is_named_and_the_run_after_it_was_given_completes_it(
    make: Callable[[], Trial], missing: tuple[str, str]
) -> None:
    trial = make()
    whole = trial.api.account.consumer_keys[CONSUMER]
    trial.api.account.consumer_keys[CONSUMER] = replace(whole, rules=tuple(r for r in LEAST if r != missing))
    named = re.escape(f"OVH: {' '.join(missing)}").replace(r"\*", r"\d+")
    with pytest.raises(CloudError, match=rf"^{named}[?\w=&]*: the consumer key .* has no right to this call"):
        trial.change()
    trial.assert_always_resolving()
    trial.api.account.consumer_keys[CONSUMER] = whole
    trial.change()
    trial.assert_changed()
