"""What the tests of DNS records share: an account at the stand-in for OVH's API, and the zone in it."""

from collections.abc import Sequence
from typing import Any

import pytest
from ovh_stand_in import CONSUMER, KEY, SECRET, Api

from cloud.dns import served
from cloud.dns.account import Account
from cloud.dns.record import canonical, wanted
from cloud.dns.work import Zones
from cloud.ovh.client import Client, Keys

WANT = wanted(["koprogo.test", "api.koprogo.test"], "192.0.2.1", None)
NAMES = ["koprogo.test", "API.koprogo.test"]
OURS = ["192.0.2.1", "2001:DB8:0::1"]
TTL = 300
ZONE = "/domain/zone/koprogo.test"
LEAST = [
    ("GET", "/domain/zone"),
    ("GET", ZONE),
    ("GET", f"{ZONE}/status"),
    ("GET", f"{ZONE}/record"),
    ("POST", f"{ZONE}/record"),
    ("GET", f"{ZONE}/record/*"),
    ("PUT", f"{ZONE}/record/*"),
    ("DELETE", f"{ZONE}/record/*"),
    ("GET", f"{ZONE}/redirection"),
    ("GET", f"{ZONE}/redirection/*"),
    ("GET", f"{ZONE}/dynHost/record"),
    ("GET", f"{ZONE}/dynHost/record/*"),
    ("POST", f"{ZONE}/refresh"),
]
"""The rights that our part needs, as (method, path)."""


def client(api: Api, say: Any = lambda line: None, **other: str) -> Client:
    """A client that does not pause."""
    values = {"application_key": KEY, "application_secret": SECRET, "consumer_key": CONSUMER} | other
    return Client(Keys(api.url, **values), say, pause=0)


def zones(api: Api, say: Any = lambda line: None, **other: str) -> Zones:
    """The account's zones."""
    return Zones(Account(client(api, say, **other), pauses=[0] * 6), (), say)


def apply(api: Api, want: Any = WANT) -> list[str]:
    """Plan and apply; returns what was planned."""
    there = zones(api)
    plan = there.plan(want, TTL)
    there.apply(plan)
    return [str(change) for change in plan.changes]


def remove(api: Api, names: Sequence[str] = NAMES) -> list[str]:
    """Plan and apply a removal; returns what was planned."""
    there = zones(api)
    plan = there.plan_removal(names, OURS)
    there.apply(plan)
    return [str(change) for change in plan.changes]


def table(api: Api) -> list[tuple[str, str, str]]:
    """The zone as the API shows it: (subdomain, type, target)."""
    rows = api.store.zone("koprogo.test")["records"]
    return sorted((r["subDomain"], r["fieldType"], r["target"]) for r in rows)


def put(api: Api, sub: str, target: str, kind: str = "A", ttl: int = 300) -> None:
    """A record that somebody else has made."""
    api.store.create(
        "koprogo.test", lambda rows: {**rows[0], "fieldType": kind, "subDomain": sub, "target": target, "ttl": ttl}
    )


def serve(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the name servers of the zones answer what they were last given, and be asked without a pause."""
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: {"ns1": "192.0.2.53"})
    monkeypatch.setattr(served, "delegation", lambda zone, resolvers: frozenset())
    monkeypatch.setattr(served, "resolvers_of", lambda zone, resolvers: {})
    monkeypatch.setattr(served, "ask", lambda address, name, kind: _answer(api, name, kind))
    monkeypatch.setattr("cloud.dns.work.PAUSE", 0.001)


def _answer(api: Api, name: str, kind: str) -> served.Reply:
    """What the innermost zone has for exactly this name."""
    zone = max((zone for zone in api.publisher.served if f".{name}".endswith(f".{zone}")), key=len)
    rows = api.publisher.served[zone][1]
    targets = (canonical(to) for sub, k, to in rows if k == kind and f"{sub}.{zone}".lower().strip(".") == name)
    return served.Reply(frozenset(targets))
