"""The status page, whole: the files in tests/unit/golden, which tests/machine/test_status_page.py shows to a browser.

After a change that is meant: `python -m pytest tests/unit/test_koprogo_page.py --write-golden`, and look at them.
"""

import dataclasses
import re
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from koprogo import config
from koprogo.backups import backup_state
from koprogo.backups.backup_state import Run
from koprogo.config import Config
from koprogo.health import record
from koprogo.health.record import Fault, Outage, Record, Sample, Seen, Tally
from koprogo.page import page, page_html, page_text
from koprogo.page.page_html import Change, Facts, render
from koprogo.page.page_style import POLICY, STYLE
from koprogo.page.page_text import Words
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Deployed, Entry, Outcome, State, Store
from koprogo.web import Answer

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_795_439_100.0
"""2026-11-23 14:05 in Brussels."""
SITE, API = "koprogo.test", "api.koprogo.test"
TODAY = date(2026, 11, 23)


@pytest.fixture(autouse=True)
def brussels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server's time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Brussels")
        time.tzset()
        yield
    time.tzset()


def tally(failed: int = 0, checks: int = 288, **of_class: int) -> Tally:
    """A day, or what there is of it: so many checks, failures, and answers in the classes of these numbers."""
    counts = {int(name[1:]): count for name, count in of_class.items()} or {1: (checks - failed) * 9 // 10}
    counts.setdefault(5, checks - failed - sum(counts.values()))
    times = tuple(counts.get(number, 0) for number in range(17))
    return Tally(checks, failed, checks * 300, failed * 300, times)


def lived() -> Record:
    """Sixty days: bad ones, a day that was watched in part, and the last hours."""
    days = {TODAY - timedelta(days=back): {API: tally(_2=250), SITE: tally()} for back in range(60)}
    days[TODAY] = {API: tally(checks=157, _2=120), SITE: tally(checks=157)}
    days[TODAY - timedelta(days=3)] = {API: tally(4, _2=250), SITE: tally()}
    days[TODAY - timedelta(days=10)] = {API: tally(36, _2=200), SITE: tally(36)}
    days[TODAY - timedelta(days=12)] = {API: tally(checks=100, _2=80), SITE: tally(1, checks=100)}
    days[TODAY - timedelta(days=31)] = {}
    hour = int(NOW // 3600)
    hours = {
        hour - back: {SITE: tally(checks=12, _1=12), API: tally(checks=12, **{f"_{2 + back * 7 % 5}": 12})}
        for back in range(24)
    }
    ago = {name: NOW - days * 86400 for name, days in {"three": 3.1, "ten": 10.4, "five": 5, "old": 12}.items()}
    outages = (
        Outage(SITE, Fault.ANSWER, ago["old"], ago["old"] + 300),
        Outage(API, Fault.ANSWER, ago["ten"], ago["ten"] + 10800, 36),
        Outage(SITE, Fault.CERTIFICATE, ago["ten"] + 60, ago["ten"] + 10800, 36),
        Outage("", Fault.UNWATCHED, ago["five"], ago["five"] + 4 * 3600, 0),
        Outage(API, Fault.ANSWER, ago["three"], ago["three"] + 1200, 4),
    )
    last = Sample(NOW, (Seen(API, Fault.NONE, 61.4, 60.2), Seen(SITE, Fault.NONE, 38.2, 59.9)))
    return Record({day.isoformat(): found for day, found in sorted(days.items())}, hours, outages, last)


FACTS = Facts(
    site=SITE,
    version="main-1a2b3c4",
    since=NOW - 86400,
    changes=(
        Change(NOW - 3600, "9f8e7d6", Outcome.UNDONE),
        Change(NOW - 86400, "main-1a2b3c4", Outcome.DEPLOYED),
        Change(NOW - 3 * 86400, "main-0d9c8b7", Outcome.WENT_BACK),
        Change(NOW - 4 * 86400, "5a6b7c8", Outcome.FAILED),
        Change(NOW - 9 * 86400, "main-0d9c8b7", Outcome.APPLIED),
        Change(NOW - 10 * 86400, "main-0d9c8b7", Outcome.DEPLOYED),
    ),
    backup=NOW - 12 * 3600,
    drill=NOW - 2 * 86400,
)


def down() -> Record:
    """The same, and the API has not answered for a quarter of an hour."""
    kept = lived()
    last = Sample(NOW, (Seen(API, Fault.ANSWER, None, 60.2), Seen(SITE, Fault.NONE, 1843.0, 59.9)), attention=True)
    today = {API: tally(4, checks=157, _2=120), SITE: tally(checks=157)}
    outages = (*kept.outages, Outage(API, Fault.ANSWER, NOW - 900, None, 4))
    return dataclasses.replace(kept, days={**kept.days, TODAY.isoformat(): today}, outages=outages, last=last)


VIEWS = {
    "page-well": (lived, FACTS, "en"),
    "page-down": (down, FACTS, "en"),
    "page-down-fr": (down, FACTS, "fr"),
    "page-first": (Record, Facts(SITE), "en"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_whole_page(request: pytest.FixtureRequest, name: str) -> None:
    kept, facts, language = VIEWS[name]
    text = render(kept(), facts, NOW, Words(language))
    file = GOLDEN / f"{name}.html"
    if request.config.getoption("--write-golden"):
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("name", VIEWS)
def test_the_page_runs_nothing_and_loads_nothing(name: str) -> None:
    text = (GOLDEN / f"{name}.html").read_text()
    assert not re.search(r"<script|<link|<img|<iframe|<object|<form|\son\w+=|url\(|@import|https?:|style=", text)
    assert text.count("<style>") == 1
    assert f"<style>{STYLE}</style>" in text
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert len(text) < 40_000


def test_the_words_are_the_same_in_every_language() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    english, french = page_text.TEXTS["en"], page_text.TEXTS["fr"]
    assert list(page_text.TEXTS) == ["en", "fr"]
    assert {name: fields(text) for name, text in english.items()} == {
        name: fields(text) for name, text in french.items()
    }
    assert {outcome.value for outcome in page.SHOWN} <= set(english)


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace("\u00a0", " ")


def stated(*seen: Seen, attention: bool = False, language: str = "en") -> tuple[str, str]:
    """How the whole is, in a few words: class and text."""
    text = render(Record(last=Sample(NOW, seen, attention)), Facts(SITE), NOW, Words(language))
    found = re.search(r'<p class="state (\w+)">(.*?)</p>', text)
    assert found
    return found[1], found[2]


A, B, C = Seen("a.test"), Seen("b.test"), Seen("c.test")


@pytest.mark.parametrize(
    ("seen", "attention", "expected"),
    [
        ((A, B), False, ("ok", "Everything works")),
        ((A, B), True, ("some", "Everything works; something behind it needs attention")),
        ((dataclasses.replace(A, fault=Fault.ANSWER), B), True, ("bad", "a.test does not answer")),
        (
            (dataclasses.replace(A, fault=Fault.ANSWER), dataclasses.replace(B, fault=Fault.ANSWER), C),
            True,
            ("bad", "a.test and b.test do not answer"),
        ),
        ((dataclasses.replace(A, fault=Fault.ANSWER),), False, ("bad", "Nothing answers")),
        (
            (A, dataclasses.replace(B, fault=Fault.CERTIFICATE)),
            False,
            ("bad", "The certificate of b.test is not valid"),
        ),
        (
            (dataclasses.replace(A, fault=Fault.CERTIFICATE), dataclasses.replace(B, fault=Fault.CERTIFICATE)),
            False,
            ("bad", "The certificates of a.test and b.test are not valid"),
        ),
        ((), False, ("none", "Not checked so far")),
    ],
)
def test_the_whole_in_a_few_words(seen: tuple[Seen, ...], attention: bool, expected: tuple[str, str]) -> None:
    assert stated(*seen, attention=attention) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Tally(), ("none", "23 November: not watched")),
        (tally(), ("ok", "23 November: no failure")),
        (tally(1), ("some", "23 November: 99.65 % up, 5 min down")),
        (tally(3), ("bad", "23 November: 98.95 % up, 15 min down")),
        (tally(288), ("bad", "23 November: 0.00 % up, 1 d down")),
        (Tally(1, 1), ("some", "23 November: 1 of 1 checks failed")),
        (Tally(9000, 1, 86400, 1), ("some", "23 November: 99.99 % up, 1 min down")),
    ],
)
def test_a_bar_says_in_words_what_it_shows(found: Tally, expected: tuple[str, str]) -> None:
    kept = Record({"2026-11-23": {SITE: found}}, last=Sample(NOW, (Seen(SITE),)))
    text = plain(render(kept, Facts(SITE), NOW, Words("en")))
    bars = re.findall(r'<li class="(\w+)"><span>(.*?)</span></li>', text)
    assert len(bars) == 90
    assert bars[0] == ("none", "26 August: not watched")
    assert bars[-1] == expected


@pytest.mark.parametrize(("days", "said"), [(81, ""), (80, " (watched for 80 d)"), (0, "")])
def test_days_that_nobody_watched_are_no_days_of_being_up(days: int, said: str) -> None:
    watched = {(TODAY - timedelta(days=back)).isoformat(): {SITE: tally()} for back in range(days)}
    text = render(Record(watched, last=Sample(NOW, (Seen(SITE),))), FACTS, NOW, Words("en")).replace("\u00a0", " ")
    up = f"100 % up in the last 90 days{said}" if days else "Not watched so far"
    assert f"<p>{up}</p>" in text


def test_a_day_that_was_watched_in_part_says_so() -> None:
    kept = Record({"2026-11-22": {SITE: tally(checks=36)}}, last=Sample(NOW, (Seen(SITE),)))
    assert "<span>22 November: no failure (watched for 3 h)</span>" in plain(
        render(kept, Facts(SITE), NOW, Words("en"))
    )


def incidents(*outages: Outage, language: str = "en") -> str:
    """The text of the section of incidents, without its tags."""
    text = render(Record(outages=outages), Facts(SITE), NOW, Words(language))
    heading = {"en": "Incidents of the last 14 days", "fr": "Incidents des 14 derniers jours"}[language]
    return re.sub(r"<[^>]+>", " ", text.partition(heading)[2].partition("</section>")[0]).strip()


def test_incidents_are_those_of_the_last_14_days_and_not_of_a_wrong_clock() -> None:
    old = Outage("old.test", Fault.ANSWER, NOW - 20 * 86400, NOW - 14 * 86400 - 1, 9)
    ahead = Outage("ahead.test", Fault.ANSWER, NOW + 3600, NOW + 7200, 9)
    until_later = Outage("", Fault.UNWATCHED, NOW - 600, NOW + 86400, 0)
    assert incidents(old, ahead, until_later) == "None."
    assert incidents(dataclasses.replace(old, end=None)).startswith("old.test did not answer.")


def test_more_incidents_than_anyone_reads_are_counted() -> None:
    many = [
        Outage(SITE, Fault.ANSWER, NOW - 1000 * number - 900, NOW - 1000 * number, 3) for number in range(23, 0, -1)
    ]
    text = incidents(*many)
    assert text.count("did not answer") == 20
    assert text.endswith("And 3 before these.")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_line_ends_between_a_figure_and_its_unit(language: str) -> None:
    text = render(lived(), FACTS, NOW, Words(language))
    assert re.findall(r"\d+ (?:%|ms|s|min|h|d|j)\b|\d %", text) == []


def test_figures_are_written_as_each_language_does() -> None:
    english, french = Words("en"), Words("fr")
    assert (english.share(0.99999), french.share(0.99999), english.share(1)) == (
        "99.99\u00a0%",
        "99,99\u00a0%",
        "100\u00a0%",
    )
    assert (english.milliseconds(45.4), english.milliseconds(2449), french.milliseconds(2449)) == (
        "45\u00a0ms", "2.4\u00a0s", "2,4\u00a0s",
    )  # fmt: skip
    assert [plain(english.span(seconds)) for seconds in (0, 90, 3600, 11400, 86400, 100000)] == [
        "1 min", "2 min", "1 h", "3 h 10 min", "1 d", "1 d 3 h",
    ]  # fmt: skip
    assert french.span(100000) == "1\u00a0j\u00a03\u00a0h"
    assert english.moment(NOW) == "23 November 2026, 14:05 CET"
    assert french.moment(1_793_487_600.0) == "1er novembre 2026, 00:00 CET"
    assert english.moment(1_785_578_400.0) == "1 August 2026, 12:00 CEST"
    assert page_html.zone(NOW) == "CET (UTC+01:00)"


# What the page is made of


def a_config(folder: Path, **changes: Any) -> Config:
    """The configuration of a server whose state is in `folder`."""
    (folder / "backups").mkdir(exist_ok=True)
    return config.parse(
        {
            "repository": "https://git/x", "branch": "main", "checkout": "/c", "compose_file": "/c/d.yml",
            "env_file": "/c/.env", "image_tag": "main-{sha7}", "database_service": "postgres", "backup_days": 7,
            "health_urls": [f"https://{API}/api/v1/health", f"https://{SITE}/"],
            "backup_dir": str(folder / "backups"), "state_dir": str(folder),
            "status_page": {"domain": "status.koprogo.test", "language": "en"}, **changes,
        }
    )  # fmt: skip


def test_the_page_has_no_reason_no_subject_and_no_person(tmp_path: Path) -> None:
    commit, bad = "a" * 40, "b" * 40
    deployed = Deployed(commit, "main-aaaaaaa", NOW - 9000, "hash", "production", {})
    entries = (
        Entry("1", NOW - 9000, commit, Outcome.DEPLOYED, "SUBJECT", "PERSON", 42, version=deployed),
        Entry("2", NOW - 600, bad, Outcome.UNDONE, "SUBJECT", "PERSON", 42, "REASON", dump="/home/koprogo/DUMP"),
        Entry("3", NOW - 300, "c" * 40, Outcome.REFUSED, "SUBJECT", "PERSON", 1, "REASON"),
    )
    Store(tmp_path).save(State(deployed=deployed, unwritten=entries))
    backup_state.note(tmp_path, "drill", Run(NOW - 7200, 78.0, "postgres_1"))
    backup_state.note(tmp_path, "drill", Run(NOW, 78.0, "postgres_2", "REASON"))
    found = page.facts(a_config(tmp_path))
    assert found == Facts(
        site=SITE,
        version="main-aaaaaaa",
        since=NOW - 9000,
        changes=(Change(NOW - 600, "bbbbbbb", Outcome.UNDONE), Change(NOW - 9000, "main-aaaaaaa", Outcome.DEPLOYED)),
        drill=NOW - 7200,
    )
    text = render(Record(), found, NOW, Words("en"))
    assert not re.search("SUBJECT|PERSON|REASON|DUMP|/home|/var|postgres", text)


def test_the_page_is_that_of_the_site_and_not_of_its_api(tmp_path: Path) -> None:
    urls = ("https://api.koprogo.com/api/v1/health", "https://portal.koprogo.com/")
    assert page.facts(dataclasses.replace(a_config(tmp_path), health_urls=urls)).site == "portal.koprogo.com"


def test_what_a_check_found_is_reduced_to_what_may_be_told() -> None:
    answers = (
        Answer(f"https://{API}/api/v1/health", "HTTP 503 from backend-2", days_left=60.2, milliseconds=12.0),
        Answer(f"https://{SITE}/", "certificate: has expired", certificate_trouble=True),
        Answer("https://x.test", None, days_left=3.0, milliseconds=45.0),
    )
    assert tuple(page._seen(answer) for answer in answers) == (
        Seen(API, Fault.ANSWER, 12.0, 60.2),
        Seen(SITE, Fault.CERTIFICATE, None, None),
        Seen("x.test", Fault.NONE, 45.0, 3.0),
    )


def test_a_check_goes_into_the_record_and_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[str, Path]]()
    monkeypatch.setattr(page.page_server, "ensure", lambda _, __, domain, folder: asked.append((domain, folder)))
    page.update(a_config(tmp_path), Sample(NOW, (Seen(SITE, milliseconds=45.0),)))
    kept, _ = record.load(tmp_path)
    assert kept.days["2026-11-23"][SITE].checks == 1
    file = tmp_path / "page" / "index.html"
    assert '<p class="state ok">Everything works</p>' in file.read_text()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    assert asked == [("status.koprogo.test", tmp_path / "page")]


