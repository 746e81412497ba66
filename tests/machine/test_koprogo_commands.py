"""What a person decides about deploys, and what they see of them, on a real server.

Each test leaves the newest commit that is good to the next one, or a commit that the next check brings.
"""

import http.client
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import koprogo_server
import pytest
import small_world
from koprogo_server import Server

from sandbox.world import wait_for, within

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

COMPOSE = "deploy/production/docker-compose.yml"
LOG = "/var/log/koprogo-gitops.log"

# Gives the images of version $1 a further tag, as CI does when it is late.
_PUBLISH = """
import http.client, sys
for part in ("backend", "frontend"):
    registry = http.client.HTTPConnection("127.0.0.1", 5000)
    types = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    registry.request("GET", f"/v2/gilmry/koprogo/{part}/manifests/{sys.argv[1]}", None, {"Accept": types})
    answer = registry.getresponse()
    manifest, kind = answer.read(), answer.getheader("Content-Type")
    registry.request("PUT", f"/v2/gilmry/koprogo/{part}/manifests/{sys.argv[2]}", manifest, {"Content-Type": kind})
    assert registry.getresponse().status == 201
"""

_TIMER = """
cat > /etc/systemd/system/koprogo-gitops.service <<END
[Service]
Type=oneshot
ExecStart=/bin/true
END
cat > /etc/systemd/system/koprogo-gitops.timer <<END
[Timer]
OnActiveSec=1s
OnUnitInactiveSec=3min
END
systemctl daemon-reload
systemctl start koprogo-gitops.timer
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The server with versions 1 and 2 deployed, one after the other; 2 runs."""
    with small_world.with_internet("commands") as world:
        made = koprogo_server.make(world)
        text = made.in_clone(f"cat {COMPOSE}")
        for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
            text = text.replace(old, new)
        made.sh(f"install -o koprogo -g adm -m 0640 /dev/null {LOG}")
        made.configure(log_file=LOG)
        made.push("1", "Start", files={COMPOSE: text})
        made.sh("SUDO_USER=marie koprogo deploy")
        made.push("2", "Second")
        good(made.koprogo("deploy", "--check"))
        yield made


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, said(done)
    return said(done)


