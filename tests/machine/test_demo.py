"""`make demo` as a newcomer runs it: from nothing, again, interrupted, and gone."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NAME = "newcomer"

pytestmark = [pytest.mark.machine, pytest.mark.cloud]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments, f"SANDBOX={NAME}"], cwd=ROOT, capture_output=True, text=True, check=False
    )


def traces() -> str:
    """Everything on this host that bears the name of the sandbox, or of machines at all that are its own."""
    return "".join(
        subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout
        for command in (
            f"grep koprogo-sandbox/{NAME} /proc/self/mountinfo",
            f"ls -d /var/lib/koprogo-sandbox/{NAME} /run/koprogo-sandbox/{NAME} 2>/dev/null",
            f"ls -d /sys/fs/cgroup/*/koprogo-sandbox/{NAME} /sys/fs/cgroup/koprogo-sandbox/{NAME} 2>/dev/null",
            f"ps -eo args | grep -e 'machine={NAME}-' -e 'sandbox.* {NAME} ' | grep -v grep",
        )
    )


def network(index: int) -> str:
    """The bridge and the rules of the sandbox with this index, as this host lists them."""
    rules = f"iptables-save | grep 'koprogo-sandbox {index}\"'"
    command = f"ls -d /sys/class/net/kpg{index}; {rules}; nft list table inet kpg{index}"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout


def index() -> int:
    record = json.loads(Path(f"/var/lib/koprogo-sandbox/{NAME}/world.json").read_text())
    return int(record["index"])


def test_demo_from_nothing_then_again_then_gone() -> None:
    make("demo-down")
    first = make("demo")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "It runs." in first.stdout
    assert "https://api.koprogo.test/api/v1/health" in first.stdout
    again = make("demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "no operation changed anything" in again.stdout
    mine = index()
    assert network(mine) != ""
    assert traces() != ""
    assert make("demo-down").returncode == 0
    assert traces() == ""
    assert network(mine) == ""


def test_killed_demo_leaves_nothing_after_demo_down() -> None:
    running = subprocess.Popen(
        ["make", "demo", f"SANDBOX={NAME}"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(Path(f"/run/koprogo-sandbox/{NAME}/leaders").glob("*")):
        assert time.monotonic() < deadline, "no machine was started"
        assert running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    mine = index()
    assert traces() != ""
    assert make("demo-down").returncode == 0
    assert traces() == ""
    assert network(mine) == ""
