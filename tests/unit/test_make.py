"""Making a thing once, although its answer may be lost. The real cloud is in tests/cloud/test_faults.py."""

from collections.abc import Callable

import pytest
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud.api import make
from cloud.trouble import CloudError, NoAnswer

LOST = keystone.ConnectFailure("the connection was reset")
REFUSED = sdk.ConflictException("409", http_status=409)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(make.time, "sleep", sleep)
    monkeypatch.setattr(make.time, "monotonic", lambda: clock[0])


def trying(*answers: str | Exception, there: Callable[[int], str] = lambda _: "") -> tuple[str, int]:
    """Make something whose tries end so; `there` says what is found at the n-th look. What came of it, and tries."""
    tries, looks = list[str | Exception](), list[int]()

    def create() -> str:
        tries.append(answers[len(tries)])
        if isinstance(tries[-1], Exception):
            raise tries[-1]
        return tries[-1]

    def look() -> str:
        looks.append(1)
        return there(len(looks))

    return make._once(create, look, "Making it", 3), len(tries)


def test_what_is_answered_is_not_looked_for() -> None:
    assert trying("made", there=lambda _: pytest.fail("looked")) == ("made", 1)


def test_what_was_made_without_an_answer_is_found_and_not_made_again() -> None:
    assert trying(LOST, there=lambda look: "found" if look == 3 else "") == ("found", 1)


def test_what_was_not_made_is_tried_again() -> None:
    assert trying(LOST, LOST, "made") == ("made", 3)


def test_what_was_made_too_late_to_be_seen_is_found_when_the_next_try_is_refused() -> None:
    assert trying(LOST, REFUSED, there=lambda look: "found" if look > 5 else "") == ("found", 2)


def test_a_refusal_is_not_looked_into() -> None:
    with pytest.raises(CloudError):
        trying(REFUSED, there=lambda _: pytest.fail("looked"))


def test_it_is_given_up_after_some_tries() -> None:
    with pytest.raises(NoAnswer):
        trying(LOST, LOST, LOST)
