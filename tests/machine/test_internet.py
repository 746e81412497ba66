"""The internet machine, in a sandbox of its own without a cloud: every service as its users meet it."""

import http.client
import ipaddress
import os
import shlex
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import ovh
import pytest
import small_world

from cloud.dns import served
from sandbox import ca, internet
from sandbox.machine import Machine, load
from sandbox.world import World, wait_for

pytestmark = pytest.mark.machine

ROOT = Path(__file__).parents[2]
NAME = "test-internet"
FOREIGN = [  # of example.test, without the apex' address
    ("", "MX", "1 mx1.mail.ovh.net."),
    ("", "MX", "5 mx2.mail.ovh.net."),
    ("", "NS", "ns1.sandbox.test."),
    ("", "SPF", "v=spf1 include:mx.ovh.com -all"),
    ("", "TXT", '"site-verification=3f7c"'),
    ("autoconfig", "CNAME", "mailconfig.ovh.net."),
    ("mail", "A", "10.66.0.25"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with small_world.with_internet(NAME) as made:
        yield made


@pytest.fixture(scope="module")
def machine(world: World) -> Machine:
    return load(world.name, "internet")


@pytest.fixture
def client(world: World) -> Iterator[Any]:
    """OVH's own client, with the sandbox's keys. What is written to example.test is taken back at the end."""
    values = internet.credentials(world)
    ovh.client.ENDPOINTS["sandbox"] = values["OVH_ENDPOINT"]
    made = ovh.Client(
        "sandbox", *(values[f"OVH_{k}"] for k in ("APPLICATION_KEY", "APPLICATION_SECRET", "CONSUMER_KEY"))
    )
    before = records(made)
    yield made
    after = records(made)
    for row in after.keys() - before.keys():
        made.delete(f"/domain/zone/example.test/record/{after[row]}")
    for name, kind, target in before.keys() - after.keys():
        made.post("/domain/zone/example.test/record", subDomain=name, fieldType=kind, target=target)
    made.post("/domain/zone/example.test/refresh")


def records(client: Any) -> dict[tuple[str, str, str], int]:
    """The records of example.test, and their ids."""
    path = "/domain/zone/example.test/record"
    found = [client.get(f"{path}/{identifier}") for identifier in client.get(path)]
    return {(r["subDomain"], r["fieldType"], r["target"]): r["id"] for r in found}


def answers(world: World, name: str, kind: str = "A") -> set[str]:
    found = served.ask(world.ipv4(3), name, kind)
    assert found is not None, f"the DNS server does not answer for {name}"
    return set(found.targets)


def https(world: World, name: str, path: str, method: str = "GET") -> http.client.HTTPResponse:
    """Ask a name over HTTPS as a machine of the sandbox does: it trusts the sandbox's authority and nobody else."""
    context = ssl.create_default_context(cafile=ca.authority()[0])
    connection = http.client.HTTPSConnection(name, timeout=10)
    plain = socket.create_connection((world.ipv4(3), 443), timeout=10)
    connection.sock = context.wrap_socket(plain, server_hostname=name)
    connection.request(method, path)
    return connection.getresponse()


def git(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "http.curloptResolve": f"git.sandbox.test:443:{world.ipv4(3)}",
        "http.sslCAInfo": str(ca.authority()[0]),
        "user.name": "T",
        "user.email": "t@example.test",
    }
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null"}
    environment.pop("GIT_SSL_CAINFO", None)  # it would win over the setting
    return subprocess.run(["git", *options, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_the_overridden_names_lead_to_the_machine_and_nothing_of_ours_resolves_yet(world: World) -> None:
    for name in ("ghcr.io", "registry-1.docker.io", "auth.docker.io", "acme-v02.api.letsencrypt.org"):
        assert answers(world, name) == {world.ipv4(3)}
        assert answers(world, name, "AAAA") == {str(ipaddress.ip_address(world.ipv6(3)))}
    assert answers(world, "git.sandbox.test") == {world.ipv4(3)}
    assert answers(world, "koprogo.test") == set()
    assert answers(world, "api.koprogo.test") == set()
    assert answers(world, "mail.koprogo.test") == {"10.66.0.25"}


def test_a_name_resolves_only_after_a_refresh(world: World, client: Any) -> None:
    client.post("/domain/zone/example.test/record", fieldType="A", subDomain="once", target="10.66.0.1", ttl=60)
    # Once another zone's refresh is through, this one would be as well, had it been published.
    client.post("/domain/zone/koprogo.test/refresh")
    wait_for(lambda: not client.get("/domain/zone/koprogo.test/task?status=doing"), 5, "koprogo.test is not deployed")
    assert answers(world, "once.example.test") == set()
    serial = client.get("/domain/zone/example.test/soa")["serial"]
    client.post("/domain/zone/example.test/refresh")
    wait_for(lambda: answers(world, "once.example.test") == {"10.66.0.1"}, 5, "it is not served")
    assert client.get("/domain/zone/example.test/soa")["serial"] == serial + 1
    assert client.get("/domain/zone/example.test/status")["isDeployed"] is True


def test_a_zone_that_knot_refuses_leaves_the_old_one_served(world: World, client: Any) -> None:
    # Correct for the API, which looks at little of a TLSA record, and not for a zone file.
    bad = client.post("/domain/zone/koprogo.test/record", fieldType="TLSA", subDomain="x", target="not one")
    client.post("/domain/zone/koprogo.test/refresh")

    def status() -> Any:
        return client.get("/domain/zone/koprogo.test/status")

    wait_for(lambda: status()["errors"], 10, "knot took it")
    assert status()["isDeployed"] is False
    assert answers(world, "mail.koprogo.test") == {"10.66.0.25"}
    client.delete(f"/domain/zone/koprogo.test/record/{bad['id']}")
    client.post("/domain/zone/koprogo.test/refresh")
    wait_for(lambda: status()["isDeployed"], 10, "the zone did not recover")


def test_the_operation_shows_then_does_then_finds_nothing_to_do(world: World, client: Any, tmp_path: Path) -> None:
    variables = {
        **internet.credentials(world),
        "OS_USERNAME": "user-abc",
        "OS_PASSWORD": "unused",
        "OS_PROJECT_ID": "5d5b0c1e5c0f4c1f8f7f0f3a2b1c0d9e",
        "SSH_PUBLIC_KEY": str(tmp_path / "key.pub"),
        "KOPROGO_DOMAIN": "example.test",
        "ACME_EMAIL": "syndic@example.test",
        "DNS_RESOLVERS": world.ipv4(3),
    }
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    (tmp_path / ".env").write_text("".join(f"{k}={shlex.quote(v)}\n" for k, v in variables.items()))
    (tmp_path / "records.py").write_text(
        "from operations import dns\n"
        'dns.records(name="DNS", names=["example.test", "api.example.test"], ipv4="10.66.0.7", ipv6="fd66::7")\n'
    )

    def pyinfra(*options: str) -> str:
        command = [str(Path(sys.executable).parent / "pyinfra"), "@local", str(tmp_path / "records.py"), *options]
        environment = {**os.environ, "ENV_FILE": str(tmp_path / ".env")}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        assert not [v for k, v in variables.items() if k.startswith("OVH_") and "ENDPOINT" not in k and v in output]
        assert "Traceback" not in output
        return output

    assert sorted(records(client)) == sorted([*FOREIGN, ("", "A", "10.66.0.80")])
    plan = [
        "+ A    api.example.test  10.66.0.7",
        "+ AAAA api.example.test  fd66::7",
        "~ A    example.test      10.66.0.80 → 10.66.0.7, ttl 0 → ttl 300",
        "+ AAAA example.test      fd66::7",
    ]
    shown = [line.strip() for line in pyinfra("--dry").splitlines()]
    assert [line for line in shown if line in plan] == plan
    assert sorted(records(client)) == sorted([*FOREIGN, ("", "A", "10.66.0.80")])
    assert "1         -       -" in pyinfra("-y")
    assert answers(world, "api.example.test", "AAAA") == {"fd66::7"}
    assert answers(world, "example.test") == {"10.66.0.7"}
    ours = [(name, kind, to) for name in ("", "api") for kind, to in (("A", "10.66.0.7"), ("AAAA", "fd66::7"))]
    assert sorted(records(client)) == sorted(FOREIGN + ours)
    assert "-         -       1" in pyinfra("-y")
    assert '"hosts_with_change": []' in pyinfra("--dry", "--json")
    # A key that OVH does not know: one line, before anything is done.
    right = variables["OVH_CONSUMER_KEY"]
    (tmp_path / ".env").write_text((tmp_path / ".env").read_text().replace(right, "f" * 32))
    assert "OVH does not know the consumer key for this application. Check OVH_CONSUMER_KEY" in pyinfra("--dry")


def test_the_registry_is_read_by_its_public_names_and_written_by_nobody_else(world: World, machine: Machine) -> None:
    assert https(world, "ghcr.io", "/v2/gilmry/koprogo/backend/tags/list").status == http.client.OK
    assert https(world, "registry-1.docker.io", "/v2/library/postgres/manifests/15").status == http.client.OK
    assert https(world, "ghcr.io", "/v2/gilmry/koprogo/backend/blobs/uploads/", "POST").status == http.client.FORBIDDEN
    own = machine.run(
        ["curl", "-so", "/dev/null", "-w", "%{http_code}", "-XPOST", "https://ghcr.io/v2/a/b/blobs/uploads/"]
    )
    assert own.stdout == "202"


def test_git_is_read_by_all_and_pushed_to_with_the_password(world: World, machine: Machine, tmp_path: Path) -> None:
    as_owner = ["runuser", "-u", "www-data", "--", "git"]
    machine.run(["install", "-d", "-o", "www-data", "/srv/git/t.git"])
    machine.run([*as_owner, "init", "-q", "--bare", "-b", "main", "/srv/git/t.git"])
    clone = git(world, "clone", "-q", "https://git.sandbox.test/gilmry/koprogo.git", str(tmp_path / "koprogo"))
    assert clone.returncode == 0, clone.stderr
    assert (tmp_path / "koprogo/deploy/production/docker-compose.yml").is_file()
    there = ["-C", str(tmp_path / "koprogo"), "push", "-q"]
    refused = git(world, *there, "https://git.sandbox.test/t.git", "main")
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr
    pushed = git(world, *there, f"{internet.git_push_url(world)}t.git", "main")
    assert pushed.returncode == 0, pushed.stderr
    head = git(world, "-C", str(tmp_path / "koprogo"), "rev-parse", "HEAD").stdout
    assert machine.run([*as_owner, "-C", "/srv/git/t.git", "rev-parse", "main"]).stdout == head


@pytest.mark.parametrize("port", [25, 587])
def test_a_mail_arrives(world: World, port: int) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = (
        f"Sauvegarde échouée {port}",
        "koprogo@koprogo.test",
        "Syndic <syndic@example.test>",
    )
    mail.set_content("Voir /home/koprogo/backups")
    context = ssl.create_default_context(cafile=ca.authority()[0])
    with smtplib.SMTP(world.ipv4(3), port, timeout=10) as connection:
        # The name to verify; this host does not ask the sandbox's DNS server.
        connection._host = "mail.sandbox.test"  # type: ignore[attr-defined]  # smtplib has no other way
        connection.starttls(context=context)
        connection.send_message(mail, to_addrs=["syndic@example.test", "second@example.test"])
    (arrived,) = [m for m in internet.mails(world) if m["Subject"].endswith(f" {port}")]
    assert arrived["Subject"] == f"Sauvegarde échouée {port}"
    assert arrived["X-Envelope-To"] == "syndic@example.test, second@example.test"
    assert arrived.get_content().strip() == "Voir /home/koprogo/backups"


def test_it_comes_back_by_itself_with_what_it_had(world: World, machine: Machine, client: Any) -> None:
    client.post("/domain/zone/example.test/record", fieldType="A", subDomain="stays", target="10.66.0.2", ttl=60)
    client.post("/domain/zone/example.test/refresh")
    wait_for(lambda: answers(world, "stays.example.test") == {"10.66.0.2"}, 5, "it is not served")
    client.post("/domain/zone/example.test/record", fieldType="A", subDomain="waits", target="10.66.0.3", ttl=60)
    before, leader = internet.acme_root(world), machine.leader
    machine.run(["systemctl", "reboot"], check=False)
    wait_for(lambda: machine.leader not in (None, leader), 60, "it did not reboot")
    internet.start(world, machine.layers[: len(machine.layers) - len(internet.layers())])
    assert answers(world, "stays.example.test") == {"10.66.0.2"}
    assert answers(world, "waits.example.test") == set()
    after = internet.acme_root(world)
    assert after.endswith(before)  # certificates of before still verify
    assert after.count("BEGIN CERTIFICATE") == before.count("BEGIN CERTIFICATE") + 1
