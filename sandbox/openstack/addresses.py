"""The addresses of one sandbox, written over the placeholders that the control plane's template was seeded with."""

import ipaddress

from sandbox.world import World

PUBLIC = "control"
"""The host in the public endpoints of the template's catalogue."""


def statements(world: World) -> str:
    """The SQL that gives catalogue and Ext-Net the addresses of this sandbox; run at every start of the database."""
    lines = [
        f"UPDATE keystone.endpoint SET url = REPLACE(url, '//{PUBLIC}:', '//{world.ipv4(2)}:') "
        "WHERE interface = 'public';"
    ]
    for version, prefix, address in ((4, 24, world.ipv4), (6, 64, world.ipv6)):
        # In the notation that Neutron itself writes: it compares these as text.
        network = ipaddress.ip_network(f"{address(1)}/{prefix}", strict=False)
        gateway, first, last = (str(ipaddress.ip_address(address(host))) for host in (1, 100, 199))
        subnet = f"s.name = 'Ext-Net-ipv{version}'"
        pool = f"p.first_ip = '{first}', p.last_ip = '{last}'"
        lines += [
            f"UPDATE neutron.subnets s SET s.cidr = '{network}', s.gateway_ip = '{gateway}' WHERE {subnet};",
            "UPDATE neutron.ipallocationpools p JOIN neutron.subnets s ON p.subnet_id = s.id "
            f"SET {pool} WHERE {subnet};",
            "UPDATE neutron.ipamallocationpools p JOIN neutron.ipamsubnets i ON p.ipam_subnet_id = i.id "
            f"JOIN neutron.subnets s ON i.neutron_subnet_id = s.id SET {pool} WHERE {subnet};",
        ]
    return "\n".join(lines) + "\n"
