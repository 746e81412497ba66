"""The clone of the application's repository. It belongs to koprogo, and so does every Git command in it."""

import shlex

from pyinfra.api import deploy

from facts import layout
from facts.server import Repository, State
from operations import commands
from operations.commands import Command

_AS_USER = f"runuser -u {layout.USER} -- env HOME={layout.HOME} GIT_TERMINAL_PROMPT=0"


def clone_commands(repository: Repository, url: str, branch: str) -> list[Command]:
    """Clone once; later only what points elsewhere is corrected, and nothing is thrown away."""
    if not repository["clone"]:
        return [_clone(repository, url, branch)]
    git = f"{_AS_USER} git -C {layout.CHECKOUT}"
    failing = f"{layout.CHECKOUT} could not be corrected; what runs goes on running. See `git status` there as koprogo."
    found = []
    if repository["foreign"]:
        found.append(f"chown -R --no-dereference {layout.USER}:{layout.USER} {layout.CHECKOUT}")
    if repository["url"] != url:
        found.append(f"{git} remote set-url origin {shlex.quote(url)} 2>/dev/null || {git} remote add origin {shlex.quote(url)}")
    if repository["branch"] != branch:
        # At the commit where it is: only `koprogo deploy` goes to another one.
        found.append(f"{git} checkout -q -B {shlex.quote(branch)}")
    return [Command(line, failing) for line in found]


def _clone(repository: Repository, url: str, branch: str) -> Command:
    if repository["exists"]:
        return Command(
            "false",
            f"{layout.CHECKOUT} is there and is no clone. Nothing in it was touched: move it away on the server, run again.",
        )
    partial = f"{layout.HOME}/.koprogo.partial"
    line = (
        f"rm -rf {partial} && {_AS_USER} git clone -q --branch {shlex.quote(branch)} {shlex.quote(url)} {partial}"
        f" && {{ rmdir {layout.CHECKOUT} 2>/dev/null || true; }} && mv -T {partial} {layout.CHECKOUT}"
    )
    failing = f"{url} (branch {branch}) could not be cloned. Check REPOSITORY_URL and BRANCH, and that the server reaches it."
    return Command(line, failing)


@deploy("Repository")
def repository(state: State, url: str, branch: str) -> None:
    """Clone or correct."""
    commands.run(
        name=f"Clone of {url}, branch {branch}",
        wanted=clone_commands(state["repository"], url, branch),
        otherwise="the clone is there",
    )
