"""The DNS records of the public names. The work is done from here, by OVH's API; the server is not touched."""

from collections.abc import Generator, Sequence

from pyinfra import host, state
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.api.exceptions import OperationError

from cloud.dns.plan import Plan
from cloud.dns.record import wanted
from cloud.dns.work import Zones
from cloud.trouble import CloudError
from operations import commands
from settings import SettingsError, load

_shown: dict[str, list[str]] = {}
"""Host → the lines of the plan that was printed for it, and that its run has to stay with."""


@operation()
def records(names: Sequence[str], ipv4: str, ipv6: str | None = None) -> Generator[FunctionCommand, None, None]:
    """Let every name lead to the server: an A record and, with `ipv6`, an AAAA record; nothing else is touched.

    The difference is printed while the plan is made, without --diff too. Applied is what was printed; a zone that
    changed in between is left alone.
    """
    try:
        settings = load()
        if not settings.ovh.configure_dns:
            host.noop("CONFIGURE_DNS_AUTO is false: the DNS records are kept by hand")
            return
        zones = Zones.of(settings.ovh, settings.site.dns_resolvers, commands.say)
        plan = zones.plan(wanted(names, ipv4, ipv6, settings.ovh.caa_issuer), settings.ovh.ttl)
        if plan.problems:
            raise CloudError("\n".join(plan.problems))
    except (CloudError, SettingsError) as error:
        if not state.is_executing:
            raise OperationError(f"DNS: {error}") from None
        yield FunctionCommand(_refuse, (str(error),), {})
        return
    if host.name not in _shown:  # a run with --yes makes no plan before it executes
        _show(plan)
    if not plan.zones:
        host.noop("the DNS records are right and served")
        return
    if _shown[host.name] != plan.lines:
        yield FunctionCommand(_refuse, ("The zone changed since the plan was made; run again to see the new one.",), {})
        return
    yield FunctionCommand(_apply, (zones, plan), {})


def _show(plan: Plan) -> None:
    _shown[host.name] = plan.lines
    for line in (*plan.lines, *(f"! {note}" for note in plan.notes), *([plan.summary] if plan.zones else [])):
        commands.say(line)


# With these first two parameters pyinfra heeds what the function returns.
def _apply(state: State, host: Host, zones: Zones, plan: Plan) -> bool:
    try:
        zones.apply(plan)
    except CloudError as error:
        return _refuse(state, host, str(error))
    return True


def _refuse(state: State, host: Host, why: str) -> bool:
    commands.say(f"DNS: {why}")
    return False
