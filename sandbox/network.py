"""The network of a sandbox: one bridge on the host, translated on its way out; nothing of it outlives `remove`."""

import ipaddress
import os
import subprocess
from pathlib import Path

from sandbox.errors import SandboxError

RANGE = ipaddress.ip_network(os.environ.get("KOPROGO_SANDBOX_NETWORK", "10.77.0.0/16"))
"""A private range of IPv4 addresses, of which each sandbox takes a /24."""

SIX = "fd77:77:77"

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_FORWARD_WAS = Path("/run/koprogo-sandbox/ip_forward.was")


def ip(*arguments: str, check: bool = True) -> str:
    """Run `ip` and return what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SandboxError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def bridge_name(index: int) -> str:
    """The bridge of the sandbox with this index."""
    return f"kpg{index}"


def subnet(index: int) -> ipaddress.IPv4Network:
    """The /24 of the sandbox with this index."""
    first = int(RANGE.network_address) + (index << 8)
    return ipaddress.IPv4Network((first, 24))


def in_use(index: int) -> str | None:
    """Say what on this host already uses the addresses of this index, or None if they are free."""
    wanted = subnet(index)
    for line in ip("-4", "route", "show", "table", "all").splitlines():
        first = line.split()[1] if line.split()[0] in {"local", "broadcast", "unreachable"} else line.split()[0]
        if first == "default":
            continue
        if ipaddress.ip_network(first, strict=False).overlaps(wanted):
            return f"a route on this host: {line.strip()}"
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and ":" not in words[1] and ipaddress.ip_address(words[1]) in wanted:
            return f"the resolver {words[1]}"
    return None


def _rules(index: int) -> list[list[str]]:
    """The iptables rules of a sandbox, as arguments after -A/-D."""
    network, bridge = str(subnet(index)), bridge_name(index)
    comment = ["-m", "comment", "--comment", f"koprogo-sandbox {index}"]
    return [
        ["nat", "POSTROUTING", "-s", network, "!", "-d", network, *comment, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", bridge, *comment, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", bridge, *comment, "-j", "ACCEPT"],
    ]


def _iptables(action: str, rule: list[str]) -> bool:
    table, chain, *rest = rule
    command = ["iptables", "-w", "-t", table, action, chain, *rest]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def create(index: int) -> None:
    """Make the bridge with its gateway addresses and the way out; making it again changes nothing."""
    bridge = bridge_name(index)
    if not Path(f"/sys/class/net/{bridge}").exists():
        ip("link", "add", bridge, "type", "bridge")
    # A bridge takes the lowest address of its ports unless told otherwise: machines would lose their gateway's.
    ip("link", "set", bridge, "address", f"02:77:00:00:{index:02x}:01")
    ip("addr", "replace", f"{subnet(index)[1]}/24", "dev", bridge)
    ip("-6", "addr", "replace", f"{SIX}:{index}::1/64", "dev", bridge, "nodad")
    ip("link", "set", bridge, "up")
    if not _FORWARD_WAS.exists():
        _FORWARD_WAS.parent.mkdir(parents=True, exist_ok=True)
        _FORWARD_WAS.write_text(_FORWARD.read_text())
    _FORWARD.write_text("1")
    for rule in _rules(index):
        if not _iptables("-C", rule) and not _iptables("-A", rule):
            raise SandboxError(f"iptables refuses the rule: {' '.join(rule)}")


def remove(index: int, *, last: bool) -> None:
    """Remove bridge and rules; with the last sandbox the host's forwarding goes back to what it was."""
    for rule in _rules(index):
        while _iptables("-D", rule):
            pass
    # What openstack/firewall.py put in force; there may be none.
    subprocess.run(["nft", "delete", "table", "inet", bridge_name(index)], capture_output=True, check=False)
    if Path(f"/sys/class/net/{bridge_name(index)}").exists():
        ip("link", "del", bridge_name(index), check=False)
    if last and _FORWARD_WAS.exists():
        _FORWARD.write_text(_FORWARD_WAS.read_text())
        _FORWARD_WAS.unlink()
