"""What a server is made of in the cloud, as plain data: what is wanted, and what there is."""

from dataclasses import dataclass

PROJECT = "koprogo"
"""Value of the metadata `project` on every server that is ours."""


@dataclass(frozen=True)
class KeyPair:
    """An SSH public key that the cloud puts on a new server: type and base64, without the comment."""

    name: str
    public_key: str


@dataclass(frozen=True)
class Rule:
    """Traffic that a security group lets pass."""

    direction: str
    """ingress or egress."""
    protocol: str
    """"" for any."""
    ports: str
    """A port, a range as 8000-8010, or "" for all."""
    ethertype: str
    """IPv4 or IPv6."""
    remote: str = ""
    """A network, or the id of a group; "" for anywhere."""


@dataclass(frozen=True)
class GroupRule:
    """A rule and the name of the group that it belongs to."""

    group: str
    rule: Rule


@dataclass(frozen=True)
class Group:
    """A security group. Groups have no metadata: the description says whose it is."""

    name: str
    description: str


@dataclass(frozen=True)
class Server:
    """A server, by the names of what it is made of."""

    name: str
    flavor: str
    image: str
    network: str
    key_pair: str
    group: str
    environment: str

    @property
    def metadata(self) -> dict[str, str]:
        """What marks it as ours."""
        return {"project": PROJECT, "environment": self.environment}


@dataclass(frozen=True)
class Record:
    """A file beside .env in which provision.py notes what exists."""

    name: str


Resource = KeyPair | Group | GroupRule | Server | Record


@dataclass(frozen=True)
class FoundServer:
    """A server as the cloud has it."""

    id: str
    name: str
    status: str
    """Nova's: ACTIVE, BUILD, ERROR, SHUTOFF, …"""
    flavor: str
    image: str
    """"" when the image is no longer in the catalogue."""
    networks: frozenset[str]
    key_pair: str
    groups: frozenset[str]
    metadata: dict[str, str]
    ipv4: str = ""
    ipv6: str = ""
    fault: str = ""
    """Nova's reason for ERROR."""


@dataclass(frozen=True)
class Wanted:
    """What the settings ask for."""

    key_pair: KeyPair
    group: Group
    rules: frozenset[Rule]
    server: Server


@dataclass(frozen=True)
class Actual:
    """What there is under the names of what is wanted."""

    key_pair: KeyPair | None = None
    group: Group | None = None
    rules: frozenset[Rule] = frozenset()
    server: FoundServer | None = None
    records: frozenset[str] = frozenset()
    """Names of the files beside .env that agree with the server."""


def open_ports(ports: tuple[int, ...]) -> frozenset[Rule]:
    """Rules that let these TCP ports and ICMP in from anywhere and everything out, over IPv4 and IPv6."""
    found = set[Rule]()
    for ethertype, icmp in (("IPv4", "icmp"), ("IPv6", "ipv6-icmp")):
        found |= {Rule("ingress", "tcp", str(port), ethertype) for port in ports}
        found |= {Rule("ingress", icmp, "", ethertype), Rule("egress", "", "", ethertype)}
    return frozenset(found)


def wanted(server: Server, public_key: str) -> Wanted:
    """Everything that a server needs; the key pair and the group carry the names that it gives them."""
    return Wanted(
        key_pair=KeyPair(server.key_pair, " ".join(public_key.split()[:2])),
        group=Group(server.group, f"project={PROJECT} environment={server.environment}"),
        rules=open_ports((22, 80, 443)),
        server=server,
    )
