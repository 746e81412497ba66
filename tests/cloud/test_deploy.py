"""deploy.py on a deployed server: what drifts is mended, and nothing else is touched; who is outside stays outside."""

import asyncio
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Deployed, Operator, Server

from sandbox.machine import Machine, load
from sandbox.world import World, wait_for

pytestmark = [pytest.mark.machine, pytest.mark.cloud]

CLONE = "/home/koprogo/koprogo"
LIBRARY = "/usr/local/lib/koprogo/koprogo"
ENV = f"{CLONE}/deploy/production/.env"


REPOSITORY = "Repository | Clone of https://git.sandbox.test/gilmry/koprogo.git, branch main"
ENVIRONMENT = "Environment | .env at 0600, with the secrets of this server"
FIREWALL = "Firewall | Let in SSH, HTTP and HTTPS, refuse the rest, also after a boot"
NAMES = "Public names | api.koprogo.test and koprogo.test lead to {ipv4}"
APPLICATION = "Application | koprogo deploy"
SITE = "Public site | https://api.koprogo.test/api/v1/health and https://koprogo.test/ answer, HTTP redirects"


@dataclass(frozen=True)
class Drift:
    """What somebody did to a server; what the plan then says; commands, and what they print once it is mended."""

    damage: str
    plan: list[str]
    mended: dict[str, str]


DRIFTS = {
    "access": Drift(
        f"chmod 644 {ENV}; ufw disable; rm /etc/fail2ban/jail.d/koprogo.local /var/log/koprogo-health.log;"
        r"sed -i 's/^PasswordAuth.*/PasswordAuthentication yes/' /etc/ssh/sshd_config.d/00-koprogo.conf;"
        f"chmod 777 /home/koprogo/backups; chown root:root {CLONE}/.git",
        [
            FIREWALL,
            "fail2ban | Jail sshd: 5 failures, 10 minutes, on the journal",
            "SSH | Keys only, not as root",
            REPOSITORY,
            ENVIRONMENT,
            "Program | Their owners and modes",
        ],
        {
            f"stat -c %a:%U {ENV}": "600:koprogo",
            "ufw status | head -n 1": "Status: active",
            "fail2ban-client get sshd maxretry": "5",
            "stat -c %a:%U:%G /var/log/koprogo-health.log": "640:koprogo:adm",
            "sshd -T | grep ^passwordauthentication": "passwordauthentication no",
            "stat -c %a /home/koprogo/backups": "700",
            f"find {CLONE} ! -user koprogo | wc -l": "0",
        },
    ),
    "settings": Drift(
        f"sed -i 's/^RUST_LOG=.*/RUST_LOG=trace/; s/^JWT_SECRET=.*/JWT_SECRET=known/' {ENV}; echo DEBUG=1 >> {ENV};"
        f"runuser -u koprogo -- git -C {CLONE} remote set-url origin https://elsewhere.test/x.git;"
        "ufw delete allow 443/tcp; systemctl disable -q --now koprogo-gitops.timer",
        [FIREWALL, REPOSITORY, ENVIRONMENT, NAMES, APPLICATION, "GitOps | Look for new commits every 3 minutes", SITE],
        {
            f"grep -E '^(RUST_LOG|DEBUG)=|=known' {ENV}": "RUST_LOG=warn",
            f"runuser -u koprogo -- git -C {CLONE} config remote.origin.url": "https://git.sandbox.test/gilmry/koprogo.git",
            "ufw status | grep -c ^443/tcp": "2",
            "systemctl is-enabled koprogo-gitops.timer": "enabled",
            "systemctl is-active koprogo-gitops.timer": "active",
        },
    ),
    "losses": Drift(
        f"rm {ENV} /etc/cron.d/koprogo; iptables -F DOCKER-USER; fail2ban-client stop sshd;"
        f"docker stop koprogo-frontend; echo 'raise SystemExit(3)' > {LIBRARY}/cli.py; touch {LIBRARY}/old.py",
        [
            FIREWALL,
            "fail2ban | fail2ban guards SSH, also after a boot",
            ENVIRONMENT,
            "Program | koprogo, in /usr/local",
            NAMES,
            APPLICATION,
            "Schedule | Backup at 02:00, drill on Sundays, health every 5 minutes",
            SITE,
        ],
        {
            f"stat -c %a:%U {ENV}": "600:koprogo",
            "iptables -S DOCKER-USER | grep -c DROP": "1",
            "fail2ban-client get sshd bantime": "600",
            "docker inspect -f '{{.State.Health.Status}}' koprogo-frontend": "healthy",
            "grep -c koprogo /etc/cron.d/koprogo": "3",
            "koprogo status >/dev/null; echo $?": "0",
            f"ls {LIBRARY} | grep -c old.py || true": "0",
        },
    ),
}


