"""What a run of `koprogo deploy` decides to do."""

import pytest
from koprogo.deploys import decide
from koprogo.deploys.decide import Action, Recovery
from koprogo.state import Attempt, Bad, Check, Deployed, State, Step

OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40
RUNNING = Deployed(OLD, "main-aaaaaaa", 100.0, "hash", "production", {})


def test_nothing_new_is_nothing_to_do() -> None:
    assert decide.action(State(deployed=RUNNING), OLD, asked=False) is Action.NOTHING


def test_a_person_gets_the_settings_applied_to_what_runs() -> None:
    assert decide.action(State(deployed=RUNNING), OLD, asked=True) is Action.REAPPLY


def test_a_new_commit_is_deployed() -> None:
    assert decide.action(State(deployed=RUNNING), NEW, asked=False) is Action.DEPLOY
    assert decide.action(State(), NEW, asked=False) is Action.DEPLOY


def test_a_bad_commit_is_left_alone_and_a_newer_one_is_not() -> None:
    state = State(deployed=RUNNING, quarantine=(Bad(NEW, "sick", 200.0),))
    assert decide.action(state, NEW, asked=False) is Action.NOTHING
    assert decide.action(state, NEW, asked=True) is Action.REAPPLY
    assert decide.action(state, NEWER, asked=False) is Action.DEPLOY


def test_a_bad_first_commit_is_left_alone_until_a_person_asks() -> None:
    state = State(quarantine=(Bad(NEW, "sick", 200.0),))
    assert decide.action(state, NEW, asked=False) is Action.NOTHING
    assert decide.action(state, NEW, asked=True) is Action.DEPLOY


UNTOUCHED = [Step.SEEN, Step.FETCHED, Step.VERIFIED, Step.CHECKED, Step.PULLED, Step.DUMPED]
SWITCHING = [Step.SWITCHING, Step.STARTED, Step.HEALTHY, Step.SWITCHED, Step.DRAINED]


def test_every_step_is_one_of_these() -> None:
    assert [*UNTOUCHED, *SWITCHING, Step.ROLLING_BACK] == list(Step)


@pytest.mark.parametrize("step", UNTOUCHED)
def test_a_run_killed_before_it_touched_anything_is_begun_again(step: Step) -> None:
    assert decide.recovery(State(deployed=RUNNING, attempt=Attempt(NEW, step, 300.0))) is Recovery.NONE


@pytest.mark.parametrize("step", UNTOUCHED)
def test_a_rollback_that_was_killed_before_it_touched_anything_is_begun_again(step: Step) -> None:
    attempt = Attempt(NEW, step, 300.0, rollback=True)
    assert decide.recovery(State(deployed=RUNNING, attempt=attempt)) is Recovery.AGAIN


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize("step", SWITCHING)
def test_a_run_killed_while_switching_goes_on_until_it_was_killed_too_often(step: Step, rollback: bool) -> None:
    for tries, expected in [(1, Recovery.FORWARD), (2, Recovery.FORWARD), (3, Recovery.BACK)]:
        state = State(deployed=RUNNING, attempt=Attempt(NEW, step, 300.0, tries, rollback=rollback))
        assert decide.recovery(state) is expected


def test_the_first_version_has_nothing_to_go_back_to() -> None:
    assert decide.recovery(State(attempt=Attempt(NEW, Step.STARTED, 300.0, 2))) is Recovery.FORWARD
    # A commit that kills the server each time it starts is not started for ever.
    assert decide.recovery(State(attempt=Attempt(NEW, Step.STARTED, 300.0, 3))) is Recovery.BACK
    again = State(deployed=RUNNING, attempt=Attempt(OLD, Step.STARTED, 300.0, 9))
    assert decide.recovery(again) is Recovery.FORWARD


def test_a_way_back_that_was_killed_goes_on_and_is_given_up_in_the_end() -> None:
    for tries, expected in [(0, Recovery.BACK), (2, Recovery.BACK), (3, Recovery.GIVE_UP)]:
        state = State(deployed=RUNNING, attempt=Attempt(NEW, Step.ROLLING_BACK, 300.0, tries))
        assert decide.recovery(state) is expected


