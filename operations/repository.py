"""The clone of the application's repository. It belongs to koprogo, and so does every Git command in it."""

from shlex import quote

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
    failing = f"{layout.CHECKOUT} could not be corrected; what runs goes on. See `git status` there as koprogo."
    found = []
    if repository["foreign"]:
        owner = f"{layout.USER}:{layout.USER}"
        found.append(Command(f"chown -R --no-dereference {owner} {layout.CHECKOUT}", failing))
    if (repository["url"], repository["branch"]) != (url, branch):
        found.append(_readable(url, branch))
    if repository["url"] != url:
        change = f"{git} remote set-url origin {quote(url)} 2>/dev/null || {git} remote add origin {quote(url)}"
        found.append(Command(change, failing))
    if repository["branch"] != branch:
        # At the commit where it is: only `koprogo deploy` goes to another one.
        found.append(Command(f"{git} checkout -q -B {quote(branch)}", failing))
    return found


def _readable(url: str, branch: str) -> Command:
    """Look before anything points there: a typo must not cut the server off from new commits."""
    return Command(
        f"{_AS_USER} git ls-remote --exit-code {quote(url)} {quote(f'refs/heads/{branch}')}",
        f"The server cannot read branch {branch} of {url}. Nothing was changed: check REPOSITORY_URL and BRANCH.",
    )


def _clone(repository: Repository, url: str, branch: str) -> Command:
    if repository["exists"]:
        failing = f"{layout.CHECKOUT} is there and is no clone; it was left alone. Move it away, then run again."
        return Command("false", failing)
    partial = f"{layout.HOME}/.koprogo.partial"
    line = (
        f"rm -rf {partial} && {_AS_USER} git clone -q --branch {quote(branch)} {quote(url)} {partial}"
        f" && {{ rmdir {layout.CHECKOUT} 2>/dev/null || true; }} && mv -T {partial} {layout.CHECKOUT}"
    )
    failing = f"The server cannot clone branch {branch} of {url}. Check REPOSITORY_URL and BRANCH, then run again."
    return Command(line, failing)


@deploy("Repository")
def repository(state: State, url: str, branch: str) -> None:
    """Clone or correct."""
    commands.run(
        name=f"Clone of {url}, branch {branch}",
        wanted=clone_commands(state["repository"], url, branch),
        otherwise="the clone is there",
    )
