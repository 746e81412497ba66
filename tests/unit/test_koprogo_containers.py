"""Reading what Docker says, and judging it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from koprogo.docker import complaints, compose, engine, routing
from koprogo.docker.containers import Container, Verdict, judge, parse

BACKEND = Container(
    "1", "koprogo-backend", "backend", "ghcr.io/x/backend:1", "sha256:b", "running", "healthy", 0, 0, "t", "always", ""
)
POSTGRES = replace(BACKEND, id="2", name="koprogo-postgres", service="postgres")


def inspected(**changes: Any) -> dict[str, Any]:
    return {
        "Id": "0123",
        "Name": "/koprogo-backend",
        "Image": "sha256:b",
        "RestartCount": 2,
        "Config": {
            "Image": "ghcr.io/x/backend:1",
            "Labels": {"com.docker.compose.service": "backend", "com.docker.compose.oneoff": "False"},
        },
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "StartedAt": "2026-11-22T02:00:00Z",
            "Health": {"Status": "unhealthy", "Log": [{"Output": "old"}, {"Output": "curl: (22) 503\n"}]},
        },
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        **changes,
    }


def test_parse() -> None:
    expected = Container(
        "0123", "koprogo-backend", "backend", "ghcr.io/x/backend:1", "sha256:b", "running", "unhealthy", 0, 2,
        "2026-11-22T02:00:00Z", "unless-stopped", "curl: (22) 503", holds=frozenset({"name koprogo-backend"}),
    )  # fmt: skip
    assert parse(json.dumps([inspected()])) == [expected]


def test_what_a_container_has_is_what_its_definition_wants() -> None:
    labels = {
        "com.docker.compose.service": "backend",
        "koprogo.generation": "2",
        "traefik.http.routers.api-2.rule": "Host(`x`)",
    }
    mounts = [{"Type": "volume", "Name": "koprogo_data"}, {"Type": "bind", "Source": "/etc"}]
    policy = {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": None}}
    (found,) = parse(json.dumps([inspected(Config={"Image": "x", "Labels": labels}, Mounts=mounts, HostConfig=policy)]))
    spec = {
        "labels": {"traefik.http.routers.api.rule": "Host(`x`)"},
        "volumes": [
            {"type": "volume", "source": "data", "target": "/data"},
            {"type": "volume", "target": "/anonymous"},
            {"type": "bind", "source": "/etc", "target": "/etc"},
        ],
        "ports": [{"target": 80, "published": "8080", "protocol": "tcp"}, {"target": 81}],
    }
    assert found.holds == routing.wants(spec, "koprogo-backend", {"data": {"name": "koprogo_data"}})
    assert found.holds == {"name koprogo-backend", "volume koprogo_data", "port 8080/tcp", "router api"}


def test_parse_without_health_check_and_labels() -> None:
    plain = inspected(State={"Status": "exited", "ExitCode": 137}, Config={"Image": "x", "Labels": None})
    (found,) = parse(json.dumps([plain]))
    assert (found.health, found.service, found.exit_code, found.last_output) == (None, "", 137, "")


def test_parse_leaves_out_one_off_containers() -> None:
    labels = {"com.docker.compose.service": "backend", "com.docker.compose.oneoff": "True"}
    assert parse(json.dumps([inspected(Config={"Image": "x", "Labels": labels})])) == []


@pytest.mark.parametrize("text", ["", "{}", "Cannot connect to the Docker daemon", '[{"Id": "1"}]'])
def test_parse_refuses_what_docker_does_not_print(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        parse(text)


def test_healthy() -> None:
    assert judge([BACKEND, POSTGRES], ["backend", "postgres"]) == Verdict()
    assert judge([replace(BACKEND, health=None)], ["backend"]).healthy


def test_other_services_do_not_matter() -> None:
    assert judge([BACKEND, replace(POSTGRES, status="exited")], ["backend"]).healthy


def test_missing_and_starting_are_waited_for() -> None:
    verdict = judge([replace(BACKEND, health="starting")], ["backend", "postgres"])
    assert verdict == Verdict((), ("backend: starting", "postgres: no container"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"health": "unhealthy", "last_output": "HTTP 503"}, "backend: unhealthy (HTTP 503)"),
        ({"health": "unhealthy"}, "backend: unhealthy"),
        ({"status": "exited", "exit_code": 1, "restart_policy": "no"}, "backend: exited with 1"),
        ({"status": "running", "restarts": 7}, "backend: restarted 3 times"),
        ({"status": "restarting", "restarts": 7, "exit_code": 3}, "backend: restarted 3 times, last exit code 3"),
    ],
)
def test_what_will_not_mend_itself_is_failing(change: dict[str, Any], text: str) -> None:
    assert judge([replace(BACKEND, **change)], ["backend"], {"1": 4}) == Verdict((text,), ())


def test_docker_may_still_restart_what_ended() -> None:
    ended = replace(BACKEND, status="restarting", exit_code=1, health=None)
    assert judge([ended], ["backend"]) == Verdict((), ("backend: restarting with 1",))


def test_restarts_of_last_month_do_not_count() -> None:
    assert judge([replace(BACKEND, restarts=40)], ["backend"]).healthy
    assert judge([replace(BACKEND, restarts=40)], ["backend"], {"1": 39}).healthy
    assert not judge([replace(BACKEND, restarts=3)], ["backend"], {}).healthy


def test_a_service_that_did_its_work_once_is_well() -> None:
    once = replace(BACKEND, status="exited", health=None, restart_policy="no")
    assert judge([once], ["backend"]).healthy
    assert not judge([replace(once, exit_code=1)], ["backend"]).healthy
    assert not judge([replace(once, restart_policy="always")], ["backend"]).healthy


def test_compose_config() -> None:
    text = json.dumps(
        {
            "name": "production",
            "services": {
                "backend": {"image": "ghcr.io/x/backend:1"},
                "once": {"image": "busybox", "deploy": {"replicas": 0}},
                "many": {"image": "busybox", "deploy": {"resources": {}}, "scale": 2},
            },
        }
    )
    found = compose.parse_config(text)
    assert (found.name, found.images) == ("production", {"backend": "ghcr.io/x/backend:1", "many": "busybox"})
    assert sorted(found.services) == ["backend", "many"]
    with pytest.raises(ValueError, match="no image for backend"):
        compose.parse_config('{"name": "x", "services": {"backend": {"build": "."}}}')


@pytest.mark.parametrize(("depth", "good"), [(99, True), (100, False), (900, False), (100_000, False)])
def test_what_is_nested_without_end_is_a_wrong_compose_file(depth: int, *, good: bool) -> None:
    text = f'{{"name": "x", "services": {{"a": {{"image": "b"}}}}, "x-deep": {"[" * depth}{"]" * depth}}}'
    if good:
        assert compose.parse_config(text).images == {"a": "b"}
    else:
        with pytest.raises(ValueError, match="more than 100 lists and mappings in one another"):
            compose.parse_config(text)


@pytest.mark.parametrize("services", ["{}", '{"backend": {"image": "x", "scale": 0}}'])
def test_nothing_at_all_is_no_version_to_go_to(services: str) -> None:
    with pytest.raises(ValueError, match="no service that should have a container"):
        compose.parse_config(f'{{"name": "x", "services": {services}}}')


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("postgres:15", "postgres"),
        ("ghcr.io/x/backend:main-1", "ghcr.io/x/backend"),
        ("ghcr.io/x/backend@sha256:12", "ghcr.io/x/backend"),
        ("localhost:5000/backend", "localhost:5000/backend"),
        ("localhost:5000/backend:1@sha256:12", "localhost:5000/backend"),
    ],
)
def test_repository_name(ref: str, name: str) -> None:
    assert engine.repository_name(ref) == name


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        ("manifest for ghcr.io/x/backend:main-1 not found: manifest unknown: manifest unknown", True),
        ("ghcr.io/x/backend:main-1: not found", True),
        ("pull access denied for x, repository does not exist or may require 'docker login'", True),
        ("error from registry: denied", True),
        ('Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io on 10.0.0.3:53: no such host', False),
        ('Get "https://ghcr.io/v2/": dial tcp 10.0.0.3:443: connect: connection refused', False),
        ("net/http: request canceled (Client.Timeout exceeded while awaiting headers)", False),
        ("no space left on device", False),
        ("permission denied while trying to connect to the docker API at unix:///var/run/docker.sock", False),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", False),
    ],
)
def test_an_image_that_is_not_built_is_told_from_a_registry_that_is_not_there(error: str, missing: bool) -> None:
    assert complaints.not_built_yet(error) is missing


@pytest.mark.parametrize(
    ("error", "servers"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", True),
        ("failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct", True),
        ("permission denied while trying to connect to the docker API at unix:///var/run/docker.sock", True),
        ("failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device", True),
        ("failed to create task: fork/exec /usr/bin/containerd-shim: cannot allocate memory", True),
        ('error during connect: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.45/x": connection reset by peer', True),
        ("dependency failed to start: container koprogo-backend is unhealthy", False),
        ("Bind for 0.0.0.0:443 failed: port is already allocated", False),
        ('OCI runtime create failed: exec: "./backend": stat ./backend: no such file or directory', False),
        ("error from registry: denied", False),
    ],
)
def test_what_is_the_server_s_fault_and_no_commit_s(error: str, servers: bool) -> None:
    assert complaints.servers_fault(error) is servers
