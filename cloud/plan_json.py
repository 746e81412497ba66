"""A plan for programs, as docs/provision.md documents it."""

from dataclasses import asdict
from typing import Any

from cloud.plan import Action, Change, Plan
from cloud.resources import Actual, Aspect, Existing, Group, GroupRule, KeyPair, Port, Resource, Rule, Server
from cloud.show import describe

ANYWHERE = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}


def as_data(plan: Plan, have: Actual) -> dict[str, Any]:
    """A plan, with the ids of what there is."""
    return {"changes": [_change(change, have) for change in plan.changes], "problems": list(plan.problems)}


def _change(change: Change, have: Actual) -> dict[str, Any]:
    resource = change.resource
    kind, name, details = describe(resource)
    return {
        "action": change.action.name.lower(),
        "kind": kind,
        "name": name,
        "id": None if change.action is Action.CREATE else _id(resource, have),
        "changes": [asdict(difference) for difference in change.differences],
        "rule": _rule(resource.rule) if isinstance(resource, GroupRule) else None,
        "details": details,
        "remark": change.remark,
        "loses_data": change.loses_data,
    }


def _id(resource: Resource, have: Actual) -> str | None:
    """Of what there is; None for what has none, as a file."""
    match resource:
        case KeyPair():
            return resource.name  # Nova knows it by that
        case Group():
            return have.group.id if have.group else None
        case GroupRule(rule=wanted):
            rules = have.group.rules if have.group else frozenset[Rule]()
            return next((rule.id for rule in rules if rule == wanted), None)
        case Server() | Aspect():
            return have.server.id if have.server else None
        case Existing() | Port():
            return resource.id
        case _:
            return None


def _rule(rule: Rule) -> dict[str, Any]:
    """Without the names that mean the same: anywhere is a network, too."""
    first, _, last = rule.ports.partition("-")
    group = bool(rule.remote) and "/" not in rule.remote
    return {
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol or None,
        "port_min": int(first) if first else None,
        "port_max": int(last or first) if first else None,
        "cidr": None if group else rule.remote or ANYWHERE[rule.ethertype],
        "group": rule.remote if group else None,
    }
