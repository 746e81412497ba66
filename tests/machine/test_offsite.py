"""Copies elsewhere: encrypted, read back, brought home; in a store that refuses, stalls, fills up and lies.

The store is swift with its S3 API. What the server may do there is what `offsite/policy.py` says.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import koprogo_server
import pytest
import small_world
from koprogo_server import LIBRARY, Server

from offsite import tidy
from offsite.policy import policy
from sandbox import machine, storage
from sandbox.world import World

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

NAME = "offsite"
REPOSITORY = f"s3:{storage.endpoint()}/{storage.BUCKET}/koprogo"
RECOVERY = "5f" * 32
# A store that does not answer is given up after seconds here, and not after half an hour.
IMPATIENT = f"""
sed -i 's/^PATIENCE = .*/PATIENCE = 20.0/' {LIBRARY}/backups/offsite.py
sed -i 's/^QUICK = .*/QUICK = 12.0/' {LIBRARY}/backups/offsite_store.py
"""


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with small_world.with_internet(NAME, keep=request.config.getoption("--keep-sandbox")) as made:
        storage.start(made)
        storage.set_policy(made, storage.SERVER, policy(REPOSITORY))
        yield made


@pytest.fixture(scope="module")
def server(world: World) -> Server:
    """A server with the application on it, rows in its database, and copies that two keys open."""
    made = koprogo_server.make(world)
    made.sh(IMPATIENT)
    key_id, secret = storage.credentials(world, storage.SERVER)
    made.configure(offsite_file="/etc/koprogo/offsite.json")
    made.sh("install -o koprogo -g koprogo -m 0600 /dev/null /etc/koprogo/offsite.json")
    place = {"repository": REPOSITORY, "key_id": key_id, "secret": secret}
    made.sh("cat > /etc/koprogo/offsite.json", input=json.dumps(place))
    assert made.koprogo("deploy").returncode == 0
    made.sql("create table kept (id int); insert into kept select generate_series(1, 5000)")
    done = made.sh("koprogo offsite setup", input=json.dumps({"recovery": RECOVERY}))
    assert done.stdout.endswith("two keys open it, that of this server and the recovery key.\n")
    return made


@pytest.fixture(autouse=True)
def well(world: World, server: Server) -> Iterator[None]:
    """Whatever went wrong in the store has an end, and the next test has nothing to catch up with."""
    yield
    server.sh("rm -f /home/koprogo/backups/postgres_*")
    storage.fault(world)
    storage.limit(world, None)


def remembered(server: Server, kind: str) -> str | None:
    """What the last run of its kind failed by; "" if it did not, None if there was none."""
    found = json.loads(server.sh("cat /var/lib/koprogo/backup.json").stdout)[kind]
    return None if found is None else str(found["problem"])


def newest(server: Server) -> str:
    return server.sh("cd /home/koprogo/backups; ls postgres_*.sql.zst | tail -1").stdout.strip().partition(".")[0]


def stored(server: Server) -> list[str]:
    return [line.split()[0] for line in server.koprogo("offsite", "list").stdout.splitlines()]


def failing(server: Server) -> str:
    """Make a backup whose copy fails; what it says of the copy. The set here is good all the same."""
    done = server.koprogo("backup")
    assert done.returncode == 1
    assert "written and verified" in done.stdout
    assert server.koprogo("backup", "--verify").returncode == 0
    assert remembered(server, "backup") == ""
    said = done.stderr.strip().splitlines()[-1]
    assert remembered(server, "upload") == said.partition(" PROBLEM ")[2]
    assert said.endswith("What is here is as it was.")
    return said


def test_a_backup_is_stored_and_read_back_and_nothing_is_deleted(server: Server, world: World) -> None:
    done = server.koprogo("backup")
    assert done.returncode == 0, done.stderr
    name = newest(server)
    assert f"Stored {name} off-site and read it back" in done.stdout
    assert stored(server)[0] == name
    assert remembered(server, "upload") == ""
    before = storage.objects(world, "koprogo/")
    assert server.koprogo("offsite", "upload").returncode == 0
    assert server.koprogo("offsite", "check").returncode == 0
    assert remembered(server, "offsite_check") == ""
    # a second run has nothing to store, and locks are gone
    assert storage.objects(world, "koprogo/") == before
    assert storage.objects(world, "koprogo/locks/") == []


def test_no_secret_is_in_a_process_list_nor_readable_in_the_store(server: Server, world: World) -> None:
    watch = "while [ ! -e /tmp/enough ]; do ps axww -o args; done"
    server.sh(f"rm -f /tmp/enough; setsid sh -c '{watch}' > /tmp/seen 2>/dev/null < /dev/null &")
    done = server.koprogo("backup")
    server.sh("touch /tmp/enough")
    assert done.returncode == 0
    seen = server.sh("cat /tmp/seen").stdout
    password = server.sh("cat /var/lib/koprogo/offsite-password").stdout.strip()
    assert "restic --option s3.connections=2 backup" in seen
    for secret in (password, storage.credentials(world, storage.SERVER)[1], RECOVERY):
        assert secret not in seen
    disk = machine.load(world.name, "storage").rootdir / "srv/node/disk"
    found = subprocess.run(
        ["grep", "-rlaE", "POSTGRES_PASSWORD|PostgreSQL database", disk], capture_output=True, check=False
    )
    assert found.stdout == b""


def test_a_server_that_was_taken_over_cannot_delete(server: Server, world: World) -> None:
    before = storage.objects(world, "koprogo/data/") + storage.objects(world, "koprogo/snapshots/")
    tool = (
        "import json, os; o = json.load(open('/etc/koprogo/offsite.json'));"
        "os.environ.update(RESTIC_REPOSITORY=o['repository'], AWS_ACCESS_KEY_ID=o['key_id'],"
        " AWS_SECRET_ACCESS_KEY=o['secret'], RESTIC_PASSWORD=open('/var/lib/koprogo/offsite-password').read().strip());"
        "os.execvp('restic', ['restic', 'forget', '--keep-last=1', '--group-by=host', '--prune'])"
    )
    server.koprogo("backup")
    done = server.machine.run(["timeout", "60", "python3", "-c", tool], check=False)
    assert done.returncode != 0
    assert "Access Denied" in done.stderr
    assert set(before) <= set(storage.objects(world, "koprogo/"))


def test_a_set_comes_home_and_restores(server: Server, world: World) -> None:
    assert server.koprogo("backup").returncode == 0
    name = newest(server)
    server.sql("delete from kept where id > 10")
    server.sh("rm /home/koprogo/backups/postgres_*")
    done = server.koprogo("restore", "--from-offsite", "--yes")
    assert done.returncode == 0, done.stderr
    assert newest(server) == name
    assert server.sql("select count(*), sum(id) from kept") == "5000|12502500"
    assert server.sh("stat -c '%a %U' /home/koprogo/backups/postgres_*").stdout.split() == ["600", "koprogo"] * 4


def test_a_set_that_is_not_there_is_said(server: Server) -> None:
    done = server.koprogo("offsite", "fetch", "20200101_000000")
    assert done.returncode == 1
    assert "No such set is stored off-site: 20200101_000000. There is: postgres_" in done.stderr


def test_a_revoked_key(server: Server, world: World) -> None:
    storage.revoke(world, storage.SERVER)
    try:
        assert "The store refuses us" in failing(server)
    finally:
        storage.revoke(world, storage.SERVER, again=True)
    # what was not stored is stored as soon as it can be
    assert server.koprogo("offsite", "upload").returncode == 0
    assert newest(server) in stored(server)


@pytest.mark.parametrize("kind", ["lose", "cut"])
def test_a_store_that_lies_is_found_out_the_same_night_and_mended(
    kind: str, server: Server, world: World, tmp_path: Path
) -> None:
    storage.fault(world, **{kind: 1})
    assert "the store said that it had saved everything, and gives it back otherwise" in failing(server)
    storage.fault(world)
    assert server.koprogo("offsite", "check").returncode == 1
    assert remembered(server, "offsite_check")
    # the sets of before are as they were
    server.sh("mkdir /tmp/aside; mv /home/koprogo/backups/postgres_* /tmp/aside/")
    server.koprogo("offsite", "fetch", sorted(stored(server))[0])
    server.sh("mv /tmp/aside/* /home/koprogo/backups/; rmdir /tmp/aside")
    tidied(server, world, tmp_path)
    assert server.koprogo("offsite", "upload").returncode == 0
    assert remembered(server, "upload") == ""
    assert server.koprogo("offsite", "check").returncode == 0


def test_tidying_keeps_the_newest_set_of_a_day_though_it_was_stored_first(
    server: Server, world: World, tmp_path: Path
) -> None:
    assert server.koprogo("backup").returncode == 0
    before, name = {*stored(server)}, newest(server)
    # The oldest copy of all is kept in any case, for want of an older one.
    old = [f"postgres_202601{moment}" for moment in ("01_020005", "02_020005", "02_030005")]
    for other in old:
        server.sh(
            f"cd /home/koprogo/backups; for file in {name}.*; do cp -p $file {other}${{file#{name}}}; done;"
            f" sed -i s/{name}/{other}/ {other}.json"
        )
    assert server.koprogo("offsite", "upload").returncode == 0
    assert {*stored(server)} == {*before, *old}
    tidied(server, world, tmp_path)
    # of the last days all are kept: whoever may add copies pushes none of them out
    assert {*stored(server)} == {*before, old[0], old[2]}


def test_a_full_store(server: Server, world: World) -> None:
    storage.limit(world, 1000)
    said = failing(server)
    assert "within 20 s" in said or "within 12 s" in said
    storage.limit(world, None)
    assert server.koprogo("offsite", "upload").returncode == 0


def test_a_store_that_stalls_is_given_up_and_keeps_nobody_from_restoring(server: Server, world: World) -> None:
    storage.fault(world, slow=50)
    assert "did not answer restic backup within" in failing(server)
    storage.fault(world)
    # restic was killed: the lock that it left in the store stands in nobody's way
    assert storage.objects(world, "koprogo/locks/")
    assert server.koprogo("offsite", "check").returncode == 0
    assert server.koprogo("offsite", "upload").returncode == 0
    assert storage.objects(world, "koprogo/locks/") == []


def test_a_store_that_is_gone(server: Server, world: World) -> None:
    server.sh(
        f"ip route add blackhole {world.ipv4(storage.HOST)}; ip -6 route add blackhole {world.ipv6(storage.HOST)}"
    )
    try:
        assert "did not answer restic unlock within 12 s" in failing(server)
    finally:
        server.sh(f"ip route del blackhole {world.ipv4(storage.HOST)}; ip -6 route del {world.ipv6(storage.HOST)}")
    assert server.koprogo("offsite", "upload").returncode == 0


def test_without_its_key_the_server_gets_in_by_the_recovery_key_alone(server: Server) -> None:
    server.sh("rm /var/lib/koprogo/offsite-password")
    assert "The repository knows no such key" in server.koprogo("offsite", "list").stderr
    wrong = server.machine.run(["koprogo", "offsite", "setup"], input='{"recovery": "another"}', check=False)
    assert wrong.returncode == 1
    assert "neither this server's key opens nor the recovery key" in wrong.stderr
    server.sh("koprogo offsite setup", input=json.dumps({"recovery": RECOVERY}))
    assert stored(server)


def test_with_versioning_what_is_overwritten_stays_the_owners(server: Server, world: World) -> None:
    bucket, key = f"{storage.endpoint()}/{storage.BUCKET}", "koprogo/data/overwritten"
    on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    storage.ask(world, f"-X PUT '{bucket}?versioning=' --data '{on}'")
    key_id, secret = storage.credentials(world, storage.SERVER)

    def intruder(request: str) -> str:
        sign = f"--user {key_id}:{secret} --aws-sigv4 aws:amz:sbg:s3"
        return server.sh(f"curl -s -o /dev/null -w '%{{http_code}}' {sign} {request}").stdout

    assert intruder(f"-X PUT {bucket}/{key} --data good") == "200"
    assert intruder(f"-X PUT {bucket}/{key} --data rubbish") == "200"
    _, first = re.findall(f"<Key>{key}</Key><VersionId>([^<]+)", storage.ask(world, f"'{bucket}?versions='"))
    assert intruder(f"-X DELETE '{bucket}/{key}?versionId={first}'") == "403"
    assert intruder(f"-X DELETE {bucket}/{key}") == "403"
    assert intruder(f"-X PUT '{bucket}?versioning=' --data '{on.replace('Enabled', 'Suspended')}'") == "403"
    assert storage.ask(world, f"'{bucket}/{key}?versionId={first}'") == "good"
    # and backups go on as before
    assert server.koprogo("backup").returncode == 0
    storage.ask(world, f"-X DELETE {bucket}/{key}")
    assert server.koprogo("offsite", "check").returncode == 0


CHROOTED = """
useradd --no-create-home copies
mkdir -p /srv/copies/backups /root/.ssh /etc/ssh/keys
chown copies: /srv/copies/backups
cat > /etc/ssh/keys/copies
cat > /etc/ssh/sshd_config.d/copies.conf <<'END'
Match User copies
    AuthorizedKeysFile /etc/ssh/keys/copies
    ChrootDirectory /srv/copies
    ForceCommand internal-sftp
