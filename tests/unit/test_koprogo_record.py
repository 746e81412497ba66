"""What is kept of the checks: days, hours, outages; and that no clock and no number of checks makes it large."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from koprogo.health import record
from koprogo.health.record import Fault, Outage, Record, Sample, Seen, Tally
from koprogo.problem import Problem

MIDNIGHT = 1_795_392_000.0
"""2026-11-23 00:00 UTC."""
SITE, API = "koprogo.test", "api.koprogo.test"
WELL, DOWN = Seen(SITE, milliseconds=45.0, certificate_days=60.0), Seen(SITE, Fault.ANSWER)


def times(**counts: int) -> tuple[int, ...]:
    """How many answers are in which class, by the class's number, as in `_0=3`."""
    return tuple(counts.get(f"_{number}", 0) for number in range(17))


def checks(*found: tuple[float, Seen], kept: Record | None = None) -> Record:
    """The record after these checks, at so many minutes after midnight."""
    kept = kept or Record()
    for minutes, seen in found:
        at = MIDNIGHT + minutes * 60
        kept = record.add(kept, Sample(at, (seen,)), datetime.fromtimestamp(at, UTC).date().isoformat())
    return kept


def test_the_time_between_two_checks_counts_as_the_later_one_found_it() -> None:
    kept = checks((0, WELL), (5, WELL), (10, DOWN), (15, WELL))
    expected = {SITE: Tally(checks=4, failed=1, known=900, down=300, times=times(_1=3))}
    assert kept.days == {"2026-11-23": expected}
    assert kept.hours == {498720: expected}
    assert kept.last == Sample(MIDNIGHT + 900, (WELL,))


def test_a_day_ends_with_the_date_and_each_address_is_counted_by_itself() -> None:
    kept = checks((1435, WELL), (1440, DOWN))
    kept = record.add(kept, Sample(MIDNIGHT + 1441 * 60, (DOWN, Seen(API, milliseconds=9000))), "2026-11-24")
    assert kept.days == {
        "2026-11-23": {SITE: Tally(1, 0, 0, 0, times(_1=1))},
        "2026-11-24": {SITE: Tally(2, 2, 360, 360), API: Tally(1, 0, 60, 0, times(_15=1))},
    }


def test_outages_are_one_each_however_many_checks_failed() -> None:
    kept = checks((0, WELL), (5, DOWN), (10, DOWN), (15, WELL), (20, replace(DOWN, fault=Fault.CERTIFICATE)))
    assert kept.outages == (
        Outage(SITE, Fault.ANSWER, MIDNIGHT + 300, MIDNIGHT + 900, checks=2),
        Outage(SITE, Fault.CERTIFICATE, MIDNIGHT + 1200, None, checks=1),
    )


def test_what_goes_from_one_fault_to_another_is_told_as_both() -> None:
    wrong = replace(DOWN, fault=Fault.CERTIFICATE)
    kept = checks((0, DOWN), (5, DOWN), (10, wrong), (15, wrong), (20, WELL))
    assert kept.outages == (
        Outage(SITE, Fault.ANSWER, MIDNIGHT, MIDNIGHT + 600, checks=2),
        Outage(SITE, Fault.CERTIFICATE, MIDNIGHT + 600, MIDNIGHT + 1200, checks=2),
    )


def test_an_outage_that_goes_on_is_kept_however_many_others_came_since() -> None:
    kept = Record()
    for number in range(300):
        seen = (DOWN, Seen(API, Fault.ANSWER if number % 2 else Fault.NONE))
        kept = record.add(kept, Sample(MIDNIGHT + 300 * number, seen), "2026-11-23")
    assert len(kept.outages) == 100
    assert kept.outages[0] == Outage(SITE, Fault.ANSWER, MIDNIGHT, None, checks=300)


def test_an_outage_of_an_address_that_is_no_longer_looked_at_ends() -> None:
    kept = checks((0, DOWN), (5, Seen(API)))
    assert kept.outages == (Outage(SITE, Fault.ANSWER, MIDNIGHT, MIDNIGHT + 300),)


