"""Bringing containers to what a compose file asks for, against a Docker of a few lines, cut off wherever it can be."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from koprogo.deploys import rollout, switch, wanted
from koprogo.deploys.gate import Before
from koprogo.docker import engine, routing
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.docker.engine import ImageHere, memory_used
from koprogo.problem import Problem
from koprogo.runner import Result
from koprogo.state import Attempt, Step
from test_koprogo_deploy import Answering

ROUTED = {"traefik.http.routers.{0}.rule": "Host(`{0}.test`)"}


class Cut(BaseException):
    """The program is killed."""


class Docker:
    """Containers in a list. `calls_left` is how many more changes it lets the program live for."""

    def __init__(self) -> None:
        self.containers_now: list[Container] = []
        self.calls_left = 1000
        self.graces: dict[str, int | None] = {}
        """Service → how long its container had to end, the last time that it was replaced in place."""
        self.least: dict[str, int] = {}
        """Service → the fewest containers of it that were ever up since it had one."""
        self.most = 0
        """The most containers that ever had the volume `data` at once."""

    def containers(self, project: str) -> list[Container]:
        """As they are."""
        assert project == "koprogo"
        return list(self.containers_now)

    def image(self, ref: str) -> ImageHere:
        """An image is its name, and has no health check of its own."""
        return ImageHere(f"id of {ref}", {})

    def memory(self, container: str) -> int:
        """All take as much."""
        assert container
        return 100 * 2**20

    def up(
        self,
        config: Mapping[str, Any],
        *services: str,
        env_file: Path,
        timeout: float,
        beside: int = 0,
        grace: int | None = None,
    ) -> None:
        """As Compose does it."""
        assert timeout
        assert env_file == Path("/app/.env")
        for service in services or config["services"]:
            spec = config["services"][service]
            mine = [c for c in self.containers_now if c.service == service]
            if beside:
                for number in range(len(mine), beside):
                    self._made(service, spec, f"koprogo-{service}-{number + 1}")
            elif not mine or mine[0].release != spec["labels"]["koprogo.release"]:
                self.graces |= {service: grace} if mine else {}
                self._change([c for c in self.containers_now if c.service != service])
                self._made(service, spec, spec.get("container_name", f"koprogo-{service}-1"))

    def remove(self, container: str, *, grace: int) -> None:
        """Stop and remove."""
        assert grace in (0, rollout.GRACE)
        self._change([c for c in self.containers_now if c.id != container])

    def rename(self, container: str, name: str) -> None:
        """Give another name."""
        assert name not in [c.name for c in self.containers_now]
        self._change([replace(c, name=name) if c.id == container else c for c in self.containers_now])

    def _made(self, service: str, spec: Mapping[str, Any], name: str) -> None:
        labels = spec["labels"]
        generation = labels.get("koprogo.generation", "0")
        routers = {router.removesuffix(f"-{generation}") for router in routing.routers_of(labels)}
        volumes = {f"volume {volume['source']}" for volume in spec.get("volumes", ())}
        made = Container(
            f"{service}{labels['koprogo.release']}", name, service, spec["image"], "", "running", "healthy", 0, 0, "t",
            "always", "", labels["koprogo.release"], int(generation),
            holds=frozenset({f"name {name}", *volumes, *(f"router {router}" for router in routers)}),
        )  # fmt: skip
        self._change([*self.containers_now, made])

    def _change(self, containers: list[Container]) -> None:
        if not self.calls_left:
            raise Cut
        self.calls_left -= 1
        self.containers_now = containers
        self.most = max(self.most, sum("volume data" in c.holds for c in containers))
        for service in {c.service for c in containers} | set(self.least):
            there = sum(c.service == service for c in containers)
            self.least[service] = min(self.least.get(service, there), there)


class Gate:
    """Everything is healthy, and Traefik asks the highest generation."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self.sick: set[str] = set()

    def wait_for(self, _: str, services: Collection[str], __: object, only: str | None = None) -> str | None:
        """Say what is sick."""
        mine = [c for c in self.docker.containers_now if c.service in services and only in (None, c.id)]
        return next((f"{c.service}: unhealthy" for c in mine if c.image_ref in self.sick), None)

    def addresses_of(self, hosts: Collection[str]) -> list[str]:
        """Each name is asked."""
        return sorted(hosts)

    def generations(self, urls: list[str]) -> list[int | None]:
        """The highest that is up."""
        names = [url.removesuffix(".test") for url in urls]
        return [max(c.generation for c in self.docker.containers_now if f"router {name}" in c.holds) for name in names]


