"""Bring a whole sandbox up, and tell an operator how to use it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from sandbox import application, cache, host, internet, openstack, operator_folder, world
from sandbox.machine import machines
from sandbox.progress import step
from sandbox.world import World


def _together(*tasks: Callable[[], object]) -> None:
    """Run tasks side by side and raise the first error once all have ended."""
    pool = ThreadPoolExecutor(len(tasks))
    futures = [pool.submit(task) for task in tasks]
    wait(futures)  # an interruption ends the waiting, not the tasks: the command line then ends the process
    for future in futures:
        future.result()


def _build_internet() -> None:
    application.build(internet.layers())


def up(name: str) -> World:
    """Return the sandbox `name`, running; what runs already is left alone. Raises SandboxError."""
    world.check_name(name)
    host.prepare(name)
    with cache.locked(world.RUN / f"{name}.lock", f"another run is bringing up the sandbox {name}; waiting for it"):
        _together(openstack.build, _build_internet)
        made = world.create(name)

        def start_internet() -> None:
            with step("internet: DNS, OVH API, ACME, registry, Git, mail"):
                layers = internet.layers()
                internet.start(made, [application.build(layers)])

        def start_openstack() -> None:
            with step("cloud: Keystone, Nova, Neutron, Glance, Placement"):
                openstack.start(made)

        _together(start_internet, start_openstack)
        operator_folder.write(made)
    return made


def down(name: str) -> bool:
    """Remove every trace of the sandbox; returns whether there was any."""
    with step(f"removing the sandbox {name}"):
        cache.sweep()
        return world.destroy(name)


def describe(made: World) -> list[tuple[str, str, str]]:
    """The machines of a sandbox: name, state, IPv4 address."""
    return [(m.name, "running" if m.alive else "off", m.ipv4) for m in machines(made)]


def env_file(made: World) -> Path:
    """The `.env` with which provision.py and deploy.py use this sandbox."""
    return operator_folder.folder(made) / ".env"
