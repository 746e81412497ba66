"""Security groups, enforced on the host in front of the servers: what Neutron's rules do not let in is dropped.

Outgoing traffic is not filtered. Packets between two machines of a sandbox pass here only if the host's kernel has
br_netfilter; those of the host itself always do.
"""

import contextlib
import ipaddress
import subprocess
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.world import World

_ICMP = {4: "icmp", 6: "icmpv6"}
# Names that Neutron has for the one protocol, by version.
_IS_ICMP = {"icmp", "1", "icmpv6", "ipv6-icmp", "58"}
_WITH_PORTS = {"tcp", "udp", "sctp", "dccp", "udplite"}
_NEIGHBOURS = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert"


def _match_protocol(rule: dict[str, Any]) -> str:
    protocol, first, last = rule["protocol"], rule["first"], rule["last"]
    if protocol is None:
        return ""
    if protocol in _IS_ICMP:
        name = _ICMP[rule["version"]]
        if first is None:
            return f"meta l4proto {name} "
        return f"{name} type {first} " + (f"{name} code {last} " if last is not None else "")
    if protocol in _WITH_PORTS and first is not None:
        return f"{protocol} dport {first}-{last} "
    return f"meta l4proto {protocol} "


def accept(rule: dict[str, Any]) -> str | None:
    """The nftables rule that lets in what a rule of a security group lets in; None if that is nothing."""
    family = {4: "ip", 6: "ip6"}[rule["version"]]
    source = f"meta nfproto ipv{rule['version']} "
    if rule["sources"] is not None:
        # Overlapping prefixes are refused in one set: rules of a kind come from different groups, so keep them apart.
        networks = sorted({ipaddress.ip_network(text) for text in rule["sources"]}, key=str)
        networks = [network for network in networks if network.version == rule["version"]]
        if not networks:
            return None
        if all(network.prefixlen for network in networks):
            source = f"{family} saddr {{ {', '.join(str(network) for network in networks)} }} "
    return f"{source}{_match_protocol(rule)}accept"


def ruleset(table: str, ports: list[dict[str, Any]]) -> str:
    """The whole table for these ports (`addresses` and `rules`, see mech_koprogo.py), to replace the one there is."""
    jumps, chains = [], []
    for number, port in enumerate(ports):
        rules = [line for rule in port["rules"] if (line := accept(rule))]
        chains.append("\n  ".join([f" chain port{number} {{", *dict.fromkeys(rules), "drop"]) + "\n }")
        for text in port["addresses"]:
            family = "ip" if ipaddress.ip_address(text).version == 4 else "ip6"  # noqa: PLR2004  # of IP
            jumps.append(f"{family} daddr {text} jump port{number}")
    always = ["ct state established,related accept", f"icmpv6 type {{ {_NEIGHBOURS} }} accept"]
    servers = "\n  ".join([" chain servers {", *always, *jumps]) + "\n }"
    hooks = [
        f" chain {hook} {{\n  type filter hook {hook} priority -10; policy accept;\n  jump servers\n }}"
        for hook in ("forward", "output")
    ]
    body = "\n".join([*chains, servers, *hooks])
    return f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{body}\n}}\n"


def apply(world: World, ports: list[dict[str, Any]]) -> None:
    """Put the rules of all ports of a sandbox in force, in one step."""
    for name in ("nf_call_iptables", "nf_call_ip6tables"):
        with contextlib.suppress(OSError):
            Path(f"/sys/class/net/{world.bridge}/bridge", name).write_text("1")
    text = ruleset(world.bridge, ports)
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"nft refuses the rules of the security groups: {done.stderr.strip()}")