def sudo(server: Server, command: str) -> str:
    return str(server.run(f"sudo sh -c {shlex.quote(command)}").stdout).strip()


def secrets_of(server: Server) -> list[str]:
    names = ("POSTGRES_PASSWORD=", "JWT_SECRET=")
    return sorted(line for line in sudo(server, f"cat {ENV}").splitlines() if line.startswith(names))


@pytest.mark.parametrize("drift", DRIFTS.values(), ids=DRIFTS.keys())
def test_what_drifted_is_planned_and_mended_and_the_secrets_stay(drift: Drift, deployed: Deployed) -> None:
    operator, server = deployed.operator, deployed.server
    before = secrets_of(server)
    expected = [line.format(ipv4=server.ipv4) for line in drift.plan]
    sudo(server, drift.damage)
    assert operator.planned() == expected
    assert operator.apply() == expected
    assert {look: sudo(server, look) for look in drift.mended} == drift.mended
    assert secrets_of(server) == before


def test_nothing_is_left_to_change_after_all_that(deployed: Deployed) -> None:
    assert deployed.operator.planned() == []


def test_secrets_are_long_and_only_where_they_belong(deployed: Deployed) -> None:
    values = {name: value for name, _, value in (line.partition("=") for line in secrets_of(deployed.server))}
    assert {name: len(value) for name, value in values.items()} == {"POSTGRES_PASSWORD": 32, "JWT_SECRET": 64}
    for value in values.values():
        # By standard input: sudo writes command lines to the journal.
        look = "sudo grep -rlF -f - /etc /home /tmp /var/log /var/tmp /var/lib/koprogo /root || true"
        found = deployed.server.run(look, input=value)
        assert found.stdout.split() == ["/etc/koprogo/secrets.json", ENV]
    assert sudo(deployed.server, "stat -c %a:%U /etc/koprogo/secrets.json") == "600:root"


def test_a_secret_of_the_operator_shows_nowhere(deployed: Deployed, tmp_path: Path) -> None:
    operator = other_settings(deployed.operator, tmp_path, SMTP_PASSWORD='pa$$ "word" #1', APP_TOKEN="tok`id`en")
    said = operator.pyinfra("--dry", "--diff", "-vvv", "--debug-operations")
    done = operator.pyinfra("-y", "-vvv")
    output = said.stdout + said.stderr + done.stdout + done.stderr
    assert "+ TOKEN" in output
    for secret in ("pa$$", "tok`id`en"):
        assert secret not in output
        assert secret.replace("$", "\\$") not in output
    lines = sudo(deployed.server, f"cat {ENV}").splitlines()
    assert "SMTP_PASSWORD='pa$$ \"word\" #1'" in lines
    assert "TOKEN='tok`id`en'" in lines
    assert operator.planned() == []
    assert deployed.operator.apply() == [
        line.format(ipv4=deployed.server.ipv4) for line in (ENVIRONMENT, NAMES, APPLICATION, SITE)
    ]


def other_settings(operator: Operator, folder: Path, **lines: str) -> Operator:
    """The same server, with other lines in .env."""
    for name in ("inventory.json", "known_hosts"):
        (folder / name).write_bytes((operator.folder / name).read_bytes())
    before = (operator.folder / ".env").read_text().splitlines()
    kept = [line for line in before if line.partition("=")[0] not in lines]
    added = [f"{name}='{value}'" for name, value in lines.items()]
    (folder / ".env").write_text("\n".join([*kept, *added]) + "\n")
    return Operator(folder)


def test_a_file_that_its_service_refuses_does_not_stay(deployed: Deployed) -> None:
    """A broken line elsewhere makes sshd refuse the whole configuration: ours is taken back, and SSH goes on."""
    server, operator = deployed.server, deployed.operator
    sudo(server, "rm /etc/ssh/sshd_config.d/00-koprogo.conf; echo Nonsense yes > /etc/ssh/sshd_config.d/99-broken.conf")
    try:
        failed = operator.pyinfra("-y", check=False)
        assert failed.returncode != 0
        assert "the former state is back, nothing was restarted" in failed.stdout + failed.stderr
        assert "Traceback" not in failed.stdout + failed.stderr
        assert sudo(server, "ls /etc/ssh/sshd_config.d") == "99-broken.conf"
    finally:
        sudo(server, "rm /etc/ssh/sshd_config.d/99-broken.conf")
    assert operator.apply() == ["SSH | Keys only, not as root"]


@pytest.mark.parametrize(
    "lines",
    [{"REPOSITORY_URL": "https://git.sandbox.test/gilmry/none.git"}, {"BRANCH": "nosuch"}],
    ids=["url", "branch"],
)
def test_a_repository_that_cannot_be_read_changes_nothing(
    lines: dict[str, str], deployed: Deployed, tmp_path: Path
) -> None:
    failed = other_settings(deployed.operator, tmp_path, **lines).pyinfra("-y", check=False)
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "The server cannot read branch" in said
    assert "Traceback" not in said
    assert deployed.operator.planned() == []


