"""What a person decides about deploys, and what is remembered of them: real repositories, a `docker` of a few lines."""

import json
import shutil
from pathlib import Path

import pytest
from koprogo import deploy, history, operate
from koprogo.problem import Problem
from koprogo.state import Bad, Deployed, Hold, Image, State, Store
from test_koprogo_git import COMPOSE, Upstream, clone


class Bench:
    """A server on which the first commit runs."""

    def __init__(self, folder: Path) -> None:
        self.upstream = Upstream(folder / "upstream")
        self.first = self.upstream.commit({COMPOSE: "services: {}\n"})
        self.config = clone(self.upstream, folder)
        self.store = Store(self.config.state_dir)
        self.version = Deployed(self.first, "main-1", 1.0, "hash", "production", {"backend": Image("x:1", "i1", None)})
        self.store.save(State(deployed=self.version))
        programs = folder / "bin"
        programs.mkdir()
        for name in ("git", "tail", "sh"):
            (programs / name).symlink_to(shutil.which(name) or name)
        valid = json.dumps({"name": "production", "services": {"backend": {"image": "x/backend:2"}}})
        script = f"case \"$*\" in *config*) echo '{valid}' ;; ps* | info*) ;; *) exit 1 ;; esac"
        (programs / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "docker").chmod(0o755)
        self.path = str(programs)

    def state(self) -> State:
        """What is remembered."""
        return self.store.load()

    def entries(self) -> list[tuple[str, str]]:
        """The history: (commit, result)."""
        return [(entry["commit"], entry["result"]) for entry in history.read(self.config.state_dir)]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


def test_paused_a_check_asks_nobody_and_deploys_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    operate.pause(bench.config, "the auditors are here")
    bench.upstream.commit({COMPOSE: "services: {a: }\n"})
    capsys.readouterr()
    assert deploy.run(bench.config, asked=False) == 0
    assert capsys.readouterr() == ("", "")
    hold = bench.state().hold
    assert hold is not None
    assert (hold.reason, hold.commit) == ("the auditors are here", "")
    assert bench.state().check is not None
    assert bench.state().attempt is None


def test_resumed_the_next_check_looks_again(bench: Bench) -> None:
    operate.pause(bench.config, "x")
    newest = bench.upstream.commit({"README": "x"})
    assert operate.resume(bench.config) == 0
    deploy.run(bench.config, asked=False)
    check = bench.state().check
    assert check is not None
    assert (check.commit, bench.state().hold) == (newest, None)


def test_resume_without_a_pause_says_so(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.resume(bench.config) == 0
    assert capsys.readouterr().out == "Nothing is paused or rolled back.\n"


def test_retry_takes_the_newest_commit_out_of_quarantine_and_tries_it(bench: Bench) -> None:
    newest = bench.upstream.commit({"README": "x"})
    bench.store.save(State(deployed=bench.version, quarantine=(Bad("old", "x", 1.0), Bad(newest, "sick", 2.0))))
    assert operate.retry(bench.config) == 1  # no image of it can be pulled here
    assert [bad.commit for bad in bench.state().quarantine] == ["old"]
    check = bench.state().check
    assert check is not None
    assert check.commit == newest
    assert check.problem is not None


def test_retry_of_one_that_is_not_in_quarantine_does_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.retry(bench.config) == 0
    assert capsys.readouterr().out == f"{bench.first[:7]} is not in quarantine.\n"


def test_diff_names_commits_and_services_and_touches_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    newest = bench.upstream.commit({"README": "x"})
    before = bench.state()
    assert operate.diff(bench.config) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{bench.first[:7]} → {newest[:7]}"
    assert lines[1].startswith(f"  {newest[:7]} ")
    assert lines[2:] == ["+ backend  x/backend:2"]
    assert bench.state() == before


def test_every_outcome_is_written_down_once(bench: Bench) -> None:
    deploy.run(bench.config, asked=False)
    deploy.run(bench.config, asked=False)
    assert bench.entries() == [(bench.first, "deployed")]
    bench.store.save(State(deployed=bench.version, quarantine=(Bad("b" * 40, "sick", 2.0),)))
    deploy.run(bench.config, asked=False)
    assert bench.entries() == [(bench.first, "deployed"), ("b" * 40, "failed")]
    text = history.screen(history.read(bench.config.state_dir), bench.first)
    assert text.splitlines()[0].startswith("* ")
    assert text.splitlines()[1].endswith("bbbbbbb  failed    sick")


def test_half_a_line_of_a_power_cut_is_no_entry_and_swallows_none(bench: Bench) -> None:
    deploy.run(bench.config, asked=False)
    path = history.path(bench.config.state_dir)
    path.write_bytes(path.read_bytes() + b'{"id": "half')
    later = Deployed(**{**bench.version.__dict__, "commit": "c" * 40, "since": 5.0})
    history.note(bench.config.state_dir, State(deployed=later), lambda commit: "Subject")
    assert bench.entries() == [(bench.first, "deployed"), ("c" * 40, "deployed")]
    assert history.read(bench.config.state_dir)[-1]["subject"] == "Subject"


def test_the_history_is_bounded(bench: Bench) -> None:
    for number in range(205):
        quarantine = (Bad(f"{number:040d}", "x", float(number)),)
        history.note(bench.config.state_dir, State(quarantine=quarantine), lambda commit: "")
    entries = bench.entries()
    assert len(entries) == 104
    assert entries[-1] == (f"{204:040d}", "failed")


def version(letter: str) -> Deployed:
    return Deployed(letter * 40, letter, 1.0, "", "production", {})


def test_choosing_a_version() -> None:
    versions = [version("c"), version("b"), version("a")]
    assert operate.choose(versions, version("c"), "").commit == "b" * 40
    assert operate.choose(versions, version("b"), "").commit == "c" * 40
    assert operate.choose(versions, version("c"), "aaa").commit == "a" * 40
    with pytest.raises(Problem, match=r"No version ddd ran here\. There is: bbbbbbb, aaaaaaa\."):
        operate.choose(versions, version("c"), "ddd")
    with pytest.raises(Problem, match=r"No other version ran here\. There is: none\."):
        operate.choose([version("c")], version("c"), "")


def test_versions_come_back_from_the_history_as_they_were(bench: Bench) -> None:
    deploy.run(bench.config, asked=False)
    assert history.versions(history.read(bench.config.state_dir)) == [bench.version]


def test_a_state_of_the_program_before_is_read(bench: Bench) -> None:
    data = json.loads(bench.store.path.read_text())
    del data["hold"]
    bench.store.path.write_text(json.dumps(data))
    assert bench.state() == State(deployed=bench.version)
    bench.store.save(State(hold=Hold(1.0, "x", "c")))
    assert bench.state().hold == Hold(1.0, "x", "c")
