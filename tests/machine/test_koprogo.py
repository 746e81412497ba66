"""The program on a server: real Git, registry, Docker, Traefik, certificates and PostgreSQL.

One server serves all of the tests; each begins in a state that a fixture brings about, and not in what another left.
"""

import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import koprogo_server
import pytest
import small_world
from koprogo_server import CHECKOUT, ENV_FILE, SECRETS, Server

from sandbox.world import wait_for, within

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

NAME = "program"
COMPOSE = "deploy/production/docker-compose.yml"


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server, in whatever state the last test left it."""
    with small_world.with_internet(NAME, keep=request.config.getoption("--keep-sandbox")) as world:
        yield koprogo_server.make(world)


@pytest.fixture
def virgin(server: Server) -> Server:
    """The server with nothing deployed, and main at version 1."""
    if server.in_clone("cat VERSION") != "1":
        server.push("1")
    server.wipe()
    return server


@pytest.fixture
def live(server: Server) -> Server:
    """The server with main's commit running, nothing in quarantine, and its settings as they were made."""
    server.configure()
    server.sh(f"cat > {ENV_FILE}", input=SECRETS)
    if quarantine(server) or server.status()["running_commit"] not in (None, server.in_clone("git rev-parse HEAD")):
        server.push(server.other_version())
    status = server.status()
    if not (status["running_commit"] and status["settings_applied"] and not status["quarantine"] and status["healthy"]):
        good(server.koprogo("deploy"))
    server.outlive_probation()
    return server


@pytest.fixture
def ledger(live: Server) -> Server:
    """The server with 5000 rows in a table, and no backup."""
    live.sql("drop table if exists ledger")
    live.sql("create table ledger (id serial primary key, line text)")
    live.sql("insert into ledger (line) select 'Charges « été » ' || n from generate_series(1, 5000) n")
    live.sh("find /home/koprogo/backups -type f -delete")
    return live


@pytest.fixture
def backed_up(ledger: Server) -> Server:
    """That server with one backup, and so many rows since then that the next takes a while."""
    good(ledger.koprogo("backup"))
    ledger.sql("insert into ledger (line) select md5(n::text) from generate_series(1, 2000000) n")
    return ledger


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, said(done)
    assert "Traceback" not in said(done)
    return said(done)


