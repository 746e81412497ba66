"""How a plan looks: coloured on a terminal, plain text elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from cloud.machine.host_keys import fingerprint
from cloud.plan import Action, Change, Plan
from cloud.resources import (
    Address,
    Aspect,
    Existing,
    Group,
    GroupRule,
    KeyPair,
    Port,
    Record,
    Resource,
    Rule,
    Server,
)

STYLES = {
    Action.CREATE: "green",
    Action.CHANGE: "yellow",
    Action.REPLACE: "red",
    Action.DELETE: "red",
    Action.KEEP: "dim",
    Action.REPORT: "magenta",
}


NARROWEST = 15
"""Letters of a column: so plans of most servers look alike."""


def console(*, to_errors: bool = False) -> Console:
    """Where output goes. Long lines are left to the terminal, so that a pipe gets them whole; text is only text."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, stderr=to_errors)


def show(plan: Plan, to: Console) -> None:
    """Print the changes and their counts; what stands in the way is printed by whoever stops for it."""
    described = [describe(change.resource) for change in plan.changes]
    widths = [max(NARROWEST, *(len(texts[column]) for texts in described)) for column in (0, 1)] if described else []
    for change, (kind, name, details) in zip(plan.changes, described, strict=True):
        columns = [f"{text:<{width}}" for text, width in zip((kind, name), widths, strict=True)]
        to.print(Text(_line(change, *columns, details), STYLES[change.action]))
    to.print()
    to.print(Text(plan.summary, "bold"))


def _line(change: Change, *columns: str) -> str:
    text = " ".join([f"{change.action:>3}", *columns]).rstrip()
    if isinstance(change.resource, Aspect):
        return f"{text}: {change.remark}"
    return f"{text}  ({change.remark})" if change.remark else text


def describe(resource: Resource) -> tuple[str, str, str]:  # noqa: PLR0911 - a table
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
        case Aspect():
            return "server", resource.server, resource.what
        case Record():
            return "file", resource.name, ""
        case Address():
            return "DNS record", resource.name, f"{resource.kind} {resource.target}"
        case Port():
            return "port", resource.id, ""
        case Existing():
            return resource.kind, resource.name, f"{resource.id}  {resource.details}".rstrip()


def _words(rule: Rule) -> Iterator[str]:
    inwards = rule.direction == "ingress"
    yield "in " if inwards else "out"
    yield rule.ethertype
    yield f"{rule.protocol} {rule.ports}".strip() or "everything"
    yield f"{'from' if inwards else 'to'} {rule.remote or 'anywhere'}"


@contextmanager
def spinner(to: Console, doing: str) -> Iterator[None]:
    """Show on a terminal what is waited for, as long as it is; elsewhere nothing."""
    if to.is_terminal:
        with to.status(f"{doing} …"):
            yield
    else:
        yield


@contextmanager
def step(to: Console, doing: str) -> Iterator[None]:
    """Show what is being done, and how long it took once it is: one line, with a spinner on a terminal."""
    start = time.monotonic()
    if to.is_terminal:
        with spinner(to, doing):
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
