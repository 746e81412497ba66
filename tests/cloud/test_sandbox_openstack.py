"""A server of the sandbox's cloud is a real machine: made, used and deleted by an ordinary user of openstacksdk."""

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest

from sandbox.machine import machines
from sandbox.world import World, wait_for

pytestmark = pytest.mark.cloud
MIB = 1024 * 1024
BOOT = "cat /proc/sys/kernel/random/boot_id"
USER_DATA = "I2Nsb3VkLWNvbmZpZwp3cml0ZV9maWxlczoKICAtIHtwYXRoOiAvZXRjL2Zyb20tdXNlci1kYXRhLCBjb250ZW50OiBoZWxsb30K"
"""#cloud-config with write_files: [{path: /etc/from-user-data, content: hello}]"""


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    wait_for(condition, seconds, "not in time")


@dataclass
class Login:
    """A server, and how to log in to it with the host keys that its console showed."""

    server: Any
    ipv4: str
    folder: Path

    user: str = "ubuntu"

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command; ssh itself ends with 255."""
        options = ["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        options += ["-i", str(self.folder / "key"), "-o", f"UserKnownHostsFile={self.folder / 'known'}"]
        command_line = ["ssh", *options, f"{self.user}@{self.ipv4}", command]
        return subprocess.run(command_line, capture_output=True, text=True, check=False)

    def says(self, command: str) -> str:
        """Run a shell command that has to succeed, and return what it prints."""
        done = self.run(command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def sdk(cloud: dict[str, str]) -> Any:
    return openstack.connect(
        auth_url=cloud["OS_AUTH_URL"], username=cloud["OS_USERNAME"], password=cloud["OS_PASSWORD"],
        project_id=cloud["OS_PROJECT_ID"], user_domain_name=cloud["OS_USER_DOMAIN_NAME"],
        project_domain_name=cloud["OS_PROJECT_DOMAIN_NAME"], region_name=cloud["OS_REGION_NAME"],
    )  # fmt: skip


def settled(sdk: Any, server: Any, status: str) -> bool:
    found = sdk.compute.get_server(server.id)
    assert found.status != "ERROR", found.fault
    return bool(found.status == status and found.task_state is None)


@pytest.fixture(scope="module")
def login(sdk: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """A server that all tests share: each leaves it running."""
    with made("probe", sdk, tmp_path_factory.mktemp("server")) as login:
        yield login


@contextmanager
def made(name: str, sdk: Any, folder: Path) -> Iterator[Login]:
    """Make a server with a key and a security group of its own, and wait until it can be logged in to."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    key = sdk.compute.create_keypair(name=name, public_key=(folder / "key.pub").read_text())
    group = sdk.network.create_security_group(name=name)
    sdk.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ether_type="IPv4", protocol="tcp",
        port_range_min=22, port_range_max=22,
    )  # fmt: skip
    server = sdk.compute.create_server(
        name=name, image_id=sdk.image.find_image("Ubuntu 22.04").id, key_name=key.name, user_data=USER_DATA,
        flavor_id=sdk.compute.find_flavor("d2-2").id, security_groups=[{"name": name}],
        networks=[{"uuid": sdk.network.find_network("Ext-Net").id}],
    )  # fmt: skip
    server = sdk.compute.wait_for_server(server, interval=0.3)
    ipv4 = next(each["addr"] for each in server.addresses["Ext-Net"] if each["version"] == 4)
    login = Login(server, ipv4, folder)
    pin(login, sdk)
    until(lambda: login.run("true").returncode == 0)
    yield login
    if sdk.compute.find_server(name):
        sdk.compute.delete_server(server)
        sdk.compute.wait_for_delete(server, interval=0.3)
    sdk.network.delete_security_group(group)
    sdk.compute.delete_keypair(key)


def on_console(login: Login, sdk: Any) -> set[str]:
    """The host keys in the last block on its console, without their comments."""
    console = sdk.compute.get_server_console_output(login.server)["output"]
    blocks = re.findall(r"-----BEGIN SSH HOST KEY KEYS-----\s+(.*?)-----END SSH HOST KEY KEYS-----", console, re.S)
    return {" ".join(line.split()[:2]) for line in blocks[-1].strip().splitlines()} if blocks else set()


def pin(login: Login, sdk: Any, besides: set[str] | None = None) -> set[str]:
    """Trust the host keys on its console, once it shows others than `besides`; returns them."""
    until(lambda: on_console(login, sdk) - (besides or set()))
    keys = on_console(login, sdk)
    (login.folder / "known").write_text("".join(f"{login.ipv4} {key}\n" for key in sorted(keys)))
    return keys


