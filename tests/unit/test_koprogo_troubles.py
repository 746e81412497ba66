"""What is wrong with backups and with the machine."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from koprogo import report
from koprogo.backups.backup_state import BackupState, Run
from koprogo.health import health, machine, troubles
from koprogo.health.machine import Machine
from koprogo.report import Report
from koprogo.runner import Result, Runner
from koprogo.state import Attempt, State, Step
from test_koprogo_notify import config

NOW = 1_795_000_000.0
WELL = Machine(memory_free=0.5, swap_used=0.1, inodes_used=0.2, load=0.3, out_of_memory=0)
FOUND = Report(NOW, State(first_deployed=NOW - 30 * 86400), (), None, (), (), None, 0.1, 1)


def texts(found: list[troubles.Trouble]) -> list[str]:
    return [trouble.text for trouble in found]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory_free": 0.049}, "5% of the memory are left; see `docker stats`"),
        ({"swap_used": 0.9}, "90% of the swap are used; see `free -h`"),
        ({"inodes_used": 0.95}, "95% of the inodes of a disk are used; see `df -i`"),
        ({"load": 10.0}, "the load is 10 for each processor; see `top`"),
        ({"failed_units": ("a.service",)}, "a.service failed; see `systemctl status a.service`"),
        ({"reboot_since": NOW - 15 * 86400}, "updates wait for a reboot since 2026-11-0"),
        ({"clock_adrift": True}, "the clock is not kept right; see `timedatectl`"),
    ],
)
def test_each_trouble_of_the_machine(changes: dict[str, Any], expected: str) -> None:
    assert troubles.of_machine(WELL, NOW, 0) == []
    (text,) = texts(troubles.of_machine(replace(WELL, **changes), NOW, 0))
    assert text.startswith(expected)


def test_a_program_that_the_kernel_ended_is_told_of_for_an_hour() -> None:
    line = ["the kernel ended a program for want of memory; see `journalctl -k -g oom`"]
    assert texts(troubles.of_machine(WELL, NOW, NOW)) == line
    assert texts(troubles.of_machine(WELL, NOW, NOW - 3599)) == line
    assert troubles.of_machine(WELL, NOW, NOW - 3600) == []


def test_a_reboot_may_wait_for_two_weeks() -> None:
    assert troubles.of_machine(replace(WELL, reboot_since=NOW - 13 * 86400), NOW, 0) == []


def test_the_unit_of_the_deploys_is_no_second_word_for_what_its_checks_say() -> None:
    ours = replace(WELL, failed_units=("koprogo-gitops.service",))
    assert troubles.of_machine(ours, NOW, 0) == []
    (text,) = texts(troubles.of_machine(replace(ours, failed_units=(*ours.failed_units, "a.service")), NOW, 0))
    assert text == "a.service failed; see `systemctl status a.service`"


def test_each_failed_unit_is_told_of_by_itself_and_not_more_than_five() -> None:
    names = tuple(f"{letter}.service" for letter in "abcdef")
    found = troubles.of_machine(replace(WELL, failed_units=names), NOW, 0)
    assert [trouble.key for trouble in found] == [f"unit {name}" for name in names[:5]]


def test_what_is_wrong_with_backups() -> None:
    good, bad = Run(NOW - 86400, 5.0, "postgres_1"), Run(NOW - 60, 5.0, "postgres_2", "pg_dumpall failed")
    well = BackupState(backup=good, good_backup=good, drill=good, good_drill=good)

    def said(runs: BackupState, since: float | None = None) -> list[str]:
        return texts(troubles.of_backups(replace(FOUND, runs=runs), since))

    assert said(well) == []
    assert said(replace(well, backup=bad)) == ["the last backup failed: pg_dumpall failed"]
    assert said(replace(well, drill=bad)) == ["the drill failed: pg_dumpall failed"]
    old = replace(good, at=NOW - 9 * 86400)
    assert [text[:41] for text in said(replace(well, good_drill=old))] == ["no backup was restored in a drill since 2"]
    assert [text.partition("-")[0] for text in said(well, 0)] == [
        "nothing was stored elsewhere since 2026",
        "the copies elsewhere were not checked since 2026",
    ]
    # Set up a day ago on a server that is older than that: nothing is late.
    assert said(well, NOW - 86400) == []
    copied = replace(well, upload=bad, good_upload=good, good_offsite_check=good, offsite_check=good)
    assert said(copied, 0) == ["no copy elsewhere: pg_dumpall failed"]
    stopped = replace(copied, upload=good, good_upload=replace(good, at=NOW - 2 * 86400 - 1))
    assert [text[:37] for text in said(stopped, NOW - 60)] == ["nothing was stored elsewhere since 20"]
    assert said(replace(stopped, good_upload=replace(good, at=NOW - 2 * 86400)), 0) == []
    assert said(replace(copied, offsite_check=bad), 0) == [
        "no copy elsewhere: pg_dumpall failed",
        "the copies elsewhere: pg_dumpall failed",
    ]


def test_only_what_a_deploy_may_cause_is_put_down_to_it() -> None:
    assert [key for key in ("public https://a", "container backend", "checks", "disk", "docker", "backup")
            if troubles.by_deploy(key)] == ["public https://a", "container backend", "checks"]  # fmt: skip
    attempt = Attempt("a" * 40, Step.STARTED, NOW - 3600)
    at_work = replace(FOUND, state=State(attempt=attempt), at_work=True)
    assert health.deploying(at_work)
    assert not health.deploying(replace(at_work, now=NOW + 1))
    assert not health.deploying(replace(at_work, at_work=False))
    assert not health.deploying(replace(FOUND, at_work=True))


def test_the_inodes_of_every_disk_count_where_a_file_system_has_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"/": (100, 5), "/var/lib/docker": (100, 2), "/btrfs": (0, 0)}

    def statvfs(path: Path) -> SimpleNamespace:
        files, free = counts.get(str(path), (100, 90))
        return SimpleNamespace(f_files=files, f_favail=free)

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr(Path, "exists", lambda path: path != machine.REBOOT)
    monkeypatch.setattr(Runner, "run", lambda *_, **__: Result(0, "", ""))
    assert machine.look(Runner(), report.disks(config(tmp_path, None)), tmp_path).inodes_used == 0.98
    assert machine.look(Runner(), [Path("/btrfs")], tmp_path).inodes_used == 0


def test_the_machine_as_the_kernel_and_systemd_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text(
        "MemTotal: 2000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\nSwapTotal: 100 kB\nSwapFree: 25 kB\n"
    )
    (tmp_path / "vmstat").write_text("oom_kill_disable 9\noom_kill 3\n")
    answers = {"systemctl": "a.service loaded failed failed A\n", "timedatectl": "NTP=yes\nNTPSynchronized=no\n"}
    monkeypatch.setattr(Runner, "run", lambda _self, argv, **_more: Result(0, answers[argv[0]], ""))
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 12.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "reboot").touch()
    monkeypatch.setattr(machine, "REBOOT", tmp_path / "reboot")
    seen = machine.look(Runner(), [], tmp_path)
    assert (seen.load, seen.reboot_since) == (3.0, (tmp_path / "reboot").stat().st_mtime)
    assert (seen.memory_free, seen.swap_used, seen.out_of_memory) == (0.25, 0.75, 3)
    assert (seen.failed_units, seen.clock_adrift) == (("a.service",), True)
    answers |= {"systemctl": "", "timedatectl": "NTP=no\nNTPSynchronized=no\n"}
    (tmp_path / "meminfo").unlink()
    seen = machine.look(Runner(), [], tmp_path)
    assert (seen.memory_free, seen.swap_used, seen.failed_units, seen.clock_adrift) == (1, 0, (), False)
