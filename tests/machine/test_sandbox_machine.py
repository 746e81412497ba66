"""The machines of the sandbox: they boot, keep their disk, lose their network rules, and leave nothing."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import cache, templates, world
from sandbox.machine import Machine, load
from sandbox.world import World, wait_for

pytestmark = pytest.mark.machine

NAME = "machines"


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    world.destroy(NAME)
    yield world.create(NAME)
    world.destroy(NAME)


@pytest.fixture
def machine(made: World) -> Iterator[Machine]:
    each = Machine(made, "one", [templates.base()], made.ipv4(50), made.ipv6(50), memory=512 * 2**20)
    each.start()
    each.wait_boot()
    yield each
    each.destroy()


def test_it_has_its_name_addresses_and_way_out(machine: Machine) -> None:
    assert machine.run(["hostname"]).stdout == "one\n"
    addresses = machine.run(["ip", "-o", "addr", "show", "dev", "ens3"]).stdout
    assert machine.ipv4 in addresses
    assert machine.world.name == NAME
    assert machine.run(["ping", "-c1", "-W2", machine.world.ipv4(1)]).returncode == 0


def test_its_memory_is_limited(machine: Machine) -> None:
    # 700 MB do not fit into 512: the kernel ends the process with SIGKILL.
    done = machine.run(["python3", "-c", "bytearray(700 * 2**20); print('fits')"], check=False)
    assert "fits" not in done.stdout
    assert done.returncode in {-9, 137}
    assert machine.run(["python3", "-c", "bytearray(200 * 2**20); print('fits')"]).stdout == "fits\n"


def test_it_cannot_set_the_hosts_clock(machine: Machine) -> None:
    # To the time that it is: should this ever succeed, it must do no harm.
    assert "Operation not permitted" in machine.run(["date", "-s", "now"], check=False).stderr
    assert machine.run(["systemd-run", "--wait", "--quiet", "date", "-s", "now"], check=False).returncode == 1


def test_reboot_keeps_the_disk_and_drops_the_network_rules(machine: Machine) -> None:
    before = machine.leader
    machine.run(["sh", "-c", "echo kept > /etc/kept; ip link add left type dummy; ip rule add from 10.9.9.9 table 9"])
    machine.run(["systemctl", "--no-block", "reboot"])
    wait_for(lambda: machine.leader not in {None, before}, 60, "no second boot")
    machine.wait_boot()
    assert machine.run(["cat", "/etc/kept"]).stdout == "kept\n"
    assert "left" not in machine.run(["ip", "link"]).stdout
    assert "10.9.9.9" not in machine.run(["ip", "rule"]).stdout


def test_power_off_and_on_again(machine: Machine) -> None:
    machine.run(["sh", "-c", "echo kept > /etc/kept"])
    machine.stop()
    assert not machine.alive
    machine.start()
    machine.wait_boot()
    assert machine.run(["cat", "/etc/kept"]).stdout == "kept\n"
    assert load(NAME, "one").leader == machine.leader


def test_a_killed_build_is_ended_with_all_that_it_started() -> None:
    templates.base()
    script = "sleep 4321 & sleep 4321"
    code = f"from sandbox import templates as t; t.layer('killed', [t.base()], {script!r})"
    build = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])

    def started() -> list[str]:
        found = subprocess.run(["pgrep", "-xf", "sleep 4321"], capture_output=True, text=True, check=False)
        return found.stdout.split()

    def left() -> list[Path]:
        return list((cache.ROOT / "templates").glob(".killed-*"))

    wait_for(lambda: len(started()) == 2, 60, "the build did not start")
    build.kill()
    build.wait()
    assert len(started()) == 2
    assert len(left()) == 2
    cache.sweep()
    wait_for(lambda: started() == [], 10, "what the build started still runs")
    assert left() == []


def test_nothing_is_left_of_a_destroyed_sandbox() -> None:
    left = world.create("left")
    one = Machine(left, "one", [templates.base()], left.ipv4(50), left.ipv6(50))
    one.start()
    leader, bridge = one.leader, Path(f"/sys/class/net/{left.bridge}")
    assert bridge.exists()
    assert world.destroy("left") is True
    assert not bridge.exists()
    assert not Path(f"/proc/{leader}/root/etc").exists()
    assert not left.state.exists()
    assert (
        f"koprogo-sandbox {left.index}"
        not in subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    )
    assert world.destroy("left") is False
