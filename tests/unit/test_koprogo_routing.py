"""Labels with which two versions of a service stand side by side behind Traefik."""

from typing import Any

import pytest
from koprogo.docker import routing
from koprogo.docker.routing import alone, beside, hosts, in_place, order, priority, release, shared_names

LABELS = {
    "traefik.enable": "true",
    "traefik.http.routers.backend.rule": "Host(`api.koprogo.test`)",
    "traefik.http.routers.backend.entrypoints": "websecure",
    "traefik.http.routers.backend.middlewares": "limit, headers@docker,auth@file",
    "traefik.http.services.backend.loadbalancer.server.port": "8080",
    "traefik.http.middlewares.limit.ratelimit.average": "500",
    "traefik.http.middlewares.headers.headers.framedeny": "true",
}
SPEC: dict[str, Any] = {"image": "x/backend:1", "container_name": "koprogo-backend", "labels": LABELS}


def test_everything_that_a_container_defines_has_a_name_of_its_own() -> None:
    made = beside(SPEC, 7, "abc")
    assert "container_name" not in made
    assert made["labels"] == {
        "traefik.enable": "true",
        "traefik.http.routers.backend-7.rule": "Host(`api.koprogo.test`)",
        "traefik.http.routers.backend-7.entrypoints": "websecure",
        "traefik.http.routers.backend-7.middlewares": "limit-7,headers-7,auth@file,koprogo-7",
        "traefik.http.routers.backend-7.service": "backend-7",
        "traefik.http.routers.backend-7.priority": "24000007",
        "traefik.http.services.backend-7.loadbalancer.server.port": "8080",
        "traefik.http.middlewares.limit-7.ratelimit.average": "500",
        "traefik.http.middlewares.headers-7.headers.framedeny": "true",
        "traefik.http.middlewares.koprogo-7.headers.customresponseheaders.X-Koprogo-Generation": "7",
        "koprogo.release": "abc",
        "koprogo.generation": "7",
    }
    assert SPEC["labels"] is LABELS
    assert len(LABELS) == 7


def test_a_router_that_names_its_service_goes_to_the_one_of_its_own_container() -> None:
    labels = {
        "traefik.http.routers.a.rule": "Host(`a.test`)",
        "traefik.http.routers.a.service": "web",
        "traefik.http.routers.b.rule": "Host(`b.test`)",
        "traefik.http.routers.b.service": "api@internal",
        "traefik.http.services.web.loadbalancer.server.port": "80",
        "traefik.http.services.other.loadbalancer.server.port": "81",
    }
    made = beside({"labels": labels}, 2, "r")["labels"]
    assert made["traefik.http.routers.a-2.service"] == "web-2"
    assert made["traefik.http.routers.b-2.service"] == "api@internal"


def test_a_router_without_any_service_gets_one_by_the_image_s_own_port() -> None:
    made = beside({"labels": {"traefik.http.routers.a.rule": "Host(`a.test`)"}}, 3, "r")["labels"]
    assert made["traefik.http.routers.a-3.service"] == "a-3"
    assert made["traefik.http.services.a-3.loadbalancer.passhostheader"] == "true"
    assert made["traefik.http.routers.a-3.middlewares"] == "koprogo-3"


def test_chains_and_error_pages_refer_to_their_own_container() -> None:
    labels = {
        "traefik.http.routers.a.rule": "Host(`a.test`)",
        "traefik.http.routers.a.middlewares": "all",
        "traefik.http.middlewares.all.chain.middlewares": "limit,errors",
        "traefik.http.middlewares.limit.ratelimit.average": "5",
        "traefik.http.middlewares.errors.errors.service": "a",
        "traefik.http.services.a.loadbalancer.server.port": "80",
    }
    made = beside({"labels": labels}, 4, "r")["labels"]
    assert made["traefik.http.middlewares.all-4.chain.middlewares"] == "limit-4,errors-4"
    assert made["traefik.http.middlewares.errors-4.errors.service"] == "a-4"


def test_what_another_service_refers_to_keeps_its_name_as_well() -> None:
    other = {"labels": {"traefik.http.routers.web.rule": "Host(`w`)", "traefik.http.routers.web.middlewares": "limit"}}
    assert shared_names({"backend": SPEC, "web": other}) == {"limit"}
    made = beside(SPEC, 2, "r", {"limit"})["labels"]
    assert made["traefik.http.middlewares.limit.ratelimit.average"] == "500"
    assert made["traefik.http.middlewares.limit-2.ratelimit.average"] == "500"
    assert "traefik.http.middlewares.headers.headers.framedeny" not in made
    assert beside(other, 2, "r", {"limit"})["labels"]["traefik.http.routers.web-2.middlewares"] == "limit,koprogo-2"


