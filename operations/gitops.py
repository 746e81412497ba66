"""The look at the branch every three minutes: a oneshot service, and the timer that starts it."""

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files
from operations.commands import Command

MINUTES = 3


def timer_commands(state: State) -> list[Command]:
    """Start the timer, now and after a boot. The service itself is never started from here: it ends by itself."""
    failing = "The timer does not start: new commits wait. Log in and see `systemctl status koprogo-gitops.timer`."
    return commands.started(state, "koprogo-gitops.timer", failing)


def service() -> str:
    """The unit that does one look."""
    return files.render(
        "koprogo-gitops.service", user=layout.USER, home=layout.HOME, state=layout.STATE, program=layout.PROGRAM,
        log=layout.GITOPS_LOG,
    )  # fmt: skip


@deploy("GitOps")
def gitops(state: State) -> None:
    """Units, then the timer."""
    files.sync(
        name="Service and timer", state=state,
        wanted=[
            files.File(layout.SERVICE, service()),
            files.File(layout.TIMER, files.render("koprogo-gitops.timer", minutes=MINUTES)),
        ],
        check=f"systemd-analyze verify {layout.SERVICE} {layout.TIMER}",
        then="systemctl daemon-reload && systemctl try-restart koprogo-gitops.timer",
    )  # fmt: skip
    commands.run(
        name=f"Look for new commits every {MINUTES} minutes",
        wanted=timer_commands(state), otherwise="the timer runs",
    )  # fmt: skip