END
ssh-keygen -A >/dev/null
systemctl start ssh
cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub
"""


def test_by_sftp_to_a_chrooted_user_with_a_pinned_host_key(server: Server, world: World) -> None:
    server.sh("rm -f /tmp/key*; ssh-keygen -q -t ed25519 -N '' -f /tmp/key")
    there = machine.load(world.name, "storage")
    public = server.sh("cat /tmp/key.pub").stdout
    host_key = there.run(["sh", "-e", "-c", CHROOTED], input=public).stdout.strip()
    before = server.sh("cat /etc/koprogo/offsite.json").stdout
    place = {
        "repository": f"sftp:copies@{world.ipv4(storage.HOST)}:/backups/koprogo",
        "ssh_key": server.sh("cat /tmp/key").stdout,
        "host_key": host_key,
    }
    try:
        server.sh("cat > /etc/koprogo/offsite.json", input=json.dumps(place))
        server.sh("koprogo offsite setup", input=json.dumps({"recovery": RECOVERY}))
        done = server.koprogo("backup")
        assert done.returncode == 0, done.stderr
        assert stored(server)[0] == newest(server)
        assert there.run(["ls", "/srv/copies/backups/koprogo"]).stdout.split() == [
            "config", "data", "index", "keys", "locks", "snapshots",
        ]  # fmt: skip
        another = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHZ0b9h0sYb1tK8cV1m3d6N2kRkq7m4sVwqB1r1f5a8n"
        server.sh("cat > /etc/koprogo/offsite.json", input=json.dumps(place | {"host_key": another}))
        assert server.koprogo("offsite", "list").returncode == 1
    finally:
        server.sh("cat > /etc/koprogo/offsite.json", input=before)


def tidied(server: Server, world: World, folder: Path) -> None:
    """What `make offsite-tidy` has restic do, with the owner's key; on a machine that has restic."""
    key_id, secret = storage.credentials(world, storage.OWNER)
    variables = {
        "BACKUP_OFFSITE_REPOSITORY": REPOSITORY,
        "BACKUP_OFFSITE_KEY_ID": "server",
        "BACKUP_OFFSITE_SECRET": "server's",
        "BACKUP_OFFSITE_OWNER_KEY_ID": key_id,
        "BACKUP_OFFSITE_OWNER_SECRET": secret,
        "BACKUP_OFFSITE_RECOVERY_KEY": str(folder / "key"),
    }
    settings = tidy.Offsite.read(folder / ".env", **variables)
    (folder / "key").write_text(RECOVERY + "\n")
    enter = ["nsenter", f"--target={server.machine.leader}", "--mount", "--net", "--wdns=/", "--"]
    given = {"PATH": os.environ["PATH"], "HOME": "/root", **tidy.environment(settings)}
    for command in tidy.commands(settings, (0, 18)):
        done = subprocess.run([*enter, "restic", *command], env=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
