"""Which server, group and lease are ours: by name, by id, by place, and by what a description says."""

import json

import pytest
from cloud_project import EVERYTHING, NOTHING, there_is
from conftest import Operator
from openstack.connection import Connection

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(300)]

NAME = "whose"


def ids_in_project(api: Connection) -> set[str]:
    return {server.id for server in api.compute.servers() if server.name in (NAME, "by-hand")}


def test_a_renamed_server_gets_its_name_back_and_is_not_made_twice(made: Operator, api: Connection) -> None:
    (server,) = api.compute.servers(name=f"^{NAME}$")
    api.compute.update_server(server, name="by-hand")
    assert made.pending() == ["  ~ server          whose           name: by-hand → whose"]
    status = json.loads(made.provision("status", "--json").stdout)["server"]
    assert (status["id"], status["name"], status["answers"]) == (server.id, "by-hand", True)
    made.provision("apply", "--yes")
    assert there_is(api, NAME) == EVERYTHING
    assert ids_in_project(api) == {server.id}
    assert made.provision("plan").returncode == 0


def test_a_renamed_server_is_destroyed_too(made: Operator, api: Connection) -> None:
    (server,) = api.compute.servers(name=f"^{NAME}$")
    api.compute.update_server(server, name="by-hand")
    done = made.provision("destroy", "--yes", "--name", NAME)
    assert done.stdout.endswith("Nothing of ours is left: no server, port, security group, key pair or DNS record.\n")
    assert ids_in_project(api) == set()
    assert there_is(api, NAME) == NOTHING


@pytest.mark.parametrize("noted", [{"region": "GRA9"}, {"project": "0123456789abcdef0123456789abcdef"}])
def test_a_server_that_was_made_elsewhere_is_neither_missed_nor_made_again(
    operator: Operator, api: Connection, noted: dict[str, str]
) -> None:
    entry = {
        "name": NAME, "ipv4": "10.77.1.250", "user": "ubuntu", "id": "5c1e", "region": "GRA11",
        "project": str(api.session.get_project_id()),
    }  # fmt: skip
    (operator.folder / "inventory.json").write_text(json.dumps({"servers": [entry | noted]}))
    for command in (("plan",), ("apply", "--yes"), ("destroy", "--yes", "--name", NAME), ("status",)):
        done = operator.provision(*command, check=False)
        assert done.returncode == 1
        assert f"inventory.json says that {NAME} is in region {(entry | noted)['region']}, project " in done.stderr
        assert done.stderr.endswith(" If the one noted is gone for good, remove inventory.json.\n")
    assert there_is(api, NAME) == NOTHING


def test_a_group_of_others_that_is_named_like_a_lease_is_left(operator: Operator, api: Connection) -> None:
    theirs = api.network.create_security_group(
        name=f"{NAME}-lease-0123456789ab", description="rules of the leasing department"
    )
    try:
        operator.provision("apply", "--yes")
        assert there_is(api, NAME) == EVERYTHING | {"leases": 1}  # theirs
        done = operator.provision("destroy", "--yes", "--name", NAME)
        assert "Nothing of ours is left" in done.stdout
        assert api.network.get_security_group(theirs.id).description == "rules of the leasing department"
    finally:
        api.network.delete_security_group(theirs)


def test_a_group_that_is_there_before_its_server_is_adopted(operator: Operator, api: Connection) -> None:
    api.network.create_security_group(name=NAME, description="web servers")
    refused = operator.provision("apply", "--yes", check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith("Choose another INSTANCE_NAME, or adopt it: python provision.py adopt\n")
    operator.provision("adopt", "--yes")
    assert there_is(api, NAME) == EVERYTHING


def test_a_server_without_its_port_is_said_to_be_and_not_changed(made: Operator, api: Connection) -> None:
    (server,) = api.compute.servers(name=f"^{NAME}$")
    for port in api.network.ports(device_id=server.id):
        api.network.delete_port(port)
    done = made.provision("apply", "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The server {NAME} ({server.id}) has no network port, and so no address")
    kept = made.provision("destroy", "--yes", "--name", NAME, "--backup", check=False)
    assert kept.returncode == 1
    assert kept.stderr == (
        f"The server {NAME} has no public IPv4 address, so nobody can log in. Nothing was removed. To go on without a"
        " backup: --no-backup\n"
    )
    assert ids_in_project(api) == {server.id}


def test_a_plan_for_programs_has_every_mistake(operator: Operator, api: Connection) -> None:
    done = operator.provision("plan", "--json", check=False, FLAVOR="d2-3", IMAGE="Ubuntu 20.4")
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert [problem.partition(":")[0] for problem in data["problems"]] == ["FLAVOR", "IMAGE"]
    assert data["estimate"] is None
    assert len(data["changes"]) == 15
    assert there_is(api, NAME) == NOTHING
