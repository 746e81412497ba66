"""Starting other programs and waiting for them, never longer than they are allowed to take.

Only pg_dumpall is started elsewhere, by dump.py: what it prints is read as it comes, however long that takes.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from koprogo.problem import Problem


@dataclass(frozen=True)
class Result:
    """What a program answered; `code` is None when it did not end within its time and was killed."""

    code: int | None
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it ended with 0."""
        return self.code == 0


@dataclass
class Runner:
    """Runs programs in process groups of their own.

    `held` are file descriptors that children inherit: a lock that is among them stays locked until the last child
    has ended, even when this process was killed with SIGKILL while `docker compose` goes on.
    """

    held: list[int] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> Result:
        """Run `argv` for at most `timeout` seconds with `env` added to the environment and `text` to read.

        Raises Problem when the program is not there; a failure of the program itself is in the result.
        """
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                pass_fds=tuple(self.held),
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise Problem(f"Cannot start {argv[0]}: {error.strerror}.") from None
        if isinstance(child.stdin, io.TextIOWrapper):
            # What a dump has that is no UTF-8 goes back as it came.
            child.stdin.reconfigure(errors="surrogateescape")
        try:
            out, err = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            end_group(child)
            return Result(None, "", f"no answer from `{' '.join(argv[:3])}` within {timeout:.0f} s")
        except BaseException:
            end_group(child)
            raise
        return Result(child.returncode, out, err)


def end_group(child: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Kill a child with everything that it started, also what outlived it and holds its pipes, and collect it."""
    if child.returncode is None:
        # Collected only below, so the number still is that of this child's group, though it may have ended.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
