"""Lines for the log: where they go, and that a line that cannot be written ends nothing."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from koprogo import log


@pytest.fixture(autouse=True)
def kept_nowhere() -> Iterator[None]:
    yield
    log.keep_in(None)


def test_lines_go_to_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gitops.log"
    log.keep_in(file)
    log.say("Deployed é")
    log.complain("stuck")
    out, err = capsys.readouterr()
    assert out.split(" ", 1)[1] == "Deployed é\n"
    assert err.split(" ", 1)[1] == "PROBLEM stuck\n"
    assert file.read_text() == out + err
    log.keep_in(None)
    log.say("for the terminal alone")
    assert file.read_text() == out + err


def test_a_line_cannot_write_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "gitops.log"
    log.keep_in(file)
    log.say("it changes the data (1 → \x1b]0;x\x07\x1b[2J2)\n  second line")
    expected = "it changes the data (1 →  ]0;x  [2J2)\n  second line\n"
    assert (capsys.readouterr().out.split(" ", 1)[1], file.read_text().split(" ", 1)[1]) == (expected, expected)


def test_a_file_that_was_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "gitops.log"
    log.keep_in(file)
    log.say("one")
    file.rename(tmp_path / "gitops.log.1")
    log.say("two")
    assert file.read_text().split(" ", 1)[1] == "two\n"


def test_a_file_that_cannot_be_written_is_no_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.keep_in(tmp_path / "nowhere" / "gitops.log")
    log.say("goes on")
    assert capsys.readouterr().out.endswith("goes on\n")


class Full(io.StringIO):
    """A full disk behind standard output."""

    def write(self, _: str) -> int:
        """Fail."""
        raise OSError(28, "No space left on device")


def test_an_output_that_is_full_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.keep_in(tmp_path / "gitops.log")
    monkeypatch.setattr(sys, "stdout", Full())
    log.say("goes on")
    assert (tmp_path / "gitops.log").read_text().endswith("goes on\n")
