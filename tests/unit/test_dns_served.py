"""What a zone's own name servers answer, and how it is waited for."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.resolver
import dns.rrset
import pytest
from dns_account import NAMES, OURS, TTL, apply, zones
from ovh_stand_in import Api

from cloud.dns import served, work
from cloud.dns.record import Have, wanted
from cloud.dns.removal import removal
from cloud.trouble import CloudError


class NameServer:
    """Answers A questions from a table, on UDP; a name that is missing does not exist, None is silence.

    REFUSED is the refusal of a server that does not know the zone.
    """

    def __init__(self) -> None:
        self.table: dict[str, str | None] = {}
        self.ttl, self.authoritative, self.ages = TTL, True, False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Answer until the socket is closed."""
        while True:
            try:
                data, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            self.ttl -= self.ages
            question = dns.message.from_wire(data)
            name = question.question[0].name.to_text().rstrip(".")
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.AA if self.authoritative else 0
            if name not in self.table:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif self.table[name] == "REFUSED":
                answer.set_rcode(dns.rcode.REFUSED)
            elif target := self.table[name]:
                answer.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "A", target))
            else:
                continue
            with suppress(OSError):  # closed meanwhile
                self.socket.sendto(answer.to_wire(), sender)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    running = NameServer()
    real, port = served.dns.query.udp_with_fallback, running.socket.getsockname()[1]
    monkeypatch.setattr(served.dns.query, "udp_with_fallback", lambda q, where, timeout: real(q, where, timeout, port))
    monkeypatch.setattr(served, "SECONDS_PER_QUESTION", 10.0)
    monkeypatch.setattr(served, "SECONDS_TO_AGE", 0)
    monkeypatch.setattr(work, "PAUSE", 0.02)
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: {})
    monkeypatch.setattr(served, "delegation", lambda zone, resolvers: frozenset())
    monkeypatch.setattr(served, "resolvers_of", lambda zone, resolvers: {})
    yield running
    running.socket.close()


APEX = wanted(["koprogo.test"], "192.0.2.1", None)
HERE = {"ns1.test": "127.0.0.1"}


def test_differences_name_server_and_answer(server: NameServer) -> None:
    assert served.differences(APEX, {}, HERE) == ["ns1.test answers nothing for A koprogo.test"]
    server.table["koprogo.test"] = "10.0.0.9"
    assert served.differences(APEX, {}, HERE) == ["ns1.test answers 10.0.0.9 for A koprogo.test"]
    server.table["koprogo.test"] = "192.0.2.1"
    assert served.differences(APEX, {}, HERE) == []


def test_another_ttl_of_an_address_is_a_difference_but_for_a_cache_which_counts_down(server: NameServer) -> None:
    server.table["koprogo.test"], server.ttl = "192.0.2.1", 3600
    assert served.differences(APEX, {}, HERE, 300) == ["ns1.test answers 192.0.2.1 with ttl 3600 for A koprogo.test"]
    assert served.differences(APEX, {}, HERE, 3600) == []
    assert served.differences(APEX, {}, HERE) == []
    server.authoritative = False
    assert served.differences(APEX, {}, HERE, 300) == []


def test_a_ttl_that_gets_shorter_is_that_of_a_cache_in_front_of_the_server(server: NameServer) -> None:
    server.table["koprogo.test"], server.ttl = "192.0.2.1", 60
    assert served.differences(APEX, {}, HERE, 300) == ["ns1.test answers 192.0.2.1 with ttl 60 for A koprogo.test"]
    server.ages = True
    assert served.differences(APEX, {}, HERE, 300) == []


def test_a_server_that_is_silent_is_no_difference(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "SECONDS_PER_QUESTION", 0.05)
    server.table["koprogo.test"] = None
    assert served.differences(APEX, {}, HERE) == []


def test_a_server_that_refuses_says_nothing_of_the_name(server: NameServer) -> None:
    server.table["koprogo.test"] = "REFUSED"
    assert served.ask("127.0.0.1", "koprogo.test", "A") is None
    del server.table["koprogo.test"]
    assert served.ask("127.0.0.1", "koprogo.test", "A") == served.Reply()


@pytest.mark.parametrize(("kind", "right"), [("A", False), ("AAAA", False), ("CAA", True)])
def test_only_a_permit_may_have_others_beside_it(kind: str, right: bool) -> None:
    wanted_one, found = frozenset({"ours"}), served.Reply(frozenset({"ours", "another"}))
    assert served.Answer("ns1.test", "koprogo.test", kind, wanted_one, found).right is right


