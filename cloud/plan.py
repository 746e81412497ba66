"""The difference between what is wanted in the cloud and what there is, as plain data; no network.

`difference(wanted, actual)` gives a `Plan`. `cloud/show.py` prints it, `cloud/compute.py` applies its changes one
by one, and nothing is applied that is not in it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloud.host_keys import fingerprint
from cloud.resources import PROJECT, Actual, FoundServer, GroupRule, Record, Resource, Rule, Server, Wanted


class Action(StrEnum):
    """What happens to a resource; the value is how it is shown."""

    CREATE = "+"
    CHANGE = "~"
    DELETE = "-"
    KEEP = "="
    REPORT = "!"
    """It is not as wanted, and provision.py leaves it so."""


@dataclass(frozen=True)
class Change:
    """One line of a plan."""

    action: Action
    resource: Resource
    remark: str = ""
    """For CHANGE and REPORT: old → new."""


@dataclass(frozen=True)
class Plan:
    """The difference, in the order in which it is applied."""

    changes: tuple[Change, ...]
    problems: tuple[str, ...] = ()
    """Why nothing can be applied, each with what to do about it."""

    @property
    def pending(self) -> tuple[Change, ...]:
        """What an apply does."""
        return tuple(c for c in self.changes if c.action not in (Action.KEEP, Action.REPORT))

    def count(self, action: Action) -> int:
        """How many lines do this."""
        return sum(change.action is action for change in self.changes)

    @property
    def summary(self) -> str:
        """One line of counts."""
        parts = [f"{self.count(Action.CREATE)} to create", f"{self.count(Action.CHANGE)} to change"]
        if self.count(Action.DELETE):
            parts.append(f"{self.count(Action.DELETE)} to delete")
        parts.append(f"{self.count(Action.KEEP)} in place")
        if self.count(Action.REPORT):
            parts.append(f"{self.count(Action.REPORT)} not as wanted and left so")
        return f"Plan: {', '.join(parts)}."


UNDER_WAY = ("ACTIVE", "BUILD", "REBOOT", "HARD_REBOOT")
"""What Nova says of a server that can be worked on, or soon can."""
RECORDS = ("known_hosts", "inventory.json")


def difference(want: Wanted, have: Actual) -> Plan:
    """The changes that make of what there is what is wanted, and what stands in their way."""
    changes = [*_key_pair(want, have), *_group(want, have), *_server(want, have)]
    for name in RECORDS:
        action = Action.KEEP if name in have.records else Action.CREATE
        changes.append(Change(action, Record(name)))
    return Plan(tuple(changes), tuple(_problems(want, have)))


def _key_pair(want: Wanted, have: Actual) -> Iterator[Change]:
    if have.key_pair and have.key_pair.public_key != want.key_pair.public_key:
        yield Change(Action.REPORT, want.key_pair, f"there: {fingerprint(have.key_pair.public_key)}")
    else:
        yield Change(Action.KEEP if have.key_pair else Action.CREATE, want.key_pair)


def _group(want: Wanted, have: Actual) -> Iterator[Change]:
    if have.group and have.group.description != want.group.description:
        yield Change(Action.REPORT, want.group, "there is one that is not ours")
    else:
        yield Change(Action.KEEP if have.group else Action.CREATE, want.group)
    for rule in sorted(want.rules, key=_by_port):
        action = Action.KEEP if rule in have.rules else Action.CREATE
        yield Change(action, GroupRule(want.group.name, rule))
    for rule in sorted(have.rules - want.rules, key=_by_port):
        yield Change(Action.REPORT, GroupRule(want.group.name, rule), "not one of ours")


def _by_port(rule: Rule) -> tuple[str, str, int, str, str]:
    return rule.direction, rule.protocol, int(rule.ports.partition("-")[0] or 0), rule.ethertype, rule.remote


def _server(want: Wanted, have: Actual) -> Iterator[Change]:
    if have.server is None:
        yield Change(Action.CREATE, want.server)
        return
    drift = list(server_drift(want.server, have.server))
    yield Change(Action.REPORT if drift else Action.KEEP, want.server, "; ".join(drift))


def server_drift(want: Server, have: FoundServer) -> Iterator[str]:
    """What differs, as "what: old → new"."""
    if not is_ours(want, have):
        yield "there is one that is not ours"
        return
    if have.status not in UNDER_WAY:
        yield f"it is {have.status}"
    if have.status == "BUILD":
        return  # until it is made, Nova does not say what it is connected to
    if have.flavor != want.flavor:
        yield f"flavor: {have.flavor} → {want.flavor}"
    if have.image and not same_image(have.image, want.image):
        yield f"image: {have.image} → {want.image}"
    if have.networks and want.network not in have.networks:
        yield f"network: {', '.join(sorted(have.networks))} → {want.network}"
    if have.key_pair != want.key_pair:
        yield f"key pair: {have.key_pair or 'none'} → {want.key_pair}"
    if want.group not in have.groups:
        yield f"security group: {', '.join(sorted(have.groups)) or 'none'} → {want.group}"


def is_ours(want: Server, have: FoundServer) -> bool:
    """Whether its metadata says that we made it, for this environment."""
    return all(have.metadata.get(key) == value for key, value in want.metadata.items())


def same_image(have: str, want: str) -> bool:
    """Whether these are one image. OVH renames an old build to "Ubuntu 22.04 … deprecated …" when a new one comes."""
    return have == want or bool(re.match(rf"{re.escape(want)}\b.*deprecated", have, re.IGNORECASE))


def _problems(want: Wanted, have: Actual) -> Iterator[str]:
    if have.key_pair and have.key_pair.public_key != want.key_pair.public_key:
        yield (
            f"The key pair {want.key_pair.name} in the cloud is not SSH_PUBLIC_KEY. Put the former path back, or"
            f" remove the one there (openstack keypair delete {want.key_pair.name}); a server that exists keeps the"
            " key that it was made with."
        )
    if have.group and have.group.description != want.group.description:
        yield (
            f'The security group {want.group.name} is not ours: its description is not "{want.group.description}".'
            f" Choose another INSTANCE_NAME, or adopt it: openstack security group set --description"
            f' "{want.group.description}" {want.group.name}'
        )
    if have.server:
        yield from _server_problems(want.server, have.server)


def _server_problems(want: Server, have: FoundServer) -> Iterator[str]:
    if not is_ours(want, have):
        marks = " ".join(f"--property {key}={value}" for key, value in want.metadata.items())
        yield (
            f"The server {want.name} ({have.id}) is not ours: it lacks the metadata project={PROJECT},"
            f" environment={want.environment}. Choose another INSTANCE_NAME, or adopt it:"
            f" openstack server set {marks} {have.id}"
        )
    elif have.status == "ERROR":
        yield (
            f"The server {want.name} ({have.id}) is in ERROR: {have.fault or 'Nova gives no reason'}."
            f" It is billed until you remove it: openstack server delete {have.id}"
        )
    elif have.status not in UNDER_WAY:
        yield (
            f"The server {want.name} ({have.id}) is {have.status}, and not running."
            f" Start it: openstack server start {have.id}"
        )
