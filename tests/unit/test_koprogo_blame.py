"""Whose fault it is that a deploy did not come to its end: a commit is given up for its own, never for the server's."""

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from koprogo import history
from koprogo.backups import space
from koprogo.deploys import decide, gate
from koprogo.docker.compose import Project
from koprogo.docker.containers import Container
from koprogo.docker.engine import Docker
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Attempt, Deployed, Image, Step
from koprogo_bench import Bench, Cut, told


def entries(bench: Bench) -> list[tuple[str, str, str]]:
    """What the history has of what came after the first three."""
    return told(history.read(bench.config.state_dir))[3:]


def failing(times: int, error: BaseException, after: int = 0) -> Callable[[], None]:
    """Something that goes wrong so many times, once it went well `after` times."""
    left = [times, after]

    def go_wrong() -> None:
        if left[1]:
            left[1] -= 1
        elif left[0]:
            left[0] -= 1
            raise error

    return go_wrong


DOWN = Problem("docker ps: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")


def test_docker_that_is_down_for_an_hour_costs_a_commit_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = bench.push("Fourth")
    bench.while_rolling = failing(20, DOWN)
    assert [bench.check() for _ in range(20)] == [1] * 20
    assert capsys.readouterr().err.endswith(
        "PROBLEM docker ps: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
        "The next check goes on from here.\n"
    )
    attempt = bench.state.attempt
    assert attempt is not None
    assert (attempt.step, attempt.tries, attempt.counted) == (Step.SWITCHING, 20, 0)
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.quarantine) == (fourth, ())
    assert entries(bench) == [("Fourth", "deployed", "timer")]


def test_a_run_that_is_killed_counts_although_docker_was_down_before(bench: Bench) -> None:
    fourth = bench.push("Fourth")
    bench.while_rolling = failing(5, DOWN)
    assert [bench.check() for _ in range(5)] == [1] * 5
    for _ in range(3):
        bench.while_rolling = failing(1, Cut())
        with pytest.raises(Cut):
            bench.check()
    assert bench.check() == 1
    assert (bench.running_commit(), [bad.commit for bad in bench.state.quarantine]) == (bench.third, [fourth])
    assert bench.state.quarantine[0].reason == "it was interrupted 3 times while it started"


def test_docker_that_is_down_on_the_way_back_does_not_make_it_be_given_up(bench: Bench) -> None:
    fourth = bench.push("Fourth")
    bench.sick = {fourth}
    bench.while_rolling = failing(20, DOWN, after=1)
    assert [bench.check() for _ in range(20)] == [1] * 20
    assert bench.state.attempt is not None
    assert bench.check() == 1
    assert (bench.running_commit(), bench.state.attempt is None) == (bench.third, True)
    assert entries(bench) == [("Fourth", "undone", "timer")]


def test_a_way_back_that_is_given_up_is_a_failure_although_docker_was_down_on_it(bench: Bench) -> None:
    bench.sick = {bench.push("Fourth"), bench.third}
    bench.while_rolling = failing(4, DOWN, after=1)
    assert [bench.check() for _ in range(9)] == [1] * 8 + [0]
    assert entries(bench) == [("Fourth", "failed", "timer")]


@pytest.mark.parametrize(
    ("error", "given_up"),
    [("dial tcp 10.0.0.9:443: connect: connection refused", False), ("manifest unknown", True)],
)
def test_a_way_back_waits_for_a_registry_that_is_down_but_not_for_an_image_that_is_gone(
    bench: Bench, error: str, given_up: bool
) -> None:
    fourth = bench.push("Fourth")
    bench.sick = {fourth}
    for image in (bench.docker / "images").glob(f"*{bench.third[:7]}*"):
        image.unlink()
    script = (bench.programs / "docker").read_text()
    refused = script.replace('case "$*" in', f'case "$*" in\n"pull --quiet x/backend@"*) echo "{error}" >&2; exit 1 ;;')
    (bench.programs / "docker").write_text(refused)
    assert [bench.check() for _ in range(5)] == ([1, 1, 1, 1, 0] if given_up else [1] * 5)
    assert (bench.state.attempt is None) is given_up
    (bench.programs / "docker").write_text(script)
    bench.check()
    assert entries(bench) == [("Fourth", "failed" if given_up else "undone", "timer")]


def test_on_a_full_disk_a_version_that_fails_is_undone_and_tried_again_once_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = bench.push("Fourth")
    bench.sick = {fourth}
    full = ["/ has 3.1 of 20000 MB free, and a deploy wants 1000"]
    with monkeypatch.context() as patch:
        bench.while_rolling = lambda: patch.setattr(space, "shortage", lambda _: full[0])
        assert bench.check() == 1
        went, back = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
        assert went == (
            f"{fourth[:7]} is not healthy: backend: unhealthy ({full[0]}). Going back to {bench.third[:7]}. "
            f"Its logs: {bench.config.state_dir}/failed.log"
        )
        assert back == (
            f"{fourth[:7]} was rolled back: {bench.third[:7]} (main-{bench.third[:7]}) runs again and is healthy. "
            f"{fourth[:7]} is tried again once there is room on the disk."
        )
        bench.calls()
        assert bench.check() == 1
        assert full[0] in capsys.readouterr().err
        assert [call for call in bench.calls() if call.startswith("pull")] == []
        assert (bench.running_commit(), bench.state.quarantine) == (bench.third, ())
    bench.while_rolling, bench.sick = lambda: None, set()
    assert bench.check() == 0
    assert bench.running_commit() == fourth
    assert entries(bench) == [("Fourth", "undone", "timer"), ("Fourth", "deployed", "timer")]


