"""Only one apply at a time. A project's security groups are a list here, whose calls are as atomic as Neutron's."""

import io
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import cast

import psutil
import pytest
from openstack import exceptions as sdk
from rich.console import Console

from cloud.api import lease
from cloud.api.explain import explained
from cloud.api.lease import Lease, at_work, describe_process, held, over
from cloud.api.make import Maker
from cloud.resources import Ticket
from cloud.trouble import CloudError

NOW = "2026-11-22T18:20:23Z"
TO = Console(file=io.StringIO())


class Groups:
    """The part of a project that a lease uses, as Maker has it."""

    def __init__(self) -> None:
        self.tickets_there = list[Ticket]()
        self.lock, self.ids = threading.Lock(), count(1)

    def make_group(self, name: str, description: str) -> str:
        """Make a ticket."""
        assert re.fullmatch("koprogo-lease-[0-9a-f]{12}", name)
        with self.lock:
            ticket = Ticket(str(next(self.ids)), name, description, NOW, NOW)
            self.tickets_there.append(ticket)
            return ticket.id

    def delete_group(self, group_id: str) -> None:
        """Remove one."""
        with self.lock:
            self.tickets_there = [one for one in self.tickets_there if one.id != group_id]

    def describe_group(self, group_id: str, description: str) -> None:
        """Renew one."""
        with self.lock:
            if group_id not in [one.id for one in self.tickets_there]:
                raise CloudError("gone")
            self.tickets_there = [
                replace(one, description=description) if one.id == group_id else one for one in self.tickets_there
            ]

    def tickets(self, name: str) -> list[Ticket]:
        """All there are."""
        with self.lock:
            return list(self.tickets_there)


@pytest.fixture
def groups() -> Groups:
    return Groups()


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lease.time, "sleep", lambda _: None)
    yield


def maker(groups: Groups) -> Maker:
    return cast(Maker, groups)


def ticket(**words: str) -> Ticket:
    """A ticket of this process, but for some words."""
    there = {"lease": "0123"} | dict(word.split("=", 1) for word in describe_process().split()) | words
    return Ticket("99", "koprogo-lease-0123", " ".join(f"{key}={value}" for key, value in there.items()), NOW, NOW)


def test_it_is_taken_and_given_back(groups: Groups) -> None:
    with held(maker(groups), "koprogo", TO):
        (own,) = groups.tickets_there
        assert own.words["pid"] == str(os.getpid())
        assert len(own.description) <= 255
    assert groups.tickets_there == []


def test_it_is_given_back_after_a_failure_too(groups: Groups) -> None:
    with pytest.raises(ZeroDivisionError), held(maker(groups), "koprogo", TO):
        print(1 / 0)
    assert groups.tickets_there == []


def test_a_second_one_is_told_who_has_it(groups: Groups) -> None:
    groups.tickets_there = [ticket(host="office", pid="77")]
    with pytest.raises(CloudError) as caught, held(maker(groups), "koprogo", TO):
        pytest.fail("it was taken")
    assert str(caught.value) == (
        "Another apply is at work on koprogo: process 77 on office, since 2026-11-22T18:20:23Z. Nothing was done. Wait"
        " until it has ended; if it was cut off, it counts for 20 minutes more, or until somebody removes the security"
        " group koprogo-lease-0123 in OVH's console."
    )
    assert [one.id for one in groups.tickets_there] == ["99"]


