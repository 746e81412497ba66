"""The edge to Git: the clone that the application runs from."""

from __future__ import annotations

import re
import shutil
from enum import Enum
from pathlib import Path

from koprogo.config import Config
from koprogo.problem import Problem, one_line
from koprogo.runner import Result, Runner

LOOK_TIMEOUT = 60
FETCH_TIMEOUT = 600
LOCAL_TIMEOUT = 120
TIDY_TIMEOUT = 600
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes", "LC_ALL": "C"}
OPTIONS = (
    # A server that stops sending is an error after 30 s, not a check that never ends.
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
    # Housekeeping in the background would inherit the deploy lock and hold it.
    *("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"),
    *("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"),
    # What a deploy goes by has to outlive a power cut; before Git 2.36 only the objects can be had on the disk.
    *("-c", "core.fsync=committed,reference", "-c", "core.fsyncObjectFiles=true"),
)

LOCKS = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")
HOUSEKEEPING = ("packed-refs.new", "gc.pid.lock", "logs/HEAD.lock", "objects/info/commit-graph.lock")
"""What stops no deploy, and every `git gc`."""
REMAINS = ("pack/tmp_*", "pack/.tmp-*", "??/tmp_obj_*")


class Kind(str, Enum):
    """What a path is in a commit; by the first digits of its mode, of which the others are permissions."""

    FOLDER = "040"
    FILE = "100"
    LINK = "120"
    SUBMODULE = "160"

    @property
    def label(self) -> str:
        """What people call it."""
        return {"040": "folder", "100": "file", "120": "symbolic link", "160": "submodule"}[self.value]


