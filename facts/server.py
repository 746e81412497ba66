"""The state of a server, read once per run: what is planned from it is exactly what is applied."""

import json
import secrets
import shlex
from typing import Any, NotRequired, TypedDict

from pyinfra import host
from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from facts import layout
from facts.wire import ship

_ON_SERVER = tuple(
    f"facts.on_server.{name}" for name in ("shell", "files", "system", "network", "environment", "application", "ask")
)


class System(TypedDict):
    """The machine; `container` is "none" on a virtual or real machine."""

    id: str
    version: str
    codename: str
    architecture: str
    container: str
    timezone: str
    interfaces: list[str]


class Apt(TypedDict):
    """`pending` is only known while the lists are fresh."""

    fresh: bool
    pending: list[str]


class Swap(TypedDict):
    """/swapfile; a size of 0 means that there is none."""

    file_mb: int
    active: bool
    at_boot: bool


class Account(TypedDict):
    """A user."""

    shell: str
    groups: list[str]


class Unit(TypedDict):
    """A unit of systemd, in its words; empty strings where it is unknown."""

    active: str
    enabled: str


class Docker(TypedDict):
    """Versions; empty strings where there is none."""

    engine: str
    compose: str


class Firewall(TypedDict):
    """UFW's settings in its own words, its rules as it keeps them, and rules of the kernel."""

    enabled: str
    ipv6: str
    input: str
    output: str
    rules4: list[str]
    rules6: list[str]
    live4: list[str]
    live6: list[str]


class Entry(TypedDict):
    """Something in the file system; `text` only for files that were asked for it, and empty if it is not UTF-8."""

    kind: str
    text: str | None
    mode: str
    owner: str
    group: str


class Repository(TypedDict):
    """The clone; `foreign` is one path in it that belongs to somebody else, or empty."""

    exists: bool
    clone: bool
    url: str
    branch: str
    foreign: str


class Environment(TypedDict):
    """What may be told of the server's .env (facts/on_server/environment.py)."""

    file: Entry | None
    master: Entry | None
    names: list[str]
    values: dict[str, str]
    hashes: dict[str, str]
    made: dict[str, str]
    canonical: bool
    salt: NotRequired[str]


class State(TypedDict):
    """Everything that the steps of deploy.py compare with what is wanted."""

    system: System
    packages: dict[str, str]
    apt: Apt
    swap: Swap
    account: Account | None
    units: dict[str, Unit]
    docker: Docker
    firewall: Firewall
    jails: list[str]
    sshd: dict[str, str]
    files: dict[str, Entry | None]
    metadata: dict[str, Entry | None]
    hashed: dict[str, Entry | None]
    trees: dict[str, dict[str, Entry]]
    repository: Repository
    environment: Environment
    program: dict[str, Any] | None


class Question(dict[str, Any]):
    """What is asked; short where pyinfra shows the arguments of a fact."""

    def __repr__(self) -> str:
        """What stands in an error message."""
        return "everything"


class Server(FactBase[State]):
    """All of it, by one command that needs root (as inventory.py says) and python3 and changes nothing."""

    def command(self, question: Question) -> str:
        """A question as `read` makes it."""
        return f"{ship(*_ON_SERVER)} {shlex.quote(json.dumps(question))}"

    def process(self, output: list[str]) -> State:
        """Parse the answer, which is the last line: a login banner may come before."""
        try:
            state: State = json.loads(output[-1])
        except ValueError:
            raise FactProcessError("the server answered something else than JSON: " + output[-1][:200]) from None
        return state


def read(compose_file: str, plain: list[str], make: list[str]) -> State:
    """Ask the current host. `plain` are the lines of its .env that may be told, `make` the secrets made there.

    Raises FactProcessError if the server could not be asked (pyinfra has then said why).
    """
    salt = secrets.token_hex(16)
    path, master = str(layout.env_file(compose_file)), str(layout.SECRETS)
    question = Question(
        user=layout.USER,
        checkout=str(layout.CHECKOUT),
        program=str(layout.PROGRAM),
        units=layout.UNITS,
        files=layout.FILES,
        metadata=layout.FOLDERS_AND_LOGS,
        hashed=layout.HASHED,
        trees=[str(layout.LIBRARY)],
        environment={"path": path, "master": master, "plain": plain, "make": make, "salt": salt},
    )
    state: State | None = host.get_fact(Server, question)
    if state is None:
        raise FactProcessError(f"{host.name} could not be asked for its state; nothing was changed")
    state["environment"]["salt"] = salt
    return state
