"""Making a thing once, although its answer may be lost. The real cloud is in tests/cloud/test_faults.py."""

from collections.abc import Callable
from typing import cast

import pytest
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from cloud import waiting
from cloud.api import make
from cloud.api.compute import Compute
from cloud.api.make import Maker
from cloud.resources import FoundServer, Server
from cloud.trouble import CloudError, NoAnswer

LOST = keystone.ConnectFailure("the connection was reset")
REFUSED = sdk.ConflictException("409", http_status=409)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])


def trying(
    *answers: str | Exception,
    there: Callable[[int], str] = lambda _: "",
    say: Callable[[str], None] = lambda _: None,
) -> tuple[str, int]:
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

    return make._once(create, look, "Making it", say, 3), len(tries)


def test_what_is_answered_is_not_looked_for() -> None:
    assert trying("made", there=lambda _: pytest.fail("looked")) == ("made", 1)


def test_what_was_made_without_an_answer_is_found_and_not_made_again() -> None:
    assert trying(LOST, there=lambda look: "found" if look == 3 else "") == ("found", 1)


def test_what_was_not_made_is_tried_again() -> None:
    assert trying(LOST, LOST, "made") == ("made", 3)


def test_what_was_made_too_late_to_be_seen_is_found_when_the_next_try_is_refused() -> None:
    assert trying(LOST, REFUSED, there=lambda look: "found" if look > 4 else "") == ("found", 2)


def test_a_refusal_is_not_looked_into() -> None:
    with pytest.raises(CloudError):
        trying(REFUSED, there=lambda _: pytest.fail("looked"))


def test_it_is_given_up_after_some_tries() -> None:
    with pytest.raises(NoAnswer):
        trying(LOST, LOST, LOST)


def test_each_look_and_each_further_try_is_shown() -> None:
    said = list[str]()
    failed = sdk.HttpException("500", http_status=503, details="Nova is away. Try later")
    trying(LOST, failed, "made", say=said.append)
    assert said == [
        "Making it: the connection to the cloud broke; looking for 3 s whether it was made all the same",
        "Making it: it was not made; trying again",
        "Making it: the cloud failed (503: Nova is away. Try later); looking for 3 s whether it was made all the same",
        "Making it: it was not made; trying again",
    ]


class Servers:
    """The servers of one name; a server that is removed is gone."""

    def __init__(self, *servers: FoundServer) -> None:
        self.there = {one.id: one for one in servers}
        delete = type("Nova", (), {"delete_server": lambda _, one, **__: self.there.pop(one)})
        self.connection = type("Connection", (), {"compute": delete()})

    def servers(self, name: str) -> tuple[FoundServer, ...]:
        """All there are."""
        return tuple(self.there.values())

    def server(self, server_id: str) -> FoundServer | None:
        """One."""
        return self.there.get(server_id)


WANT = Server("koprogo", "d2-2", "Debian 12", "Ext-Net", "koprogo", "koprogo", "production")


def made(server_id: str, by: str) -> FoundServer:
    metadata = WANT.metadata | {make.MARK: by}
    created = f"2026-11-22T18:20:0{server_id}Z"
    nets, groups = frozenset({"Ext-Net"}), frozenset({"koprogo"})
    return FoundServer(
        server_id, "koprogo", "ACTIVE", "d2-2", "Debian 12", nets, "koprogo", groups, metadata, created=created
    )


def test_of_two_that_were_made_at_once_the_older_stays() -> None:
    there = Servers(made("1", "other"), made("2", "this"))
    with pytest.raises(CloudError, match="Another apply has made the server koprogo"):
        Maker(cast(Compute, there)).the_only_one(WANT, "this", frozenset())
    assert list(there.there) == ["1"]


def test_one_that_the_plan_knew_is_not_another_applys() -> None:
    there = Servers(made("1", "before"), made("2", "this"), made("3", "this"))
    assert Maker(cast(Compute, there)).the_only_one(WANT, "this", frozenset({"1"})) == "2"
    assert list(there.there) == ["1", "2"]
