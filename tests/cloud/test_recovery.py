"""A server that is lost for good comes back: from .env, the recovery key, and what is off-site."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator

import pytest
from cloud_project import remove, set_variable
from conftest import Operator, Server
from openstack.connection import Connection

from sandbox import storage
from sandbox.world import World, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.machine, pytest.mark.timeout(1200)]

NAME = "lost"
DOMAIN = "example.test"
REPOSITORY = f"s3:{storage.endpoint()}/{storage.BUCKET}/{os.urandom(4).hex()}"
"""Of this run: the recovery key of another one would not open it."""
SECRETS = "sudo grep -hE '^(POSTGRES_PASSWORD|JWT_SECRET)=' /home/koprogo/koprogo/deploy/production/.env"


@pytest.fixture
def operator(api: Connection, operator_env: Operator, world: World) -> Iterator[Operator]:
    """An operator whose server keeps copies in a store elsewhere, with the rights that `offsite policy` prints."""
    remove(api, NAME)
    storage.start(world)
    key_id, secret = storage.credentials(world, storage.SERVER)
    set_variable(
        operator_env,
        KOPROGO_DOMAIN=DOMAIN,
        BACKUP_OFFSITE_REPOSITORY=REPOSITORY,
        BACKUP_OFFSITE_KEY_ID=key_id,
        BACKUP_OFFSITE_SECRET=secret,
    )
    policy = operator_env.run(sys.executable, "-m", "offsite", "policy").stdout
    storage.set_policy(world, storage.SERVER, json.loads(policy))
    yield operator_env
    remove(api, NAME)


def server_of(operator: Operator) -> tuple[Server, str]:
    """The server, and its id."""
    entry = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]
    return Server(entry["ipv4"], entry["ipv6"], entry["user"], operator.folder), entry["id"]


def sql(server: Server, query: str) -> str:
    command = f"docker exec koprogo-postgres psql -U koprogo -d koprogo_db -Atc '{query}'"
    return server.run(f"sudo {command}").stdout.strip()


def restore(operator: Operator, *, check: bool = True) -> str:
    done = operator.run(sys.executable, "-m", "offsite", "restore", "--yes", check=check)
    return done.stdout + done.stderr


def test_it_comes_back_with_every_row_and_its_secrets(operator: Operator, api: Connection) -> None:
    operator.provision("apply", "--yes")
    said = operator.pyinfra("-y")
    recovery = operator.folder / "offsite-recovery.key"
    assert f"{recovery} opens the copies when this server is lost." in said.stdout + said.stderr
    key = recovery.read_text().strip()
    assert len(key) == 64
    assert recovery.stat().st_mode & 0o777 == 0o600
    assert key not in said.stdout + said.stderr
    assert operator.planned() == []

    old, old_id = server_of(operator)
    assert key not in old.run("sudo grep -rs . /etc/koprogo /var/lib/koprogo || true").stdout
    wait_for(lambda: old.run("sudo koprogo health", check=False).returncode == 0, 120, "it is not well")
    sql(old, "create table kept (id int); insert into kept select generate_series(1, 5000)")
    assert "off-site and read it back" in old.run("sudo koprogo backup").stdout
    secrets = hashlib.sha256(old.run(SECRETS).stdout.encode()).hexdigest()

    # it is gone, with all that was on it and all that is known of it; only .env and the recovery key are left
    api.compute.delete_server(old_id)
    wait_for(lambda: api.compute.find_server(old_id) is None, 60, "it is still there")
    for name in ("inventory.json", "known_hosts"):
        (operator.folder / name).unlink()
    recovery.rename(recovery.with_suffix(".safe"))
    assert "nothing else opens the copies" in restore(operator, check=False)
    assert not (operator.folder / "inventory.json").exists()
    recovery.with_suffix(".safe").rename(recovery)

    said_last = restore(operator)
    print(said_last)
    assert f"{DOMAIN} answers with the data of the backup after " in said_last
    new, new_id = server_of(operator)
    assert new_id != old_id
    assert sql(new, "select count(*), sum(id) from kept") == "5000|12502500"
    assert hashlib.sha256(new.run(SECRETS).stdout.encode()).hexdigest() == secrets
    assert new.run("sudo koprogo health", check=False).returncode == 0
    assert operator.planned() == []

    # a second run finds it done, and takes back nothing that came since
    sql(new, "insert into kept values (5001)")
    assert "has the data of postgres_" in restore(operator)
    assert sql(new, "select count(*) from kept") == "5001"
    assert "off-site and read it back" in new.run("sudo koprogo backup").stdout
