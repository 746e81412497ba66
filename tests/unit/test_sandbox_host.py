"""What stands in the way of a sandbox is one line each, before anything is made."""

from pathlib import Path

import pytest

from sandbox import host, network, world
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
        "10.64.0.0/10 dev tun0 scope link. Choose another with KOPROGO_SANDBOX_NETWORK=10.x.0.0/16."
    ]


def test_one_range_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "ip", lambda *_arguments: "local 10.77.0.9 dev vpn0 proto kernel\n")
    assert world.free_index() == 1
