"""DNS records killed in the making, and in the taking away, at every call that writes: the next run completes it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rrset
import ovh
import pytest
import requests
import small_world

from sandbox import internet
from sandbox.world import World, wait_for

pytestmark = pytest.mark.machine

ROOT = Path(__file__).parents[2]
ZONE = "/domain/zone/example.test"
WISH = ["example.test", "app.example.test", "--ipv4=192.0.2.7", "--ipv6=2001:db8::7", "--issuer=letsencrypt.org"]
WRITTEN = [
    (sub, kind, target)
    for sub in ("", "app")
    for kind, target in (("A", "192.0.2.7"), ("AAAA", "2001:db8::7"), ("CAA", '0 issue "letsencrypt.org"'))
]
REMOVAL = (
    "-c",
    "from cloud.dns.work import Zones; from settings import load_dns; zones = Zones.of(*load_dns());"
    " zones.apply(zones.plan_removal(['example.test', 'app.example.test'], ['192.0.2.7', '2001:db8::7'],"
    " 'letsencrypt.org'))",
)
"""What `provision.py destroy` does of it, as python takes it."""
WRITES = 8
"""A duplicate is deleted, an address changed, five records created, the zone refreshed."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with small_world.with_internet("test-killed") as made:
        yield made


def program(*arguments: str) -> tuple[str, ...]:
    """`python -m cloud.dns` for the wish, as python takes it."""
    return "-m", "cloud.dns", *arguments, *WISH


