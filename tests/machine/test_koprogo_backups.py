"""Sets on a real server: made, damaged, restored, drilled; and a restore killed, or its power cut, at every step.

The steps are those that an undisturbed restore goes through, so a new one is covered by itself.
"""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import koprogo_server
import pytest
import small_world
from koprogo_server import ENV_FILE, Server, bad, good
from test_koprogo_killed import Writer

from sandbox.world import wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900)]

COMPOSE = "deploy/production/docker-compose.yml"
BACKUPS = "/home/koprogo/backups"
JOURNAL = "/var/lib/koprogo/restore.json"
STEPS = "/var/lib/koprogo/restore-steps"
UPLOADS = "production_backend_uploads"

# Runs the program as /usr/local/bin/koprogo does, and at one step of a restore (how: "kill", "stop") ends it as a crash
# would, or stands still until the power is cut. What it goes through is written down.
_CUT = f"""
import os, signal, sys
from koprogo import journal
from koprogo.deploys import gate
how, at = sys.argv[1:3]
gate.SETTLE, gate.POLL = 1.0, 0.5
save = journal.save
def record(state_dir, note):
    save(state_dir, note)
    with open("{STEPS}", "a") as stream:
        stream.write(note.step.value + "\\n")
    if note.step.value == at and how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if note.step.value == at and how == "stop":
        signal.pause()
journal.save = record
from koprogo.cli import main
sys.exit(main(sys.argv[3:]))
"""


# A name that is no UTF-8, partitions that are filled otherwise by a restore, and a database that nobody may write to.
_LATIN = r"""
create table U&"t\00e9" (v int); insert into U&"t\00e9" values (1), (2);
create type answer as enum ('yes', 'no'); create table votes (a answer) partition by hash (a);
create table votes_1 partition of votes for values with (modulus 2, remainder 0);
create table votes_2 partition of votes for values with (modulus 2, remainder 1);
insert into votes select 'yes' from generate_series(1, 7); insert into votes values ('no');
alter database latin set default_transaction_read_only = on;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("backups") as world:
        made = koprogo_server.make(world)
        made.sh("cat > /opt/cut.py", input=_CUT)
        text = made.in_clone(f"cat {COMPOSE}")
        for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
            text = text.replace(old, new)
        made.push("1", files={COMPOSE: text})
        made.configure(backup_volumes=["backend_uploads"])
        good(made.koprogo("deploy"))
        made.sql(
            "create table ledger (id int primary key, line text);"
            "insert into ledger select n, md5(n::text) from generate_series(1, 5000) n;"
            'create role "Reader" password \'secret\'; grant select on ledger to "Reader";'
            "create table \"Odd (one)\" (v text); insert into \"Odd (one)\" values (E'a\\nb'), (null), ('')"
        )
        made.sql('create database "with a blank"')
        made.sql("create database latin encoding 'LATIN1' locale 'C' template template0")
        made.sh("docker exec -i koprogo-postgres psql -U koprogo -d latin -q", input=_LATIN)
        yield made


def cut(server: Server, how: str, at: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command, cut off at a step of a restore."""
    server.sh(f"rm -f {STEPS}")
    command = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo", "PYTHONPATH=/usr/local/lib/koprogo"]
    return server.machine.run([*command, "python3", "/opt/cut.py", how, at, *arguments], check=False)


def steps(server: Server) -> list[str]:
    return server.sh(f"cat {STEPS} 2>/dev/null || true").stdout.split()


def newest(server: Server) -> str:
    """The name of the newest set of the night."""
    return server.sh(f"cd {BACKUPS}; ls postgres_*.sql.zst | tail -n 1").stdout.strip().removesuffix(".sql.zst")


def names(server: Server) -> set[str]:
    return {*server.sql("select name from buildings").splitlines()}


def ledger(server: Server) -> str:
    return server.sql("select count(*), md5(string_agg(line, '|' order by id)) from ledger")


def nothing_is_left(server: Server) -> None:
    """No container of ours, no note, no part."""
    listed = server.sh("docker ps --all --format '{{.Names}}'").stdout.split()
    assert sorted(listed) == ["koprogo-backend", "koprogo-frontend", "koprogo-postgres", "koprogo-traefik"]
    assert server.sh(f"ls {JOURNAL}; ls -A {BACKUPS}/*.partial", check=False).stdout == ""
    assert "koprogo-restore" not in server.sh("docker volume ls -q").stdout


