"""How a plan looks: coloured on a terminal, plain text elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from cloud.host_keys import fingerprint
from cloud.plan import Action, Change, Plan
from cloud.resources import Group, GroupRule, KeyPair, Record, Resource, Rule, Server

STYLES = {
    Action.CREATE: "green",
    Action.CHANGE: "yellow",
    Action.DELETE: "red",
    Action.KEEP: "dim",
    Action.REPORT: "magenta",
}


def console() -> Console:
    """Where output goes. Long lines are left to the terminal, so that a pipe gets them whole; text is only text."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def show(plan: Plan, to: Console) -> None:
    """Print the changes and their counts; what stands in the way is printed by whoever stops for it."""
    for change in plan.changes:
        to.print(Text(f"  {_line(change)}", STYLES[change.action]))
    to.print()
    to.print(Text(plan.summary, "bold"))


def _line(change: Change) -> str:
    kind, name, details = describe(change.resource)
    text = f"{change.action} {kind:<15} {name:<15} {details}".rstrip()
    return f"{text}  ({change.remark})" if change.remark else text


def describe(resource: Resource) -> tuple[str, str, str]:
    """What it is, its name, and what there is to know about it."""
    match resource:
        case KeyPair():
            return "key pair", resource.name, fingerprint(resource.public_key)
        case Group():
            return "security group", resource.name, resource.description
        case GroupRule():
            return "rule", resource.group, " ".join(_words(resource.rule))
        case Server():
            parts = (resource.flavor, resource.image, resource.network, f"environment {resource.environment}")
            return "server", resource.name, ", ".join(parts)
        case Record():
            return "file", resource.name, ""


def _words(rule: Rule) -> Iterator[str]:
    inwards = rule.direction == "ingress"
    yield "in " if inwards else "out"
    yield rule.ethertype
    yield f"{rule.protocol} {rule.ports}".strip() or "everything"
    yield f"{'from' if inwards else 'to'} {rule.remote or 'anywhere'}"


@contextmanager
def step(to: Console, doing: str) -> Iterator[None]:
    """Show what is being done, and how long it took once it is: one line, with a spinner on a terminal."""
    start = time.monotonic()
    if to.is_terminal:
        with to.status(f"{doing} …"):
            yield
        to.print(f"  {doing} … {time.monotonic() - start:.1f} s")
        return
    to.print(f"  {doing} …", end="")
    to.file.flush()
    try:
        yield
        to.print(f" {time.monotonic() - start:.1f} s", end="")
    finally:
        to.print()
