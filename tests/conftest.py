"""Fixtures: a sandbox, an operator with the real commands, and the server that these commands made in it.

Nothing here imports provision.py, inventory.py or deploy.py: they are run as an operator runs them.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cloud_project import connect, remove, set_variable
from dotenv import dotenv_values
from openstack.connection import Connection
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sandbox import host, lifecycle, openstack, operator_folder
from sandbox import world as worlds
from sandbox.world import World

ROOT = Path(__file__).parent.parent
NAME = "test"
"""The sandbox of the tests; `make demo` has another, so both can run on one host."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--keep-sandbox` leaves the sandbox and its server running, and starts from what an earlier such run left."""
    parser.addoption("--write-golden", action="store_true", help="write the golden files anew instead of comparing")
    parser.addoption("--keep-sandbox", action="store_true", help="reuse the tests' sandbox and leave it running")
    parser.addoption("--every-cut", action="store_true", help="kill and cut the power at each step of a deploy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a machine is skipped, with the reason, where there can be none."""
    if os.geteuid() == 0:
        return
    reason = pytest.mark.skip(reason="needs root: it starts machines (sudo make test)")
    for item in items:
        if item.get_closest_marker("machine") or item.get_closest_marker("cloud"):
            item.add_marker(reason)


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives what shares a sandbox to one process, in order: all of cloud/, and each file elsewhere."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, _ = nodeid.partition("::")
        return "cloud" if path.startswith("tests/cloud/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    """With `-n 2`, tests run in two processes."""
    return SideBySide(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI nothing may be left out: a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI: tests were skipped, and none is expected to be")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@dataclass(frozen=True)
class Operator:
    """Somebody with a folder that holds `.env`, who runs the project's commands."""

    folder: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout with ENV_FILE set; its output is captured (and shown if it fails)."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.variables | environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{shlex.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    @property
    def server_name(self) -> str:
        """Of the operator's server, as `.env` has it."""
        return self.setting("INSTANCE_NAME")

    def setting(self, variable: str) -> str:
        """What `.env` says of a variable."""
        return dotenv_values(self.folder / ".env")[variable] or ""

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a command."""
        own = {"COLUMNS": "200", "XDG_CACHE_HOME": str(self.folder / "cache")}
        return operator_folder.environment(self.folder / ".env") | own

    def provision(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run provision.py."""
        return self.run(sys.executable, "provision.py", *arguments, check=check, **environment)

    def start_provision(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start provision.py, and leave it running."""
        return subprocess.Popen(
            # whoever starts the tests in the background has them ignore the signal, and children inherit that
            ["env", "--default-signal=INT", sys.executable, "provision.py", *arguments],
            cwd=ROOT,
            env=self.variables | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pending(self) -> list[str]:
        """The lines of provision.py's plan that are not in place; its exit status has to say the same."""
        done = self.provision("plan", check=False)
        lines = done.stdout.splitlines()
        plan = lines[2 : next(number for number, line in enumerate(lines) if line.startswith("Plan: ")) - 1]
        found = [line for line in plan if not line.startswith("  = ")]
        assert done.returncode == (2 if found else 0), done.stderr
        return found

    def pyinfra(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run pyinfra with inventory.py and deploy.py."""
        command = str(Path(sys.executable).parent / "pyinfra")
        return self.run(command, *arguments, "inventory.py", "deploy.py", check=check)

    def planned(self) -> list[str]:
        """The names of the operations that a dry run says will change something, or may."""
        plan = _json(self.pyinfra("--dry", "--json").stdout)["plan"]
        return [op["name"] for op in plan if op["hosts_with_change"] or op["hosts_with_conditional_change"]]

    def apply(self) -> list[str]:
        """Deploy; returns the names of the operations that changed something."""
        results = _json(self.pyinfra("-y", "--json").stdout)["results"]
        assert not results["failed_hosts"]
        return [op["name"] for op in results["operations"] if op["success"]]


def _json(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(text[text.index("{") :])
    return parsed


@dataclass(frozen=True)
class Server:
    """The server that provision.py made, as an operator reaches it."""

    ipv4: str
    ipv6: str
    user: str
    folder: Path

    def run(self, command: str, *, check: bool = True, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a shell command over SSH as the login user (`sudo …` works), with the pinned host key."""
        ssh = [
            "ssh", "-i", str(self.folder / "id_ed25519"), "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}",
            "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
            f"{self.user}@{self.ipv4}", command,
        ]  # fmt: skip
        done = subprocess.run(ssh, capture_output=True, text=True, check=False, input=input)
        if check and done.returncode:
            pytest.fail(f"{command} ended with {done.returncode} on the server\n{done.stdout}\n{done.stderr}")
        return done


@dataclass
class Deployed:
    """A server on which the main job was done, and what the commands said on the way."""

    operator: Operator
    server: Server
    said: dict[str, str] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A running sandbox."""
    keep = request.config.getoption("--keep-sandbox")
    os.umask(0o022)
    if not keep:
        worlds.destroy(NAME)
    host.prepare(NAME)
    yield lifecycle.up(NAME)
    if not keep:
        worlds.destroy(NAME)


@pytest.fixture(scope="session")
def cloud(world: World) -> dict[str, str]:
    """The OS_* variables of an ordinary user of the sandbox's OpenStack."""
    return openstack.credentials(world)


@pytest.fixture(scope="session")
def api(cloud: dict[str, str]) -> Connection:
    """The cloud, as the operator's own account sees it."""
    return connect(cloud)


@pytest.fixture
def operator_env(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Operator:
    """An operator of their own, with a `.env` for a server of the module's NAME and nothing provisioned."""
    lines = operator_folder.lines(world) | {"INSTANCE_NAME": request.module.NAME}
    original = operator_folder.folder(world)
    for name in ("id_ed25519", "id_ed25519.pub"):
        (tmp_path / name).write_bytes((original / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    lines["SSH_PUBLIC_KEY"] = str(tmp_path / "id_ed25519.pub")
    (tmp_path / ".env").write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in lines.items()))
    return Operator(tmp_path)


@pytest.fixture
def operator(request: pytest.FixtureRequest, api: Connection, operator_env: Operator) -> Iterator[Operator]:
    """An operator who has nothing in the cloud yet, and has nothing left there in the end."""
    remove(api, request.module.NAME)
    yield operator_env
    remove(api, request.module.NAME)


@pytest.fixture
def made(operator: Operator) -> Operator:
    """An operator whose server is there."""
    operator.provision("apply", "--yes")
    return operator


@pytest.fixture
def operators(
    request: pytest.FixtureRequest, api: Connection, operator_env: Operator, tmp_path: Path
) -> Iterator[list[Operator]]:
    """Two operators who can work side by side, each with a server of their own: the module's NAME, 1 and 2."""
    both = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in (".env", "id_ed25519", "id_ed25519.pub"):
            shutil.copy2(operator_env.folder / name, folder / name)
        one = Operator(folder)
        set_variable(one, INSTANCE_NAME=f"{request.module.NAME}{number}", SSH_PUBLIC_KEY=str(folder / "id_ed25519.pub"))
        both.append(one)
        remove(api, one.server_name)
    yield both
    for one in both:
        remove(api, one.server_name)


@pytest.fixture(scope="session")
def deployed(world: World) -> Deployed:
    """The main job, done with the operator's commands on a virgin cloud."""
    operator = Operator(lifecycle.env_file(world).parent)
    said = {"plan": operator.provision("--dry-run").stdout, "apply": operator.provision("--yes").stdout}
    record = json.loads((operator.folder / "inventory.json").read_text())["servers"][0]
    server = Server(record["ipv4"], record["ipv6"], record["user"], operator.folder)
    planned = operator.planned()
    changed = operator.apply()
    return Deployed(operator, server, said, planned, changed)


@pytest.fixture(scope="session")
def server(deployed: Deployed) -> Server:
    """The deployed server."""
    return deployed.server
