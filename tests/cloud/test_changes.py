"""A server that is there: what drifted, what is changed in place, what is made again, what is not ours."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cloud_project import EVERYTHING, NOTHING, set_variable, there_is
from conftest import Operator
from openstack.connection import Connection

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

NAME = "changes"
IN_PLACE = "Plan: 0 to create, 0 to change, 15 in place."


def server_of(api: Connection) -> Any:
    (server,) = api.compute.servers(name=f"^{NAME}$")
    return server


def inside(operator: Operator, command: str) -> str:
    """What a command on the server prints, with the pinned host keys and nothing else trusted."""
    address = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]["ipv4"]
    ssh = ["ssh", "-i", str(operator.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={operator.folder}/known_hosts"]
    options = ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", f"ubuntu@{address}", command]
    return subprocess.run([*ssh, *options], capture_output=True, text=True, check=True).stdout


def test_what_drifted_by_hand_is_put_right(made: Operator, api: Connection) -> None:
    server = server_of(api)
    (group,) = api.network.security_groups(name=NAME)
    api.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ether_type="IPv4", protocol="tcp",
        port_range_min=5432, port_range_max=5432, remote_ip_prefix="0.0.0.0/0",
    )  # fmt: skip
    (http,) = (r for r in group.security_group_rules if r["port_range_min"] == 80 and r["ethertype"] == "IPv4")
    api.network.delete_security_group_rule(http["id"])
    api.compute.add_security_group_to_server(server, "default")
    api.compute.set_server_metadata(server, note="kept")
    api.compute.stop_server(server)
    api.compute.wait_for_server(server, "SHUTOFF", interval=0.3)

    assert made.pending() == [
        "  + rule            changes         in  IPv4 tcp 80 from anywhere",
        "  - rule            changes         in  IPv4 tcp 5432 from anywhere  (added by hand)",
        "  ~ server          changes         status: SHUTOFF → ACTIVE",
        "  ~ server          changes         security groups: changes, default → changes",
    ]
    made.provision("apply", "--yes")
    assert there_is(api, NAME) == EVERYTHING
    now = api.compute.get_server(server.id)
    assert {one["name"] for one in now.security_groups} == {NAME}
    assert now.metadata["note"] == "kept"
    assert made.pending() == []


def test_a_size_that_the_machine_answers_with_is_kept(made: Operator, api: Connection) -> None:
    inside(made, "sudo touch /etc/kept")
    done = made.provision("resize", "d2-4", "--yes")
    assert "Confirming d2-4" in done.stdout
    assert "FLAVOR=d2-4\n" in (made.folder / ".env").read_text()
    assert server_of(api).flavor.original_name == "d2-4"
    assert there_is(api, NAME) == EVERYTHING
    assert inside(made, "ls /etc/kept") == "/etc/kept\n"
    assert made.pending() == []

    done = made.provision("resize", "d2-2", "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "FLAVOR: d2-2 has 25 GB of disk, and changes (d2-4) has 50 GB, which cannot shrink."
        " Put FLAVOR=d2-4, or a flavor with as much.\n"
    )
    assert "FLAVOR=d2-4\n" in (made.folder / ".env").read_text()


def test_a_size_that_the_machine_does_not_answer_with_is_taken_back(made: Operator, api: Connection) -> None:
    # SSH fails at the next start, and only at that
    inside(
        made,
        "sudo mkdir -p /etc/systemd/system/ssh.service.d && echo '[Service]\nExecCondition=sh -c \"! rm /etc/once\"' |"
        " sudo tee /etc/systemd/system/ssh.service.d/once.conf && sudo touch /etc/once && sudo systemctl daemon-reload",
    )
    less_patient = "from cloud.machine import access; access.MINUTES = 0.3; import provision; provision.main()"
    done = made.run(sys.executable, "-c", less_patient, "resize", "d2-4", "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("With d2-4 the server was not well: ")
    assert done.stderr.endswith(" It is d2-2 again, and well.\n")
    assert "Taking the size d2-4 back" in done.stdout
    assert server_of(api).flavor.original_name == "d2-2"
    assert there_is(api, NAME) == EVERYTHING
    assert "FLAVOR=d2-4" not in (made.folder / ".env").read_text()
    assert made.pending() == []


def test_a_resize_that_was_cut_off_is_brought_to_its_end(made: Operator, api: Connection) -> None:
    server = server_of(api)
    (larger,) = (flavor for flavor in api.compute.flavors() if flavor.name == "d2-4")
    api.compute.resize_server(server, larger.id)
    api.compute.wait_for_server(server, "VERIFY_RESIZE", interval=0.3)
    assert made.pending() == [
        "  ~ server          changes         flavor: d2-4, not confirmed: back to what it was before"
    ]
    set_variable(made, FLAVOR="d2-4")
    assert made.pending() == ["  ~ server          changes         flavor: d2-4, to be confirmed"]
    made.provision("apply", "--yes")
    assert there_is(api, NAME) == EVERYTHING
    assert server_of(api).flavor.original_name == "d2-4"
    assert made.pending() == []


def test_another_image_is_a_rebuild_that_wants_the_name(made: Operator, api: Connection) -> None:
    server = server_of(api)
    address = json.loads((made.folder / "inventory.json").read_text())["servers"][0]["ipv4"]
    inside(made, "sudo touch /etc/lost")
    set_variable(made, IMAGE="Debian 12")
    shown = made.pending()
    assert shown[0] == (
        "-/+ server          changes         d2-2, Debian 12, Ext-Net, environment production"
        "  (image: Ubuntu 22.04 → Debian 12; everything on its disk is lost)"
    )
    refused = made.provision("apply", "--yes", check=False)
    assert refused.returncode == 1
    assert refused.stderr == ("Nothing was done: this loses data. To do it without being asked: --yes --name changes\n")
    made.provision("apply", "--yes", "--name", NAME)
    assert server_of(api).id == server.id
    entry = json.loads((made.folder / "inventory.json").read_text())["servers"][0]
    assert (entry["ipv4"], entry["user"]) == (address, "debian")
    ssh = ["ssh", "-i", str(made.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={made.folder}/known_hosts"]
    done = subprocess.run(
        [*ssh, "-o", "BatchMode=yes", f"debian@{address}", "ls /etc/lost"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr  # logged in, and the file is gone
    assert made.pending() == []


def test_what_is_not_ours_is_adopted_only_when_that_is_asked_for(operator: Operator, api: Connection) -> None:
    key = (operator.folder / "id_ed25519.pub").read_text()
    api.compute.create_keypair(name=NAME, public_key=key)
    group = api.network.create_security_group(name=NAME, description="web servers")
    theirs = api.create_server(
        NAME, flavor="d2-2", image="Ubuntu 22.04", network="Ext-Net", auto_ip=False, key_name=NAME,
        security_groups=[group.id], wait=True,
    )  # fmt: skip
    done = operator.provision("apply", "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'The security group changes is not ours: its description is not "project=koprogo environment=production".'
        " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt",
        f"The server changes ({theirs.id}) is not ours: it lacks the metadata project=koprogo, environment=production."
        " Choose another INSTANCE_NAME, or adopt it: python provision.py adopt",
    ]
    assert dict(api.compute.get_server(theirs.id).metadata) == {}

    operator.provision("adopt", "--yes")
    assert server_of(api).id == theirs.id
    assert there_is(api, NAME) == EVERYTHING
    assert operator.pending() == []


def test_of_two_servers_the_noted_one_stays_and_the_other_goes_only_by_name(made: Operator, api: Connection) -> None:
    first = server_of(api)
    second = api.create_server(
        NAME, flavor="d2-2", image="Ubuntu 22.04", network="Ext-Net", auto_ip=False, wait=True,
        meta={"project": "koprogo", "environment": "production"},
    )  # fmt: skip
    (line,) = made.pending()
    assert line.startswith(f"  - server          changes         {second.id}  d2-2, ")
    assert made.provision("apply", "--yes", check=False).returncode == 1
    unknown = made.provision("apply", "--yes", "--name", NAME, check=False)
    assert unknown.returncode == 1
    assert "no host key of" in unknown.stderr  # so there would be no backup of it
    made.provision("apply", "--yes", "--name", NAME, "--no-backup")
    assert server_of(api).id == first.id
    assert there_is(api, NAME) == EVERYTHING


def test_another_key_is_taken_once_the_server_knows_it(made: Operator, api: Connection) -> None:
    new = made.folder / "new"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", new], check=True)
    former = (made.folder / "id_ed25519.pub", made.folder / "id_ed25519")
    set_variable(made, SSH_PUBLIC_KEY=f"{new}.pub")
    refused = made.provision("apply", "--yes", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("The server changes does not know the new SSH_PUBLIC_KEY")
    assert api.compute.get_keypair(NAME).public_key.split()[1] == former[0].read_text().split()[1]

    inside(made, f"echo '{Path(f'{new}.pub').read_text().strip()}' >> .ssh/authorized_keys")
    made.provision("apply", "--yes")
    assert api.compute.get_keypair(NAME).public_key.split()[1] == Path(f"{new}.pub").read_text().split()[1]
    assert there_is(api, NAME) == EVERYTHING
    assert made.pending() == []


def test_a_locked_server_is_said_to_be_before_anything_is_done(made: Operator, api: Connection) -> None:
    server = server_of(api)
    api.compute.lock_server(server)
    for command in (("resize", "d2-4"), ("rebuild", "--name", NAME), ("destroy", "--name", NAME, "--no-backup")):
        done = made.provision(*command, "--yes", check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"The server changes ({server.id}) is locked")
    assert made.pending() == []
    assert there_is(api, NAME) == EVERYTHING


def test_status_says_how_it_is(operator: Operator, api: Connection) -> None:
    none = operator.provision("status", check=False)
    assert (none.returncode, none.stdout.splitlines()[-1]) == (
        2,
        "There is no server changes. To make it: python provision.py",
    )
    operator.provision("apply", "--yes")
    said = operator.provision("status").stdout
    assert "\n  state      ACTIVE\n" in said
    assert "\n  size       d2-2: 1 vCPU, 2 GB of memory, 25 GB of disk\n" in said
    assert "\n  cost       about 0.01 € this month so far, at today's size and price, without VAT\n" in said
    assert "\n  SSH        answers, and lets us in\n" in said
    data = json.loads(operator.provision("status", "--json").stdout)["server"]
    entry = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]
    assert (data["id"], data["ipv4"], data["ipv6"]) == (entry["id"], entry["ipv4"], entry["ipv6"])
    assert (data["answers"], data["ours"], data["state"]) == (True, True, "ACTIVE")
    assert data["price"]["hour"] == "0.0104"

    server = server_of(api)
    api.compute.stop_server(server)
    api.compute.wait_for_server(server, "SHUTOFF", interval=0.3)
    off = operator.provision("status", "--json", check=False)
    assert off.returncode == 2
    assert json.loads(off.stdout)["server"]["state"] == "SHUTOFF"
    assert json.loads(off.stdout)["server"]["answers"] is False


def test_destroy_takes_what_is_ours_and_nothing_else(made: Operator, api: Connection) -> None:
    (ours,) = api.network.security_groups(name=NAME)
    refused = made.provision("destroy", "--yes", "--no-backup", check=False)
    assert refused.returncode == 1
    assert refused.stderr == ("Nothing was done: this loses data. To do it without being asked: --yes --name changes\n")
    assert there_is(api, NAME) == EVERYTHING

    done = made.provision("destroy", "--yes", "--name", NAME)
    assert re.search(rf"^  - security group +changes +{ours.id}  10 rules$", done.stdout, re.MULTILINE)
    assert "so there is nothing to back up" in done.stdout
    assert done.stdout.endswith("Nothing of ours is left: no server, port, security group, key pair or DNS record.\n")
    assert there_is(api, NAME) == NOTHING
    assert not (made.folder / "inventory.json").exists()
    assert not (made.folder / "known_hosts").exists()
    again = made.provision("destroy", "--yes", "--name", NAME)
    assert again.stdout.endswith("Nothing to do: there is nothing of ours that belongs to changes.\n")


def test_destroy_leaves_what_only_has_our_name(operator: Operator, api: Connection, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    api.compute.create_keypair(name=NAME, public_key=(tmp_path / "other.pub").read_text())
    api.network.create_security_group(name=NAME, description="web servers")
    theirs = api.create_server(NAME, flavor="d2-2", image="Debian 12", network="Ext-Net", auto_ip=False, wait=True)
    there = there_is(api, NAME)
    done = operator.provision("destroy", "--yes", "--name", NAME, check=False)
    assert (done.returncode, done.stdout.count("\n  ! ")) == (1, 3)
    assert done.stderr.startswith(f"The server changes ({theirs.id}) is not ours, and nothing is removed")
    assert there_is(api, NAME) == there

    api.delete_server(theirs.id, wait=True)
    said = operator.provision("destroy", "--yes", "--name", NAME).stdout
    assert said.endswith("Nothing to do: there is nothing of ours that belongs to changes.\n")
    assert there_is(api, NAME)["groups"] == ["web servers"]
    assert there_is(api, NAME)["key pairs"] == 1


def test_the_plan_for_programs(operator: Operator) -> None:
    done = operator.provision("plan", "--json", check=False)
    assert done.returncode == 2
    data = json.loads(done.stdout)
    assert [change["action"] for change in data["changes"]] == ["create"] * 15
    assert data["problems"] == []
    assert data["estimate"]["size"] == {"vcpus": 1, "memory_mb": 2000, "disk_gb": 25}
    assert data["estimate"]["price"]["month"] == "7.59"
