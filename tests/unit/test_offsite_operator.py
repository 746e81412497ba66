"""The operator's side of the copies elsewhere: settings, what deploy.py compares, policy, tidying, restoring."""

import io
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr
from test_operations import virgin
from test_settings import folder, load, mistakes

from cloud.trouble import CloudError
from facts import layout
from facts.on_server.environment import hashed, keyed_hash
from offsite import restore, tidy
from offsite.policy import policy
from operations import offsite, secret_file, wanted
from operations.offsite import Copies
from operations.on_server import keep_secrets

__all__ = ["folder"]  # a fixture

S3 = "s3:https://s3.sbg.io.cloud.ovh.net/backups/koprogo"
LINES = f"BACKUP_OFFSITE_REPOSITORY={S3}\nBACKUP_OFFSITE_KEY_ID=AK\nBACKUP_OFFSITE_SECRET=hidden\n"


def copies(folder: Path) -> Copies:
    return Copies(S3, SecretStr('{"secret": "hidden"}'), folder / "offsite-recovery.key")


def private_key(path: Path, passphrase: bytes | None = None) -> None:
    way: Any = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, way))


def test_without_a_repository_nothing_is_wanted(folder: Path) -> None:
    assert wanted.offsite(load(folder)) is None
    assert wanted.program_configuration(load(folder))["offsite_file"] is None
    assert offsite.packages(None) == []


def test_s3(folder: Path) -> None:
    settings = load(folder, LINES)
    found = wanted.offsite(settings)
    assert found is not None
    assert json.loads(found.settings.get_secret_value()) == {"repository": S3, "key_id": "AK", "secret": "hidden"}
    assert "hidden" not in repr(found)
    assert found.recovery_key == folder / "offsite-recovery.key"
    assert wanted.program_configuration(settings)["offsite_file"] == "/etc/koprogo/offsite.json"
    assert offsite.packages(found) == ["restic"]


def test_sftp(folder: Path) -> None:
    private_key(folder / "key")
    lines = (
        "BACKUP_OFFSITE_REPOSITORY=sftp:backup@nas.example.org:/koprogo\nBACKUP_OFFSITE_SSH_KEY=key\n"
        'BACKUP_OFFSITE_HOST_KEY="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"\n'
    )
    found = wanted.offsite(load(folder, lines))
    assert found is not None
    said = json.loads(found.settings.get_secret_value())
    assert said["host_key"] == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
    assert said["ssh_key"] == (folder / "key").read_text()


@pytest.mark.parametrize(
    ("address", "port"), [("sftp:backup@nas.example.org:/koprogo", 22), ("sftp://backup@nas.example.org:2222//k", 2222)]
)
def test_tidying_by_sftp_goes_in_as_the_server_does(folder: Path, address: str, port: int) -> None:
    private_key(folder / "my key")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
    lines = f"BACKUP_OFFSITE_SSH_KEY='my key'\nBACKUP_OFFSITE_HOST_KEY='{key}'\n"
    settings = load(folder, f"BACKUP_OFFSITE_REPOSITORY={address}\n{lines}").offsite
    option, command = tidy.by_ssh(settings, folder)
    assert (option, (folder / "known_hosts").read_text()) == ("--option", f"copies {key}\n")
    assert command == (
        f"sftp.command=ssh -i '{folder}/my key' -o IdentitiesOnly=yes -o BatchMode=yes "
        f"-o UserKnownHostsFile={folder}/known_hosts -o HostKeyAlias=copies -o StrictHostKeyChecking=yes "
        f"-p {port} backup@nas.example.org -s sftp"
    )
    assert tidy.by_ssh(load(folder, LINES).offsite, folder) == []


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("BACKUP_OFFSITE_REPOSITORY=https://s3.example.org/b", "is no s3:https://HOST/BUCKET/FOLDER nor sftp:"),
        (
            f"BACKUP_OFFSITE_REPOSITORY={S3.replace('/backups/', '/backups//')}",
            "is no s3:https://HOST/BUCKET/FOLDER nor",
        ),
        ("BACKUP_OFFSITE_REPOSITORY=sftp:u@h:2222/f", "is no s3:https://HOST/BUCKET/FOLDER nor sftp:"),
        (f"BACKUP_OFFSITE_REPOSITORY={S3}", "BACKUP_OFFSITE_SECRET: goes with BACKUP_OFFSITE_KEY_ID"),
        (LINES + "BACKUP_OFFSITE_OWNER_KEY_ID=O", "BACKUP_OFFSITE_OWNER_SECRET: goes with BACKUP_OFFSITE_OWNER_KEY_ID"),
        (
            LINES + "BACKUP_OFFSITE_OWNER_KEY_ID=AK\nBACKUP_OFFSITE_OWNER_SECRET=x",
            "BACKUP_OFFSITE_OWNER_SECRET: is that of BACKUP_OFFSITE_KEY_ID, which lies on the server",
        ),
        ("BACKUP_OFFSITE_REPOSITORY=sftp:u@h:/f", "BACKUP_OFFSITE_SSH_KEY: missing"),
        ("BACKUP_OFFSITE_REPOSITORY=sftp:u@h:/f\nBACKUP_OFFSITE_SSH_KEY=locked", "has a passphrase"),
        ("BACKUP_OFFSITE_HOST_KEY=nas ssh-ed25519 AAAA", "is not a public key"),
    ],
)
def test_mistakes(folder: Path, line: str, mistake: str) -> None:
    private_key(folder / "locked", b"secret")
    found = [each for each in mistakes(folder, line + "\n") if mistake in each]
    assert len(found) == 1, mistakes(folder, line + "\n")
    assert "hidden" not in found[0]


