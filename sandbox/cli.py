"""`python -m sandbox`: OVH and the internet on this machine."""

import os
import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sandbox import application, host, lifecycle, world
from sandbox import demo as the_demo
from sandbox.application import images
from sandbox.errors import SandboxError
from sandbox.machine import load
from sandbox.progress import console, say, stop

_NAME = click.argument("name", default="demo")


@click.group()
def main() -> None:
    """OVH and the internet on this machine, to rehearse and test the real thing."""
    host.need_root()


@main.command()
@_NAME
def up(name: str) -> None:
    """Start a sandbox: an OpenStack, DNS, the OVH API, ACME, a registry, Git, mail."""
    made = lifecycle.up(name)
    say(f"The sandbox {name} runs. Use it with ENV_FILE={lifecycle.env_file(made)}")


@main.command()
@_NAME
def down(name: str) -> None:
    """Remove every trace of a sandbox, also of one that was interrupted."""
    say(f"The sandbox {name} is gone." if lifecycle.down(name) else f"There is no sandbox {name}.")


@main.command()
def status() -> None:
    """List the sandboxes and their machines."""
    table = Table("sandbox", "machine", "state", "address", box=None)
    for each in world.worlds():
        for machine, state, address in lifecycle.describe(each):
            table.add_row(each.name, machine, state, address)
    console.print(table if table.rows else "No sandbox.")


@main.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("machine")
@click.argument("command", nargs=-1, required=True)
def execute(name: str, machine: str, command: tuple[str, ...]) -> None:
    """Run a command as root on a machine of a sandbox, e.g. `exec demo internet curl …`."""
    done = load(name, machine).run(list(command), check=False)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)


@main.command()
@click.argument("name")
@click.argument("version", type=click.Choice(images.VERSIONS))
def push(name: str, version: str) -> None:
    """Commit VERSION to the application's repository, as a developer of it would."""
    made = world.find(name)
    if made is None:
        raise SandboxError(f"there is no sandbox {name}; `make demo` makes one")
    commit = application.push(made, version, f"Version {version}")
    say(f"Version {version} is commit {commit[:7]}. GitOps looks every 3 minutes.")


@main.command()
@_NAME
def demo(name: str) -> None:
    """Do the whole main job in a sandbox and leave it running."""
    the_demo.run(name)


def run() -> None:
    """The entry point: problems are a line or two, never a traceback."""
    os.umask(0o022)  # templates are the machines' root folders: an operator's tighter mask would lock their users out
    try:
        main(standalone_mode=False)
    except SandboxError as error:
        Console(stderr=True, highlight=False).print(Text(str(error), "red"), soft_wrap=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        stop()
        console.print("Interrupted. What was made stays for the next run; `make demo-down` removes it.")
        # The threads that build templates would otherwise be waited for.
        os._exit(130)
