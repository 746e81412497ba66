"""The application's Git repository: how it is made, and how a new version gets into it."""

import os
import shutil
from pathlib import Path

from sandbox import templates
from sandbox.machine import load
from sandbox.world import World

BARE = Path("/srv/git/gilmry/koprogo.git")
"""Where it lies in the internet machine. It belongs to www-data, the user that a web server serves it as."""

_AUTHOR = {
    "GIT_AUTHOR_NAME": "KoproGo",
    "GIT_AUTHOR_EMAIL": "koprogo@git.sandbox.test",
    "GIT_COMMITTER_NAME": "KoproGo",
    "GIT_COMMITTER_EMAIL": "koprogo@git.sandbox.test",
    # The operator's own settings (signing, hooks, another first branch) have no say here.
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
_ONCE = "2026-01-01T00:00:00Z"  # the first commit is the same one wherever it is made

# $1 is the version, $2 the message. A real clone and a real push, so that what a push sets off happens.
_PUSH = f"""
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
git clone --quiet {BARE} "$work"
cd "$work"
printf '%s\\n' "$1" > VERSION
git commit --quiet --all --allow-empty --message="$2"
git push --quiet origin HEAD:main >&2
git rev-parse HEAD
"""


def make(source: Path, bare: Path, hook: Path) -> str:
    """Make the bare repository `bare` with the files of `source` as the first commit on main; returns its id.

    `hook` is what runs after each push (githooks(5), post-receive).
    """
    dates = {"GIT_AUTHOR_DATE": _ONCE, "GIT_COMMITTER_DATE": _ONCE}
    environment = {**os.environ, **_AUTHOR, **dates}
    there = [f"--git-dir={bare}", f"--work-tree={source}"]
    caches = ":(exclude,glob)**/*cache*/**"  # what Python and its checkers leave in folders
    for command in (
        ["init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(bare)],
        [*there, "add", "--all", "--", ".", caches],
        [*there, "commit", "--quiet", "--message=Start with version 1"],
    ):
        templates.run_quiet(["git", *command], env=environment, cwd=source)
    (bare / "index").unlink()  # a bare repository has none
    (bare / "hooks").mkdir()
    shutil.copy(hook, bare / "hooks/post-receive")
    return (bare / "refs/heads/main").read_text().strip()


def push(world: World, version: str, message: str) -> str:
    """Commit `version` (one of images.VERSIONS) to main on the sandbox's Git server; returns the commit's id.

    By its return the images of the commit are published. Raises SandboxError.
    """
    author = [f"{name}={value}" for name, value in _AUTHOR.items()]
    command = ["runuser", "-u", "www-data", "--", "env", *author, "sh", "-e", "-c", _PUSH, "push"]
    return load(world.name, "internet").run([*command, version, message]).stdout.strip()
