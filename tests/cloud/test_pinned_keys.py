"""SSH host keys of a real server: pinned from its console, explained when rebuilt, asked for without a console."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from cloud_project import remove
from conftest import ROOT, Operator
from fault_proxy import FaultProxy
from openstack.connection import Connection

from sandbox.machine import load
from sandbox.world import World, wait_for

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]

NAME = "hostkeys"
SHA256 = r"SHA256:[A-Za-z0-9+/]{43}"


def pins(operator: Operator) -> list[list[str]]:
    """The lines of known_hosts, as words."""
    return [line.split() for line in (operator.folder / "known_hosts").read_text().splitlines()]


def ssh(operator: Operator, command: str) -> subprocess.CompletedProcess[str]:
    """Log in as the operator is told to."""
    ipv4 = pins(operator)[0][0]
    options = ["-i", str(operator.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={operator.folder / 'known_hosts'}"]
    options += ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    return subprocess.run(["ssh", *options, f"ubuntu@{ipv4}", command], capture_output=True, text=True, check=False)


def answering(operator: Operator, answers: list[str], *arguments: str, **environment: str) -> tuple[int, str]:
    """Run provision.py at a terminal and answer each question when it is asked; its exit status, and its output."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "provision.py", *arguments]
    said, left = "", list(answers)
    with subprocess.Popen(
        command, cwd=ROOT, env=operator.variables | environment,
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        os.close(theirs)
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 4096):
            said += piece.decode(errors="replace")
            if left and said.endswith("[y/N]: "):
                os.write(ours, f"{left.pop(0)}\n".encode())
        process.wait()
    os.close(ours)
    return process.returncode, said


def test_a_server_that_was_rebuilt_is_explained_and_pinned_anew(operator: Operator, api: Connection) -> None:
    operator.provision("apply", "--yes")
    before = pins(operator)
    server = next(iter(api.compute.servers(name=f"^{NAME}$")))
    assert {words[3] for words in before} == {f"{NAME}/{server.id}"}
    assert ssh(operator, "true").returncode == 0

    api.compute.rebuild_server(server.id, image=server.image.id)

    def explained() -> bool:
        # "it is being rebuilt" comes first, while the console shows the old keys.
        return "was rebuilt" in operator.provision("plan", check=False).stdout

    wait_for(explained, 90, "the plan does not explain it")
    planned = operator.provision("plan", check=False)
    assert planned.returncode == 2
    (line,) = [line for line in planned.stdout.splitlines() if line.startswith("  ~")]
    assert re.fullmatch(
        r"  ~ file +known_hosts +\(the server was rebuilt: its console shows new keys,"
        rf" ssh-ed25519 ({SHA256}) → ssh-ed25519 (?!\1){SHA256}\)",
        line,
    )
    assert "Host key verification failed" in ssh(operator, "true").stderr

    operator.provision("apply", "--yes")
    assert ssh(operator, "true").returncode == 0
    assert {words[2] for words in before} & {words[2] for words in pins(operator)} == set()
    assert operator.provision("plan").returncode == 0


def test_a_key_that_is_neither_pinned_nor_on_the_console_is_told_and_how_it_gets_there(
    operator: Operator, world: World
) -> None:
    operator.provision("apply", "--yes")
    ssh(operator, "sudo rm /etc/ssh/ssh_host_*; sudo ssh-keygen -A; sudo systemctl restart ssh")
    said = operator.provision("status", check=False).stdout
    assert re.search(
        rf"shows another host key than it should: (?:ecdsa-sha2-nistp256|ssh-ed25519) {SHA256}, and not", said
    )
    assert "Nothing was sent to it." in said
    advice = re.search(r"as root there: (cloud-init [a-z _-]+)\.", said)
    assert advice
    server_id = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]["id"]
    load(world.name, f"{NAME}-{server_id[:8]}").run(advice[1].split())
    operator.provision("apply", "--yes")
    assert ssh(operator, "true").returncode == 0
    assert operator.provision("plan").returncode == 0


def test_without_a_console_nothing_is_trusted_silently(operator: Operator) -> None:
    with FaultProxy() as proxy:
        proxy.rule("answer", "POST", "/servers/[^/]+/action$", status=403, times=9999)
        refused = operator.provision("apply", "--yes", check=False, HTTP_PROXY=proxy.url)
        assert refused.returncode == 1
        vouched = r"nobody has vouched for the machine that answers at [\d.]+\. It shows ssh-ed25519"
        assert re.search(rf"{vouched} {SHA256}\. ", refused.stderr)
        assert refused.stderr.endswith(" Then run this again in a terminal and without --yes, and it will ask.\n")
        assert list(operator.folder.glob("known_hosts")) == []

        status, said = answering(operator, ["y", "n"], "apply", HTTP_PROXY=proxy.url)
        assert status == 1
        assert "was not accepted. The server stays, and is billed." in said
        assert list(operator.folder.glob("known_hosts")) == []

        status, said = answering(operator, ["y", "y"], "apply", HTTP_PROXY=proxy.url)
        assert status == 0, said
    shown = re.search(rf"It shows ssh-ed25519 ({SHA256})", said)
    assert shown
    assert [words[1] for words in pins(operator)] == ["ssh-ed25519", "ssh-ed25519"]
    listed = subprocess.run(
        ["ssh-keygen", "-lf", operator.folder / "known_hosts"], capture_output=True, text=True, check=True
    )
    assert {line.split()[1] for line in listed.stdout.splitlines()} == {shown[1]}
    assert ssh(operator, "true").returncode == 0
    # with the console back, what was accepted turns out to be what it shows
    assert operator.provision("plan").returncode == 0


def test_keys_of_another_server_at_the_address_do_not_count(operator: Operator, api: Connection) -> None:
    operator.provision("apply", "--yes")
    (operator.folder / "inventory.json").unlink()
    before = pins(operator)
    remove(api, NAME)
    known_hosts = operator.folder / "known_hosts"
    operator.provision("apply", "--yes")
    ipv4 = pins(operator)[0][0]
    # as if the new server had got the old one's address, and the run had ended before it noted that
    known_hosts.write_text("".join(f"{ipv4} {' '.join(words[1:])}\n" for words in before[:3]))
    (operator.folder / "inventory.json").unlink()
    planned = operator.provision("plan", check=False)
    assert [line for line in planned.stdout.splitlines() if line.startswith("  ~")] == [
        f"  ~ file            known_hosts  (the keys there are those of another server that had {ipv4})"
    ]
    operator.provision("apply", "--yes")
    assert ssh(operator, "true").returncode == 0
