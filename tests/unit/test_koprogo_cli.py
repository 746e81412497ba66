"""Each command reaches what does it, with what was typed."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from koprogo import cli

CONFIG: Any = object()
FILES = {"files": False, "yes": False}


@pytest.mark.parametrize(
    ("typed", "where", "arguments", "options"),
    [
        ("status --json", "status.run", (), {"as_json": True}),
        ("deploy", "deploys.deploy.run", (), {"asked": True}),
        ("deploy --check", "deploys.deploy.run", (), {"asked": False}),
        ("retry", "deploys.deploy.run", (), {"asked": True, "retry": True}),
        ("diff", "deploys.diff.run", (), {}),
        ("history", "history.run", (), {"as_json": False}),
        ("rollback abc --data-restored", "deploys.operate.go_back", ("abc",), {"data_restored": True}),
        ("pause", "deploys.operate.pause", ("no reason given",), {}),
        ("pause the audit", "deploys.operate.pause", ("the audit",), {}),
        ("resume", "deploys.operate.resume", (), {}),
        ("logs backend -n 5 -f", "deploys.operate.logs", ("backend", 5), {"follow": True}),
        ("backup", "backups.backup.run", (), {"offsite": True}),
        ("backup --no-offsite", "backups.backup.run", (), {"offsite": False}),
        ("backup --verify", "backups.backup.verify", ("",), {}),
        ("restore", "backups.restore.run", ("",), FILES),
        ("restore S --with-files --yes", "backups.restore.run", ("S",), {"files": True, "yes": True}),
        ("restore S --into-scratch", "backups.restore.into_scratch", ("S",), {}),
        ("restore --resume", "backups.restore.resume", (), {}),
        ("restore --drop-old --yes", "backups.restore.drop_old", (), {"yes": True}),
        ("offsite list", "backups.offsite.show", (), {}),
        ("offsite upload", "backups.offsite_upload.upload", (), {}),
        ("offsite check", "backups.offsite.check", (), {}),
        ("offsite setup", "backups.offsite.setup", (), {}),
        ("offsite recover S", "backups.recovery.recover", ("S",), {}),
        ("offsite finish", "backups.recovery.finish", (), {}),
        ("drill", "backups.drill.run", (), {}),
        ("health --json", "health.health.run", (), {"as_json": True}),
        ("health --test-alert", "alerts.notify.test", (), {}),
        ("page", "page.page.run", (), {}),
    ],
)
def test_a_command_does_what_it_is_called(
    typed: str, where: str, arguments: tuple[Any, ...], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = _stand_in(where, 7, monkeypatch)
    assert cli._run(cli._parser().parse_args(typed.split()), CONFIG) == 7
    done.assert_called_once_with(CONFIG, *arguments, **options)


def test_what_it_writes_is_no_one_else_s_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.settings, "load", lambda: CONFIG)
    monkeypatch.setattr(cli, "become_owner", lambda _: None)
    _stand_in("status.run", 0, monkeypatch)
    before = os.umask(0)
    try:
        assert cli.main(["status"]) == 0
    finally:
        after = os.umask(before)
    assert after == 0o022


def test_what_comes_home_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = _stand_in("backups.offsite.fetch", "20261122_020005", monkeypatch)
    restored = _stand_in("backups.restore.run", 0, monkeypatch)
    assert cli._run(cli._parser().parse_args(["restore", "--from-offsite"]), CONFIG) == 0
    fetched.assert_called_once_with(CONFIG, "")
    restored.assert_called_once_with(CONFIG, "20261122_020005", **FILES)


@pytest.mark.parametrize("arguments", ["--drop-old koprogo-restore-1 --yes", "--resume S", "--drop-old --from-offsite"])
def test_what_is_about_no_set_is_not_told_of_one(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.settings, "load", lambda: pytest.fail("it goes on"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["restore", *arguments.split()])
    assert ended.value.code == 2
    assert "--resume and --drop-old are about no set in particular" in capsys.readouterr().err


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize(("target", "said"), [("pipe", ""), ("full", "standard output: No space left on device.")])
def test_what_nobody_reads_or_cannot_be_written_is_a_line_at_most(lines: int, target: str, said: str) -> None:
    program = (
        "import sys\nfrom koprogo import cli\ncli.settings.load = cli.become_owner = lambda *_: None\n"
        f"cli._run = lambda *_: [print('x') for _ in range({lines})] and 0\nsys.exit(cli.main(['status']))"
    )
    with Path("/dev/full").open("wb") as full:
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=write if target == "pipe" else full,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(cli.__file__).parents[1])},
            check=False,
        )
        os.close(write)
    assert (done.returncode, done.stderr.strip().partition("PROBLEM ")[2]) == (1 if said else 0, said)
    assert len(done.stderr.splitlines()) == bool(said)


def _stand_in(where: str, result: object, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put one into the place of a function that takes what that takes."""
    module, _, name = f"koprogo.{where}".rpartition(".")
    there = importlib.import_module(module)
    stand_in = create_autospec(getattr(there, name), return_value=result)
    monkeypatch.setattr(there, name, stand_in)
    return stand_in