def test_the_user_is_an_ordinary_one(sdk: Any) -> None:
    with pytest.raises(openstack.exceptions.ForbiddenException):
        list(sdk.identity.projects())


def test_the_catalogue_is_like_ovh(sdk: Any, world: World) -> None:
    assert {f.name: (f.vcpus, f.ram, f.disk) for f in sdk.compute.flavors()} == {
        "d2-2": (1, 2000, 25),
        "d2-4": (2, 4000, 50),
        "d2-8": (4, 8000, 50),
        "b3-8": (2, 8000, 50),
    }
    assert {image.name for image in sdk.image.images()} == {"Ubuntu 22.04", "Debian 12", "Debian 13"}
    assert sdk.compute.get_endpoint() == f"http://{world.ipv4(2)}:8774/v2.1"
    assert sdk.config.get_region_name() == "GRA11"


def test_the_server_is_a_cloud_image(login: Login) -> None:
    assert login.says("sudo -n id -u") == "0"
    assert login.says("hostname") == "probe"
    assert login.says("cloud-init status --wait").endswith("status: done")
    assert login.says("cat /etc/from-user-data") == "hello"


def test_its_memory_is_that_of_the_flavor(login: Login) -> None:
    eat = "python3 -c \"b = bytearray()\nfor _ in range({}): b += b'x' * 2**20\nprint('fits')\""
    before = login.says(BOOT)
    assert login.says(eat.format(200)) == "fits"
    # 2000 MB hold everything that runs: the kernel ends the one that asks for more, and the server goes on.
    assert login.run(eat.format(2000)).stdout == ""
    assert login.says(BOOT) == before


def test_it_has_an_address_of_each_family(login: Login, world: World) -> None:
    addresses = {each["version"]: each["addr"] for each in login.server.addresses["Ext-Net"]}
    assert addresses[4].startswith(world.ipv4(0).removesuffix("0"))
    shown = login.says("ip -o addr show scope global")
    assert f" {addresses[4]}/24 " in shown
    assert f" {addresses[6]}/64 " in shown


def test_its_security_group_is_enforced(login: Login, sdk: Any) -> None:
    login.says("sudo systemd-run --quiet --unit=probe-web python3 -m http.server 8080")
    until(lambda: "8080" in login.says("ss -ltn"))

    def reachable() -> bool:
        try:
            with socket.create_connection((login.ipv4, 8080), timeout=2):
                return True
        except OSError:
            return False

    assert not reachable()
    # OVH's default group lets everything in, and groups add up.
    sdk.compute.add_security_group_to_server(login.server, {"name": "default"})
    until(reachable, 10)
    sdk.compute.remove_security_group_from_server(login.server, {"name": "default"})
    until(lambda: not reachable(), 10)


@pytest.mark.parametrize("how", ["inside", "SOFT", "HARD"])
def test_it_survives_a_reboot(login: Login, sdk: Any, how: str) -> None:
    before = login.says(BOOT)
    login.says("sudo touch /etc/kept")
    if how == "inside":
        login.run("sudo systemctl reboot")
    else:
        sdk.compute.reboot_server(login.server, how)
        until(lambda: settled(sdk, login.server, "ACTIVE"))
    until(lambda: login.run(BOOT).stdout.strip() not in {"", before})
    # The host keys are still those that were pinned, or this would not log in.
    login.says("test -e /etc/kept")


def test_it_can_be_resized_and_back(login: Login, sdk: Any, world: World) -> None:
    def memory() -> int | None:
        return next(m.memory for m in machines(world) if m.ipv4 == login.ipv4)

    login.says("sudo touch /etc/kept")
    sdk.compute.resize_server(login.server, sdk.compute.find_flavor("d2-4").id)
    until(lambda: settled(sdk, login.server, "VERIFY_RESIZE"))
    assert memory() == 4000 * MIB
    sdk.compute.revert_server_resize(login.server)
    until(lambda: settled(sdk, login.server, "ACTIVE"))
    assert memory() == 2000 * MIB
    until(lambda: login.run("test -e /etc/kept").returncode == 0)


def test_it_can_be_resized_for_good(login: Login, sdk: Any, world: World) -> None:
    login.says("sudo touch /etc/kept")
    for flavor, memory in (("d2-4", 4000), ("d2-2", 2000)):
        sdk.compute.resize_server(login.server, sdk.compute.find_flavor(flavor).id)
        until(lambda: settled(sdk, login.server, "VERIFY_RESIZE"))
        sdk.compute.confirm_server_resize(login.server)
        until(lambda: settled(sdk, login.server, "ACTIVE"))
        assert sdk.compute.get_server(login.server.id).flavor.original_name == flavor
        assert next(m.memory for m in machines(world) if m.ipv4 == login.ipv4) == memory * MIB
        until(lambda: login.run("test -e /etc/kept").returncode == 0)