def bad(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, said(done)
    assert "Traceback" not in said(done)
    assert "PROBLEM" in done.stderr
    return said(done)


def quarantine(server: Server) -> list[str]:
    return [entry["commit"] for entry in server.status()["quarantine"]]


def test_before_anything_runs(virgin: Server) -> None:
    assert virgin.status()["running_commit"] is None
    assert "nothing was deployed" in bad(virgin.koprogo("health"))
    text = bad(virgin.koprogo("backup"))
    assert "No backup was made" in text
    assert "The database (postgres) has no container" in text


def test_first_deploy_waits_for_its_certificate(virgin: Server) -> None:
    text = good(virgin.koprogo("deploy"))
    assert "4 services healthy, 2 public addresses answer" in text
    assert virgin.version() == "1"
    status = virgin.status()
    assert status["running_commit"] == status["wanted_commit"] == virgin.head()
    assert (status["healthy"], status["settings_applied"], status["attempt"]) == (True, True, None)


def test_a_check_that_finds_nothing_new_is_quiet_small_and_leaves_docker_alone(live: Server) -> None:
    done = live.koprogo("deploy", "--check")
    assert (done.returncode, said(done)) == (0, "")
    assert live.docker_calls() == []
    measure = (
        "import resource, subprocess\n"
        "subprocess.run(['koprogo', 'deploy', '--check'], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    user = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo"]
    assert int(live.machine.run([*user, "python3", "-c", measure]).stdout) <= 60 * 1024  # kilobytes at the peak
    assert live.status()["last_check"]["problem"] is None


def test_root_becomes_the_user_of_the_program(live: Server) -> None:
    assert "runs since" in live.sh("cd /root && koprogo status").stdout
    live.sh("koprogo deploy --check")
    assert live.sh(f"find /var/lib/koprogo {CHECKOUT} ! -user koprogo").stdout == ""
    done = live.machine.run(["runuser", "-u", "nobody", "--", "koprogo", "status"], check=False)
    assert done.returncode == 1
    assert "sudo koprogo" in done.stderr


def test_a_new_commit_goes_live_once_and_leaves_the_rest_alone(live: Server) -> None:
    before, version = live.containers(), live.other_version()
    commit = live.push(version)
    results: list[subprocess.CompletedProcess[str]] = []
    first = threading.Thread(target=lambda: results.append(live.koprogo("deploy", "--check")))
    first.start()
    wait_for(lambda: (live.state().get("attempt") or {}).get("commit") == commit, 30, "the deploy does not begin")
    assert "Another deploy is at work; this check leaves it to it." in good(live.koprogo("deploy", "--check"))
    assert "waiting for it to end" in good(live.koprogo("deploy"))
    first.join()
    text = good(results[0])
    assert "Passed backend on to a new container" in text
    assert "Passed frontend on to a new container" in text
    assert "Left postgres, traefik alone." in text
    assert (live.version(), live.head(), live.status()["running_commit"]) == (version, commit, commit)
    after = live.containers()
    assert {name for name in before if before[name] == after[name]} == {"koprogo-postgres", "koprogo-traefik"}


class Visitor(threading.Thread):
    """Asks both names again and again, half of the time on connections that stay open; remembers what went wrong."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._address, self._over = server.machine.ipv4, threading.Event()
        self.good, self.lost = 0, list[str]()
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    def run(self) -> None:
        """Ask until it is told to stop."""
        kept: dict[str, http.client.HTTPSConnection] = {}
        while not self._over.wait(0.02):
            for url in koprogo_server.URLS:
                parts = urlsplit(url)
                self._ask(parts.hostname or "", parts.path or "/", kept.setdefault(url, self._connection()))
                self._ask(parts.hostname or "", parts.path or "/", self._connection(), close=True)

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._address, timeout=10, context=self._context)

    def _ask(self, name: str, path: str, connection: http.client.HTTPSConnection, *, close: bool = False) -> None:
        try:
            connection.request("GET", path, headers={"Host": name})
            answer = connection.getresponse()
            answer.read()
            self.good += answer.status == 200
            self.lost += [f"{name}: {answer.status}"] * (answer.status != 200)
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{name}: {error!r}")
            connection.close()
        if close:
            connection.close()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()


def test_nobody_who_asks_during_deploys_goes_without_an_answer(live: Server) -> None:
    visitor = Visitor(live)
    visitor.start()
    live.push(live.other_version())
    good(live.koprogo("deploy", "--check"))
    live.push("sick")
    bad(live.koprogo("deploy", "--check"))
    visitor.stop()
    assert visitor.lost == []
    assert visitor.good > 200


def test_a_rollback_stays_until_resume(live: Server) -> None:
    before, version = live.head(), live.version()
    commit, newest = live.push(live.other_version()), live.other_version()
    good(live.koprogo("deploy"))
    assert f"{before[:7]} stays until: koprogo resume" in good(live.koprogo("rollback"))
    assert (live.version(), live.head(), quarantine(live)) == (version, before, [])
    done = live.koprogo("deploy", "--check")
    assert (done.returncode, said(done), live.head()) == (0, "", before)
    assert live.status()["hold"]["commit"] == before
    assert "Rolled back  since 20" in good(live.koprogo("status"))
    assert good(live.koprogo("history")).splitlines()[-1].split()[2] == before[:7]
    assert f"~ backend   beside    backend:main-{before[:7]} → backend:main-{commit[:7]}\n" in good(
        live.koprogo("diff")
    )
    good(live.koprogo("resume"))
    good(live.koprogo("deploy", "--check"))
    assert (live.version(), live.head(), live.status()["hold"]) == (newest, commit, None)


def test_a_commit_that_changes_the_data_and_is_sick_goes_nowhere(live: Server) -> None:
    running, version = live.head(), live.version()
    text = live.in_clone(f"cat {COMPOSE}") + "\n"
    marked = text.replace("    labels:\n", "    labels:\n      - koprogo.schema=2\n", 1)
    commit = live.push("sick", files={COMPOSE: marked})
    said_so = bad(live.koprogo("deploy", "--check"))
    assert "It changes the data (backend none → 2), so nothing goes back by itself" in said_so
    assert (live.version(), quarantine(live)) == (version, [commit])
    assert live.sh("docker ps --filter name=backend --format '{{.Image}}'").stdout.count("backend:main-") == 2
    mended = live.push(version, files={COMPOSE: marked})
    good(live.koprogo("deploy", "--check"))
    assert (live.head(), len(live.containers())) == (mended, 4)
    assert "works on data of another form (backend 2 → none)" in bad(live.koprogo("rollback", running[:7]))
    assert live.head() == mended
    live.push(version, files={COMPOSE: text})
    good(live.koprogo("deploy", "--check"))


def test_a_sick_commit_is_rolled_back_and_not_tried_again_until_a_newer_one_goes_live(live: Server) -> None:
    images, running, version, next_version = live.image_ids(), live.head(), live.version(), live.other_version()
    commit = live.push("sick", "Does not become healthy")
    # Its name means another image by now, as after a pull of something newer: the way back is to the one that ran.
    live.sh(f"docker tag traefik:v3.7 ghcr.io/gilmry/koprogo/backend:main-{running[:7]}")
    text = bad(live.koprogo("deploy", "--check"))
    assert f"{commit[:7]} is not healthy" in text
    assert f"{commit[:7]} was rolled back: {running[:7]} (main-{running[:7]}) runs again and is healthy" in text
    assert not any("down" in call.split() for call in live.docker_calls())
    assert (live.version(), live.head(), live.image_ids(), quarantine(live)) == (version, running, images, [commit])
    assert commit in live.sh("cat /var/lib/koprogo/failed.log").stdout

    before = live.containers()
    done = live.koprogo("deploy", "--check")
    assert (done.returncode, said(done), live.docker_calls()) == (0, "", [])
    assert f"commit {commit[:7]} failed and is in quarantine" in bad(live.koprogo("health"))
    assert "is in quarantine since" in good(live.koprogo("deploy"))
    assert (live.head(), live.containers(), quarantine(live)) == (running, before, [commit])

    newer = live.push(next_version)
    good(live.koprogo("deploy", "--check"))
    assert (live.version(), live.head(), quarantine(live)) == (next_version, newer, [])
    assert good(live.koprogo("health")).split(" ", 1)[1].startswith("OK: 2 addresses, certificate for")


def test_commits_that_cannot_be_deployed_touch_nothing(live: Server) -> None:
    running, before, version = live.head(), live.containers(), live.version()
    compose, secrets = live.sh(f"cat {CHECKOUT}/{COMPOSE}").stdout, live.sh(f"sha256sum {ENV_FILE}").stdout

    def refused(pushed: str, files: dict[str, str | None], expected: str, *, for_good: bool = True) -> None:
        commit = live.push(pushed, files=files)
        text = bad(live.koprogo("deploy", "--check"))
        assert (f"Cannot deploy {commit[:7]}" in text) is for_good
        assert expected in text
        assert (commit in quarantine(live)) is for_good
        assert not any("latest" in call for call in live.docker_calls())
        assert (live.head(), live.containers(), live.version()) == (running, before, version)
        assert live.sh(f"sha256sum {ENV_FILE}").stdout == secrets

    refused("2", {COMPOSE: "services: [\n"}, "docker compose config")
    unset = "services: {backend: {image: 'x:${NOBODY_SET_THIS:?it is needed}'}}\n"
    refused("2", {COMPOSE: unset}, "The compose file wants a value for NOBODY_SET_THIS", for_good=False)
    mine = "deploy/production/.env"
    refused("2", {COMPOSE: compose, mine: "JWT_SECRET=public\n"}, "would overwrite this server's secrets")
    live.configure(image_wait=0)
    refused("never-built", {mine: None}, "the registry has no ghcr.io/gilmry/koprogo/backend:main-")
    live.configure()


def test_ci_that_is_late_a_registry_that_is_down_and_a_file_changed_here(live: Server) -> None:
    running, before, version = live.head(), live.containers(), live.other_version()
    live.push("never-built")
    assert "Waiting for CI to build ghcr.io/gilmry/koprogo/backend:main-" in good(live.koprogo("deploy", "--check"))
    assert said(live.koprogo("deploy", "--check")) == ""

    # A newer commit overtakes the one that is being waited for.
    commit = live.push(version)
    live.internet.run(["systemctl", "stop", "docker-registry"])
    try:
        assert "What runs goes on running; the next check tries again" in bad(live.koprogo("deploy", "--check"))
        done = live.koprogo("deploy", "--check")
        assert (done.returncode, said(done)) == (1, "")
    finally:
        live.internet.run(["systemctl", "start", "docker-registry"])
    answers = ["curl", "-sf", "https://ghcr.io/v2/"]
    wait_for(lambda: live.machine.run(answers, check=False).returncode == 0, 30, "the registry is not back")

    live.sh(f"echo '# mine' >> {CHECKOUT}/{COMPOSE}")
    assert f"Somebody changed {COMPOSE}" in bad(live.koprogo("deploy", "--check"))
    assert live.sh(f"tail -n1 {CHECKOUT}/{COMPOSE}").stdout == "# mine\n"
    assert (live.head(), live.containers()) == (running, before)
    live.sh(f"runuser -u koprogo -- git -C {CHECKOUT} checkout -q .")

    good(live.koprogo("deploy", "--check"))
    assert (live.head(), live.version(), quarantine(live)) == (commit, version, [])


def test_git_that_is_down_is_said_once_and_changes_nothing(live: Server) -> None:
    live.configure(repository="https://git.sandbox.test:1/gilmry/koprogo.git")
    assert "Git server:" in bad(live.koprogo("deploy", "--check"))
    done = live.koprogo("deploy", "--check")
    assert (done.returncode, said(done), live.docker_calls()) == (1, "", [])
    assert "deploy: Git server:" in bad(live.koprogo("health"))
    live.configure()
    good(live.koprogo("deploy", "--check"))
    good(live.koprogo("health"))


def test_settings_are_applied_when_asked_for(live: Server) -> None:
    before = live.containers()
    live.sh(f"cat > {ENV_FILE}", input=SECRETS + "RUST_LOG=debug\n")
    assert live.status()["settings_applied"] is False
    done = live.koprogo("deploy", "--check")
    assert (said(done), live.containers()) == ("", before)
    assert "Left frontend, postgres, traefik alone." in good(live.koprogo("deploy"))
    assert live.status()["settings_applied"] is True
    environment = live.sh("docker exec koprogo-backend env").stdout
    assert "RUST_LOG=debug" in environment


@pytest.mark.parametrize("step", ["pulled", "switching", "started"])
def test_killed_while_deploying(live: Server, step: str) -> None:
    wanted = live.other_version()
    commit = live.push(wanted)
    _kill_at(live, step)
    assert live.status()["running_commit"] != commit
    text = good(live.koprogo("deploy", "--check"))
    assert f"Deployed {commit[:7]}" in text
    assert (live.version(), live.head()) == (wanted, commit)
    assert live.status()["attempt"] is None


def test_killed_on_the_way_back_from_a_sick_one(live: Server) -> None:
    running, version = live.status()["running_commit"], live.version()
    commit = live.push("sick")
    _kill_at(live, "rolling back")
    bad(live.koprogo("deploy", "--check"))
    assert (live.version(), live.head(), live.status()["running_commit"]) == (version, running, running)
    assert commit in quarantine(live)
    good(live.koprogo("deploy", "--check"))
    assert live.version() == version


def _kill_at(server: Server, step: str) -> None:
    """Start a check and kill -9 the program, and only the program, when it has reached this step."""
    runner = threading.Thread(target=server.koprogo, args=("deploy", "--check"))
    runner.start()
    file = server.machine.rootdir / "var/lib/koprogo/state.json"

    def reached() -> bool:
        attempt = json.loads(file.read_text())["attempt"]
        return attempt is not None and attempt["step"] == step

    assert within(180, reached, pause=0.01), f"the program does not reach {step!r}"
    server.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo deploy')")
    runner.join(60)
    assert not runner.is_alive()
    # What it had started may still be at work, and holds the lock until it has ended.
    free = "flock --nonblock /var/lib/koprogo/deploy.lock true"
    wait_for(lambda: server.sh(free, check=False).returncode == 0, 120, "the lock is not free")
    attempt = server.state()["attempt"]
    assert attempt is not None
    assert attempt["step"] == step


def test_a_rewritten_history_stops_and_a_following_commit_goes_on(live: Server) -> None:
    running, version = live.head(), live.version()
    live.in_clone("git commit -q --amend --allow-empty -m Other; git push -q --force origin HEAD:main")
    assert "The history of main was rewritten" in bad(live.koprogo("deploy", "--check"))
    assert (live.head(), live.version()) == (running, version)
    done = live.koprogo("deploy", "--check")
    assert (done.returncode, said(done)) == (1, "")
    live.in_clone('git push -q --force origin "$1:main"', running)
    good(live.koprogo("deploy", "--check"))


def test_backup_restores_with_the_same_rows(ledger: Server) -> None:
    query = "select count(*), md5(string_agg(line, '|' order by id)) from ledger"
    rows = ledger.sql(query)
    assert rows.startswith("5000|")
    assert "written and verified; 1 kept" in good(ledger.koprogo("backup"))
    last = ledger.status()["last_backup"]
    folder = ledger.sh("stat -c '%a %U %n' /home/koprogo/backups /home/koprogo/backups/postgres_*").stdout
    assert [line.split()[0] for line in folder.splitlines()] == ["700", "600", "600", "600", "600"]
    manifest = json.loads(ledger.sh(f"cat {last['file'].removesuffix('.sql.zst')}.json").stdout)
    assert manifest["sha256"] == ledger.sh(f"sha256sum {last['file']}").stdout.split()[0]
    assert (manifest["user"], manifest["postgres"][:3]) == ("koprogo", "15.")

    ledger.sh("docker run -d --name restore -e POSTGRES_USER=koprogo -e POSTGRES_PASSWORD=x postgres:15")
    try:
        ready = "docker exec restore pg_isready -h 127.0.0.1 -U koprogo"
        wait_for(lambda: ledger.sh(ready, check=False).returncode == 0, 60, "the empty database is not ready")
        ledger.sh(f"zstd -dc < {last['file']} | docker exec -i restore psql -q -U koprogo -d postgres")
        assert ledger.sql(query, "restore") == rows
    finally:
        ledger.sh("docker rm -f restore")


def _backups(server: Server) -> list[str]:
    return server.sh("cd /home/koprogo/backups && sha256sum postgres_* && ls -A").stdout.splitlines()


def test_a_failed_dump_keeps_the_old_ones(backed_up: Server) -> None:
    before = _backups(backed_up)
    backed_up.sh("docker exec koprogo-postgres sh -c 'mv $(which pg_dumpall) /tmp/pg_dumpall'")
    try:
        assert "the older ones are untouched" in bad(backed_up.koprogo("backup"))
    finally:
        backed_up.sh("docker exec koprogo-postgres sh -c 'mv /tmp/pg_dumpall $(dirname $(which postgres))/'")
    backed_up.sh("docker stop koprogo-postgres")
    try:
        assert "The database (postgres) is exited" in bad(backed_up.koprogo("backup"))
    finally:
        backed_up.sh("docker start koprogo-postgres")
        wait_for(lambda: backed_up.status()["healthy"], 60, "the database is not healthy again")
    assert _backups(backed_up) == before


def test_a_dump_whose_server_dies_half_way_does_not_count(backed_up: Server) -> None:
    before = _backups(backed_up)
    results: list[subprocess.CompletedProcess[str]] = []
    running = threading.Thread(target=lambda: results.append(backed_up.koprogo("backup")))
    running.start()
    partial = backed_up.machine.rootdir / "home/koprogo/backups/.postgres.sql.zst.partial"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 100_000, 30, "the dump does not begin")
    assert "Another backup is at work" in bad(backed_up.koprogo("backup"))
    backed_up.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg_dump'")
    running.join()
    assert "No backup was made" in bad(results[0])
    assert _backups(backed_up) == before


def test_a_killed_backup_leaves_no_part_that_counts(backed_up: Server) -> None:
    before = _backups(backed_up)
    running = threading.Thread(target=backed_up.koprogo, args=("backup",))
    running.start()
    partial = backed_up.machine.rootdir / "home/koprogo/backups/.postgres.sql.zst.partial"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 100_000, 30, "the dump does not begin")
    backed_up.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo backup')")
    running.join()
    assert backed_up.status()["backups"] == 1
    assert "2 kept" in good(backed_up.koprogo("backup"))
    assert [line for line in _backups(backed_up) if "partial" in line] == []
    assert set(before) <= set(_backups(backed_up))


def test_health_says_what_is_wrong(live: Server) -> None:
    live.sh("docker stop koprogo-frontend")
    try:
        text = bad(live.koprogo("health"))
        assert "PROBLEM https://koprogo.test: " in text
        assert "frontend: exited" in text
        assert live.status()["healthy"] is False
    finally:
        live.sh("docker start koprogo-frontend")
    wait_for(lambda: live.status()["healthy"], 60, "the frontend is not healthy again")
