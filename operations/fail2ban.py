"""fail2ban: five failed logins within ten minutes, and SSH is closed to that address for ten minutes."""

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files
from operations.commands import Command

_RESTART = (
    "systemctl restart fail2ban && for try in $(seq 75); do"
    " fail2ban-client status sshd >/dev/null 2>&1 && exit 0; sleep 0.2; done;"
    " journalctl -u fail2ban -n 5 --no-pager; false"
)


def service_commands(state: State) -> list[Command]:
    """Start it, now and after a boot, if it does not guard SSH."""
    unit = state["units"]["fail2ban.service"]
    if "sshd" in state["jails"] and unit["enabled"] == "enabled":
        return []
    failing = "fail2ban does not guard SSH; all else works. Log in and see `journalctl -u fail2ban`, then run again."
    return [Command(f"systemctl enable -q fail2ban && {_RESTART}", failing)]


@deploy("fail2ban")
def fail2ban(state: State) -> None:
    """The jail, and the service."""
    files.sync(
        name="Jail sshd: 5 failures, 10 minutes, on the journal", state=state,
        wanted=[files.File(layout.JAIL, files.render("fail2ban.local"))], check="fail2ban-client -t", then=_RESTART,
    )  # fmt: skip
    commands.run(
        name="fail2ban guards SSH, also after a boot",
        wanted=service_commands(state), otherwise="the jail sshd is on",
    )  # fmt: skip