def dumped(server: Server, dump: str) -> str:
    """What is in a dump, read as Latin 1, which every byte is."""
    return server.sh(f"zstd -dc {dump} | iconv -f latin1 -t utf-8").stdout


def drilled(server: Server) -> None:
    """The newest set restores, to its last row."""
    assert "every row counted, and thrown away" in good(server.koprogo("drill"))
    nothing_is_left(server)


def test_a_set_holds_everything_and_is_drilled(server: Server) -> None:
    server.sh(f"docker run --rm -v {UPLOADS}:/v --entrypoint sh postgres:15 -c 'echo plan > /v/plan.pdf'")
    good(server.koprogo("backup"))
    manifest = json.loads(server.sh(f"cat {BACKUPS}/{newest(server)}.json").stdout)
    assert manifest["rows"]["koprogo_db"]["public.ledger"] == 5000
    assert manifest["rows"]["koprogo_db"]['public."Odd (one)"'] == 3
    assert manifest["rows"]["with a blank"] == {}
    assert manifest["rows"]["latin"] == {'public."t\udce9"': 2, "public.votes": 8}
    assert [part["volume"] for part in manifest["parts"]] == ["", "backend_uploads", "traefik_letsencrypt"]
    assert "is whole, all 4 parts" in good(server.koprogo("backup", "--verify"))
    packed = f"{BACKUPS}/{newest(server)}.traefik_letsencrypt.tar.zst"
    assert "./acme.json" in server.sh(f"zstd -dc {packed} | tar -t").stdout.split()
    drilled(server)
    state = json.loads(server.sh("cat /var/lib/koprogo/backup.json").stdout)
    assert state["good_drill"]["set"] == newest(server)
    assert 1 < state["good_drill"]["seconds"] < 120


def test_a_restore_brings_back_what_was_then_and_keeps_what_is_now(server: Server) -> None:
    rows = ledger(server)
    good(server.koprogo("backup"))
    server.sql("delete from ledger where id > 10; insert into buildings (name) values ('of later')")
    said = good(server.koprogo("restore", newest(server), "--yes"))
    assert "koprogo_db: 500" in said
    assert (ledger(server), "of later" in names(server), server.version()) == (rows, False, "1")
    assert server.sql("select rolpassword like 'SCRAM%' from pg_authid where rolname = 'Reader'") == "t"
    last = server.sh(f"ls {BACKUPS}/before-restores/*.sql.zst").stdout.split()
    assert len(last) == 1
    assert "of later" in dumped(server, last[0])

    # the last dump is a set like any other, and the way back
    said = good(server.koprogo("restore", "--into-scratch", last[0]))
    assert "docker rm -f -v koprogo-scratch" in said
    assert server.sql("select count(*) from ledger", "koprogo-scratch") == "10"
    server.sh("docker rm -f -v koprogo-scratch")
    assert "Removed koprogo-restore-" in good(server.koprogo("restore", "--drop-old", "--yes"))
    nothing_is_left(server)


def test_settings_certificates_and_uploads_come_back_when_asked_for(server: Server) -> None:
    secrets, acme = server.sh(f"cat {ENV_FILE}").stdout, _volume(server, "traefik_letsencrypt", "cat /v/acme.json")
    good(server.koprogo("backup"))
    name, rows = newest(server), ledger(server)
    server.sh(f"sed -i s/Xq8ZkT1vB4nW7yRc/changedLater/ {ENV_FILE}")
    server.sql("alter role koprogo password 'changedLater'; delete from ledger")
    good(server.koprogo("deploy"))
    _volume(server, "backend_uploads", "echo later > /v/plan.pdf; echo x > /v/other.pdf")
    said = good(server.koprogo("restore", name, "--with-files", "--yes"))
    assert f"~ {ENV_FILE}" in said
    assert "~ the volume backend_uploads" in said
    assert server.sh(f"cat {ENV_FILE}").stdout == secrets
    assert _volume(server, "backend_uploads", "ls /v; cat /v/plan.pdf") == "plan.pdf\nplan\n"
    assert json.loads(_volume(server, "traefik_letsencrypt", "cat /v/acme.json")) == json.loads(acme)
    assert (ledger(server), server.version(), server.status()["healthy"]) == (rows, "1", True)
    assert server.status()["settings_applied"]
    good(server.koprogo("restore", "--drop-old", "--yes"))
    nothing_is_left(server)


