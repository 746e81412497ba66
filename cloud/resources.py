"""What a server is made of in the cloud, as plain data: what is wanted, and what there is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    id: str = field(default="", compare=False)
    """Of one that is there. Two that let the same pass are the same."""


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
class Aspect:
    """Something about the server that is changed while the server and its disk stay."""

    server: str
    what: str
    """name, metadata, status, flavor or security groups."""
    new: str


@dataclass(frozen=True)
class Difference:
    """How something is, and how it will be."""

    what: str
    old: str | None
    """None where there is none of it."""
    new: str | None
    """None where it goes."""


@dataclass(frozen=True)
class Record:
    """A file beside .env in which provision.py notes what exists."""

    name: str


@dataclass(frozen=True)
class Address:
    """A DNS record that leads to the server."""

    name: str
    kind: str
    """A or AAAA."""
    target: str


@dataclass(frozen=True)
class Port:
    """A network port that was left when its server went."""

    id: str


@dataclass(frozen=True)
class Existing:
    """A server or a security group by its id: one that is there more than once, or is taken away."""

    kind: str
    """server or security group."""
    name: str
    id: str
    details: str = field(default="", compare=False)
    """For the eye. It is the same one with others, too: a server changes its state by itself."""


Resource = KeyPair | Group | GroupRule | Server | Aspect | Record | Address | Port | Existing


@dataclass(frozen=True)
class Size:
    """What a flavor gives."""

    vcpus: int
    memory_mb: int
    disk_gb: int

    def __str__(self) -> str:
        """As an operator says it."""
        unit = 1024 if self.memory_mb % 1024 == 0 else 1000
        memory = f"{self.memory_mb / unit:.1f}".removesuffix(".0")
        return f"{self.vcpus} vCPU{'s' if self.vcpus > 1 else ''}, {memory} GB of memory, {self.disk_gb} GB of disk"


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
    size: Size = Size(0, 0, 0)
    created: str = ""
    """When, in UTC: 2026-11-22T18:20:23Z."""
    launched: bool = True
    """Whether it ever ran, so that there is something on its disk."""
    locked: bool = False
    """Whether Nova refuses to change it."""
    busy: bool = False
    """Whether Nova is at work on it."""
    region: str = ""
    project: str = ""
    """The id of the project that pays for it."""

    @property
    def existing(self) -> Existing:
        """It as a resource of its own, for plans in which it is not the one to use, or is to go."""
        words = (self.flavor, self.image, self.ipv4, self.ipv6, self.status)
        return Existing("server", self.name, self.id, ", ".join(word for word in words if word))


@dataclass(frozen=True)
class FoundGroup:
    """A security group as the cloud has it."""

    id: str
    name: str
    description: str
    rules: frozenset[Rule]
    created: str = ""

    @property
    def existing(self) -> Existing:
        """It as a resource of its own, as of a server."""
        return Existing("security group", self.name, self.id, f"{len(self.rules)} rules")


@dataclass(frozen=True)
class Ticket:
    """A security group that stands for an apply at work (cloud/api/lease.py)."""

    id: str
    name: str
    description: str
    created: str
    renewed: str

    @property
    def words(self) -> dict[str, str]:
        """What the description says."""
        return dict(word.partition("=")[::2] for word in self.description.split())


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
    groups: tuple[FoundGroup, ...] = ()
    """Neutron lets several have one name; the first is the one to use."""
    servers: tuple[FoundServer, ...] = ()
    """Nova does too; the first is the one to use."""
    records: Mapping[str, str] = field(default_factory=dict)
    """Files beside .env that know the server → what in them is not so any more; "" if they agree with it."""
    size: Size | None = None
    """Of the wanted flavor, where it was looked up."""
    key_trouble: str = ""
    """Why nobody could log in to the server with the wanted key; "" if one can, or it is not known."""

    @property
    def server(self) -> FoundServer | None:
        """The one to use."""
        return self.servers[0] if self.servers else None

    @property
    def group(self) -> FoundGroup | None:
        """The one to use."""
        return self.groups[0] if self.groups else None


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
