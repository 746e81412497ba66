"""What the sandbox's cloud works out before it touches anything: addresses, firewall rules, first-boot files."""

import base64
import json

import pytest

from sandbox.errors import SandboxError
from sandbox.openstack import addresses, firewall, firstboot, hypervisor
from sandbox.world import World


def rule(**changed: object) -> dict[str, object]:
    return {"version": 4, "protocol": "tcp", "first": 22, "last": 22, "sources": None, **changed}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (rule(), "meta nfproto ipv4 tcp dport 22-22 accept"),
        (rule(sources=["0.0.0.0/0"]), "meta nfproto ipv4 tcp dport 22-22 accept"),
        (rule(version=6, first=8000, last=8010), "meta nfproto ipv6 tcp dport 8000-8010 accept"),
        (rule(sources=["10.0.0.0/8"]), "ip saddr { 10.0.0.0/8 } tcp dport 22-22 accept"),
        (rule(version=6, sources=["fd77::/64"]), "ip6 saddr { fd77::/64 } tcp dport 22-22 accept"),
        (rule(protocol=None, first=None, last=None), "meta nfproto ipv4 accept"),
        (rule(protocol="tcp", first=None, last=None), "meta nfproto ipv4 meta l4proto tcp accept"),
        (rule(protocol="icmp", first=None, last=None), "meta nfproto ipv4 meta l4proto icmp accept"),
        (rule(protocol="icmp", first=8, last=0), "meta nfproto ipv4 icmp type 8 icmp code 0 accept"),
        (rule(version=6, protocol="ipv6-icmp", first=None, last=None), "meta nfproto ipv6 meta l4proto icmpv6 accept"),
        (rule(version=6, protocol="icmp", first=128, last=None), "meta nfproto ipv6 icmpv6 type 128 accept"),
        (rule(protocol="47", first=None, last=None), "meta nfproto ipv4 meta l4proto 47 accept"),
    ],
)
def test_a_rule_lets_in_what_neutron_says(given: dict[str, object], expected: str) -> None:
    assert firewall.accept(given) == expected


def test_a_group_without_members_lets_nothing_in() -> None:
    assert firewall.accept(rule(sources=[])) is None


def test_members_of_the_other_family_do_not_count() -> None:
    both = ["10.77.0.101", "fd77:77:77::101"]
    assert firewall.accept(rule(sources=both)) == "ip saddr { 10.77.0.101/32 } tcp dport 22-22 accept"


def test_the_table_replaces_the_old_one_and_drops_the_rest() -> None:
    ports = [{"addresses": ["10.77.0.100", "fd77:77:77::100"], "rules": [rule(), rule()]}]
    assert firewall.ruleset("kpg0", ports) == (
        "table inet kpg0\n"
        "delete table inet kpg0\n"
        "table inet kpg0 {\n"
        " chain port0 {\n"
        "  meta nfproto ipv4 tcp dport 22-22 accept\n"
        "  drop\n"
        " }\n"
        " chain servers {\n"
        "  ct state established,related accept\n"
        "  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept\n"
        "  ip daddr 10.77.0.100 jump port0\n"
        "  ip6 daddr fd77:77:77::100 jump port0\n"
        " }\n"
        " chain forward {\n"
        "  type filter hook forward priority -10; policy accept;\n"
        "  jump servers\n"
        " }\n"
        " chain output {\n"
        "  type filter hook output priority -10; policy accept;\n"
        "  jump servers\n"
        " }\n"
        "}\n"
    )


def test_each_sandbox_writes_its_own_addresses() -> None:
    sql = addresses.statements(World("any", 7))
    assert "REPLACE(url, '//control:', '//10.77.7.2:')" in sql
    assert "SET cidr = '10.77.7.0/24', gateway_ip = '10.77.7.1' WHERE name = 'Ext-Net-ipv4'" in sql
    assert "SET cidr = 'fd77:77:77:7::/64', gateway_ip = 'fd77:77:77:7::1' WHERE name = 'Ext-Net-ipv6'" in sql
    assert sql.count("p.first_ip = '10.77.7.100', p.last_ip = '10.77.7.199'") == 2
    assert sql.count("p.first_ip = 'fd77:77:77:7::100', p.last_ip = 'fd77:77:77:7::199'") == 2


def test_the_first_sandbox_writes_ipv6_as_neutron_does() -> None:
    assert "SET cidr = 'fd77:77:77::/64'" in addresses.statements(World("any", 0))


def test_a_server_needs_an_address_of_each_family() -> None:
    assert hypervisor.addresses(["fd77::5", "10.77.0.5"]) == ("10.77.0.5", "fd77::5")
    with pytest.raises(SandboxError, match="an IPv4 and an IPv6 address"):
        hypervisor.addresses(["10.77.0.5"])


def test_cloud_init_gets_name_key_and_user_data() -> None:
    data = "#cloud-config\npackages: [htop]\n"
    encoded = base64.b64encode(data.encode()).decode()
    files = firstboot.files(firstboot.Seed("id-1", "koprogo", "Ubuntu 22.04", "ssh-ed25519 AAAA me\n", encoded))
    assert json.loads(files["var/lib/cloud/seed/nocloud-net/meta-data"]) == {
        "instance-id": "id-1",
        "local-hostname": "koprogo",
        "public-keys": ["ssh-ed25519 AAAA me"],
    }
    assert files["var/lib/cloud/seed/nocloud-net/user-data"] == data.encode()
    user = json.loads(files["etc/cloud/cloud.cfg.d/91-image.cfg"])["system_info"]["default_user"]
    assert (user["name"], user["sudo"]) == ("ubuntu", ["ALL=(ALL) NOPASSWD:ALL"])


@pytest.mark.parametrize(
    ("image", "user"), [("Ubuntu 22.04", "ubuntu"), ("Debian 12", "debian"), ("Debian 13", "debian")]
)
def test_the_first_user_is_that_of_the_image(image: str, user: str) -> None:
    assert firstboot.first_user(image) == user
