"""When the health gate stops looking, and what it says."""

from koprogo.deploys.gate import SETTLE, Look, Patience
from koprogo.docker.containers import Verdict
from koprogo.web import Answer

URL = "https://api.koprogo.test/"
GOOD = Look(Verdict(), (Answer(URL, None),))
STARTING = Look(Verdict(waiting=("backend: starting",)), ())
SICK = Look(Verdict(failing=("backend: unhealthy",)), ())
SILENT = Look(Verdict(), (Answer(URL, "HTTP 502"),))
UNCERTAIN = Look(Verdict(), (Answer(URL, "certificate: self-signed certificate", certificate_trouble=True),))


def verdicts(*looks: tuple[float, Look]) -> list[bool | None]:
    patience = Patience(SETTLE)
    return [patience.verdict(look, now) for now, look in looks]


def test_good_has_to_last() -> None:
    assert verdicts((0, STARTING), (10, GOOD), (12, GOOD), (14, GOOD)) == [None, None, None, True]


def test_one_bad_look_begins_the_count_anew() -> None:
    assert verdicts((0, GOOD), (2, STARTING), (4, GOOD), (6, GOOD), (8, GOOD)) == [None, None, None, None, True]


def test_unhealthy_fails_soon_but_not_at_once() -> None:
    assert verdicts((0, SICK), (14, SICK), (15, SICK)) == [None, None, False]
    assert verdicts((0, SICK), (10, STARTING), (16, SICK), (30, SICK)) == [None, None, None, None]


def test_starting_for_ever_fails_at_the_limit() -> None:
    assert verdicts((0, STARTING), (299, STARTING), (300, STARTING)) == [None, None, False]


def test_healthy_containers_that_the_public_does_not_see_fail_after_a_minute() -> None:
    assert verdicts((0, STARTING), (50, SILENT), (109, SILENT), (110, SILENT)) == [None, None, None, False]


def test_a_certificate_may_take_longer() -> None:
    assert verdicts((10, UNCERTAIN), (300, UNCERTAIN), (539, UNCERTAIN), (540, UNCERTAIN)) == [None, None, None, False]
    assert verdicts((10, UNCERTAIN), (400, UNCERTAIN), (401, GOOD), (405, GOOD)) == [None, None, None, True]


def test_good_at_the_last_moment_is_good() -> None:
    assert verdicts((0, STARTING), (299, GOOD), (301, GOOD), (303, GOOD)) == [None, None, None, True]


def test_text_names_everything_that_is_wrong() -> None:
    assert SICK.text == "backend: unhealthy"
    assert SILENT.text == "https://api.koprogo.test/: HTTP 502"
    both = Look(Verdict(failing=("a: unhealthy",), waiting=("b: starting",)), ())
    assert both.text == "a: unhealthy; b: starting"