def test_it_can_be_stopped_and_started(login: Login, sdk: Any) -> None:
    before = login.says(BOOT)
    login.says("sudo touch /etc/kept")
    sdk.compute.stop_server(login.server)
    until(lambda: settled(sdk, login.server, "SHUTOFF"))
    assert login.run("true").returncode == 255
    sdk.compute.start_server(login.server)
    until(lambda: settled(sdk, login.server, "ACTIVE"))
    until(lambda: login.run("test -e /etc/kept").returncode == 0)
    assert login.says(BOOT) != before


def test_one_that_is_switched_off_from_inside_is_found_so(login: Login, sdk: Any) -> None:
    login.run("sudo systemctl poweroff")
    until(lambda: settled(sdk, login.server, "SHUTOFF"), 60)
    sdk.compute.start_server(login.server)
    until(lambda: settled(sdk, login.server, "ACTIVE"))
    until(lambda: login.run("true").returncode == 0)


def test_a_locked_server_stays_as_it_is_until_it_is_unlocked(login: Login, sdk: Any) -> None:
    flavor, image = sdk.compute.find_flavor("d2-4").id, login.server.image.id
    before = login.says(BOOT)
    actions: tuple[Callable[[], object], ...] = (
        lambda: sdk.compute.stop_server(login.server),
        lambda: sdk.compute.reboot_server(login.server, "SOFT"),
        lambda: sdk.compute.resize_server(login.server, flavor),
        lambda: sdk.compute.rebuild_server(login.server, image=image),
        lambda: sdk.compute.delete_server(login.server),
    )
    sdk.compute.lock_server(login.server)
    for refused in actions:
        with pytest.raises(openstack.exceptions.ConflictException, match="is locked"):
            refused()
    assert sdk.compute.get_server(login.server.id).is_locked
    sdk.compute.unlock_server(login.server)
    assert login.says(BOOT) == before
    sdk.compute.reboot_server(login.server, "SOFT")
    until(lambda: settled(sdk, login.server, "ACTIVE"))
    until(lambda: login.run(BOOT).stdout.strip() not in {"", before})


def test_it_can_be_rebuilt_from_its_image_and_from_another(login: Login, sdk: Any) -> None:
    keys = on_console(login, sdk)
    for image, user in (("Ubuntu 22.04", "ubuntu"), ("Debian 12", "debian"), ("Ubuntu 22.04", "ubuntu")):
        login.says("sudo touch /etc/kept")
        sdk.compute.rebuild_server(login.server, image=sdk.image.find_image(image).id)
        until(lambda: settled(sdk, login.server, "ACTIVE"))
        found = sdk.compute.get_server(login.server.id)
        assert (found.name, found.addresses) == ("probe", login.server.addresses)
        assert sdk.image.get_image(found.image.id).name == image
        until(lambda: "Host key verification failed" in login.run("true").stderr)
        keys = pin(login, sdk, besides=keys)
        login.user = user
        until(lambda: login.run("true").returncode == 0)
        assert login.says("hostname; test -e /etc/kept || echo a new disk") == "probe\na new disk"
        assert login.says("cat /etc/from-user-data") == "hello"


def test_it_can_be_stopped_while_it_reboots(login: Login, sdk: Any, world: World) -> None:
    login.run("sudo systemctl reboot")
    started = time.monotonic()
    sdk.compute.stop_server(login.server)
    until(lambda: settled(sdk, login.server, "SHUTOFF"))
    assert time.monotonic() - started < 50  # it is cut off after 60
    sdk.compute.start_server(login.server)
    until(lambda: settled(sdk, login.server, "ACTIVE"))
    until(lambda: login.run("true").returncode == 0)


def test_nothing_is_left_of_a_deleted_server(sdk: Any, world: World, tmp_path: Path) -> None:
    with made("gone", sdk, tmp_path) as login:
        (machine,) = [m for m in machines(world) if m.ipv4 == login.ipv4]
        sdk.compute.delete_server(login.server)
        sdk.compute.wait_for_delete(login.server, interval=0.3)
        assert not machine.alive
        assert not machine.folder.exists()
        assert not Path("/sys/fs/cgroup/memory/koprogo-sandbox", machine.group).exists()
        assert login.run("true").returncode == 255