def test_ci_has_its_time_from_when_a_push_was_seen_but_on_a_new_server_from_the_commit() -> None:
    assert decide.wait_ends(first_seen=5000, committed=1000, first_deploy=False, patience=1800) == 6800
    assert decide.wait_ends(first_seen=5000, committed=1000, first_deploy=True, patience=1800) == 2800
    # A committer whose clock is ahead does not make us wait for that.
    assert decide.wait_ends(first_seen=5000, committed=90000, first_deploy=True, patience=1800) == 6800


def test_a_commit_was_not_seen_in_the_future() -> None:
    assert decide.began(5000, 6000, None) == 5000
    assert decide.began(91400, 6000, Check(at=91500, commit=OLD)) == 6000


def test_time_that_the_server_was_off_or_the_clock_jumped_over_was_nobody_s() -> None:
    assert decide.began(5000, 9900, Check(at=9000, commit=OLD)) == 5000
    assert decide.began(5000, 9901, Check(at=9000, commit=OLD)) == 9901
    assert decide.began(5000, 6000, None) == 5000


def test_the_same_problem_is_said_once_an_hour() -> None:
    last = Check(at=9000, commit=OLD, problem="Git server: down after 3 ms", said_at=6000)
    assert not decide.worth_saying(last, OLD, "Git server: down after 3 ms", 9599)
    assert not decide.worth_saying(last, OLD, "Git server: down after 14 ms", 9599)
    assert decide.worth_saying(last, OLD, "Git server: down after 3 ms", 9600)
    assert decide.worth_saying(last, NEW, "Git server: down after 3 ms", 9100)
    assert decide.worth_saying(last, OLD, "disk full", 9100)
    assert decide.worth_saying(None, OLD, "Git server: down after 3 ms", 9100)
    # The clock was set back: better twice than never.
    assert decide.worth_saying(last, OLD, "Git server: down after 3 ms", 5000)


def test_settings_are_applied_when_env_and_tag_are_those_of_now() -> None:
    state = State(deployed=RUNNING)
    assert decide.settings_applied(state, "hash", "main-{sha7}")
    assert not decide.settings_applied(state, "other", "main-{sha7}")
    assert not decide.settings_applied(state, None, "main-{sha7}")
    assert not decide.settings_applied(state, "hash", "v1.4.2")
    assert not decide.settings_applied(State(), "hash", "main-{sha7}")


def test_tags() -> None:
    commit = "1a2b3c4d5e6f" + "0" * 28
    assert decide.tag_for("main-{sha7}", commit) == "main-1a2b3c4"
    assert decide.tag_for("{sha}", commit) == commit
    assert decide.tag_for("v1.4.2", commit) == "v1.4.2"


IMAGES = ["ghcr.io/x/backend:main-b", "ghcr.io/x/frontend:main-b", "postgres:15", "traefik:v3.7"]


def test_everything_is_pulled_on_a_new_server() -> None:
    assert decide.to_pull(IMAGES, "main-b", same_commit=False, ran=[], here=[]) == IMAGES


def test_only_what_a_commit_changes_is_pulled_later() -> None:
    ran = ["ghcr.io/x/backend:main-a", "ghcr.io/x/frontend:main-a", "postgres:15", "traefik:v3.6"]
    here = [*ran, "traefik:v3.7"]
    expected = ["ghcr.io/x/backend:main-b", "ghcr.io/x/frontend:main-b", "traefik:v3.7"]
    assert decide.to_pull(IMAGES, "main-b", same_commit=False, ran=ran, here=here) == expected


def test_a_pinned_tag_is_asked_for_again_with_every_commit() -> None:
    images = ["ghcr.io/x/backend:stable", "postgres:15"]
    assert decide.to_pull(images, "stable", same_commit=False, ran=images, here=images) == ["ghcr.io/x/backend:stable"]


def test_the_version_that_runs_needs_no_registry_unless_an_image_is_gone() -> None:
    assert decide.to_pull(IMAGES, "main-b", same_commit=True, ran=IMAGES, here=IMAGES) == []
    assert decide.to_pull(IMAGES, "main-b", same_commit=True, ran=IMAGES, here=IMAGES[:3]) == ["traefik:v3.7"]
