"""Templates: built once, never half-made, safe against two runs at once."""

import os
import threading
from pathlib import Path

import pytest

from sandbox import cache


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    return tmp_path


def write(text: str):  # type: ignore[no-untyped-def]  # a closure that only these tests use
    def build(folder: Path) -> None:
        (folder / "content").write_text(text)

    return build


def test_a_template_is_built_once_per_key(root: Path) -> None:
    first = cache.template("base", "a", write("one"))
    assert (first / "content").read_text() == "one"
    assert cache.template("base", "a", write("two")) == first
    assert (first / "content").read_text() == "one"
    other = cache.template("base", "b", write("two"))
    assert (other / "content").read_text() == "two"
    assert first.exists()


def test_a_failed_build_leaves_nothing_and_is_tried_again(root: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("")
        raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        cache.template("base", "a", broken)
    assert list((root / "templates").iterdir()) == []
    assert (cache.template("base", "a", write("whole")) / "content").read_text() == "whole"


def test_what_a_killed_build_left_is_thrown_away(root: Path) -> None:
    left = root / "templates" / f".base-{cache.key_of('a')}.partial"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    made = cache.template("base", "a", write("whole"))
    assert [p.name for p in made.iterdir()] == ["content"]
    assert not left.exists()


def test_two_at_once_build_one(root: Path) -> None:
    builds: list[str] = []
    both = threading.Barrier(2, timeout=10)

    def run() -> None:
        both.wait()
        cache.template("base", "a", lambda folder: builds.append(folder.name))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(builds) == 1


def test_a_template_nobody_used_for_a_week_goes_unless_a_machine_runs_on_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, running = cache.template("base", "a", write("")), cache.template("base", "b", write(""))
    for folder in (old, running):
        os.utime(folder, (0, 0))
    monkeypatch.setattr(cache, "used_by_anyone", lambda path: path == running)
    recent = cache.template("base", "c", write(""))
    assert sorted((root / "templates").iterdir()) == sorted([running, recent])


def test_key_changes_with_text_content_name_and_mode_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "a"
    file.write_text("1")
    file.chmod(0o644)
    keys = [cache.key_of("x", folder), cache.key_of("y", folder)]
    file.write_text("2")
    keys.append(cache.key_of("x", folder))
    file.chmod(0o755)
    keys.append(cache.key_of("x", folder))
    file.rename(folder / "b")
    keys.append(cache.key_of("x", folder))
    assert len(set(keys)) == 5
    assert all(len(key) == 12 for key in keys)
