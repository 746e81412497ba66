"""provision.py as an operator runs it, on a real OpenStack. What it says is compared with what the cloud's API says."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from conftest import Operator
from openstack.connection import Connection

from sandbox import machine as machines
from sandbox.world import World

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
NAME = "spare"
LAST = "Plan: 0 to create, 0 to change, 15 in place.\nNothing to do: everything is in place.\n"


@pytest.fixture(scope="module")
def api(cloud: dict[str, str]) -> Connection:
    """The cloud, as the operator's own account sees it."""
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name=cloud["OS_REGION_NAME"],
        auth={
            "auth_url": cloud["OS_AUTH_URL"],
            "username": cloud["OS_USERNAME"],
            "password": cloud["OS_PASSWORD"],
            "project_id": cloud["OS_PROJECT_ID"],
            "user_domain_name": "Default",
        },
    )


def remove(api: Connection) -> None:
    """Take away everything named spare."""
    for server in api.compute.servers(name=f"^{NAME}$"):
        api.delete_server(server.id, wait=True)
    for group in api.network.security_groups(name=NAME):
        api.network.delete_security_group(group)
    api.compute.delete_keypair(NAME)


@pytest.fixture
def operator(api: Connection, operator_env: Operator) -> Iterator[Operator]:
    """An operator who has nothing in the cloud yet."""
    remove(api)
    yield operator_env
    remove(api)


def there_is(api: Connection) -> dict[str, Any]:
    """What the API has under our name."""
    groups = list(api.network.security_groups(name=NAME))
    return {
        "key pairs": [pair.name for pair in api.compute.keypairs() if pair.name == NAME],
        "groups": [group.description for group in groups],
        "rules": sorted(
            " ".join(
                str(rule[key]) for key in ("direction", "ethertype", "protocol", "port_range_min", "port_range_max")
            )
            for group in groups
            for rule in group.security_group_rules
        ),
        "servers": [server.status for server in api.compute.servers(name=f"^{NAME}$")],
    }


NOTHING: dict[str, Any] = {"key pairs": [], "groups": [], "rules": [], "servers": []}
EVERYTHING: dict[str, Any] = {
    "key pairs": ["spare"],
    "groups": ["project=koprogo environment=production"],
    "rules": [
        "egress IPv4 None None None",
        "egress IPv6 None None None",
        "ingress IPv4 icmp None None",
        "ingress IPv4 tcp 22 22",
        "ingress IPv4 tcp 443 443",
        "ingress IPv4 tcp 80 80",
        "ingress IPv6 ipv6-icmp None None",
        "ingress IPv6 tcp 22 22",
        "ingress IPv6 tcp 443 443",
        "ingress IPv6 tcp 80 80",
    ],
    "servers": ["ACTIVE"],
}


def set_variable(operator: Operator, **variables: str) -> None:
    """Append lines to .env in place of those that are there."""
    path = operator.folder / ".env"
    lines = [line for line in path.read_text().splitlines() if line.split("=")[0] not in variables]
    path.write_text("".join(f"{line}\n" for line in [*lines, *(f'{name}="{v}"' for name, v in variables.items())]))


def as_admin(world: World, statement: str) -> None:
    """Run a line of Python in the control plane, where `cloud` is the administrator's connection."""
    login = "import sys; sys.path.insert(0, '/usr/lib/sandbox'); import first_start; cloud = first_start.connection()"
    machines.load(world.name, "control").run(["python3", "-c", f"{login}\n{statement}"])


