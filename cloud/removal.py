"""What `provision.py destroy` takes away, as plain data: everything of ours, and nothing else."""

from collections.abc import Iterable, Iterator

from cloud import server_plan
from cloud.plan import RECORDS, Action, Change, Plan
from cloud.resources import Actual, Address, Port, Record, Wanted


def removal(want: Wanted, have: Actual, addresses: Iterable[Address], ports: Iterable[str] = ()) -> Plan:
    """The changes that leave nothing of ours, in this order, and what is left because it is not ours.

    Names stop leading to the server before its address is given back, so that nobody else gets its visitors.
    """
    changes = [
        *(Change(Action.DELETE, address) for address in addresses),
        *_servers(want, have),
        *(Change(Action.DELETE, Port(port), "goes with its server") for port in ports),
        *_groups(want, have),
        *_key_pair(want, have),
        *(Change(Action.DELETE, Record(name)) for name in RECORDS if name in have.records),
    ]
    return Plan(tuple(changes), tuple(_problems(want, have)))


def _servers(want: Wanted, have: Actual) -> Iterator[Change]:
    for server in have.servers:
        if server_plan.is_ours(want.server, server):
            remark = "everything on its disk is lost" if server.launched else "it never ran"
            yield Change(Action.DELETE, server.existing, remark, server.launched)
        else:
            yield Change(Action.REPORT, server.existing, "not ours")


def _groups(want: Wanted, have: Actual) -> Iterator[Change]:
    for group in have.groups:
        if group.description == want.group.description:
            yield Change(Action.DELETE, group.existing)
        else:
            yield Change(Action.REPORT, group.existing, "not ours")


def _key_pair(want: Wanted, have: Actual) -> Iterator[Change]:
    """A key pair has no metadata: it is ours if it is SSH_PUBLIC_KEY, or a server or group of ours has its name."""
    if have.key_pair is None:
        return
    used = any(server.key_pair == have.key_pair.name for server in server_plan.ours(want.server, have.servers))
    used |= any(group.description == want.group.description for group in have.groups)
    if used or have.key_pair.public_key == want.key_pair.public_key:
        yield Change(Action.DELETE, have.key_pair)
    else:
        yield Change(Action.REPORT, have.key_pair, "it is not SSH_PUBLIC_KEY")


def _problems(want: Wanted, have: Actual) -> Iterator[str]:
    for server in have.servers:
        if not server_plan.is_ours(want.server, server):
            # names, files and keys may be about this one
            yield (
                f"The server {server.name} ({server.id}) is not ours, and nothing is removed while it has this name."
                " Rename it, or, if it is to go, adopt it first: python provision.py adopt"
            )
        elif server.locked:
            yield (
                f"The server {server.name} ({server.id}) is locked, by its owner or an administrator, and Nova removes"
                " it for nobody. Have it unlocked by whoever locked it (Horizon: Instances > Unlock)."
            )
