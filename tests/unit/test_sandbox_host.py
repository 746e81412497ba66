"""What stands in the way of a sandbox is one line each, before anything is made."""

import fcntl
from pathlib import Path

import pytest

from sandbox import host, lifecycle, network, world
from sandbox.errors import SandboxError


@pytest.fixture(autouse=True)
def nothing_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "STATE", tmp_path / "state")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(host, "missing_packages", list)
    monkeypatch.setattr(host, "_free_gib", lambda _path: 100.0)
    monkeypatch.setattr(host, "_available_gib", lambda: 16.0)
    monkeypatch.setattr(network, "ip", lambda *_arguments: "default via 10.0.0.1 dev eth0\n10.0.0.0/24 dev eth0\n")
    monkeypatch.setattr(network, "bridge_name", lambda index: f"none{index}")


def test_nothing_in_the_way() -> None:
    assert host.problems("demo") == []


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match=r"^the sandbox makes machines and networks: run it as root"):
        host.prepare("demo")


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "missing_packages", lambda: ["mmdebstrap", "systemd-container"])
    assert host.problems("demo") == ["missing: apt-get install mmdebstrap systemd-container"]


def test_too_little_disk_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_free_gib", lambda _path: 3.25)
    monkeypatch.setattr(host, "_available_gib", lambda: 1.5)
    lines = host.problems("demo")
    assert len(lines) == 3
    assert "too little disk for /var/cache/koprogo-sandbox: 3.2 GiB free, 12 needed" in lines
    assert "too little memory: 1.5 GiB available, 5 needed" in lines


def test_address_range_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ip", lambda *_arguments: "10.64.0.0/10 dev tun0 scope link\n")
    assert host.problems("demo") == [
        "no free address range in 10.77.0.0/16: 10.77.31.0/24 is in use by a route on this host: "
        "10.64.0.0/10 dev tun0 scope link. Choose another: KOPROGO_SANDBOX_NETWORK=10.78.0.0/16"
    ]


def test_one_range_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ip", lambda *_arguments: "local 10.77.0.9 dev vpn0 proto kernel\n")
    assert world.free_addresses() == (1, "10.77.0.0/16")


def test_routes_of_every_type_count(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = "blackhole 10.77.0.0/26 proto bird\nthrow 10.77.1.0/24\nunreachable default dev lo\n"
    monkeypatch.setattr(network, "ip", lambda *_arguments: routes)
    assert world.free_addresses() == (2, "10.77.0.0/16")


def test_another_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOPROGO_SANDBOX_NETWORK", "172.20.0.0/16")
    index, within = world.free_addresses()
    assert world.World("demo", index, within).ipv4(3) == "172.20.0.3"


@pytest.mark.parametrize("value", ["10.x.0.0/16", "fd00::/48", "10.1.2.0/24", "8.8.0.0/16"])
def test_a_range_that_will_not_do(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("KOPROGO_SANDBOX_NETWORK", value)
    assert host.problems("demo") == [
        f"KOPROGO_SANDBOX_NETWORK is {value}: put a private IPv4 range of a /19 or more, "
        "KOPROGO_SANDBOX_NETWORK=10.78.0.0/16"
    ]


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a/b", "builds", "Demo", "-x", "a" * 22])
def test_a_name_that_is_none_is_refused_before_anything_is_deleted(name: str) -> None:
    for refuse in (world.create, world.destroy, lifecycle.up):
        with pytest.raises(SandboxError, match=r"can't be the name of a sandbox"):
            refuse(name)


def test_a_look_at_a_lock_is_no_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("4321")
    with lock.open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert world.holder(lock) is None
        fcntl.flock(other, fcntl.LOCK_EX)
        assert world.holder(lock) == 4321
