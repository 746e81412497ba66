"""provision.py as an operator runs it, on a real OpenStack. What it says is compared with what the cloud's API says."""

import json
import re
import signal
import subprocess
import time

import pytest
from cloud_project import EVERYTHING, NOTHING, as_admin, set_variable, there_is
from conftest import Operator
from openstack.connection import Connection

from sandbox.world import World

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

NAME = "spare"
LAST = "Nothing to do: everything is in place.\n"


def test_from_nothing_to_a_server_and_again(operator: Operator, api: Connection) -> None:
    dry = operator.provision("--dry-run").stdout
    assert "\nPlan: 15 to create, 0 to change, 0 in place.\nd2-2: 1 vCPU, 2 GB of memory, 25 GB of disk\n" in dry
    assert dry.endswith("\nNothing was done: this was a dry run.\n")
    assert there_is(api, NAME) == NOTHING
    assert not (operator.folder / "inventory.json").exists()

    operator.provision("--yes")
    assert there_is(api, NAME) == EVERYTHING

    (server,) = api.compute.servers(name=f"^{NAME}$")
    addresses = {one["version"]: one["addr"] for one in server.addresses["Ext-Net"]}
    assert len(server.metadata.pop("apply")) == 12
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
                "region": "GRA11",
                "project": api.session.get_project_id(),
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
    assert there_is(api, NAME) == EVERYTHING
    assert {name: (operator.folder / name).read_text() for name in before} == before

    # a new server at the old address has keys of its own, and those pinned for the old one do not count
    api.delete_server(server.id, wait=True)
    said = operator.provision("--dry-run").stdout
    assert "Plan: 3 to create, 0 to change, 12 in place." in said


NO_CONNECTION = "  no connection to the cloud (POST /v3/auth/tokens); trying again in"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"OS_PASSWORD": "wrong"},
            ["OS_USERNAME or OS_PASSWORD is wrong: Keystone knows no user demo with this password."],
        ),
        (
            {"OS_PROJECT_ID": "0123abcd"},
            ["OS_PROJECT_ID or OS_PROJECT_NAME is wrong: demo is not a member of '0123abcd'."],
        ),
        ({"OS_REGION_NAME": "GRA99"}, ["OS_REGION_NAME: the cloud has no 'GRA99' here. It has: GRA11."]),
        (
            {"FLAVOR": "d2-3", "IMAGE": "Ubuntu 22", "NETWORK": "ext-net"},
            [
                "FLAVOR: the cloud has no 'd2-3' here. It has: d2-",
                "IMAGE: the cloud has no 'Ubuntu 22' here. It has: Ubuntu 22.04",
                "NETWORK: the cloud has no 'ext-net' here. It has: Ext-Net.",
            ],
        ),
        (
            {"OS_AUTH_URL": "http://127.0.0.1:9/v3"},
            [
                NO_CONNECTION,
                NO_CONNECTION,
                "Logging in to http://127.0.0.1:9/v3: the cloud cannot be reached. Nothing listens at 127.0.0.1:9.",
            ],
        ),
        (
            {"OS_AUTH_URL": "http://UNUSED:5000/v3"},
            [
                NO_CONNECTION,
                NO_CONNECTION,
                "Logging in to http://UNUSED:5000/v3: the cloud cannot be reached.",
            ],
        ),
        ({"SSH_PUBLIC_KEY": "none.pub"}, ["SSH_PUBLIC_KEY (none.pub): cannot be read", "Nothing was done: mend"]),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(
    operator: Operator, api: Connection, world: World, variables: dict[str, str], said: list[str]
) -> None:
    unused = world.ipv4(250)  # an address at which there is no machine
    set_variable(operator, **{name: value.replace("UNUSED", unused) for name, value in variables.items()})
    done = operator.provision("--yes", check=False)
    assert done.returncode == 1
    lines = done.stderr.replace(unused, "UNUSED").splitlines()
    assert [line[: len(wanted)] for line, wanted in zip(lines, said, strict=True)] == said
    assert there_is(api, NAME) == NOTHING


