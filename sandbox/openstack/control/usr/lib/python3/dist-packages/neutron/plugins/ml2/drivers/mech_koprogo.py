"""Neutron's view of the sandbox: every port is bound at once, and the host is told what its security groups let in."""

from typing import Any

from koprogo_hypervisor import ask
from neutron_lib import constants, context
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from neutron_lib.plugins import directory
from neutron_lib.plugins.ml2 import api


def _addresses(port: dict[str, Any]) -> list[str]:
    return [each["ip_address"] for each in port["fixed_ips"]]


def _rule(rule: dict[str, Any], members: dict[str, list[str]]) -> dict[str, Any]:
    """A rule as the host needs it: where it lets packets come from instead of the name of a group."""
    sources = None
    if rule["remote_group_id"]:
        sources = members.get(rule["remote_group_id"], [])
    elif rule["remote_ip_prefix"]:
        sources = [rule["remote_ip_prefix"]]
    return {
        "version": 4 if rule["ethertype"] == constants.IPv4 else 6,
        "protocol": rule["protocol"],
        "first": rule["port_range_min"],
        "last": rule["port_range_max"],
        "sources": sources,
    }


def tell(*_event: Any, **_payload: Any) -> None:
    """Give the host the ingress rules of all servers' ports, whatever changed: there are few."""
    admin, plugin = context.get_admin_context(), directory.get_plugin()
    ports = [port for port in plugin.get_ports(admin) if port["port_security_enabled"]]
    members: dict[str, list[str]] = {}
    for port in ports:
        for group in port["security_groups"]:
            members.setdefault(group, []).extend(_addresses(port))
    rules = plugin.get_security_group_rules(admin, filters={"direction": ["ingress"]})
    described = [
        {
            "addresses": _addresses(port),
            "rules": [_rule(r, members) for r in rules if r["security_group_id"] in port["security_groups"]],
        }
        for port in ports
    ]
    ask("firewall", ports=described)


class SandboxMechanismDriver(api.MechanismDriver):  # type: ignore[misc]  # Neutron has no types
    """Binds what it is asked to bind: no agent is needed where the host connects a server's machine by itself."""

    def initialize(self) -> None:
        """Hear of every change of a rule."""
        for event in (events.AFTER_CREATE, events.AFTER_DELETE):
            registry.subscribe(tell, resources.SECURITY_GROUP_RULE, event)

    def bind_port(self, context: Any) -> None:
        """Say that the port is connected."""
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )

    def create_port_postcommit(self, context: Any) -> None:
        """A port is there, its rules hold before its server boots."""
        tell()

    def update_port_postcommit(self, context: Any) -> None:
        """Its groups or addresses may be others now."""
        tell()

    def delete_port_postcommit(self, context: Any) -> None:
        """Its addresses may belong to another server next."""
        tell()
