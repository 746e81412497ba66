"""The commands of `python -m cloud.dns`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

import settings as variables
from cloud.asking import confirmed
from cloud.dns import served
from cloud.dns.plan import Plan
from cloud.dns.record import Wanted, wanted
from cloud.dns.work import Zones
from cloud.machine import inventory_file
from cloud.plan import Action
from cloud.show import STYLES, console, spinner
from cloud.trouble import CloudError
from configuration.sections import Ovh

CHANGES_PENDING = DIFFERENT = 2


@dataclass(frozen=True)
class Wish:
    """What the names are to lead to."""

    ovh: Ovh
    want: Wanted
    ttl: int
    """Seconds."""
    resolvers: Sequence[str]


def plan(*, replace: bool, as_json: bool, **given: Any) -> int:
    """Show what would be written."""
    to, wish = console(to_errors=as_json), _wish(**given)
    found = _plan(_zones(wish, to), wish, to, replace=replace)
    if as_json:
        print(json.dumps(found.as_data(), indent=2, ensure_ascii=False))
    else:
        _show(found, to)
    _stop_for(found)
    return CHANGES_PENDING if found.zones else 0


def apply(*, replace: bool, yes: bool, **given: Any) -> int:
    """Show what would be written, ask, write it, and wait until it is served."""
    to, wish = console(), _wish(**given)
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
    to, wish = console(), _wish(**given, keys=False)
    with spinner(to, "Asking the name servers"):
        answers = list(served.answers(wish.want, wish.resolvers))
    for answer in answers:
        to.print(Text(answer.line, "" if answer.right else "red"))
    return 0 if all(answer.right for answer in answers) else DIFFERENT


def _wish(  # noqa: PLR0913 - the arguments of a command
    names: tuple[str, ...], ipv4: str, ipv6: str, ttl: int | None, issuer: str | None, *, keys: bool = True
) -> Wish:
    """What is wanted, from the command line or else .env and inventory.json. Raises SettingsError, CloudError."""
    if names and not ipv4:
        raise CloudError("Names need an address: --ipv4 192.0.2.1, and --ipv6 where there is one.")
    if names:
        ovh, resolvers = variables.load_dns(keys=keys)
    elif ipv4 or ipv6:
        raise CloudError("An address needs names: www.example.org --ipv4 192.0.2.1")
    else:
        project = variables.load()
        site, resolvers, ovh = project.site, project.site.dns_resolvers, project.ovh
        names, (ipv4, ipv6) = site.names, _server(project)
    allowed = ovh.caa_issuer if issuer is None else issuer
    return Wish(ovh, wanted(names, ipv4, ipv6 or None, allowed), ttl or ovh.ttl, resolvers)


def _server(project: variables.Settings) -> tuple[str, str]:
    """The addresses of the project's server; "" for none. Raises CloudError."""
    try:
        entries = inventory_file.read(project.inventory_file)
    except inventory_file.InventoryError as error:
        raise CloudError(f"{error}. Or say which names and where: www.example.org --ipv4 192.0.2.1") from None
    for entry in entries:
        if entry.name == project.instance.name:
            return str(entry.ipv4), str(entry.ipv6 or "")
    raise CloudError(f"{project.inventory_file}: has no server {project.instance.name}; python provision.py makes it.")


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