def test_the_account_may_come_from_openrc_or_from_clouds_yaml(operator: Operator) -> None:
    env = operator.folder / ".env"
    lines = [line.partition("=") for line in env.read_text().splitlines()]
    account = {name: value.strip("'\"") for name, _, value in lines if name.startswith("OS_")}
    env.write_text("".join(f"{name}={value}\n" for name, _, value in lines if not name.startswith("OS_")))
    lacking = operator.provision("plan", check=False)
    assert lacking.returncode == 1
    assert "OS_USERNAME: missing" in lacking.stderr

    exports = "".join(f'export {name}="{value}"\n' for name, value in account.items() if name != "OS_PASSWORD")
    openrc = operator.folder / "openrc.sh"
    openrc.write_text(
        f"#!/usr/bin/env bash\n{exports}read -sr OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\n"
    )
    nobody_to_ask = operator.provision("plan", "--openrc", str(openrc), check=False)
    assert (nobody_to_ask.returncode, nobody_to_ask.stderr.startswith("OS_PASSWORD: missing")) == (1, True)
    password = account["OS_PASSWORD"]
    assert operator.provision("plan", "--openrc", str(openrc), check=False, OS_PASSWORD=password).returncode == 2

    auth = {"auth_url": account["OS_AUTH_URL"], "username": account["OS_USERNAME"], "password": password}
    auth |= {"project_id": account["OS_PROJECT_ID"], "user_domain_name": "Default"}
    clouds = {"clouds": {"ovh": {"region_name": "GRA11", "auth": auth}}}
    (operator.folder / "clouds.yaml").write_text(json.dumps(clouds))
    assert operator.provision("plan", check=False, OS_CLOUD="ovh").returncode == 2


def test_no_secret_is_in_any_output(operator: Operator, cloud: dict[str, str]) -> None:
    said = ""
    for command in (("apply", "--yes", "-v"), ("plan", "--json", "-v"), ("status", "-v"), ("console", "-v")):
        done = operator.provision(*command)
        said += done.stdout + done.stderr
    done = operator.provision("destroy", "--yes", "--name", NAME, "-v")
    said += done.stdout + done.stderr
    assert "POST /v3/auth/tokens 201" in said
    said = said.replace("koprogo-sandbox", "")  # the password of the sandbox is a part of its project's name
    env = (operator.folder / ".env").read_text()
    secrets = [line.partition("=")[2].strip("'\"") for line in env.splitlines() if "SECRET" in line or "_KEY=" in line]
    secrets = [secret for secret in secrets if not secret.endswith(".pub")]
    assert len(secrets) == 3
    for secret in (cloud["OS_PASSWORD"], *secrets):
        assert secret not in said
    assert "X-Auth-Token" not in said
    assert "gAAAAA" not in said  # how a token of Keystone's begins


def test_a_full_quota_is_said_before_anything_is_made(operator: Operator, api: Connection, world: World) -> None:
    quota = "cloud.set_compute_quotas('koprogo-sandbox', instances=%d)"
    as_admin(world, quota % 0)
    try:
        done = operator.provision("--yes", check=False)
    finally:
        as_admin(world, quota % 10)
    assert done.returncode == 1
    assert re.match(r"The quota has no room: \d+ of 0 servers in use, and 1 more needed\.", done.stderr)
    assert there_is(api, NAME) == NOTHING


def test_a_server_that_nova_cannot_make_is_reported_with_novas_reason(
    operator: Operator, api: Connection, world: World
) -> None:
    service = "s = next(s for s in cloud.compute.services() if s.binary == 'nova-compute'); cloud.compute.%s_service(s)"
    as_admin(world, service % "disable")
    try:
        done = operator.provision("--yes", check=False)
    finally:
        as_admin(world, service % "enable")
    assert done.returncode == 1
    assert done.stderr.startswith("Nova could not make the server: No valid host was found")
    assert done.stderr.endswith(" It stays, and is billed, until it is removed. Run again, and it is replaced.\n")
    assert not (operator.folder / "inventory.json").exists()
    assert there_is(api, NAME)["servers"] == ["ERROR"]

    shown = operator.provision("plan", check=False).stdout
    assert (
        "\n-/+ server          spare           d2-2, Ubuntu 22.04, Ext-Net, environment production  (it is in ERROR"
        in shown
    )
    operator.provision("--yes")
    assert there_is(api, NAME) == EVERYTHING


def test_a_server_that_is_not_ours_is_not_touched(operator: Operator, api: Connection) -> None:
    theirs = api.create_server(NAME, flavor="d2-2", image="Debian 12", network="Ext-Net", auto_ip=False)
    done = operator.provision("--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The server spare ({theirs.id}) is not ours: it lacks the metadata project=koprogo")
    assert there_is(api, NAME) | {"servers": [], "ports": 0} == NOTHING


def test_interrupted_it_says_one_line_and_the_next_run_goes_on(operator: Operator, api: Connection) -> None:
    process = operator.start_provision("--yes")
    while not there_is(api, NAME)["servers"]:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "\nInterrupted. What was done until then stays so; run the same command again to go on.\n"

    operator.provision("--yes")
    assert there_is(api, NAME) == EVERYTHING
    assert operator.provision("--yes").stdout.endswith(LAST)


def test_without_an_answer_nothing_is_made(operator: Operator, api: Connection) -> None:
    done = operator.provision(check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("Nothing was done: nobody answered. Run it in a terminal, or with --yes.\n")
    assert there_is(api, NAME) == NOTHING
