"""The program koprogo on the server: its files, its configuration, what it writes to; and its first deploy."""

import json
from pathlib import Path
from typing import Any

from pyinfra import host as current
from pyinfra.api import FunctionCommand, Host, StringCommand, deploy, operation
from pyinfra.api import State as Run

from facts import layout
from facts.server import State
from operations import commands, files
from operations.commands import Command

SOURCE = Path(__file__).parent.parent / "files" / "koprogo"


def package() -> list[files.File]:
    """The Python package, file by file."""
    paths = sorted(path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [files.File(str(layout.LIBRARY / path.relative_to(SOURCE).as_posix()), path.read_text()) for path in paths]


def strays(state: State, wanted: list[files.File]) -> list[str]:
    """Files of the package that an earlier version had."""
    return sorted(set(state["trees"][str(layout.LIBRARY)]) - {file.path for file in wanted})


def tmpfiles() -> str:
    """Its folders and logs, in the form of tmpfiles.d."""
    return files.render("tmpfiles.conf", user=layout.USER, state=layout.STATE, backups=layout.BACKUPS, logs=layout.LOGS)


def out_of_place(state: State) -> list[str]:
    """Its folders and logs that are missing, or whose owner or mode are not what tmpfiles.d says."""
    found = []
    for line in tmpfiles().splitlines():
        if line.startswith("#"):
            continue
        _, path, mode, owner, group, _ = line.split()
        entry = state["metadata"][path]
        if entry is None or (int(entry["mode"], 8), entry["owner"], entry["group"]) != (int(mode, 8), owner, group):
            found.append(path)
    return found


@deploy("Program")
def program(state: State, configuration: dict[str, Any], authority: Path | None, signers: Path | None) -> None:
    """Files first, then what they need.

    `authority`: PEM that the public names are verified with, if not the usual. `signers`: who may sign commits.
    """
    code = package()
    library = layout.LIBRARY.parent
    launcher = files.File(str(layout.PROGRAM), files.render("launcher.sh", library=library), mode="755")
    files.sync(
        name="koprogo, in /usr/local", state=state, wanted=[*code, launcher], absent=strays(state, code),
        then=f"python3 -m compileall -q {library}",
    )  # fmt: skip
    given = {layout.AUTHORITY: authority, layout.SIGNERS: signers}
    settings = [files.File(path, source.read_text()) for path, source in given.items() if source]
    files.sync(
        name="Its configuration", state=state,
        # Last, for it names the others.
        wanted=[*settings, files.File(str(layout.CONFIG), json.dumps(configuration, indent=2) + "\n")],
        absent=[path for path, source in given.items() if not source],
    )  # fmt: skip
    files.sync(
        name="Its folders and logs, rotated", state=state,
        wanted=[
            files.File(layout.TMPFILES, tmpfiles()),
            files.File(layout.LOGROTATE, files.render("logrotate.conf", user=layout.USER, logs=layout.LOGS)),
        ],
        check=f"logrotate --debug {layout.LOGROTATE}",
    )  # fmt: skip
    wrong = out_of_place(state)
    commands.run(
        name="Their owners and modes",
        wanted=[
            Command(
                f"systemd-tmpfiles --create {layout.TMPFILES}",
                "Its folders could not be made. Log in and see `df -h`, `ls -ld /var/lib /var/log`, then run again.",
            )
        ] if wrong else [],
        otherwise="folders and logs are there",
    )  # fmt: skip


def needs_deploy(said: dict[str, Any] | None, changes: bool) -> bool:
    """Whether `koprogo deploy` has to run: nothing runs, what runs is not healthy, or was started with other settings.

    `said` is what `koprogo status --json` says. New commits are left to the timer, and a commit in quarantine to the
    next push: neither is a change to make here.
    """
    if said is None or changes:
        return True
    # A key that an earlier version of the program did not know counts as trouble: one deploy more does no harm.
    return not (said.get("running_commit") and said.get("settings_applied") and said.get("healthy"))


def _deploy(state: Run, host: Host) -> bool:
    """Run it and show what it says as it says it: images may take minutes to arrive."""
    done, _ = host.run_shell_command(StringCommand(f"{layout.PROGRAM} deploy"), print_output=True, _sudo=True)
    if not done:
        host.log(
            f"The deploy failed; its last lines above say why, and what runs. Later: sudo tail {layout.GITOPS_LOG}"
        )
    return done


@operation()
def _bring_up(needed: bool) -> Any:
    if not needed:
        current.noop("the application runs, with the settings as they are now")
        return
    yield FunctionCommand(_deploy, (), {})


@deploy("Application")
def application(needed: bool) -> None:
    """Run `koprogo deploy` where it is needed."""
    _bring_up(name="koprogo deploy", needed=needed)