def test_that_another_is_waited_for_is_shown_at_once_and_in_one_line(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups.tickets_there = [ticket(host="office", pid="77")]
    out, shown = io.StringIO(), list[str]()
    monkeypatch.setattr(lease.time, "sleep", lambda _: shown.append(out.getvalue()))
    with pytest.raises(CloudError), held(maker(groups), "koprogo", Console(file=out)):
        pytest.fail("it was taken")
    assert shown == ["  Waiting for another apply (process 77 on office) to end …"] * 4
    assert out.getvalue() == f"{shown[0]} 0.0 s\n"


def test_of_a_lease_that_is_free_nothing_is_shown(groups: Groups) -> None:
    out = io.StringIO()
    with held(maker(groups), "koprogo", Console(file=out)):
        assert out.getvalue() == ""


def test_that_of_a_process_that_was_killed_here_does_not_count(groups: Groups) -> None:
    process = subprocess.Popen(["sleep", "60"])
    started = lease._started(process.pid)
    dead = ticket(pid=str(process.pid), started=started)
    assert not over(dead, NOW)
    process.kill()
    process.wait()
    assert over(dead, NOW)
    groups.tickets_there = [dead]
    with held(maker(groups), "koprogo", TO):
        assert [one.words["pid"] for one in groups.tickets_there] == [str(os.getpid())]


def test_what_is_left_of_a_lease_is_cleared_and_a_living_one_stays(groups: Groups) -> None:
    living = replace(ticket(), id="1")
    groups.tickets_there = [living, ticket(started="1")]
    assert lease.clear(maker(groups), "koprogo") == f"process {os.getpid()} on {socket.gethostname()}"
    assert groups.tickets_there == [living]
    long_ago = replace(ticket(host="elsewhere"), created="2020-01-01T00:00:00Z", renewed="")
    groups.tickets_there = [long_ago]
    assert lease.left_over(maker(groups), "koprogo") == 1
    assert groups.tickets_there == [long_ago]
    assert lease.clear(maker(groups), "koprogo") == ""
    assert groups.tickets_there == []


@pytest.mark.parametrize("failure", [CloudError("the cloud failed"), KeyboardInterrupt()])
def test_a_ticket_is_given_back_although_it_was_never_seen_in_a_list(
    groups: Groups, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    there, failures = groups.tickets, [failure, CloudError("the cloud failed")]

    def fail(name: str) -> list[Ticket]:
        assert len(there(name)) == 1
        raise failures.pop(0)

    monkeypatch.setattr(groups, "tickets", fail)
    with pytest.raises(type(failure)), held(maker(groups), "koprogo", TO):
        pytest.fail("it was taken")
    assert groups.tickets_there == []


def test_a_ticket_that_is_made_while_ctrl_c_comes_is_given_back(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = groups.make_group

    def interrupted(name: str, description: str) -> str:
        make(name, description)
        raise KeyboardInterrupt

    monkeypatch.setattr(groups, "make_group", interrupted)
    with pytest.raises(KeyboardInterrupt), held(maker(groups), "koprogo", TO):
        pytest.fail("it was taken")
    assert groups.tickets_there == []


def test_each_ticket_is_given_back_although_one_cannot_be(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    make, delete = groups.make_group, groups.delete_group

    def twice(name: str, description: str) -> str:
        make(name, description)
        return make(name, description)

    def delete_but_one(group_id: str) -> None:
        if group_id == "1":
            raise CloudError("the cloud failed")
        delete(group_id)

    monkeypatch.setattr(groups, "make_group", twice)
    monkeypatch.setattr(groups, "delete_group", delete_but_one)
    taken = Lease(maker(groups), "koprogo", TO)
    taken.take()
    with pytest.raises(CloudError):
        taken.release()
    assert [one.id for one in groups.tickets_there] == ["1"]


def test_a_full_quota_keeps_nobody_from_removing_things(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str, description: str) -> str:
        with explained("Making security group koprogo-lease"):
            raise sdk.ConflictException("Quota exceeded for resources: ['security_group'].", http_status=409)

    monkeypatch.setattr(groups, "make_group", full)
    with pytest.raises(CloudError, match="Quota"), held(maker(groups), "koprogo", TO):
        pytest.fail("it was taken")
    with held(maker(groups), "koprogo", TO, needed=False) as taken:
        taken.keep()
    groups.tickets_there = [ticket(host="office")]
    groups.tickets_there = [replace(groups.tickets_there[0], created=datetime.now(UTC).isoformat(), renewed="")]
    with (
        pytest.raises(CloudError, match="Another apply is at work on koprogo: process"),
        held(maker(groups), "koprogo", TO, needed=False),
    ):
        pytest.fail("it was taken")


def test_what_is_left_of_a_lease_does_not_keep_the_next_from_its_room_in_the_quota(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = groups.make_group

    def one_at_most(name: str, description: str) -> str:
        with explained("Making security group koprogo-lease"):
            if groups.tickets_there:
                raise sdk.ConflictException("Quota exceeded for resources: ['security_group'].", http_status=409)
        return make(name, description)

    monkeypatch.setattr(groups, "make_group", one_at_most)
    groups.tickets_there = [ticket(started="1")]
    with held(maker(groups), "koprogo", TO):
        assert [one.words["pid"] for one in groups.tickets_there] == [str(os.getpid())]
    living = ticket()
    groups.tickets_there = [living]
    with pytest.raises(CloudError, match="Another apply is at work"), held(maker(groups), "koprogo", TO):
        pytest.fail("it was taken")
    assert groups.tickets_there == [living]


def test_a_process_that_got_the_same_number_later_does_not_count() -> None:
    assert over(ticket(started="1"), NOW)
    assert not over(ticket(), NOW)


@pytest.mark.parametrize("word", ["host", "boot", "space"])
def test_that_of_elsewhere_counts_until_it_was_not_renewed_for_long(word: str) -> None:
    there = ticket(**{word: "other", "pid": "1"})
    assert not over(there, "2026-11-22T18:40:22Z")
    assert over(there, "2026-11-22T18:40:24Z")
    assert not over(replace(there, renewed="2026-11-22T18:30:00Z"), "2026-11-22T18:40:24Z")


@pytest.mark.parametrize("when", ["", "yesterday"])
def test_what_has_no_date_does_not_age(when: str) -> None:
    strange = Ticket("1", "koprogo-lease-0123", "made by hand", when, "")
    assert not over(strange, NOW)
    assert not over(Ticket("1", "koprogo-lease-0123", "made by hand", "2020-01-01T00:00:00Z", ""), when)


def test_a_process_that_we_may_not_look_at_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ticket()

    def denied(_: int) -> str:
        raise psutil.AccessDenied

    monkeypatch.setattr(lease, "describe_process", lambda text=there.description: text)
    monkeypatch.setattr(lease, "_started", denied)
    assert not over(there, "2027-01-01T00:00:00Z")


def test_a_clock_that_is_set_ends_no_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ticket()
    monkeypatch.setattr(psutil, "boot_time", lambda: 1.0)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: 1.0)
    assert not over(there, NOW)


def test_who_is_at_work_is_known_without_removing_anything(groups: Groups) -> None:
    left, living = ticket(started="1"), ticket(host="office", pid="77")
    groups.tickets_there = [left]
    assert at_work(maker(groups), "koprogo") == ""
    assert groups.tickets_there == [left]
    groups.tickets_there = [left, replace(living, renewed="2999-01-01T00:00:00Z")]
    assert at_work(maker(groups), "koprogo") == "process 77 on office"
    assert len(groups.tickets_there) == 2


def test_a_description_that_nobody_understands_counts_as_one_of_elsewhere() -> None:
    strange = Ticket("1", "koprogo-lease-0123", "lease=of another version", NOW, "")
    assert not over(strange, "2026-11-22T18:40:22Z")
    assert over(strange, "2026-11-22T18:40:24Z")


def test_it_is_renewed_and_its_loss_is_noticed(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Lease(maker(groups), "koprogo", TO)
    taken.take()
    taken.keep()
    assert "renewed" not in groups.tickets_there[0].words
    later = time.time() + 301
    monkeypatch.setattr(lease.time, "time", lambda: later)
    taken.keep()
    assert int(groups.tickets_there[0].words["renewed"]) > 0
    groups.tickets_there = []
    monkeypatch.setattr(lease.time, "time", lambda: later + 301)
    with pytest.raises(CloudError):
        taken.keep()


def test_it_is_renewed_while_the_apply_waits(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    renewed, describe, failures = threading.Event(), groups.describe_group, [CloudError("once"), ZeroDivisionError()]

    def unsteady(group_id: str, description: str) -> None:
        if failures:
            raise failures.pop()
        describe(group_id, description)
        renewed.set()

    monkeypatch.setattr(groups, "describe_group", unsteady)
    before = threading.active_count()
    with held(maker(groups), "koprogo", TO) as taken:
        later = time.time() + 301
        monkeypatch.setattr(lease.time, "time", lambda: later)
        assert renewed.wait(10)
        taken.keep()
        assert "renewed" in groups.tickets_there[0].words
    assert threading.active_count() == before


def test_what_the_thread_could_not_do_shows_in_the_apply(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    tried = threading.Event()

    def gone(_: str, __: str) -> None:
        tried.set()
        with explained("Changing a security group"):
            raise sdk.NotFoundException("no such group", http_status=404)

    monkeypatch.setattr(groups, "describe_group", gone)
    with held(maker(groups), "koprogo", TO) as taken:
        later = time.time() + 301
        monkeypatch.setattr(lease.time, "time", lambda: later)
        assert tried.wait(10)
        with pytest.raises(CloudError, match="The lease of this apply is gone"):
            taken.keep()


def test_of_many_at_once_never_two_have_it(groups: Groups) -> None:
    inside, most, taken = [0], [0], [0]
    guard, begin = threading.Lock(), threading.Barrier(8)

    def one() -> None:
        begin.wait()
        for _ in range(40):
            try:
                with held(maker(groups), "koprogo", TO):
                    with guard:
                        inside[0] += 1
                        taken[0] += 1
                        most[0] = max(most[0], inside[0])
                    groups.tickets("koprogo")
                    with guard:
                        inside[0] -= 1
            except CloudError:
                pass

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert taken[0] > 0
    assert groups.tickets_there == []
