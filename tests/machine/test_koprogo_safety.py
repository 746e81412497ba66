"""What protects a server from a deploy: signatures, a dump, room, images that do not come; as the unit starts it."""

import json
import subprocess
from collections.abc import Iterator

import koprogo_server
import pytest
import small_world
from koprogo_server import CHECKOUT, Server

from facts import layout
from operations import gitops
from sandbox.world import wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

COMPOSE = "deploy/production/docker-compose.yml"
SIGNERS = "/etc/koprogo/allowed_signers"
LOG = "/var/log/koprogo-gitops.log"
DUMPS = "/home/koprogo/backups/before-deploys"
KEY = "/srv/signer"

# $1 is the version, $2 "-S" to sign, $3 where to begin: what comes after that is thrown away.
_COMMIT = f"""
git reset -q --hard "$3"
printf '%s\\n' "$1" > VERSION
git -c gpg.format=ssh -c user.signingkey={KEY} commit -q --all --allow-empty -m "Version $1" $2
git push -q --force origin HEAD:main >&2
git rev-parse HEAD
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("safety") as world:
        made = koprogo_server.make(world)
        made.internet.run(["sh", "-ec", f"ssh-keygen -q -t ed25519 -N '' -f {KEY}; chown www-data {KEY}"])
        text = made.in_clone(f"cat {COMPOSE}")
        for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
            text = text.replace(old, new)
        made.push("1", files={COMPOSE: text})
        made.sh(f"install -o koprogo -g adm -m 0640 /dev/null {LOG}; mkdir -p /etc/systemd/system")
        made.sh(f"cat > {layout.SERVICE}", input=gitops.service())
        made.sh("systemctl daemon-reload")
        configure(made)
        done = made.koprogo("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
        # The image of somebody else, and a name of theirs for one of ours.
        made.sh("docker tag postgres:15 others/postgres:15")
        yield made


def configure(server: Server, **changes: object) -> None:
    server.configure(log_file=LOG, **changes)


def check(server: Server) -> subprocess.CompletedProcess[str]:
    """One check as the timer starts it; the result holds the lines that it added to the log."""
    before = len(server.sh(f"cat {LOG}").stdout)
    done = server.sh("systemctl start koprogo-gitops.service", check=False)
    lines = server.sh(f"cat {LOG}").stdout[before:]
    assert "Traceback" not in server.sh("journalctl -u koprogo-gitops -o cat").stdout
    return subprocess.CompletedProcess(done.args, done.returncode, lines, "")


def deployed(server: Server, commit: str) -> str:
    """One check that brings this commit; returns what it said."""
    done = check(server)
    assert done.returncode == 0, done.stdout + server.sh("journalctl -u koprogo-gitops -o cat").stdout
    assert f"Deployed {commit[:7]}" in done.stdout
    return done.stdout


def refused(server: Server) -> str:
    """One check that changes nothing that runs; returns what it said."""
    before = server.containers(), server.head(), server.version()
    done = check(server)
    assert done.returncode != 0, done.stdout
    assert (server.containers(), server.head(), server.version()) == before
    return done.stdout


def quarantine(server: Server) -> list[str]:
    return [entry["commit"] for entry in server.state()["quarantine"]]


def test_the_unit_is_closed_and_deploys_with_a_dump_and_says_so_in_both_logs(server: Server) -> None:
    server.sql("create table ledger (line text); insert into ledger values ('before the deploy')")
    running = server.head()
    commit = server.push("2")
    said = deployed(server, commit)
    assert server.version() == "2"
    journal = server.sh("journalctl -t koprogo -o cat").stdout
    assert said in journal
    assert server.sh(f"stat -c '%a %U' {LOG}").stdout == "640 koprogo\n"

    (dump,) = server.sh(f"ls {DUMPS}/*.sql.zst").stdout.split()
    assert f"Dumped the database to {dump} (" in said
    assert server.sh(f"stat -c '%a %U' {DUMPS} {dump}").stdout == "700 koprogo\n600 koprogo\n"
    assert json.loads(server.sh(f"cat {dump.removesuffix('.sql.zst')}.json").stdout)["commit"] == running
    assert "before the deploy" in server.sh(f"zstd -dc {dump}").stdout

    rated = server.sh("systemd-analyze security koprogo-gitops.service | tail -n 1").stdout
    assert float(rated.split(":")[1].split()[0]) <= 2.5, rated
    assert server.sh(f"find /var/lib/koprogo {CHECKOUT} ! -user koprogo").stdout == ""


def test_without_a_signature_nothing_goes_live_and_a_signed_branch_does(server: Server) -> None:
    public = server.internet.run(["cat", f"{KEY}.pub"]).stdout
    server.sh(f"cat > {SIGNERS}", input=f"ann@koprogo.test {public}")
    configure(server, allowed_signers=SIGNERS)
    running = server.head()
    hidden = server.in_clone(_COMMIT, "3", "", running)
    newest = server.in_clone(_COMMIT, "3", "-S", hidden)
    said = refused(server)
    assert f"Cannot deploy {newest[:7]}: commit {hidden} (Version 3) has no signature that counts here" in said
    assert quarantine(server) == [newest]
    # As koprogo may write to the clone, its settings must not be what decides.
    git = f"runuser -u koprogo -- git -C {CHECKOUT}"
    server.sh(f"{git} config gpg.ssh.program /bin/true; {git} config gpg.ssh.allowedSignersFile /dev/null")

    signed = server.in_clone(_COMMIT, "3", "-S", running)
    said = deployed(server, signed)
    assert "Commits signed as they have to be: 1." in said
    assert server.version() == "3"
    configure(server)


def test_a_disk_that_fills_stops_a_deploy_and_leaves_what_runs(server: Server) -> None:
    commit = server.push(server.other_version())
    small, state = "/home/koprogo/backups", "/var/lib/koprogo"
    owned = "uid=$(id -u koprogo),gid=$(id -g koprogo),mode=700"
    known = server.sh(f"cat {state}/state.json").stdout
    server.sh(f"mount -t tmpfs -o size=64k,{owned} tmpfs {state}")
    try:
        server.sh(f"cat > {state}/state.json; chown koprogo {state}/state.json", input=known)
        server.sh(f"cat /dev/zero > {state}/full 2>/dev/null || true")
        assert "/var/lib/koprogo/state.json: No space left on device" in refused(server)
        assert server.sh(f"cat {state}/state.json").stdout == known
    finally:
        server.sh(f"umount {state}")
    server.sh(f"mount -t tmpfs -o size=8m,{owned} tmpfs {small}")
    try:
        server.sh(f"head -c 8200000 /dev/zero > {small}/full")
        said = refused(server)
        assert f"{small} has 0.2 of 8.4 MB free, and a deploy wants 0.4" in said
        server.sh(f"rm {small}/full")
        server.sql("create table noise as select gen_random_uuid()::text as line from generate_series(1, 600000)")
        said = refused(server)
        assert f"No dump of the database could be made, so {commit[:7]} is not deployed:" in said
        assert "No space left on device" in said
        assert server.sh(f"find {small} -type f").stdout == ""
    finally:
        server.sh(f"umount {small}")
        server.sql("drop table if exists noise")
    assert quarantine(server) == []


def test_a_registry_that_hangs_or_dies_is_given_up_and_what_runs_goes_on(server: Server) -> None:
    commit = server.push(server.other_version())
    code = f"{koprogo_server.LIBRARY}/docker/engine.py"
    server.sh(f"sed -i 's/^PULL_TIMEOUT = .*/PULL_TIMEOUT = 5/' {code}; grep -q '^PULL_TIMEOUT = 5$' {code}")
    server.internet.run(["systemctl", "kill", "--signal=STOP", "docker-registry"])
    try:
        said = refused(server)
        assert "Cannot pull ghcr.io/gilmry/koprogo/backend:main-" in said
        assert ": it did not arrive within 5 s. What runs goes on running; the next check tries again." in said
        server.sh(f"sed -i 's/^PULL_TIMEOUT = .*/PULL_TIMEOUT = 900/' {code}")
        server.sh("systemctl start --no-block koprogo-gitops.service")
        wait_for(lambda: server.sh("pgrep -f 'docker pull'", check=False).returncode == 0, 30, "no pull begins")
        before = server.containers()
        server.internet.run(["systemctl", "kill", "--signal=KILL", "docker-registry"])
        ended = "! systemctl is-active koprogo-gitops.service | grep -q ^activating"
        wait_for(lambda: server.sh(ended, check=False).returncode == 0, 90, "the pull does not end")
        assert server.containers() == before
        assert server.state()["check"]["problem"].startswith("Cannot pull ghcr.io/gilmry/koprogo/backend:main-")
    finally:
        server.internet.run(["systemctl", "restart", "docker-registry"])
    answers = ["curl", "-sf", "https://ghcr.io/v2/"]
    wait_for(lambda: server.machine.run(answers, check=False).returncode == 0, 30, "the registry is not back")
    assert quarantine(server) == []
    deployed(server, commit)


def test_after_four_versions_three_are_left_and_nothing_else_is_gone(server: Server) -> None:
    lines = server.sh("cat /var/lib/koprogo/history.jsonl").stdout.splitlines()
    versions = [one["version"]["tag"] for one in map(json.loads, lines) if one["result"] == "deployed"][::-1]
    assert len(versions) == 4
    names = server.sh("docker image ls --format '{{.Repository}}:{{.Tag}}'").stdout.split()
    for service in ("backend", "frontend"):
        repository = f"ghcr.io/gilmry/koprogo/{service}"
        tags = {name.removeprefix(f"{repository}:") for name in names if name.startswith(f"{repository}:")}
        assert tags == set(versions[:3])
    assert "others/postgres:15" in names
    assert sum(name.startswith(("traefik:", "postgres:")) for name in names) == 2
    assert server.sql("select line from ledger") == "before the deploy"
    assert len(server.sh(f"ls {DUMPS}/*.sql.zst").stdout.split()) == 3
