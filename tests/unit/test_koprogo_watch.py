"""When somebody is told: a table of outages, check by check, five minutes apart."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from koprogo.health import watch
from koprogo.health.watch import USUAL, News, Patience, Watch

AT = 1_795_000_000.0
SITE, API, DISK = "public site", "public api", "disk"
TEXTS = {SITE: "https://koprogo.test: HTTP 503", API: "https://api.koprogo.test: HTTP 503", DISK: "a disk is 91% full"}


def told(
    checks: list[str], muted: Mapping[int, tuple[str, ...]] | None = None, patience: Patience = USUAL
) -> list[tuple[int, News]]:
    """What is told at which check, where each is a text of s (site), a (API) and d (disk), whatever is wrong then."""
    state, found = Watch(), []
    for number, wrong in enumerate(checks):
        keys = [key for letter, key in (("s", SITE), ("a", API), ("d", DISK)) if letter in wrong]
        state, news = watch.step(
            state, {key: TEXTS[key] for key in keys}, (muted or {}).get(number, ()), AT + 300 * number, patience
        )
        found += [(number, one) for one in news]
    return found


def titles(
    checks: list[str], muted: Mapping[int, tuple[str, ...]] | None = None, patience: Patience = USUAL
) -> list[tuple[int, str]]:
    return [(number, news.title) for number, news in told(checks, muted, patience)]


def test_an_outage_of_twenty_minutes_is_one_down_and_one_up() -> None:
    assert titles(["", "s", "s", "s", "s", "", "", "", ""]) == [
        (2, "https://koprogo.test: HTTP 503"),
        (6, "over: https://koprogo.test: HTTP 503"),
    ]


@pytest.mark.parametrize("checks", [["", "s", "", "", "s", "", "a", ""], ["s", "a", "d", ""]])
def test_nobody_is_told_of_a_blip(checks: list[str]) -> None:
    assert titles(checks) == []


def test_what_fails_together_is_told_together_and_is_over_together() -> None:
    assert told(["s", "sad", "sad", "ad", "d", "", "", ""]) == [
        (
            1,
            News(
                "3 things are wrong",
                ("- https://koprogo.test: HTTP 503", "- https://api.koprogo.test: HTTP 503", "- a disk is 91% full"),
                good=False,
            ),
        ),
        (
            6,
            News(
                "3 things are over",
                ("- https://koprogo.test: HTTP 503", "- https://api.koprogo.test: HTTP 503", "- a disk is 91% full"),
                good=True,
            ),
        ),
    ]


def test_what_is_over_for_half_an_hour_does_not_wait_for_the_rest() -> None:
    assert told(["sad"] * 2 + ["ad"] * 3 + ["d"] * 3 + ["d"] * 4 + ["", ""])[1:] == [
        (
            7,
            News(
                "2 things are over",
                (
                    "- https://koprogo.test: HTTP 503",
                    "- https://api.koprogo.test: HTTP 503",
                    "still: a disk is 91% full",
                ),
                good=True,
            ),
        ),
        (13, News("over: a disk is 91% full", ("- a disk is 91% full",), good=True)),
    ]


def test_the_operator_says_after_how_many_checks_and_how_often() -> None:
    patience = Patience(checks=4, remind=3600)
    assert titles(["s", "s", "s", ""], patience=patience) == []
    assert titles(["s"] * 28, patience=patience) == [
        (3, "https://koprogo.test: HTTP 503"),
        (15, "still: https://koprogo.test: HTTP 503"),
        (27, "still: https://koprogo.test: HTTP 503"),
    ]
    assert titles(["s", ""], patience=Patience(checks=1)) == [(0, "https://koprogo.test: HTTP 503")]


def test_what_comes_and_goes_is_there_all_the_time() -> None:
    assert titles(["s", "s", "", "s", "", "s", "", "s", "", ""]) == [
        (1, "https://koprogo.test: HTTP 503"),
        (9, "over: https://koprogo.test: HTTP 503"),
    ]


def test_a_second_thing_is_told_with_the_first_that_is_still_there_and_ends_by_itself() -> None:
    assert told(["d", "d", "sd", "sd", "d", "d", "", ""]) == [
        (1, News("a disk is 91% full", ("- a disk is 91% full",), good=False)),
        (
            3,
            News(
                "https://koprogo.test: HTTP 503",
                ("- https://koprogo.test: HTTP 503", "still: a disk is 91% full"),
                good=False,
            ),
        ),
        (
            5,
            News(
                "over: https://koprogo.test: HTTP 503",
                ("- https://koprogo.test: HTTP 503", "still: a disk is 91% full"),
                good=True,
            ),
        ),
        (7, News("over: a disk is 91% full", ("- a disk is 91% full",), good=True)),
    ]


def test_a_reminder_every_six_hours() -> None:
    assert titles(["s"] * 147) == [
        (1, "https://koprogo.test: HTTP 503"),
        (73, "still: https://koprogo.test: HTTP 503"),
        (145, "still: https://koprogo.test: HTTP 503"),
    ]


def test_a_reminder_and_the_end_have_the_figures_of_now() -> None:
    state, _ = watch.step(Watch(), {DISK: "a disk is 91% full"}, (), AT, Patience(checks=1))
    state, (reminder,) = watch.step(state, {DISK: "a disk is 97% full"}, (), AT + 21600)
    assert reminder.title == "still: a disk is 97% full"
    assert state.alarms[0].text == "a disk is 97% full"


def test_a_deploy_mutes_what_it_causes_and_no_more() -> None:
    muted = {1: (SITE,), 2: (SITE,), 3: (SITE,)}
    assert titles(["", "s", "s", "s", ""], muted) == []
    assert titles(["", "sd", "sd", "sd", ""], muted) == [(2, "a disk is 91% full")]
    # Nobody looked at what it may cause: no message about something else says that it is so.
    assert titles(["d", "sd"], {1: (SITE,)}) == [(1, "a disk is 91% full")]
    assert titles(["s", "d", "d", ""], {1: (SITE,), 2: (SITE,)}) == [(2, "a disk is 91% full")]
    # What was wrong before it is neither over nor worse meanwhile.
    assert titles(["s", "s", "", "", "s", "", ""], {2: (SITE,), 3: (SITE,)}) == [
        (1, "https://koprogo.test: HTTP 503"),
        (6, "over: https://koprogo.test: HTTP 503"),
    ]


def test_a_clock_that_was_set_back_does_not_end_the_reminders() -> None:
    state, _ = watch.step(Watch(), {SITE: "x"}, (), AT)
    state, _ = watch.step(state, {SITE: "x"}, (), AT)
    state, news = watch.step(state, {SITE: "x"}, (), AT - 86400)
    assert news == []
    _, news = watch.step(state, {SITE: "x"}, (), AT - 86400 + 21600)
    assert [one.title for one in news] == ["still: x"]


@given(st.lists(st.sets(st.sampled_from("sad")), max_size=60))
def test_every_down_has_an_up_and_nothing_is_remembered_after_a_quiet_while(checks: list[set[str]]) -> None:
    found = told(["".join(sorted(wrong)) for wrong in checks] + [""] * 3)
    downs = [line for _, news in found if not news.good for line in news.lines if line.startswith("- ")]
    ups = [line for _, news in found if news.good for line in news.lines if line.startswith("- ")]
    assert sorted(downs) == sorted(ups)
    state = Watch()
    for number, wrong in enumerate([*checks, set(), set(), set()]):
        state, _ = watch.step(state, dict.fromkeys(wrong, "x"), (), AT + 300 * number)
    assert state.alarms == ()
