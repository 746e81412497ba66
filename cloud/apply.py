"""Applying a plan, change by change, under the lease; and then from ACTIVE to a server that can be worked on."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from rich.console import Console

from cloud.api.compute import Compute
from cloud.api.lease import Lease
from cloud.api.make import Maker
from cloud.api.server_actions import Actions
from cloud.machine import access, first_boot, records, trust
from cloud.machine.login import Login
from cloud.plan import Action, Change
from cloud.planning import Planned
from cloud.resources import (
    Aspect,
    Existing,
    FoundServer,
    Group,
    GroupRule,
    KeyPair,
    Resource,
    Server,
    Wanted,
)
from cloud.show import describe, step
from cloud.trouble import CloudError
from settings import Settings

Part = TypeVar("Part")


@dataclass
class Apply:
    """One apply: what it works on, and what it has found out on its way."""

    settings: Settings
    cloud: Compute
    lease: Lease
    want: Wanted
    planned: Planned
    to: Console
    ask: trust.Ask
    well: Callable[[], None]
    """Called once a server is well with another size, before that is confirmed."""

    def __post_init__(self) -> None:
        """Begin with what is known of the server and its group."""
        have = self.planned.have
        self._server_id = have.server.id if have.server else ""
        self._group_id = have.group.id if have.group else ""
        self._rebuilt = have.server is not None and have.server.status == "REBUILD"
        self._mark = uuid.uuid4().hex[:12]
        self._made = False
        created = [change.resource for change in self.planned.plan.pending if change.action is Action.CREATE]
        self._rules = [resource.rule for resource in created if isinstance(resource, GroupRule)]
        self._known = frozenset(server.id for server in have.servers)

    def run(self) -> Login:
        """Do what the plan says, wait until the server is at rest, and note it beside .env."""
        maker = Maker(self.cloud)
        for change in self.planned.plan.pending:
            # files are written in the end, once what they are about is known
            self._do(change, maker)
        return self._finish()

    def _do(self, change: Change, maker: Maker) -> None:
        self.lease.keep()
        match change.action:
            case Action.CREATE:
                self._create(change.resource, maker)
            case Action.DELETE:
                self._delete(change.resource, maker)
            case _:
                self._change(change, maker)

    def _create(self, resource: Resource, maker: Maker) -> None:
        match resource:
            case KeyPair():
                with step(self.to, f"Making {_name(resource)}"):
                    maker.make_key_pair(resource)
            case Group():
                with step(self.to, f"Making {_name(resource)}"):
                    self._group_id = maker.make_group(resource.name, resource.description)
            case GroupRule():
                self._make_rules(maker)
            case Server():
                self._make(resource, maker)

    def _make_rules(self, maker: Maker) -> None:
        """All of the plan's by one call, at the first of them."""
        rules, self._rules = self._rules, []
        if rules:
            with step(self.to, f"Making {len(rules)} rule{'s' if len(rules) > 1 else ''}"):
                maker.make_rules(self._group_id, rules)

    def _delete(self, resource: Resource, maker: Maker) -> None:
        match resource:
            case GroupRule():
                with step(self.to, f"Removing rule {describe(resource)[2]}"):
                    maker.delete_rules(self._group_id, [resource.rule])
            case Existing():
                with step(self.to, f"Removing {_name(resource)}"):
                    remove = maker.delete_server if resource.kind == "server" else maker.delete_group
                    remove(resource.id)

    def _change(self, change: Change, maker: Maker) -> None:
        match change.resource:
            case KeyPair() as pair:
                with step(self.to, f"Replacing {_name(pair)}"):
                    maker.delete_key_pair(pair.name)
                    maker.make_key_pair(pair)
            case Group() as group:
                with step(self.to, "Marking the security group as ours"):
                    maker.describe_group(self._group_id, group.description)
            case Server() as server:
                self._replace(server, maker, keeps_address=change.keeps_address)
            case Aspect() as aspect:
                self._change_server(aspect)

    def _make(self, server: Server, maker: Maker) -> None:
        self.lease.keep()
        parts = _found_before(self.planned.parts)
        with step(self.to, f"Making {_name(server)}"):
            self._server_id = maker.make_server(server, parts, self._group_id, self._mark, self._known)
        self._made = True

    def _replace(self, server: Server, maker: Maker, *, keeps_address: bool) -> None:
        if keeps_address:
            records.doubt_keys(self.settings, self._found())
            Actions(self.cloud, self._server_id, self.to).rebuild(server, _found_before(self.planned.parts))
            self._rebuilt = True
            return
        with step(self.to, f"Removing {_name(server)}"):
            maker.delete_server(self._server_id)
        self._make(server, maker)

    def _change_server(self, aspect: Aspect) -> None:
        actions = Actions(self.cloud, self._server_id, self.to)
        match aspect.what:
            case "name":
                actions.rename(aspect.new)
            case "metadata":
                actions.adopt(self.want.server.metadata)
            case "status":
                actions.start()
            case "flavor":
                actions.resize(_found_before(self.planned.flavor), self._checked())
            case "security groups":
                actions.use_group(self._group_id, self.want.group.name)

    def _checked(self) -> Callable[[], str]:
        """What waits for the machine after a restart, and returns what is wrong with it or ""."""
        server = self._found()
        login = access.known_login(self.settings, server)
        if not login.host_keys:
            login = replace(login, host_keys=trust.HostKeys(self.cloud, server, ()).wait(self.to, self.ask))
        # of one that has the new size already nobody knows how it was before: it has to be well
        before = server.status == "VERIFY_RESIZE" or access.healthy(login)

        def answers() -> str:
            trouble = access.answers_again(login, before, self.to)
            if not trouble and self._found().flavor == self.want.server.flavor:
                self.well()
            return trouble

        return answers

    def _finish(self) -> Login:
        self.lease.keep()
        server = first_boot.wait_active(self.cloud, self._server_id, self.to)
        if self._made:
            kept = Maker(self.cloud).the_only_one(self.want.server, self._mark, self._known)
            if kept != server.id:
                server = first_boot.wait_active(self.cloud, kept, self.to)
        here = records.entry(self.settings, server)
        former, doubted = records.former_keys(self.settings, here), records.doubted_keys(self.settings, here)
        again = trust.Again.MADE if self._rebuilt else trust.Again.PERHAPS if doubted else trust.Again.NO
        keys = trust.HostKeys(self.cloud, server, former or doubted, again).wait(self.to, self.ask)
        login = Login(server.ipv4, here.user, self.settings.instance.ssh_private_key, keys)
        self.lease.keep()
        first_boot.wait_first_boot(login, self.to)
        records.write(self.settings, here, keys)
        return login

    def _found(self) -> FoundServer:
        """The server that this apply works on, as it is now."""
        server = self.cloud.server(self._server_id)
        if server is None:
            raise CloudError(f"The server {self.want.server.name} is gone: somebody removed it. Run again.")
        return server


def _found_before(what: Part | None) -> Part:
    """What a plan that makes or changes a server has looked up."""
    assert what is not None  # noqa: S101 - for the types
    return what


def _name(resource: Resource) -> str:
    return " ".join(describe(resource)[:2])
