"""The names of the sandbox's internet: which are ours to answer, and what the OVH account starts with."""

from collections.abc import Mapping, Sequence
from typing import Any

DOMAIN = "sandbox.test"
HOSTS = ("git", "hooks", "mail", "ns1", "ovh")  # names within DOMAIN
NAME_SERVER = f"ns1.{DOMAIN}"

# Names of the real internet that this machine answers for. Each is a zone of its own, so that their neighbours
# (docker.io, letsencrypt.org, …) stay what they are.
OVERRIDDEN = (
    "ghcr.io",
    "registry-1.docker.io",
    "auth.docker.io",
    "acme-v02.api.letsencrypt.org",
    "acme-staging-v02.api.letsencrypt.org",
    "eu.api.ovh.com",
    "www.ovh.com",
)

STORAGE_REGION = "sbg"
STORAGE = f"s3.{STORAGE_REGION}.io.cloud.ovh.net"
"""The object store, which is a machine of its own (sandbox/storage): off-site copies must not be where the rest is."""
STORAGE_HOST = 4
"""Last number of its addresses."""

# What the certificate of the sandbox's authority is for; localhost is pebble, asked by nginx.
TLS_NAMES = [*OVERRIDDEN, *(f"{host}.{DOMAIN}" for host in HOSTS), "localhost"]

# Records that a customer's zone has before we come, none of which is ours: mail, texts, other names.
_MAIL = (
    {"fieldType": "NS", "subDomain": "", "target": f"{NAME_SERVER}.", "ttl": 0},
    {"fieldType": "MX", "subDomain": "", "target": "1 mx1.mail.ovh.net.", "ttl": 0},
    {"fieldType": "MX", "subDomain": "", "target": "5 mx2.mail.ovh.net.", "ttl": 0},
    {"fieldType": "SPF", "subDomain": "", "target": "v=spf1 include:mx.ovh.com -all", "ttl": 600},
    {"fieldType": "TXT", "subDomain": "", "target": '"site-verification=3f7c"', "ttl": 0},
    {"fieldType": "A", "subDomain": "mail", "target": "10.66.0.25", "ttl": 0},
    {"fieldType": "CNAME", "subDomain": "autoconfig", "target": "mailconfig.ovh.net.", "ttl": 0},
)

_PARKED = {"fieldType": "A", "subDomain": "", "target": "10.66.0.80", "ttl": 0}

# Zone -> its first records. The apex of example.… is taken, as OVH's parking page takes it. example.org is for clients
# that guess zones by the list of public suffixes, where .test is none.
ACCOUNT_ZONES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "koprogo.test": _MAIL,
    "example.test": (*_MAIL, _PARKED),
    "example.org": (*_MAIL, _PARKED),
}


def static_zones(ipv4: str, ipv6: str, storage: tuple[str, str]) -> dict[str, str]:
    """Return zone -> zone file of everything that is not in the OVH account, all at these addresses.

    `storage` are those of the object store.
    """
    head = f"$TTL 60\n@ IN SOA {NAME_SERVER}. tech.{DOMAIN}. 1 3600 600 86400 60\n@ IN NS {NAME_SERVER}.\n"
    here = f"@ IN A {ipv4}\n@ IN AAAA {ipv6}\n"
    hosts = "".join(f"{host} IN A {ipv4}\n{host} IN AAAA {ipv6}\n" for host in HOSTS)
    own = f"{head}@ IN MX 10 mail\n{hosts}"
    there = f"{head}@ IN A {storage[0]}\n@ IN AAAA {storage[1]}\n"
    return {DOMAIN: own, STORAGE: there} | dict.fromkeys(OVERRIDDEN, head + here)
