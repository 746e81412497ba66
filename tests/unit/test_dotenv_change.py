"""Changing one variable of a .env file."""

import os
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from test_settings import env_file, folder

import settings
from configuration.dotenv_change import changed

__all__ = ["folder"]  # the fixture


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\nFLAVOR=d2-2\nB=2\n", "A=1\nFLAVOR=d2-4\nB=2\n"),
        ("FLAVOR=d2-2", "FLAVOR=d2-4"),
        ("FLAVOR=\n", "FLAVOR=d2-4\n"),
        ("FLAVOR=  \nB=2", "FLAVOR=d2-4  \nB=2"),
        (
            "\n\n  export FLAVOR = 'd2-2'  # the small one\r\nB=2\r\n",
            "\n\n  export FLAVOR = 'd2-4'  # the small one\r\nB=2\r\n",
        ),
        ("FLAVOR=d2-2 # small\n", "FLAVOR=d2-4 # small\n"),
        ("FLAVOR= # small\n", "FLAVOR=d2-4 # small\n"),
        ("FLAVOR=#small\n", "FLAVOR=d2-4\n"),
        ('FLAVOR="d2\\"\n-2"#small\n', "FLAVOR='d2-4'#small\n"),
        ("'FLAVOR'=d2-2\n", "'FLAVOR'=d2-4\n"),
        ("\ufeffFLAVOR=d2-2\n", "\ufeffFLAVOR=d2-4\n"),
        ("#FLAVOR=b2-7\nFLAVOR=d2-2\n", "#FLAVOR=b2-7\nFLAVOR=d2-4\n"),
        ("A=1\n\n# small\n#FLAVOR=d2-2\n#B=2\n", "A=1\n\n# small\n#FLAVOR=d2-2\nFLAVOR=d2-4\n#B=2\n"),
        ("A=1\r\n# FLAVOR=d2-2", "A=1\r\n# FLAVOR=d2-2\r\nFLAVOR=d2-4\r\n"),
        ("A='\n#FLAVOR=d2-2\n'\n", "A='\n#FLAVOR=d2-2\n'\nFLAVOR=d2-4\n"),
        ("OLD_FLAVOR=d2-2\nFLAVOR_OLD=d2-2\n", "OLD_FLAVOR=d2-2\nFLAVOR_OLD=d2-2\nFLAVOR=d2-4\n"),
        ("A=1", "A=1\nFLAVOR=d2-4\n"),
        ("", "FLAVOR=d2-4\n"),
    ],
)
def test_the_line_is_another_and_nothing_else_is(before: str, after: str) -> None:
    assert changed(before, "FLAVOR", "d2-4") == after


def test_a_value_that_is_no_plain_word_is_quoted() -> None:
    assert changed("IMAGE=x\n", "IMAGE", "Ubuntu 22.04") == "IMAGE='Ubuntu 22.04'\n"
    assert changed("IMAGE=x\n", "IMAGE", "a #b") == "IMAGE='a #b'\n"


@pytest.mark.parametrize("value", ["d2\nB=2", "it's", "${HOME}", "a\\\\b", "\u201cd2-4\u201d"])
def test_a_value_that_no_line_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="no line of a"):
        changed("FLAVOR=d2-2\n", "FLAVOR", value)


@given(
    st.lists(
        st.sampled_from(
            ["A=1", "B='x y' # z", 'C="1\n#FLAVOR=0\n"', "#FLAVOR=d2-2", "# x", "", "  ", "export D = 4", "E=#", "\r"]
        ),
        unique=True,
    ),
    st.sampled_from(["FLAVOR=d2-2", "FLAVOR = 'd2-2' # it", 'export FLAVOR="d2"', "#", ""]),
    st.integers(0, 10),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_other_variable_keeps_its_value(lines: list[str], line: str, at: int, end: str) -> None:
    text = end.join([*lines[:at], line, *lines[at:]])
    new = changed(text, "FLAVOR", "d2-4")
    assert _values(new) == {**_values(text), "FLAVOR": "d2-4"}
    assert changed(new, "FLAVOR", "d2-4") == new


def _values(text: str) -> dict[str, str | None]:
    return dotenv_values(stream=StringIO(text), interpolate=False)


def test_the_example_gets_the_line_below_its_comment() -> None:
    text = (settings.ROOT / ".env.example").read_text()
    assert changed(text, "FLAVOR", "d2-4") == text.replace("\n#FLAVOR=d2-2\n", "\n#FLAVOR=d2-2\nFLAVOR=d2-4\n")


def test_the_file_keeps_its_mode_and_is_read_with_the_new_value(folder: Path) -> None:
    file = env_file(folder, "\r\n# mine\n")
    file.chmod(0o640)
    before, names = file.read_bytes(), set(folder.iterdir())
    settings.write_variable(settings.load(file), "FLAVOR", "d2-4")
    assert settings.load(file).instance.flavor == "d2-4"
    assert file.read_bytes() == before + b"FLAVOR=d2-4\r\n"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert set(folder.iterdir()) == names


def test_a_link_stays_a_link(folder: Path) -> None:
    env_file(folder).rename(folder / "real.env")
    (folder / ".env").symlink_to("real.env")
    settings.write_variable(settings.load(folder / ".env"), "FLAVOR", "d2-4")
    assert (folder / ".env").is_symlink()
    assert (folder / "real.env").read_text().endswith("\nFLAVOR=d2-4\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root gives a file away")
def test_the_file_keeps_its_owner(folder: Path) -> None:
    file = env_file(folder)
    os.chown(file, 1234, 1235)
    settings.write_variable(settings.load(file), "FLAVOR", "d2-4")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)


def test_a_variable_that_the_environment_sets_is_to_be_changed_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = env_file(folder)
    before = file.read_bytes()
    found = settings.load(file)
    monkeypatch.setenv("FLAVOR", "d2-8")
    with pytest.raises(settings.SettingsError) as caught:
        settings.write_variable(found, "FLAVOR", "d2-4")
    assert str(caught.value) == f"FLAVOR: is set in the environment, which wins over {file}; change it there"
    assert file.read_bytes() == before


def test_a_file_that_cannot_be_written_is_a_line_and_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = env_file(folder)
    before, found = file.read_bytes(), settings.load(file)

    def said(value: str = "d2-4") -> str:
        with pytest.raises(settings.SettingsError) as caught:
            settings.write_variable(found, "FLAVOR", value)
        return str(caught.value)

    assert said("a\nb") == "FLAVOR: cannot be given this value: no line of a .env file holds it"
    monkeypatch.setattr(os, "fsync", _full)
    assert said() == f"{file}: cannot be written (No space left on device); put FLAVOR=d2-4 there yourself"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert said() == f"{file}: cannot be written (it is read-only); put FLAVOR=d2-4 there yourself"
    assert file.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == [".env", "id_ed25519", "id_ed25519.pub"]


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
