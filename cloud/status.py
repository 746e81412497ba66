"""`provision.py status`: the server as it is, whether it answers, and what it has cost this month."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cloud.api.compute import Compute
from cloud.cost.catalogue import NoPrice, cost_so_far
from cloud.cost.estimate import Estimate, estimate
from cloud.machine import access, records
from cloud.resources import FoundServer, Wanted
from cloud.server_plan import is_ours
from cloud.trouble import CloudError
from settings import CloudSettings

SECONDS = 15
"""For an answer by SSH."""


@dataclass(frozen=True)
class Status:
    """What is known of a server."""

    server: FoundServer
    ours: bool
    others: tuple[FoundServer, ...]
    """More of this name."""
    age: timedelta
    trouble: str
    """Why nobody can log in; "" if one can."""
    pinned: int
    """How many SSH host keys are pinned for it."""
    estimate: Estimate
    cost: str
    """Since the first of this month, in euros without VAT, as if its size had been that of today all the time; "" if
    the price is not known."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """For the eye: what, and how it is."""
        server = self.server
        yield "server", f"{server.name} ({server.id}){'' if self.ours else ', not ours'}"
        yield "state", f"{server.status}{f': {server.fault}' if server.fault else ''}"
        yield "size", f"{server.flavor}: {server.size}"
        yield "image", server.image or "no longer in the catalogue, or a volume"
        yield "addresses", ", ".join(filter(None, (server.ipv4, server.ipv6))) or "none"
        yield "age", f"{_age(self.age)}, made {server.created}"
        yield "cost", self._cost
        yield "SSH", self.trouble or "answers, and lets us in"
        yield "host keys", f"{self.pinned} pinned" if self.pinned else "none pinned: run provision.py apply"
        for other in self.others:
            yield (
                "one more",
                f"{other.name} ({other.id}), {other.flavor}, {other.status}, billed too: provision.py plan",
            )

    @property
    def _cost(self) -> str:
        if isinstance(self.estimate.price, NoPrice):
            return f"not known; {self.estimate.price.why}"
        return f"about {self.cost} € this month so far, at today's size and price, without VAT"

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        server = self.server
        return {
            "name": server.name,
            "id": server.id,
            "ours": self.ours,
            "state": server.status,
            "image": server.image,
            "ipv4": server.ipv4 or None,
            "ipv6": server.ipv6 or None,
            "created": server.created,
            "age_seconds": int(self.age.total_seconds()),
            "cost_this_month": self.cost or None,
            "answers": not self.trouble,
            "trouble": self.trouble or None,
            "host_keys_pinned": self.pinned,
            "more_of_this_name": [other.id for other in self.others],
            **self.estimate.as_data(),
        }


def status(settings: CloudSettings, cloud: Compute, want: Wanted) -> Status | None:
    """The server as it is now; None if there is none."""
    servers = cloud.servers_of(want.server, records.known_id(settings))
    if not servers:
        return None
    server = servers[0]
    now = datetime.now(UTC)
    created = datetime.fromisoformat(server.created)
    known = estimate(settings, server.flavor, server.size)
    pinned, trouble = _reached(settings, server)
    return Status(
        server=server,
        ours=is_ours(want.server, server),
        others=servers[1:],
        age=now - created,
        trouble=trouble,
        pinned=pinned,
        estimate=known,
        cost="" if isinstance(known.price, NoPrice) else f"{cost_so_far(known.price, created, now):.2f}",
    )


def _reached(settings: CloudSettings, server: FoundServer) -> tuple[int, str]:
    """How many host keys are pinned, and why nobody can log in, or ""."""
    if not server.ipv4:
        return 0, "it has no public IPv4 address"
    login = access.known_login(settings, server)
    if not login.host_keys:
        return 0, "not tried, since no host key is pinned"
    try:
        login.run("true", SECONDS)
    except CloudError as error:
        return len(login.host_keys), str(error)
    return len(login.host_keys), ""


def _age(age: timedelta) -> str:
    hours, seconds = divmod(int(age.total_seconds()) % 86400, 3600)
    return f"{age.days} d {hours} h" if age.days else f"{hours} h {seconds // 60} min"
