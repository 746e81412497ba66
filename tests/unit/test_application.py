"""The application of the sandbox: image files, the registry's folder, its repository, CI's hook, the compose file."""

import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from sandbox.application import git, images, oci
from sandbox.application.storage import Storage

HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"


def a_layer(folder: Path, name: str = "layer") -> oci.Layer:
    entries: list[oci.File | oci.Folder] = [
        oci.File("app/run", b"#!/bin/sh\n", 0o755),
        oci.Folder("app/data", 0o700, owner=1000),
    ]
    return oci.pack(entries, folder / f"{name}.tar.gz")


def test_a_layer_holds_what_it_is_given_and_the_folders_above(tmp_path: Path) -> None:
    layer = a_layer(tmp_path)
    with tarfile.open(layer.blob) as archive:
        found = [(m.name, oct(m.mode), m.uid, m.isdir(), m.size) for m in archive]
    assert found == [
        ("app", "0o755", 0, True, 0),
        ("app/data", "0o700", 1000, True, 0),
        ("app/run", "0o755", 0, False, 10),
    ]


def test_the_same_files_make_the_same_layer(tmp_path: Path) -> None:
    first = a_layer(tmp_path, "first")
    time.sleep(0.01)
    second = a_layer(tmp_path, "second")
    assert (first.digest, first.contents, first.size) == (second.digest, second.contents, second.size)
    assert first.digest != first.contents


def test_an_image_names_its_layers_by_both_digests(tmp_path: Path) -> None:
    low = oci.Layer(tmp_path / "low", "sha256:aa", 11, "sha256:bb")
    top = oci.Layer(tmp_path / "top", "sha256:cc", 22, "sha256:dd")
    made = oci.image([low, top], {"Cmd": ["run"]})
    config = json.loads(made.config)
    manifest = json.loads(made.manifest)
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:bb", "sha256:dd"]}
    assert config["config"] == {"Cmd": ["run"]}
    assert [(each["digest"], each["size"]) for each in manifest["layers"]] == [("sha256:aa", 11), ("sha256:cc", 22)]
    assert manifest["config"]["digest"] == oci.digest_of(made.config)
    assert manifest["config"]["size"] == len(made.config)


def test_digests_are_those_of_sha256() -> None:
    assert oci.digest_of(b"hello") == HELLO


