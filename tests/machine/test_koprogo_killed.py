"""The program killed, and the machine's power cut, at every step of a good and of a bad deploy.

The steps are those that an undisturbed deploy goes through, so a new one is covered by itself. All along somebody
writes: what the API acknowledged has to be in the database in the end.
"""

import http.client
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import koprogo_server
import pytest
import small_world
from koprogo_server import Server

from sandbox.world import wait_for

pytestmark = pytest.mark.machine

COMPOSE = "deploy/production/docker-compose.yml"
STEPS = "/var/lib/koprogo/steps"

# Runs the program as /usr/local/bin/koprogo does, and at one step (how: "kill", "stop") ends it as a crash would, or
# stands still until the power is cut. What it goes through is written down. Waiting is short: it is not what is tested.
_CUT = f"""
import json, os, signal, sys
from koprogo import state
from koprogo.deploys import gate, rollout
how, at = sys.argv[1], tuple(json.loads(sys.argv[2]))
gate.SETTLE, gate.POLL, gate.FAILING_PATIENCE, rollout.DRAIN = 1.0, 0.5, 2.0, 0.5
save, before = state.Store.save, [None]
def record(store, new):
    save(store, new)
    now = (new.attempt.step.value, new.attempt.service) if new.attempt else ("ended", "")
    if now != before[0]:
        before[0] = now
        with open("{STEPS}", "a") as stream:
            stream.write(json.dumps(now) + "\\n")
        if now == at and how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if now == at and how == "stop":
            signal.pause()
state.Store.save = record
from koprogo.cli import main
sys.exit(main(["deploy", "--check"]))
"""

