"""sshd: keys only, and not as root."""

from pyinfra import host
from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files
from operations.commands import Command


def root_login(user: str | None) -> str:
    """PermitRootLogin: no, unless that would lock out who deploys."""
    return "prohibit-password" if user == "root" else "no"


def overruled(state: State, root: str) -> list[str]:
    """What sshd uses otherwise than our file says, because a file that is read earlier says so."""
    wanted = {
        "passwordauthentication": ("no",),
        "kbdinteractiveauthentication": ("no",),
        "permitrootlogin": ("no",) if root == "no" else ("prohibit-password", "without-password"),
    }
    used = state["sshd"]
    return [f"{key} {used[key]}" for key, values in wanted.items() if key in used and used[key] not in values]


@deploy("SSH")
def ssh(state: State) -> None:
    """Our file is checked by sshd before it is used; then see that no other file overrules it."""
    root = root_login(host.data.get("ssh_user"))
    wanted = [files.File(layout.SSHD, files.render("sshd.conf", root=root))]
    written = files.drifted(state, wanted)
    # A file that sshd reads first wins over ours; nothing but a look at what sshd makes of all of them shows it.
    test = "sshd -T | grep -qx 'passwordauthentication no'"
    files.sync(
        name="Keys only, not as root", state=state, wanted=wanted,
        check=f"sshd -t && {test}", then="systemctl reload ssh",
    )  # fmt: skip
    against = [] if written else overruled(state, root)
    failing = (
        f"sshd uses {', '.join(against)}, against {layout.SSHD}: another file is read first."
        " See `grep -r . /etc/ssh/sshd_config /etc/ssh/sshd_config.d`, take that line out, run again."
    )
    commands.run(
        name="No other file overrules it",
        wanted=[Command("false", failing)] if against else [],
        otherwise="sshd uses what our file says",
    )
