"""`provision.py credentials`: the least rights at OVH, a key that has exactly them, and whether one has them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import dns.exception

import settings as variables
from cloud.dns import served
from cloud.dns.record import zone_of
from cloud.ovh import how_to, new_key, rights
from cloud.ovh.check import Report, check
from cloud.ovh.client import Client
from cloud.ovh.errors import Refused
from cloud.ovh.work import KEY, Work, keys_of
from cloud.show import console
from cloud.trouble import CloudError
from configuration.checks import domain
from settings import KeySettings

AGAIN = "python provision.py credentials"


def credentials(*, zones: Sequence[str], only_check: bool, new: bool, oauth2: bool) -> int:
    """Show the rights; then check the key, make one, or say how."""
    settings, to = variables.load_keys(), console()
    have, names = settings.ovh, settings.site.names
    found, source = _zones(settings, names, zones)
    work = Work(settings, found, rights.rules(found), to)
    to.print(f"{', '.join(names)}: zone{'' if len(found) == 1 else 's'} {', '.join(found)}, {source}.")
    to.print("The least rights:")
    for rule in work.rules:
        to.print(f"  {rule.method:<6} {rule.path}")
    to.print()
    if only_check:
        return _check(work)
    if oauth2 or have.client_id:
        how_to.make_a_service_account(work)
    elif not have.application_key:
        how_to.make_all_keys(work)
    elif have.consumer_key and not new and _has_all(work):
        to.print(f"{KEY} has all of them. To make another nevertheless: {AGAIN} --new")
    else:
        new_key.make(work)
    return 0


def _zones(settings: KeySettings, names: Iterable[str], given: Sequence[str]) -> tuple[list[str], str]:
    """The zones that hold the names, and who says so. Raises CloudError if nobody does."""
    if given:
        return _right(given), "as the command line has it"
    if settings.ovh.consumer_key or settings.ovh.client_id:
        try:
            there = Client(keys_of(settings)).names("/domain/zone")
        except Refused:
            pass  # what is wrong with that key is found out later; of the zone, others know
        else:
            return _homes(names, there), "as the OVH account has it"
    return sorted({_served(name, settings.site.dns_resolvers) for name in names}), "as the DNS has it"


def _right(zones: Iterable[str]) -> list[str]:
    """Zones in OVH's spelling: rights for another one would be none. Raises CloudError with every mistake."""
    found, mistakes = list[str](), list[str]()
    for zone in zones:
        try:
            found.append(domain(zone))
        except ValueError as error:
            mistakes.append(f"--zone ({zone}): {error}")
    if mistakes:
        raise CloudError("\n".join(mistakes))
    return list(dict.fromkeys(found))


def _homes(names: Iterable[str], zones: Sequence[str]) -> list[str]:
    homes = {name: zone_of(name, zones) for name in names}
    if lost := [name for name, zone in homes.items() if not zone]:
        raise CloudError(
            f"No zone of this OVH account holds {' or '.join(lost)}. It has: {', '.join(zones) or 'none'}."
            " Is the domain at OVH, and are the keys those of its account?"
        )
    return sorted({zone for zone in homes.values() if zone})


def _served(name: str, resolvers: Sequence[str]) -> str:
    try:
        zone = served.zone(name, resolvers)
    except dns.exception.DNSException:
        zone = ""
    if "." not in zone:  # nobody serves it yet, and what is above is not the customer's
        raise CloudError(f"Nobody tells which zone holds {name}. Say it yourself, as in: --zone {name}")
    return zone


def _has_all(work: Work) -> bool:
    """Whether there is no need for another key; what is wrong with this one is said."""
    try:
        report = check(Client(work.keys, work.say), work.rules)
    except Refused as error:
        work.to.print(f"{error}")
        return False
    for line in report.lines(datetime.now(UTC)):
        work.to.print(line)
    return not report.missing


def _check(work: Work) -> int:
    have = work.settings.ovh
    if not have.client_id and not (have.application_key and have.consumer_key):
        raise CloudError(f"There is no key to check: {KEY} is not set. To make one: {AGAIN}")
    report = check(Client(work.keys, work.say), work.rules)
    for line in report.lines(datetime.now(UTC)):
        work.to.print(line)
    work.to.print(_sum(report, len(work.rules)))
    return 1 if report.missing else 0


def _sum(report: Report, needed: int) -> str:
    if report.missing:
        return f"{len(report.missing)} of {needed} rights are missing. To ask for all: {AGAIN}"
    if report.unknown:
        return f"None of the rights that can be tried is missing; {len(report.unknown)} of {needed} are not tried."
    end = f", until {report.ends:%Y-%m-%d %H:%M} UTC" if report.ends else ", without end"
    return f"All {needed} rights are there{end}."
