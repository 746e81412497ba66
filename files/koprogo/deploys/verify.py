"""Whether everything that a commit brings was signed by somebody who may.

The verdict is Git's and ssh-keygen's, and only root can change it: the list of signers is a file of root's, and Git
looks at the commits from a folder made for it, so that settings, replaced objects, grafts and a cut-off history of the
clone have no say. Not only the newest commit counts: a signed merge can bring unsigned ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from koprogo.deploys.git import ENVIRONMENT, reason
from koprogo.deploys.work import Work
from koprogo.docker import prune
from koprogo.problem import Problem, one_line
from koprogo.runner import Runner

TIMEOUT = 1200
"""Seconds. Git starts ssh-keygen twice for a signature, one after the other: 10,000 of them take some minutes."""

OWNER = 0
"""Whose the list of signers has to be: root's."""

BASES = 50
"""Of how many versions that ran here the commits are not looked at again: they were let in before, as on a way back."""

GOOD = "G"
MEANINGS = {
    "N": "no signature that counts here",
    "U": "a signature by a key that is not allowed",
    "B": "a signature that does not fit it",
}
"""What Git's letters mean (git-log(1), `%G?`) where they are not good; SSH keys bring about no others."""

APART = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "0",
    "GIT_CONFIG_PARAMETERS": "",
}


@dataclass(frozen=True)
class Signature:
    """What Git says of one commit."""

    commit: str
    letter: str
    subject: str


def signatures(work: Work, commit: str) -> int:
    """Raise Problem unless all that `commit` adds to what ran here was signed, where the operator wants that.

    While nothing ran, the newest commit alone is looked at: who signed it vouches for all before it. Returns how many
    commits were looked at.
    """
    signers, deployed = work.config.allowed_signers, work.state.deployed
    ran = [version.commit for version in prune.last(work)[:BASES]]
    if signers is None or commit in ran:
        return 0
    require_roots(signers)
    base = deployed.commit if deployed else None
    # One that a version brought with it adds nothing to that; where the branch goes back to it, it alone says who may.
    found = read(work, signers, commit, ran) or read(work, signers, commit, [])
    if commit not in (signature.commit for signature in found):
        raise Problem(f"The signature of {commit[:7]} cannot be found. What runs goes on running.")
    wrong = [signature for signature in found if signature.letter != GOOD]
    if wrong:
        raise work.refuse(commit, refusal(wrong, base))
    return len(found)


def require_roots(signers: Path) -> None:
    """Raise Problem unless the list of signers is there, and root alone can write it."""
    try:
        facts = signers.stat()
        signers.read_bytes()
    except OSError as error:
        raise Problem(
            f"{signers}: {error.strerror}: nobody can tell who may sign. What runs goes on running. "
            f"Run deploy.py again from the operator's machine."
        ) from None
    if facts.st_uid != OWNER or facts.st_mode & 0o022:
        raise Problem(
            f"{signers} can be written by others than root: it says nothing. What runs goes on running. "
            f"Run deploy.py again from the operator's machine."
        )


def read(work: Work, signers: Path, commit: str, bases: Sequence[str]) -> list[Signature]:
    """Return what Git says of every commit that `commit` has and no one of `bases`, newest first; without, of it alone.

    Raises Problem when Git cannot tell.
    """
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        raise Problem("Signatures cannot be checked without ssh-keygen. Install openssh-client on the server.")
    settings = {
        "gpg.ssh.program": keygen,
        "gpg.ssh.allowedSignersFile": signers,
        # Their keys are the user's, not root's.
        "gpg.openpgp.program": "/bin/false",
        "gpg.x509.program": "/bin/false",
        # A file that says who the parents of a commit are, which is believed without a look at the commit.
        "core.commitGraph": "false",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    # Versions of a history that was rewritten since may be gone.
    which = ["--ignore-missing", commit, *(f"^{base}" for base in bases)] if bases else ["--max-count=1", commit]
    with _apart(work.runner, work.config.state_dir / "verify", commit) as environment:
        command = ["git", *options, "log", "-z", "--format=%H %G? %s", *which, "--"]
        objects = {"GIT_OBJECT_DIRECTORY": str(work.config.checkout / ".git" / "objects")}
        result = work.runner.run(command, timeout=TIMEOUT, env={**environment, **objects})
    if not result.ok:
        raise Problem(
            f"The signatures of {commit[:7]} cannot be checked: {reason(result)}. What runs goes on running; "
            f"the next check tries again."
        )
    return [Signature(*entry.split(" ", 2)) for entry in result.out.split("\0") if entry]


def refusal(wrong: list[Signature], base: str | None) -> str:
    """Say which commit is the first that may not run, why, and what mends it."""
    first = wrong[-1]
    others = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
    follows = f"what follows {base[:7]}" if base else "it"
    return (
        f"commit {first.commit} ({one_line(first.subject, 60)}) has {MEANINGS.get(first.letter, 'a bad signature')}"
        f"{others}; sign {follows} and push that"
    )


@contextmanager
def _apart(runner: Runner, folder: Path, commit: str) -> Iterator[dict[str, str]]:
    """An empty repository, and the environment that makes Git use nothing but it."""
    shutil.rmtree(folder, ignore_errors=True)
    # Git puts each signature into a file: after a kill they go with the folder.
    environment = {**ENVIRONMENT, **APART, "GIT_DIR": str(folder), "TMPDIR": str(folder)}
    digits = {40: "sha1", 64: "sha256"}
    try:
        folder.mkdir(mode=0o700)
        command = ["git", "init", "--quiet", "--bare", "--template=", f"--object-format={digits[len(commit)]}"]
        made = runner.run(command, env=environment)
        if not made.ok:
            raise Problem(f"{folder}: {reason(made)}.")
        yield environment
    except OSError as error:
        raise Problem(f"{folder}: {error.strerror}.") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