def test_settings_that_ask_for_images_which_are_nowhere_stop_nothing(server: Server) -> None:
    containers = server.containers()
    secrets = server.sh(f"cat {ENV_FILE}").stdout
    server.sh(f"sed -i s,gilmry/koprogo,gilmry/nowhere, {ENV_FILE}")
    try:
        good(server.koprogo("backup"))
    finally:
        server.sh(f"cat > {ENV_FILE}", input=secrets)
    said = bad(server.koprogo("restore", newest(server), "--with-files", "--yes"))
    assert "asks for ghcr.io/gilmry/nowhere/backend:main-" in said
    assert "Nothing was restored: the data of before are in place." in said
    assert (server.containers(), server.sh(f"cat {ENV_FILE}").stdout) == (containers, secrets)
    nothing_is_left(server)
    server.sh(f"rm {BACKUPS}/{newest(server)}.*")


def _volume(server: Server, name: str, script: str) -> str:
    command = f"docker run --rm -v production_{name}:/v --entrypoint sh postgres:15 -c '{script}'"
    return server.sh(command).stdout


def cut_power(server: Server, at: str, *arguments: str) -> None:
    """Cut the machine's power at a step, and start it again."""
    runner = threading.Thread(target=cut, args=(server, "stop", at, *arguments), daemon=True)
    runner.start()
    wait_for(lambda: steps(server)[-1:] == [at], 180, f"the program does not reach {at}")
    server.machine.kill()
    runner.join(30)
    server.machine.start()
    server.machine.wait_boot()
    wait_for(lambda: server.sh("docker info", check=False).returncode == 0, 60, "Docker does not start")


def kill(server: Server, at: str, *arguments: str) -> None:
    """SIGKILL at a step; whatever the program had started ends by itself."""
    assert cut(server, "kill", at, *arguments).returncode == 137
    free = "flock --nonblock /var/lib/koprogo/deploy.lock true"
    wait_for(lambda: server.sh(free, check=False).returncode == 0, 120, "the lock is not free")


def test_a_restore_cut_off_anywhere_leaves_the_old_or_the_new(server: Server, request: pytest.FixtureRequest) -> None:
    server.sql("insert into buildings (name) values ('of then')")
    good(server.koprogo("backup"))
    name = newest(server)
    good(cut(server, "no", "", "restore", name, "--yes"))
    found = steps(server)
    assert found == ["begun", "restored", "stopping", "dumped", "exchanging", "starting", "writing"]
    good(server.koprogo("restore", "--drop-old", "--yes"))
    every = request.config.getoption("--every-cut")
    both: tuple[Callable[..., None], Callable[..., None]] = (kill, cut_power)
    for number, step in enumerate(found):
        for how in both if every else both[number % 2 : number % 2 + 1]:
            server.sql("insert into buildings (name) values ('of now')")
            writer = Writer(server)
            writer.start()
            how(server, step, "restore", name, "--yes")
            # as the timer does it
            done = cut(server, "no", "", "deploy", "--check")
            acknowledged = {*writer.stop()}
            assert "of then" in names(server)
            if step == "writing":
                # the data of then, the kept ones of now, and what was written since
                assert "of now" not in names(server), done.stderr
                (last,) = server.sh(f"ls -t {BACKUPS}/before-restores/*.sql.zst | head -n 1").stdout.split()
                before = dumped(server, last)
                assert {row for row in acknowledged if row not in before} <= names(server)
                good(server.koprogo("restore", "--drop-old", "--yes"))
            else:
                assert "undone" in done.stdout
                assert {"of now", *acknowledged} <= names(server)
            assert acknowledged
            # after a boot it is Docker that starts what nobody had stopped
            wait_for(lambda: server.status()["healthy"], 60, f"it is not healthy after {step}")
            assert server.version() == "1"
            nothing_is_left(server)


