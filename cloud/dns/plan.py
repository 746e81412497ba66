"""A plan of DNS records as plain data: what is shown, and then written, line by line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloud.dns.record import Row, Wanted
from cloud.plan import Action


@dataclass(frozen=True)
class Change:
    """One line of a plan: `row` as it will be (CREATE, CHANGE) or as it is (DELETE)."""

    action: Action
    row: Row
    before: Row | None = None
    duplicate: bool = False
    """Whether another row says the same, and stays."""

    @property
    def what(self) -> str:
        """The target, or what changes as old → new."""
        if self.before is None:
            return f"{self.row.target}{' (a duplicate)' if self.duplicate else ''}"
        old, new = self.before, self.row
        parts = ((old.target, new.target), (f"ttl {old.ttl}", f"ttl {new.ttl}"))
        return ", ".join(f"{before} → {after}" for before, after in parts if before != after)

    def as_data(self) -> dict[str, Any]:
        """The change for programs."""
        row, before = self.row, self.before or self.row
        old = None if self.action is Action.CREATE else {"target": before.target, "ttl": before.ttl}
        new = None if self.action is Action.DELETE else {"target": row.target, "ttl": row.ttl}
        head = {"action": self.action.name.lower(), "zone": row.zone, "name": row.name, "type": row.kind}
        return {**head, "id": row.id or None, "old": old, "new": new}

    def __str__(self) -> str:
        """The line to be printed: what happens, type, name, target (old → new)."""
        return f"{self.action} {self.row.kind:<4} {self.row.name} {self.what}"


@dataclass(frozen=True)
class Plan:
    """What will be written, in this order, and which zones are refreshed after it."""

    changes: tuple[Change, ...] = ()
    want: Mapping[str, Wanted] = field(default_factory=dict)
    """Zone → what its servers have to answer in the end."""
    ttl: int | None = None
    """Seconds that the wanted addresses are served with in the end; None if that does not matter."""
    gone: Mapping[str, Wanted] = field(default_factory=dict)
    """Zone → what its servers may no longer answer in the end, whatever else they answer."""
    unserved: tuple[str, ...] = ()
    """Zones whose records are right and were never served: an earlier run ended before its refresh."""
    problems: tuple[str, ...] = ()
    """Why nothing can be written, each with what to do."""
    notes: tuple[str, ...] = ()
    """What an operator should know and nothing is done about."""

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that are refreshed."""
        return tuple(sorted({change.row.zone for change in self.changes} | set(self.unserved)))

    @property
    def lines(self) -> list[str]:
        """The plan, to be printed."""
        width = max((len(change.row.name) for change in self.changes), default=0)
        changes = [f"{c.action} {c.row.kind:<4} {c.row.name:<{width}}  {c.what}" for c in self.changes]
        return changes + [f"{Action.CHANGE} zone {zone}: written earlier and not served yet" for zone in self.unserved]

    @property
    def summary(self) -> str:
        """How much there is to do, in a line."""
        count = {action: sum(change.action is action for change in self.changes) for action in Action}
        if self.problems:
            return "Nothing can be written."
        if not self.zones:
            return "The DNS records are right, and served."
        return (
            f"DNS: {count[Action.CREATE]} to create, {count[Action.CHANGE]} to change, {count[Action.DELETE]} to delete"
            f" in {', '.join(self.zones)}; no other record is touched."
        )

    def as_data(self) -> dict[str, Any]:
        """The plan for programs."""
        return {
            "changes": [change.as_data() for change in self.changes],
            "refresh": list(self.zones),
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
