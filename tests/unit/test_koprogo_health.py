"""What `koprogo health` complains about, and what `koprogo status` shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from koprogo import lock, status
from koprogo.backups.backup_state import BackupState, Run
from koprogo.backups.retention import Backup
from koprogo.config import Limits
from koprogo.deploys import timer
from koprogo.docker.containers import Container
from koprogo.health import health, troubles
from koprogo.report import Report
from koprogo.runner import Runner
from koprogo.state import Attempt, Bad, Check, Deployed, Entry, Hold, Image, Outcome, State, Step
from koprogo.web import Answer

NOW = 1_795_000_000.0
COMMIT, BAD = "a" * 40, "b" * 40
IMAGE = Image("ghcr.io/x/backend:main-aaaaaaa", "sha256:1", None)
DEPLOYED = Deployed(COMMIT, "main-aaaaaaa", NOW - 90000, "hash", "production", {"backend": IMAGE})
CHECK = Check(NOW - 60, COMMIT)
BACKEND = Container("1", "koprogo-backend", "backend", IMAGE.ref, "sha256:1", "running", "healthy", 0, 0, "t", "", "")
WELL = Report(
    now=NOW,
    state=State(deployed=DEPLOYED, first_deployed=NOW - 10 * 86400, check=CHECK),
    containers=(BACKEND,),
    docker_trouble=None,
    answers=(Answer("https://koprogo.test", None, days_left=60.2),),
    backups=(Backup(Path("/b/postgres_20261122_020000.sql.gz"), "20261122", 5_000_000, NOW - 3600),),
    backups_trouble=None,
    disk_used=0.31,
    disk_free=17_000_000_000,
)


PAST = tuple(
    Entry(
        commit, NOW - 90000, commit, Outcome.DEPLOYED, "Subject", "timer", 42, version=replace(DEPLOYED, commit=commit)
    )
    for commit in ("c" * 40, COMMIT)
)


def of_state(**changes: Any) -> dict[str, Any]:
    return {"state": replace(WELL.state, **changes)}


def test_one_line_when_all_is_well() -> None:
    assert troubles.of_application(WELL) == []
    line = "OK: 1 addresses, certificate for 60 days, 1 containers, disk 31%, 1 backups"
    assert health.summary(WELL) == line
    assert health.summary(WELL, "alerts go nowhere") == f"{line}; alerts go nowhere"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answers": (Answer("https://a", "HTTP 503"),)}, "https://a: HTTP 503"),
        ({"answers": (Answer("https://a", None, days_left=13.6),)}, "https://a: the certificate ends in 14 days"),
        ({"containers": ()}, "backend: no container"),
        ({"containers": (replace(BACKEND, health="unhealthy"),)}, "backend: unhealthy"),
        ({"docker_trouble": "docker ps: no daemon"}, "docker ps: no daemon"),
        (of_state(deployed=None), "nothing was deployed successfully so far"),
        (of_state(check=None), "the branch was not looked at ever"),
        (of_state(check=Check(NOW - 901, COMMIT)), "the branch was not looked at since 20"),
        (of_state(check=Check(NOW + 86400, COMMIT)), "the branch was not looked at since 20"),
        (of_state(hold=Hold(NOW - 86401, "audit", by="marie")), "no deploys since 20"),
        (of_state(hold=Hold(NOW - 86401, "rolled back from x", "c")), "no deploys since 20"),
        (of_state(check=Check(NOW, None, "Git server: down")), "deploy: Git server: down"),
        (
            of_state(check=Check(NOW, BAD), quarantine=(Bad(BAD, "backend: unhealthy", NOW),)),
            "commit bbbbbbb failed and is in quarantine: backend: unhealthy",
        ),
        ({"backups": (replace(WELL.backups[0], modified=NOW - 26 * 3600 - 1),)}, "the last good backup is of 20"),
        (
            {"backups": (replace(WELL.backups[0], modified=NOW + 3601),)},
            "postgres_20261122_020000.sql.gz is of 2026-11-1",
        ),
        ({"backups": ()}, "there is no good backup"),
        ({"backups_trouble": "/b: Permission denied"}, "/b: Permission denied"),
        ({"disk_used": 0.9, "disk_free": 2_100_000_000}, "a disk is 90% full (2.1 GB free)"),
    ],
)
def test_each_problem_is_one_line(changes: dict[str, Any], expected: str) -> None:
    (problem,) = troubles.of_application(replace(WELL, **changes))
    assert problem.text.startswith(expected)


def test_the_operator_says_how_full_a_disk_and_how_short_a_certificate_may_be() -> None:
    found = replace(WELL, disk_used=0.8, answers=(Answer("https://a", None, days_left=20.0),))
    assert troubles.of_application(found) == []
    wrong = troubles.of_application(found, Limits(disk_percent=80, certificate_days=21))
    assert [trouble.key for trouble in wrong] == ["certificate https://a", "disk"]
    assert troubles.of_application(found, Limits(disk_percent=81, certificate_days=20)) == []


def test_a_new_server_has_a_day_to_make_its_first_backup() -> None:
    young = replace(WELL, backups=(), **of_state(first_deployed=NOW - 25 * 3600))
    assert troubles.of_application(young) == []
    late = replace(young, **of_state(first_deployed=NOW - 27 * 3600))
    (trouble,) = troubles.of_application(late)
    assert trouble.text == "there is no good backup; see /var/log/koprogo-backup.log"


def test_a_bad_commit_that_a_newer_one_followed_is_no_problem() -> None:
    assert troubles.of_application(replace(WELL, **of_state(quarantine=(Bad(BAD, "sick", NOW),)))) == []


def test_status_says_what_programs_rely_on() -> None:
    state = replace(
        WELL.state,
        attempt=Attempt(
            BAD, Step.ROLLING_BACK, 1_794_999_900.0, 2, ("https://koprogo.test",), service="backend", by="marie"
        ),
        hold=Hold(1_794_999_000.0, "audit", by="marie"),
        quarantine=(Bad(BAD, "backend: unhealthy", 1_794_999_950.0),),
        check=Check(1_794_999_940.0, BAD, "bbbbbbb was rolled back", 1_794_999_930.0),
    )
    answers = (*WELL.answers, Answer("https://api.koprogo.test", "HTTP 503"))
    found = replace(WELL, state=state, answers=answers, entries=PAST, next_check=NOW + 120, at_work=True)
    found = replace(found, runs=BackupState(drill=Run(1_794_740_800.0, 78.0, "postgres_20261115")))
    assert status.facts(found, settings_applied=True) == {
        "running_commit": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "image_tag": "main-aaaaaaa",
        "since": 1_794_910_000.0,
        "wanted_commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "healthy": False,
        "settings_applied": True,
        "attempt": {
            "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            "step": "rolling back",
            "started": 1_794_999_900.0,
            "service": "backend",
            "by": "marie",
            "rollback": False,
            "tries": 2,
            "at_work": True,
        },
        "deployed_by": "timer",
        "previous_commit": "cccccccccccccccccccccccccccccccccccccccc",
        "hold": {"at": 1_794_999_000.0, "reason": "audit", "commit": None, "by": "marie"},
        "quarantine": [
            {
                "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "reason": "backend: unhealthy",
                "at": 1_794_999_950.0,
            }
        ],
        "last_check": {
            "at": 1_794_999_940.0,
            "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            "problem": "bbbbbbb was rolled back",
        },
        "next_check": 1_795_000_120.0,
        "containers": [
            {
                "name": "koprogo-backend",
                "service": "backend",
                "image": "ghcr.io/x/backend:main-aaaaaaa",
                "status": "running",
                "health": "healthy",
                "restarts": 0,
            }
        ],
        "addresses": [
            {"url": "https://koprogo.test", "trouble": None, "certificate_days": 60.2},
            {"url": "https://api.koprogo.test", "trouble": "HTTP 503", "certificate_days": None},
        ],
        "last_backup": {"file": "/b/postgres_20261122_020000.sql.gz", "size": 5_000_000, "at": 1_794_996_400.0},
        "backups": 1,
        "last_drill": {"set": "postgres_20261115", "at": 1_794_740_800.0, "seconds": 78.0, "problem": None},
        "disk_used": 0.31,
    }


def test_status_of_a_server_on_which_nothing_runs() -> None:
    empty = Report(NOW, State(), (), None, (), (), None, 0.1, 10**9)
    assert status.facts(empty, settings_applied=False) == {
        "running_commit": None,
        "image_tag": None,
        "since": None,
        "wanted_commit": None,
        "healthy": False,
        "settings_applied": False,
        "attempt": None,
        "deployed_by": None,
        "previous_commit": None,
        "hold": None,
        "quarantine": [],
        "last_check": None,
        "next_check": None,
        "containers": [],
        "addresses": [],
        "last_backup": None,
        "backups": 0,
        "last_drill": None,
        "disk_used": 0.1,
    }


def test_healthy() -> None:
    assert status.facts(WELL, settings_applied=True)["healthy"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"answers": (Answer("https://a", "HTTP 503"),)},
        {"containers": (replace(BACKEND, health="starting"),)},
        {"docker_trouble": "no daemon"},
        of_state(deployed=None),
    ],
)
def test_not_healthy(changes: dict[str, Any]) -> None:
    assert status.facts(replace(WELL, **changes), settings_applied=True)["healthy"] is False


def test_a_hold_of_less_than_a_day_is_no_problem_and_is_said() -> None:
    for at in (NOW - 86399, NOW + 86400):
        held = replace(WELL, **of_state(hold=Hold(at, "audit", by="marie")))
        assert troubles.of_application(held) == []
        assert "1 backups; no deploys since 20" in health.summary(held)
        assert health.summary(held).endswith(" by marie (audit)")


LONG = "traefik: " + "something went wrong with the certificate resolver " * 9
WORST = replace(
    WELL,
    containers=tuple(
        replace(BACKEND, name=f"koprogo-{name}", service=name, image_ref=f"ghcr.io/gilmry/koprogo/{name}:main-aaaaaaa")
        for name in ("backend", "frontend", "postgres", "traefik")
    ),
    answers=(*WELL.answers, Answer(f"https://api.{'long' * 9}.koprogo.test/api/v1/health", LONG)),
    state=replace(
        WELL.state,
        attempt=Attempt(BAD, Step.STARTED, NOW, 2, service="backend"),
        quarantine=tuple(Bad(commit * 40, LONG, NOW) for commit in "123"),
        check=Check(NOW, BAD, LONG),
        hold=Hold(NOW, LONG[:100], by="marie"),
    ),
    entries=PAST,
    timer_trouble="koprogo-gitops.timer is inactive: systemctl start koprogo-gitops.timer",
)


def test_the_screen_has_what_matters_and_fits() -> None:
    state = replace(
        WELL.state,
        attempt=Attempt(BAD, Step.STARTED, NOW, service="backend"),
        quarantine=(Bad(BAD, "backend: unhealthy", NOW),),
    )
    found = replace(WELL, state=state, entries=PAST, next_check=NOW + 95)
    text = status.screen(found, status.facts(found, settings_applied=False))
    for part in ("aaaaaaa (main-aaaaaaa) runs since", ": healthy", "koprogo deploy", "running (healthy)",
                 "deployed by timer; koprogo rollback goes to ccccccc", "certificate 60 days", "; next in 95 s",
                 "In progress  bbbbbbb: started (backend); interrupted, the next check takes it up\n",
                 "Quarantine   bbbbbbb", "(60 min ago), 5.0 MB, 1 kept; no drill yet",
                 "31% used, 17.0 GB free"):  # fmt: skip
        assert part in text
    at_work = replace(found, at_work=True, next_check=None)
    text = status.screen(at_work, status.facts(at_work, settings_applied=False))
    assert "; one is at work\n" in text
    assert text.splitlines()[0].endswith(": healthy")
    assert "bbbbbbb: started (backend)\n" in text


def test_a_switch_that_goes_on_is_no_alarm() -> None:
    second = replace(BACKEND, name="production-backend-2", health="starting")
    state = replace(WELL.state, attempt=Attempt(BAD, Step.STARTED, NOW, service="backend"))
    found = replace(WELL, containers=(BACKEND, second), state=state, at_work=True)

    def word(of: Report) -> str:
        return status.screen(of, status.facts(of, settings_applied=True)).splitlines()[0].rpartition(": ")[2]

    assert word(found) == "being replaced"
    assert not status.healthy(found)
    assert word(replace(found, at_work=False)) == "NOT HEALTHY"
    assert word(replace(found, docker_trouble="docker ps: no daemon")) == "NOT HEALTHY"
    assert word(replace(found, answers=(Answer("https://koprogo.test", "HTTP 503"),))) == "NOT HEALTHY"
    assert word(replace(found, containers=(replace(BACKEND, health="unhealthy"), second))) == "NOT HEALTHY"
    waits = replace(state, attempt=Attempt(BAD, Step.FETCHED, NOW))
    assert word(replace(found, state=waits)) == "NOT HEALTHY"
    lines = status.screen(found, status.facts(found, settings_applied=True)).splitlines()
    assert [line.index("running") for line in lines if "running (" in line] == [23, 23]


def test_however_much_is_wrong_it_fits_on_a_screen() -> None:
    lines = status.screen(WORST, status.facts(WORST, settings_applied=False)).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert [line[:11].strip() for line in lines[11:] if not line.startswith(" ")] == [
        "Paused", "Checked", "Problem", "In progress", "Quarantine", "Backup", "Disk",
    ]  # fmt: skip
    assert "koprogo-gitops.timer is inactive: systemctl start" in " ".join(" ".join(lines).split())
    assert "1111111" not in " ".join(lines)
    assert "Quarantine   3333333 (and 2 before) since 20" in " ".join(lines)


def test_twenty_services_fit_on_a_screen_and_those_that_are_not_well_come_first() -> None:
    many = [replace(BACKEND, name=f"koprogo-{n}", service=str(n), image_ref="x" * 99) for n in range(20)]
    many[17] = replace(many[17], status="restarting", health=None)
    for report, shown in ((WELL, 15), (WORST, 3)):
        found = replace(report, containers=tuple(many))
        lines = status.screen(found, status.facts(found, settings_applied=False)).splitlines()
        assert (len(lines), max(map(len, lines))) == (24, 80)
        listed = [line for line in lines if line.startswith("  koprogo-")]
        assert listed[0].startswith("  koprogo-17          restarting ")
        assert len(listed) == shown
        assert f"  and {20 - shown} more, {20 - shown} of them well: koprogo status --json" in lines


def test_alerts_are_one_line_of_the_screen() -> None:
    def last(alerts: list[str], trouble: str | None = None, found: Report = WELL) -> str:
        data = status.facts(found, settings_applied=False)
        data |= {"alerts": [{"key": "k", "text": text, "since": NOW} for text in alerts], "alerts_trouble": trouble}
        text = status.screen(found, data)
        assert len(text.splitlines()) <= 24
        return text.splitlines()[-1]

    assert last([]).startswith("Disk ")
    assert last(["https://a: HTTP 503"]) == "Alerts       https://a: HTTP 503"
    assert last(["https://a: HTTP 503", "b"], found=WORST) == "Alerts       2 things: https://a: HTTP 503"
    nobody = "alerts go nowhere (no ALERT_EMAIL, no ALERT_WEBHOOK_URL)"
    assert last([], nobody) == f"Alerts       {nobody}"


def test_the_last_drill_is_said() -> None:
    drill = Run(NOW - 3 * 86400, 78.0, "postgres_20261115")
    for run, words in ((drill, "; drill 3 d ago"), (replace(drill, problem="rows are missing"), "; the drill failed")):
        found = replace(WELL, runs=BackupState(drill=run))
        text = status.screen(found, status.facts(found, settings_applied=True))
        assert f"(60 min ago), 5.0 MB, 1 kept{words}\n" in text


def test_a_backup_of_the_future_is_told_of_and_one_of_a_clock_that_is_set_right_is_not() -> None:
    def said(ahead: float) -> list[str]:
        (last,) = WELL.backups
        return [
            one.text for one in troubles.of_application(replace(WELL, backups=(replace(last, modified=NOW + ahead),)))
        ]

    assert said(3600) == []
    (text,) = said(3601)
    assert "postgres_20261122_020000.sql.gz is of 2026-" in text
    assert text.endswith(", so the clock was wrong; move that set elsewhere")


def test_of_copies_elsewhere_the_last_good_ones_are_said() -> None:
    good, bad = Run(NOW - 86400 * 2, 9.0, "postgres_20261120"), Run(NOW, 1.0, "", "The store refuses us.")

    def said(runs: BackupState) -> tuple[dict[str, Any], str]:
        data = status.facts(WELL, settings_applied=True) | {"offsite": status.copies(runs)}
        return data["offsite"], status.screen(replace(WELL, runs=runs), data)

    facts, text = said(BackupState(upload=bad, good_upload=good))
    assert facts == {"stored": NOW - 86400 * 2, "checked": None, "problem": "The store refuses us."}
    assert "Off-site     stored 2 d ago, checked never; the last failed\n" in text
    facts, text = said(BackupState(upload=good, good_upload=good, offsite_check=bad, good_offsite_check=good))
    assert facts["problem"] == "The store refuses us."
    facts, text = said(BackupState(upload=good, good_upload=good, offsite_check=good, good_offsite_check=good))
    assert facts["problem"] is None
    assert "Off-site     stored 2 d ago, checked 2 d ago\n" in text
    assert "Off-site" not in status.screen(WELL, status.facts(WELL, settings_applied=True) | {"offsite": None})


def test_rolled_back_is_said() -> None:
    found = replace(WELL, **of_state(hold=Hold(NOW, "rolled back from bbbbbbb", COMMIT, "marie")))
    text = status.screen(found, status.facts(found, settings_applied=True))
    assert "Rolled back  since 20" in text
    assert "by marie (rolled back from bbbbbbb); to go on: koprogo resume" in " ".join(text.split())


def test_the_screen_of_a_server_on_which_nothing_runs() -> None:
    empty = Report(NOW, State(), (), None, (), (), None, 0.1, 10**9)
    text = status.screen(empty, status.facts(empty, settings_applied=False))
    assert "Nothing was deployed successfully so far.\n" in text
    failed = replace(empty, state=State(quarantine=(Bad(BAD, "backend: unhealthy", NOW),)))
    lines = status.screen(failed, status.facts(failed, False)).splitlines()
    assert lines[0] == "Nothing was deployed successfully so far. What stands there was left: docker ps"
    assert any(line.startswith("Quarantine") and line.endswith("backend: unhealthy") for line in lines)
    assert "never" in text


TIMER = "LoadState=loaded\nActiveState=active\nNextElapseUSecMonotonic={}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TIMER.format("1h 3min 12.500000s"), (1000 + 3792.5, None)),
        (TIMER.format("2w 1d 5ms"), (1000 + 1296000.005, None)),
        (TIMER.format("infinity"), (None, None)),
        (TIMER.format("infinity").replace("=active", "=activating"), (None, None)),
        (TIMER.format(""), (None, None)),
        (
            TIMER.format("").replace("=active", "=inactive"),
            (None, "koprogo-gitops.timer is inactive: systemctl start koprogo-gitops.timer"),
        ),
        ("LoadState=not-found\nActiveState=inactive\n", (None, "there is no koprogo-gitops.timer")),
        ("", (None, None)),
    ],
)
def test_when_the_next_check_comes(text: str, expected: tuple[float | None, str | None]) -> None:
    assert timer.read(text, booted=1000.0) == expected


def test_without_systemd_nobody_knows_when_the_next_check_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert timer.ask(Runner()) == (None, None)


def test_whether_somebody_is_at_work(tmp_path: Path) -> None:
    path = tmp_path / "deploy.lock"
    assert not lock.held(path)
    with lock.exclusive(path, wait=False):
        assert lock.held(path)
    assert path.exists()
    assert not lock.held(path)