def test_a_full_disk_stops_a_deploy_that_brings_no_image_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.push("Fourth")
    monkeypatch.setattr(decide, "to_pull", lambda *_, **__: [])
    monkeypatch.setattr(space, "shortage", lambda _: "/ has 3.1 of 20000 MB free")
    assert bench.check() == 1
    assert "/ has 3.1 of 20000 MB free. What runs goes on running" in capsys.readouterr().err
    assert bench.check(asked=True) == 1
    assert bench.running_commit() == bench.third


def test_nor_does_a_disk_that_fills_later_take_a_version_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (fourth,) = bench.deploys("Fourth")
    monkeypatch.setattr(gate.Gate, "still", lambda *_: "backend: unhealthy")
    monkeypatch.setattr(space, "shortage", lambda _: "/ has 3.1 of 20000 MB free")
    assert bench.check() == 0
    assert bench.running_commit() == fourth
    monkeypatch.setattr(space, "shortage", lambda _: None)
    assert bench.check() == 1
    assert bench.running_commit() == bench.third


def test_images_are_not_taken_for_gone_while_docker_is_down(bench: Bench) -> None:
    (bench.programs / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon at x.' >&2; exit 1\n")
    with pytest.raises(Problem, match=r"docker image inspect a:1: Cannot connect to the Docker daemon at x\."):
        Docker(Runner()).image_id("a:1")
    (bench.programs / "docker").write_text("#!/bin/sh\necho 'Error response from daemon: No such image' >&2; exit 1\n")
    assert Docker(Runner()).image_id("a:1") is None


def container(service: str, **changes: object) -> Container:
    made = Container(f"c-{service}", service, service, "x", "i", "running", "healthy", 0, 0, "at 1", "always", "", "r")
    return replace(made, **changes)  # type: ignore[arg-type] # by name


def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    sleep = lambda seconds: now.__setitem__(0, now[0] + seconds)  # noqa: E731
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))


@pytest.mark.parametrize("waits", ["wait", "wait_for"])
def test_a_gate_that_docker_does_not_answer_has_no_verdict(
    bench: Bench, waits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    clock(monkeypatch)
    docker = Docker(Runner())
    monkeypatch.setattr(docker, "containers", lambda _: failing(1, DOWN)())
    looking = gate.Gate(bench.config, docker)
    project = Project("production", {"backend": "b"})
    with pytest.raises(Problem, match=r"Cannot connect to the Docker .*sock\."):
        looking.wait(project, {}, ()) if waits == "wait" else looking.wait_for("production", {"backend"}, {})


def test_a_container_that_somebody_removes_says_nothing_about_its_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch)
    docker = Docker(Runner())
    looks = [[container("backend", health="starting")], [container("backend", id="c-old")]]
    monkeypatch.setattr(docker, "containers", lambda _: looks.pop(0))
    with pytest.raises(Problem, match=r"The new container of backend was removed by somebody\."):
        gate.Gate(bench.config, docker).wait_for("p", {"backend"}, {}, only="c-backend")


def test_what_was_ill_before_and_is_left_as_it_is_does_not_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    clock(monkeypatch)
    docker = Docker(Runner())
    there = [container("backend"), container("monitoring", health="unhealthy", last_output="out of memory")]
    monkeypatch.setattr(docker, "containers", lambda _: there)
    monkeypatch.setattr(gate.Gate, "_ask", lambda *_: ())
    looking = gate.Gate(bench.config, docker)
    running = Deployed(
        "b" * 40, "t", 1.0, "h", "p", {name: Image("b", "i", None) for name in ("backend", "monitoring")}
    )
    assert looking.before(running) == gate.Before((), (), ("monitoring",))
    project = Project("p", {"backend": "b", "monitoring": "m"})
    assert looking.wait(project, {}, ()) == "monitoring: unhealthy (out of memory)"
    assert looking.wait(project, {}, (), ("monitoring",)) is None
    assert looking.wait(project, {}, (), ("backend",)) == "monitoring: unhealthy (out of memory)"


def test_going_back_a_version_need_not_be_better_than_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fourth = bench.push("Fourth")
    bench.sick = {fourth}
    spared: list[object] = []
    monkeypatch.setattr(gate.Gate, "wait", lambda *arguments: spared.append(arguments[4]))
    containers = json.loads((bench.docker / "containers").read_text())
    ill = [each for each in containers if each["Id"] == "c-postgres"]
    ill[0]["State"]["Health"] = {"Status": "unhealthy"}
    (bench.docker / "containers").write_text(json.dumps(containers))
    assert bench.check() == 1
    assert spared == [("postgres",)]


def test_what_was_ill_before_is_spared_while_it_stays_the_same_and_on_the_way_back() -> None:
    attempt = Attempt("c", Step.SWITCHING, 1.0, ailing={"monitoring": True, "backend": False})
    assert attempt.spared == ("monitoring",)
    assert replace(attempt, step=Step.ROLLING_BACK).spared == ("monitoring", "backend")
