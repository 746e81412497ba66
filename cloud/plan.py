"""The difference between what is wanted in the cloud and what there is, as plain data; no network.

`difference(wanted, actual)` gives a `Plan`. `cloud/show.py` prints it, `cloud/apply.py` applies its changes one by
one, and nothing is applied that is not in it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cloud import server_plan
from cloud.machine.host_keys import fingerprint
from cloud.resources import (
    Actual,
    Aspect,
    Difference,
    FoundGroup,
    GroupRule,
    Record,
    Resource,
    Rule,
    Server,
    Wanted,
)


class Action(StrEnum):
    """What happens to a resource; the value is how it is shown."""

    CREATE = "+"
    CHANGE = "~"
    REPLACE = "-/+"
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
    """What differs, as old → new, or what to know about it."""
    loses_data: bool = False
    """Whether a disk goes with it."""
    keeps_address: bool = False
    """Of a server that is replaced: it is made again from an image in its place."""
    differences: tuple[Difference, ...] = ()
    """What differs, for programs."""

    @property
    def what(self) -> str:
        """Which aspect of the server changes; "" for everything else."""
        return self.resource.what if isinstance(self.resource, Aspect) else ""


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

    @property
    def loses_data(self) -> bool:
        """Whether somebody should think twice."""
        return any(change.loses_data for change in self.changes)

    @property
    def resizes(self) -> bool:
        """Whether the server that is there is given another size."""
        return any(change.what == "flavor" for change in self.pending)

    @property
    def makes_a_server(self) -> bool:
        """Whether a server is made, or made again."""
        return any(isinstance(change.resource, Server) for change in self.pending)

    def count(self, action: Action) -> int:
        """How many lines do this."""
        return sum(change.action is action for change in self.changes)

    @property
    def summary(self) -> str:
        """One line of counts."""
        counts = [
            f"{self.count(action)} {words}"
            for action, words in SUMMARY.items()
            if self.count(action) or action in (Action.CREATE, Action.CHANGE, Action.KEEP)
        ]
        return f"Plan: {', '.join(counts)}."


SUMMARY = {
    Action.CREATE: "to create",
    Action.CHANGE: "to change",
    Action.REPLACE: "to replace",
    Action.DELETE: "to delete",
    Action.KEEP: "in place",
    Action.REPORT: "not as wanted and left so",
}
RECORDS = ("known_hosts", "inventory.json")


def difference(want: Wanted, have: Actual, *, adopt: bool = False, rebuild: bool = False) -> Plan:
    """The changes that make of what there is what is wanted, and what stands in their way.

    `adopt` makes ours what has our name and lacks our marks; `rebuild` makes the server again from its image.
    """
    server = tuple(_server(want, have, adopt=adopt, rebuild=rebuild))
    changes = [*_key_pair(want, have), *_group(want, have, adopt=adopt), *server, *_records(have, server)]
    problems = [
        *_key_problems(want, have, server, adopt=adopt),
        *_group_problems(want, have.groups, adopt=adopt),
        *server_plan.problems(
            want,
            have,
            adopt=adopt,
            changes=any(change.action in CHANGING for change in server),
            resizes=any(change.what == "flavor" for change in server),
        ),
    ]
    return Plan(tuple(changes), tuple(problems))


CHANGING = (Action.CHANGE, Action.REPLACE)


def _key_pair(want: Wanted, have: Actual) -> Iterator[Change]:
    there = have.key_pair
    if there and there.public_key != want.key_pair.public_key:
        remark = f"{fingerprint(there.public_key)} → SSH_PUBLIC_KEY"
        difference = Difference("public key", there.public_key, want.key_pair.public_key)
        yield Change(Action.REPLACE, want.key_pair, remark, differences=(difference,))
    else:
        yield Change(Action.KEEP if there else Action.CREATE, want.key_pair)


def _key_problems(want: Wanted, have: Actual, server: tuple[Change, ...], *, adopt: bool) -> Iterator[str]:
    """A key pair may be somebody else's, and a server knows the key that it was made with and no other."""
    found = have.server
    if have.key_pair and have.key_pair != want.key_pair and not (adopt or _is_ours(want, have)):
        yield (
            f"The key pair {want.key_pair.name} is not SSH_PUBLIC_KEY, and nothing says that it is ours. Choose another"
            " INSTANCE_NAME, or have it replaced: python provision.py adopt"
        )
    stays = not any(change.action is Action.REPLACE for change in server)
    if found and stays and have.key_trouble:
        yield have.key_trouble


