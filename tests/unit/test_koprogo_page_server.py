"""Who serves the status page: what Docker is asked for, and when it is left alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from koprogo.page import page_server
from koprogo.page.page_server import definition, routing, traefik
from koprogo.problem import Problem
from koprogo.runner import Result, Runner
from koprogo.state import Deployed

DEPLOYED = Deployed("a" * 40, "main-aaaaaaa", 1.0, "hash", "production", {})
FOLDER = Path("/var/lib/koprogo/page")


def container(name: str, labels: dict[str, str] | None = None, ports: Any = None, *networks: str) -> dict[str, Any]:
    """A container as `docker inspect` prints it."""
    return {
        "Id": f"id-{name}",
        "Name": f"/{name}",
        "State": {"Running": True},
        "Config": {"Labels": labels},
        "NetworkSettings": {"Ports": ports, "Networks": {network: {} for network in networks}},
    }


ROUTED = {
    "traefik.enable": "true",
    "traefik.http.routers.backend-3.rule": "Host(`api.koprogo.test`)",
    "traefik.http.routers.backend-3.entrypoints": "websecure",
    "traefik.http.routers.backend-3.tls.certresolver": "letsencrypt",
}
PORTS = {"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "80"}], "8443/tcp": [{"HostIp": "::", "HostPort": "443"}]}
FRONT = container("koprogo-traefik", {}, PORTS, "production_koprogo-network")
BACKEND = container("koprogo-backend", ROUTED, {"8080/tcp": None}, "production_koprogo-network")
APPLICATION = [BACKEND, FRONT, container("koprogo-postgres", None, None, "production_koprogo-network")]


class Docker(Runner):
    """A `docker` that has these containers of the application, and perhaps ours."""

    def __init__(self, application: Sequence[dict[str, Any]] = APPLICATION, ours: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.application, self.ours = application, ours
        self.network, self.image, self.failing = "net1", False, ""
        self.done: list[str] = []
        """What changed something: the first two words of each command."""
        self.last: list[str] = []

    def run(self, argv: Sequence[str], **_: Any) -> Result:
        """Answer as docker would."""
        words = list(argv[1:])
        call = " ".join(words[:2])
        if self.failing and call.startswith(self.failing):
            return Result(1, "", "Error response from daemon: it broke")
        if words[0] == "ps":
            return Result(0, "\n".join(each["Id"] for each in self.application), "")
        if call == "container inspect":
            found = self.application if words[2] != page_server.NAME else [self.ours] if self.ours else []
            return Result(0 if found else 1, json.dumps(found), "")
        if call == "network inspect":
            return Result(0, f"{self.network}\n", "") if self.network else Result(1, "", "not found")
        if call == "image inspect":
            return Result(0 if self.image else 1, "", "")
        self.done.append(call)
        self.last = words
        if words[0] == "run":
            labels = dict(word.removeprefix("--label=").split("=", 1) for word in words if word.startswith("--label="))
            self.ours = container(page_server.NAME, labels, None, page_server.NAME)
        elif call == "network connect":
            self.application[1]["NetworkSettings"]["Networks"][page_server.NAME] = {}
        elif call == "network create":
            assert "--internal" in words  # no way out
            self.network = "net2"
        return Result(0, self.network, "")


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    """A server with the application and busybox, and no page so far."""
    monkeypatch.setattr(page_server.shutil, "which", lambda *_, **__: "/usr/bin/busybox")
    return Docker(json.loads(json.dumps(APPLICATION)))


def ensure(docker: Docker, domain: str = "status.koprogo.test") -> list[str]:
    """What changes."""
    docker.done = []
    page_server.ensure(docker, DEPLOYED, domain, FOLDER)
    return docker.done


def test_a_second_time_changes_nothing(docker: Docker) -> None:
    docker.network = ""
    assert ensure(docker) == [
        "network create", "network connect", "import -", "run --detach",
    ]  # fmt: skip
    assert ensure(docker) == []
    assert page_server.served(docker) == "status.koprogo.test"


def test_what_differs_is_made_again(docker: Docker) -> None:
    ensure(docker)
    docker.image = True
    assert ensure(docker, "up.koprogo.test") == ["rm --force", "run --detach"]
    docker.network = "net9"
    assert ensure(docker, "up.koprogo.test") == ["rm --force", "run --detach"]
    assert docker.ours
    docker.ours["State"]["Running"] = False
    assert page_server.served(docker) is None
    assert ensure(docker, "up.koprogo.test") == ["rm --force", "run --detach"]


def test_a_new_traefik_is_joined_again(docker: Docker) -> None:
    ensure(docker)
    docker.application[1]["NetworkSettings"]["Networks"] = {"production_koprogo-network": {}}
    assert ensure(docker) == ["network connect"]


def test_the_front_is_who_publishes_443_under_whatever_name() -> None:
    assert traefik(APPLICATION) == FRONT
    assert traefik([BACKEND, container("redirects", {}, {"80/tcp": [{"HostIp": "::", "HostPort": "80"}]})]) is None


def test_the_page_is_routed_as_the_application_is() -> None:
    assert routing(APPLICATION) == ("websecure", "letsencrypt")
    assert routing([container("x", {"traefik.http.routers.x.tls.certresolver": "letsencrypt"})]) is None
    assert routing([container("x", {"traefik.http.routers.x.entrypoints": "websecure"})]) is None


def test_the_container_may_do_nothing_and_says_what_browsers_have_to_heed() -> None:
    command = definition(
        "status.koprogo.test", ("websecure", "le"), folder=FOLDER, busybox="/bin/busybox", network="net1"
    )
    assert command[-6:] == ["/busybox", "httpd", "-f", "-p", "8080", "-h", "/page"][-6:]
    assert {"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=65534:65534"} <= set(command)
    assert "--label=traefik.http.routers.koprogo-status-page.rule=Host(`status.koprogo.test`)" in command
    assert "--label=traefik.http.routers.koprogo-status-page.entrypoints=websecure" in command
    assert "--label=traefik.http.routers.koprogo-status-page.tls.certresolver=le" in command
    assert not any(word.startswith(("-p", "--publish", "--privileged")) for word in command if word != "-p")
    (policy,) = [word for word in command if "contentsecuritypolicy" in word]
    assert "=default-src 'none'; style-src 'sha256-" in policy
    assert policy.endswith("; frame-ancestors 'none'")


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        ([BACKEND], "no container of the application publishes port 443: nobody could serve it."),
        ([FRONT], "no router of the application names a certresolver: there would be no certificate."),
        ([], "no container of the application publishes port 443: nobody could serve it."),
    ],
)
def test_an_application_that_is_made_otherwise_is_a_problem_in_a_line(
    docker: Docker, application: list[dict[str, Any]], expected: str
) -> None:
    docker.application = application
    with pytest.raises(Problem) as problem:
        ensure(docker)
    assert str(problem.value) == expected
    assert docker.done == []


def test_without_busybox_the_operator_is_told(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Problem, match=r"^busybox is not there\. Run deploy\.py again"):
        ensure(docker)


@pytest.mark.parametrize("failing", ["ps", "network create", "network connect", "import", "run"])
def test_what_docker_refuses_is_a_problem_in_a_line(docker: Docker, failing: str) -> None:
    docker.network, docker.failing = "", failing
    with pytest.raises(Problem) as problem:
        ensure(docker)
    assert str(problem.value) == f"docker {failing.split(maxsplit=1)[0]} koprogo-status-page: it broke."
