"""What tests ask a project of the sandbox's cloud by themselves, and how they change it behind provision.py's back."""

from typing import TYPE_CHECKING, Any

import openstack
from openstack.connection import Connection

from sandbox import machine as machines
from sandbox.world import World

if TYPE_CHECKING:
    from conftest import Operator

EVERYTHING = {
    "key pairs": 1,
    "groups": ["project=koprogo environment=production"],
    "leases": 0,
    "rules": [
        "egress IPv4 None None None",
        "egress IPv6 None None None",
        "ingress IPv4 icmp None None",
        "ingress IPv4 tcp 22 22",
        "ingress IPv4 tcp 443 443",
        "ingress IPv4 tcp 80 80",
        "ingress IPv6 ipv6-icmp None None",
        "ingress IPv6 tcp 22 22",
        "ingress IPv6 tcp 443 443",
        "ingress IPv6 tcp 80 80",
    ],
    "servers": ["ACTIVE"],
    "ports": 1,
}
NOTHING: dict[str, Any] = {"key pairs": 0, "groups": [], "leases": 0, "rules": [], "servers": [], "ports": 0}


def connect(cloud: dict[str, str]) -> Connection:
    """The cloud, as the operator's own account sees it."""
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name=cloud["OS_REGION_NAME"],
        auth={
            "auth_url": cloud["OS_AUTH_URL"],
            "username": cloud["OS_USERNAME"],
            "password": cloud["OS_PASSWORD"],
            "project_id": cloud["OS_PROJECT_ID"],
            "user_domain_name": "Default",
        },
    )


def remove(api: Connection, name: str) -> None:
    """Take away everything of this name."""
    for server in api.compute.servers(name=f"^{name}$"):
        api.compute.unlock_server(server.id)
        api.delete_server(server.id, wait=True)
    for group in [*api.network.security_groups(name=name), *leases(api, name)]:
        api.network.delete_security_group(group)
    api.compute.delete_keypair(name)


def leases(api: Connection, name: str) -> list[Any]:
    """The security groups that stand for applies at work."""
    return [one for one in api.network.security_groups() if one.name.startswith(f"{name}-lease-")]


def there_is(api: Connection, name: str) -> dict[str, Any]:
    """What the API has of this name."""
    groups = list(api.network.security_groups(name=name))
    servers = list(api.compute.servers(name=f"^{name}$"))
    # with the deleted ones, which may have left ports behind
    ever = {server.id for server in api.compute.servers(name=f"^{name}$", changes_since="2000-01-01T00:00:00Z")}
    return {
        "key pairs": len([pair for pair in api.compute.keypairs() if pair.name == name]),
        "groups": [group.description for group in groups],
        "leases": len(leases(api, name)),
        "rules": sorted(
            " ".join(
                str(rule[key]) for key in ("direction", "ethertype", "protocol", "port_range_min", "port_range_max")
            )
            for group in groups
            for rule in group.security_group_rules
        ),
        "servers": [server.status for server in servers],
        "ports": len([port for port in api.network.ports() if port.device_id in ever]),
    }


def set_variable(operator: "Operator", **variables: str) -> None:
    """Give variables of the operator's .env other values."""
    path = operator.folder / ".env"
    lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in variables]
    path.write_text("".join(f"{line}\n" for line in [*lines, *(f'{name}="{v}"' for name, v in variables.items())]))


def as_admin(world: World, statement: str) -> None:
    """Run a line of Python in the control plane, where `cloud` is the administrator's connection."""
    login = "import sys; sys.path.insert(0, '/usr/lib/sandbox'); import first_start; cloud = first_start.connection()"
    machines.load(world.name, "control").run(["python3", "-c", f"{login}\n{statement}"])
