"""Alerts that arrive: in a real mail server and a real webhook receiver, from a real server."""

import json
from collections.abc import Iterator, Mapping
from email.message import EmailMessage

import koprogo_server
import pytest
import small_world
from koprogo_server import Server

from sandbox import internet
from sandbox.world import wait_for

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

CHANNELS = {
    "server": "koprogo.test",
    "smtp": "smtp+starttls://mail.sandbox.test:587",
    "recipients": ["syndic@example.test"],
    "sender": "koprogo@koprogo.test",
    "webhook": f"https://hooks.sandbox.test/hooks/alerts?key={internet.HOOK_KEY}",
    "kind": "json",
    "heartbeat": f"https://hooks.sandbox.test/hooks/alive?key={internet.HOOK_KEY}",
}
SITE = "https://koprogo.test: HTTP 404"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with small_world.with_internet("alerts") as world:
        made = koprogo_server.make(world)
        made.sh("systemctl reset-failed")  # sshd, which has no host keys on this machine
        put(made, CHANNELS)
        made.configure(alerts_file="/etc/koprogo/alerts.json")
        first = made.koprogo("deploy")
        assert first.returncode == 0, first.stderr
        made.koprogo("backup")
        yield made


def put(server: Server, channels: Mapping[str, object]) -> None:
    server.sh("install -o koprogo -g koprogo -m 0600 /dev/null /etc/koprogo/alerts.json")
    server.sh("cat > /etc/koprogo/alerts.json", input=json.dumps(channels))


def start_frontend(server: Server) -> None:
    server.sh("docker start koprogo-frontend")
    wait_for(lambda: server.status()["healthy"], 60, "the frontend is not healthy again")


def mails(server: Server) -> list[EmailMessage]:
    return internet.mails(server.world)


def posts(server: Server) -> list[dict[str, object]]:
    return [json.loads(text) for text in internet.hooks(server.world, "alerts")]


def check(server: Server, times: int = 1) -> list[str]:
    """Look at the health some times, five minutes apart as far as the program can tell; returns the new subjects."""
    before = len(mails(server))
    for _ in range(times):
        server.sh(
            "python3 - <<'END'\n"
            "import json, pathlib\n"
            "path = pathlib.Path('/var/lib/koprogo/health.json')\n"
            "if path.exists():\n"
            "    data = json.loads(path.read_text())\n"
            "    data['watch']['said_at'] -= 300\n"
            "    for alarm in data['watch']['alarms']:\n"
            "        alarm['since'] -= 300\n"
            "    path.write_text(json.dumps(data))\n"
            "END"
        )
        done = server.koprogo("health")
        assert "Traceback" not in done.stderr, done.stderr
        assert "was not sent" not in done.stderr, done.stderr
    return [str(mail["Subject"]) for mail in mails(server)[before:]]


def test_a_deploy_tells_that_it_is_live_and_a_sick_one_that_it_was_undone(server: Server) -> None:
    running = server.state()["deployed"]["commit"][:7]
    assert [mail["Subject"] for mail in mails(server)] == [f"[koprogo.test] {running} is live"]
    commit = server.push("sick", "Does not become healthy")[:7]
    server.koprogo("deploy", "--check")
    server.koprogo("deploy", "--check")
    title = f"{commit} failed and was undone; {running} runs again"
    (_, mail) = mails(server)
    assert (mail["Subject"], mail["To"], mail["X-Envelope-To"]) == (
        f"[koprogo.test] {title}",
        "syndic@example.test",
        "syndic@example.test",
    )
    assert "Does not become healthy" in mail.get_content()
    assert [(post["title"], post["good"]) for post in posts(server)] == [(f"{running} is live", True), (title, False)]


