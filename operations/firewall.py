"""UFW: SSH, HTTP and HTTPS come in and nothing else does, not even what Docker publishes."""

from collections.abc import Sequence

from pyinfra.api import deploy

from facts import layout
from facts.server import Firewall, State
from operations import commands, files
from operations.commands import Command

SSH, HTTP, HTTPS = 22, 80, 443
PUBLISHED = (HTTP, HTTPS)
"""What containers may publish to the world."""

_FAILING = "UFW refused it; SSH stays reachable. Log in, see `sudo ufw status verbose`, then run again."
_ANY = {"rules4": "0.0.0.0/0", "rules6": "::/0"}


def docker_rules(interfaces: Sequence[str]) -> str:
    """Our block of after.rules and after6.rules. `interfaces` are those that lead to the world."""
    return files.render("ufw-after.rules", interfaces=interfaces, ports=PUBLISHED)


def docker_rules_live(interfaces: Sequence[str]) -> list[str]:
    """The rules of docker_rules() as the kernel lists them."""
    return [line for line in docker_rules(interfaces).splitlines() if line.startswith("-A DOCKER-USER")]


def closed_ports(firewall: Firewall) -> list[int]:
    """Those of our ports that UFW does not let in, over IPv4 or over IPv6."""
    rules = {"rules4": firewall["rules4"], "rules6": firewall["rules6"]}
    return [
        port
        for port in (SSH, HTTP, HTTPS)
        if any(f"allow tcp {port} {net} any {net} in" not in rules[version] for version, net in _ANY.items())
    ]


def live(firewall: Firewall, interfaces: Sequence[str]) -> bool:
    """Whether the kernel has the rules that the files describe."""
    ours = docker_rules_live(interfaces)
    found = []
    for rules, chain in ((firewall["live4"], "ufw-user-input"), (firewall["live6"], "ufw6-user-input")):
        docker = [rule for rule in rules if rule.startswith("-A DOCKER-USER")]
        ports = all(f"-A {chain} -p tcp -m tcp --dport {port} -j ACCEPT" in rules for port in (SSH, HTTP, HTTPS))
        found.append("-P INPUT DROP" in rules and ports and docker[: len(ours)] == ours)
    return all(found)


def ufw_commands(state: State) -> list[Command]:
    """What makes UFW what it has to be. SSH is let in before anything is refused."""
    firewall, unit = state["firewall"], state["units"]["ufw.service"]
    found = []
    if firewall["ipv6"] != "yes":
        found.append("sed -i 's/^IPV6=.*/IPV6=yes/' /etc/default/ufw")
    found += [f"ufw allow {port}/tcp" for port in closed_ports(firewall)]
    if firewall["input"] != "DROP":
        found.append("ufw default deny incoming")
    if firewall["output"] != "ACCEPT":
        found.append("ufw default allow outgoing")
    on = firewall["enabled"] == "yes" and unit["enabled"] == "enabled"
    if not on or not live(firewall, state["system"]["interfaces"]):
        found += ["ufw --force enable", "ufw reload", "systemctl enable -q --now ufw"]
    return [Command(line, _FAILING) for line in found]


@deploy("Firewall")
def firewall(state: State) -> None:
    """Docker's chain first, then UFW itself."""
    block = docker_rules(state["system"]["interfaces"])
    wanted = [files.File(path, block, mode="640", block=True) for path in (layout.UFW_AFTER, layout.UFW_AFTER6)]
    files.sync(name="Nothing that Docker publishes passes UFW", state=state, wanted=wanted, then="ufw reload")
    commands.run(
        name="Let in SSH, HTTP and HTTPS, refuse the rest, also after a boot",
        wanted=ufw_commands(state), otherwise="UFW is on and lets in 22, 80 and 443",
    )  # fmt: skip