def test_the_registry_finds_an_image_by_its_tags(tmp_path: Path) -> None:
    made = oci.image([a_layer(tmp_path)], {})
    Storage(tmp_path / "registry").publish("library/demo", made, "1", "main-0123abc")
    top = tmp_path / "registry/docker/registry/v2"
    name = oci.digest_of(made.manifest)
    number = name.removeprefix("sha256:")
    demo = top / "repositories/library/demo"
    for tag in ("1", "main-0123abc"):
        assert (demo / f"_manifests/tags/{tag}/current/link").read_text() == name
        assert (demo / f"_manifests/tags/{tag}/index/sha256/{number}/link").read_text() == name
    assert (demo / f"_manifests/revisions/sha256/{number}/link").read_text() == name
    for digest in (oci.digest_of(made.config), made.layers[0].digest):
        blob = digest.removeprefix("sha256:")
        assert (demo / f"_layers/sha256/{blob}/link").read_text() == digest
        assert oci.digest_of((top / f"blobs/sha256/{blob[:2]}/{blob}/data").read_bytes()) == digest


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A repository with one commit of version 1 and a hook that does nothing."""
    source = tmp_path / "source"
    (source / "deploy/__pycache__").mkdir(parents=True)
    (source / "VERSION").write_text("1\n")
    (source / "deploy/compose.yml").write_text("services: {}\n")
    (source / "deploy/__pycache__/left.pyc").write_text("")
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    git.make(source, tmp_path / "bare.git", hook)
    return tmp_path / "bare.git"


def ask_git(bare: Path, *arguments: str) -> str:
    done = subprocess.run(["git", f"--git-dir={bare}", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_repository_starts_with_the_same_commit_everywhere(bare: Path) -> None:
    assert ask_git(bare, "rev-parse", "HEAD") == "791d8c5186f72027bd5d19024c451f4d9a142ac1"
    assert ask_git(bare, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_the_repository_holds_the_sources_and_the_hook(bare: Path) -> None:
    assert ask_git(bare, "ls-tree", "-r", "--name-only", "main").split() == ["VERSION", "deploy/compose.yml"]
    assert os.access(bare / "hooks/post-receive", os.X_OK)


class Registry(BaseHTTPRequestHandler):
    """As much of a registry as CI's hook talks to: image 1 exists, nothing else."""

    stored: dict[str, tuple[str, bytes]]

    def do_GET(self) -> None:
        """Answer with the manifest stored at this path."""
        kind, body = self.stored.get(self.path, ("text/plain", b""))
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        """Store a manifest."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.stored[self.path] = (self.headers["Content-Type"], body)
        self.send_response(201)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[tuple[tuple[str, int], dict[str, tuple[str, bytes]]]]:
    """A registry's address and what it stores by path."""
    Registry.stored = {
        f"/v2/gilmry/koprogo/{part}/manifests/1": ("application/x-manifest", part.encode())
        for part in ("backend", "frontend")
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield ("127.0.0.1", server.server_port), Registry.stored
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CI's hook, in the repository as Git runs it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(bare)
    loader = SourceFileLoader("post_receive", str(images.HERE / "post-receive"))
    module = module_from_spec(ModuleSpec("post_receive", loader))
    loader.exec_module(module)
    return module


def test_ci_publishes_the_images_of_a_commit(hook: Any, bare: Path, registry: Any) -> None:
    hook.REGISTRY, stored = registry
    commit = ask_git(bare, "rev-parse", "main")
    assert hook.publish(commit) == f"CI: version 1 published as main-{commit[:7]}"
    for part in ("backend", "frontend"):
        kind, body = stored[f"/v2/gilmry/koprogo/{part}/manifests/main-{commit[:7]}"]
        assert (kind, body) == ("application/x-manifest", part.encode())


def test_ci_publishes_nothing_for_a_version_without_images(hook: Any, bare: Path, registry: Any) -> None:
    hook.REGISTRY, stored = registry
    del stored["/v2/gilmry/koprogo/frontend/manifests/1"]
    commit = ask_git(bare, "rev-parse", "main")
    assert hook.publish(commit) == (
        f"CI: nothing published for {commit[:7]}: no image frontend:1 (the registry answers 404)"
    )


def test_ci_says_that_the_registry_does_not_answer(hook: Any, bare: Path) -> None:
    hook.REGISTRY = ("127.0.0.1", 1)
    assert "the registry does not answer" in hook.publish(ask_git(bare, "rev-parse", "main"))


def test_a_server_finishes_the_request_it_has_when_it_is_told_to_stop(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(
        "import time\n"
        "from serve import Handler, serve\n"
        "class Slow(Handler):\n"
        "    def do_GET(self):\n"
        "        print('asked', flush=True)\n"
        "        time.sleep(0.5)\n"
        "        self.answer_json(200, {'finished': True})\n"
        "serve(Slow, '127.0.0.1', int(__import__('sys').argv[1]))\n"
    )
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(images.SOURCE / "common"), "PYTHONDONTWRITEBYTECODE": "1"}
    answers: list[bytes] = []

    def ask() -> None:
        with urlopen(f"http://127.0.0.1:{port}/") as answer:  # the address is ours
            answers.append(answer.read())

    with subprocess.Popen(
        [sys.executable, program, str(port)], stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        asking = threading.Thread(target=ask)
        wait_for_port(port)
        asking.start()
        assert server.stdout is not None
        assert server.stdout.readline() == "asked\n"
        server.terminate()
        asking.join()
        assert server.wait(5) == 0
    assert answers == [b'{"finished": true}\n']


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        return server.server_port


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                # Sends nothing: the server must not wait for it for long either.
                return
        time.sleep(0.02)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file."""
    text = (images.SOURCE / "deploy/production/docker-compose.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_the_stack_has_the_shape_of_the_original(services: dict[str, Any]) -> None:
    assert {name: each["container_name"] for name, each in services.items()} == {
        "traefik": "koprogo-traefik",
        "postgres": "koprogo-postgres",
        "backend": "koprogo-backend",
        "frontend": "koprogo-frontend",
    }
    assert services["postgres"]["environment"]["POSTGRES_USER"] == "koprogo"
    assert services["postgres"]["environment"]["POSTGRES_DB"] == "koprogo_db"
    image = "ghcr.io/${GITHUB_REPOSITORY:-gilmry/koprogo}/%s:${IMAGE_TAG:-unset}"
    assert services["backend"]["image"] == image % "backend"
    assert services["frontend"]["image"] == image % "frontend"


def test_only_traefik_is_reachable_from_outside(services: dict[str, Any]) -> None:
    published = {name: each.get("ports", []) for name, each in services.items()}
    assert published == {"traefik": ["80:80", "443:443"], "postgres": [], "backend": [], "frontend": []}


def test_the_limits_leave_a_small_server_room(services: dict[str, Any]) -> None:
    limits = {name: each["deploy"]["resources"]["limits"] for name, each in services.items()}
    megabytes = {name: int(each["memory"].removesuffix("M")) for name, each in limits.items()}
    # Of 2048 MB: the system and Docker take about 300, and one more backend and frontend start beside the old ones.
    assert sum(megabytes.values()) + megabytes["backend"] + megabytes["frontend"] <= 2048 - 300
    # Traefik has none: at one, requests wait, and what waits takes memory.
    assert {name: each.get("cpus") for name, each in limits.items()} == {
        "traefik": None,
        "postgres": "0.75",
        "backend": "0.75",
        "frontend": "0.5",
    }


def test_every_service_has_a_health_check(services: dict[str, Any]) -> None:
    assert {name: each["healthcheck"]["interval"] for name, each in services.items()} == {
        "traefik": "5s",
        "postgres": "5s",
        "backend": "5s",
        "frontend": "5s",
    }