class Bench:
    """One server."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(env_file=Path("/app/.env"))
        self.docker = Docker()
        self.gate = Gate(self.docker)
        self.attempt = Attempt("c", Step.SWITCHING, 1.0)
        self.steps: list[tuple[str, str]] = []

    def reached(self, step: Step, service: str) -> None:
        """Remember."""
        self.steps.append((step.value, service))

    def roll(self, project: Project) -> str | None:
        """What the program does."""
        return rollout.roll(self, project)  # type: ignore[arg-type] # as much of Work as it needs

    def run(self) -> dict[str, str]:
        """Name → image of what is there."""
        return {c.name: c.image_ref for c in self.docker.containers_now}


def project(version: int, *, database: int = 1, frontend: bool = True) -> Project:
    def spec(name: str, image: str, routed: bool) -> dict[str, Any]:
        labels = {key.format(name): text.format(name) for key, text in ROUTED.items()} if routed else {}
        health = {"test": ["CMD", "true"]}
        return {"image": image, "container_name": f"app-{name}", "labels": labels, "healthcheck": health}

    services = {
        "postgres": spec("postgres", f"postgres:{database}", False),
        "backend": spec("backend", f"backend:{version}", True) | {"depends_on": {"postgres": {}}},
    }
    if frontend:
        services["frontend"] = spec("frontend", f"frontend:{version}", True) | {"depends_on": {"backend": {}}}
    images = {name: str(each["image"]) for name, each in services.items()}
    return Project("koprogo", images, {"name": "koprogo", "services": services})


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None))


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    assert made.roll(project(1)) is None
    made.steps.clear()
    return made


NEW = {"app-postgres": "postgres:1", "app-backend": "backend:2", "app-frontend": "frontend:2"}


def test_the_first_start(bench: Bench) -> None:
    assert bench.run() == {"app-postgres": "postgres:1", "app-backend": "backend:1", "app-frontend": "frontend:1"}


def test_a_second_time_nothing_is_touched(bench: Bench) -> None:
    bench.docker.calls_left = 0
    assert bench.roll(project(1)) is None
    assert bench.steps == []


def test_a_new_version_takes_over_service_by_service_and_the_database_is_left(bench: Bench) -> None:
    assert bench.roll(project(2)) is None
    assert bench.run() == NEW
    steps = ["started", "healthy", "switched", "drained"]
    assert bench.steps == [*((s, "backend") for s in steps), *((s, "frontend") for s in steps)]
    assert bench.docker.least == {"postgres": 1, "backend": 1, "frontend": 1}
    assert {c.generation for c in bench.docker.containers_now} == {0, 2}


def test_a_changed_database_is_replaced_in_place_before_those_that_need_it(bench: Bench) -> None:
    assert bench.roll(project(2, database=2)) is None
    assert bench.run() == NEW | {"app-postgres": "postgres:2"}
    assert bench.steps[0] == ("started", "postgres")
    assert bench.docker.least["postgres"] == 0


def test_only_the_web_s_ports_are_not_waited_for(bench: Bench) -> None:
    def with_door(version: int, **more: object) -> Project:
        found = project(1, database=version)
        image, ports = f"traefik:{version}", [{"target": 443, "published": "443"}]
        spec = {"image": image, "ports": ports, "labels": {}, **more}
        services = {**found.config["services"], "traefik": spec}
        return Project("koprogo", {**found.images, "traefik": image}, {"name": "koprogo", "services": services})

    bench.roll(with_door(1))
    assert bench.roll(with_door(2)) is None
    assert bench.docker.graces == {"postgres": None, "traefik": 3}
    assert bench.roll(with_door(3, stop_grace_period="20s")) is None
    assert bench.docker.graces == {"postgres": None, "traefik": None}


def test_what_the_compose_file_has_no_more_goes_last(bench: Bench) -> None:
    assert bench.roll(project(2, frontend=False)) is None
    assert sorted(bench.run()) == ["app-backend", "app-postgres"]


def renamed(version: int, *names: str) -> Project:
    """With these services called otherwise, and all else the same; the database has a volume."""
    found = project(version)
    called = {name: f"new-{name}" if name in names else name for name in found.images}
    services: dict[str, Any] = {called[name]: {**spec} for name, spec in found.services.items()}
    services[called["postgres"]]["volumes"] = [{"type": "volume", "source": "data", "target": "/data"}]
    images = {called[name]: image for name, image in found.images.items()}
    return Project("koprogo", images, {"name": "koprogo", "services": services})


@pytest.mark.parametrize("version", [1, 2])
def test_a_service_that_is_renamed_takes_over_from_itself_wherever_it_is_cut_off(version: int) -> None:
    for cut in range(100):
        bench = Bench()
        bench.roll(renamed(1))
        bench.docker.calls_left, bench.docker.most = cut, 0
        try:
            bench.roll(renamed(version, "frontend", "postgres"))
        except Cut:
            done = False
        else:
            done = True
        bench.docker.calls_left = 1000
        assert any(c.name.startswith(("app-frontend", "koprogo-new-frontend")) for c in bench.docker.containers_now)
        assert bench.roll(renamed(version, "frontend", "postgres")) is None
        assert bench.run() == {
            "app-postgres": "postgres:1", "app-backend": f"backend:{version}", "app-frontend": f"frontend:{version}"
        }  # fmt: skip
        assert {c.service for c in bench.docker.containers_now} == {"new-postgres", "backend", "new-frontend"}
        # And back again.
        assert bench.roll(renamed(1)) is None
        assert bench.run() == {"app-postgres": "postgres:1", "app-backend": "backend:1", "app-frontend": "frontend:1"}
        assert bench.docker.most == 1
        if done:
            break
    assert cut > 5


def test_one_that_does_not_become_healthy_ends_it_and_the_old_one_stays(bench: Bench) -> None:
    bench.gate.sick = {"backend:2"}
    assert bench.roll(project(2)) == "backend: unhealthy"
    assert {c.image_ref for c in bench.docker.containers_now if c.service == "backend"} == {"backend:1", "backend:2"}
    assert bench.run()["app-frontend"] == "frontend:1"
    assert bench.roll(project(1)) is None
    assert bench.run() == {"app-postgres": "postgres:1", "app-backend": "backend:1", "app-frontend": "frontend:1"}
    assert bench.docker.least["backend"] == 1


def test_traefik_that_does_not_take_it_up_ends_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.gate, "generations", lambda urls: [1] * len(urls))
    monkeypatch.setattr(rollout, "SWITCH_PATIENCE", 0.0)
    said = bench.roll(project(2))
    assert said == "backend: it is healthy, and Traefik has not passed it a request within 0 s"


def test_cut_off_anywhere_the_next_run_completes_it_and_no_service_is_ever_without_a_container() -> None:
    for cut in range(100):
        bench = Bench()
        bench.roll(project(1))
        bench.docker.calls_left = cut
        try:
            bench.roll(project(2))
        except Cut:
            bench.docker.calls_left = 1000
            assert bench.roll(project(2)) is None
            assert bench.run() == NEW
            assert bench.docker.least == {"postgres": 1, "backend": 1, "frontend": 1}
        else:
            assert cut == 6  # start, remove and rename, of two services
            return


def test_cut_off_anywhere_the_way_back_is_as_safe() -> None:
    for cut in range(6):
        bench = Bench()
        bench.roll(project(1))
        bench.docker.calls_left = cut
        with pytest.raises(Cut):
            bench.roll(project(2))
        bench.docker.calls_left = 1000
        assert bench.roll(project(1)) is None
        assert bench.run() == {"app-postgres": "postgres:1", "app-backend": "backend:1", "app-frontend": "frontend:1"}
        assert bench.docker.least["backend"] == 1


def test_several_of_one_service_are_left_alone_when_all_of_them_are_there(bench: Bench) -> None:
    (target,) = [one for one in wanted.targets(bench, project(1)) if one.service == "postgres"]  # type: ignore[arg-type]
    twice = replace(target, spec={**target.spec, "scale": 2})
    (one,) = [c for c in bench.docker.containers_now if c.service == "postgres"]
    assert target.is_met_by([one])
    assert not twice.is_met_by([one])
    assert twice.is_met_by([one, replace(one, id="2", name="koprogo-postgres-2")])
    assert not twice.is_met_by([one, replace(one, id="2", release="other")])
    assert not target.is_met_by([replace(one, name="koprogo-postgres-2")])
    unnamed = replace(target, spec={key: value for key, value in target.spec.items() if key != "container_name"})
    assert unnamed.is_met_by([replace(one, name="koprogo-postgres-2")])


def test_a_dead_container_of_a_run_that_was_cut_off_is_made_again(bench: Bench) -> None:
    bench.docker.calls_left = 1
    with pytest.raises(Cut):
        bench.roll(project(2))
    bench.docker.calls_left = 1000
    now = bench.docker.containers_now
    bench.docker.containers_now = [
        replace(c, status="exited", exit_code=1) if c.image_ref[-1] == "2" else c for c in now
    ]
    assert bench.roll(project(2)) is None
    assert bench.run() == NEW


def test_traefik_that_does_not_run_is_started_before_anything_needs_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_door(version: int) -> Project:
        found = project(version)
        spec = {"image": "traefik:3", "ports": [{"target": 443, "published": "443"}], "labels": {}}
        services = {**found.config["services"], "traefik": spec}
        return Project("koprogo", {**found.images, "traefik": "traefik:3"}, {"name": "koprogo", "services": services})

    bench.roll(with_door(1))
    assert bench.roll(with_door(2)) is None
    assert [service for _, service in bench.steps][:2] == ["traefik", "backend"]
    bench.steps.clear()
    now = bench.docker.containers_now
    bench.docker.containers_now = [replace(c, status="exited") if c.service == "traefik" else c for c in now]
    capsys.readouterr()
    assert bench.roll(with_door(3)) is None
    assert [service for _, service in bench.steps][:2] == ["traefik", "backend"]
    assert "Started traefik (0.0 s)." in capsys.readouterr().out


def test_what_was_ill_before_and_is_left_as_it_is_stops_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    now = bench.docker.containers_now
    bench.docker.containers_now = [replace(c, status="exited") if c.service == "postgres" else c for c in now]
    bench.gate.sick = {"postgres:1"}
    assert bench.roll(project(2)) == "postgres: unhealthy"
    bench.attempt = replace(bench.attempt, ailing={"postgres": True})
    assert bench.roll(project(2)) is None
    assert {"postgres": bench.run()["app-postgres"], "backend": bench.run()["app-backend"]} == {
        "postgres": "postgres:1", "backend": "backend:2"}  # fmt: skip
    assert "postgres: unhealthy: not well before either, and left as it is." in capsys.readouterr().out


def test_of_what_is_ill_it_is_noted_whether_a_commit_changes_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Before((), (), ("postgres", "backend"))
    assert switch._ailing(bench, project(2), before) == {"postgres": True, "backend": False}  # type: ignore[arg-type] # as above
    assert "postgres: not well before, and not changed by this deploy: not looked at." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (1, "Cannot connect to the Docker daemon at x", "docker compose up: Cannot connect to the Docker daemon at x."),
        (1, "write /var/lib/docker/x: no space left on device", "docker compose up: write /var/lib/docker/x: no space"),
        (125, "unknown flag: --env-file\n\nRun 'docker --help' for more information", "its plugin is gone"),
        (1, "OCI runtime create failed: no such file or directory", None),
    ],
)
def test_docker_s_own_failures_are_no_verdict_on_a_version(code: int, error: str, said: str | None) -> None:
    docker = engine.Docker(Answering(Result(code, "", error)))
    if said is None:
        assert docker.up({}, env_file=Path("/app/.env"), timeout=1) == error
        return
    with pytest.raises(Problem, match=said):
        docker.up({}, env_file=Path("/app/.env"), timeout=1)


def test_what_compose_complains_about_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.docker, "up", lambda *_, **__: "OCI runtime create failed: no such file or directory")
    assert bench.roll(project(2)) == "backend: docker compose up: OCI runtime create failed: no such file or directory"


def test_without_room_for_a_second_one_nothing_is_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "available_memory", lambda: 120 * 2**20)
    with pytest.raises(Problem, match="A second backend beside the present one takes 148 MB of memory, and 120 MB are"):
        wanted.require_memory(bench, project(2))  # type: ignore[arg-type] # as much of Work as it needs
    wanted.require_memory(bench, project(1, database=2))  # type: ignore[arg-type] # as much of Work as it needs


def test_another_form_of_the_data_is_named(bench: Bench) -> None:
    other = project(2)
    other.config["services"]["backend"]["labels"]["koprogo.schema"] = "4"
    assert wanted.new_schema(bench, other) == "backend none → 4"  # type: ignore[arg-type] # as above
    assert wanted.new_schema(bench, project(2)) == ""  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    ("text", "amount"),
    [("12.5MiB / 384MiB", 13107200), ("1GiB / 2GiB", 2**30), ("512B / 1MiB", 512), ("", 0)],
)
def test_memory_of_docker_stats(text: str, amount: int) -> None:
    assert memory_used(text) == amount