def test_without_a_page_the_record_goes_on_and_docker_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "run", lambda *_, **__: pytest.fail("something was run"))
    page.update(a_config(tmp_path, status_page=None), Sample(NOW, (Seen(SITE, milliseconds=45.0),)))
    assert record.load(tmp_path)[0].days["2026-11-23"][SITE].checks == 1
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("broken", ["record.jsonl", "state.json", "page"])
def test_a_page_that_cannot_be_written_fails_no_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    if broken == "page":
        (tmp_path / broken).write_text("in the way")
    else:
        (tmp_path / broken).mkdir()
    page.update(a_config(tmp_path), Sample(NOW, (Seen(SITE),)))
    assert "PROBLEM status page: " in capsys.readouterr().err


def test_the_page_command_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "run", lambda *_, **__: pytest.fail("nothing runs, so nothing has to be asked"))
    with pytest.raises(Problem, match=r"^nothing was deployed so far, and Traefik comes with the application\.$"):
        page.run(a_config(tmp_path))
    assert "Not checked so far" in (tmp_path / "page" / "index.html").read_text()


@pytest.mark.parametrize(
    "wrong", [{"domain": "", "language": "en"}, {"domain": "x"}, {"domain": "x", "language": "de"}, "x"]
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        a_config(tmp_path, status_page=wrong)
