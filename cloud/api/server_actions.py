"""What is done to a server that is there: started, given another size, made again from its image.

Nova carries all of it out later than it answers, so each action is: ask, unless it was asked already, and wait until
the server is at rest. The same words so serve after a lost answer and after a run that was cut off.
"""

import time
from collections.abc import Callable
from functools import partial

from openstack.compute.v2.flavor import Flavor
from rich.console import Console

from cloud.api.compute import Compute
from cloud.api.explain import explained, happened
from cloud.api.preflight import Parts
from cloud.resources import FoundServer, Server
from cloud.server_plan import AT_WORK, STARTS
from cloud.show import step
from cloud.trouble import CloudError, NoAnswer
from cloud.waiting import until

MINUTES = 15
"""How long Nova may take for any of it; OVH needs one or two."""
SECONDS_TO_BEGIN = 10
"""How long an action whose answer was lost may take to show."""
SECONDS_AFTER_REFUSAL = 60
"""The same where asking again was refused: then it is under way, and a confirmed size shows only at its end."""


class Actions:
    """What is done to one server."""

    def __init__(self, cloud: Compute, server_id: str, to: Console) -> None:
        self._cloud, self._id, self._to = cloud, server_id, to
        self._nova = cloud.connection.compute

    def at_rest(self) -> FoundServer:
        """Wait until Nova does nothing about it. Raises CloudError if it ends in ERROR, or does not end."""

        def resting() -> FoundServer | None:
            server = self._look()
            if server.status == "ERROR" and not server.busy:
                raise CloudError(f"The server {server.name} is in ERROR: {server.fault or 'Nova gives no reason'}.")
            return None if server.busy or server.status in AT_WORK else server

        if found := until(resting, MINUTES * 60):
            return found
        server = self._look()
        raise CloudError(f"The server {server.name} is still {server.status}. Run again to go on waiting.")

    def start(self) -> None:
        """Turn it on."""
        with step(self._to, "Starting the server"):
            if self.at_rest().status == STARTS:
                self._ask("Starting the server", self._start, lambda server: server.busy or server.status != STARTS)
            self.at_rest()

    def rename(self, name: str) -> None:
        """Give it back its name in Nova; its host name stays."""

        def ask() -> None:
            self._nova.update_server(self._id, name=name)

        with step(self._to, f"Naming the server {name}"):
            self._ask("Naming the server", ask, lambda server: server.name == name)

    def adopt(self, metadata: dict[str, str]) -> None:
        """Mark it as ours."""

        def ask() -> None:
            self._nova.set_server_metadata(self._id, **metadata)

        with step(self._to, "Marking the server as ours"):
            self._ask("Marking the server as ours", ask, lambda server: metadata.items() <= server.metadata.items())

    def use_group(self, group_id: str, name: str) -> None:
        """Leave it in one security group, and in no other: that is added before others are taken away."""
        with step(self._to, "Changing its security groups"):
            groups = self._look().groups
            if name not in groups:
                self._ask("Adding its security group", partial(self._add, group_id), lambda now: name in now.groups)
            for other in sorted(groups - {name}):
                self._ask("Taking a security group away", partial(self._remove, other), partial(_is_not_in, other))

    def rebuild(self, want: Server, parts: Parts) -> None:
        """Make it again from an image: a new disk, the same addresses. It runs afterwards."""

        def ask() -> None:
            self._nova.rebuild_server(self._id, image=parts.image.id, key_name=want.key_pair)

        with step(self._to, f"Rebuilding the server from {want.image}"):
            before = self.at_rest()
            self._ask("Rebuilding the server", ask, lambda server: server.busy or server.status != before.status)
            self.at_rest()
            if before.status == STARTS:
                # Nova leaves it as it was, and shows it as ACTIVE for a moment before it turns it off again
                time.sleep(1)
                self.at_rest()
        if before.status == STARTS:
            self.start()

    def resize(self, flavor: Flavor, answers: Callable[[], str]) -> None:
        """Give it another flavor, and keep that only if the machine answers with it.

        `answers` waits for the machine and returns "", or what is wrong with it; its CloudError is trouble with the
        machine, too. Raises CloudError; the server then has its former flavor.
        """
        before = self._look()
        if before.status not in ("VERIFY_RESIZE", *AT_WORK) and before.flavor != flavor.name:
            with step(self._to, f"Resizing the server to {flavor.name}"):
                self._ask(
                    "Resizing the server",
                    lambda: self._nova.resize_server(self._id, flavor.id),
                    lambda server: server.busy or server.status != before.status,
                )
                self.at_rest()
        server = self.at_rest()
        if server.status == "VERIFY_RESIZE":
            self._conclude(server, flavor.name, answers)
        elif server.flavor != flavor.name:
            raise CloudError(
                f"Nova did not resize {server.name}, and gives no reason (often there is no room for {flavor.name}"
                f" where it runs). It is {server.flavor}, as before."
            )

    def _conclude(self, server: FoundServer, flavor: str, answers: Callable[[], str]) -> None:
        trouble = _trouble(answers) if server.flavor == flavor else ""
        if server.flavor == flavor and not trouble:
            with step(self._to, f"Confirming {flavor}"):
                self._ask("Confirming the size", self._confirm, _is_decided)
                self._at_rest_once_decided()
            return
        with step(self._to, f"Taking the size {server.flavor} back"):
            self._ask("Taking the size back", self._revert, _is_decided)
            now = self._at_rest_once_decided()
        if trouble:
            again = _trouble(answers)
            raise CloudError(
                f"With {flavor} the server was not well: {trouble} It is {now.flavor} again, and"
                f" {f'still not well: {again}' if again else 'well.'}"
            )
        if now.flavor != flavor:
            raise CloudError(f"{now.name} is {now.flavor} again, as before. Run again to give it {flavor}.")

    def _at_rest_once_decided(self) -> FoundServer:
        """Wait until Nova has done as it was told about a size: until then the server looks as if nobody had."""
        if not self._begins(_is_decided, MINUTES * 60):
            raise CloudError(
                f"The size of the server ({self._id}) is still to be confirmed. Run again to go on waiting."
            )
        return self.at_rest()

    def _add(self, group_id: str) -> None:
        self._nova.add_security_group_to_server(self._id, group_id)

    def _remove(self, group: str) -> None:
        self._nova.remove_security_group_from_server(self._id, group)

    def _start(self) -> None:
        self._nova.start_server(self._id)

    def _confirm(self) -> None:
        self._nova.confirm_server_resize(self._id)

    def _revert(self) -> None:
        self._nova.revert_server_resize(self._id)

    def _ask(self, doing: str, action: Callable[[], None], begun: Callable[[FoundServer], bool]) -> None:
        """Ask Nova for something. Without an answer, look whether it has begun before asking once more."""
        try:
            with explained(doing):
                action()
        except NoAnswer as error:
            self._cloud.say(f"{happened(error)}; looking for {SECONDS_TO_BEGIN} s whether it has begun all the same")
            if self._begins(begun, SECONDS_TO_BEGIN):
                return
            self._cloud.say(f"{doing}: it has not begun; trying again")
            self._ask_again(doing, action, begun)

    def _ask_again(self, doing: str, action: Callable[[], None], begun: Callable[[FoundServer], bool]) -> None:
        try:
            with explained(doing):
                action()
        except CloudError as error:
            if not self._begins(begun, SECONDS_TO_BEGIN if isinstance(error, NoAnswer) else SECONDS_AFTER_REFUSAL):
                raise

    def _begins(self, begun: Callable[[FoundServer], bool], seconds: float) -> bool:
        return bool(until(lambda: begun(self._look()), seconds))

    def _look(self) -> FoundServer:
        server = self._cloud.server(self._id)
        if server is None:
            raise CloudError(f"The server ({self._id}) is gone: somebody removed it. Run again to make it anew.")
        return server


def _trouble(answers: Callable[[], str]) -> str:
    try:
        return answers()
    except CloudError as error:
        return str(error)


def _is_decided(server: FoundServer) -> bool:
    """Whether a size is no longer to be confirmed or taken back."""
    return server.status != "VERIFY_RESIZE"


def _is_not_in(group: str, server: FoundServer) -> bool:
    return group not in server.groups
