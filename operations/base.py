"""The machine itself: swap, time zone, the user that runs the application."""

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands
from operations.commands import Command


def swap_commands(state: State, wanted_mb: int) -> list[Command]:
    """Make, resize or remove /swapfile. Swap that somebody else set up is left alone."""
    swap = state["swap"]
    if state["system"]["container"] != "none":
        return []
    if swap["file_mb"] == wanted_mb and (not wanted_mb or (swap["active"] and swap["at_boot"])):
        return []
    off = "{ swapoff /swapfile 2>/dev/null || true; }; rm -f /swapfile; sed -i '\\#^/swapfile[[:space:]]#d' /etc/fstab"
    # dd and not fallocate: swapon refuses files with holes, which fallocate makes on some file systems.
    on = (
        f"dd if=/dev/zero of=/swapfile bs=1M count={wanted_mb} status=none && chmod 600 /swapfile"
        " && mkswap -q /swapfile && swapon /swapfile && echo '/swapfile none swap sw 0 0' >> /etc/fstab"
    )
    line = f"umask 077; {off}; {on}" if wanted_mb else off
    failing = f"/swapfile of {wanted_mb} MB could not be made. Is the disk full (`df -h /`)? SWAP_MB=0 goes without."
    return [Command(line, failing)]


def _no_swap(state: State, wanted_mb: int) -> str:
    kind = state["system"]["container"]
    if kind != "none":
        return f"this is a container ({kind}), which shares the swap of its host"
    return f"swap of {wanted_mb} MB is on" if wanted_mb else "no swap is wanted"


def timezone_commands(state: State, wanted: str) -> list[Command]:
    """Set the time zone; cron has to be told."""
    if state["system"]["timezone"] == wanted:
        return []
    zone = f"/usr/share/zoneinfo/{wanted}"
    link = f"ln -sfn {zone} /etc/localtime && echo {wanted} > /etc/timezone"
    line = f"test -e {zone} && {link} && systemctl try-restart cron"
    return [Command(line, f"{wanted} is no time zone that this server knows. Correct TIMEZONE and run again.")]


def user_commands(state: State) -> list[Command]:
    """The user koprogo: no password, in the group docker (which amounts to root on this server)."""
    account = state["account"]
    failing = "The user koprogo could not be set up. Log in and see `getent passwd koprogo`, then run again."
    group = "{ getent group docker >/dev/null || groupadd --system docker; }"
    if account is None:
        create = f"useradd --create-home --home-dir {layout.HOME} --shell /bin/bash --groups docker {layout.USER}"
        return [Command(f"{group} && {create} && chmod 750 {layout.HOME}", failing)]
    found = []
    if "docker" not in account["groups"]:
        found.append(Command(f"{group} && usermod --append --groups docker {layout.USER}", failing))
    if account["shell"] != "/bin/bash":
        found.append(Command(f"usermod --shell /bin/bash {layout.USER}", failing))
    return found


@deploy("Base")
def base(state: State, swap_mb: int, timezone: str) -> None:
    """Swap, time zone, user."""
    commands.run(name=f"Swap of {swap_mb} MB", wanted=swap_commands(state, swap_mb), otherwise=_no_swap(state, swap_mb))
    commands.run(
        name=f"Time zone {timezone}", wanted=timezone_commands(state, timezone), otherwise="the time zone is right"
    )
    commands.run(name="User koprogo, in group docker", wanted=user_commands(state), otherwise="the user is there")
