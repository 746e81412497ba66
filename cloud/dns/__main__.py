"""`python -m cloud.dns`: let names lead to an address, by OVH's API; for those who want only this part."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import click
from rich.console import Console
from rich.text import Text

import settings as variables
from cloud import command_line
from cloud.asking import confirmed
from cloud.dns import served
from cloud.dns.plan import Plan
from cloud.dns.record import Wanted, wanted
from cloud.dns.work import Zones
from cloud.machine import inventory_file
from cloud.plan import Action
from cloud.show import STYLES, console, spinner
from cloud.trouble import CloudError
from configuration.checks import domain
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


def _as(kind: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback of click that holds a value, or each of several, to be of a kind."""

    def check(_: click.Context, __: click.Parameter, value: Any) -> Any:
        try:
            return tuple(str(kind(each)) for each in value) if isinstance(value, tuple) else value and str(kind(value))
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return check


WISH = (
    click.argument("names", nargs=-1, callback=_as(domain)),
    click.option("--ipv4", default="", callback=_as(IPv4Address), help="Address of the A records."),
    click.option("--ipv6", default="", callback=_as(IPv6Address), help="Address of AAAA records."),
    click.option("--issuer", callback=_as(domain), help="CA for a CAA record; CAA_ISSUER of .env, or else none."),
)
TTL = click.option("--ttl", type=click.IntRange(min=60), help="Seconds; DNS_TTL of .env, or else 300.")
REPLACE = click.option("--replace", is_flag=True, help="Other addresses of these names may go.")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


def takes(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the arguments that say what is wanted, and these options."""

    def give(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed((*WISH, *options)):
            command = option(command)
        return command

    return give


@click.group()
def main() -> None:
    """Let names lead to an address, by OVH's API.

    NAMES and --ipv4 say which and where. Without NAMES, those of .env are meant, at the address in inventory.json.
    The OVH_* variables come from the environment or .env.
    """


@main.command(help="Show what would be written. Exit status: 0 nothing, 2 changes, 1 something is wrong.")
@takes(TTL, REPLACE, JSON)
def plan(**options: Any) -> None:
    """`plan`."""
    command_line.run(lambda: partial(_plan_command, **options))


@main.command(help="Show what would be written, ask, write it, and wait until it is served.")
@takes(TTL, REPLACE, click.option("--yes", is_flag=True, help="Do not ask."))
def apply(**options: Any) -> None:
    """`apply`."""
    command_line.run(lambda: partial(_apply_command, **options))


@main.command(help="Ask the zones' own name servers; needs no account. Exit status: 0 as wanted, 2 not.")
@takes()
def check(**options: Any) -> None:
    """`check`."""
    command_line.run(lambda: partial(_check_command, **options))


def _plan_command(*, replace: bool, as_json: bool, **given: Any) -> int:
    to, wish = console(to_errors=as_json), _wish(**given)
    found = _plan(_zones(wish, to), wish, to, replace=replace)
    if as_json:
        print(json.dumps(found.as_data(), indent=2, ensure_ascii=False))
    else:
        _show(found, to)
    _stop_for(found)
    return CHANGES_PENDING if found.zones else 0


def _apply_command(*, replace: bool, yes: bool, **given: Any) -> int:
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


def _check_command(**given: Any) -> int:
    to, wish = console(), _wish(**given, keys=False)
    with spinner(to, "Asking the name servers"):
        answers = list(served.answers(wish.want, wish.resolvers))
    for answer in answers:
        to.print(Text(answer.line, "" if answer.right else "red"))
    return 0 if all(answer.right for answer in answers) else DIFFERENT


def _wish(  # noqa: PLR0913 - the arguments of a command
    names: tuple[str, ...], ipv4: str, ipv6: str, issuer: str | None, *, ttl: int | None = None, keys: bool = True
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


if __name__ == "__main__":
    command_line.start(main)
