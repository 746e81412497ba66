"""provision.py on a bad line: what a proxy between it and the cloud does to chosen calls, and what comes of it."""

import time

import pytest
from cloud_project import EVERYTHING, NOTHING, there_is
from conftest import Operator
from fault_proxy import FaultProxy
from openstack.connection import Connection

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

NAME = "faults"
BUSY = {"Retry-After": "1"}
CREATES = (r"/os-keypairs$", r"/security-groups$", r"/security-group-rules$", r"/servers$")


def test_whatever_is_asked_for_again_is_made_once(operator: Operator, api: Connection) -> None:
    with FaultProxy() as proxy:
        proxy.rule("answer", "GET", "/flavors", status=429, headers=BUSY)
        proxy.rule("answer", "GET", "/images", status=503, body=b"<html>Service Unavailable</html>")
        proxy.rule("drop", "GET", "/networks")
        proxy.rule("cut", "GET", "/servers/detail")
        proxy.rule("delay", "GET", "/limits", seconds=3)
        proxy.rule("answer", "POST", "/auth/tokens", status=500)
        for path in CREATES:
            proxy.rule("answer", "POST", path, status=429, headers=BUSY)
            proxy.rule("cut", "POST", path, nth=2)
        done = operator.provision("apply", "--yes", HTTP_PROXY=proxy.url)
    assert there_is(api, NAME) == EVERYTHING
    assert "the cloud asks to wait 1 s (429 on GET /v2.1/flavors/detail); trying again" in done.stderr
    assert "the cloud failed (503 on GET /v2/images); trying again in" in done.stderr
    assert "the connection to the cloud broke (GET /v2.0/networks); trying again in" in done.stderr
    assert "the cloud failed (500 on POST /v3/auth/tokens); trying again in" in done.stderr
    assert "the cloud asks to wait 1 s (429 on POST /v2.1/servers); trying again" in done.stderr
    assert operator.provision("plan").returncode == 0


def test_a_create_that_was_never_carried_out_is_tried_again(operator: Operator, api: Connection) -> None:
    with FaultProxy() as proxy:
        for path in CREATES:
            proxy.rule("drop", "POST", path)
        operator.provision("apply", "--yes", HTTP_PROXY=proxy.url)
    assert len(proxy.struck) == len(CREATES)
    assert there_is(api, NAME) == EVERYTHING


def test_a_destroy_on_a_bad_line_leaves_nothing(operator: Operator, api: Connection) -> None:
    operator.provision("apply", "--yes")
    with FaultProxy() as proxy:
        for path in ("/servers/", "/security-groups/", "/os-keypairs/"):
            proxy.rule("cut", "DELETE", path)
            proxy.rule("answer", "DELETE", path, nth=2, status=503)
        done = operator.provision("destroy", "--yes", "--name", NAME, "--no-backup", HTTP_PROXY=proxy.url)
    assert len(proxy.struck) == 6
    assert there_is(api, NAME) == NOTHING
    assert done.stdout.endswith("Nothing of ours is left: no server, port, security group, key pair or DNS record.\n")


def test_a_cloud_that_stays_away_is_given_up_in_time_and_nothing_is_lost(operator: Operator, api: Connection) -> None:
    start = time.monotonic()
    with FaultProxy() as proxy:
        proxy.rule("drop", "POST", r"/servers$", times=99)
        done = operator.provision("apply", "--yes", HTTP_PROXY=proxy.url, check=False)
    assert time.monotonic() - start < 300
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Making server faults: the connection to the cloud broke. Run again."
    assert there_is(api, NAME)["leases"] == 0
    operator.provision("apply", "--yes")
    assert there_is(api, NAME) == EVERYTHING


def test_a_clock_that_is_wrong_is_said_before_anything_is_made(operator: Operator, api: Connection) -> None:
    with FaultProxy() as proxy:
        proxy.rule("shift", times=99, seconds=-600)
        done = operator.provision("apply", "--yes", HTTP_PROXY=proxy.url, check=False)
    assert done.returncode == 1
    assert "timedatectl" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert there_is(api, NAME) == NOTHING


def test_a_token_that_is_revoked_in_the_middle_is_renewed(operator: Operator, api: Connection) -> None:
    with FaultProxy() as proxy:
        proxy.rule("answer", "POST", "/os-keypairs", status=401, body=b'{"error": {"message": "revoked"}}')
        operator.provision("apply", "--yes", HTTP_PROXY=proxy.url)
    assert [path for method, path in proxy.calls].count("/v3/auth/tokens") == 2
    assert there_is(api, NAME) == EVERYTHING


def test_two_applies_at_once_make_one_server(operator: Operator, api: Connection) -> None:
    both = [operator.start_provision("apply", "--yes") for _ in range(2)]
    outcomes = [(process.communicate(timeout=120), process.returncode) for process in both]
    codes = sorted(code for _, code in outcomes)
    assert codes in ([0, 1], [1, 1])
    for (_, errors), code in outcomes:
        if code:
            assert errors.startswith(("Another apply is at work on faults: process ", "The cloud has changed since"))
    assert there_is(api, NAME)["servers"] in (["ACTIVE"], [])
    operator.provision("apply", "--yes")
    assert there_is(api, NAME) == EVERYTHING


def test_a_server_that_another_apply_makes_in_between_is_not_made_twice(operator: Operator, api: Connection) -> None:
    """The first has shown its plan when the second does all of it; the lease is free again when the first takes it."""
    with FaultProxy() as proxy:
        proxy.rule("delay", "POST", "/security-groups", seconds=60)
        first = operator.start_provision("apply", "--yes", HTTP_PROXY=proxy.url)
        while not proxy.struck:
            assert first.poll() is None
            time.sleep(0.1)
        operator.provision("apply", "--yes")
    shown, errors = first.communicate(timeout=120)
    assert first.returncode == 1
    assert errors == (
        "The cloud has changed since the plan was shown; above is the new one. Nothing was done: run again.\n"
    )
    assert "Plan: 0 to create, 0 to change, 15 in place." in shown
    assert there_is(api, NAME) == EVERYTHING
