"""What a person decides about deploys: rollback, pause, resume, retry."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from koprogo import history
from koprogo.deploys import deploy, operate, work
from koprogo.problem import Problem
from koprogo.state import Attempt, Bad, Deployed, Entry, Hold, Image, Outcome, State, Step
from koprogo_bench import Bench, Cut, told
from test_koprogo_git import git


def commits(bench: Bench) -> tuple[str, str, str]:
    return bench.first, bench.second, bench.third


def rollback(bench: Bench, name: str = "", *, data_restored: bool = False) -> int:
    return operate.go_back(bench.config, name, data_restored=data_restored)


def said(text: str) -> list[str]:
    """Lines of the log without their times."""
    return [line.split(" ", 1)[1] for line in text.splitlines()]


def test_a_rollback_stays_with_the_images_that_ran_until_resume(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    _first, second, third = commits(bench)
    tag = f"x/backend:main-{second[:7]}"
    ran = bench.image(tag)
    # CI pushed another image under its name meanwhile, and it was pulled: not what ran.
    (bench.docker / "images" / tag.replace("/", "_")).write_text("i-other")
    (bench.docker / "images" / "registry").touch()
    assert rollback(bench) == 0
    deployed, stays = said(capsys.readouterr().out)[-2:]
    assert deployed.startswith(f"Deployed {second[:7]} (main-{second[:7]}) in ")
    assert stays == f"{second[:7]} stays until: koprogo resume"
    assert bench.running_commit() == second
    assert bench.running() == [ran, "i-postgres"]
    assert not any(call.startswith("pull") for call in bench.calls())
    hold = bench.state.hold
    assert hold is not None
    assert (hold.commit, hold.reason, hold.by) == (second, f"rolled back from {third[:7]}", "marie")

    fourth = bench.push("Fourth")
    bench.calls()
    assert bench.check() == 0
    assert (capsys.readouterr().err, bench.calls(), bench.running_commit()) == ("", [], second)
    assert bench.state.quarantine == ()
    assert bench.check(asked=True) == 0
    assert f"(rolled back from {third[:7]}): only settings are applied, until koprogo resume" in capsys.readouterr().out
    assert bench.running_commit() == second

    (bench.docker / "images" / "registry").unlink()
    operate.resume(bench.config)
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.hold) == (fourth, None)
    assert told(history.read(bench.config.state_dir)) == [
        ("First", "deployed", "timer"),
        ("Second", "deployed", "timer"),
        ("Third", "deployed", "timer"),
        ("Second", "rollback", "marie"),
        ("Second", "settings", "marie"),
        ("Fourth", "deployed", "timer"),
    ]


def test_going_back_twice_goes_back_twice_and_by_name_anywhere(bench: Bench) -> None:
    first, second, third = commits(bench)
    rollback(bench)
    rollback(bench)
    assert bench.running_commit() == first
    with pytest.raises(Problem, match=f"No version ran here before {first[:7]}. There is:\n  {second[:12]}  20"):
        rollback(bench)
    rollback(bench, third[:4])
    assert bench.running_commit() == third
    rollback(bench)
    assert bench.running_commit() == second


@pytest.mark.parametrize("name", ["0000000", "abc", "-x", "main", ""])
def test_a_version_that_there_is_not_changes_nothing_and_names_those_that_there_are(bench: Bench, name: str) -> None:
    first, second, third = commits(bench)
    if not name:
        name = third[:7]
    with pytest.raises(
        Problem, match=f"(?s){name} .*There is:\n  {second[:12]}  20.*Second\n  {first[:12]}  20"
    ) as caught:
        rollback(bench, name)
    assert len(str(caught.value).splitlines()) == 3
    assert (bench.running_commit(), bench.state.hold, bench.state.attempt) == (third, None, None)


def test_the_versions_that_there_are_fit_on_a_screen(bench: Bench) -> None:
    bench.deploys("A subject that is longer than what a screen has room for " + "x" * 40, "Fifth")
    with pytest.raises(Problem, match="No version 0000000 ran here") as caught:
        rollback(bench, "0000000")
    assert max(map(len, str(caught.value).splitlines())) == 80


def test_a_rollback_does_not_lead_to_what_somebody_went_back_from_before(bench: Bench) -> None:
    _, second, third = commits(bench)
    rollback(bench)
    operate.resume(bench.config)
    bench.deploys("Meant to mend the third")
    rollback(bench)
    assert bench.running_commit() == second != third


def test_an_image_that_is_gone_comes_by_its_digest(bench: Bench) -> None:
    _, second, _ = commits(bench)
    image = bench.image(f"x/backend:main-{second[:7]}")
    for name in (f"x_backend:main-{second[:7]}", image):
        (bench.docker / "images" / name).unlink()
    rollback(bench)
    assert f"pull --quiet x/backend@sha256:{image}" in bench.calls()
    assert bench.running() == [image, "i-postgres"]


def test_a_commit_in_quarantine_stays_there_over_a_rollback(bench: Bench) -> None:
    _, second, _third = commits(bench)
    sick = bench.push("Sick")
    bench.sick = {sick}
    assert bench.check() == 1
    assert rollback(bench) == 0
    operate.resume(bench.config)
    assert bench.check() == 0
    assert (bench.running_commit(), [bad.commit for bad in bench.state.quarantine]) == (second, [sick])


def test_a_rollback_to_what_is_not_healthy_any_more_ends_where_it_began(bench: Bench) -> None:
    _, second, third = commits(bench)
    bench.sick = {second}
    with pytest.raises(Problem, match=f"{second[:7]} was rolled back: {third[:7]} .* runs again and is healthy\\.$"):
        rollback(bench)
    assert (bench.running_commit(), bench.state.hold, bench.state.attempt) == (third, None, None)
    entry = history.read(bench.config.state_dir)[-1]
    assert (entry.commit, entry.result.value, entry.reason) == (second, "undone", "backend: unhealthy")
    assert bench.check() == 0


def test_a_rollback_does_not_throw_away_what_somebody_edited(bench: Bench) -> None:
    (bench.config.checkout / "README").write_text("mine")
    with pytest.raises(Problem, match="Somebody changed README"):
        rollback(bench)
    assert (bench.state.hold, bench.state.attempt) == (None, None)
    entry = history.read(bench.config.state_dir)[-1]
    assert (entry.result.value, entry.reason.partition(" in ")[0]) == ("refused", "Somebody changed README")
    assert (bench.config.checkout / "README").read_text() == "mine"


def test_a_compose_file_that_the_settings_of_now_do_not_fit_is_not_gone_back_to(bench: Bench) -> None:
    (bench.docker / "invalid").touch()
    with pytest.raises(Problem, match="docker compose config: yaml"):
        rollback(bench)
    assert (bench.state.quarantine, bench.state.attempt, bench.state.hold) == ((), None, None)


def migrating_and_sick(bench: Bench) -> str:
    """Push a commit whose switch changes the data, was interrupted, and will not become healthy."""
    newer = bench.push("Migrates")
    git(bench.config.checkout, "fetch", "-q")
    bench.sick = {newer}
    attempt = Attempt(newer, Step.SWITCHING, 1.0, tries=1, schema="backend 1 → 2", id="x", subject="Migrates")
    bench.store.save(replace(bench.state, attempt=attempt))
    return newer


def test_data_of_another_form_stops_it_until_it_is_restored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    _, second, third = commits(bench)
    monkeypatch.setattr("koprogo.deploys.wanted.new_schema", lambda *_: "backend 2 → 1")
    with pytest.raises(Problem) as caught:
        rollback(bench)
    assert str(caught.value) == (
        f"{second[:7]} works on data of another form (backend 2 → 1), so nothing was changed. Restore the database as "
        f"it was; then: koprogo rollback {second[:7]} --data-restored"
    )
    assert bench.running_commit() == third
    dump = bench.docker / "x.sql.zst"
    entry = history.read(bench.config.state_dir)[-1]
    history.append(bench.config.state_dir, [replace(entry, id="y", dump=str(dump))])
    with pytest.raises(Problem, match=r"as it was \(.*/x\.sql\.zst is gone; see the backups\); then: koprogo rollback"):
        rollback(bench)
    dump.touch()
    with pytest.raises(Problem, match=r"as it was \(.*/x\.sql\.zst is of before the last deploy\); then:"):
        rollback(bench)
    assert rollback(bench, data_restored=True) == 0
    assert bench.running_commit() == second


def test_after_a_failure_that_was_left_as_it_is_the_version_before_is_the_last_healthy_one(bench: Bench) -> None:
    _, _, third = commits(bench)
    migrating_and_sick(bench)
    assert bench.check() == 1
    entry = history.read(bench.config.state_dir)[-1]
    assert (entry.subject, entry.result.value) == ("Migrates", "failed")
    assert rollback(bench, data_restored=True) == 0
    assert bench.running() == [bench.image(f"x/backend:main-{third[:7]}"), "i-postgres"]
    hold = bench.state.hold
    assert hold is not None
    assert (hold.commit, hold.reason) == (third, "rolled back from a failed deploy")


@pytest.mark.parametrize("step", [Step.SEEN, Step.CHECKED, Step.PULLED, Step.SWITCHING])
def test_a_rollback_that_is_killed_is_brought_to_its_end_by_the_next_check(
    bench: Bench, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second, _ = commits(bench)
    ran = bench.image(f"x/backend:main-{second[:7]}")
    (bench.docker / "images" / f"x_backend:main-{second[:7]}").write_text("i-other")
    save = work.Store.save

    def cut(store: work.Store, state: State) -> None:
        save(store, state)
        if state.attempt is not None and state.attempt.step is step:
            raise Cut

    with monkeypatch.context() as killed:
        killed.setattr(work.Store, "save", cut)
        with pytest.raises(Cut):
            rollback(bench)
    # As a power cut may leave it.
    (bench.docker / "images" / f"x_backend:main-{second[:7]}").write_text("i-other")
    bench.push("Newer")
    assert bench.check() == 0
    hold = bench.state.hold
    assert hold is not None
    assert (bench.running_commit(), hold.commit, hold.by) == (second, second, "marie")
    assert bench.running() == [ran, "i-postgres"]
    assert told(history.read(bench.config.state_dir))[3:] == [("Second", "rollback", "marie")]


@pytest.mark.parametrize("step", [Step.CHECKED, Step.SWITCHING])
def test_a_rollback_that_is_killed_and_forgotten_leaves_what_ran(
    bench: Bench, step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt = Attempt(bench.second, step, 1.0, tries=1, id="x", by="marie", subject="Second", rollback=True)
    bench.store.save(replace(bench.state, attempt=attempt))
    path = bench.config.state_dir / history.FILE
    path.unlink()
    path.mkdir()
    assert bench.check() == 1
    assert f"The history does not say any more what ran as {bench.second[:7]}" in capsys.readouterr().err
    assert (bench.running_commit(), bench.state.attempt, bench.state.hold) == (bench.third, None, None)
    assert bench.running() == [bench.image(f"x/backend:main-{bench.third[:7]}"), "i-postgres"]
    newer = bench.push("Newer")
    assert bench.check() == 0
    assert bench.running_commit() == newer


def test_resume_ends_a_rollback_that_was_killed_before_it_touched_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, third = commits(bench)
    with monkeypatch.context() as killed:
        killed.setattr("koprogo.deploys.rollback.read_project", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            rollback(bench)
    attempt = bench.state.attempt
    assert attempt is not None
    assert attempt.rollback
    operate.resume(bench.config)
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.hold) == (third, None)


def test_resume_gives_names_of_images_back_that_a_killed_rollback_had_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = bench.image("postgres:15")
    (bench.docker / "images" / "i-older").write_text("i-older")
    version = history.versions(history.read(bench.config.state_dir))[1]
    images = {**version.images, "postgres": Image("postgres:15", "i-older", None)}
    older = replace(version, images=images)
    entry = Entry("older", time.time(), older.commit, Outcome.WENT_BACK, version=older)
    history.append(bench.config.state_dir, [entry])
    with monkeypatch.context() as killed:
        killed.setattr("koprogo.deploys.wanted.require_memory", lambda *_: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            operate.go_back(bench.config, older.commit, data_restored=False)
    assert bench.image("postgres:15") == "i-older"
    operate.resume(bench.config)
    assert bench.image("postgres:15") == ran


def test_a_server_of_the_program_before_has_its_version_to_go_back_to(bench: Bench) -> None:
    _, second, third = commits(bench)
    (bench.config.state_dir / history.FILE).unlink()
    bench.deploys("Fourth")
    assert rollback(bench) == 0
    assert bench.running_commit() == third
    with pytest.raises(Problem, match=f"No version {second} ran here"):
        rollback(bench, second)


def test_before_the_first_deploy_there_is_nothing_to_go_back_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Problem, match=r"Nothing was deployed here so far\."):
        rollback(Bench(tmp_path, monkeypatch))


def test_paused_a_check_asks_nobody_and_deploys_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, third = commits(bench)
    assert operate.pause(bench.config, "the auditors\nare here") == 0
    assert said(capsys.readouterr().out) == [
        "Paused by marie (the auditors are here): no check deploys anything until koprogo resume."
    ]
    bench.push("Newer")
    before = bench.state.check
    assert before is not None
    assert bench.check() == 0
    assert (*capsys.readouterr(), bench.calls()) == ("", "", [])
    check, hold = bench.state.check, bench.state.hold
    assert check is not None
    assert (check.commit, check.at > before.at) == (third, True)
    assert hold is not None
    assert (hold.reason, hold.commit, hold.by) == ("the auditors are here", "", "marie")
    operate.pause(bench.config, "still")
    assert bench.state.hold == replace(hold, reason="still")


def test_a_person_who_deploys_or_retries_while_paused_is_told_what_to_do(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    operate.pause(bench.config, "audit")
    bench.push("Newer")
    capsys.readouterr()
    assert bench.check(asked=True) == 0
    assert "(audit): only settings are applied, until koprogo resume." in capsys.readouterr().out
    assert deploy.run(bench.config, asked=True, retry=True) == 1
    assert capsys.readouterr().err.endswith("(audit). First: koprogo resume\n")
    assert bench.running_commit() == commits(bench)[2]


def test_a_rollback_is_possible_while_paused_and_a_pause_does_not_undo_one(bench: Bench) -> None:
    _, second, _ = commits(bench)
    operate.pause(bench.config, "audit")
    rollback(bench)
    with pytest.raises(Problem, match=f"Nothing is deployed anyway: {second[:7]} stays since 20"):
        operate.pause(bench.config, "audit")
    hold = bench.state.hold
    assert hold is not None
    assert hold.commit == second


def test_resumed_the_next_check_deploys(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    operate.pause(bench.config, "x")
    newer = bench.push("Newer")
    capsys.readouterr()
    assert operate.resume(bench.config) == 0
    assert said(capsys.readouterr().out)[0].startswith("Resumed by marie. The next check brings the newest commit (")
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.hold) == (newer, None)
    assert operate.resume(bench.config) == 0
    assert said(capsys.readouterr().out)[-1] == "Nothing is paused or rolled back."


def test_paused_what_was_interrupted_half_way_is_still_brought_to_its_end(bench: Bench) -> None:
    newer = bench.push("Newer")

    def cut() -> None:
        raise Cut

    bench.while_rolling = cut
    with pytest.raises(Cut):
        bench.check()
    bench.while_rolling = lambda: None
    operate.pause(bench.config, "what is it doing?")
    assert bench.check() == 0
    assert bench.running_commit() == newer
    hold = bench.state.hold
    assert hold is not None
    assert hold.commit == ""


def test_retry_takes_the_newest_commit_out_of_quarantine_and_tries_it(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, third = commits(bench)
    sick = bench.push("Sick, by and by")
    bench.sick = {sick}
    assert bench.check() == 1
    bench.store.save(replace(bench.state, quarantine=(Bad("0" * 40, "old", 1.0), *bench.state.quarantine)))
    assert bench.check() == 0
    assert bench.running_commit() == third
    assert deploy.run(bench.config, asked=True, retry=True) == 1
    assert [bad.commit for bad in bench.state.quarantine] == ["0" * 40, sick]
    bench.sick = set()
    capsys.readouterr()
    assert deploy.run(bench.config, asked=True, retry=True) == 0
    out = said(capsys.readouterr().out)
    assert out[0].startswith(f"Trying {sick[:7]} again, in quarantine since 20")
    assert (bench.running_commit(), bench.state.quarantine) == (sick, ())
    results = [(subject, result, who) for subject, result, who in told(history.read(bench.config.state_dir))[3:]]
    assert results == [
        ("Sick, by and by", "undone", "timer"),
        ("Sick, by and by", "undone", "marie"),
        ("Sick, by and by", "deployed", "marie"),
    ]


def test_retry_of_one_that_is_not_in_quarantine_does_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert deploy.run(bench.config, asked=True, retry=True) == 0
    assert said(capsys.readouterr().out) == [f"{commits(bench)[2][:7]}, the newest commit, is not in quarantine."]
    assert bench.calls() == []


def test_a_push_during_a_deploy_is_the_next_checks(bench: Bench) -> None:
    pushed: list[str] = []

    def meanwhile() -> None:
        if len(pushed) < 2:
            pushed.append(bench.push("Meanwhile"))

    bench.while_rolling = meanwhile
    newer = bench.push("Newer")
    assert bench.check() == 0
    assert bench.running_commit() == newer
    assert bench.check() == 0
    assert bench.running_commit() == pushed[0]
    assert bench.check() == 0
    assert (bench.running_commit(), bench.state.quarantine) == (pushed[1], ())


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_a_clock_that_jumps_a_day_hurts_nothing(bench: Bench, jump: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    operate.pause(bench.config, "x")
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    operate.resume(bench.config)
    (newer,) = bench.deploys("Newer")
    assert bench.running_commit() == newer
    assert rollback(bench) == 0
    assert bench.running_commit() == commits(bench)[2]


def test_a_clock_set_back_does_not_make_ci_s_time_longer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.docker / "images" / "registry").touch()
    real = time.time
    late = bench.push("Late")
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: real() + 86400)
        assert bench.check() == 0
    assert bench.check() == 0
    attempt = bench.state.attempt
    assert attempt is not None
    assert abs(attempt.started - real()) < 60
    for seconds in (800, 1600):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: real() + seconds)
        assert bench.check() == 0
    monkeypatch.setattr(time, "time", lambda: real() + 1801)
    assert bench.check() == 1
    assert [bad.commit for bad in bench.state.quarantine] == [late]


@pytest.mark.parametrize("jump", [2400, 365 * 86400, -56 * 365 * 86400])
def test_a_clock_that_is_set_right_while_a_commit_waits_for_ci_gives_it_up_no_sooner(
    bench: Bench, jump: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = bench.docker / "images" / "registry"
    registry.touch()
    real, late = time.time, bench.push("Late")
    assert bench.check() == 0
    with monkeypatch.context() as jumped:
        jumped.setattr(time, "time", lambda: real() + jump)
        assert (bench.check(), bench.check()) == (0, 0)
    assert (bench.check(), bench.check()) == (0, 0)
    assert bench.state.quarantine == ()
    registry.unlink()
    assert bench.check() == 0
    assert bench.running_commit() == late


def test_logs(bench: Bench, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"names no log of deploys\. See: journalctl --unit koprogo-gitops"):
        operate.logs(bench.config, "", 20, follow=False)
    config = replace(bench.config, log_file=tmp_path / "gitops.log")
    with pytest.raises(Problem, match=r"gitops\.log: No such file or directory"):
        operate.logs(config, "", 20, follow=False)
    (tmp_path / "gitops.log").write_text("".join(f"line {number}\n" for number in range(30)))
    capsys.readouterr()
    assert operate.logs(config, "", 3, follow=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["line 27", "line 28", "line 29"]
    assert lines[3].startswith(f"More: {tmp_path}/gitops.log and older ones")
    assert operate.logs(config, "backend", 5, follow=False) == 0
    assert capsys.readouterr().out == "line of logs --tail 5 --timestamps c-backend\n"
    with pytest.raises(Problem, match=r"web has no container\. There is: backend, postgres\."):
        operate.logs(config, "web", 5, follow=False)


def test_following_a_log_is_left_to_the_programs_that_can(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _, arguments: started.append(arguments))
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "")
    operate.logs(replace(bench.config, log_file=Path("/x.log")), "", 7, follow=True)
    assert started == [["tail", "--lines=7", "--follow=name", "--retry", "/x.log"]]


def test_what_has_started_on_a_new_schema_does_not_go_back_though_the_run_was_killed_before_it_said_so(
    bench: Bench,
) -> None:
    newer = migrating_and_sick(bench)
    assert bench.check() == 1
    assert history.read(bench.config.state_dir)[-1].result.value == "failed"
    assert json.loads((bench.docker / "containers").read_text())[0]["Config"]["Image"] == f"x/backend:main-{newer[:7]}"


def test_a_way_back_that_is_given_up_is_in_the_history_as_a_failure(bench: Bench) -> None:
    _, _, third = commits(bench)
    sick = bench.push("Sick")
    bench.sick = {sick, third}
    for _ in range(4):
        assert bench.check() == 1
    entry = history.read(bench.config.state_dir)[-1]
    assert (entry.commit, entry.result.value, entry.reason) == (sick, "failed", "backend: unhealthy")
    assert bench.state.attempt is None


def test_a_registry_that_is_down_for_long_uses_up_no_tries_of_a_way_back(bench: Bench) -> None:
    third, sick = commits(bench)[2], bench.push("Sick")
    docker, gone = bench.programs / "docker", bench.docker / "images" / f"x_backend:main-{third[:7]}"
    bench.sick, there = {sick}, docker.read_text()
    down = there.replace('case "$*" in', 'case "$*" in\npull*) echo "dial tcp: no such host" >&2; exit 1 ;;', 1)

    def lose() -> None:
        gone.with_name(bench.image(f"x/backend:main-{third[:7]}")).unlink()
        gone.unlink()
        docker.write_text(down)

    bench.while_rolling = lose
    for _ in range(5):
        assert bench.check() == 1
    bench.while_rolling = lambda: None
    docker.write_text(there)
    assert bench.check() == 1
    assert (bench.running_commit(), bench.state.attempt) == (third, None)
    assert history.read(bench.config.state_dir)[-1].result.value == "undone"


def test_a_switch_whose_compose_file_is_not_valid_any_more_is_undone_after_a_few_checks(bench: Bench) -> None:
    newer, invalid = bench.push("Newer"), bench.docker / "invalid"
    git(bench.config.checkout, "fetch", "-q")
    attempt = Attempt(newer, Step.STARTED, 1.0, tries=1, id="x", subject="Newer")
    bench.store.save(replace(bench.state, attempt=attempt))
    invalid.touch()
    assert (bench.check(), bench.check()) == (1, 1)
    invalid.unlink()
    assert bench.check() == 1
    assert (bench.running_commit(), [bad.commit for bad in bench.state.quarantine]) == (commits(bench)[2], [newer])


def test_a_state_of_the_program_before_is_read(bench: Bench) -> None:
    deployed = Deployed("a" * 40, "main-a", 1.0, "hash", "production", {})
    old: dict[str, Any] = {
        "deployed": {"commit": "a" * 40, "tag": "main-a", "since": 1.0, "environment": "hash", "project": "production",
                     "images": {}},
        "first_deployed": None,
        "attempt": {"commit": "b" * 40, "step": "started", "started": 2.0, "tries": 1, "lenient": []},
        "quarantine": [], "check": None,
    }  # fmt: skip
    bench.store.path.write_text(json.dumps(old))
    assert bench.state == State(deployed=deployed, attempt=Attempt("b" * 40, Step.STARTED, 2.0, 1))
    bench.store.path.write_text(json.dumps(old | {"hold": {"at": 1.0, "reason": "x", "commit": "c"}}))
    assert bench.state.hold == Hold(1.0, "x", "c")


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_docker_that_is_down_for_long_uses_up_no_tries(bench: Bench, back: bool) -> None:
    third, newer, docker = commits(bench)[2], bench.push("Newer"), bench.programs / "docker"

    def cut() -> None:
        raise Cut

    bench.while_rolling = cut
    with pytest.raises(Cut):
        bench.check()
    if back:
        attempt = bench.state.attempt
        assert attempt is not None
        attempt = replace(attempt, step=Step.ROLLING_BACK, tries=0)
        bench.store.save(replace(bench.state, attempt=attempt, quarantine=(Bad(newer, "sick", 1.0),)))
    bench.while_rolling, there = lambda: None, docker.read_text()
    docker.write_text(
        '#!/bin/sh\ncase "$*" in compose*) ;; *) echo Cannot connect to the Docker daemon >&2; exit 1 ;; esac\n'
        + there.partition("\n")[2]
    )
    for _ in range(5):
        assert bench.check() == 1
    docker.write_text(there)
    assert bench.check() == (1 if back else 0)
    assert (bench.running_commit(), bench.state.attempt) == (third if back else newer, None)
    assert history.read(bench.config.state_dir)[-1].result.value == ("undone" if back else "deployed")