def bad(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, said(done)
    return said(done)


def history(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(good(server.koprogo("history", "--json")))
    return found


def fits(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) <= 24 and max(map(len, lines)) <= 80


class Visitor(threading.Thread):
    """Asks the API again and again; remembers what went wrong."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._address, self._over = server.machine.ipv4, threading.Event()
        self.good, self.lost = 0, list[str]()

    def run(self) -> None:
        """Ask until it is told to stop."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while not self._over.wait(0.02):
            connection = http.client.HTTPSConnection(self._address, timeout=10, context=context)
            try:
                connection.request("GET", "/api/v1/health", headers={"Host": "api.koprogo.test"})
                status = connection.getresponse().status
                self.good += status == 200
                self.lost += [str(status)] * (status != 200)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
            finally:
                connection.close()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()


def test_what_was_deployed_by_whom_and_with_which_digests(server: Server) -> None:
    first, second = history(server)
    assert [(one["subject"], one["result"], one["by"]) for one in (first, second)] == [
        ("Start", "deployed", "marie"),
        ("Second", "deployed", "timer"),
    ]
    assert second["commit"] == server.head()
    images = second["version"]["images"]
    assert sorted(images) == ["backend", "frontend", "postgres", "traefik"]
    assert images["backend"]["digest"].startswith("ghcr.io/gilmry/koprogo/backend@sha256:")
    assert 1 < second["seconds"] < 120
    text = good(server.koprogo("history"))
    assert fits(text)
    assert text.splitlines()[-1].split()[2:4] == [second["commit"][:7], "deployed"]
    assert server.sh("stat -c '%a %U' /var/lib/koprogo/history.jsonl").stdout == "640 koprogo\n"


def _until_the_next_check(server: Server) -> float:
    """Seconds; 0 where nobody knows."""
    return float(server.status()["next_check"] or time.time()) - time.time()


def test_status_on_a_screen_with_the_next_check(server: Server) -> None:
    assert server.status()["next_check"] is None
    server.sh(_TIMER)
    try:
        wait_for(lambda: 60 < _until_the_next_check(server) <= 180, 20, "nobody says when the next check comes")
        text = good(server.koprogo("status"))
        assert "; next in 1" in text
        assert fits(text)
        server.sh("systemctl stop koprogo-gitops.timer")
        assert "koprogo-gitops.timer is inactive: systemctl start" in " ".join(good(server.koprogo("status")).split())
    finally:
        server.sh("systemctl stop koprogo-gitops.timer; rm /etc/systemd/system/koprogo-gitops.*")
        server.sh("systemctl daemon-reload")
    assert server.status()["deployed_by"] == "timer"


def test_diff_touches_nothing(server: Server) -> None:
    text = server.in_clone(f"cat {COMPOSE}")
    running, before, state = server.head(), server.containers(), server.state()
    traefik = text.replace("--log.level=${TRAEFIK_LOG_LEVEL:-INFO}", "--log.level=WARN")
    newest = server.push("1", "Quieter", files={COMPOSE: traefik})
    shown = good(server.koprogo("diff"))
    assert fits(shown)
    assert shown.splitlines()[:4] == [
        f"{running[:7]} → {newest[:7]}: 1 commit of main",
        f"  {newest[:7]} Quieter",
        "  in deploy/production: docker-compose.yml",
        "",
    ]
    assert f"~ backend   beside    backend:main-{running[:7]} → backend:main-{newest[:7]}\n" in shown
    assert "= postgres  keep      postgres:15\n" in shown
    assert "~ traefik   in place  traefik:v3.7, defined otherwise (Traefik does not route to\n" in shown
    assert "! images to pull first: 2\n! the database is dumped first\n" in shown
    assert (server.head(), server.containers(), server.state()) == (running, before, state)
    server.push("2", "Back", files={COMPOSE: text})


def test_a_rollback_loses_no_request_needs_no_registry_and_stays(server: Server) -> None:
    start, running = history(server)[0]["commit"], server.head()
    before, images = server.containers(), history(server)[0]["version"]["images"]
    # A name that means another image by now.
    server.sh(f"docker tag traefik:v3.7 ghcr.io/gilmry/koprogo/backend:main-{start[:7]}")
    server.internet.run(["systemctl", "stop", "docker-registry"])
    visitor = Visitor(server)
    visitor.start()
    try:
        text = good(server.koprogo("rollback", start[:7]))
    finally:
        visitor.stop()
        server.internet.run(["systemctl", "start", "docker-registry"])
    assert f"{start[:7]} stays until: koprogo resume" in text
    assert (visitor.lost, visitor.good > 50) == ([], True)
    assert (server.version(), server.head()) == ("1", start)
    assert server.image_ids()["/koprogo-backend"] == images["backend"]["id"]
    after = server.containers()
    assert {name for name in before if before[name] == after[name]} == {"koprogo-postgres", "koprogo-traefik"}

    newest = server.push("2", "Newer")
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done), server.docker_calls(), server.head()) == (0, "", [], start)
    hold = server.status()["hold"]
    assert (hold["commit"], hold["reason"], hold["by"]) == (start, f"rolled back from {running[:7]}", "koprogo")
    assert f"; no deploys since {time.strftime('%Y')}" in good(server.koprogo("health"))
    assert "Nothing is deployed anyway" in bad(server.koprogo("pause", "audit"))
    assert "First: koprogo resume" in bad(server.koprogo("retry"))
    assert "No version 0000000 ran here. There is:\n" in bad(server.koprogo("rollback", "0000000"))
    good(server.koprogo("resume"))
    good(server.koprogo("deploy", "--check"))
    assert (server.version(), server.head(), server.status()["hold"]) == ("2", newest, None)
    assert [one["result"] for one in history(server)[-2:]] == ["rollback", "deployed"]


