"""The program on a server: real Git, registry, Docker, Traefik, certificates and PostgreSQL.

The tests of this file build on each other: one server, in the order in which a server lives.
"""

import json
import subprocess
import threading
from collections.abc import Iterator

import koprogo_server
import pytest
from koprogo_server import CHECKOUT, ENV_FILE, SECRETS, Server, wait_until

from sandbox import host, world

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

NAME = "program"
COMPOSE = "deploy/production/docker-compose.yml"


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server on which nothing was deployed yet."""
    world.destroy(NAME)
    host.prepare(NAME)
    yield koprogo_server.make(world.create(NAME))
    if not request.config.getoption("--keep-sandbox"):
        world.destroy(NAME)


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


def test_before_anything_runs(server: Server) -> None:
    assert server.status()["running_commit"] is None
    assert "nothing was deployed" in bad(server.koprogo("health"))
    text = bad(server.koprogo("backup"))
    assert "No backup was made" in text
    assert "The database (postgres) has no container" in text


def test_first_deploy_waits_for_its_certificate(server: Server) -> None:
    text = good(server.koprogo("deploy"))
    assert "4 services healthy, 2 public addresses answer" in text
    assert server.version() == "1"
    status = server.status()
    assert status["running_commit"] == status["wanted_commit"] == server.head()
    assert (status["healthy"], status["settings_applied"], status["attempt"]) == (True, True, None)


def test_a_check_that_finds_nothing_new_is_quiet_cheap_and_leaves_docker_alone(server: Server) -> None:
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done)) == (0, "")
    assert server.docker_calls() == []
    measure = (
        "import resource, subprocess\n"
        "subprocess.run(['koprogo', 'deploy', '--check'], check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    user = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo"]
    seconds, kilobytes = server.machine.run([*user, "python3", "-c", measure]).stdout.split()
    assert float(seconds) <= 0.3
    assert int(kilobytes) <= 60 * 1024
    assert server.status()["last_check"]["problem"] is None


def test_root_becomes_the_user_of_the_program(server: Server) -> None:
    assert "runs since" in server.sh("cd /root && koprogo status").stdout
    server.sh("koprogo deploy --check")
    assert server.sh(f"find /var/lib/koprogo {CHECKOUT} ! -user koprogo").stdout == ""
    done = server.machine.run(["runuser", "-u", "nobody", "--", "koprogo", "status"], check=False)
    assert done.returncode == 1
    assert "sudo koprogo" in done.stderr


def test_a_new_commit_goes_live_once_and_leaves_the_rest_alone(server: Server) -> None:
    before = server.containers()
    commit = server.push("2")
    results: list[subprocess.CompletedProcess[str]] = []
    first = threading.Thread(target=lambda: results.append(server.koprogo("deploy", "--check")))
    first.start()
    wait_until(lambda: (server.state().get("attempt") or {}).get("commit") == commit, 30, "the deploy has begun")
    assert "Another deploy is at work; this check leaves it to it." in good(server.koprogo("deploy", "--check"))
    assert "waiting for it to end" in good(server.koprogo("deploy"))
    first.join()
    assert "Started backend, frontend; left postgres, traefik alone" in good(results[0])
    assert (server.version(), server.head(), server.status()["running_commit"]) == ("2", commit, commit)
    after = server.containers()
    assert {name for name in before if before[name] == after[name]} == {"koprogo-postgres", "koprogo-traefik"}


def test_a_sick_commit_is_rolled_back_and_never_tried_again(server: Server) -> None:
    images, running = server.image_ids(), server.head()
    commit = server.push("sick", "Does not become healthy")
    # Its name means another image by now, as after a pull of something newer: the way back is to the one that ran.
    server.sh(f"docker tag traefik:v3.7 ghcr.io/gilmry/koprogo/backend:main-{running[:7]}")
    text = bad(server.koprogo("deploy", "--check"))
    assert f"{commit[:7]} is not healthy" in text
    assert f"{commit[:7]} was rolled back: {running[:7]} (main-{running[:7]}) runs again and is healthy" in text
    assert server.version() == "2"
    assert server.head() == running
    assert server.image_ids() == images
    assert quarantine(server) == [commit]
    assert not any("down" in call.split() for call in server.docker_calls())
    assert commit in server.sh("cat /var/lib/koprogo/failed.log").stdout
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done), server.docker_calls()) == (0, "", [])
    assert f"commit {commit[:7]} failed and is in quarantine" in bad(server.koprogo("health"))


def test_asking_for_a_deploy_does_not_try_it_again_either(server: Server) -> None:
    running, before, commits = server.head(), server.containers(), quarantine(server)
    text = good(server.koprogo("deploy"))
    assert "is in quarantine since" in text
    good(server.koprogo("deploy", "--check"))
    assert (server.head(), server.containers(), quarantine(server)) == (running, before, commits)


def test_the_commit_after_it_goes_live(server: Server) -> None:
    commit = server.push("3")
    good(server.koprogo("deploy", "--check"))
    assert server.version() == "3"
    assert (server.head(), quarantine(server)) == (commit, [])
    assert good(server.koprogo("health")).split(" ", 1)[1].startswith("OK: 2 addresses, certificate for")


def test_commits_that_cannot_be_deployed_touch_nothing(server: Server) -> None:
    running, before = server.head(), server.containers()
    compose, secrets = server.sh(f"cat {CHECKOUT}/{COMPOSE}").stdout, server.sh(f"sha256sum {ENV_FILE}").stdout

    def refused(version: str, files: dict[str, str | None], expected: str) -> None:
        commit = server.push(version, files=files)
        text = bad(server.koprogo("deploy", "--check"))
        assert f"Cannot deploy {commit[:7]}" in text
        assert expected in text
        assert quarantine(server)[-1] == commit
        assert not any("latest" in call for call in server.docker_calls())
        assert (server.head(), server.containers(), server.version()) == (running, before, "3")
        assert server.sh(f"sha256sum {ENV_FILE}").stdout == secrets

    refused("2", {COMPOSE: "services: [\n"}, "docker compose config")
    unset = "services: {backend: {image: 'x:${NOBODY_SET_THIS:?it is needed}'}}\n"
    refused("2", {COMPOSE: unset}, "it is needed")
    mine = "deploy/production/.env"
    refused("2", {COMPOSE: compose, mine: "JWT_SECRET=public\n"}, "would overwrite this server's secrets")
    server.configure(image_wait=0)
    refused("never-built", {mine: None}, "the registry has no ghcr.io/gilmry/koprogo/backend:main-")
    server.configure()


def test_ci_that_is_late_a_registry_that_is_down_and_a_file_changed_here(server: Server) -> None:
    running, before = server.head(), server.containers()
    server.push("never-built")
    assert "Waiting for CI to build ghcr.io/gilmry/koprogo/backend:main-" in good(server.koprogo("deploy", "--check"))
    assert said(server.koprogo("deploy", "--check")) == ""

    # A newer commit overtakes the one that is being waited for.
    commit = server.push("2")
    server.internet.run(["systemctl", "stop", "docker-registry"])
    try:
        assert "What runs goes on running; the next check tries again" in bad(server.koprogo("deploy", "--check"))
        done = server.koprogo("deploy", "--check")
        assert (done.returncode, said(done)) == (1, "")
    finally:
        server.internet.run(["systemctl", "start", "docker-registry"])
    answers = ["curl", "-sf", "https://ghcr.io/v2/"]
    wait_until(lambda: server.machine.run(answers, check=False).returncode == 0, 30, "the registry is back")

    server.sh(f"echo '# mine' >> {CHECKOUT}/{COMPOSE}")
    assert f"Somebody changed {COMPOSE}" in bad(server.koprogo("deploy", "--check"))
    assert server.sh(f"tail -n1 {CHECKOUT}/{COMPOSE}").stdout == "# mine\n"
    assert (server.head(), server.containers()) == (running, before)
    server.sh(f"runuser -u koprogo -- git -C {CHECKOUT} checkout -q .")

    good(server.koprogo("deploy", "--check"))
    assert (server.head(), server.version(), quarantine(server)) == (commit, "2", [])


def test_git_that_is_down_is_said_once_and_changes_nothing(server: Server) -> None:
    server.configure(repository="https://git.sandbox.test:1/gilmry/koprogo.git")
    assert "Git server:" in bad(server.koprogo("deploy", "--check"))
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done), server.docker_calls()) == (1, "", [])
    assert "deploy: Git server:" in bad(server.koprogo("health"))
    server.configure()
    good(server.koprogo("deploy", "--check"))
    good(server.koprogo("health"))


def test_settings_are_applied_when_asked_for(server: Server) -> None:
    before = server.containers()
    server.sh(f"cat > {ENV_FILE}", input=SECRETS + "RUST_LOG=debug\n")
    assert server.status()["settings_applied"] is False
    done = server.koprogo("deploy", "--check")
    assert (said(done), server.containers()) == ("", before)
    assert "left postgres, traefik alone" in good(server.koprogo("deploy"))
    assert server.status()["settings_applied"] is True
    environment = server.sh("docker exec koprogo-backend env").stdout
    assert "RUST_LOG=debug" in environment


@pytest.mark.parametrize("step", ["pulled", "switching", "started"])
def test_killed_while_deploying(server: Server, step: str) -> None:
    running = server.version()
    wanted = {"2": "3", "3": "2"}[running]
    commit = server.push(wanted)
    _kill_at(server, step)
    assert server.status()["running_commit"] != commit
    text = good(server.koprogo("deploy", "--check"))
    assert f"Deployed {commit[:7]}" in text
    assert (server.version(), server.head()) == (wanted, commit)
    assert server.status()["attempt"] is None


def test_killed_on_the_way_back_from_a_sick_one(server: Server) -> None:
    running, version = server.status()["running_commit"], server.version()
    commit = server.push("sick")
    _kill_at(server, "rolling back")
    bad(server.koprogo("deploy", "--check"))
    assert (server.version(), server.head(), server.status()["running_commit"]) == (version, running, running)
    assert commit in quarantine(server)
    good(server.koprogo("deploy", "--check"))
    assert server.version() == version


def _kill_at(server: Server, step: str) -> None:
    """Start a check and kill -9 the program, and only the program, when it has reached this step."""
    runner = threading.Thread(target=server.koprogo, args=("deploy", "--check"))
    runner.start()
    file = server.machine.rootdir / "var/lib/koprogo/state.json"

    def reached() -> bool:
        attempt = json.loads(file.read_text())["attempt"]
        return attempt is not None and attempt["step"] == step

    wait_until(reached, 180, f"the program reaches {step!r}")
    server.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo deploy')")
    runner.join(60)
    assert not runner.is_alive()
    # What it had started may still be at work, and holds the lock until it has ended.
    free = "flock --nonblock /var/lib/koprogo/deploy.lock true"
    wait_until(lambda: server.sh(free, check=False).returncode == 0, 120, "the lock is free")
    attempt = server.state()["attempt"]
    assert attempt is not None
    assert attempt["step"] == step


def test_a_rewritten_history_stops_and_a_following_commit_goes_on(server: Server) -> None:
    """HEAD~1 is what runs (a sick commit came after it): going back before that is what must not happen unseen."""
    running, version = server.head(), server.version()
    server.in_clone(
        "git checkout -q HEAD~2; git commit -q --allow-empty -m Other; git push -q --force origin HEAD:main"
    )
    assert "The history of main was rewritten" in bad(server.koprogo("deploy", "--check"))
    assert (server.head(), server.version()) == (running, version)
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done)) == (1, "")
    server.in_clone('git push -q --force origin "$1:main"', running)
    good(server.koprogo("deploy", "--check"))


def test_backup_restores_with_the_same_rows(server: Server) -> None:
    server.sql("create table if not exists ledger (id serial primary key, line text)")
    server.sql("insert into ledger (line) select 'Charges « été » ' || n from generate_series(1, 5000) n")
    query = "select count(*), md5(string_agg(line, '|' order by id)) from ledger"
    rows = server.sql(query)
    assert rows.startswith("5000|")
    assert "written and verified; 1 kept" in good(server.koprogo("backup"))
    last = server.status()["last_backup"]
    folder = server.sh("stat -c '%a %U %n' /home/koprogo/backups /home/koprogo/backups/postgres_*").stdout
    assert [line.split()[0] for line in folder.splitlines()] == ["700", "600", "600"]
    manifest = json.loads(server.sh(f"cat {last['file'].removesuffix('.sql.gz')}.json").stdout)
    assert manifest["sha256"] == server.sh(f"sha256sum {last['file']}").stdout.split()[0]
    assert (manifest["user"], manifest["postgres"][:3]) == ("koprogo", "15.")

    server.sh("docker run -d --name restore -e POSTGRES_USER=koprogo -e POSTGRES_PASSWORD=x postgres:15")
    try:
        ready = "docker exec restore pg_isready -h 127.0.0.1 -U koprogo"
        wait_until(lambda: server.sh(ready, check=False).returncode == 0, 60, "the empty database is ready")
        server.sh(f"gunzip < {last['file']} | docker exec -i restore psql -q -U koprogo -d postgres")
        assert server.sql(query, "restore") == rows
    finally:
        server.sh("docker rm -f restore")


def _backups(server: Server) -> list[str]:
    return server.sh("cd /home/koprogo/backups && sha256sum * && ls -A").stdout.splitlines()


def test_a_failed_dump_keeps_the_old_ones(server: Server) -> None:
    before = _backups(server)
    server.sh("docker exec koprogo-postgres sh -c 'mv $(which pg_dumpall) /tmp/pg_dumpall'")
    try:
        assert "the older ones are untouched" in bad(server.koprogo("backup"))
    finally:
        server.sh("docker exec koprogo-postgres sh -c 'mv /tmp/pg_dumpall $(dirname $(which postgres))/'")
    server.sh("docker stop koprogo-postgres")
    try:
        assert "The database (postgres) is exited" in bad(server.koprogo("backup"))
    finally:
        server.sh("docker start koprogo-postgres")
        wait_until(lambda: server.status()["healthy"], 60, "the database is healthy again")
    assert _backups(server) == before


def test_a_dump_whose_server_dies_half_way_does_not_count(server: Server) -> None:
    server.sql("insert into ledger (line) select md5(n::text) from generate_series(1, 400000) n")
    before = _backups(server)
    results: list[subprocess.CompletedProcess[str]] = []
    running = threading.Thread(target=lambda: results.append(server.koprogo("backup")))
    running.start()
    partial = server.machine.rootdir / "home/koprogo/backups/.postgres.sql.gz.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 100_000, 30, "the dump is on its way")
    assert "Another backup is at work" in bad(server.koprogo("backup"))
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg_dump'")
    running.join()
    assert "No backup was made" in bad(results[0])
    assert _backups(server) == before


def test_a_killed_backup_leaves_no_part_that_counts(server: Server) -> None:
    before = _backups(server)
    running = threading.Thread(target=server.koprogo, args=("backup",))
    running.start()
    partial = server.machine.rootdir / "home/koprogo/backups/.postgres.sql.gz.partial"
    wait_until(lambda: partial.exists() and partial.stat().st_size > 100_000, 30, "the dump is on its way")
    server.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo backup')")
    running.join()
    assert server.status()["backups"] == 1
    assert "2 kept" in good(server.koprogo("backup"))
    assert [line for line in _backups(server) if "partial" in line] == []
    assert set(before) <= set(_backups(server))


def test_health_says_what_is_wrong(server: Server) -> None:
    server.sh("docker stop koprogo-frontend")
    try:
        text = bad(server.koprogo("health"))
        assert "PROBLEM https://koprogo.test: " in text
        assert "frontend: exited" in text
        assert server.status()["healthy"] is False
    finally:
        server.sh("docker start koprogo-frontend")
    wait_until(lambda: server.status()["healthy"], 60, "the frontend is healthy again")
