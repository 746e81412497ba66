"""Docker 24 or newer with Compose 2: from the distribution where it has them, else from Docker's own repository."""

import json

from pyinfra.api import deploy

from facts import layout
from facts.server import State, System
from operations import commands, files, packages
from operations.commands import Command

OLDEST_ENGINE = 24
REPOSITORY = "https://download.docker.com/linux"
KEYRING = "/etc/apt/keyrings/docker.asc"
FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
"""Of the key that signs Docker's packages for Debian and Ubuntu (docs.docker.com/engine/install)."""

_DEBIAN = ("docker.io", "docker-cli", "docker-compose")
_UBUNTU = ("docker.io", "docker-compose-v2")
_DOCKER = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-compose-plugin")
_FROM_DISTRIBUTION = {("debian", 13): _DEBIAN, ("ubuntu", 22): _UBUNTU}
"""First release of each distribution that has both, and their packages there."""


def suffices(state: State) -> bool:
    """Whether engine and Compose are there, whoever installed them."""
    engine = state["docker"]["engine"].partition(".")[0]
    compose = state["docker"]["compose"].partition(".")[0]
    return engine.isdigit() and int(engine) >= OLDEST_ENGINE and compose.isdigit() and int(compose) >= 2  # noqa: PLR2004


def from_distribution(state: State) -> tuple[str, ...]:
    """The distribution's packages to install; none if Docker is there already or has to come from elsewhere."""
    release = state["system"]["version"].partition(".")[0]
    for (name, first), found in _FROM_DISTRIBUTION.items():
        if state["system"]["id"] == name and (not release or int(release) >= first):
            return () if suffices(state) else found
    return ()


def from_docker(state: State) -> bool:
    """Whether Docker's own repository is needed."""
    return not suffices(state) and not from_distribution(state)


def source(system: System) -> files.File:
    """Docker's repository, for this release and no other key than Docker's."""
    text = files.render(
        "docker.sources", url=REPOSITORY, distribution=system["id"], codename=system["codename"],
        architecture=system["architecture"], keyring=KEYRING,
    )  # fmt: skip
    return files.File(layout.DOCKER_SOURCE, text)


def key_commands(system: System) -> list[Command]:
    """What the repository needs; then fetch the key and keep it only if it is the one we know."""
    url = f"{REPOSITORY}/{system['id']}/gpg"
    fetch = (
        "install -d -m 755 /etc/apt/keyrings"
        f' && here=$(mktemp -d) && key="$here/key" && curl -fsS --retry 3 -o "$key" {url}'
        ' && found=$(gpg -q --homedir "$here" --batch --show-keys --with-colons "$key"'
        " | awk -F: '$1==\"fpr\"{print $10; exit}')"
        f' && {{ [ "$found" = {FINGERPRINT} ] || {{ echo "fingerprint $found"; exit 1; }}; }}'
        f' && install -m 644 "$key" {KEYRING} && rm -rf "$here"'
    )
    failing = f"The key of {url} could not be fetched, or is not {FINGERPRINT}. Docker was not installed."
    return [packages.install(("ca-certificates", "curl", "gnupg")), Command(fetch, failing)]


def daemon(state: State) -> files.File:
    """daemon.json: ours, over whatever else an operator put there."""
    present = files.settings_in(state, layout.DAEMON)
    wanted = json.loads(files.render("docker-daemon.json"))
    return files.File(layout.DAEMON, json.dumps({**present, **wanted}, indent=2) + "\n")


@deploy("Docker")
def before_packages(state: State) -> None:
    """The configuration comes first, so that the engine starts with it; then Docker's repository where it is needed."""
    installed = state["docker"]["engine"]
    files.sync(
        name="daemon.json: containers outlive the engine, logs are capped",
        state=state, wanted=[daemon(state)],
        check=f"dockerd --validate --config-file {layout.DAEMON}" if installed else "",
        # The reload turns live-restore on: without it, the restart would stop the containers.
        then="systemctl reload docker && sleep 1 && systemctl restart docker" if installed else "",
    )  # fmt: skip
    wanted = from_docker(state)
    commands.run(
        name="Key of Docker's repository",
        wanted=key_commands(state["system"]) if wanted else [],
        otherwise="Docker comes from the distribution, or is there",
    )
    files.sync(name="Docker's repository", state=state, wanted=[source(state["system"])] if wanted else [])
    commands.run(
        name="Install Docker from its own repository",
        wanted=[packages.REFRESH, packages.install(_DOCKER)] if wanted else [],
        otherwise="Docker comes from the distribution, or is there",
    )


@deploy("Docker")
def running(state: State) -> None:
    """The engine runs, now and after a boot."""
    failing = "Docker does not start. Log in and see `journalctl -u docker -n 50`; what ran before may be down."
    commands.run(
        name="The engine runs, also after a boot",
        wanted=commands.started(state, "docker.service", failing),
        otherwise="the engine runs",
    )
