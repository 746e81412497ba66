"""Copies elsewhere: which sets are stored, what counts as stored, what comes home, and who opens them."""

import fcntl
import io
import json
import os
import re
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import small_restic
from koprogo import lock
from koprogo.backups import (
    backup,
    backup_folder,
    backup_state,
    dump,
    offsite,
    offsite_store,
    offsite_upload,
    recovery,
    restore,
    sets,
)
from koprogo.backups.backup_state import Run
from koprogo.backups.offsite_store import NoRepository, Place, WrongPassword
from koprogo.config import Config
from koprogo.problem import Problem
from test_koprogo_backup import NIGHT, WHOLE, printing, server, write
from test_koprogo_set import recorded, with_files

__all__ = ["server"]  # a fixture

DAY = 86400


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return small_restic.install(monkeypatch, tmp_path)


@pytest.fixture
def config(server: Config, store: Path, tmp_path: Path) -> Config:
    """A server whose copies two keys open."""
    file = tmp_path / "offsite.json"
    file.write_text(json.dumps({"repository": str(store), "key_id": "AK", "secret": "hidden"}))
    made = replace(server, offsite_file=file)
    made.backup_dir.mkdir(exist_ok=True)
    setup(made)
    return made


def setup(config: Config, recovery: str = "r" * 64) -> int:
    before, sys.stdin = sys.stdin, io.StringIO(json.dumps({"recovery": recovery}))
    try:
        return offsite.setup(config)
    finally:
        sys.stdin = before


def nights(config: Config, count: int) -> list[str]:
    """Sets of so many nights; their names."""
    return [dump.stem(write(config.backup_dir, printing(WHOLE), NIGHT + night * DAY).name) for night in range(count)]


def lose(config: Config) -> None:
    """Let this be a new server in the place of the one that stored the sets."""
    for file in (*config.backup_dir.iterdir(), config.state_dir / "offsite.json", config.state_dir / "state.json"):
        file.unlink()


def calls(store: Path, command: str) -> list[str]:
    found = (store.parent / "calls").read_text().splitlines()
    return [line for line in found if f" {command} " in f" {line} "]


def faults(store: Path, **kinds: object) -> None:
    (store.parent / "faults.json").write_text(json.dumps(kinds))


def stored(store: Path) -> list[str]:
    return [json.loads(file.read_text())["tags"][0] for file in sorted(store.glob("snapshot-*/about"))]


def test_the_newest_set_is_stored_first_and_those_that_are_missing_after_it(config: Config, store: Path) -> None:
    assert nights(config, 3) == ["postgres_20261122_020005", "postgres_20261123_020005", "postgres_20261124_020005"]
    assert offsite_upload.upload(config) == 0
    assert stored(store) == ["postgres_20261124_020005", "postgres_20261123_020005", "postgres_20261122_020005"]
    assert json.loads((config.state_dir / "offsite.json").read_text()) == {
        "postgres_20261124_020005": "snapshot-000",
        "postgres_20261123_020005": "snapshot-001",
        "postgres_20261122_020005": "snapshot-002",
    }
    found = backup_state.load(config.state_dir)
    assert found.good_upload is not None
    assert found.good_upload.set == "postgres_20261124_020005"