def test_time_in_which_nobody_looked_is_neither_up_nor_down_and_is_told() -> None:
    kept = checks((0, WELL), (5, WELL), (65, DOWN), (70, WELL))
    assert kept.days["2026-11-23"][SITE] == Tally(4, 1, 600, 0, times(_1=3))
    assert kept.outages == (
        Outage("", Fault.UNWATCHED, MIDNIGHT + 300, MIDNIGHT + 3900, checks=0),
        Outage(SITE, Fault.ANSWER, MIDNIGHT + 3900, MIDNIGHT + 4200, checks=1),
    )


def test_a_clock_that_was_set_back_adds_no_time() -> None:
    kept = checks((60, WELL), (0, DOWN), (5, DOWN), (10, WELL))
    assert kept.days["2026-11-23"][SITE] == Tally(4, 2, 600, 300, times(_1=2))
    assert kept.outages == (Outage(SITE, Fault.ANSWER, MIDNIGHT, MIDNIGHT + 600, checks=2),)


def test_a_clock_a_year_ahead_for_a_while_loses_no_day_and_invents_no_outage() -> None:
    kept = Record()
    for day in range(95):
        kept = checks((day * 1440, WELL), (day * 1440 + 5, WELL), kept=kept)
    before = kept.days
    year = 365 * 1440
    for day in range(95, 100):
        kept = checks((day * 1440 + year, WELL), kept=kept)
    for day in range(95, 100):
        kept = checks((day * 1440, WELL), kept=kept)
    assert len(kept.days) == 100
    assert dict(list(kept.days.items())[:95]) == before
    assert list(kept.days)[95:] == ["2027-02-26", "2027-02-27", "2027-02-28", "2027-03-01", "2027-03-02"]
    assert {outage.fault for outage in kept.outages} == {Fault.UNWATCHED}
    assert {(outage.end or 0) - outage.begin for outage in kept.outages} == {86100, 86400}


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({}, 0.5, None),
        ({"_0": 2}, 0.5, 12.5),
        ({"_0": 90, "_5": 10}, 0.5, 25 * 50 / 90),
        ({"_0": 90, "_5": 10}, 0.95, 175),
        ({"_3": 1}, 0.95, 98.75),
        ({"_16": 5}, 0.5, 10000),
    ],
)
def test_percentiles_lie_within_their_class(counts: dict[str, int], share: float, expected: float | None) -> None:
    assert record.percentile(times(**counts), share) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("milliseconds", "expected"), [(0, 0), (25, 0), (25.1, 1), (10000, 15), (10001, 16)])
def test_a_response_time_is_in_the_class_that_it_does_not_exceed(milliseconds: float, expected: int) -> None:
    (tally,) = checks((0, Seen(SITE, milliseconds=milliseconds))).days["2026-11-23"].values()
    assert tally.times.index(1) == expected


def test_the_file_is_a_line_for_each_day_and_reads_as_it_was_written(tmp_path: Path) -> None:
    kept = checks((0, WELL), (5, DOWN), (1440, DOWN))
    record.save(tmp_path, kept)
    assert record.load(tmp_path) == (kept, None)
    lines = (tmp_path / "record.jsonl").read_text().splitlines()
    assert lines[0] == (
        '{"day":"2026-11-23","address":"koprogo.test","checks":2,"failed":1,"known":300,"down":300,'
        '"times":[0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}'
    )
    assert len(lines) == 2 + 2 + 2 + 1


def test_without_a_file_there_is_nothing_so_far(tmp_path: Path) -> None:
    assert record.load(tmp_path) == (Record(), None)