def _is_ours(want: Wanted, have: Actual) -> bool:
    """Whether there is anything that is marked as ours."""
    groups = any(group.description == want.group.description for group in have.groups)
    return groups or bool(server_plan.ours(want.server, have.servers))


def _group(want: Wanted, have: Actual, *, adopt: bool) -> Iterator[Change]:
    there = have.group
    if there is None:
        yield Change(Action.CREATE, want.group)
    elif there.description == want.group.description:
        yield Change(Action.KEEP, want.group)
    elif adopt:
        remark = f"description: {there.description or 'none'} → ours"
        difference = Difference("description", there.description or None, want.group.description)
        yield Change(Action.CHANGE, want.group, remark, differences=(difference,))
    else:
        yield Change(Action.REPORT, there.existing, "not ours")
        return
    rules = there.rules if there else frozenset()
    for rule in sorted(want.rules, key=_by_port):
        yield Change(Action.KEEP if rule in rules else Action.CREATE, GroupRule(want.group.name, rule))
    for rule in sorted(rules - want.rules, key=_by_port):
        yield Change(Action.DELETE, GroupRule(want.group.name, rule), "added by hand")
    for group in have.groups[1:]:
        if group.description == want.group.description:
            yield Change(Action.DELETE, group.existing, "there are two of this name")


def _group_problems(want: Wanted, groups: tuple[FoundGroup, ...], *, adopt: bool) -> Iterator[str]:
    others = [group for group in groups if group.description != want.group.description]
    if len(groups) > 1 and others:
        yield (
            f"There are {len(groups)} security groups named {want.group.name}, and not all are ours; remove all but"
            " one in OVH's console (Network > Security groups), or choose another INSTANCE_NAME."
        )
    elif others and not adopt:
        yield (
            f'The security group {want.group.name} is not ours: its description is not "{want.group.description}".'
            " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt"
        )


def _by_port(rule: Rule) -> tuple[str, str, int, str, str]:
    return rule.direction, rule.protocol, int(rule.ports.partition("-")[0] or 0), rule.ethertype, rule.remote


def _server(want: Wanted, have: Actual, *, adopt: bool, rebuild: bool) -> Iterator[Change]:
    found = have.server
    if found is None:
        yield Change(Action.CREATE, want.server)
        return
    ours = server_plan.is_ours(want.server, found)
    if not ours and not adopt:
        yield Change(Action.REPORT, found.existing, "not ours")
        return
    # what is only just adopted is not made again: that is for the next plan to show
    replaced = server_plan.replaced(want.server, found, rebuild=rebuild) if ours else None
    aspects = (
        [] if replaced and not replaced.keeps_address else list(server_plan.aspects(want.server, found, have.size))
    )
    for aspect, remark in aspects:
        differences = server_plan.differences(aspect.what, want.server, found)
        yield Change(Action.CHANGE, aspect, remark, differences=differences)
    if replaced:
        yield Change(
            Action.REPLACE,
            want.server,
            replaced.why,
            replaced.loses_data,
            replaced.keeps_address,
            replaced.differences,
        )
    elif not aspects:
        drift = server_plan.drift(want.server, found)
        yield Change(Action.REPORT if drift else Action.KEEP, want.server, drift)
    for other in have.servers[1:]:
        if server_plan.is_ours(want.server, other):
            yield Change(Action.DELETE, other.existing, "there are two of this name", other.launched)


def _records(have: Actual, server: tuple[Change, ...]) -> Iterator[Change]:
    replaced = next((change for change in server if change.action is Action.REPLACE), None)
    rebuilding = have.server is not None and have.server.status == "REBUILD"
    for name in RECORDS:
        remark = have.records.get(name)
        if rebuilding and not remark and name == "known_hosts":
            remark = "it is being rebuilt"
        if replaced and not remark and (name == "known_hosts" or not replaced.keeps_address):
            remark = "it will be another machine"
        if name not in have.records:
            yield Change(Action.CREATE, Record(name))
        else:
            yield Change(Action.CHANGE if remark else Action.KEEP, Record(name), remark or "")
