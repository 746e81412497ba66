"""Restarts that nobody sees at the moment of a check, and the file for Prometheus."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo.backups.backup_state import BackupState, Run
from koprogo.health import flapping, metrics
from koprogo.health.flapping import Counted
from koprogo.health.troubles import Trouble
from koprogo.state import Bad
from koprogo.web import Answer
from test_koprogo_health import BACKEND, NOW, WELL, of_state
from test_koprogo_notify import config


def restarting(restarts: list[int], minutes: float = 5, first: float = NOW) -> list[list[str]]:
    """What is told of a container at each check, given how often it had restarted."""
    counted: tuple[Counted, ...] = ()
    found = []
    for number, times in enumerate(restarts):
        container = replace(BACKEND, restarts=times, status="restarting", exit_code=3)
        counted = flapping.noted(counted, [container], first + number * minutes * 60)
        found.append([trouble.text for trouble in flapping.troubles(counted, [container])])
    return found


def test_a_container_that_restarts_three_times_within_an_hour_flaps() -> None:
    line = "backend: restarted 3 times within the hour, last exit code 3; see `koprogo logs backend`"
    assert restarting([7, 8, 9]) == [[], [], []]
    assert restarting([7, 8, 9, 10]) == [[], [], [], [line]]
    assert restarting([0, 1, 2, 3], minutes=20) == [[], [], [], [line]]
    assert restarting([0, 1, 2, 3], minutes=20.1) == [[], [], [], []]
    assert restarting([0, 3] + [3] * 11)[-1] == [line]
    assert restarting([0, 3] + [3] * 12)[-1] == []


def test_restarts_of_another_container_or_a_clock_that_was_ahead_do_not_count() -> None:
    before = (Counted(NOW - 60, {"1": 0}), Counted(NOW + 86400, {"2": 0}))
    new = replace(BACKEND, id="2", restarts=5)
    counted = flapping.noted(before, [new], NOW)
    assert flapping.troubles(counted, [new]) == []
    assert [one.at for one in counted] == [NOW - 60, NOW]


def test_what_is_remembered_of_restarts_is_bounded() -> None:
    counted: tuple[Counted, ...] = ()
    for number in range(100):
        counted = flapping.noted(counted, [replace(BACKEND, id="f" * 64)], NOW + 300 * number)
    assert len(counted) == 13
    assert set(counted[0].restarts) == {"ffffffffffff"}


def test_the_text_for_prometheus() -> None:
    found = replace(
        WELL,
        answers=(
            Answer('https://koprogo.test/"a\\b"', None, days_left=60.5, milliseconds=41.5),
            Answer("https://api.koprogo.test", "HTTP 503"),
        ),
        containers=(BACKEND, replace(BACKEND, name="web", service="frontend", health="unhealthy", restarts=4)),
        runs=BackupState(
            good_backup=Run(NOW - 3600, 5.0),
            upload=Run(NOW, 1.0, problem="no"),
            good_offsite_check=Run(NOW - 7200, 3.0),
        ),
        **of_state(quarantine=(Bad("b" * 40, "sick", NOW),)),
    )
    wrong = [Trouble("public https://api.koprogo.test", "x"), Trouble("disk", "y"), Trouble("disk", "z")]
    assert metrics.render(found, wrong, ["disk"]) == (
        "# HELP koprogo_check_time_seconds When the last health check looked.\n"
        "# TYPE koprogo_check_time_seconds gauge\n"
        "koprogo_check_time_seconds 1795000000\n"
        "# HELP koprogo_up Whether a public address answers.\n"
        "# TYPE koprogo_up gauge\n"
        'koprogo_up{url="https://koprogo.test/\\"a\\\\b\\""} 1\n'
        'koprogo_up{url="https://api.koprogo.test"} 0\n'
        "# HELP koprogo_response_seconds How long it took to answer.\n"
        "# TYPE koprogo_response_seconds gauge\n"
        'koprogo_response_seconds{url="https://koprogo.test/\\"a\\\\b\\""} 0.042\n'
        "# HELP koprogo_certificate_remaining_seconds For how long its certificate is valid.\n"
        "# TYPE koprogo_certificate_remaining_seconds gauge\n"
        'koprogo_certificate_remaining_seconds{url="https://koprogo.test/\\"a\\\\b\\""} 5227200\n'
        "# HELP koprogo_container_running Whether a container runs and is not unhealthy.\n"
        "# TYPE koprogo_container_running gauge\n"
        'koprogo_container_running{name="koprogo-backend",service="backend"} 1\n'
        'koprogo_container_running{name="web",service="frontend"} 0\n'
        "# HELP koprogo_container_restarts How often Docker started it again.\n"
        "# TYPE koprogo_container_restarts gauge\n"
        'koprogo_container_restarts{name="koprogo-backend",service="backend"} 0\n'
        'koprogo_container_restarts{name="web",service="frontend"} 4\n'
        "# HELP koprogo_deployed_time_seconds Since when this version runs.\n"
        "# TYPE koprogo_deployed_time_seconds gauge\n"
        f'koprogo_deployed_time_seconds{{commit="{"a" * 40}",tag="main-aaaaaaa"}} 1794910000\n'
        "# HELP koprogo_quarantine How many commits are in quarantine.\n"
        "# TYPE koprogo_quarantine gauge\n"
        "koprogo_quarantine 1\n"
        "# HELP koprogo_last_good_time_seconds When this was done well last.\n"
        "# TYPE koprogo_last_good_time_seconds gauge\n"
        'koprogo_last_good_time_seconds{what="backup"} 1794996400\n'
        'koprogo_last_good_time_seconds{what="offsite_check"} 1794992800\n'
        "# HELP koprogo_trouble What is wrong now.\n"
        "# TYPE koprogo_trouble gauge\n"
        'koprogo_trouble{key="disk"} 1\n'
        'koprogo_trouble{key="public https://api.koprogo.test"} 1\n'
        "# HELP koprogo_alert What somebody was told of and is not over.\n"
        "# TYPE koprogo_alert gauge\n"
        'koprogo_alert{key="disk"} 1\n'
    )


def test_the_file_is_where_the_node_exporter_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, exporter = tmp_path / "state", tmp_path / "exporter"
    state.mkdir()
    metrics.write(config(state, None), "a 1\n", exporter)
    assert (state / "koprogo.prom").read_text() == "a 1\n"
    exporter.mkdir()
    metrics.write(config(state, None), "a 2\n", exporter)
    before = os.umask(0o077)
    try:
        metrics.write(config(state, None), "a 3\n", exporter)
    finally:
        os.umask(before)
    assert [path.name for path in exporter.iterdir()] == ["koprogo.prom"]
    assert (exporter / "koprogo.prom").read_text() == "a 3\n"
    assert (exporter / "koprogo.prom").stat().st_mode & 0o777 == 0o644
    (exporter / "koprogo.prom").unlink()
    (exporter / "koprogo.prom").mkdir()
    metrics.write(config(state, None), "a 4\n", exporter)
    said = capsys.readouterr().err
    assert f"PROBLEM {exporter}/koprogo.prom: Is a directory. Once: sudo chgrp koprogo {exporter} && " in said