@pytest.mark.parametrize(
    "line",
    [
        "\0" * 512,
        "[]",
        "7",
        '{"day":"yesterday","address":"x","checks":1,"failed":0,"known":1,"down":0,"times":[]}',
        '{"day":"2026-11-23","address":"x","checks":1,"failed":0,"known":1,"down":0,"times":[1,2]}',
        '{"hour":Infinity,"address":"x","checks":1,"failed":0,"known":1,"down":0,"times":[]}',
        '{"outage":{"address":"x","fault":"other","begin":1,"end":null,"checks":1}}',
        '{"last":{"at":null,"seen":[],"attention":false}}',
        '{"last":{"at":1,"seen":[{}],"attention":false}}',
    ],
)
def test_damaged_lines_are_set_aside_and_the_rest_counts(tmp_path: Path, line: str) -> None:
    kept = checks((0, WELL), (5, DOWN))
    text = record.encode(kept) + line + "\n"
    (tmp_path / "record.jsonl").write_text(text)
    found, trouble = record.load(tmp_path)
    assert found == kept
    said = "are damaged; it is kept as record.jsonl.damaged, and the rest of it still counts"
    assert trouble == f"1 lines of {tmp_path}/record.jsonl {said}"
    assert (tmp_path / "record.jsonl.damaged").read_text() == text
    assert not (tmp_path / "record.jsonl").exists()


def test_a_file_that_cannot_be_read_is_a_problem_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").mkdir()
    with pytest.raises(Problem, match=r"record\.jsonl: Is a directory\.$"):
        record.load(tmp_path)


SEEN = st.builds(
    Seen,
    st.sampled_from([SITE, API, *(f"{letter}.test" for letter in "abcdefghijklmnopqrst")]),
    st.sampled_from([Fault.NONE, Fault.ANSWER, Fault.CERTIFICATE]),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(-100, 400),
)
MOMENT = st.one_of(
    st.floats(0, 86400),
    st.floats(-400 * 86400, 400 * 86400),  # wherever a wrong clock has it
).map(lambda seconds: MIDNIGHT + seconds)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(MOMENT, st.lists(SEEN, min_size=1, max_size=20)), max_size=150))
def test_it_stays_small_and_counts_right_whatever_is_found_and_whatever_the_clock_says(
    found: list[tuple[float, list[Seen]]],
) -> None:
    kept = Record()
    for at, seen in found:
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        before = kept.days.get(day, {})
        kept = record.add(kept, Sample(at, tuple(seen)), day)
        for address, tally in kept.days[day].items():
            assert tally.checks >= before.get(address, Tally()).checks
    for tallies in (*kept.days.values(), *kept.hours.values()):
        assert len(tallies) <= 16
        for tally in tallies.values():
            assert 0 <= tally.failed <= tally.checks
            assert 0 <= tally.down <= tally.known <= tally.checks * 900
            assert sum(tally.times) <= tally.checks - tally.failed
    assert len(kept.days) <= 100
    assert len(kept.hours) <= 30
    assert len(kept.outages) <= 100
    assert all(outage.end is None or outage.end >= outage.begin for outage in kept.outages)
    read, bad = record.decode(record.encode(kept))
    assert bad == 0
    assert (read.outages, read.last, list(read.days), list(read.hours)) == (
        kept.outages, kept.last, list(kept.days), list(kept.hours),
    )  # fmt: skip


def test_what_is_kept_of_two_addresses_is_a_small_file() -> None:
    kept, step = Record(), 1800
    for number in range(105 * 48):
        at = MIDNIGHT + number * step
        day = datetime.fromtimestamp(at, UTC).date().isoformat()
        fault = Fault.ANSWER if number % 3 == 0 else Fault.NONE
        kept = record.add(kept, Sample(at, (Seen(SITE, fault, 45), Seen(API, milliseconds=1234.5))), day)
    assert (len(kept.days), len(kept.hours), len(kept.outages)) == (100, 30, 100)
    assert (min(kept.days), max(kept.days)) == ("2026-11-28", "2027-03-07")
    assert len(record.encode(kept)) < 48_000


def test_addresses_of_before_make_room_for_those_of_now() -> None:
    kept = checks(*((0, Seen(f"{letter}.test")) for letter in "abcdefghijklmnop"))
    assert len(kept.days["2026-11-23"]) == 16
    kept = checks((5, Seen(SITE)), kept=kept)
    assert list(kept.days["2026-11-23"]) == [SITE, *(f"{letter}.test" for letter in "ponmlkjihgfedcb")]
