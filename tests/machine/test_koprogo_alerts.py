"""Alerts that arrive: in a real mail server and a real webhook receiver, from a real server."""

import json
from collections.abc import Iterator, Mapping
from email.message import EmailMessage

import koprogo_server
import pytest
import small_world
from koprogo_server import Server

from facts import layout
from operations import gitops
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
        start_frontend(server)
        assert check(server, 2) == []

        server.sh("docker stop koprogo-frontend")
        assert check(server, 4) == ["[koprogo.test] 2 things are wrong"]
        lines = mails(server)[-1].get_content().splitlines()
        assert lines[:2] == [f"- {SITE}", "- frontend: exited with 0"]
    finally:
        start_frontend(server)
    assert check(server, 4) == ["[koprogo.test] 2 things are over"]


def test_a_git_server_that_is_away_for_a_while_is_nobodys_business(server: Server) -> None:
    log = "/var/log/koprogo-gitops.log"
    server.sh(f"install -o koprogo -g adm -m 0640 /dev/null {log}; cat > {layout.SERVICE}", input=gitops.service())
    server.sh("systemctl daemon-reload")
    away = "https://git.sandbox.test/nobody/none.git"
    server.configure(alerts_file="/etc/koprogo/alerts.json", repository=away)
    assert server.sh("systemctl start koprogo-gitops.service", check=False).returncode == 1
    try:
        assert check(server, 4) == []
    finally:
        server.configure(alerts_file="/etc/koprogo/alerts.json")
        server.sh("systemctl start koprogo-gitops.service")


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
        server.sh("umount /home/koprogo/backups")
        start_frontend(server)
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
        start_frontend(server)
    assert check(server, 3) == ["[koprogo.test] 2 things are over"]


