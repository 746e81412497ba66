"""What guards the network: UFW with Docker's chain, fail2ban, sshd."""

import re
from typing import Any

from facts.on_server.files import text
from facts.on_server.shell import output


def firewall() -> "dict[str, Any]":
    """UFW's settings as its files have them, and the rules that the kernel really has."""
    defaults = text("/etc/default/ufw")
    return {
        "enabled": _setting(text("/etc/ufw/ufw.conf"), "ENABLED"),
        "ipv6": _setting(defaults, "IPV6"),
        "input": _setting(defaults, "DEFAULT_INPUT_POLICY"),
        "output": _setting(defaults, "DEFAULT_OUTPUT_POLICY"),
        "rules4": _tuples(text("/etc/ufw/user.rules")),
        "rules6": _tuples(text("/etc/ufw/user6.rules")),
        "live4": _live("iptables"),
        "live6": _live("ip6tables"),
    }


def jails() -> "list[str]":
    """Jails that fail2ban runs; none if it does not run."""
    found = re.search(r"Jail list:\s*(.*)", output("fail2ban-client", "status") or "")
    return [name.strip() for name in found[1].split(",") if name.strip()] if found else []


def sshd() -> "dict[str, str]":
    """The values that sshd uses, all files read; empty if it cannot tell."""
    lines = (output("sshd", "-T") or "").splitlines()
    return {key: value for key, _, value in (line.partition(" ") for line in lines)}


def _setting(text: str, name: str) -> str:
    found = re.findall(rf'^{name}="?([^"\n]*)"?', text, re.M)
    return found[-1] if found else ""


def _tuples(text: str) -> "list[str]":
    """UFW keeps each of its rules in a comment above what it became."""
    return re.findall(r"^### tuple ### (.*?)\s*$", text, re.M)


def _live(command: str) -> "list[str]":
    """The kernel's rules in the chains that matter here."""
    rules = (output(command, "-w", "-S") or "").splitlines()
    return [rule for rule in rules if re.match(r"-P INPUT|-A (ufw6?-user-input|DOCKER-USER)\b", rule)]
