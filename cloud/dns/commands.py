"""The commands of `python -m cloud.dns`."""

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from cloud.asking import confirmed
from cloud.dns import served
from cloud.dns.plan import Plan
from cloud.dns.wish import Wish, wish_of
from cloud.dns.work import Zones
from cloud.plan import Action
from cloud.show import STYLES, console, spinner
from cloud.trouble import CloudError

CHANGES_PENDING = DIFFERENT = 2


def plan(*, replace: bool, as_json: bool, **given: Any) -> int:
    """Show what would be written."""
    to, wish = console(to_errors=as_json), wish_of(**given)
    found = _plan(_zones(wish, to), wish, to, replace=replace)
    if as_json:
        print(json.dumps(found.as_data(), indent=2, ensure_ascii=False))
    else:
        _show(found, to)
    _stop_for(found)
    return CHANGES_PENDING if found.zones else 0


def apply(*, replace: bool, yes: bool, **given: Any) -> int:
    """Show what would be written, ask, write it, and wait until it is served."""
    to, wish = console(), wish_of(**given)
    zones = _zones(wish, to)
    found = _plan(zones, wish, to, replace=replace)
    _show(found, to)
    _stop_for(found)
    if not found.zones:
        return 0
    if not yes:
        if not confirmed("Do this?"):
            raise CloudError("Nothing was done.")
        shown, found = found, _plan(zones, wish, to, replace=replace)
        if found.lines != shown.lines:
            raise CloudError("Nothing was done: the zone has changed since. Run again to see the new plan.")
    with spinner(to, "Writing, and waiting until it is served"):
        zones.apply(found)
    to.print("Written and served.")
    return 0


def check(**given: Any) -> int:
    """Ask the zones' own name servers."""
    to, wish = console(), wish_of(**given, keys=False)
    with spinner(to, "Asking the name servers"):
        answers = list(served.answers(wish.want, wish.resolvers))
    for answer in answers:
        to.print(Text(answer.line, "" if answer.right else "red"))
    return 0 if all(answer.right for answer in answers) else DIFFERENT


def _zones(wish: Wish, to: Console) -> Zones:
    return Zones.of(wish.ovh, wish.resolvers, lambda text: to.print(f"  {text}"))


def _plan(zones: Zones, wish: Wish, to: Console, *, replace: bool) -> Plan:
    with spinner(to, "Looking at the zones"):
        return zones.plan(wish.want, wish.ttl, replace_foreign=replace)


def _show(found: Plan, to: Console) -> None:
    for line in found.lines:
        to.print(Text(line, STYLES[Action(line.split(" ", 1)[0])]))
    for note in found.notes:
        to.print(Text(f"! {note}", STYLES[Action.REPORT]))
    to.print(Text(found.summary, "bold"))


def _stop_for(found: Plan) -> None:
    if found.problems:
        raise CloudError("\n".join(found.problems))
