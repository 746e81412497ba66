"""Looking at the cloud and at the files beside .env, and comparing them with the settings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from openstack.compute.v2.flavor import Flavor
from rich.console import Console

from cloud.api import lease, preflight
from cloud.api.compute import Compute
from cloud.api.make import Maker
from cloud.api.preflight import Needs, OfNoUse, Parts
from cloud.machine import access, records, trust
from cloud.machine.host_keys import on_console
from cloud.machine.private_key import is_locked
from cloud.plan import Action, Plan, difference
from cloud.resources import Actual, FoundServer, Group, GroupRule, KeyPair, Server, Size, Wanted, wanted
from cloud.server_plan import is_ours
from cloud.show import show, step
from cloud.trouble import CloudError, NotYet
from settings import CloudSettings

LOGIN_SECONDS = 20
CHANGED = "The cloud has changed since the plan was shown; above is the new one. Nothing was done: run again."


@dataclass(frozen=True)
class Planned:
    """A plan, and what it was made from."""

    plan: Plan
    have: Actual
    parts: Parts | None = None
    """What a server is made of; None where none is made, or made again."""
    flavor: Flavor | None = None
    """Its size; None where it gets none."""


def wish(settings: CloudSettings) -> Wanted:
    """What the settings ask for; all of it carries the server's name."""
    instance = settings.instance
    name = instance.name
    server = Server(name, instance.flavor, instance.image, instance.network, name, name, instance.environment)
    return wanted(server, instance.ssh_public_key.read_text(errors="replace"))


class Planner:
    """Makes plans for one server."""

    def __init__(self, settings: CloudSettings, cloud: Compute, to: Console) -> None:
        self._settings, self._cloud, self._to = settings, cloud, to
        self.want = wish(settings)

    def plan(self, *, adopt: bool = False, rebuild: bool = False) -> Planned:
        """Look, check what would go wrong, and compare. Raises CloudError where the cloud cannot be asked."""
        with step(self._to, "Looking at what there is"):
            have = self.look(adopt=adopt)
            plan = difference(self.want, have, adopt=adopt, rebuild=rebuild)
            parts, flavor, mistakes = self._found(plan)
            if flavor:
                have = replace(have, size=Size(flavor.vcpus, flavor.ram, flavor.disk))
                plan = difference(self.want, have, adopt=adopt, rebuild=rebuild)
            problems = [*plan.problems, *mistakes]
            if plan.pending:
                problems += self._obstacles()
            if plan.pending and not problems:
                problems += self._lack_of_room(_needs(plan, have))
            plan = replace(plan, problems=tuple(problems))
        return Planned(plan, have, parts, flavor)

    def _found(self, plan: Plan) -> tuple[Parts | None, Flavor | None, tuple[str, ...]]:
        """What a server is made of, its size, and which of the names are of no use, where the plan needs them.

        A flavor or image that is no longer offered matters to a server that gets it, and to no other.
        """
        try:
            if plan.makes_a_server:
                parts = preflight.parts(self._cloud.connection, self.want.server)
                return parts, parts.flavor, ()
            if plan.resizes:
                return None, preflight.flavor_only(self._cloud.connection, self.want.server.flavor), ()
        except OfNoUse as error:
            return None, error.flavor, error.mistakes
        return None, None, ()

    def _obstacles(self) -> Iterator[str]:
        """What would go wrong here on the way, when something is made and billed already."""
        if trouble := records.not_writable(self._settings):
            yield trouble
        key = self._settings.instance.ssh_private_key
        if is_locked(key, self.want.key_pair.public_key):
            yield f"{key} is protected by a passphrase, and no agent holds it. Unlock it first: ssh-add {key}"

    def _lack_of_room(self, needs: Needs) -> list[str]:
        """What the quota has no room for, with what a lease that is over gives back of it."""
        lack = preflight.lack_of_room(self._cloud.connection, needs)
        back = lease.left_over(Maker(self._cloud), self.want.server.name) if lack else 0
        return (
            preflight.lack_of_room(self._cloud.connection, replace(needs, groups=needs.groups - back)) if back else lack
        )

    def again(self, shown: Planned, *, adopt: bool = False, rebuild: bool = False) -> Planned:
        """Compare anew, now that nobody else changes anything. Raises CloudError if the plan is another one."""
        with step(self._to, "Looking again, now that no other apply can begin"):
            have = replace(self.look(adopt=adopt), size=shown.have.size)
            plan = difference(self.want, have, adopt=adopt, rebuild=rebuild)
        if plan != shown.plan or _ids(have) != _ids(shown.have):
            show(plan, self._to)
            raise CloudError(CHANGED)
        return replace(shown, plan=plan, have=have)

    def look(self, *, adopt: bool = False) -> Actual:
        """What there is in the cloud, and beside .env. A server that is not ours, nor to be, is not logged in to."""
        have = self._cloud.actual(self.want, records.known_id(self._settings))
        server = have.server
        if server is None:
            return have
        console, _ = trust.console(self._cloud, server.id) if server.status == "ACTIVE" else ("", "")
        tries = have.key_pair != self.want.key_pair and (adopt or is_ours(self.want.server, server))
        return replace(
            have,
            records=records.compare(self._settings, server, console),
            key_trouble=self._key_trouble(server, console) if tries else "",
        )

    def _key_trouble(self, server: FoundServer, console: str) -> str:
        """Why nobody could log in with the key of the settings.

        One that is off, or whose host keys nobody knows, cannot be asked, and is taken to let us in.
        """
        if not server.ipv4 or server.status != "ACTIVE":
            return ""
        login = access.known_login(self._settings, server)
        keys = on_console(console) or login.host_keys
        if not keys:
            return ""
        try:
            replace(login, host_keys=keys).run("true", LOGIN_SECONDS)
        except NotYet as error:
            if "does not let" not in str(error):
                return (
                    f"Whether {server.name} knows the new SSH_PUBLIC_KEY could not be tried. {error} Run again later."
                )
            return (
                f"The server {server.name} does not know the new SSH_PUBLIC_KEY, and nobody could log in with it. Add"
                f" it with the former key first: ssh-copy-id -f -i NEW.pub -o IdentityFile=FORMER USER@{server.ipv4}"
            )
        return ""


def _ids(have: Actual) -> list[str]:
    """What the plan is about: another server of the same name and size is not the one that was shown."""
    return [*(server.id for server in have.servers), *(group.id for group in have.groups)]


def _needs(plan: Plan, have: Actual) -> Needs:
    """What the plan adds to what is counted against the project's quota; the lease is a security group too."""
    made = [change.resource for change in plan.changes if change.action is Action.CREATE]
    new_server = any(isinstance(resource, Server) for resource in made)
    before = have.server.size if have.server and not new_server else Size(0, 0, 0)
    after = have.size or before
    return Needs(
        servers=int(new_server),
        vcpus=max(0, after.vcpus - before.vcpus),
        memory_mb=max(0, after.memory_mb - before.memory_mb),
        key_pairs=sum(isinstance(resource, KeyPair) for resource in made),
        groups=1 + sum(isinstance(resource, Group) for resource in made),
        rules=sum(isinstance(resource, GroupRule) for resource in made),
        ports=int(new_server),
    )
