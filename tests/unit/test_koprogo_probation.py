"""What a version that went live goes through for ten minutes, and when it has to go."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest
from koprogo import history
from koprogo.config import Config
from koprogo.deploys import gate, operate, work
from koprogo.docker.containers import Container
from koprogo.docker.engine import Docker
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import Attempt, Deployed, Image, Probation, State, Store
from koprogo.web import Answer
from koprogo_bench import Bench, Cut, told

Turn = Callable[[str], None]


@pytest.fixture
def turn_bad(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Turn:
    """Lets a commit's health turn bad."""
    bad: set[str] = set()

    def still(_: gate.Gate, running: Deployed, __: Probation) -> str | None:
        return "backend: unhealthy" if running.commit in bad else None

    monkeypatch.setattr(gate.Gate, "still", still)
    assert bench.state.probation is None
    return bad.add


def entries(bench: Bench) -> list[tuple[str, str, str]]:
    """What the history has of what came after the first three."""
    return told(history.read(bench.config.state_dir))[3:]


def images(bench: Bench, commit: str) -> list[str]:
    return [bench.image(f"x/backend:main-{commit[:7]}"), "i-postgres"]


def test_one_whose_health_turns_bad_is_undone_as_if_it_had_never_been_good(
    bench: Bench, turn_bad: Turn, capsys: pytest.CaptureFixture[str]
) -> None:
    third, (fourth,) = bench.third, bench.deploys("Fourth")
    bench.calls()
    assert bench.check() == 0
    capsys.readouterr()
    turn_bad(fourth)
    assert bench.check() == 1
    went, back = [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()]
    assert went == (
        f"{fourth[:7]} went live 0 minutes ago and is not healthy any more: backend: unhealthy. Going back to "
        f"{third[:7]}. Its logs: {bench.config.state_dir}/failed.log"
    )
    assert back == (
        f"{fourth[:7]} was rolled back: {third[:7]} (main-{third[:7]}) runs again and is healthy. {fourth[:7]} is not "
        f"tried again: push a newer commit, or `koprogo retry`."
    )
    assert (bench.running_commit(), bench.running()) == (third, images(bench, third))
    assert entries(bench) == [("Fourth", "deployed", "timer"), ("Fourth", "undone", "timer")]
    assert "line of logs --tail 200" in (bench.config.state_dir / "failed.log").read_text()
    bench.calls()
    assert bench.check() == 0
    assert (bench.calls(), capsys.readouterr().err) == ([], "")
    assert [bad.commit for bad in bench.state.quarantine] == [fourth]
    (fifth,) = bench.deploys("Fifth")
    assert (bench.running_commit(), bench.state.quarantine) == (fifth, ())


@pytest.mark.parametrize("saves", range(8))
def test_killed_at_any_moment_it_is_undone_in_the_end_and_told_once(
    bench: Bench, turn_bad: Turn, saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fourth,) = bench.deploys("Fourth")
    turn_bad(fourth)
    save, left = work.Store.save, [saves]

    def cut(store: Store, state: State) -> None:
        if not left[0]:
            raise Cut
        left[0] -= 1
        save(store, state)

    with monkeypatch.context() as killed:
        killed.setattr(work.Store, "save", cut)
        try:
            bench.check()
        except Cut:
            assert saves < 7
        else:
            assert saves >= 5
    bench.check()
    bench.check()
    assert (bench.running_commit(), bench.running()) == (bench.third, images(bench, bench.third))
    assert entries(bench) == [("Fourth", "deployed", "timer"), ("Fourth", "undone", "timer")]
    assert [bad.commit for bad in bench.state.quarantine] == [fourth]
    assert (bench.state.attempt, bench.state.probation) == (None, None)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock go ahead or back."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


def test_after_ten_minutes_docker_is_asked_no_more(
    bench: Bench, turn_bad: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fourth,) = bench.deploys("Fourth")
    turn_bad(fourth)
    later(monkeypatch, 601)
    bench.calls()
    assert bench.check() == 0
    assert (bench.calls(), bench.running_commit(), bench.state.probation) == ([], fourth, None)


def test_a_clock_set_back_a_year_does_not_make_it_a_year_longer(
    bench: Bench, turn_bad: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fourth,) = bench.deploys("Fourth")
    with monkeypatch.context() as back:
        later(back, -365 * 86400)
        assert bench.check() == 0
        later(back, 595)
        assert bench.check() == 0
        assert bench.state.probation is not None
        later(back, 10)
        assert bench.check() == 0
        assert bench.state.probation is None
    turn_bad(fourth)
    assert bench.check() == 0


@pytest.mark.parametrize("jump", [365 * 86400, -56 * 365 * 86400])
def test_a_clock_that_jumps_and_comes_back_leaves_it_its_time(
    bench: Bench, turn_bad: Turn, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fourth,) = bench.deploys("Fourth")
    with monkeypatch.context() as away:
        later(away, jump)
        assert bench.check() == 0
    assert bench.check() == 0
    assert bench.state.probation is not None
    assert abs(bench.state.probation.since - time.time()) < 60
    turn_bad(fourth)
    assert bench.check() == 1
    assert bench.running_commit() == bench.third


