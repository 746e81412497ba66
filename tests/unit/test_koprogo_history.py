"""The history: each attempt once, whenever the program is killed, and what a person sees of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from koprogo import history
from koprogo.alerts import outbox
from koprogo.deploys import work
from koprogo.problem import Problem
from koprogo.state import Attempt, Bad, Check, Deployed, Entry, Image, Outcome, State, Step
from koprogo_bench import Bench, Cut, told

A, B, C = "a" * 40, "b" * 40, "c" * 40
IMAGES = {"backend": Image("x:1", "sha256:1", "x@sha256:2")}
RUNNING = Deployed(A, "main-a", 100.0, "hash", "production", IMAGES)


def trying(commit: str, step: Step, *, tries: int = 0, rollback: bool = False) -> State:
    attempt = Attempt(commit, step, 200.0, tries, id="x", by="marie", subject="Subject", dump="/d", rollback=rollback)
    return State(deployed=RUNNING, attempt=attempt, quarantine=(Bad(C, "old", 50.0),))


def result(before: State, **changes: Any) -> str | None:
    """What the history says when this comes of it, and the attempt is no more unless there is another one."""
    entries = history.ended(before, replace(before, **{"attempt": None, **changes}), 300.0, 12.34).unwritten
    return entries[0].result.value if entries else None


def test_a_deploy_that_goes_well() -> None:
    before = trying(B, Step.DRAINED)
    deployed = replace(RUNNING, commit=B, tag="main-b")
    after = history.ended(before, replace(before, deployed=deployed, attempt=None, quarantine=()), 300.0, 12.34)
    assert after.unwritten == (
        Entry("x", 300.0, B, Outcome.DEPLOYED, "Subject", "marie", 12.3, version=deployed, dump="/d"),
    )
    assert (after.hold, after.quarantine) == (None, ())


def test_a_rollback_pins_and_keeps_the_quarantine() -> None:
    before = trying(B, Step.DRAINED, rollback=True)
    after = replace(before, deployed=replace(RUNNING, commit=B), attempt=None, quarantine=())
    found = history.ended(before, after, 300.0, 1)
    assert found.hold is not None
    assert (found.hold.commit, found.hold.by, found.hold.reason) == (B, "marie", "rolled back from aaaaaaa")
    assert found.quarantine == before.quarantine
    assert found.unwritten[0].result is Outcome.WENT_BACK


def test_the_other_ends() -> None:
    bad = (Bad(B, "sick", 250.0),)
    assert result(trying(B, Step.CHECKED), quarantine=bad) == "refused"
    assert result(trying(B, Step.CHECKED, rollback=True)) == "refused"
    assert result(trying(B, Step.ROLLING_BACK, tries=3), quarantine=bad) == "undone"
    assert result(trying(B, Step.ROLLING_BACK, tries=4), quarantine=bad) == "failed"
    assert result(trying(B, Step.STARTED)) == "failed"
    assert result(trying(A, Step.STARTED)) == "failed"
    assert result(trying(A, Step.DRAINED), deployed=replace(RUNNING, tag="t")) == "settings"
    newer = Attempt(C, Step.SEEN, 260.0, id="y")
    assert result(trying(B, Step.CHECKED), attempt=newer) == "overtaken"
    # The branch came back from it, or nothing came of it: nothing to tell.
    assert result(trying(B, Step.CHECKED)) is None
    assert result(trying(A, Step.CHECKED), attempt=newer) is None


@pytest.mark.parametrize("step", Step)
def test_an_attempt_that_goes_on_is_no_entry(step: Step) -> None:
    before = trying(B, step)
    assert before.attempt is not None
    after = replace(before, attempt=replace(before.attempt, step=Step.ROLLING_BACK, tries=2), check=Check(1.0, B))
    assert history.ended(before, after, 300.0, 1) == after


@pytest.mark.parametrize("saves", range(9))
def test_killed_at_any_moment_there_is_one_entry_in_the_end(
    bench: Bench, saves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.push("Fourth")
    save, left = work.Store.save, [saves]

    def cut(store: work.Store, state: State) -> None:
        if not left[0]:
            raise Cut
        left[0] -= 1
        save(store, state)

    with monkeypatch.context() as killed:
        killed.setattr(work.Store, "save", cut)
        with pytest.raises(Cut):
            bench.check()
    bench.check()
    assert told(history.read(bench.config.state_dir))[3:] == [("Fourth", "deployed", "timer")]
    assert (bench.config.state_dir / history.FILE).read_bytes().count(b"\n") == 4
    assert bench.state.unwritten == ()


def test_the_first_version_that_fails_is_told_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Bench(tmp_path, monkeypatch)
    new.sick = {new.first}
    assert new.check() == 1
    (one,) = history.read(new.config.state_dir)
    assert (one.result.value, one.version) == ("failed", None)
    assert one.reason == "backend: unhealthy"


def test_a_refusal_that_is_no_fault_of_the_commit_is_told_once(bench: Bench) -> None:
    bench.upstream.git("reset", "--hard", "--quiet", bench.first)
    other = bench.push("Other")
    for _ in range(3):
        assert bench.check() == 1
    entry = history.read(bench.config.state_dir)[-1]
    assert told(history.read(bench.config.state_dir))[3:] == [("Other", "refused", "timer")]
    assert (entry.commit, entry.reason.partition(":")[0]) == (other, "The history of main was rewritten")


def entry(number: int) -> Entry:
    return Entry(f"id{number}", number * 60.0, f"{number:040x}", Outcome.DEPLOYED, f"Subject {number}", "timer", 42.0)


def write(bench: Bench, *entries: Entry) -> None:
    running = work.Work(bench.config, work.Runner(), asked=False)
    running.save(unwritten=entries)
    history.write(running)
    assert bench.state.unwritten == ()


def test_the_problem_of_a_newer_commit_is_no_reason_why_one_was_overtaken(bench: Bench) -> None:
    (bench.docker / "images" / "registry").touch()
    bench.push("Overtaken")
    assert bench.check() == 0
    bench.push("Newer")
    docker = bench.programs / "docker"
    docker.write_text(docker.read_text().replace("'x: not found'", "'dial tcp: no such host'"))
    assert bench.check() == 1
    entry = history.read(bench.config.state_dir)[-1]
    assert (entry.subject, entry.result.value, entry.reason) == ("Overtaken", "overtaken", "")


def test_half_a_line_of_a_power_cut_is_no_entry_and_swallows_none(bench: Bench) -> None:
    path = bench.config.state_dir / history.FILE
    path.write_bytes(path.read_bytes() + b'{"id": "half' + b"\0" * 9)
    write(bench, entry(1))
    assert [one.subject for one in history.read(bench.config.state_dir)] == ["First", "Second", "Third", "Subject 1"]
    assert path.stat().st_mode & 0o007 == 0


def test_it_keeps_the_last_200(bench: Bench) -> None:
    for number in range(0, 300, 5):
        write(bench, *map(entry, range(number, number + 5)))
    found = history.read(bench.config.state_dir)
    assert [one.id for one in found] == [f"id{number}" for number in range(100, 300)]
    assert 200 <= (bench.config.state_dir / history.FILE).read_bytes().count(b"\n") <= 250


def test_one_that_cannot_be_written_is_written_later(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Problem("history.jsonl: No space left on device.")

    with monkeypatch.context() as disk:
        disk.setattr(history, "append", full)
        bench.deploys("Fourth")
    assert "The history lacks the last entry for now: history.jsonl: No space" in capsys.readouterr().out
    assert bench.check() == 0
    assert told(history.read(bench.config.state_dir))[3:] == [("Fourth", "deployed", "timer")]


def test_digests_are_kept_for_programs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert history.run(bench.config, as_json=True) == 0
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["commit"], second["commit"], third["commit"]) == (bench.first, bench.second, bench.third)
    assert (third["result"], third["by"], third["version"]["tag"]) == ("deployed", "timer", f"main-{bench.third[:7]}")
    image = bench.image(f"x/backend:main-{bench.third[:7]}")
    assert third["version"]["images"]["backend"]["digest"] == f"x/backend@sha256:{image}"


def test_a_line_of_the_program_before_is_read(bench: Bench) -> None:
    path = bench.config.state_dir / history.FILE
    version = {"commit": A, "tag": "main-a", "since": 100.0, "environment": "hash", "project": "production",
               "images": {"backend": {"ref": "x:1", "id": "sha256:1", "digest": "x@sha256:2"}}}  # fmt: skip
    line = {"id": f"{A} 100.0", "at": 100.0, "commit": A, "result": "deployed", "reason": "", "version": version}
    path.write_text(json.dumps(line | {"subject": "Old"}) + "\n")
    assert history.versions(history.read(bench.config.state_dir)) == [RUNNING]


def test_the_screen_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    history.log.time.tzset()
    assert history.screen([]) == "Nothing was deployed here so far."
    assert history.screen([entry(1)]) == "1970-01-01 00:01 0000000 deployed    42 s timer     Subject 1"
    failed = replace(entry(2), result=Outcome.UNDONE, reason="backend: unhealthy " + "x" * 99, subject="y" * 99)
    lines = history.screen([*map(entry, range(40)), failed]).splitlines()
    assert lines[0] == "20 older ones: koprogo history --json"
    assert lines[-2] == "1970-01-01 00:02 0000000 undone      42 s timer     " + "y" * 27 + "…"
    assert lines[-1].startswith(" " * 17 + "backend: unhealthy xxx")
    assert (len(lines), max(map(len, lines))) == (23, 80)


def test_previous() -> None:
    def ran(commit: str, result: Outcome = Outcome.DEPLOYED) -> Entry:
        version = replace(RUNNING, commit=commit) if result.ran else None
        return replace(entry(1), commit=commit, result=result, version=version)

    def before(running: str, *entries: Entry) -> str | None:
        found = history.previous(entries, running)
        return found.commit if found else None

    assert before(B, ran(A), ran(B)) == A
    assert before(A, ran(A)) is None
    assert before(A, ran(C), ran(A), ran(B), ran(A, Outcome.WENT_BACK)) == C
    assert before(B, ran(C), ran(A), ran(B), ran(A, Outcome.WENT_BACK), ran(B)) == A
    assert before(C, ran(A), ran(B, Outcome.UNDONE), ran(C), ran(C, Outcome.APPLIED)) == A
    # What was undone after it went live, and what somebody left for another one, is not gone back to.
    assert before(C, ran(A), ran(B), ran(B, Outcome.UNDONE), ran(C)) == A
    assert before(C, ran(B), ran(B, Outcome.UNDONE), ran(C)) is None
    assert before(C, ran(A), ran(B), ran(A, Outcome.WENT_BACK), ran(C)) == A
    assert before(B, ran(A), ran(B), ran(C), ran(A, Outcome.WENT_BACK), ran(B, Outcome.WENT_BACK)) == A
    # That somebody tried to go back to it and could not does not change what was before.
    assert before(C, ran(A), ran(B), ran(C), ran(B, Outcome.UNDONE)) == B


def test_a_disturbed_server() -> None:
    def last(*results: Outcome) -> bool:
        return history.disturbed([replace(entry(1), result=result) for result in results])

    assert last(Outcome.DEPLOYED, Outcome.FAILED, Outcome.REFUSED)
    assert not last(Outcome.FAILED, Outcome.DEPLOYED)
    assert not last()


DAMAGED = {"not text": b"\xff\xfe\0{", "other JSON": b'[1]\n{"id": ["x"]}\nnull\n', "deep": b"[" * 100_000}


@pytest.mark.parametrize("left", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_history_does_not_stop_a_deploy(bench: Bench, left: bytes) -> None:
    path = bench.config.state_dir / history.FILE
    path.write_bytes(left)
    (fourth,) = bench.deploys("Fourth")
    assert bench.running_commit() == fourth
    assert told(history.read(bench.config.state_dir)) == [("Fourth", "deployed", "timer")]


def test_a_history_that_cannot_be_read_does_not_stop_a_deploy_and_is_said_once(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bench.config.state_dir / history.FILE
    lines = path.read_bytes()
    path.unlink()
    path.mkdir()
    (fourth,) = bench.deploys("Fourth")
    expected = f"The history lacks the last entry for now: {path}: Is a directory.\n"
    assert capsys.readouterr().out.count(expected) == 1
    bench.upstream.git("reset", "--hard", "--quiet", bench.first)
    bench.push("Other")
    assert [bench.check(), bench.check()] == [1, 1]
    assert capsys.readouterr().out.count(expected) == 1
    assert bench.running_commit() == fourth
    path.rmdir()
    path.write_bytes(lines)
    bench.check()
    names = [subject for subject, _, _ in told(history.read(bench.config.state_dir))]
    assert names == ["First", "Second", "Third", "Fourth", "Other"]


def test_what_the_history_lacks_has_an_end() -> None:
    state = replace(trying(B, Step.DRAINED), unwritten=tuple(map(entry, range(200))))
    deployed = replace(RUNNING, commit=B)
    after = history.ended(state, replace(state, deployed=deployed, attempt=None), 300.0, 12.34)
    assert [one.id for one in after.unwritten] == [f"id{number}" for number in range(1, 200)] + ["x"]


def test_an_unreadable_history_does_not_hide_the_status(tmp_path: Path, bench: Bench) -> None:
    (bench.config.state_dir / history.FILE).unlink()
    (bench.config.state_dir / history.FILE).mkdir()
    from koprogo import report  # noqa: PLC0415 - only here

    assert report.collect(replace(bench.config, health_urls=()), public=False).entries == ()


def test_somebody_is_told_once_of_each_end_even_where_the_history_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(outbox, "tell", lambda _config, messages: sent.extend(m.title for m in messages))
    third = bench.running_commit()[:7]
    sick = bench.push("Sick")
    bench.sick = {sick}
    assert [bench.check(), bench.check()] == [1, 0]
    assert sent == [f"{sick[:7]} failed and was undone; {third} runs again"]
    (bench.config.state_dir / history.FILE).unlink()
    (bench.config.state_dir / history.FILE).mkdir()
    bench.upstream.git("reset", "--hard", "--quiet", bench.first)
    other = bench.push("Other")
    assert [bench.check(), bench.check()] == [1, 1]
    (bench.config.state_dir / history.FILE).rmdir()
    assert [bench.check(), bench.check()] == [1, 1]
    assert sent[1:] == [f"{other[:7]} is not deployed; {third} goes on running"]


def test_nobody_is_told_of_an_end_at_each_check_while_the_disk_is_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(outbox, "tell", lambda _config, messages: sent.extend(m.title for m in messages))
    third = bench.running_commit()
    bench.store.save(replace(bench.state, unwritten=(Entry("x", 1.0, third, Outcome.DEPLOYED),)))

    def full(*_: Any) -> None:
        raise Problem("state.json: No space left on device.")

    with monkeypatch.context() as broken:
        broken.setattr("koprogo.state.write_durably", full)
        for _ in range(2):
            with pytest.raises(Problem, match="No space left"):
                bench.check()
    assert sent == []
    assert bench.check() == 0
    assert sent == [f"{third[:7]} is live"]