def test_the_newest_generation_wins_and_never_over_a_router_of_higher_rank() -> None:
    longer = {"traefik.http.routers.a.rule": "Host(`x.test`) && PathPrefix(`/api`)"}
    shorter = {"traefik.http.routers.b.rule": "Host(`x.test`)"}
    said = {**shorter, "traefik.http.routers.b.priority": "1000"}
    assert priority(longer, "a", 3) < priority(longer, "a", 4)
    assert priority(longer, "a", 1) > priority(shorter, "b", 999)
    assert priority(said, "b", 1) > priority(longer, "a", 999)
    assert priority(longer, "a", 0) == len("Host(`x.test`) && PathPrefix(`/api`)") * 1_000_000


def test_a_service_that_is_replaced_in_place_keeps_names_and_rank() -> None:
    made = alone(SPEC, "abc")
    assert made["container_name"] == "koprogo-backend"
    assert made["labels"]["traefik.http.routers.backend.priority"] == "24000000"
    assert {k: v for k, v in made["labels"].items() if k in LABELS} == LABELS


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"labels": {}}, "Traefik does not route to it"),
        ({"labels": {"traefik.enable": "true"}}, "Traefik does not route to it"),
        ({"ports": [{"published": "80"}]}, "it publishes ports"),
        ({"network_mode": "host"}, "it has the network of something else"),
        ({"networks": {"a": None, "b": {"ipv4_address": "10.0.0.2"}}}, "it has a fixed address"),
        ({"deploy": {"replicas": 2}}, "it has more than one replica"),
        ({"volumes": [{"type": "volume", "target": "/data"}]}, "it has a volume without a name"),
        ({"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}, None),
    ],
)
def test_what_cannot_run_twice(change: dict[str, Any], why: str | None) -> None:
    assert in_place(SPEC | change, {"Healthcheck": {"Test": ["CMD", "true"]}}) == why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "it has a volume without a name"),
        ({"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}, "it has a volume without a name"),
        ({"volumes": [{"type": "volume", "source": "data", "target": "/data"},
                      {"type": "bind", "source": "/srv", "target": "/cache"}]}, None),
        ({"volumes": [{"type": "bind", "source": "/srv", "target": "/cache"}], "tmpfs": ["/data:size=1m"]}, None),
    ],
)  # fmt: skip
def test_volumes_of_the_image_that_the_compose_file_does_not_name(change: dict[str, Any], why: str | None) -> None:
    image = {"Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/data": {}, "/cache": {}}}
    assert in_place(SPEC | change, image) == why


def test_without_a_health_check_nobody_knows_when_it_is_ready() -> None:
    assert in_place(SPEC, {}) == "it has no health check"


@pytest.mark.parametrize(
    ("own", "image", "there"),
    [
        (None, None, False),
        ({"test": ["CMD", "true"]}, None, True),
        ({"test": ["NONE"]}, {"Test": ["CMD", "true"]}, False),
        ({"disable": True}, {"Test": ["CMD", "true"]}, False),
        (None, {"Test": ["CMD", "true"]}, True),
        ({"interval": "1s"}, {"Test": ["CMD", "true"]}, True),
    ],
)
def test_health_checks(own: Any, image: Any, there: bool) -> None:
    assert routing.has_health_check({"healthcheck": own}, image) is there


def test_a_release_is_a_definition_and_an_image() -> None:
    first = release(SPEC, "sha256:1")
    assert first == release(dict(reversed(SPEC.items())), "sha256:1")
    assert len({first, release(SPEC, "sha256:2"), release({**SPEC, "image": "x/backend:2"}, "sha256:1")}) == 3


def test_hosts() -> None:
    labels = {
        "traefik.http.routers.a.rule": "Host(`A.test`, `b.test`) && PathPrefix(`/x`) || Host(`c.test`)",
        "traefik.http.routers.d.rule": 'Host("d.test")',
        "traefik.http.routers.d.tls.certresolver": "Host(`no.test`)",
    }
    assert hosts({"labels": labels}) == {"a.test", "b.test", "c.test", "d.test"}


def test_order() -> None:
    services: dict[str, Any] = {
        "frontend": {"depends_on": {"backend": {}}},
        "backend": {"depends_on": {"postgres": {}, "gone": {}}},
        "proxy": {"ports": [{"published": "443"}]},
        "postgres": {},
        "ring": {"depends_on": {"ring": {}}},
    }
    assert order(services) == ["postgres", "backend", "frontend", "ring", "proxy"]