class Repository:
    """The clone at `config.checkout`. Every method raises Problem when git fails."""

    def __init__(self, config: Config, runner: Runner) -> None:
        self._config = config
        self._runner = runner
        self._ref = f"refs/remotes/origin/{config.branch}"

    def remote_head(self) -> str:
        """Return the commit that the branch has on the server: the one network call of an idle check."""
        ref = f"refs/heads/{self._config.branch}"
        result = self._git("ls-remote", self._config.repository, ref, timeout=LOOK_TIMEOUT)
        if not result.ok:
            raise Problem(f"Git server: {reason(result)}. The running version goes on; the next check tries again.")
        # Git lists whatever ends like this, refs/heads/old/refs/heads/main too.
        lines = (line.partition("\t") for line in result.out.splitlines())
        found = next((sha for sha, _, name in lines if name == ref), "")
        if SHA.fullmatch(found) is None:
            raise Problem(f"The repository has no branch {self._config.branch}. The running version goes on.")
        return found

    def fetch(self) -> str:
        """Bring the branch's commits here and return its newest; the work tree is not touched."""
        spec = f"+refs/heads/{self._config.branch}:{self._ref}"
        options = ("--quiet", "--no-tags", "--no-auto-maintenance", "--no-recurse-submodules", "--no-write-fetch-head")
        self._clear()
        result = self._git("fetch", *options, self._config.repository, spec, timeout=FETCH_TIMEOUT)
        if not result.ok:
            self._clear()
            raise Problem(f"git fetch: {reason(result)}. The running version goes on; the next check tries again.")
        if "shallow roots are not allowed" in result.err:
            # Git counts that as success, and leaves the branch where it was.
            raise Problem(
                f"git fetch: {self._config.repository} is a shallow clone, which lacks what comes before its commits. "
                f"The running version goes on."
            )
        return self._out("rev-parse", "--verify", f"{self._ref}^{{commit}}")

    def tidy(self) -> None:
        """Let Git pack what has come together, when it is much. No part of a deploy: a failure is no matter."""
        self._git("gc", "--auto", "--quiet", timeout=TIDY_TIMEOUT)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether going from `old` to `new` only adds commits."""
        result = self._git("merge-base", "--is-ancestor", old, new)
        if result.code not in (0, 1):
            raise Problem(f"git merge-base: {reason(result)}.")
        return result.ok

    def between(self, old: str | None, new: str) -> list[tuple[str, str]]:
        """Return the commits that `new` has and `old` has not, newest first: each with its first line."""
        lines = self._out("log", "--format=%H %s", f"{old}..{new}" if old else new, "--").splitlines()
        return [(sha, one_line(subject, 80)) for sha, _, subject in (line.partition(" ") for line in lines)]

    def differing(self, old: str, new: str, folder: str) -> list[str]:
        """Return the files below a folder that differ between two commits."""
        out = self._out("diff", "--name-only", "-z", old, new, "--", folder)
        return [name for name in out.split("\0") if name]

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message, fit for a log."""
        return one_line(self._out("show", "--no-patch", "--format=%s", commit), 80)

    def committed_at(self, commit: str) -> float:
        """Return when the commit was made, in seconds since 1970 by its committer's clock."""
        return float(self._out("show", "--no-patch", "--format=%ct", commit))

    def kind(self, commit: str, path: str) -> Kind | None:
        """Return what `path` is in `commit`; None where it is not part of it."""
        mode = self._out("ls-tree", commit, "--", path)[:3]
        return Kind(mode) if mode else None

    def content(self, commit: str, path: str) -> str:
        """Return a name for what a file or a folder is in `commit`; "" where it is not part of it.

        Links to something else in the commit are followed.
        """
        command = ("cat-file", "--batch-check=%(objectname)", "--follow-symlinks")
        answer = self._out(*command, text=f"{commit}:{path}\n").partition("\n")[0]
        if SHA.fullmatch(answer) is None:
            return ""
        mode = self._out("ls-tree", commit, "--", path)[:6] if path else ""
        return f"{mode} {answer}"

    def local_changes(self) -> list[str]:
        """Return the tracked files that somebody changed in the work tree."""
        out = self._out("status", "--porcelain", "--untracked-files=no")
        return [line[2:].strip() for line in out.splitlines()]

    def export(self, commit: str, target: Path) -> None:
        """Lay out the files of `commit` in `target`, which is emptied first; the work tree is not touched."""
        shutil.rmtree(target, ignore_errors=True)
        try:
            target.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise Problem(f"{target}: {error.strerror}.") from None
        # By the one name that no commit can have.
        index = {"GIT_INDEX_FILE": str(target / ".git")}
        self._out("read-tree", commit, env=index)
        self._out("checkout-index", "--all", f"--prefix={target}/", env=index)

    def check_out(self, commit: str) -> None:
        """Put the work tree at `commit`, on the branch, over whatever an interrupted check-out left."""
        self._clear()
        self._out("checkout", "--quiet", "--force", "-B", self._config.branch, commit)

    def _clear(self) -> None:
        """Remove what a git that was killed left: its locks, which stop every later one, and parts of packs.

        No other is at work: whoever writes here holds the deploy lock, and so does each git that it started.
        """
        metadata = self._config.checkout / ".git"
        branches = (f"refs/heads/{self._config.branch}.lock", f"{self._ref}.lock")
        logs = [f"logs/{name}" for name in branches]
        left = [metadata / name for name in (*LOCKS, *HOUSEKEEPING, *branches, *logs)]
        for pattern in REMAINS:
            left += (metadata / "objects").glob(pattern)
        for path in left:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise Problem(f"{path}: {error.strerror}.") from None

    def _out(self, *arguments: str, env: dict[str, str] | None = None, text: str | None = None) -> str:
        result = self._git(*arguments, env=env, text=text)
        if not result.ok:
            raise Problem(f"git {arguments[0]} in {self._config.checkout}: {reason(result)}.")
        return result.out.strip()

    def _git(
        self,
        *arguments: str,
        timeout: float = LOCAL_TIMEOUT,
        env: dict[str, str] | None = None,
        text: str | None = None,
    ) -> Result:
        checkout = self._config.checkout
        if not (checkout / ".git").exists():
            raise Problem(f"{checkout} is not a clone. Run deploy.py again from the operator's machine.")
        result = self._runner.run(
            ["git", *OPTIONS, "-C", str(checkout), *arguments],
            timeout=timeout,
            env={**ENVIRONMENT, **(env or {})},
            text=text,
        )
        if result.code is None:
            return Result(None, "", f"`git {arguments[0]}` did not end within {timeout:.0f} s")
        return result


def reason(result: Result) -> str:
    """Return what git complained about, on one line: its `fatal:` or `error:` line when there is one."""
    lines = [line.strip() for line in result.err.splitlines() if line.strip() and not line.startswith("warning:")]
    marked = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return one_line((marked or lines or [f"exit code {result.code}"])[0]).rstrip(".")
