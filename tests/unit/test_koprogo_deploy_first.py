"""A commit that fails on a new server, where nothing ran before it: tried once, then left for a person to look at."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo import history
from koprogo.deploys import deploy, operate
from koprogo.problem import Problem
from koprogo.state import Attempt, Step
from koprogo_bench import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """With a first commit that does not become healthy."""
    made = Bench(tmp_path, monkeypatch)
    made.sick = {made.first}
    return made


def said(text: str) -> list[str]:
    return [line.split(" ", 1)[1] for line in text.splitlines()]


def started(bench: Bench) -> list[str]:
    """The calls that could have changed something since the last time."""
    return [call for call in bench.calls() if not call.startswith(("ps", "image inspect", "container inspect"))]


def test_a_first_commit_that_is_sick_is_tried_once(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.check() == 1
    (problem,) = said(capsys.readouterr().err)
    assert problem == (
        f"PROBLEM {bench.first[:7]} was started and is not healthy: backend: unhealthy. There is no other version to "
        f"go back to; its containers are left as they are. {bench.first[:7]} is not tried again by itself: push a "
        f"newer commit, or `koprogo deploy`. Its logs: {bench.config.state_dir}/failed.log"
    )
    runs = bench.running()
    bench.calls()
    for _ in range(3):
        assert bench.check() == 0
    assert (started(bench), capsys.readouterr().out) == ([], "")
    assert (bench.running(), bench.state.deployed) == (runs, None)
    assert [(bad.commit, bad.reason) for bad in bench.state.quarantine] == [(bench.first, "backend: unhealthy")]
    assert [entry.result.value for entry in history.read(bench.config.state_dir)] == ["failed"]


def test_a_newer_commit_is_brought(bench: Bench) -> None:
    assert bench.check() == 1
    (newer,) = bench.deploys("Newer")
    assert (bench.running_commit(), bench.state.quarantine) == (newer, ())


@pytest.mark.parametrize("retry", [False, True])
def test_who_asks_gets_it_tried_again(bench: Bench, capsys: pytest.CaptureFixture[str], retry: bool) -> None:
    assert bench.check() == 1
    assert deploy.run(bench.config, asked=True, retry=retry) == 1
    assert f"Trying {bench.first[:7]} again, in quarantine since" in capsys.readouterr().out
    assert [bad.commit for bad in bench.state.quarantine] == [bench.first]
    bench.sick = set()
    assert deploy.run(bench.config, asked=True, retry=retry) == 0
    assert (bench.running_commit(), bench.state.quarantine) == (bench.first, ())


def test_other_settings_that_fail_put_what_runs_in_no_quarantine(bench: Bench) -> None:
    bench.sick = set()
    assert bench.check() == 0
    bench.sick = {bench.first}
    bench.config.env_file.write_text("A=b")
    assert bench.check(asked=True) == 1
    assert (bench.running_commit(), bench.state.quarantine) == (bench.first, ())


def test_one_that_is_killed_again_and_again_is_given_up(bench: Bench) -> None:
    assert bench.check() == 1
    attempt = Attempt(bench.first, Step.STARTED, time.time(), tries=3, id="x", by="timer")
    bench.store.save(replace(bench.state, attempt=attempt, quarantine=()))
    assert bench.check() == 1
    (bad,) = bench.state.quarantine
    assert (bad.commit, bad.reason) == (bench.first, "it was interrupted 3 times while it started")
    assert bench.state.attempt is None


def test_a_server_that_is_to_blame_gets_it_tried_again(bench: Bench) -> None:
    def down() -> None:
        raise Problem("docker ps: Cannot connect to the Docker daemon.")

    bench.sick, bench.while_rolling = set(), down
    assert bench.check() == 1
    bench.while_rolling = lambda: None
    info = bench.programs / "docker"
    there = info.read_text()
    info.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    for _ in range(5):
        assert bench.check() == 1
    assert bench.state.quarantine == ()
    info.write_text(there)
    assert bench.check() == 0
    assert bench.running_commit() == bench.first


def test_images_that_ci_has_not_built_are_waited_for_without_a_word(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, real = bench.docker / "images" / "registry", time.time
    registry.touch()
    bench.sick = set()
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    assert bench.check() == 1
    captured = capsys.readouterr()
    assert "Cannot deploy" in captured.err
    for _ in range(3):
        assert bench.check() == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    registry.unlink()
    assert bench.check() == 0
    assert bench.running_commit() == bench.first


def test_who_deploys_while_nothing_runs_and_all_is_paused_is_told(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    operate.pause(bench.config, "the audit")
    capsys.readouterr()
    assert bench.check(asked=True) == 0
    assert "(the audit): only settings are applied, until koprogo resume." in capsys.readouterr().out


def test_status_and_logs_say_what_stands_there(bench: Bench) -> None:
    assert bench.check() == 1
    with pytest.raises(Problem, match=r"No version was healthy so far: see `docker ps`, .*/failed\.log\."):
        operate.logs(bench.config, "backend", 5, follow=False)
