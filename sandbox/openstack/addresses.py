"""The addresses of one sandbox, written over the placeholders that the control plane's template was seeded with."""

import ipaddress

from sandbox.world import World

PUBLIC = "control"
"""The host in the public endpoints of the template's catalogue."""

_UPDATE = {
    "endpoint": """
UPDATE keystone.endpoint SET url = REPLACE(url, '//{before}:', '//{after}:') WHERE interface = 'public';""",
    "subnet": """
UPDATE neutron.subnets SET cidr = '{cidr}', gateway_ip = '{gateway}' WHERE name = '{name}';""",
    "pool": """
UPDATE neutron.ipallocationpools p JOIN neutron.subnets s ON p.subnet_id = s.id
SET p.first_ip = '{first}', p.last_ip = '{last}' WHERE s.name = '{name}';""",
    "ipam": """
UPDATE neutron.ipamallocationpools p JOIN neutron.ipamsubnets i ON p.ipam_subnet_id = i.id
JOIN neutron.subnets s ON i.neutron_subnet_id = s.id
SET p.first_ip = '{first}', p.last_ip = '{last}' WHERE s.name = '{name}';""",
}
"""What has to change; values are addresses and names of this program, so they are not quoted further."""


def statements(world: World) -> str:
    """The SQL that gives catalogue and Ext-Net the addresses of this sandbox; run at every start of the database."""
    lines = [_UPDATE["endpoint"].format(before=PUBLIC, after=world.ipv4(2))]
    for version, prefix, address in ((4, 24, world.ipv4), (6, 64, world.ipv6)):
        # In the notation that Neutron itself writes: it compares these as text.
        network = ipaddress.ip_network(f"{address(1)}/{prefix}", strict=False)
        gateway, first, last = (str(ipaddress.ip_address(address(host))) for host in (1, 100, 199))
        values = {"name": f"Ext-Net-ipv{version}", "cidr": network, "gateway": gateway, "first": first, "last": last}
        lines += [_UPDATE[part].format(**values) for part in ("subnet", "pool", "ipam")]
    return "".join(lines) + "\n"
