"""Actions on a server whose answers are lost, or which end badly. Nova is one that does as told."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk
from openstack.compute.v2.flavor import Flavor
from rich.console import Console

from cloud import waiting
from cloud.api.compute import Compute
from cloud.api.preflight import Parts
from cloud.api.server_actions import Actions
from cloud.resources import FoundServer, Server
from cloud.trouble import CloudError, NoAnswer

LOST = keystone.ConnectFailure("the connection was reset")
REFUSED = sdk.ConflictException("409", http_status=409)
HAVE = FoundServer(
    "1", "koprogo", "ACTIVE", "d2-2", "Debian 12", frozenset({"Ext-Net"}), "koprogo", frozenset({"default"}), {}
)
WANT = Server("koprogo", "d2-4", "Debian 12", "Ext-Net", "koprogo", "koprogo", "production")


class Nova:
    """One server; what is asked for is carried out `late` looks later, and answered as `answers` says."""

    def __init__(self) -> None:
        self.server, self.late = HAVE, 0
        self.asked = list[str]()
        self.answers = list[Exception | None]()
        self.changes = list[tuple[int, dict[str, Any]]]()
        self.looks = 0
        self.said = list[str]()
        self.connection = type("Connection", (), {"compute": self})

    def server_now(self) -> FoundServer:
        """As it is, one look later."""
        self.looks += 1
        while self.changes and self.changes[0][0] <= self.looks:
            self.server = replace(self.server, **self.changes.pop(0)[1])
        return self.server

    def _do(self, what: str, *changes: dict[str, Any]) -> None:
        answer = self.answers.pop(0) if self.answers else None
        self.asked.append(what)
        if answer is not REFUSED:
            first = self.looks + self.late + 1
            self.changes += [(first + number, change) for number, change in enumerate(changes)]
        if answer:
            raise answer

    def start_server(self, _: str) -> None:
        """Turn it on."""
        self._do("start", {"status": "ACTIVE"})

    def set_server_metadata(self, _: str, **metadata: str) -> None:
        """Mark it."""
        self._do("metadata", {"metadata": metadata})

    def add_security_group_to_server(self, _: str, group: str) -> None:
        """Let it have a group."""
        self._do(f"add {group}", {"groups": HAVE.groups | {"koprogo"}})

    def remove_security_group_from_server(self, _: str, group: str) -> None:
        """Take a group away."""
        self._do(f"remove {group}", {"groups": frozenset({"koprogo"})})

    def rebuild_server(self, _: str, **__: str) -> None:
        """Make it again; one that was off is turned off once it is there."""
        end = [{"status": "ACTIVE"}, {"status": self.server.status}]
        self._do("rebuild", {"status": "REBUILD"}, *end)

    def resize_server(self, _: str, flavor: str) -> None:
        """Give it a size."""
        self._do(f"resize {flavor}", {"status": "VERIFY_RESIZE", "flavor": "d2-4"})

    def confirm_server_resize(self, _: str) -> None:
        """Keep the size."""
        self._do("confirm", {"status": "ACTIVE"})

    def revert_server_resize(self, _: str) -> None:
        """Take it back."""
        self._do("revert", {"status": "ACTIVE", "flavor": "d2-2"})


@pytest.fixture
def nova() -> Nova:
    return Nova()


@pytest.fixture
def actions(nova: Nova, monkeypatch: pytest.MonkeyPatch) -> Actions:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(waiting.time, "sleep", sleep)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    stand_in = type("Cloud", (), {"connection": nova.connection, "server": lambda _, __: nova.server_now()})()
    stand_in.say = nova.said.append
    return Actions(cast(Compute, stand_in), "1", Console(file=io.StringIO()))


def fails(text: str) -> Callable[[], str]:
    """A machine that cannot even be asked."""

    def answers() -> str:
        raise CloudError(text)

    return answers


NEW = Flavor(id="f-d2-4", name="d2-4")


def test_a_size_with_which_the_machine_answers_is_kept(nova: Nova, actions: Actions) -> None:
    actions.resize(NEW, lambda: "")
    assert nova.asked == ["resize f-d2-4", "confirm"]
    assert nova.server.flavor == "d2-4"


def test_a_size_with_which_the_machine_cannot_be_asked_is_taken_back(nova: Nova, actions: Actions) -> None:
    with pytest.raises(CloudError) as caught:
        actions.resize(NEW, fails("Its host key is another one."))
    assert nova.asked == ["resize f-d2-4", "revert"]
    assert (nova.server.status, nova.server.flavor) == ("ACTIVE", "d2-2")
    assert str(caught.value) == (
        "With d2-4 the server was not well: Its host key is another one. It is d2-2 again, and still not well:"
        " Its host key is another one."
    )


@pytest.mark.parametrize(
    ("late", "answers", "asked"),
    [
        (0, [LOST], ["metadata"]),
        (5, [LOST], ["metadata"]),
        (30, [LOST, None], ["metadata", "metadata"]),
        (0, [REFUSED], ["metadata"]),
    ],
)
def test_what_was_marked_without_an_answer_is_not_marked_again(
    nova: Nova, actions: Actions, late: int, answers: list[Exception | None], asked: list[str]
) -> None:
    nova.late, nova.answers = late, answers
    if REFUSED in answers:
        with pytest.raises(CloudError):
            actions.adopt(WANT.metadata)
    else:
        actions.adopt(WANT.metadata)
    assert nova.asked == asked


def test_an_action_that_is_looked_for_and_asked_again_is_shown(nova: Nova, actions: Actions) -> None:
    nova.late, nova.answers = 30, [LOST]
    actions.adopt(WANT.metadata)
    assert nova.said == [
        "Marking the server as ours: the connection to the cloud broke; looking for 10 s whether it has begun all the"
        " same",
        "Marking the server as ours: it has not begun; trying again",
    ]


def test_group_changes_without_an_answer_are_looked_for(nova: Nova, actions: Actions) -> None:
    nova.answers = [LOST, LOST]
    actions.use_group("g1", "koprogo")
    assert nova.asked == ["add g1", "remove default"]
    assert nova.server.groups == {"koprogo"}


def test_what_began_too_late_to_be_seen_is_found_when_the_next_try_is_refused(nova: Nova, actions: Actions) -> None:
    # looks 2 to 12 are those of SECONDS_TO_BEGIN
    nova.server, nova.late, nova.answers = replace(HAVE, status="SHUTOFF"), 11, [LOST, REFUSED]
    actions.start()
    assert nova.asked == ["start", "start"]
    assert nova.server.status == "ACTIVE"


def test_a_server_that_is_just_starting_is_not_asked_again(nova: Nova, actions: Actions) -> None:
    nova.server, nova.late, nova.answers = replace(HAVE, status="SHUTOFF"), 30, [LOST]
    nova.changes = [(2, {"busy": True}), (33, {"busy": False})]
    actions.start()
    assert nova.asked == ["start"]
    assert nova.server.status == "ACTIVE"


def test_a_size_whose_confirmation_takes_long_is_waited_for(nova: Nova, actions: Actions) -> None:
    nova.server = replace(HAVE, status="VERIFY_RESIZE", flavor="d2-4")
    nova.late, nova.answers = 40, [LOST, REFUSED]
    actions.resize(NEW, lambda: "")
    assert nova.asked == ["confirm", "confirm"]
    assert (nova.server.status, nova.server.flavor) == ("ACTIVE", "d2-4")


def test_a_confirmed_size_is_waited_for_although_nova_answers_before(nova: Nova, actions: Actions) -> None:
    nova.server, nova.late = replace(HAVE, status="VERIFY_RESIZE", flavor="d2-4"), 25
    actions.resize(NEW, lambda: "")
    assert nova.asked == ["confirm"]
    assert (nova.server.status, nova.server.flavor) == ("ACTIVE", "d2-4")


def test_a_third_size_is_not_claimed_after_one_was_taken_back(nova: Nova, actions: Actions) -> None:
    nova.server = replace(HAVE, status="VERIFY_RESIZE", flavor="d2-4")
    with pytest.raises(CloudError) as caught:
        actions.resize(Flavor(id="f-d2-8", name="d2-8"), lambda: "")
    assert nova.asked == ["revert"]
    assert str(caught.value) == "koprogo is d2-2 again, as before. Run again to give it d2-8."


def test_what_is_refused_and_has_not_begun_is_said(nova: Nova, actions: Actions) -> None:
    nova.server, nova.late, nova.answers = replace(HAVE, status="SHUTOFF"), 99, [LOST, REFUSED]
    with pytest.raises(CloudError) as caught:
        actions.start()
    assert not isinstance(caught.value, NoAnswer)


@pytest.mark.parametrize(("status", "asked"), [("ACTIVE", ["rebuild"]), ("SHUTOFF", ["rebuild", "start"])])
def test_a_server_runs_after_a_rebuild(nova: Nova, actions: Actions, status: str, asked: list[str]) -> None:
    nova.server = replace(HAVE, status=status)
    parts = Parts(Flavor(id="f"), cast(Any, Flavor(id="i")), cast(Any, Flavor(id="n")))
    actions.rebuild(WANT, parts)
    assert nova.asked == asked
    assert nova.server.status == "ACTIVE"