Place = tuple[str, str]
"""A step, and the service that it is about."""
Cut = Callable[[Server, Place], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("killed") as world:
        made = koprogo_server.make(world)
        made.sh("cat > /opt/cut.py", input=_CUT)
        yield made


@pytest.fixture(scope="module")
def live(server: Server) -> Server:
    """The server with a version that runs, whose health checks are quick."""
    text = server.in_clone(f"cat {COMPOSE}")
    for old, new in (("interval: 5s", "interval: 1s"), ("start_period: 20s", "start_period: 2s")):
        text = text.replace(old, new)
    server.push("1", files={COMPOSE: text})
    done = server.koprogo("deploy")
    assert done.returncode == 0, done.stderr
    return server


class Writer(threading.Thread):
    """Posts rows to the API, one after the other, and remembers those that were acknowledged."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._address, self._over = server.machine.ipv4, threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        """Write until it is told to stop; whatever is not answered with 200 or 201 does not count."""
        number = 0
        while not self._over.wait(0.05):
            number += 1
            name = f"row {time.time_ns()} {number}"
            try:
                if self._post(name) < 300:
                    self.acknowledged.append(name)
            except (OSError, http.client.HTTPException):
                continue

    def _post(self, name: str) -> int:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(self._address, timeout=3, context=context)
        try:
            headers = {"Host": "api.koprogo.test", "Content-Type": "application/json"}
            connection.request("POST", "/api/v1/buildings", json.dumps({"name": name}), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def stop(self) -> list[str]:
        """End, and return what was acknowledged."""
        self._over.set()
        self.join()
        return self.acknowledged


def check(server: Server, how: str = "no", at: Place = ("", "")) -> subprocess.CompletedProcess[str]:
    """One check of the program, cut off at a place."""
    server.sh(f"rm -f {STEPS}")
    command = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo", "PYTHONPATH=/usr/local/lib/koprogo"]
    return server.machine.run([*command, "python3", "/opt/cut.py", how, json.dumps(at)], check=False)


def places(server: Server) -> list[Place]:
    """What the last check went through."""
    lines = server.sh(f"cat {STEPS} 2>/dev/null || true").stdout.splitlines()
    return [(step, service) for step, service in map(json.loads, lines) if step != "ended"]


def kill(server: Server, at: Place) -> None:
    """SIGKILL at a place; whatever the program had started ends by itself."""
    assert check(server, "kill", at).returncode == 137
    free = "flock --nonblock /var/lib/koprogo/deploy.lock true"
    wait_for(lambda: server.sh(free, check=False).returncode == 0, 120, "the lock is not free")


def cut_power(server: Server, at: Place) -> None:
    """Cut the machine's power at a place, and start it again."""
    runner = threading.Thread(target=check, args=(server, "stop", at), daemon=True)
    runner.start()
    wait_for(lambda: places(server)[-1:] == [at], 180, f"the program does not reach {at}")
    server.machine.kill()
    runner.join(30)
    server.machine.start()
    server.machine.wait_boot()
    wait_for(lambda: server.sh("docker info", check=False).returncode == 0, 60, "Docker does not start")


def undisturbed(server: Server, version: str) -> list[Place]:
    """The places that a deploy of this version goes through."""
    server.push(version)
    check(server)
    found = places(server)
    assert ("switching", "") in found
    return found


def settle(server: Server) -> None:
    """Check until there is nothing left to do: a check that was cut off leaves one or two to the next ones."""
    for _ in range(4):
        check(server)
        if not places(server) and server.state()["attempt"] is None:
            return
    raise AssertionError(f"the checks do not come to an end: {server.state()}")


def assert_runs(server: Server, commit: str, version: str) -> None:
    """Everything is as after a deploy of this commit that nobody disturbed."""
    assert server.state()["deployed"]["commit"] == commit
    assert (server.head(), server.version()) == (commit, version)
    names = server.sh("docker ps --all --format '{{.Names}}'").stdout.split()
    assert sorted(names) == ["koprogo-backend", "koprogo-frontend", "koprogo-postgres", "koprogo-traefik"]
    images = server.sh("docker inspect -f '{{.Config.Image}}' koprogo-backend koprogo-frontend").stdout.split()
    assert [image.rpartition("-")[2] for image in images] == [commit[:7], commit[:7]]


def rows(server: Server) -> set[str]:
    return set(server.sql("select name from buildings").splitlines())


@pytest.fixture
def cuts(request: pytest.FixtureRequest) -> Callable[[list[Place]], list[tuple[Cut, Place]]]:
    """Which cut to try where: with --every-cut both everywhere, which takes half an hour.

    Otherwise one of both at every second place, in turn.
    """

    def choose(found: list[Place]) -> list[tuple[Cut, Place]]:
        if request.config.getoption("--every-cut"):
            return [(cut, place) for place in found for cut in (kill, cut_power)]
        return [((kill, cut_power)[number % 2], place) for number, place in enumerate(found[::2])]

    return choose


Cuts = Callable[[list[Place]], list[tuple[Cut, Place]]]


def test_a_good_deploy_cut_off_anywhere_goes_live(live: Server, cuts: Cuts) -> None:
    found = undisturbed(live, live.other_version())
    assert {("started", "backend"), ("switched", "backend"), ("drained", "frontend")} <= {*found}
    for cut, place in cuts(found):
        writer = Writer(live)
        writer.start()
        version = live.other_version()
        commit = live.push(version)
        cut(live, place)
        settle(live)
        acknowledged = writer.stop()
        assert_runs(live, commit, version)
        assert acknowledged
        assert {*acknowledged} <= rows(live)


def test_a_bad_deploy_cut_off_anywhere_is_undone(live: Server, cuts: Cuts) -> None:
    live.push(live.other_version())
    settle(live)
    commit, version = live.state()["deployed"]["commit"], live.version()
    found = undisturbed(live, "sick")
    assert {("started", "backend"), ("rolling back", "backend")} <= {*found}
    settle(live)
    for cut, place in cuts(found):
        writer = Writer(live)
        writer.start()
        sick = live.push("sick")
        cut(live, place)
        settle(live)
        acknowledged = writer.stop()
        assert_runs(live, commit, version)
        assert sick in [entry["commit"] for entry in live.state()["quarantine"]]
        assert acknowledged
        assert {*acknowledged} <= rows(live)