def test_a_rollback_that_is_killed_is_finished_by_the_next_check(server: Server) -> None:
    commit, known = server.status()["previous_commit"], len(history(server))
    runner = threading.Thread(target=server.koprogo, args=("rollback",))
    runner.start()
    file = server.machine.rootdir / "var/lib/koprogo/state.json"

    def reached() -> bool:
        attempt = json.loads(file.read_text())["attempt"]
        return attempt is not None and attempt["step"] == "started"

    assert within(60, reached, pause=0.005), "the program does not start a container"
    server.sh("kill -9 $(pgrep -u koprogo -f 'python3 -m koprogo rollback')")
    runner.join(60)
    free = "flock --nonblock /var/lib/koprogo/deploy.lock true"
    wait_for(lambda: server.sh(free, check=False).returncode == 0, 120, "the lock is not free")
    assert server.status()["attempt"]["rollback"] is True
    text = " ".join(good(server.koprogo("status")).split())
    assert f"In progress back to {commit[:7]}: started (backend); interrupted, the next check takes it up" in text
    good(server.koprogo("deploy", "--check"))
    status = server.status()
    assert (status["running_commit"], status["hold"]["commit"], status["attempt"]) == (commit, commit, None)
    assert (server.head(), status["healthy"]) == (commit, True)
    assert [(one["commit"], one["result"], one["by"]) for one in history(server)[known:]] == [
        (commit, "rollback", "koprogo")
    ]
    good(server.koprogo("resume"))


def test_paused_nothing_is_fetched_until_resume(server: Server) -> None:
    running = server.head()
    assert "Paused by koprogo (the auditors are here)" in good(server.koprogo("pause", "the auditors", "are here"))
    newest = server.push("1", "While paused")
    done = server.koprogo("deploy", "--check")
    assert (done.returncode, said(done), server.docker_calls()) == (0, "", [])
    known = server.sh(f"runuser -u koprogo -- git -C {koprogo_server.CHECKOUT} cat-file -e {newest}", check=False)
    assert known.returncode != 0
    assert "Paused       since " in good(server.koprogo("status"))
    assert good(server.koprogo("health")).rstrip().endswith("by koprogo (the auditors are here)")
    assert "only settings are applied, until koprogo resume" in good(server.koprogo("deploy"))
    assert server.head() == running
    good(server.koprogo("resume"))
    good(server.koprogo("deploy", "--check"))
    assert (server.head(), server.version()) == (newest, "1")


def test_retry_brings_a_commit_whose_images_came_too_late(server: Server) -> None:
    running = server.head()
    commit = server.push("never-built", "Late")
    server.configure(log_file=LOG, image_wait=0)
    assert "or `koprogo retry`" in bad(server.koprogo("deploy", "--check"))
    server.configure(log_file=LOG)
    server.internet.run(["python3", "-c", _PUBLISH, "2", f"main-{commit[:7]}"])
    assert said(server.koprogo("deploy", "--check")) == ""
    assert server.head() == running
    assert "! in quarantine, until koprogo retry: the registry has no" in good(server.koprogo("diff"))
    assert f"Trying {commit[:7]} again, in quarantine since" in good(server.koprogo("retry"))
    assert (server.head(), server.version(), server.status()["quarantine"]) == (commit, "2", [])
    assert [(one["subject"], one["result"]) for one in history(server)[-2:]] == [
        ("Late", "refused"),
        ("Late", "deployed"),
    ]


def test_logs(server: Server) -> None:
    text = good(server.koprogo("logs", "-n", "2"))
    assert f"Deployed {server.head()[:7]} " in text
    assert text.splitlines()[-1].startswith(f"More: {LOG}")
    assert good(server.koprogo("logs", "backend", "-n", "3"))
    assert "web has no container. There is: backend, frontend, postgres, traefik." in bad(server.koprogo("logs", "web"))
