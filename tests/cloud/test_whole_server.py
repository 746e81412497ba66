"""A server with the application on it, through all that provision.py does to one: resized, rebuilt, destroyed."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest
from cloud_project import EVERYTHING, NOTHING, remove, set_variable, there_is
from conftest import Operator, Server
from openstack.connection import Connection

from sandbox.world import World, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.machine, pytest.mark.timeout(1200)]

NAME = "whole"
DOMAIN = "example.test"


@pytest.fixture
def operator(api: Connection, operator_env: Operator) -> Iterator[Operator]:
    """An operator with a domain of their own."""
    remove(api, NAME)
    set_variable(operator_env, KOPROGO_DOMAIN=DOMAIN)
    yield operator_env
    remove(api, NAME)


def server_of(operator: Operator) -> Server:
    entry = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]
    return Server(entry["ipv4"], entry["ipv6"], entry["user"], operator.folder)


def answers(world: World, name: str) -> list[str]:
    """The addresses that the name server of the domain gives for a name."""
    query = dns.message.make_query(name, "A")
    found = dns.query.udp(query, world.ipv4(3), timeout=5)
    return [str(address) for answer in found.answer for address in answer]


def row(operator: Operator) -> str:
    """The number of organisations that the application's database has, as psql counts them."""
    count = "docker exec koprogo-postgres psql -U koprogo -d koprogo_db -Atc 'select count(*) from kept'"
    return server_of(operator).run(f"sudo {count}").stdout.strip()


def test_from_the_first_deploy_to_the_last_trace(operator: Operator, api: Connection, world: World) -> None:
    operator.provision("apply", "--yes")
    operator.apply()
    server = server_of(operator)
    wait_for(lambda: server.run("sudo koprogo health", check=False).returncode == 0, 120, "it is not well")
    server.run(
        "sudo docker exec koprogo-postgres psql -U koprogo -d koprogo_db -c"
        " 'create table kept (id int); insert into kept values (1), (2)'"
    )
    assert answers(world, DOMAIN) == [server.ipv4]
    assert answers(world, f"api.{DOMAIN}") == [server.ipv4]

    # larger: confirmed only once the application is well again
    said = operator.provision("resize", "d2-4", "--yes").stdout
    assert said.index("Waiting until it is well") < said.index("Confirming d2-4")
    assert json.loads(server.run("sudo koprogo status --json").stdout)["healthy"] is True
    assert row(operator) == "2"

    # rebuilt: the backup comes first, and can be read
    said = operator.provision("rebuild", "--yes", "--name", NAME).stdout
    (dump,) = (operator.folder / "backups" / server.ipv4).glob("postgres_*.sql.zst")
    assert f"  {dump} (" in said
    assert said.index("Making a last backup") < said.index("Rebuilding the server")
    text = subprocess.run(["zstdcat", dump], capture_output=True, text=True, check=True).stdout
    assert "COPY public.kept (id) FROM stdin;\n1\n2\n" in text
    assert dump.stat().st_mode & 0o777 == 0o600
    assert server_of(operator) == server
    assert server.run("command -v koprogo", check=False).returncode == 1
    assert there_is(api, NAME) == EVERYTHING

    # destroyed: its names lead nowhere, and those of others lead where they did
    others = answers(world, f"www.{DOMAIN}")
    said = operator.provision("destroy", "--yes", "--name", NAME).stdout
    assert re.search(rf"^  - DNS record +{re.escape(DOMAIN)} +A {server.ipv4}$", said, re.MULTILINE)
    assert "so there is nothing to back up" in said
    assert said.endswith("Nothing of ours is left: no server, port, security group, key pair or DNS record.\n")
    assert there_is(api, NAME) == NOTHING
    assert answers(world, DOMAIN) == []
    assert answers(world, f"api.{DOMAIN}") == []
    assert answers(world, f"www.{DOMAIN}") == others
    assert not Path(operator.folder / "inventory.json").exists()