def test_every_channel_is_tried_on_demand_and_a_check_is_a_sign_of_life(server: Server) -> None:
    done = server.koprogo("health", "--test-alert")
    assert done.returncode == 0
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == [
        "mail to syndic@example.test by mail.sandbox.test: accepted.",
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


def test_a_webhook_that_is_wrong_is_told_by_mail_until_it_is_right(server: Server) -> None:
    trouble = "alerts do not arrive by webhook at hooks.sandbox.test: hooks.sandbox.test answers HTTP 403"
    line = f"{trouble}; see `koprogo health --test-alert`"
    before = len(mails(server))
    put(server, CHANNELS | {"webhook": "https://hooks.sandbox.test/hooks/alerts?key=wrong"})
    try:
        assert server.koprogo("health", "--test-alert").returncode == 1
        assert [line in server.koprogo("health").stderr for _ in range(2)] == [True, True]
    finally:
        put(server, CHANNELS)
    assert server.koprogo("health", "--test-alert").returncode == 0
    assert check(server, 2) == [f"[koprogo.test] over: {line}"]
    subjects = [str(mail["Subject"]) for mail in mails(server)[before:]]
    assert subjects[:3] == ["[koprogo.test] this is a test", f"[koprogo.test] {line}", "[koprogo.test] this is a test"]


def test_health_for_programs(server: Server) -> None:
    found = json.loads(server.koprogo("health", "--json").stdout)
    assert set(found) == {"at", "healthy", "troubles", "alerts", "answers", "disk_used", "machine"}
    assert [answer["trouble"] for answer in found["answers"]] == [None, None]
    assert 0 < found["machine"]["memory_free"] < 1


def test_what_a_deploy_could_not_send_comes_with_the_next_check(server: Server) -> None:
    put(server, CHANNELS | {"smtp": "", "webhook": "https://hooks.sandbox.test/hooks/x?key=s3cret"})
    commit = server.push(server.other_version(), "While nobody takes messages")[:7]
    before, done = len(mails(server)), server.koprogo("deploy", "--check")
    assert done.returncode == 0
    assert "hooks.sandbox.test answers HTTP 404." in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    put(server, CHANNELS)
    server.koprogo("deploy", "--check")
    server.koprogo("health")
    server.koprogo("health")
    assert [mail["Subject"] for mail in mails(server)[before:]] == [f"[koprogo.test] {commit} is live"]


def test_the_unit_of_the_timer_may_send_and_sends_once_though_it_is_killed_at_the_end(server: Server) -> None:
    log = "/var/log/koprogo-gitops.log"
    server.sh(f"install -o koprogo -g adm -m 0640 /dev/null {log}; cat > {layout.SERVICE}", input=gitops.service())
    server.sh("systemctl daemon-reload")
    before = len(mails(server))
    commit = server.push(server.other_version(), "By the timer")[:7]
    server.sh("systemctl start koprogo-gitops.service")
    assert [mail["Subject"] for mail in mails(server)[before:]] == [f"[koprogo.test] {commit} is live"]
    # As a run leaves it that was killed between the end of the deploy and its message.
    state, history = server.state(), "/var/lib/koprogo/history.jsonl"
    last = json.loads(server.sh(f"tail -n 1 {history}").stdout)
    server.sh(
        f"sed -i '$ d' {history}; cat > /var/lib/koprogo/state.json", input=json.dumps(state | {"unwritten": [last]})
    )
    for _ in range(2):
        server.sh("systemctl start koprogo-gitops.service")
    assert [mail["Subject"] for mail in mails(server)[before + 1 :]] == [f"[koprogo.test] {commit} is live"]
    assert json.loads(server.sh(f"tail -n 1 {history}").stdout)["id"] == last["id"]


def test_a_disk_without_a_byte_for_the_program_itself_is_told_once(server: Server) -> None:
    assert check(server, 3) == []
    server.sh(
        "cp -a /var/lib/koprogo /root/state && mount -t tmpfs -o size=2m,uid=koprogo,gid=koprogo,mode=0750 tmpfs"
        " /var/lib/koprogo && cp -a /root/state/. /var/lib/koprogo/ && runuser -u koprogo -- koprogo health || true"
    )
    try:
        # The last page too: what is written by more than that leaves some.
        fill = "head -c 4000000 /dev/zero > ballast; while echo x >> more.$((n=n+1)); do test $n -lt 600; done"
        server.sh(f"runuser -u koprogo -- sh -c 'cd /var/lib/koprogo; n=0; {fill}' 2>/dev/null || true")
        assert "No space left" in server.sh("sh -c 'head -c 9 /dev/zero > /var/lib/koprogo/y' 2>&1 || true").stdout
        before = len(mails(server))
        for _ in range(5):
            assert server.koprogo("health").returncode == 1
        (mail,) = mails(server)[before:]
        assert "a disk is 100% full (0.0 GB free)" in f"{mail['Subject']} {mail.get_content()}"
        server.sh("rm /var/lib/koprogo/ballast /var/lib/koprogo/more.*")
        for _ in range(4):
            server.koprogo("health")
        assert [str(mail["Subject"])[:20] for mail in mails(server)[before + 1 :]] == ["[koprogo.test] over: "[:20]]
    finally:
        server.sh("umount /var/lib/koprogo; rm -rf /root/state")


def test_a_disk_that_became_read_only_is_told_once(server: Server) -> None:
    assert check(server, 3) == []
    before = len(mails(server))
    server.sh("mount --bind /var/lib/koprogo /var/lib/koprogo && mount -o remount,ro,bind /var/lib/koprogo")
    try:
        for _ in range(5):
            assert server.koprogo("health").returncode == 1
    finally:
        server.sh("umount /var/lib/koprogo")
    (mail,) = mails(server)[before:]
    assert mail["Subject"] == (
        "[koprogo.test] nothing can be written to /var/lib/koprogo: Read-only file system; see `dmesg`"
    )
    assert [subject[:20] for subject in check(server, 3)] == ["[koprogo.test] over: "[:20]]


def test_a_container_that_flaps_is_told_although_it_runs_at_each_check(server: Server) -> None:
    check(server, 2)
    for times in range(1, 4):
        server.sh("kill -9 $(docker inspect -f '{{.State.Pid}}' koprogo-frontend)")
        restarted = f"[ $(docker inspect -f {{{{.RestartCount}}}} koprogo-frontend) = {times} ]"
        server.sh(f"timeout 60 sh -c 'until {restarted}; do sleep 0.5; done'")
        wait_for(lambda: server.status()["healthy"], 60, "the frontend is not healthy again")
    assert check(server, 3) == [
        "[koprogo.test] frontend: restarted 3 times within the hour; see `koprogo logs frontend`"
    ]
    assert server.status()["alerts"][0]["key"] == "container frontend restarts"


def test_a_server_that_cannot_look_after_itself_says_so(server: Server) -> None:
    state = server.sh("cat /var/lib/koprogo/state.json").stdout
    alive = len(internet.hooks(server.world, "alive"))
    try:
        server.sh("echo '{' > /var/lib/koprogo/state.json")
        subjects = check(server, 3)
    finally:
        server.sh("cat > /var/lib/koprogo/state.json", input=state)
    assert [subject[:52] for subject in subjects] == ["[koprogo.test] this server cannot look after itself:"]
    assert len(internet.hooks(server.world, "alive")) == alive


def test_the_file_for_prometheus(server: Server) -> None:
    server.koprogo("health")
    text = server.sh("cat /var/lib/koprogo/koprogo.prom").stdout
    assert 'koprogo_up{url="https://koprogo.test"} 1\n' in text
    assert 'koprogo_container_running{name="koprogo-postgres",service="postgres"} 1\n' in text
