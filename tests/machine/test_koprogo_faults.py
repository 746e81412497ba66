"""What goes wrong around a deploy, and after it: a registry, a disk, a clock, a version that turns out to be no good.

All of it on one server, whose Docker has a small disk of its own; each test leaves a version that is well.
"""

import json
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Self

import koprogo_server
import pytest
import small_world
from koprogo_server import Server, bad, good

from sandbox.world import wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

COMPOSE = "deploy/production/docker-compose.yml"
DISK = 1_300_000_000
MB = 1_000_000

# Publishes both images of the version $2 under the tag $1 too; that of the backend with $3 MB more, like no other.
_PUBLISH = """
import gzip, hashlib, http.client, io, json, os, sys, tarfile
ACCEPT = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
tag, version, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", 5000)
    connection.request(method, path, body, ACCEPT | headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (method, path, answer.status, text)
    return text, answer.getheader("Location")
def upload(base, content):
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    where = ask("POST", base + "/blobs/uploads/")[1].split("5000", 1)[-1]
    ask("PUT", where + ("&" if "?" in where else "?") + "digest=" + digest, content)
    return {"digest": digest, "size": len(content)}
for part in ("backend", "frontend"):
    base = "/v2/gilmry/koprogo/" + part
    manifest = json.loads(ask("GET", base + "/manifests/" + version)[0])
    if size and part == "backend":
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            file = tarfile.TarInfo("app/ballast")
            file.size = size * 1000000
            tar.addfile(file, io.BytesIO(os.urandom(file.size)))
        layer = gzip.compress(plain.getvalue(), 0)
        config = json.loads(ask("GET", base + "/blobs/" + manifest["config"]["digest"])[0])
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(plain.getvalue()).hexdigest())
        config.get("history", []).append({"created_by": "ballast"})
        manifest["layers"].append({**manifest["layers"][-1], **upload(base, layer)})
        manifest["config"].update(upload(base, json.dumps(config).encode()))
    ask("PUT", base + "/manifests/" + tag, json.dumps(manifest), **{"Content-Type": manifest["mediaType"]})
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("faults") as world:
        made = koprogo_server.make(world, small_world.docker_machine(world, packages=["faketime"], disk=DISK))
        # Else Docker takes a minute to give a layer up.
        made.sh("mkdir -p /etc/docker; cat > /etc/docker/daemon.json", input='{"max-download-attempts": 1}')
        made.sh("systemctl restart docker")
        # Nor is anything else waited for longer than it takes here.
        made.sh(f"cd {koprogo_server.LIBRARY}/deploys && sed -i 's/^DRAIN = .*/DRAIN = 1.0/' rollout.py")
        made.sh(
            f"cd {koprogo_server.LIBRARY}/deploys && sed -i 's/^FAILING_PATIENCE = .*/FAILING_PATIENCE = 3.0/' gate.py"
        )
        text = made.in_clone(f"cat {COMPOSE}")
        for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
            text = text.replace(old, new)
        made.push("1", files={COMPOSE: text})
        good(made.koprogo("deploy"))
        yield made


@pytest.fixture(scope="module")
def compose(server: Server) -> str:
    """The compose file of a version that is well."""
    return server.in_clone(f"cat {COMPOSE}") + "\n"


def quiet(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def check(server: Server) -> subprocess.CompletedProcess[str]:
    return server.koprogo("deploy", "--check")


def publish(server: Server, tag: str, version: str, megabytes: int = 0) -> None:
    server.internet.run(["python3", "-", tag, version, str(megabytes)], input=_PUBLISH)


def quarantine(server: Server) -> list[str]:
    return [bad["commit"] for bad in server.state()["quarantine"]]


def what_runs(server: Server) -> tuple[dict[str, str], str, str, str]:
    return server.containers(), server.head(), server.version(), server.state()["deployed"]["commit"]


def results(server: Server, commit: str) -> list[str]:
    lines = server.sh("cat /var/lib/koprogo/history.jsonl").stdout.splitlines()
    return [entry["result"] for entry in map(json.loads, lines) if entry["commit"] == commit]


class Line:
    """The server's line to the registry and to Git, which can be told to end, or to fall silent, inside an answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._far = (server.world.ipv4(3), 443)
        self._listener = socket.create_server((server.world.ipv4(1), 0))
        to = f"{server.world.ipv4(1)}:{self._listener.getsockname()[1]}"
        self._rule = f"OUTPUT -t nat -p tcp -d {self._far[0]} --dport 443 -j DNAT --to-destination {to}"
        self.limit: float = float("inf")
        """How many bytes a connection brings from there."""
        self.then = "cut"
        """What comes after them: `cut`, or `stall`."""
        self.spent = threading.Event()
        """A connection has brought so many."""
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Put it between the two."""
        threading.Thread(target=self._accept, daemon=True).start()
        self._server.sh(f"iptables -I {self._rule}")
        return self

    def __exit__(self, *_: object) -> None:
        """Let them reach each other again."""
        self._server.sh(f"iptables -D {self._rule}")
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._far)
                threading.Thread(target=self._carry, args=(near, far, None), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, near), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, limited: socket.socket | None) -> None:
        brought = 0
        with suppress(OSError):
            while data := source.recv(65536):
                if limited is not None and brought + len(data) > self.limit:
                    self._end(limited)
                    break
                brought += len(data)
                target.sendall(data)
        source.close()
        target.close()

    def _end(self, near: socket.socket) -> None:
        self.spent.set()
        if self.then == "stall":
            self._over.wait()
        else:
            # A reset, not an end that is said.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            near.shutdown(socket.SHUT_RD)  # ends the other direction, which would keep it open


def test_a_registry_that_breaks_off_or_falls_silent_inside_a_layer(server: Server) -> None:
    publish(server, "heavy", "2", 40)
    before = what_runs(server)
    first = server.push("3", "Two at once")
    commit = server.push("heavy", "Two at once")
    code = f"{koprogo_server.LIBRARY}/docker/engine.py"
    with Line(server) as line:
        line.limit = 10 * MB
        said = bad(check(server))
        assert line.spent.is_set()
        assert f"Cannot pull ghcr.io/gilmry/koprogo/backend:main-{commit[:7]}: " in said
        assert said.endswith(". What runs goes on running; the next check tries again.\n")
        assert what_runs(server) == before

        line.then = "stall"
        line.spent.clear()
        server.sh(f"sed -i 's/^PULL_TIMEOUT = .*/PULL_TIMEOUT = 8/' {code}; grep -q '^PULL_TIMEOUT = 8$' {code}")
        stalled: list[str] = []
        running = threading.Thread(target=lambda: stalled.append(bad(check(server))))
        running.start()
        assert line.spent.wait(60)
        newest = server.push("2", "While the other one is pulled")
        running.join()
        server.sh(f"sed -i 's/^PULL_TIMEOUT = .*/PULL_TIMEOUT = 900/' {code}")
        assert ": it did not arrive within 8 s. What runs goes on running; the next check tries again." in stalled[0]
        assert (what_runs(server), quarantine(server)) == (before, [])

        line.limit = float("inf")
        assert f"Deployed {newest[:7]}" in good(check(server))
    assert (server.head(), server.version(), quarantine(server)) == (newest, "2", [])
    assert [results(server, one) for one in (first, commit, newest)] == [[], ["overtaken"], ["deployed"]]


def test_docker_s_disk_that_fills_during_a_pull_or_is_full_before(server: Server) -> None:
    publish(server, "heavy", "3", 150)
    before, commit = what_runs(server), server.push("heavy")
    floor = DISK // 20
    free = int(server.sh("df --output=avail -B1 /var/lib/docker | tail -n 1").stdout)
    server.sh(f"fallocate -l {free - floor - 50 * MB} /var/lib/docker/full")
    said = bad(check(server))
    assert f"Cannot pull ghcr.io/gilmry/koprogo/backend:main-{commit[:7]}: " in said
    assert "/var/lib/docker" in said
    assert "no space left on device. What runs goes on running; the next check tries again." in said
    assert (what_runs(server), quarantine(server)) == (before, [])
    assert server.sql("select 1") == "1"

    server.sh(f"fallocate -l {free - floor // 2} /var/lib/docker/full")
    said = bad(check(server))
    assert "/var/lib/docker has " in said
    assert "MB free, and a deploy wants " in said
    assert not any(call.startswith("pull") for call in server.docker_calls())
    assert (what_runs(server), quarantine(server)) == (before, [])

    server.sh("rm /var/lib/docker/full")
    assert f"Deployed {commit[:7]}" in good(check(server))
    assert (server.head(), server.version()) == (commit, "3")


def test_health_that_turns_bad_after_the_deploy_takes_the_version_back(server: Server, compose: str) -> None:
    (before, head, version, running), images = what_runs(server), server.image_ids()
    url = "http://127.0.0.1:8080/api/v1/health"
    told = f'test: [CMD, curl, --fail, --silent, --show-error, --max-time, "4", "{url}"]'
    assert told in compose
    may = f'test: [CMD-SHELL, "test ! -e /tmp/sick && curl --fail --silent --max-time 4 {url}"]'
    commit = server.push("2", "Turns bad", files={COMPOSE: compose.replace(told, may)})
    good(check(server))
    quiet(check(server))
    assert server.docker_calls() != []
    server.sh("docker exec koprogo-backend touch /tmp/sick")
    unhealthy = "docker inspect -f '{{.State.Health.Status}}' koprogo-backend | grep -q ^unhealthy"
    wait_for(lambda: server.sh(unhealthy, check=False).returncode == 0, 60, "its health does not turn bad")
    said = bad(check(server))
    assert f"{commit[:7]} went live " in said
    assert f"minutes ago and is not healthy any more: backend: unhealthy. Going back to {running[:7]}." in said
    assert f"{commit[:7]} was rolled back: {running[:7]} (main-{running[:7]}) runs again and is healthy." in said
    assert (server.head(), server.version(), server.image_ids()) == (head, version, images)
    assert (quarantine(server), results(server, commit)) == ([commit], ["deployed", "undone"])
    assert len(server.containers()) == len(before) == 4
    quiet(check(server))
    assert server.docker_calls() == []


def test_a_container_that_flaps_after_the_deploy_takes_the_version_back(server: Server, compose: str) -> None:
    running = server.head()
    name = "    container_name: koprogo-backend\n"
    assert name in compose
    # Healthy at each start, and dead three seconds later.
    script = (
        "python3 /app/server.py & trap 'kill $$!; wait $$!; exit' TERM; "
        "while sleep 0.2; do test ! -e /app/logs/flap || { sleep 3; exit 1; }; done"
    )
    commit = server.push(
        "3", "Flaps", files={COMPOSE: compose.replace(name, f'{name}    entrypoint: [sh, -c, "{script}"]\n')}
    )
    good(check(server))
    server.sh("docker exec koprogo-backend touch /app/logs/flap")
    flapped = (
        "docker inspect -f '{{.RestartCount}} {{.State.Health.Status}}' koprogo-backend | grep -q '^[3-9] healthy'"
    )
    wait_for(lambda: server.sh(flapped, check=False).returncode == 0, 90, "it does not flap")
    said = bad(check(server))
    assert "minutes ago and is not healthy any more: backend: restarted " in said
    assert f"{running[:7]} (main-{running[:7]}) runs again and is healthy." in said
    assert (server.head(), quarantine(server), results(server, commit)) == (running, [commit], ["deployed", "undone"])
    server.sh("docker exec koprogo-backend rm /app/logs/flap")


def test_what_was_ill_or_stopped_before_a_deploy_is_no_fault_of_it(server: Server, compose: str) -> None:
    monitoring = (
        "  monitoring:\n    image: postgres:15\n    init: true\n"
        "    entrypoint: [sh, -c, 'touch /tmp/well; exec sleep infinity']\n"
        "    healthcheck: {test: [CMD, test, -e, /tmp/well], interval: 1s, retries: 1, start_period: 1s}\n"
    )
    with_it = compose.replace("\nnetworks:\n", f"\n{monitoring}\nnetworks:\n", 1)
    server.push(server.version(), "Beside", files={COMPOSE: with_it})
    good(check(server))
    server.outlive_probation()
    name = "production-monitoring-1"
    server.sh(f"docker exec {name} rm /tmp/well; docker stop --time 1 koprogo-traefik")
    unhealthy = f"docker inspect -f '{{{{.State.Health.Status}}}}' {name} | grep -q ^unhealthy"
    wait_for(lambda: server.sh(unhealthy, check=False).returncode == 0, 60, "it does not become ill")
    ill, version = server.containers()[name], server.other_version()
    commit = server.push(version, "Goes on", files={COMPOSE: with_it})
    said = good(check(server))
    assert "monitoring, traefik: not well before, and not changed by this deploy: not looked at." in said
    assert said.index("Started traefik") < said.index("Passed backend on")
    assert (server.head(), server.version(), quarantine(server)) == (commit, version, [])
    assert server.containers()[name] == ill
    server.push(version, "Alone", files={COMPOSE: compose})
    assert "the compose file has no monitoring any more" in good(check(server))


def test_docker_that_ends_in_the_middle_of_a_switch_is_no_fault_of_the_commit(server: Server) -> None:
    version, running = server.other_version(), server.head()
    commit = server.push(version, "Docker ends")
    with ThreadPoolExecutor() as pool:
        deploying = pool.submit(check, server)
        begun = 'grep -q \'"step": "switching"\' /var/lib/koprogo/state.json'
        wait_for(lambda: server.sh(begun, check=False).returncode == 0, 60, "it does not begin")
        server.sh("systemctl stop docker.socket docker")
        said = bad(deploying.result())
    assert said.endswith("The next check goes on from here.\n")
    assert [check(server).returncode for _ in range(4)] == [1, 1, 1, 1]
    assert (server.state()["deployed"]["commit"], quarantine(server)) == (running, [])
    server.sh("systemctl start docker")
    assert f"Deployed {commit[:7]}" in good(check(server))
    assert (server.head(), server.version(), quarantine(server)) == (commit, version, [])
    assert len(server.containers()) == 4
    assert results(server, commit) == ["deployed"]


def at_another_time(server: Server, clock: str, *, trusting: bool) -> subprocess.CompletedProcess[str]:
    """One check by a clock that is wrong; Git on this server believes no certificate then, unless it is `trusting`.

    Docker's daemon has the right time; and so has, as with a clock that is really set, whatever measures how long
    something takes.
    """
    environment = ["HOME=/home/koprogo", "NO_FAKE_STAT=1", *(["GIT_SSL_NO_VERIFY=1"] if trusting else [])]
    command = ["runuser", "-u", "koprogo", "--", "env", *environment, "faketime", "--exclude-monotonic", "-f", clock]
    return server.machine.run([*command, "/usr/local/bin/koprogo", "deploy", "--check"], check=False)


@pytest.mark.parametrize(("clock", "believed"), [("+365d", True), ("@1970-01-02 00:00:00", False)])
def test_a_clock_that_jumps_loses_nothing_and_holds_nothing_up(
    server: Server, compose: str, clock: str, believed: bool
) -> None:
    version, running = server.other_version(), server.head()
    commit = server.push("not-built-yet", "CI is late", files={COMPOSE: compose})
    assert "Waiting for CI to build" in good(check(server))
    quiet(at_another_time(server, clock, trusting=True))
    if believed:
        # Those of the Git server last for years; those of the application do not, and are not this commit's fault.
        quiet(at_another_time(server, clock, trusting=False))
    else:
        said = bad(at_another_time(server, clock, trusting=False))
        assert "Git server: " in said
        assert "certificate" in said
    quiet(check(server))
    assert (server.head(), server.state()["attempt"]["commit"]) == (running, commit)
    assert commit not in quarantine(server)
    publish(server, f"main-{commit[:7]}", version)
    assert f"Deployed {commit[:7]}" in good(check(server))

    quiet(at_another_time(server, clock, trusting=True))
    assert (server.head(), server.version(), quarantine(server)) == (commit, version, [])
    quiet(check(server))
    assert server.state()["probation"]["before"]["commit"] == running
    server.outlive_probation()
    quiet(check(server))
    assert (server.state()["probation"], server.docker_calls()) == (None, [])
