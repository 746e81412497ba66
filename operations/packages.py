"""Packages of the distribution: the lists, what is needed, what has to be upgraded, and security by itself later."""

from collections.abc import Iterable, Sequence

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands, files
from operations.commands import Command

BASE = (
    "ca-certificates", "cron", "curl", "fail2ban", "git", "htop", "iptables", "logrotate", "ncdu", "python3",
    "python3-systemd", "tzdata", "ufw", "unattended-upgrades", "zstd",
)  # fmt: skip
"""python3-systemd is how fail2ban reads the journal, iptables how it bans; zstd packs the backups."""

_APT = "DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -y"
_KEEP = "-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"

# apt waits for dpkg's lock and not for the one of the lists, which apt-daily holds on a first boot.
REFRESH = Command(
    "for try in $(seq 100); do said=$(apt-get -q update 2>&1) && exit 0;"
    " case $said in *'Could not get lock'*) sleep 3 ;; *) break ;; esac; done; echo \"$said\"; false",
    "No package lists could be fetched, nothing was installed. Check the server's network and /etc/apt; run again.",
)


def refresh(state: State) -> list[Command]:
    """Fetch the lists where they are older than a week, or were never fetched."""
    return [] if state["apt"]["fresh"] else [REFRESH]


def install(names: Iterable[str]) -> Command:
    """One transaction of apt. Recommended packages are left out: the disk is small, and so is what may break."""
    listed = " ".join(names)
    command = f"{_APT} {_KEEP} --no-install-recommends install {listed}"
    # Lists of a few days ago may name versions that the mirror has replaced.
    return Command(
        f"{command} || {{ apt-get -q update && {command}; }}",
        f"apt could not install {listed}. What ran before still runs; run again once apt works on the server.",
    )


def missing(state: State, wanted: Sequence[str]) -> list[str]:
    """Those that are not installed, in order of name."""
    return sorted(set(wanted) - set(state["packages"]))


def upgrade(state: State) -> list[Command]:
    """Upgrade if something is pending. With stale lists nobody knows, so it is planned."""
    if state["apt"]["fresh"] and not state["apt"]["pending"]:
        return []
    return [
        Command(
            f"{_APT} {_KEEP} --with-new-pkgs upgrade",
            "apt could not upgrade the packages. Log in and run `sudo apt-get upgrade` to see why, then run again.",
        )
    ]


@deploy("Packages")
def lists(state: State) -> None:
    """How apt behaves, and what it knows: comes before everything that calls it."""
    wanted = [
        files.File(layout.APT, files.render("apt.conf")),
        files.File(layout.UNATTENDED, files.render("apt-unattended.conf")),
    ]
    files.sync(
        name="apt waits for its lock; security upgrades come by themselves",
        state=state, wanted=wanted, check="apt-config dump",
    )  # fmt: skip
    commands.run(name="Fetch the package lists", wanted=refresh(state), otherwise="the package lists are of this week")


@deploy("Packages")
def packages(state: State, others: Sequence[str]) -> None:
    """Upgrade what is pending, then bring in the base packages and `others`."""
    absent = missing(state, [*BASE, *others])
    pending = len(state["apt"]["pending"])
    commands.run(
        name=f"Upgrade packages{f' ({pending} pending)' if pending else ''}",
        wanted=upgrade(state), otherwise="no upgrade is pending",
    )  # fmt: skip
    commands.run(
        name=f"Install {' '.join(absent) or 'packages'}",
        wanted=[install(absent)] if absent else [],
        otherwise="all packages are installed",
    )
