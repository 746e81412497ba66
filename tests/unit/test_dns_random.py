"""Random zones in an OVH account and random wishes: what a run does to every record, write by write."""

import copy
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from dns_account import TTL, serve, zones
from hypothesis import event, given, settings
from hypothesis import strategies as st
from ovh_stand_in import Api

from cloud.dns.record import canonical, wanted
from cloud.trouble import CloudError
from sandbox.internet.ovh_api.records import Record
from sandbox.internet.ovh_api.zone import Zone

# Name → the zone that holds it, and its name in there.
HOMES = {
    "koprogo.test": ("koprogo.test", ""),
    "api.koprogo.test": ("koprogo.test", "api"),
    "_api.koprogo.test": ("koprogo.test", "_api"),
    "b.koprogo.test": ("b.koprogo.test", ""),
    "api.b.koprogo.test": ("b.koprogo.test", "api"),
}
ISSUER = "letsencrypt.org"

# Type → what its records say.
TARGETS = {
    "A": ["192.0.2.1", "192.0.2.2", "10.0.0.9"],
    "AAAA": ["2001:db8::1", "2001:DB8:0::1", "2001:db8::9"],
    "CAA": ['0 issue "letsencrypt.org"', '0 issue "LetsEncrypt.org"', '0 issue "digicert.com"'],
    "CNAME": ["elsewhere.test."],
    "TXT": ['"v=spf1 -all"', '"192.0.2.1"'],
    "NS": ["ns2.sandbox.test."],
}
KINDS = [*("A", "AAAA", "CAA") * 3, "CNAME", "TXT", "NS"]
# Names beside those of a wish: in capitals, alike in part or as patterns, wildcards, and those of the zone within.
NEIGHBOURS = [("koprogo.test", sub) for sub in ("API", "xapi", "api.x", "*", "*.api", "b", "api.b")]
ROWS = st.lists(
    st.sampled_from(KINDS).flatmap(
        lambda kind: st.tuples(
            st.sampled_from([*HOMES.values()] * 3 + NEIGHBOURS),
            st.just(kind),
            st.sampled_from(TARGETS[kind]),
            st.sampled_from([0, 60, TTL]),
        )
    ),
    min_size=4,
    max_size=20,
)
Rows = list[tuple[tuple[str, str], str, str, int]]
State = Mapping[str, list[Record]]


@contextmanager
def account(rows: Rows) -> Iterator[Api]:
    """An account with these records, all of them served."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        api = Api(Path(folder))
        api.store.add_zone("b.koprogo.test", [])
        for (zone, sub), kind, target, ttl in rows:
            with api.store.changing(zone) as changed:
                new = Record(id=api.store.new_id(), zone=zone, fieldType=kind, subDomain=sub, target=target, ttl=ttl)
                changed["records"].append(new)
                changed["served"] = copy.deepcopy(changed["records"])
        api.store.deploy_all()
        api.history.clear()
        serve(api, patch)
        yield api
        api.stop()


def whole(api: Api, what: str = "records") -> dict[str, list[Record]]:
    """The records of all zones, or those that are served."""
    found: dict[str, Any] = {name: api.store.zone(name) for name in api.store.names()}
    return {name: zone[what] for name, zone in found.items()}


def sequence(start: State, history: list[Zone]) -> Iterator[tuple[State, State]]:
    """What the account had after each single write, and what was served then."""
    have, served = dict(start), dict(start)
    for zone in history:
        have, served = have | {zone["name"]: zone["records"]}, served | {zone["name"]: zone["served"]}
        yield have, served


def resolving(state: State) -> set[tuple[str, str, str]]:
    """Zone, name in it and type of whatever has an address."""
    every = (row for rows in state.values() for row in rows)
    return {(r["zone"], r["subDomain"].lower(), r["fieldType"]) for r in every if r["fieldType"] in ("A", "AAAA")}


def ours(row: Record, names: list[str], kinds: Collection[str]) -> bool:
    """Whether the record is one of those that a wish decides on."""
    at_home = (row["zone"], row["subDomain"].lower()) in [HOMES[name] for name in names]
    permit = row["fieldType"] != "CAA" or ISSUER in row["target"].lower()
    return at_home and row["fieldType"] in kinds and permit


def others(state: State, names: list[str], kinds: Collection[str]) -> list[Record]:
    """The records that no wish for these names and types touches, every byte of them."""
    return [row for zone in sorted(state) for row in state[zone] if not ours(row, names, kinds)]


WISHES = st.tuples(
    st.lists(st.sampled_from(sorted(HOMES)), min_size=1, max_size=3, unique=True),
    st.sampled_from(["", "2001:db8::1"]),
    st.sampled_from(["", ISSUER]),
)


@given(ROWS, WISHES, st.sampled_from([True, True, False]))
@settings(max_examples=100, deadline=None)
def test_one_run_is_enough_touches_only_its_own_and_no_name_stops_resolving(
    rows: Rows, wish: tuple[list[str], str, str], replace: bool
) -> None:
    names, ipv6, issuer = wish
    want = wanted(names, "192.0.2.1", ipv6, issuer)
    said = {"A": "192.0.2.1"} | ({"AAAA": ipv6} if ipv6 else {}) | ({"CAA": f'0 issue "{issuer}"'} if issuer else {})
    with account(rows) as api:
        start, there = whole(api), zones(api)
        plan = there.plan(want, TTL, replace_foreign=replace)
        event(f"{'a question' if plan.problems else min(len(plan.changes), 5)}")
        if plan.problems:
            with pytest.raises(CloudError):
                there.apply(plan)
            assert (whole(api), api.history) == (start, [])
            return
        there.apply(plan)

        for have, served in sequence(start, api.history):
            assert others(have, names, said) == others(start, names, said)
            assert resolving(have) >= resolving(start)
            assert resolving(served) >= resolving(start)
        end = whole(api)
        for name, (kind, target) in product(names, said.items()):
            found = [row for row in end[HOMES[name][0]] if ours(row, [name], {kind})]
            assert [(canonical(row["target"]), row["ttl"]) for row in found] == [(target, TTL)]
        changed = {zone for zone in end if end[zone] != start[zone]}
        assert {zone: len(api.store.zone(zone)["tasks"]) for zone in end} == {zone: zone in changed for zone in end}
        assert whole(api, "served") == end
        again = there.plan(want, TTL)
        assert (again.changes, again.zones, again.problems) == ((), (), ())
