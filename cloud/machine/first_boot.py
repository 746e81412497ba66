"""From "create" to a server that can be worked on: ACTIVE, its host keys known, SSH, the end of its first boot."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from cloud.machine.login import END_OF_FIRST_BOOT, Login
from cloud.resources import FoundServer
from cloud.show import step
from cloud.trouble import CloudError, NotYet, ServerFailed
from cloud.waiting import until

if TYPE_CHECKING:
    from cloud.api.compute import Compute

MINUTES = 15
"""How long a wait may take; a d2-2 at OVH needs one or two for all of them."""
SSH_MINUTES = 5
"""For SSH: when the console shows the host keys, sshd runs and the user's key is in its place."""
SECONDS_BETWEEN = 2

Result = TypeVar("Result")


def wait_active(cloud: "Compute", server_id: str, to: Console) -> FoundServer:
    """Wait until Nova says ACTIVE. Raises CloudError if the server ends in ERROR, or without an IPv4 address."""

    def active() -> FoundServer | None:
        server = cloud.server(server_id)
        if server is None:
            raise CloudError(f"The server {server_id} is gone: somebody removed it. Run again to make it anew.")
        if server.status == "ERROR":
            if server.launched:
                raise CloudError(
                    f"The server {server.name} ({server.id}) is in ERROR: {server.fault or 'Nova gives no reason'}. It"
                    " is billed, and its disk may still be good: a hard reboot in OVH's console can bring it back."
                    " To give it up: python provision.py destroy"
                )
            raise ServerFailed(f"Nova could not make the server: {server.fault or 'it gives no reason'}.", server.id)
        if server.status == "VERIFY_RESIZE":
            raise CloudError(
                f"The server {server.name} was given another size meanwhile, {server.flavor}, which is not confirmed."
                " Run again to have it tried, or taken back."
            )
        if server.status != "ACTIVE" or not server.networks:
            return None  # Nova's list of addresses may come a moment later
        if not server.ipv4:
            raise CloudError(
                f"The server {server.name} has no public IPv4 address in {', '.join(sorted(server.networks))}."
                " Is NETWORK the network with public addresses (Ext-Net at OVH)?"
                " It stays, and is billed; with another NETWORK the next run replaces it."
            )
        return server

    with step(to, "Waiting until the server is ACTIVE"):
        return wait(active, f"The server {server_id} is still not ACTIVE with an address")


def wait_first_boot(login: Login, to: Console) -> None:
    """Log in, which proves that the server has the keys of its console, and wait until it is at rest."""
    with step(to, f"Waiting for SSH at {login.address}"):
        wait(lambda: login.run("true", 30), f"Nobody could log in to {login.address} as {login.user}", SSH_MINUTES)
    with step(to, "Waiting for the end of its first boot"):
        end = time.monotonic() + MINUTES * 60
        status, output = wait(
            lambda: login.run(END_OF_FIRST_BOOT, max(1, end - time.monotonic())),
            f"The first boot of {login.address} does not end",
        )
    if status:
        said = " ".join(output.split())[:200]
        to.print(f"  Its first boot ended with complaints ({said}), which need not matter.")


def wait(ask: Callable[[], Result | None], failing: str, minutes: float = MINUTES) -> Result:
    """Ask until there is an answer. NotYet is none; the last one goes into the CloudError at the end."""
    said = ""

    def answer() -> Result | None:
        nonlocal said
        try:
            return ask()
        except NotYet as error:
            said = f" {error}"
            return None

    if found := until(answer, minutes * 60, SECONDS_BETWEEN):
        return found
    raise CloudError(f"{failing} after {minutes} minutes.{said} Run again to go on waiting.")