def test_an_outage_is_one_down_and_one_up_and_a_blip_is_nothing(server: Server) -> None:
    assert check(server, 3) == []
    server.sh("docker stop koprogo-frontend")
    try:
        assert check(server) == []
        server.sh("docker start koprogo-frontend")
        server.sh('timeout 60 sh -c \'until koprogo status --json | grep -q "\\"healthy\\": true"; do sleep 1; done\'')
        assert check(server, 2) == []

        server.sh("docker stop koprogo-frontend")
        assert check(server, 4) == ["[koprogo.test] 2 things are wrong"]
        lines = mails(server)[-1].get_content().splitlines()
        assert lines[:2] == [f"- {SITE}", "- frontend: exited with 0"]
    finally:
        server.sh("docker start koprogo-frontend")
        server.sh('timeout 60 sh -c \'until koprogo status --json | grep -q "\\"healthy\\": true"; do sleep 1; done\'')
    assert check(server, 4) == ["[koprogo.test] 2 things are over"]


def test_a_disk_that_fills_and_what_comes_of_it_is_one_message(server: Server) -> None:
    server.sh("mount -t tmpfs -o size=20m,uid=koprogo,gid=koprogo,mode=0700 tmpfs /home/koprogo/backups")
    try:
        server.sh("head -c 20600000 /dev/zero > /home/koprogo/backups/ballast; docker stop koprogo-frontend")
        assert server.koprogo("backup").returncode == 1
        assert check(server, 3) == ["[koprogo.test] 4 things are wrong"]
        lines = mails(server)[-1].get_content().splitlines()
        assert [line.split(":")[0] for line in lines[:4]] == [
            "- https",
            "- frontend",
            "- a disk is 98% full (0.0 GB free); see `df -h`",
            "- the last backup failed",
        ]
    finally:
        server.sh("umount /home/koprogo/backups; docker start koprogo-frontend")
        server.sh('timeout 60 sh -c \'until koprogo status --json | grep -q "\\"healthy\\": true"; do sleep 1; done\'')
    assert server.koprogo("backup").returncode == 0
    assert check(server, 3) == ["[koprogo.test] 4 things are over"]


def test_a_message_that_cannot_be_sent_is_sent_later_and_no_secret_is_shown(server: Server) -> None:
    put(
        server, CHANNELS | {"smtp": "smtp://10.255.255.1:9", "webhook": "https://hooks.sandbox.test/hooks/x?key=s3cret"}
    )
    server.sh("docker stop koprogo-frontend")
    try:
        first, second = server.koprogo("health"), server.koprogo("health")
        assert "was not sent: webhook at hooks.sandbox.test: hooks.sandbox.test answers HTTP 404." in second.stderr
        assert "was not sent" not in first.stderr
        assert "s3cret" not in second.stdout + second.stderr
        put(server, CHANNELS)
        assert check(server) == ["[koprogo.test] 2 things are wrong"]
    finally:
        put(server, CHANNELS)
        server.sh("docker start koprogo-frontend")
        server.sh('timeout 60 sh -c \'until koprogo status --json | grep -q "\\"healthy\\": true"; do sleep 1; done\'')
    assert check(server, 3) == ["[koprogo.test] 2 things are over"]


def test_every_channel_is_tried_on_demand_and_a_check_is_a_sign_of_life(server: Server) -> None:
    done = server.koprogo("health", "--test-alert")
    assert done.returncode == 0
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == [
        "mail by mail.sandbox.test: accepted.",
        "webhook at hooks.sandbox.test: accepted.",
        "heartbeat: accepted.",
    ]
    assert mails(server)[-1]["Subject"] == "[koprogo.test] this is a test"
    assert posts(server)[-1]["title"] == "this is a test"
    before = len(internet.hooks(server.world, "alive"))
    assert server.koprogo("health").returncode in {0, 1}
    assert len(internet.hooks(server.world, "alive")) == before + 1
    put(server, CHANNELS | {"heartbeat": "https://hooks.sandbox.test/hooks/alive?key=wrong"})
    try:
        done = server.koprogo("health", "--test-alert")
        assert done.returncode == 1
        assert "PROBLEM heartbeat: hooks.sandbox.test answers HTTP 403." in done.stderr
    finally:
        put(server, CHANNELS)


def test_health_for_programs(server: Server) -> None:
    found = json.loads(server.koprogo("health", "--json").stdout)
    assert set(found) == {"at", "healthy", "troubles", "alerts", "answers", "disk_used", "machine"}
    assert [answer["trouble"] for answer in found["answers"]] == [None, None]
    assert 0 < found["machine"]["memory_free"] < 1
