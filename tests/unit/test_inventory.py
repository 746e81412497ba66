"""inventory.json, and what inventory.py makes of it for pyinfra."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_settings import RIGHT, key_pair

import settings
from cloud.machine import inventory_file
from cloud.machine.inventory_file import Entry, InventoryError

SERVER = {
    "name": "koprogo",
    "ipv4": "51.75.1.2",
    "ipv6": "2001:41d0::1",
    "user": "ubuntu",
    "groups": ["web", "database"],
    "id": "5c1e",
    "region": "GRA11",
    "project": "p1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An operator's folder: .env, a key pair, no inventory.json."""
    key_pair(tmp_path)
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in RIGHT.items()))
    return tmp_path


def pyinfra(folder: Path, command: str = "debug-inventory") -> subprocess.CompletedProcess[str]:
    """Run pyinfra on inventory.py."""
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", "inventory.py", command],
        cwd=settings.ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "ENV_FILE": str(folder / ".env")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_pyinfra_sees_the_server_in_its_groups_with_strict_host_keys(folder: Path) -> None:
    (folder / "inventory.json").write_text(json.dumps({"servers": [SERVER]}))
    done = pyinfra(folder)
    assert done.returncode == 0, done.stderr
    assert "Groups: web, database" in done.stdout + done.stderr
    text = done.stdout + done.stderr
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert data == {
        "ssh_user": "ubuntu",
        "ssh_key": f"{folder}/id_ed25519",
        "ssh_known_hosts_file": f"{folder}/known_hosts",
        "ssh_strict_host_key_checking": "yes",
        "ssh_paramiko_connect_kwargs": {"transport_factory": "Function: _transport"},
        "_sudo": True,
        "ipv4": "51.75.1.2",
        "ipv6": "2001:41d0::1",
    }
    for secret in ("p4ssw0rd", "applicationsecret", "consumerkey"):
        assert secret not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file yet; python provision.py writes it"),
        ("{", "the file: Invalid JSON: EOF while parsing an object at line 1 column 1; remove the file, and"),
        ('{"servers": [{"name": "x"}]}', "servers.0.ipv4: Field required; remove the file, and python provision.py"),
        (json.dumps({"servers": [SERVER | {"ipv4": "51.75.1.400"}]}), "servers.0.ipv4: Input is not a valid IPv4"),
        (json.dumps({"servers": [SERVER | {"groups": ["mail"]}]}), "servers.0.groups.0: Input should be 'web' or"),
        (json.dumps({"servers": [SERVER | {"password": "x"}]}), "servers.0.password: Extra inputs are not permitted"),
    ],
)
def test_a_missing_or_broken_file_is_one_line_and_no_traceback(folder: Path, content: str | None, said: str) -> None:
    path = folder / "inventory.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InventoryError) as caught:
        inventory_file.read(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    if content in (None, "{"):  # the same through the command, which takes a second
        done = pyinfra(folder)
        assert done.returncode == 1
        assert f"{path}: {said}" in done.stderr
        assert "Traceback" not in done.stderr


def test_it_is_written_whole_and_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "inventory.json"
    path.write_text("broken")
    entry = Entry.model_validate(SERVER | {"ipv6": None})
    inventory_file.write(path, [entry])
    assert json.loads(path.read_text()) == {"servers": [SERVER | {"ipv6": None}]}
    assert inventory_file.read(path) == (entry,)
    assert [file.name for file in tmp_path.iterdir()] == ["inventory.json"]