@pytest.fixture
def outsider(world: World) -> Machine:
    return load(world.name, "internet")


async def _open(address: str, port: int, gate: asyncio.Semaphore) -> int | None:
    async with gate:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 1.5)
        except (TimeoutError, OSError):
            return None
        writer.close()
        return port


def open_ports(address: str) -> list[int]:
    """Ports that answer from here, which is outside the server."""

    async def scan() -> list[int]:
        gate = asyncio.Semaphore(800)
        ports = [*range(1, 1100), 2375, 2376, 3000, 3306, 5000, 5432, 6379, *range(8000, 8100), 9000, 9090, 9100, 10250]
        found = await asyncio.gather(*(_open(address, port, gate) for port in ports))
        return [port for port in found if port]

    return asyncio.run(scan())


@pytest.fixture
def published(deployed: Deployed) -> Iterator[None]:
    """A container that publishes a port of its own, and one that another of its ports is published as."""
    image = sudo(deployed.server, "docker inspect -f '{{.Config.Image}}' koprogo-backend")
    ports = "-p 8088:8000 -p 8089:80"
    sudo(deployed.server, f"docker run -d --name intruder {ports} --entrypoint python3 {image} -m http.server 8000")
    yield
    sudo(deployed.server, "docker rm -f intruder")


@pytest.mark.usefixtures("published")
def test_only_22_80_and_443_answer_from_outside_though_a_container_publishes_8088(deployed: Deployed) -> None:
    server = deployed.server
    wait_for(
        lambda: "200" in sudo(server, "curl -sI http://127.0.0.1:8088/ || true"), 10, "the container does not answer"
    )
    assert open_ports(server.ipv4) == [22, 80, 443]
    assert open_ports(server.ipv6) == [22, 80, 443]


def test_five_failed_logins_close_ssh_to_that_address_and_to_no_other(outsider: Machine, deployed: Deployed) -> None:
    server, address = deployed.server, outsider.ipv4
    options = [f"-o{option}" for option in ("BatchMode=yes", "StrictHostKeyChecking=no", "ConnectTimeout=3")]
    # The ban drops the packets of the login that earned it: without a bound, ssh would wait longer than the ban lasts.
    login = ["timeout", "10", "ssh", *options, f"nobody-such@{server.ipv4}"]
    site = ["curl", "-sk", "-m", "5", "-o", "/dev/null", f"https://{server.ipv4}/"]
    try:
        for _ in range(4):
            assert "Permission denied" in outsider.run(login, check=False).stderr
        assert address not in sudo(server, "fail2ban-client banned")

        def banned_after_another() -> bool:
            # sshd's own penalties (the port scan earned some) may refuse a login before it counts as a failed one.
            outsider.run(login, check=False)
            return address in sudo(server, "fail2ban-client banned")

        wait_for(banned_after_another, 60, "five failures and no ban")
        assert "Permission denied" not in outsider.run(login, check=False).stderr
        assert outsider.run(site, check=False).returncode == 0
        assert server.run("echo in").stdout == "in\n"
    finally:
        sudo(server, f"fail2ban-client set sshd unbanip {address}")


def test_a_status_page_comes_and_goes_with_its_setting(deployed: Deployed) -> None:
    operator, server = deployed.operator, deployed.server
    env_file = operator.folder / ".env"
    before, url = env_file.read_text(), "https://status.koprogo.test/"
    curl = ["curl", "-sS", "--noproxy", "*", "-m", "5", "--cacert", str(operator.folder / "public-ca.crt")]
    ask = [*curl, "--resolve", f"status.koprogo.test:443:{server.ipv4}", url]
    containers = "docker ps -a --format '{{.Names}}' | grep -c status-page || true"
    assert operator.planned() == []
    try:
        env_file.write_text(f"{before}STATUS_PAGE_DOMAIN=status.koprogo.test\nSTATUS_PAGE_LANGUAGE=fr\n")
        assert operator.apply() == [
            "Packages | Install busybox-static",
            "DNS records",
            "Program | Its configuration",
            f"Public names | api.koprogo.test and koprogo.test and status.koprogo.test lead to {server.ipv4}",
            f"Status page | {url}",
            SITE.replace(" answer,", f" and {url} answer,"),
        ]
        assert "<title>État de koprogo.test: " in operator.run(*ask).stdout
        assert operator.planned() == []
    finally:
        env_file.write_text(before)
    assert sudo(server, containers) == "1"
    operator.apply()
    assert sudo(server, containers) == "0"
    assert operator.planned() == []