def test_from_nothing_to_a_server_and_again(operator: Operator, api: Connection) -> None:
    dry = operator.provision("--dry-run").stdout
    assert dry.endswith("Plan: 15 to create, 0 to change, 0 in place.\nNothing was done: this was a dry run.\n")
    assert there_is(api) == NOTHING
    assert not (operator.folder / "inventory.json").exists()

    operator.provision("--yes")
    assert there_is(api) == EVERYTHING

    (server,) = api.compute.servers(name=f"^{NAME}$")
    addresses = {one["version"]: one["addr"] for one in server.addresses["Ext-Net"]}
    assert server.metadata == {"project": "koprogo", "environment": "production"}
    assert json.loads((operator.folder / "inventory.json").read_text()) == {
        "servers": [
            {
                "name": "spare",
                "ipv4": addresses[4],
                "ipv6": addresses[6],
                "user": "ubuntu",
                "groups": ["web", "database"],
                "id": server.id,
            }
        ]
    }
    ssh = [
        "ssh", "-i", str(operator.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={operator.folder}/known_hosts",
        "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
    ]  # fmt: skip
    for address in addresses.values():
        done = subprocess.run(
            [*ssh, f"ubuntu@{address}", "hostname && sudo -n id -u"], capture_output=True, text=True, check=False
        )
        assert done.stdout == "spare\n0\n", done.stderr

    before = {name: (operator.folder / name).read_text() for name in ("inventory.json", "known_hosts")}
    for arguments in (["--yes"], ["--dry-run"], []):
        assert operator.provision(*arguments).stdout.endswith(LAST)
    assert {name: (operator.folder / name).read_text() for name in before} == before

    # a rule that somebody removed, and files that were lost, come back
    (group,) = api.network.security_groups(name=NAME)
    (https,) = (r for r in group.security_group_rules if r["port_range_min"] == 443 and r["ethertype"] == "IPv6")
    api.network.delete_security_group_rule(https["id"])
    for name in before:
        (operator.folder / name).unlink()
    said = operator.provision("--dry-run").stdout
    assert "  + rule            spare           in  IPv6 tcp 443 from anywhere\n" in said
    assert "Plan: 3 to create, 0 to change, 12 in place." in said
    operator.provision("--yes")
    assert there_is(api) == EVERYTHING
    assert {name: (operator.folder / name).read_text() for name in before} == before

    # what is too big is said, and left
    set_variable(operator, FLAVOR="d2-4")
    said = operator.provision("--yes").stdout
    assert "(flavor: d2-2 → d2-4)" in said
    assert said.endswith("Nothing to do: what is marked ! is left as it is.\n")
    set_variable(operator, FLAVOR="d2-2")

    # a new server at the old address has keys of its own, and those pinned for the old one do not count
    api.delete_server(server.id, wait=True)
    said = operator.provision("--dry-run").stdout
    assert "Plan: 3 to create, 0 to change, 12 in place." in said


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OS_PASSWORD": "wrong"},
            "OS_USERNAME or OS_PASSWORD is wrong: Keystone knows no user demo with this password.",
        ),
        (
            {"OS_PROJECT_ID": "0123abcd"},
            "OS_PROJECT_ID or OS_PROJECT_NAME is wrong: demo is not a member of '0123abcd'.",
        ),
        ({"OS_REGION_NAME": "GRA99"}, "OS_REGION_NAME: the cloud has no 'GRA99' here. It has: GRA11."),
        ({"FLAVOR": "d2-3"}, "FLAVOR: the cloud has no 'd2-3' here. It has: d2-"),
        ({"IMAGE": "Ubuntu 22"}, "IMAGE: the cloud has no 'Ubuntu 22' here. It has: Ubuntu 22.04"),
        ({"NETWORK": "ext-net"}, "NETWORK: the cloud has no 'ext-net' here. It has: Ext-Net."),
        ({"OS_AUTH_URL": "http://127.0.0.1:9/v3"}, "Logging in to http://127.0.0.1:9/v3: the cloud cannot be reached."),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    operator: Operator, api: Connection, variables: dict[str, str], said: str
) -> None:
    set_variable(operator, **variables)
    done = operator.provision("--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stdout
    assert there_is(api) == NOTHING


def test_a_full_quota_is_said_before_anything_is_made(operator: Operator, api: Connection, world: World) -> None:
    quota = "cloud.set_compute_quotas('koprogo-sandbox', instances=%d)"
    as_admin(world, quota % 0)
    try:
        done = operator.provision("--yes", check=False)
    finally:
        as_admin(world, quota % 10)
    assert done.returncode == 1
    assert done.stderr.startswith("The quota has no room: ")
    assert there_is(api) == NOTHING


def test_a_server_that_nova_cannot_make_is_reported_with_novas_reason(
    operator: Operator, api: Connection, world: World
) -> None:
    service = "s = next(s for s in cloud.compute.services() if s.binary == 'nova-compute'); cloud.compute.%s_service(s)"
    as_admin(world, service % "disable")
    try:
        done = operator.provision("--yes", check=False)
    finally:
        as_admin(world, service % "enable")
    (server,) = api.compute.servers(name=f"^{NAME}$")
    assert done.returncode == 1
    assert done.stderr.startswith("Nova could not make the server: No valid host was found")
    assert done.stderr.endswith(f"billed, until you remove it: openstack server delete {server.id}\n")
    assert not (operator.folder / "inventory.json").exists()

    again = operator.provision("--yes", check=False)
    assert again.returncode == 1
    assert again.stderr.startswith(f"The server spare ({server.id}) is in ERROR: No valid host was found")
    assert there_is(api)["servers"] == ["ERROR"]


def test_a_server_that_is_not_ours_is_not_touched(operator: Operator, api: Connection) -> None:
    theirs = api.create_server(NAME, flavor="d2-2", image="Debian 12", network="Ext-Net", auto_ip=False)
    done = operator.provision("--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The server spare ({theirs.id}) is not ours: it lacks the metadata project=koprogo")
    assert there_is(api) | {"servers": []} == NOTHING


def test_interrupted_it_says_one_line_and_the_next_run_goes_on(operator: Operator, api: Connection) -> None:
    process = subprocess.Popen(
        # Whoever starts the tests in the background has them ignore the signal, and children inherit that.
        ["env", "--default-signal=INT", sys.executable, "provision.py", "--yes"],
        cwd=ROOT,
        env={"ENV_FILE": str(operator.folder / ".env"), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not there_is(api)["servers"]:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "\nInterrupted. What was made stays; run the same command again to go on.\n"

    operator.provision("--yes")
    assert there_is(api) == EVERYTHING
    assert operator.provision("--yes").stdout.endswith(LAST)


def test_without_an_answer_nothing_is_made(operator: Operator, api: Connection) -> None:
    done = operator.provision(check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("Nothing was done: nobody answered. Run it in a terminal, or with --yes.\n")
    assert there_is(api) == NOTHING