def test_the_keys_are_compared_by_a_hash(folder: Path) -> None:
    state = virgin()
    state["hashed"] = {"/etc/koprogo/offsite.json": None}
    assert secret_file.differences(state, layout.OFFSITE, copies(folder).settings) == ["+ /etc/koprogo/offsite.json"]
    state["environment"]["salt"] = "s"
    entry: Any = {"kind": "file", "mode": "600", "owner": "koprogo", "group": "koprogo"}
    state["hashed"] = {"/etc/koprogo/offsite.json": entry | {"text": keyed_hash("s", '{"secret": "hidden"}')}}
    assert secret_file.differences(state, layout.OFFSITE, copies(folder).settings) == []
    state["hashed"] = {"/etc/koprogo/offsite.json": entry | {"text": keyed_hash("s", "another"), "mode": "644"}}
    assert secret_file.differences(state, layout.OFFSITE, copies(folder).settings) == [
        "~ /etc/koprogo/offsite.json",
        "~ /etc/koprogo/offsite.json: mode or owner",
    ]


def test_no_secret_leaves_the_server(tmp_path: Path) -> None:
    file = tmp_path / "offsite.json"
    assert hashed(str(file), "salt") is None
    file.write_text("hidden")
    assert "hidden" not in json.dumps(hashed(str(file), "salt"))


def test_the_recovery_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "offsite-recovery.key"
    key = offsite.made(path)
    assert len(key) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert offsite.made(path) == key
    # what a kill left of one counts as none
    path.write_text("")
    assert len(offsite.made(path)) == 64


def test_it_is_ready_when_the_server_said_so_of_this_key_and_this_place(folder: Path) -> None:
    state, where = virgin(), copies(folder)
    state["files"]["/var/lib/koprogo/offsite-ready.json"] = None
    assert not offsite.is_ready(state, where)
    key = offsite.made(where.recovery_key)
    said = {"repository": S3, "recovery": offsite.fingerprint(key)}
    entry: Any = {"kind": "file", "mode": "640", "owner": "koprogo", "group": "koprogo", "text": json.dumps(said)}
    state["files"]["/var/lib/koprogo/offsite-ready.json"] = entry
    assert offsite.is_ready(state, where)
    assert not offsite.is_ready(state, Copies(f"{S3}/other", where.settings, where.recovery_key))
    where.recovery_key.unlink()
    assert not offsite.is_ready(state, where)


def test_the_policy_lets_nothing_be_deleted_but_locks() -> None:
    assert policy(S3) == {
        "Statement": [
            {
                "Sid": "Look",
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                "Resource": ["arn:aws:s3:::backups"],
            },
            {
                "Sid": "Add",
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:ListMultipartUploadParts",
                    "s3:AbortMultipartUpload",
                ],
                "Resource": ["arn:aws:s3:::backups/koprogo/*"],
            },
            {
                "Sid": "Unlock",
                "Effect": "Allow",
                "Action": ["s3:DeleteObject"],
                "Resource": ["arn:aws:s3:::backups/koprogo/locks/*"],
            },
        ]
    }
    assert policy("s3:https://s3.example.org/backups")["Statement"][2]["Resource"] == ["arn:aws:s3:::backups/locks/*"]
    with pytest.raises(ValueError, match="is not in an S3 bucket"):
        policy("sftp:u@h:/f")