def test_a_restore_that_was_cut_off_goes_on_when_asked(server: Server) -> None:
    good(server.koprogo("backup"))
    name = newest(server)
    assert "No restore was cut off" in bad(server.koprogo("restore", "--resume"))
    for step in ("restored", "exchanging"):
        server.sql("insert into buildings (name) values ('of after the backup')")
        kill(server, step, "restore", name, "--yes")
        assert f"Going on with the restore of {name} ({step})" in good(cut(server, "no", "", "restore", "--resume"))
        assert "of after the backup" not in names(server)
        good(server.koprogo("restore", "--drop-old", "--yes"))
    nothing_is_left(server)


def test_a_restore_that_fails_leaves_everything(server: Server) -> None:
    good(server.koprogo("backup"))
    rows, containers = names(server), server.containers()
    manifest, dump = f"{BACKUPS}/{newest(server)}.json", f"{BACKUPS}/{newest(server)}.sql.zst"
    text = server.sh(f"cat {manifest}").stdout
    for version, words in (("16.1", "is of PostgreSQL 16, and this is PostgreSQL 15"), ("15.99", "newer than the 15.")):
        server.sh(f"cat > {manifest}", input=json.dumps(json.loads(text) | {"postgres": version}))
        refused = server.koprogo("restore", newest(server), "--yes")
        assert words in bad(refused)
        assert not refused.stdout, "a plan was shown, and then refused"
    # an older minor's fits
    server.sh(f"cat > {manifest}", input=json.dumps(json.loads(text) | {"postgres": "15.1"}))
    good(server.koprogo("restore", "--into-scratch"))
    server.sh("docker rm -f -v koprogo-scratch")

    # a statement that fails, in a dump whose checksums are right
    server.sh(f"zstd -dc {dump} | sed 's/^CREATE TABLE public.ledger/CREATE TABLE public.nowhere.ledger/' > /tmp/dump")
    server.sh(f"zstd -qf /tmp/dump -o {dump}")
    facts = {"size": int(server.sh(f"stat -c %s {dump}").stdout), "sha256": server.sh(f"sha256sum {dump}").stdout[:64]}
    server.sh(f"cat > {manifest}", input=json.dumps(json.loads(text) | facts))
    said = bad(server.koprogo("restore", newest(server), "--yes"))
    assert re.search(r"cannot be restored: line \d+: ERROR: +cross-database references", said)
    assert "Nothing was restored: the data of before are in place." in said
    assert "The drill failed" in bad(server.koprogo("drill"))
    assert (names(server), server.containers()) == (rows, containers)
    nothing_is_left(server)
    server.sh(f"rm {BACKUPS}/{newest(server)}.*")


def test_damaged_sets_are_passed_over_and_said(server: Server) -> None:
    good(server.koprogo("backup"))
    good(server.koprogo("backup"))
    first, second = server.sh(f"cd {BACKUPS}; ls postgres_*.sql.zst | tail -n 2").stdout.split()
    flip = "f=open(__import__('sys').argv[1],'r+b'); f.seek(900); b=f.read(1); f.seek(900); f.write(bytes([b[0]^1]))"
    server.sh(f'python3 -c "{flip}" {BACKUPS}/{second}')
    assert "its SHA-256 is another" in bad(server.koprogo("backup", "--verify"))
    assert "its SHA-256 is another" in bad(server.koprogo("drill"))
    said = server.koprogo("restore", "--into-scratch")
    assert f"Passed over: {second} is not what was written" in said.stderr
    assert f"Restored Set {first.removesuffix('.sql.zst')}" in good(said)
    server.sh("docker rm -f -v koprogo-scratch")
    server.sh(f"truncate -s 500 {BACKUPS}/{second}")
    assert "has 500 bytes, and had" in bad(server.koprogo("restore", second, "--yes"))
    assert server.status()["last_backup"]["file"] == f"{BACKUPS}/{first}"
    server.sh(f"rm {BACKUPS}/{newest(server)}.*")
    drilled(server)