def test_an_old_set_that_stays_keeps_no_new_one_from_being_stored(
    config: Config, server: Config, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def stays(*_: object) -> None:
        raise Problem("an old one could not be deleted.")

    monkeypatch.setattr(backup_folder, "remove", stays)
    with pytest.raises(Problem, match="an old one could not be deleted"):
        backup.run(config)
    (made,) = sets.dumps(config.backup_dir)
    assert stored(store) == [dump.stem(made.name)]
    found = backup_state.load(config.state_dir)
    assert found.backup is not None
    assert found.backup.problem == "an old one could not be deleted."


def test_what_is_stored_and_was_read_back_is_not_read_again(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    before = calls(store, "dump")
    offsite_upload.upload(config)
    assert len(before) == 2  # the dump and the manifest
    assert calls(store, "dump") == before
    assert len(calls(store, "backup")) == 1


def test_what_is_gone_from_the_store_is_stored_again(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    shutil.rmtree(store / "snapshot-000")
    offsite_upload.upload(config)
    assert stored(store) == ["postgres_20261122_020005"]


def test_where_there_is_no_set_nothing_was_stored_well(config: Config, store: Path) -> None:
    backup_state.note(config.state_dir, "upload", Run(NIGHT, 1.0, problem="The store refuses us."))
    assert offsite_upload.upload(config) == 0
    found = backup_state.load(config.state_dir)
    assert found.good_upload is None
    assert found.upload is not None
    assert found.upload.problem == "The store refuses us."


def test_a_forgotten_note_costs_reading_and_no_second_copy(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    (config.state_dir / "offsite.json").unlink()
    offsite_upload.upload(config)
    assert len(calls(store, "backup")) == 1
    assert len(calls(store, "dump")) == 4


def test_what_comes_back_otherwise_does_not_count(config: Config, store: Path) -> None:
    nights(config, 1)
    faults(store, cut=True)
    with pytest.raises(Problem, match=r"the store said that it had saved everything, .* is not what is here\."):
        offsite_upload.upload(config)
    found = backup_state.load(config.state_dir)
    assert found.good_upload is None
    assert found.upload is not None
    assert found.upload.problem.startswith("No copy is off-site of postgres_20261122_020005: ")
    # it is stored again once the store is honest
    faults(store)
    assert offsite_upload.upload(config) == 0
    assert stored(store) == ["postgres_20261122_020005", "postgres_20261122_020005"]


def test_what_the_owner_moves_while_he_tidies_up_is_read_once_more_before_the_store_is_called_a_liar(
    config: Config, store: Path
) -> None:
    (name,) = nights(config, 1)
    faults(store, moved=True)
    assert offsite_upload.upload(config) == 0
    assert stored(store) == [name]


def test_a_disk_that_is_full_is_remembered_as_why(config: Config, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/tmp/x")

    monkeypatch.setattr(offsite_store.Store, "unlock", full)
    with pytest.raises(Problem, match=r"No copy is off-site of the newest set: /tmp/x: No space left on device\. What"):
        offsite_upload.upload(config)
    with pytest.raises(Problem, match=r"or cannot be read: /tmp/x: No space left on device\.$"):
        offsite.check(config)
    found = backup_state.load(config.state_dir).offsite_check
    assert found is not None
    assert found.problem == "/tmp/x: No space left on device."


def test_a_store_that_does_not_answer_is_given_up(config: Config, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights(config, 1)
    faults(store, snapshots=30)
    monkeypatch.setattr(offsite_store, "QUICK", 0.5)
    monkeypatch.setattr(offsite_store.Store.run, "__kwdefaults__", {"limit": 0.5, "folder": None, "given": ()})
    with pytest.raises(Problem, match="did not answer restic snapshots within 0 s"):
        offsite_upload.upload(config)


def test_secrets_travel_by_the_environment(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    said = (store.parent / "calls").read_text()
    password = (config.state_dir / "offsite-password").read_text().strip()
    assert len(password) == 64
    assert not [secret for secret in (password, "hidden", "r" * 64) if secret in said]
    assert (config.state_dir / "offsite-password").stat().st_mode & 0o777 == 0o600


def test_a_set_comes_home_whole(config: Config, store: Path) -> None:
    (name,) = nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    assert offsite.fetch(config, "") == "postgres_20261122_020005"
    assert sorted(file.name for file in config.backup_dir.iterdir()) == [f"{name}.json", f"{name}.sql.zst"]
    assert sets.verify(sets.read(sets.find(config.backup_dir, name))).name == name
    assert {file.stat().st_mode & 0o777 for file in config.backup_dir.iterdir()} == {0o600}


def test_a_damaged_set_that_comes_home_leaves_nothing(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    (copy,) = store.glob("snapshot-000/*.zst")
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(Problem, match="What is stored is not what its manifest describes"):
        offsite.fetch(config, "")
    assert list(config.backup_dir.iterdir()) == []


def test_a_store_that_fails_while_a_set_comes_home_is_not_called_a_damaged_copy(config: Config, store: Path) -> None:
    nights(config, 2)
    offsite_upload.upload(config)
    lose(config)
    faults(store, breaks=["Fatal: connection reset by peer"])
    with pytest.raises(Problem, match=r"restic dump failed \(exit code 1\): connection reset by peer"):
        offsite.fetch(config, "")
    assert list(config.backup_dir.iterdir()) == []


def test_of_several_copies_the_last_one_comes_home(config: Config, store: Path) -> None:
    (name,) = nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    earlier = store / "snapshot-001"
    shutil.copytree(store / "snapshot-000", earlier)
    about = {"id": "snapshot-001", "time": "2026-11-22T02:00:04Z", "tags": [name]}
    (earlier / "about").write_text(json.dumps(about))
    for file in earlier.glob("postgres_*"):
        file.write_bytes(b"")
    assert offsite.fetch(config, "") == name


def test_what_is_read_back_comes_from_the_store_and_its_failure_is_said(config: Config, store: Path) -> None:
    nights(config, 1)
    faults(store, dump=["Fatal: load blob: ciphertext verification failed"])
    with pytest.raises(Problem, match=r"restic dump failed \(exit code 1\): load blob: ciphertext verification failed"):
        offsite_upload.upload(config)
    assert all(" --no-cache --no-lock dump " in call for call in calls(store, "dump"))


def test_a_set_that_would_fill_the_disk_is_not_fetched(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    monkeypatch.setattr(offsite.space, "look", lambda path: offsite.space.Room(path, 10_000_000, 500_000, 0, 0))
    with pytest.raises(Problem, match=r"has 0\.5 MB free; the set has 0\.0 MB, and 0\.5 MB have to stay free"):
        offsite.fetch(config, "")
    assert list(config.backup_dir.iterdir()) == []


def test_a_manifest_that_comes_home_and_counts_other_rows_is_seen(config: Config, store: Path) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    (manifest,) = store.glob("snapshot-000/*.json")
    manifest.write_text(manifest.read_text().replace('"uncompressed_size"', '"x"').replace('"koprogo_db"', '"other"'))
    with pytest.raises(Problem, match="its rows are not those of its manifest"):
        offsite.fetch(config, "")
    # By its size it would count as a good one.
    assert list(config.backup_dir.iterdir()) == []


def test_what_comes_without_end_fills_neither_the_memory_nor_the_disk(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    (copy,) = store.glob("snapshot-000/*.zst")
    whole, written = copy.read_bytes(), list[int]()
    copy.write_bytes(whole + bytes(3_000_000))
    unlink = Path.unlink

    def measured(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            written.append(path.stat().st_size)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", measured)
    with pytest.raises(Problem, match="What is stored is not what its manifest describes"):
        offsite.fetch(config, "")
    assert max(written) <= len(whole)
    monkeypatch.setattr(offsite, "MANIFEST_LIMIT", 10)
    with pytest.raises(Problem, match=r"\.json, as it is stored, is no manifest"):
        offsite.fetch(config, "")


def test_what_comes_home_is_on_the_disk_before_it_has_its_name(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = nights(config, 1)
    offsite_upload.upload(config)
    lose(config)
    done = recorded(monkeypatch)
    offsite.fetch(config, name)
    assert done == [
        "fsync .postgres.sql.zst.partial",
        f"fsync .{name}.json.partial",
        f".{name}.json.partial is {name}.json",
        "fsync backups",
        f".postgres.sql.zst.partial is {name}.sql.zst",
        "fsync backups",
    ]


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/evil", "/etc/passwd", "postgres_20261122_020005/../x", "postgres_20991231_235959.env"]
)
def test_a_manifest_from_a_foreign_hand_names_no_other_file(name: str) -> None:
    manifest = {"file": "postgres_20261122_020005.sql.zst", "size": 1, "sha256": "0", "parts": []}
    evil = {"file": name, "size": 1, "sha256": "0"}
    with pytest.raises(Problem, match="names a file that is none of its own"):
        offsite._files("postgres_20261122_020005", json.dumps(manifest | {"parts": [evil]}).encode())


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"file": "a", "sha256": "", "size": 1e999}', '{"parts": 3}']
)
def test_what_is_no_manifest_is_a_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(Problem, match="is no manifest"):
        offsite._files("postgres_20261122_020005", text.encode())
    (tmp_path / "postgres_20261122_020005.json").write_text(text)
    with pytest.raises(Problem, match="is damaged"):
        sets.read(tmp_path / "postgres_20261122_020005.sql.zst")


def test_restics_last_words_may_be_cut_off() -> None:
    said = io.BytesIO(b'Stat: 503\n{"message_type":"exit_error","code":1,"mess')
    assert offsite_store._words(said) == '{"message_type":"exit_error","code":1,"mess'
    said = io.BytesIO(b'{"message_type":"exit_error","code":1,"message":"Fatal: no\\nmore"}\n')
    assert offsite_store._words(said) == "no"


def test_a_new_repository_has_two_keys(config: Config, store: Path) -> None:
    own = (config.state_dir / "offsite-password").read_text().strip()
    assert sorted(file.name for file in (store / "keys").iterdir()) == sorted([own, "r" * 64])
    assert json.loads((config.state_dir / "offsite-ready.json").read_text()) == {
        "repository": str(store),
        "recovery": "c9ea6f42c8efcb14ad78fe636f776ba7963dcf0d3407b359b7a7209f46794b20",
    }
    assert not [file for file in config.state_dir.iterdir() if "r" * 64 in file.read_text()]


def test_the_recovery_key_is_in_no_file_of_the_server_not_even_of_one_that_is_cut_off(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsite_store.Store, "run", lambda *_, **__: os._exit(9))
    if (child := os.fork()) == 0:
        offsite_store.Store(config, Place(str(store))).add_key("s" * 64)
    os.waitpid(child, 0)
    assert not [file for file in config.state_dir.iterdir() if "s" * 64 in file.read_text()]


def test_a_store_that_forgets_a_key_is_found_out(config: Config, store: Path) -> None:
    ready = config.state_dir / "offsite-ready.json"
    ready.unlink()
    (store / "keys" / ("r" * 64)).unlink()
    faults(store, forget=True)
    with pytest.raises(Problem, match=r"The store said that it had saved a key, and does not have it\."):
        setup(config)
    assert not ready.exists()


def test_no_recovery_key_is_none(config: Config) -> None:
    with pytest.raises(Problem, match=r"Standard input has to be"):
        setup(config, "")


@pytest.mark.parametrize(
    "said", ["null", "5", "[]", '"a\\u0000b"', '"\\ud800"', '"two\\nlines"', '" a"', "[" * 100_000]
)
def test_what_is_no_recovery_key_opens_nothing(
    config: Config, store: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f'{{"recovery": {said}}}'))
    before = sorted(store.glob("keys/*"))
    with pytest.raises(Problem, match=r"^Standard input has to be \{\"recovery\": \"…\"\}; deploy\.py does this\.$"):
        offsite.setup(config)
    assert sorted(store.glob("keys/*")) == before


def test_keys_that_open_it_are_not_added_again(config: Config, store: Path) -> None:
    assert setup(config) == 0
    assert len(calls(store, "key")) == 1


@pytest.mark.parametrize("emptied", [False, True])
def test_a_new_server_gets_in_by_the_recovery_key(config: Config, store: Path, *, emptied: bool) -> None:
    (config.state_dir / "offsite-password").unlink()
    if emptied:
        (config.state_dir / "offsite-password").touch()
    assert setup(config) == 0
    assert len(list((store / "keys").iterdir())) == 3
    nights(config, 1)
    assert offsite_upload.upload(config) == 0


def test_copies_of_somebody_else_are_left_alone(config: Config, store: Path) -> None:
    (config.state_dir / "offsite-password").unlink()
    before = sorted((store / "keys").iterdir())
    with pytest.raises(Problem, match="neither this server's key opens nor the recovery key"):
        setup(config, "another")
    assert sorted((store / "keys").iterdir()) == before


def test_what_a_new_server_gets_stays_the_same(config: Config, store: Path) -> None:
    nights(config, 2)
    offsite_upload.upload(config)
    lose(config)
    assert recovery.recover(config, "20261122_020005") == 0
    assert [path.name for path in sets.dumps(config.backup_dir)] == ["postgres_20261122_020005.sql.zst"]
    # cut off, and run again without a name
    assert recovery.recover(config, "") == 0
    # until it has them, nothing is stored: its empty database would be the newest set
    nights(config, 4)
    offsite_upload.upload(config)
    assert len(calls(store, "backup")) == 2


def test_a_new_server_gets_its_data_once(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(restore, "run", lambda _, name, **__: done.append(name))
    path = config.state_dir / "recovery.json"
    # A restore of that set from before it began is none of it; one after it was cut off before it was noted.
    for at, expected in ((50.0, ["x"]), (150.0, [])):
        backup_state.note(config.state_dir, "restore", Run(at, 1.0, "x"))
        path.write_text(json.dumps({"set": "x", "begun": 100.0}))
        assert recovery.finish(config) == 0
        assert recovery.finish(config) == 0
        assert done == expected
        assert "done" in json.loads(path.read_text())
        done.clear()


def test_a_new_server_keeps_its_own_settings(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The secrets of the set are in them already; its names may be others, as in a trial.
    found, seen = with_files(tmp_path / "sets"), list[tuple[list[str], bool]]()

    def ready(_: object, found: sets.Set, *, files: bool) -> None:
        seen.append(([part.kind for part in found.parts], files))
        raise Problem("Enough.")

    monkeypatch.setattr(restore.restoring, "look", lambda *_: found)
    monkeypatch.setattr(restore.restoring, "ready", ready)
    monkeypatch.setattr(restore.drill, "require_room", lambda *_, **__: None)
    (config.state_dir / "recovery.json").write_text(json.dumps({"set": found.name, "begun": 1.0}))
    with pytest.raises(Problem, match="Enough"):
        recovery.finish(config)
    with pytest.raises(Problem, match="Enough"):
        restore.run(config, "", files=True, yes=True)
    assert seen == [(["dump", "volume"], True), (["dump", "env", "volume"], True)]


def test_while_a_backup_is_at_work_nothing_is_fetched_restored_or_made(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights(config, 1)
    monkeypatch.setattr(restore.drill, "require_room", lambda *_, **__: None)
    monkeypatch.setattr(restore.restoring, "ready", lambda *_, **__: None)
    before = sorted(config.backup_dir.iterdir())
    with lock.exclusive(config.state_dir / "backup.lock", wait=False):
        for run in (
            lambda: offsite.fetch(config, ""),
            lambda: restore.run(config, "", files=False, yes=True),
            lambda: restore.resume(config),
            lambda: backup.run(config),
        ):
            with pytest.raises(Problem, match=r"(A backup or a restore is at work\. |Another backup)"):
                run()
    assert sorted(config.backup_dir.iterdir()) == before


def test_a_damaged_copy_does_not_keep_a_lost_server_from_the_one_before(config: Config, store: Path) -> None:
    nights(config, 2)
    offsite_upload.upload(config)
    lose(config)
    (copy,) = store.glob("snapshot-000/*.zst")
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(Problem) as caught:
        recovery.recover(config, "")
    assert str(caught.value) == (
        "postgres_20261123_020005 was not fetched. What is stored is not what its manifest describes. "
        "The one before it has to be named: postgres_20261122_020005 (make restore SET=postgres_20261122_020005)"
    )
    assert recovery.recover(config, "postgres_20261122_020005") == 0
    assert recovery.recover(config, "") == 0
    assert [path.name for path in sets.dumps(config.backup_dir)] == ["postgres_20261122_020005.sql.zst"]
    path = config.state_dir / "recovery.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": 1.0}))
    with pytest.raises(Problem, match="has data of its own"):
        recovery.recover(config, "20261123_020005")


def test_what_is_damaged_here_is_taken_from_the_store(
    config: Config, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = nights(config, 1)
    offsite_upload.upload(config)
    path = sets.find(config.backup_dir, name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert offsite.fetch(config, name) == name
    assert path.read_bytes() == whole
    assert f"{name} is here, and damaged; taking the stored one. " in capsys.readouterr().err
    assert len(calls(store, "dump")) == 4


def test_a_set_that_is_damaged_here_is_no_copy_and_keeps_no_other_from_being_one(config: Config, store: Path) -> None:
    nights(config, 3)
    path = sets.find(config.backup_dir, "20261123_020005")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Problem) as caught:
        offsite_upload.upload(config)
    assert str(caught.value) == (
        "Not stored off-site, being damaged here: postgres_20261123_020005.sql.zst is not what was written: its "
        "SHA-256 is another."
    )
    assert stored(store) == ["postgres_20261124_020005", "postgres_20261122_020005"]
    found = backup_state.load(config.state_dir)
    assert found.upload is not None
    assert found.upload.problem == str(caught.value)
    assert found.good_upload is not None
    assert found.good_upload.set == "postgres_20261124_020005"


def test_copies_are_of_when_the_set_was_made_and_a_second_one_of_a_second_later(config: Config, store: Path) -> None:
    nights(config, 2)
    faults(store, cut=True)
    with pytest.raises(Problem, match="gives it back otherwise"):
        offsite_upload.upload(config)
    faults(store)
    offsite_upload.upload(config)
    assert [re.findall(r"--tag (\S+) --time (\S+ \S+)", line) for line in calls(store, "backup")] == [
        [("postgres_20261123_020005", "2026-11-23 02:00:05")],
        [("postgres_20261123_020005", "2026-11-23 02:00:06")],
        [("postgres_20261122_020005", "2026-11-22 02:00:05")],
    ]


def test_a_check_waits_for_an_upload_and_does_not_call_what_is_stored_damaged(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.exclusive(config.state_dir / offsite.LOCK, wait=False) as held:
        threading.Timer(0.5, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        assert offsite.check(config) == 0
    assert "Another run is at work with the off-site copies; waiting for it to end." in capsys.readouterr().out
    found = backup_state.load(config.state_dir)
    assert found.offsite_check == found.good_offsite_check != None  # noqa: E711


def test_an_upload_waits_for_another_run_instead_of_leaving_the_night_without_a_copy(
    config: Config, store: Path
) -> None:
    (name,) = nights(config, 1)
    with lock.exclusive(config.state_dir / offsite.LOCK, wait=False) as held:
        threading.Timer(0.5, lambda: fcntl.flock(held, fcntl.LOCK_UN)).start()
        assert offsite_upload.upload(config) == 0
    assert stored(store) == [name]


def test_eight_weeks_read_all_that_is_stored(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(offsite_store.Store, "run", lambda _, *words, **__: asked.extend(words[1:]))
    for week in range(8):
        monkeypatch.setattr(offsite.time, "time", lambda week=week: NIGHT + week * 7 * DAY)
        offsite.check(config)
    assert sorted(asked) == [f"--read-data-subset={share}/8" for share in range(1, 9)]


def test_since_when_copies_are_possible(config: Config, server: Config) -> None:
    assert offsite.since(server) is None
    os.utime(config.state_dir / "offsite-ready.json", (5, 7))
    assert offsite.since(config) == 7.0
    (config.state_dir / "offsite-ready.json").unlink()
    assert offsite.since(config) == 0.0


def test_a_server_with_data_of_its_own_is_left_alone(config: Config) -> None:
    (config.state_dir / "state.json").write_text("{}")
    with pytest.raises(Problem, match="has data of its own"):
        recovery.recover(config, "")


def test_an_empty_store_makes_one_doubt_its_address(config: Config) -> None:
    (config.state_dir / "state.json").unlink()
    for name in ("", "20261122_020005"):
        with pytest.raises(Problem, match=r"^Nothing is stored off-site\. Is BACKUP_OFFSITE_REPOSITORY in \.env "):
            recovery.recover(config, name)
    assert recovery.pending(config) is None


def test_without_a_place_it_says_what_to_set(server: Config) -> None:
    with pytest.raises(Problem, match="BACKUP_OFFSITE_REPOSITORY"):
        offsite.fetch(server, "")


@pytest.mark.parametrize(
    ("code", "late", "said", "kind", "text"),
    [
        (10, 0.0, "repository does not exist: unable to open config file: Stat: The specified key does not exist.",
         NoRepository, "There is no repository."),
        (1, 0.0, "unable to open config file: Stat: The specified bucket does not exist", NoRepository,
         "There is no repository."),
        # what is refused is not missing: nothing may be made in its place
        (10, 0.0, "repository does not exist: unable to open config file: Stat: Access Denied.", Problem,
         "The store refuses us (restic cat): repository does not exist: unable to open config file: Stat: Access"
         " Denied."),
        (1, 0.0, "wrong password or no key found", WrongPassword,
         "The repository knows no such key. To add this server's: deploy.py, with the recovery key."),
        (-9, 15.0, "Stat: 503 Service Unavailable", Problem,
         "The store did not answer restic cat within 15 s: Stat: 503 Service Unavailable."),
        (3, 0.0, "something", Problem, "restic cat failed (exit code 3): something."),
    ],
)  # fmt: skip
def test_why_restic_failed(code: int, late: float, said: str, kind: type[Problem], text: str) -> None:
    found = offsite_store._explained("cat", code, said, late)
    assert type(found) is kind
    assert str(found) == text


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("sftp:backup@nas.example.org:/koprogo", ("backup", "nas.example.org", 22)),
        ("sftp://backup@nas.example.org:2222//koprogo", ("backup", "nas.example.org", 2222)),
        ("sftp:u@10.0.0.4:folder", ("u", "10.0.0.4", 22)),
    ],
)
def test_where_sftp_leads(address: str, target: tuple[str, str, int]) -> None:
    assert offsite_store.ssh_target(address) == target


def test_a_damaged_file_of_keys_is_said_without_what_it_holds(config: Config) -> None:
    assert config.offsite_file is not None
    for damaged in ('{"secret": "hidden"', '{"secret": "hidden\\u0000"}'):
        config.offsite_file.write_text(damaged)
        with pytest.raises(Problem) as caught:
            offsite_store.place(config)
        assert "hidden" not in str(caught.value)
        assert "Run deploy.py again" in str(caught.value)


def test_ovhs_addresses_name_their_region() -> None:
    assert offsite_store._region("s3:https://s3.sbg.io.cloud.ovh.net/b/k") == {"AWS_DEFAULT_REGION": "sbg"}
    assert offsite_store._region("s3:https://s3.example.org/b") == {}
    assert Place("r").key_id == ""
