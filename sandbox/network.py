"""The network of a sandbox: one bridge on the host, translated on its way out; nothing of it outlives `remove`."""

import ipaddress
import os
import subprocess
from pathlib import Path

from sandbox import resolver
from sandbox.errors import SandboxError

RANGE = "10.77.0.0/16"
"""The private range of IPv4 addresses of which each new sandbox takes a /24, unless KOPROGO_SANDBOX_NETWORK is set."""

EXAMPLE = "KOPROGO_SANDBOX_NETWORK=10.78.0.0/16"
MOST = 32
"""Sandboxes on one host."""

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


def chosen_range() -> str:
    """The range for a new sandbox. Raises SandboxError for a value that is none."""
    value = os.environ.get("KOPROGO_SANDBOX_NETWORK") or RANGE
    try:
        found = ipaddress.IPv4Network(value)
    except ValueError:
        found = None
    if found is None or not found.is_private or found.num_addresses < MOST << 8:
        raise SandboxError(f"KOPROGO_SANDBOX_NETWORK is {value}: put a private IPv4 range of a /19 or more, {EXAMPLE}")
    return value


def subnet(within: str, index: int) -> ipaddress.IPv4Network:
    """The /24 with this number in a range."""
    first = int(ipaddress.IPv4Network(within).network_address) + (index << 8)
    return ipaddress.IPv4Network((first, 24))


def in_use(wanted: ipaddress.IPv4Network) -> str | None:
    """Say what on this host already uses some of these addresses, or None if they are free."""
    for line in ip("-4", "route", "show", "table", "all").splitlines():
        # A route to a network begins with it, or with its type: local, blackhole, unreachable and others.
        first = next((word for word in line.split()[:2] if word == "default" or word[0].isdigit()), "default")
        if first != "default" and ipaddress.ip_network(first, strict=False).overlaps(wanted):
            return f"a route on this host: {line.strip()}"
    for server in resolver.name_servers(resolver.FILES[0]):
        if server in wanted:
            return f"the resolver {server}"
    return None


def _rules(index: int, subnet: ipaddress.IPv4Network) -> list[list[str]]:
    """The iptables rules of a sandbox, as arguments after -A/-D."""
    network, bridge = str(subnet), bridge_name(index)
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


def create(index: int, subnet: ipaddress.IPv4Network) -> None:
    """Make the bridge with its gateway addresses and the way out; making it again changes nothing."""
    bridge = bridge_name(index)
    if not Path(f"/sys/class/net/{bridge}").exists():
        ip("link", "add", bridge, "type", "bridge")
    # A bridge takes the lowest address of its ports unless told otherwise: machines would lose their gateway's.
    ip("link", "set", bridge, "address", f"02:77:00:00:{index:02x}:01")
    ip("addr", "replace", f"{subnet[1]}/24", "dev", bridge)
    ip("-6", "addr", "replace", f"{SIX}:{index}::1/64", "dev", bridge, "nodad")
    ip("link", "set", bridge, "up")
    if not _FORWARD_WAS.exists():
        _FORWARD_WAS.parent.mkdir(parents=True, exist_ok=True)
        _FORWARD_WAS.write_text(_FORWARD.read_text())
    _FORWARD.write_text("1")
    for rule in _rules(index, subnet):
        if not _iptables("-C", rule) and not _iptables("-A", rule):
            raise SandboxError(f"iptables refuses the rule: {' '.join(rule)}")


def remove(index: int, subnet: ipaddress.IPv4Network, *, last: bool) -> None:
    """Remove bridge and rules; with the last sandbox the host's forwarding goes back to what it was."""
    for rule in _rules(index, subnet):
        while _iptables("-D", rule):
            pass
    # What openstack/firewall.py put in force; there may be none.
    subprocess.run(["nft", "delete", "table", "inet", bridge_name(index)], capture_output=True, check=False)
    if Path(f"/sys/class/net/{bridge_name(index)}").exists():
        ip("link", "del", bridge_name(index), check=False)
    if last and _FORWARD_WAS.exists():
        _FORWARD.write_text(_FORWARD_WAS.read_text())
        _FORWARD_WAS.unlink()