class Account:
    """The zone example.test as its customer sees it, and the API's side door."""

    def __init__(self, world: World) -> None:
        self.world, self.keys = world, internet.credentials(world)
        ovh.client.ENDPOINTS["sandbox"] = self.keys["OVH_ENDPOINT"]
        names = ("APPLICATION_KEY", "APPLICATION_SECRET", "CONSUMER_KEY")
        self.client = ovh.Client("sandbox", *(self.keys[f"OVH_{name}"] for name in names))
        self.original = self.rows()

    def rows(self) -> list[tuple[str, str, str]]:
        """Every record: (subdomain, type, target)."""
        found = [self.client.get(f"{ZONE}/record/{identifier}") for identifier in self.client.get(f"{ZONE}/record")]
        return sorted((r["subDomain"], r["fieldType"], r["target"]) for r in found)

    def reset(self) -> None:
        """The zone as it was in the beginning, with the apex' address twice, served."""
        for identifier in self.client.get(f"{ZONE}/record"):
            row = self.client.get(f"{ZONE}/record/{identifier}")
            if (row["subDomain"], row["fieldType"], row["target"]) in [*WRITTEN, ("", "A", "10.66.0.80")]:
                self.client.delete(f"{ZONE}/record/{identifier}")
        for _ in range(2):
            self.client.post(f"{ZONE}/record", fieldType="A", subDomain="", target="10.66.0.80")
        self.client.post(f"{ZONE}/refresh")
        wait_for(lambda: not self.client.get(f"{ZONE}/task?status=doing"), 10, "the zone is not served")

    def door(self, method: str, rule: dict[str, Any] | None = None) -> Any:
        """The side door's answer."""
        url = self.keys["OVH_ENDPOINT"].removesuffix("/1.0") + "/_faults"
        headers = {"X-Faults-Token": internet.fault_token(self.world)}
        answer = requests.request(method, url, headers=headers, json=rule, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python."""
        variables = {**os.environ, **self.keys, "ENV_FILE": "/no/such/file", "DNS_RESOLVERS": self.world.ipv4(3)}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run `python -m cloud.dns` to its end: exit status and output."""
        return self.run_python(*program(*arguments))

    def run_python(self, *arguments: str) -> tuple[int, str]:
        """Run Python to its end: exit status and output."""
        process = self.start(*arguments)
        output = process.communicate(timeout=90)[0]
        return process.returncode, output


@pytest.fixture(scope="module")
def account(world: World) -> Account:
    return Account(world)


def answer(world: World, name: str, kind: str) -> list[dns.rrset.RRset]:
    """What the name server answers."""
    return dns.query.udp(dns.message.make_query(f"{name}.", kind), world.ipv4(3), timeout=5).answer


def ask(world: World, name: str, kind: str) -> list[str]:
    """The targets of that."""
    return sorted(record.to_text() for rrset in answer(world, name, kind) for record in rrset)


class Watch(threading.Thread):
    """Asks for an address again and again until it is stopped, and counts the answers without one."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(daemon=True)
        self._world, self._name, self._over = world, name, threading.Event()
        self.seen: set[str] = set()
        self.empty = 0

    def run(self) -> None:
        """Ask."""
        while not self._over.wait(0.01):
            targets = ask(self._world, self._name, "A")
            self.seen |= set(targets)
            self.empty += not targets

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()


def kill_at(account: Account, nth: int, *arguments: str) -> None:
    """SIGKILL Python when its nth write is on the way; it is carried out, and nobody hears of that."""
    account.door("DELETE")
    account.door("POST", {"do": "delay", "method": "POST|PUT|DELETE", "nth": nth, "value": 1})
    process = account.start(*arguments)
    wait_for(lambda: account.door("GET")["rules"][0]["seen"] >= nth, 30, f"write {nth} did not come")
    process.kill()
    process.communicate()
    wait_for(
        lambda: len([c for c in account.door("GET")["calls"] if c[0] != "GET"]) >= nth, 10, "it was not carried out"
    )
    account.door("DELETE")


def test_whatever_write_it_is_killed_at_the_next_run_completes_it(world: World, account: Account) -> None:
    for nth in range(1, WRITES + 1):
        account.reset()
        watch = Watch(world, "example.test")
        watch.start()
        kill_at(account, nth, *program("apply", "--yes"))
        code, output = account.run("apply", "--yes")
        watch.stop()
        assert (code, "Traceback" in output) == (0, False), output
        assert account.rows() == sorted(
            [*(row for row in account.original if row != ("", "A", "10.66.0.80")), *WRITTEN]
        )
        for name in ("example.test", "app.example.test"):
            assert ask(world, name, "A") == ["192.0.2.7"]
            assert ask(world, name, "AAAA") == ["2001:db8::7"]
            assert ask(world, name, "CAA") == ['0 issue "letsencrypt.org"']
        assert (watch.seen, watch.empty) == ({"10.66.0.80", "192.0.2.7"}, 0)
        assert account.run("plan") == (0, "The DNS records are right, and served.\n")
        assert account.run("check")[0] == 0


def test_whatever_write_a_removal_is_killed_at_the_next_one_completes_it(world: World, account: Account) -> None:
    for nth in range(1, 8):  # six records and the refresh
        account.reset()
        assert account.run("apply", "--yes")[0] == 0
        kill_at(account, nth, *REMOVAL)
        assert account.run_python(*REMOVAL) == (0, "")
        assert account.rows() == [row for row in account.original if row != ("", "A", "10.66.0.80")]
        for name in ("example.test", "app.example.test"):
            assert [ask(world, name, kind) for kind in ("A", "AAAA", "CAA")] == [[], [], []]
        assert ask(world, "mail.example.test", "A") == ["10.66.0.25"]
    account.door("DELETE")
    assert account.run_python(*REMOVAL) == (0, "")
    assert {method for method, *_ in account.door("GET")["calls"]} == {"GET"}


def test_an_undisturbed_run_writes_that_often_and_the_check_tells_before_and_after(account: Account) -> None:
    account.reset()
    code, output = account.run("check")
    assert code == 2
    assert "ns1.sandbox.test answers 10.66.0.80 for A example.test; wanted: 192.0.2.7\n" in output
    account.door("DELETE")
    assert account.run("apply", "--yes")[0] == 0
    assert len([call for call in account.door("GET")["calls"] if call[0] != "GET"]) == WRITES
    assert account.run("check") == (
        0,
        "ns1.sandbox.test answers 192.0.2.7 for A app.example.test\n"
        "ns1.sandbox.test answers 2001:db8::7 for AAAA app.example.test\n"
        'ns1.sandbox.test answers 0 issue "letsencrypt.org" for CAA app.example.test\n'
        "ns1.sandbox.test answers 192.0.2.7 for A example.test\n"
        "ns1.sandbox.test answers 2001:db8::7 for AAAA example.test\n"
        'ns1.sandbox.test answers 0 issue "letsencrypt.org" for CAA example.test\n',
    )


def test_a_ttl_that_was_written_by_a_run_that_was_killed_is_served_after_the_next(
    world: World, account: Account
) -> None:
    def ttls() -> list[int]:
        names = ("example.test", "app.example.test")
        return [rrset.ttl for name in names for kind in ("A", "AAAA") for rrset in answer(world, name, kind)]

    account.reset()
    assert account.run("apply", "--yes")[0] == 0
    assert ttls() == [300, 300, 300, 300]
    kill_at(account, 6, *program("apply", "--yes", "--ttl=600"))  # the last of six records; only the refresh is left
    assert ttls() == [300, 300, 300, 300]
    assert account.run("plan", "--ttl=600") == (
        2,
        "~ zone example.test: written earlier and not served yet\n"
        "DNS: 0 to create, 0 to change, 0 to delete in example.test; no other record is touched.\n",
    )
    assert account.run("apply", "--yes", "--ttl=600")[0] == 0
    assert ttls() == [600, 600, 600, 600]
    assert account.run("plan", "--ttl=600") == (0, "The DNS records are right, and served.\n")
