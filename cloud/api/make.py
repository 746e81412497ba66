"""Making, changing and removing things in OpenStack, each exactly once, although an answer may be lost.

A call that only reads is repeated by the session (cloud/api/patience.py). One that makes something is not: its answer
may have been lost after it was carried out. So what was to be made is looked for before it is tried again.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from openstack.connection import Connection

from cloud.api.compute import Compute, rule_of
from cloud.api.explain import explained, happened
from cloud.api.patience import Say
from cloud.api.preflight import Parts
from cloud.api.shape import OddAnswer
from cloud.resources import FoundServer, KeyPair, Rule, Server, Ticket
from cloud.server_plan import is_ours
from cloud.trouble import CloudError, NoAnswer
from cloud.waiting import until

TRIES = 3
SECONDS_TO_APPEAR = 15
"""How long something may take to show in lists after a create whose answer was lost: the cloud may still be at it."""
SECONDS_WHERE_NAMES_ARE_UNIQUE = 2
"""The same for what the cloud would not make twice."""
TICKET = "lease="
"""How the description of a ticket begins (cloud/api/lease.py)."""
SECONDS_TO_GO = 300
"""For a server that is deleted."""


class Maker:
    """What changes a project."""

    def __init__(self, cloud: Compute) -> None:
        self._cloud = cloud

    @property
    def _sdk(self) -> Connection:
        return self._cloud.connection

    def make_key_pair(self, pair: KeyPair) -> None:
        """Make a key pair."""
        _once(
            lambda: bool(self._sdk.compute.create_keypair(name=pair.name, public_key=pair.public_key)),
            lambda: bool(self._cloud.key_pair(pair.name)),
            f"Making key pair {pair.name}",
            self._cloud.say,
            SECONDS_WHERE_NAMES_ARE_UNIQUE,
        )

    def delete_key_pair(self, name: str) -> None:
        """Remove a key pair; servers keep the key that they were made with."""
        with explained(f"Removing key pair {name}"):
            self._sdk.compute.delete_keypair(name, ignore_missing=True)

    def make_group(self, name: str, description: str) -> str:
        """Make a security group, and return its id. Neutron gives it rules that let everything out."""

        def there() -> str:
            return next((group.id for group in self._cloud.groups(name) if group.description == description), "")

        return _once(
            lambda: str(self._sdk.network.create_security_group(name=name, description=description).id or ""),
            there,
            f"Making security group {name}",
            self._cloud.say,
        )

    def describe_group(self, group_id: str, description: str) -> None:
        """Change what a security group says of itself."""
        with explained("Changing a security group"):
            self._sdk.network.update_security_group(group_id, description=description)

    def delete_group(self, group_id: str) -> None:
        """Remove a security group."""
        with explained("Removing a security group"):
            self._sdk.network.delete_security_group(group_id, ignore_missing=True)

    def tickets(self, server: str) -> list[Ticket]:
        """The tickets of a server's lease. A group that somebody else gave such a name is none."""
        with explained("Reading the lease"):
            found = self._sdk.network.security_groups(project_id=self._sdk.session.get_project_id())
            return [
                Ticket(one.id, one.name, one.description or "", one.created_at or "", one.updated_at or "")
                for one in found
                if re.fullmatch(ticket_name(re.escape(server), "[0-9a-f]{12}"), one.name)
                and (one.description or "").startswith(TICKET)
            ]

    def make_rules(self, group_id: str, rules: Iterable[Rule]) -> None:
        """Add rules to a security group, all by one call; a new group has some from birth."""
        wanted = frozenset(rules)
        with explained("Reading the rules"):
            bodies = [_body(group_id, rule) for rule in wanted - self._rules(group_id)]
        if bodies:
            _once(
                lambda: bool(list(self._sdk.network.create_security_group_rules(bodies))),
                lambda: wanted <= self._rules(group_id),
                "Making rules",
                self._cloud.say,
                SECONDS_WHERE_NAMES_ARE_UNIQUE,
            )

    def delete_rules(self, group_id: str, rules: Iterable[Rule]) -> None:
        """Take rules out of a security group."""
        unwanted = set(rules)
        with explained("Removing rules"):
            for rule in self._sdk.network.get_security_group(group_id).security_group_rules:
                if rule_of(rule) in unwanted:
                    self._sdk.network.delete_security_group_rule(rule["id"], ignore_missing=True)

    def _rules(self, group_id: str) -> frozenset[Rule]:
        found = self._sdk.network.get_security_group(group_id).security_group_rules
        return frozenset(rule_of(rule) for rule in found)

    def make_server(self, want: Server, found: Parts, group_id: str, mark: str, known: frozenset[str]) -> str:
        """Make a server, and return its id. `mark` tells it from all else; `known` are those that were there before."""

        def create() -> bool:
            self._sdk.compute.create_server(
                name=want.name,  # Nova takes the host name from it
                flavor_id=found.flavor.id,
                image_id=found.image.id,
                networks=[{"uuid": found.network.id}],
                key_name=want.key_pair,
                security_groups=[{"name": group_id}],
                metadata={**want.metadata, MARK: mark},
            )
            return True

        _once(create, lambda: bool(self._made(want, mark)), f"Making server {want.name}", self._cloud.say)
        return self.the_only_one(want, mark, known)

    def _made(self, want: Server, mark: str) -> list[FoundServer]:
        return [one for one in self._cloud.servers(want.name) if one.metadata.get(MARK) == mark]

    def the_only_one(self, want: Server, mark: str, known: frozenset[str]) -> str:
        """The id of the server that stays, should there be two after all. Those `known` before are for the plan.

        A create whose answer was lost can be carried out later than anybody waits for it, and a lease can be lost while
        a machine sleeps. The oldest stays, and whoever made a younger one removes it.
        """
        ours = [one for one in self._cloud.servers(want.name) if is_ours(want, one) and one.id not in known]
        ours.sort(key=lambda one: (one.created, one.id))
        if not ours:
            raise CloudError(f"The server {want.name} is gone: somebody removed it. Run again to make it anew.")
        for one in ours[1:]:
            if one.metadata.get(MARK) == mark:
                self.delete_server(one.id)
        if ours[0].metadata.get(MARK) != mark:
            raise CloudError(
                f"Another apply has made the server {want.name} ({ours[0].id}) in the meantime; the one made here is"
                " removed. Run again to see how it stands."
            )
        return ours[0].id

    def delete_server(self, server_id: str) -> None:
        """Remove a server and wait until it is gone."""
        with explained("Removing the server"):
            self._sdk.compute.delete_server(server_id, ignore_missing=True)

        def gone() -> bool:
            left = self._cloud.server(server_id)
            if left and left.status == "ERROR" and not left.busy:
                raise CloudError(
                    f"Nova could not remove the server {left.name} ({server_id}): {left.fault or 'it gives no reason'}."
                    " It is billed until it is gone. Run again; if it stays so, ask OVH's support."
                )
            return left is None

        if not until(gone, SECONDS_TO_GO):
            raise CloudError(f"The server {server_id} is still not gone. Run again to look.")

    def delete_port(self, port_id: str) -> None:
        """Remove a network port."""
        with explained("Removing a network port"):
            self._sdk.network.delete_port(port_id, ignore_missing=True)


