"""The server that is measured: one of the sandbox, in a world of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import koprogo_server
import small_world
from koprogo_server import Server

from sandbox import world as worlds
from sandbox.errors import SandboxError
from sandbox.progress import step


@contextmanager
def running(name: str, *, keep: bool) -> Iterator[Server]:
    """A server in the sandbox `name`, with the application's first version running; afterwards, unless kept, no trace.

    Raises SandboxError where the sandbox is at fault.
    """
    try:
        with small_world.with_internet(name, keep=True) as world:
            server = koprogo_server.make(world)
            with step("the first deploy"):
                done = server.koprogo("deploy")
            if done.returncode:
                raise SandboxError(f"the first deploy failed: {done.stderr.strip()}")
            yield server
    finally:
        if not keep:
            worlds.destroy(name)