def test_tidying_mends_before_it_deletes(folder: Path) -> None:
    settings = load(folder, LINES + "BACKUP_OFFSITE_MONTHS=0\n").offsite
    assert tidy.commands(settings, (0, 18)) == [
        ["unlock"],
        ["repair", "index"],
        ["repair", "snapshots", "--forget"],
        ["forget", "--group-by=host", "--keep-within=30d", "--keep-weekly=12", "--prune"],
        ["check"],
    ]
    assert tidy.commands(settings, (0, 12))[1] == ["rebuild-index"]


def test_the_owners_key_is_used_where_there_is_one(folder: Path) -> None:
    owner = "BACKUP_OFFSITE_OWNER_KEY_ID=O\nBACKUP_OFFSITE_OWNER_SECRET=own\n"
    (folder / "offsite-recovery.key").write_text("key\n")
    assert tidy.environment(load(folder, LINES + owner).offsite) == {
        "RESTIC_REPOSITORY": S3,
        "RESTIC_PASSWORD": "key",
        "AWS_ACCESS_KEY_ID": "O",
        "AWS_SECRET_ACCESS_KEY": "own",
    }
    assert tidy.environment(load(folder, LINES).offsite)["AWS_ACCESS_KEY_ID"] == "AK"


def test_what_the_operator_has_set_for_restic_and_buckets_of_his_own_is_not_meant(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(folder, LINES)
    monkeypatch.setattr(tidy.variables, "load", lambda: settings)
    (folder / "offsite-recovery.key").write_text("key\n")
    program, seen = tmp_path / "bin" / "restic", tmp_path / "seen"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nenv >> {seen}\necho restic 0.18.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for name in ("RESTIC_PASSWORD_FILE", "RESTIC_REPOSITORY_FILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "of another")
    assert tidy.tidy() == 0
    assert "RESTIC_PASSWORD=key" in seen.read_text()
    assert "of another" not in seen.read_text()


def test_the_steps_of_a_restore_are_the_operators_own_commands() -> None:
    commands = [command[1:] for _, command in restore.steps("koprogo", yes=True)]
    assert commands == [
        ["provision.py", "apply", "--yes"],
        ["-y", "inventory.py", "offsite/new_server.py"],
        ["-y", "inventory.py", "deploy.py"],
        ["-y", "inventory.py", "offsite/put_back.py"],
    ]
    assert restore.steps("koprogo", yes=False)[0][1][1:] == ["provision.py", "apply"]


def test_a_restore_ends_with_the_first_step_that_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(folder, LINES)
    monkeypatch.setattr(restore.variables, "load", lambda: settings)
    with pytest.raises(CloudError, match="nothing else opens the copies"):
        restore.restore(wanted="", yes=True)
    (folder / "offsite-recovery.key").write_text("key\n")
    say = f'echo "$RESTORE_SET" >> {folder}/said; '
    for code in (0, 3):
        steps = [("A server", ["sh", "-c", say]), ("The backup", ["sh", "-c", f"{say} exit {code}"])]
        monkeypatch.setattr(
            restore, "steps", lambda *_, steps=steps, **__: [*steps, ("Its data", ["touch", f"{folder}/restored"])]
        )
        if code:
            with pytest.raises(CloudError, match=r"^The backup: that failed, .*: make restore SET=20261122_020005$"):
                restore.restore(wanted="20261122_020005", yes=True)
        else:
            assert restore.restore(wanted="20261122_020005", yes=True) == 0
        assert (folder / "restored").exists() == (code == 0)
        (folder / "restored").unlink(missing_ok=True)
    assert (folder / "said").read_text() == "20261122_020005\n" * 4
    assert "answers with the data of the backup after 0.0 min: a server 0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("received", "does"),
    [
        (KeyboardInterrupt(), "sleep 1"),
        (SystemExit(143), "trap 'sleep 0.5; exit 1' TERM; sleep 9 & wait; sleep 0.5"),
        (SystemExit(129), "sleep 1"),
    ],
)
def test_a_step_that_is_interrupted_gives_back_what_it_holds_first(
    tmp_path: Path, received: BaseException, does: str
) -> None:
    def handler(*_: object) -> None:
        raise received

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    given_back = f"trap 'touch {tmp_path}/given-back' EXIT; {does}"
    began = time.monotonic()
    try:
        with pytest.raises(type(received)):
            restore.done(["sh", "-c", given_back], {"PATH": os.environ["PATH"]})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (tmp_path / "given-back").exists()
    assert time.monotonic() - began < 5


def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, env: str | None, **more: float) -> dict[str, str]:
    """What root's copy of the secrets has, once a new server was given those of a set with this .env."""
    name = "postgres_20261122_020005"
    (tmp_path / "recovery.json").write_text(json.dumps({"set": name, **more}))
    if env is not None:
        (tmp_path / f"{name}.env").write_text(env)
    order = {"recovery": f"{tmp_path}/recovery.json", "backups": str(tmp_path), "master": f"{tmp_path}/secrets.json"}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**order, "make": ["POSTGRES_PASSWORD", "JWT_SECRET"]})))
    # Nobody but root may give files away.
    monkeypatch.setattr(keep_secrets, "write", lambda path, text, mode, owner, group: path.write_text(text))
    keep_secrets.main()
    found: dict[str, str] = json.loads((tmp_path / "secrets.json").read_text())
    return found