def test_backups_that_fail_cost_no_set(server: Server) -> None:
    before = server.sh(f"cd {BACKUPS}; sha256sum postgres_*").stdout
    server.sql("create role helper superuser login")
    admin = "docker exec koprogo-postgres psql -U helper -d postgres -qc"
    server.sh(f"{admin} 'alter role koprogo rename to renamed'")
    try:
        assert 'role "koprogo" does not exist' in bad(server.koprogo("backup"))
    finally:
        server.sh(f"{admin} 'alter role renamed rename to koprogo'")
        # renaming takes the password's place away only for MD5; what is drilled below says that all is well
    server.sh("docker stop koprogo-postgres")
    try:
        assert "The database (postgres) is exited" in bad(server.koprogo("backup"))
        assert "The drill failed: The database (postgres) is exited" in bad(server.koprogo("drill"))
    finally:
        server.sh("docker start koprogo-postgres")
        wait_for(lambda: server.status()["healthy"], 60, "the database is not healthy again")
    assert server.sh(f"cd {BACKUPS}; sha256sum postgres_*").stdout == before
    drilled(server)

    # a small disk that fills in the middle, with a good set on it
    owned = "uid=$(id -u koprogo),gid=$(id -g koprogo),mode=700"
    server.sh(f"mount -t tmpfs -o size=12m,{owned} tmpfs {BACKUPS}")
    try:
        good(server.koprogo("backup"))
        kept = server.sh(f"cd {BACKUPS}; sha256sum *").stdout
        server.sql("create table noise as select gen_random_uuid()::text as line from generate_series(1, 700000)")
        assert "No space left on device" in bad(server.koprogo("backup"))
        assert server.sh(f"cd {BACKUPS}; sha256sum *; ls -A | grep -c partial || true").stdout == kept + "0\n"
        server.sh(f"head -c 12200000 /dev/zero > {BACKUPS}/full")
        assert "MB have to stay free" in bad(server.koprogo("backup"))
        server.sh(f"rm {BACKUPS}/full")
        server.sql("drop table noise")
        drilled(server)
    finally:
        server.sh(f"umount {BACKUPS}")
        server.sql("drop table if exists noise")


@pytest.mark.parametrize("victim", ["pg_dump", "the program"])
def test_a_dump_that_is_killed_half_way_is_none(server: Server, victim: str) -> None:
    good(server.koprogo("backup"))
    before = server.sh(f"cd {BACKUPS}; sha256sum postgres_*").stdout
    # It waits for this table, with the roles and the first databases written.
    lock = "begin; lock table ledger; select pg_sleep(600)"
    server.sh(f"docker exec -d koprogo-postgres psql -U koprogo -d koprogo_db -c '{lock}'")
    waiting = "select count(*) from pg_stat_activity where application_name = 'pg_dump' and wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as pool:
        try:
            running = pool.submit(server.koprogo, "backup")
            wait_for(lambda: server.sql(waiting) == "1", 60, "the dump does not come to the table")
            assert "Another backup is at work; nothing was done." in bad(server.koprogo("backup"))
            process = "[b]in/pg_dump " if victim == "pg_dump" else "[p]ython3 -m koprogo backup"
            server.sh(f"kill -9 $(pgrep -f '{process}')")
            done = running.result(timeout=60)
        finally:
            server.sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'")
    if victim == "pg_dump":
        assert "No backup was made; the older ones are untouched. pg_dumpall failed" in bad(done)
    else:
        assert done.returncode == 137
    assert server.sh(f"cd {BACKUPS}; sha256sum postgres_*").stdout == before
    wait_for(lambda: server.sql(waiting.split(" and ", maxsplit=1)[0]) == "0", 60, "the dump that was killed goes on")
    good(server.koprogo("backup"))
    drilled(server)


def test_a_killed_drill_leaves_nothing(server: Server) -> None:
    running = threading.Thread(target=server.koprogo, args=("drill",))
    running.start()
    there = "docker ps --format '{{.Names}}' | grep -c koprogo-drill"
    wait_for(lambda: server.sh(there, check=False).returncode == 0, 60, "the drill does not begin")
    assert "Another drill is at work" in bad(server.koprogo("drill"))
    server.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo drill')")
    running.join()
    gone = "! docker ps --all --format '{{.Names}}' | grep -q koprogo-drill"
    wait_for(lambda: server.sh(gone, check=False).returncode == 0, 60, "the throw-away database goes on")
    assert server.sh("docker volume ls -qf dangling=true").stdout.count("\n") <= 1
    drilled(server)