def test_a_clock_set_back_does_not_tell_that_it_went_live_in_the_future(
    bench: Bench, turn_bad: Turn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (fourth,) = bench.deploys("Fourth")
    turn_bad(fourth)
    later(monkeypatch, -365 * 86400)
    assert bench.check() == 1
    assert "went live 0 minutes ago" in capsys.readouterr().err


def test_a_pause_interrupts_it(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    operate.pause(bench.config, "I am looking at it")
    turn_bad(fourth)
    assert bench.check() == 0
    assert bench.running_commit() == fourth
    operate.resume(bench.config)
    assert bench.check() == 1
    assert bench.running_commit() == bench.third


def test_what_somebody_went_back_to_stays(bench: Bench, turn_bad: Turn) -> None:
    bench.deploys("Fourth")
    assert operate.go_back(bench.config, "", data_restored=False) == 0
    assert bench.state.probation is None
    turn_bad(bench.third)
    assert bench.check() == 0
    assert bench.running_commit() == bench.third


def test_other_settings_end_it_and_the_same_do_not(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    before = bench.state.probation
    assert before is not None
    assert bench.check(asked=True) == 0
    assert bench.state.probation == before
    bench.config.env_file.write_text("DB_POOL=nonsense\n")
    assert bench.check(asked=True) == 0
    assert bench.state.probation is None
    turn_bad(fourth)
    assert bench.check() == 0
    assert bench.running_commit() == fourth


def test_settings_that_fail_are_not_the_commit_s_fault(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    bench.config.env_file.write_text("DB_POOL=nonsense\n")
    bench.sick = {fourth}
    turn_bad(fourth)
    operate.pause(bench.config, "settings")
    assert bench.check(asked=True) == 1
    operate.resume(bench.config)
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.quarantine) == (fourth, ())


def test_a_newer_commit_that_fails_ends_it(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    bench.sick = {bench.push("Sick")}
    assert bench.check() == 1
    turn_bad(fourth)
    assert bench.check() == 0
    assert bench.running_commit() == fourth


def test_while_a_newer_commit_waits_for_its_images_it_goes_on(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    registry = bench.docker / "images" / "registry"
    registry.touch()
    fifth = bench.push("Fifth")
    assert bench.check() == 0
    turn_bad(fourth)
    assert bench.check() == 1
    assert bench.running_commit() == bench.third
    registry.unlink()
    assert bench.check() == 0
    assert bench.running_commit() == fifth
    assert entries(bench) == [
        ("Fourth", "deployed", "timer"),
        ("Fourth", "undone", "timer"),
        ("Fifth", "deployed", "timer"),
    ]


def test_git_that_is_down_does_not_keep_it_from_going_back(
    bench: Bench, turn_bad: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fourth,) = bench.deploys("Fourth")
    monkeypatch.setattr(bench, "config", replace(bench.config, repository="/nowhere"))
    turn_bad(fourth)
    assert bench.check() == 1
    assert bench.running_commit() == bench.third


def test_without_one_that_was_well_before_there_is_none(bench: Bench) -> None:
    found = json.loads((bench.docker / "containers").read_text())
    found[0]["State"] |= {"Status": "exited", "ExitCode": 1}
    (bench.docker / "containers").write_text(json.dumps(found))
    bench.deploys("Fourth")
    assert bench.state.probation is None


def test_the_first_version_has_nothing_to_go_back_to(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Bench(tmp_path_factory.mktemp("new"), monkeypatch)
    assert new.check() == 0
    assert (new.running_commit(), new.state.probation) == (new.first, None)


def changed_data_and_bad(bench: Bench, turn_bad: Turn) -> str:
    """Deploy a commit that changes the data, and whose health turns bad."""
    fourth = bench.push("Fourth", schema="2")
    assert bench.check() == 0
    turn_bad(fourth)
    assert bench.check() == 1
    return fourth


def test_one_that_changed_the_data_is_left_as_it_is(
    bench: Bench, turn_bad: Turn, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = changed_data_and_bad(bench, turn_bad)
    expected = f"{fourth[:7]} is not healthy: backend: unhealthy. It changes the data (backend none → 2), so nothing"
    assert capsys.readouterr().err.count(expected) == 1
    assert bench.running() == images(bench, fourth)
    assert entries(bench) == [("Fourth", "deployed", "timer"), ("Fourth", "failed", "timer")]
    assert bench.check() == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(Problem, match=rf"{bench.third[:7]} works on data of another form \(backend 2 → none\)"):
        operate.go_back(bench.config, "", data_restored=False)
    assert operate.go_back(bench.config, "", data_restored=True) == 0
    assert (bench.running_commit(), bench.running()) == (bench.third, images(bench, bench.third))


def test_old_code_is_not_started_on_changed_data_by_a_person_s_deploy(
    bench: Bench, turn_bad: Turn, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = changed_data_and_bad(bench, turn_bad)
    assert bench.check(asked=True) == 1
    assert capsys.readouterr().err.endswith(
        f"What stands here now works on data of another form than {bench.third[:7]}, the last version that was healthy "
        f"(backend 2 → none): it is not started on that. Push a commit that mends it; or restore the dump of before, "
        f"and then: koprogo rollback --data-restored\n"
    )
    assert bench.running() == images(bench, fourth)
    assert bench.state.attempt is None


def test_nor_by_a_newer_commit_that_fails_on_it(
    bench: Bench, turn_bad: Turn, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_data_and_bad(bench, turn_bad)
    fifth = bench.push("Fifth", schema="2")
    bench.sick = {fifth}
    assert bench.check() == 1
    assert f"{fifth[:7]} is not healthy: backend: unhealthy. It changes the data (backend none → 2)" in (
        capsys.readouterr().err
    )
    assert bench.running() == images(bench, fifth)
    assert entries(bench)[-1] == ("Fifth", "failed", "timer")
    sixth = bench.push("Sixth", schema="2")
    assert bench.check() == 0
    assert bench.running_commit() == sixth


def container(service: str, **changes: object) -> Container:
    made = Container(f"c-{service}", service, service, "x", "i", "running", "healthy", 0, 0, "at 1", "always", "")
    return replace(made, **changes)  # type: ignore[arg-type] # by name


RUNNING = Deployed("b" * 40, "t", 1.0, "h", "p", {"postgres": Image("p", "i", None), "backend": Image("b", "i", None)})
SINCE = Probation(1.0, RUNNING, {"c-postgres": 1, "c-backend": 0}, {"postgres": "at 1"})
WELL = {"postgres": container("postgres", restarts=1), "backend": container("backend")}
URL = "https://api.koprogo.test/"


def verdict(
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    looks: list[Mapping[str, Container]],
    answer: Answer = Answer(URL, None),  # noqa: B008 - frozen
) -> tuple[str | None, float]:
    """What the gate says where each look, two seconds after the one before, shows this; and how long it looked."""
    clock, left = [0.0], list(looks)

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    monkeypatch.setattr(gate.Gate, "_ask", lambda *_: (answer,))
    docker = Docker(Runner())
    monkeypatch.setattr(docker, "containers", lambda _: list((left.pop(0) if len(left) > 1 else left[0]).values()))
    return gate.Gate(config, docker).still(RUNNING, SINCE), clock[0]


SICK = WELL | {"backend": container("backend", health="unhealthy")}
GONE = WELL | {"backend": container("backend", status="exited", exit_code=137)}
FLAPPING = WELL | {"backend": container("backend", restarts=3)}
NO_DATABASE = SICK | {"postgres": container("postgres", status="restarting", restarts=1)}
DATABASE_WAS_AWAY = FLAPPING | {"postgres": container("postgres", restarts=2, started="at 2")}


@pytest.mark.parametrize(
    ("looks", "answer", "expected"),
    [
        ([WELL], Answer(URL, None), (None, 0)),
        ([SICK], Answer(URL, None), ("backend: unhealthy", 16)),
        ([SICK, SICK, WELL], Answer(URL, None), (None, 4)),
        ([GONE], Answer(URL, None), ("backend: exited with 137", 300)),
        ([GONE, GONE, WELL], Answer(URL, None), (None, 4)),
        ([FLAPPING], Answer(URL, None), ("backend: restarted 3 times", 16)),
        ([NO_DATABASE], Answer(URL, None), (None, 0)),
        ([SICK, SICK, NO_DATABASE], Answer(URL, None), (None, 4)),
        ([DATABASE_WAS_AWAY], Answer(URL, None), (None, 0)),
        ([WELL], Answer(URL, "HTTP 500"), (f"{URL}: HTTP 500", 60)),
        ([WELL], Answer(URL, "certificate: expired", certificate_trouble=True), (None, 0)),
    ],
)
def test_what_is_a_version_s_fault(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    looks: list[Mapping[str, Container]],
    answer: Answer,
    expected: tuple[str | None, float],
) -> None:
    assert verdict(bench.config, monkeypatch, looks, answer) == expected


def test_docker_that_does_not_answer_is_nobody_s_fault(bench: Bench) -> None:
    (bench.programs / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert gate.Gate(bench.config, Docker(Runner())).still(RUNNING, SINCE) is None


def test_what_was_known_before_it_went_live_is_known_on_the_way_back(bench: Bench, turn_bad: Turn) -> None:
    (fourth,) = bench.deploys("Fourth")
    assert bench.state.probation
    bench.store.save(replace(bench.state, probation=replace(bench.state.probation, lenient=(URL,), dump="/d")))
    seen: list[Attempt | None] = []
    bench.while_rolling = lambda: seen.append(bench.state.attempt)
    turn_bad(fourth)
    assert bench.check() == 1
    assert [(attempt.commit, attempt.lenient, attempt.dump) for attempt in seen if attempt] == [(fourth, (URL,), "/d")]


def test_the_state_keeps_it(bench: Bench) -> None:
    probation = replace(SINCE, lenient=(URL,), schema="backend 1 → 2", dump="/d")
    bench.store.save(replace(bench.state, probation=probation))
    assert bench.state.probation == probation