def test_a_new_server_gets_the_secrets_of_the_lost_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = "# written\nACME_EMAIL=a@b.c\nPOSTGRES_PASSWORD=p4ss\nJWT_SECRET='j'\n"
    assert kept(monkeypatch, tmp_path, env) == {"POSTGRES_PASSWORD": "p4ss", "JWT_SECRET": "j"}
    # also where it was cut off after it had made its own
    (tmp_path / "secrets.json").write_text('{"JWT_SECRET": "own", "S3_SECRET_KEY": "s3"}')
    assert kept(monkeypatch, tmp_path, "JWT_SECRET=j\n") == {"JWT_SECRET": "j", "S3_SECRET_KEY": "s3"}


def test_a_server_that_has_its_data_keeps_the_secrets_that_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secrets.json").write_text('{"JWT_SECRET": "of later"}')
    assert kept(monkeypatch, tmp_path, "JWT_SECRET=j\n", done=1.0) == {"JWT_SECRET": "of later"}
    (tmp_path / "postgres_20261122_020005.env").unlink()
    kept(monkeypatch, tmp_path, None, done=1.0)
    assert capsys.readouterr().out == ""


def test_a_set_without_settings_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError):
        kept(monkeypatch, tmp_path, None)
    assert "everybody has to log in again" in capsys.readouterr().out


def test_a_restore_wants_the_recovery_key_before_anything_is_rented(folder: Path) -> None:
    with pytest.raises(CloudError, match="nothing to restore from"):
        restore.require(load(folder), "")
    with pytest.raises(CloudError, match="nothing else opens the copies"):
        restore.require(load(folder, LINES), "")
    (folder / "offsite-recovery.key").write_text("key\n")
    for name in ("", "20261122_020005", "postgres_20261122_020005"):
        restore.require(load(folder, LINES), name)
    with pytest.raises(CloudError, match=r"^yesterday is not the name of a set, such as 2\S+; nothing was done\.$"):
        restore.require(load(folder, LINES), "yesterday")


def test_a_recovery_key_that_is_none_is_a_mistake_in_the_settings(folder: Path) -> None:
    path = folder / "offsite-recovery.key"
    for content in (b"\xff\xfe\0\0", b"not a key", b"key\nkey\n"):
        path.write_bytes(content)
        (said,) = mistakes(folder, LINES)
        assert said == (
            f"BACKUP_OFFSITE_RECOVERY_KEY: {path} is no recovery key, which is one line of letters and digits;"
            " put your copy there"
        )
    path.unlink()
    path.mkdir()
    (said,) = mistakes(folder, LINES)
    assert said == f"BACKUP_OFFSITE_RECOVERY_KEY: {path} cannot be read (Is a directory)"
    path.rmdir()
    # what a kill left of one counts as none
    path.touch()
    load(folder, LINES)


def test_a_store_that_fails_is_explained_by_what_is_there_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsite, "run", SimpleNamespace(is_executing=True))
    for advice in (offsite.ADVICE, offsite.NOTHING_BACK):
        asked = offsite.open_for_two._inner(state=virgin(), copies=copies(folder), ready=False, advice=advice)
        assert advice in str(next(asked))
    assert "nothing was restored" in offsite.NOTHING_BACK