def ticket_name(server: str, mark: str) -> str:
    """What the ticket of an apply is called."""
    return f"{server}-lease-{mark}"


MARK = "apply"
"""Metadata of a server: which apply made it."""


Made = TypeVar("Made")


def _once(
    create: Callable[[], Made], there: Callable[[], Made], doing: str, say: Say, seconds: float = SECONDS_TO_APPEAR
) -> Made:
    """Make something. Without an answer, look for it for `seconds` before trying again. Raises CloudError.

    `say` gets a line before each look, and before each further try.
    """
    for attempt in range(TRIES):
        try:
            with explained(doing):
                if made := create():
                    return made
                raise OddAnswer
        except NoAnswer as error:
            say(f"{happened(error)}; looking for {seconds} s whether it was made all the same")
            with explained("Looking what was made"):
                found = until(there, seconds)
            if found:
                return found
            if attempt == TRIES - 1:
                raise
            say(f"{doing}: it was not made; trying again")
        except CloudError:
            # refused because an earlier try was carried out after all
            if attempt and (found := there()):
                return found
            raise
    raise AssertionError("not reached")


def _body(group_id: str, rule: Rule) -> dict[str, Any]:
    first, _, last = rule.ports.partition("-")
    ports = {"port_range_min": int(first), "port_range_max": int(last or first)} if first else {}
    return {
        "security_group_id": group_id,
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol or None,
        **ports,
    }