class Resolver:
    """Knows the addresses of three name servers, the second of which does not know the zone."""

    nameservers = ("192.0.2.1", "192.0.2.2")
    table = {  # noqa: RUF012 - never changed
        ("ns1.test.", "A"): "192.0.2.1",
        ("ns2.test.", "A"): "192.0.2.2",
        ("ns3.test.", "AAAA"): "2001:db8::3",
        ("koprogo.test.", "NS"): "NS1.Test.",
    }

    def resolve(self, name: str, kind: str, lifetime: float) -> list[dns.rdata.Rdata]:
        """Take the place of dnspython's."""
        if (name, kind) not in self.table:
            raise dns.resolver.NoAnswer
        return [dns.rdata.from_text("IN", kind, self.table[(name, kind)])]


def test_only_servers_that_know_the_zone_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_resolver", lambda resolvers: Resolver())
    soa = served.Reply(frozenset({"its SOA"}))
    knowing = {"192.0.2.1": soa, "2001:db8::3": soa}
    monkeypatch.setattr(served, "ask", lambda address, name, kind: knowing.get(address))
    servers = ["ns1.test.", "ns2.test", "ns3.test", "ns4.test"]
    assert served.addresses("koprogo.test", servers, ()) == {"ns1.test.": "192.0.2.1", "ns3.test": "2001:db8::3"}
    assert served.resolvers_of("koprogo.test", ()) == {"resolver 192.0.2.1": "192.0.2.1"}
    assert served.delegation("koprogo.test", ()) == {"ns1.test"}
    assert served.delegation("example.test", ()) == frozenset()


def test_where_no_server_can_be_asked_the_resolvers_are(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(api, APEX)
    server.table["koprogo.test"] = "10.0.0.9"
    monkeypatch.setattr(served, "resolvers_of", lambda zone, resolvers: {"resolver 127.0.0.1": "127.0.0.1"})
    assert zones(api).plan(APEX, TTL).unserved == ("koprogo.test",)
    server.table["koprogo.test"] = "192.0.2.1"
    assert zones(api).plan(APEX, TTL).zones == ()


def test_records_written_and_never_served_are_refreshed(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = zones(api)
    for change in there.plan(APEX, TTL).changes:
        there.account.create(change.row)
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: HERE)
    plan = there.plan(APEX, TTL)
    assert plan.lines == ["~ zone koprogo.test: written earlier and not served yet"]
    server.table["koprogo.test"] = "192.0.2.1"
    there.apply(plan)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    assert there.plan(APEX, TTL).lines == []


def test_a_ttl_that_was_written_and_never_served_is_refreshed(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(api, APEX)
    server.table["koprogo.test"], server.ttl = "192.0.2.1", 60
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: HERE)
    there = zones(api)
    plan = there.plan(APEX, TTL)
    assert plan.lines == ["~ zone koprogo.test: written earlier and not served yet"]
    server.ttl = 300
    there.apply(plan)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 2
    assert there.plan(APEX, TTL).lines == []


def test_a_zone_that_is_never_served_is_an_error(api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: HERE)
    monkeypatch.setattr(work, "SECONDS", 0.1)
    with pytest.raises(CloudError, match=r"OVH has accepted .* ns1.test answers nothing for A koprogo.test\. Wait"):
        apply(api, APEX)


def test_what_is_to_be_gone_is_named_while_it_is_served(server: NameServer) -> None:
    gone = removal(["koprogo.test"], ["192.0.2.1"], Have(["koprogo.test"], [])).gone["koprogo.test"]
    server.table["koprogo.test"] = "192.0.2.1"
    assert served.differences({}, gone, HERE)[0] == "ns1.test still answers 192.0.2.1 for A koprogo.test"
    server.table["koprogo.test"] = "10.0.0.9"
    assert served.differences({}, gone, HERE) == []
    del server.table["koprogo.test"]
    assert served.differences({}, gone, HERE) == []


def test_a_removal_waits_until_it_is_served(api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(api, APEX)
    server.table["koprogo.test"] = "192.0.2.1"
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: HERE)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "still answers" in line:
            del server.table["koprogo.test"]

    there = zones(api, say)
    there.apply(there.plan_removal(["koprogo.test"], ["192.0.2.1"]))
    assert said[-1:] == ["waiting: ns1.test still answers 192.0.2.1 for A koprogo.test"]


def test_a_removal_that_was_never_served_is_refreshed(
    api: Api, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.table["koprogo.test"] = "192.0.2.1"
    monkeypatch.setattr(served, "addresses", lambda zone, servers, resolvers: HERE)
    there = zones(api)
    plan = there.plan_removal(NAMES, OURS)
    assert plan.lines == ["~ zone koprogo.test: written earlier and not served yet"]
    del server.table["koprogo.test"]
    there.apply(plan)
    assert len(api.store.zone("koprogo.test")["tasks"]) == 1
    assert there.plan_removal(NAMES, OURS).lines == []
