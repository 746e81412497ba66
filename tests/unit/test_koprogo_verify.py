"""Who signed what a deploy brings: real Git, real keys."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from koprogo.deploys import deploy, verify
from koprogo.deploys.work import Work
from koprogo.problem import Problem
from koprogo.runner import Runner
from koprogo.state import State, Step
from koprogo_bench import lived
from test_koprogo_deploy import NOT_BUILT, Bench
from test_koprogo_git import git


class Signed(Bench):
    """A server that runs signed commits only, and two keys: `ours` is allowed, `theirs` is not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.programs / "ssh-keygen").symlink_to(shutil.which("ssh-keygen") or "ssh-keygen")
        self.signers = folder / "allowed_signers"
        for name in ("ours", "theirs"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(make, check=True)
        self.folder = folder
        self.signers.write_text(f"ann@koprogo.test {(folder / 'ours.pub').read_text()}")
        self.signers.chmod(0o644)
        self.config = replace(self.config, allowed_signers=self.signers)
        self.docker(NOT_BUILT)
        self.upstream.git("config", "gpg.format", "ssh")
        self.sign_with("ours")

    def sign_with(self, key: str | None) -> None:
        """Have what is committed from now on signed with this key, or not signed."""
        self.upstream.git("config", "commit.gpgsign", "false" if key is None else "true")
        self.upstream.git("config", "user.signingkey", str(self.folder / (key or "ours")))

    def passed(self) -> bool:
        """One check; whether the newest commit got past its verification (to where CI has not built its images)."""
        deploy.run(self.config, asked=False)
        attempt = self.store.load().attempt
        return attempt is not None and attempt.step is Step.CHECKED

    def reason(self) -> str:
        """Why the commit that failed last is in quarantine."""
        return self.store.load().quarantine[-1].reason


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signed:
    made = Signed(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    monkeypatch.setattr(verify, "OWNER", os.getuid())
    return made


def test_commits_that_are_all_signed_pass(bench: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    bench.upstream.commit({"a": "1"})
    bench.upstream.commit({"a": "2"})
    assert bench.passed()
    assert "Commits signed as they have to be: 2." in capsys.readouterr().out
    assert not (bench.config.state_dir / "verify").exists()
    assert bench.passed()
    assert capsys.readouterr().out == ""


def test_one_without_a_signature_below_a_signed_one_is_refused(bench: Signed) -> None:
    bench.sign_with(None)
    hidden = bench.upstream.commit({"a": "1"}, "Add a\nback door")
    bench.sign_with("ours")
    newest = bench.upstream.commit({"a": "2"})
    assert not bench.passed()
    assert bench.quarantine() == [newest]
    assert bench.reason() == (
        f"commit {hidden} (Add a back door) has no signature that counts here; sign what follows {bench.first[:7]} "
        "and push that"
    )


def test_a_signed_merge_does_not_vouch_for_what_it_brings(bench: Signed) -> None:
    bench.upstream.git("checkout", "-q", "-b", "side")
    bench.sign_with(None)
    first, _ = bench.upstream.commit({"b": "1"}, "One"), bench.upstream.commit({"b": "2"}, "Two")
    bench.upstream.git("checkout", "-q", "main")
    bench.sign_with("ours")
    bench.upstream.commit({"a": "1"})
    bench.upstream.git("merge", "-q", "--no-ff", "-m", "Merge", "side")
    assert not bench.passed()
    assert f"commit {first} (One) has no signature that counts here (and 1 more like it)" in bench.reason()


def test_the_key_of_somebody_else_does_not_count_until_it_is_allowed(bench: Signed) -> None:
    bench.sign_with("theirs")
    commit = bench.upstream.commit({"a": "1"})
    assert not bench.passed()
    assert f"commit {commit} (Change) has a signature by a key that is not allowed" in bench.reason()
    bench.store.save(replace(bench.store.load(), quarantine=()))
    with bench.signers.open("a") as stream:
        stream.write(f"bob@koprogo.test {(bench.folder / 'theirs.pub').read_text()}")
    assert bench.passed()


def test_a_signature_taken_from_another_commit_does_not_count(bench: Signed) -> None:
    real = bench.upstream.git("cat-file", "commit", bench.upstream.commit({"a": "1"}, "Harmless"))
    forged = bench.folder / "forged"
    forged.write_text(real.replace("Harmless", "Harmful") + "\n")
    commit = bench.upstream.git("hash-object", "-t", "commit", "-w", str(forged))
    bench.upstream.git("update-ref", "refs/heads/main", commit)
    assert not bench.passed()
    assert f"commit {commit} (Harmful) has a signature that does not fit it" in bench.reason()


def _true(bench: Signed) -> str:
    """A program that calls every signature good."""
    path = bench.folder / "yes"
    path.write_text('#!/bin/sh\necho "Good \\"git\\" signature for ann@koprogo.test with ED25519 key SHA256:x"\n')
    path.chmod(0o755)
    return str(path)


def _everybody(bench: Signed) -> str:
    path = bench.folder / "everybody"
    path.write_text(f"* {(bench.folder / 'theirs.pub').read_text()}")
    return str(path)


def _settings(bench: Signed) -> None:
    for name, value in (
        ("gpg.ssh.program", _true(bench)),
        ("gpg.ssh.allowedSignersFile", _everybody(bench)),
        ("gpg.openpgp.program", _true(bench)),
        ("gpg.program", _true(bench)),
    ):
        git(bench.config.checkout, "config", name, value)


def _replacement(bench: Signed) -> None:
    """Show a good commit in the place of the bad one."""
    git(bench.config.checkout, "fetch", "-q", "origin", "+refs/heads/main:refs/heads/hidden")
    bad = git(bench.config.checkout, "rev-parse", "hidden")
    bench.sign_with("ours")
    good = bench.upstream.git("commit-tree", "-S", "-p", bench.first, "-m", "Good", "main^{tree}")
    bench.upstream.git("update-ref", "refs/heads/good", good)
    git(bench.config.checkout, "fetch", "-q", "origin", "refs/heads/good")
    git(bench.config.checkout, "replace", bad, good)
    bench.sign_with("theirs")


def _graft(bench: Signed) -> None:
    """Leave the bad commit out of the history: a good one after it, whose parent is said to be the one that runs."""
    bench.sign_with("ours")
    tip = bench.upstream.commit({"a": "2"})
    (bench.config.checkout / ".git" / "info" / "grafts").write_text(f"{tip} {bench.first}\n")


def _commit_graph(bench: Signed) -> None:
    """Say the same in the file that Git believes without a look at the commits."""
    bench.sign_with("ours")
    tip = bench.upstream.commit({"a": "2"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    git(bench.config.checkout, "commit-graph", "write", "--reachable")
    path = bench.config.checkout / ".git" / "objects" / "info" / "commit-graph"
    data = bytearray(path.read_bytes())
    chunks = {data[at : at + 4].decode(): int.from_bytes(data[at + 4 : at + 12], "big") for at in range(8, 68, 12)}
    names = sorted(git(bench.config.checkout, "rev-list", "--all", "HEAD").splitlines())
    parent = chunks["CDAT"] + 36 * names.index(tip) + 20
    data[parent : parent + 4] = names.index(bench.first).to_bytes(4, "big")
    path.chmod(0o644)
    path.write_bytes(data)
    assert bench.first in git(bench.config.checkout, "rev-list", "--parents", "-n", "1", "origin/main").split()[1:]


def _cut_off(bench: Signed) -> None:
    bench.sign_with("ours")
    tip = bench.upstream.commit({"a": "2"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    (bench.config.checkout / ".git" / "shallow").write_text(f"{tip}\n")


@pytest.mark.parametrize("trick", [_settings, _replacement, _graft, _commit_graph])
def test_the_clone_has_no_say(bench: Signed, trick: Callable[[Signed], None]) -> None:
    bench.sign_with("theirs")
    bench.upstream.commit({"a": "1"})
    trick(bench)
    assert not bench.passed()
    assert "has a signature by a key that is not allowed" in bench.reason()


def test_a_key_of_the_user_s_gpg_does_not_count(bench: Signed) -> None:
    gpg = bench.programs / "gpg"
    gpg.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*--verify*) echo '[GNUPG:] GOODSIG 0123456789ABCDEF Ann'; echo '[GNUPG:] TRUST_ULTIMATE 0 pgp' ;;\n"
        "*) while read -r _; do :; done; echo '[GNUPG:] SIG_CREATED D' >&2\n"
        "echo -----BEGIN PGP SIGNATURE-----; echo x; echo -----END PGP SIGNATURE----- ;;\nesac\n"
    )
    gpg.chmod(0o755)
    bench.upstream.git("config", "gpg.format", "openpgp")
    bench.upstream.git("config", "commit.gpgsign", "true")
    bench.upstream.commit({"a": "1"})
    assert bench.upstream.git("show", "-s", "--format=%G?") == "G"
    assert not bench.passed()
    assert bench.store.load().quarantine


def test_a_history_that_is_cut_off_hides_nothing(bench: Signed) -> None:
    """Here the bad commit is found; where it is not here at all, Git cannot tell, and nothing is deployed."""
    bench.sign_with("theirs")
    hidden = bench.upstream.commit({"a": "1"})
    _cut_off(bench)
    work = Work(bench.config, Runner(), asked=False)
    tip = bench.upstream.git("rev-parse", "main")
    found = verify.read(work, bench.signers, tip, [bench.first])
    assert [(one.commit, one.letter) for one in found] == [(tip, "G"), (hidden, "U")]
    path = bench.config.checkout / ".git" / "objects" / hidden[:2] / hidden[2:]
    path.unlink()
    with pytest.raises(Problem, match=f"The signatures of {tip[:7]} cannot be checked"):
        verify.read(work, bench.signers, tip, [bench.first])


def test_a_clone_of_one_commit_is_enough(bench: Signed) -> None:
    bench.upstream.commit({"a": "1"})
    shallow = bench.folder / "shallow"
    source = f"file://{bench.upstream.folder}"
    subprocess.run(["git", "clone", "-q", "--depth=1", source, str(shallow)], check=True)
    first = git(shallow, "rev-parse", "HEAD")
    newest = bench.upstream.commit({"a": "2"})
    git(shallow, "fetch", "-q")
    work = Work(replace(bench.config, checkout=shallow), Runner(), asked=False)
    assert [one.letter for one in verify.read(work, bench.signers, newest, [first])] == ["G"]


def test_on_a_new_server_the_newest_commit_alone_is_looked_at(bench: Signed) -> None:
    bench.store.save(State())
    newest = bench.upstream.commit({"a": "1"})
    assert bench.passed()
    bench.store.save(State())
    bench.sign_with(None)
    newest = bench.upstream.commit({"a": "2"})
    assert not bench.passed()
    assert bench.store.load().check is not None
    assert f"commit {newest} (Change) has no signature that counts here; sign it and push that. Nothing was" in str(
        bench.store.load().check
    )


def test_what_ran_here_before_the_way_back_need_not_be_signed_again(bench: Signed) -> None:
    bench.sign_with(None)
    second = bench.upstream.commit({"a": "1"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    state = bench.store.load()
    assert state.deployed is not None
    lived(bench.config.state_dir, replace(state.deployed, commit=second))
    bench.sign_with("ours")
    bench.upstream.commit({"a": "2"})
    assert bench.passed()
    lived(bench.config.state_dir, replace(state.deployed, commit="e" * 40))
    bench.upstream.commit({"a": "3"})
    assert bench.passed()
    bench.sign_with(None)
    bench.upstream.commit({"a": "4"})
    assert not bench.passed()


def test_without_the_setting_nobody_has_to_sign(bench: Signed) -> None:
    bench.config = replace(bench.config, allowed_signers=None)
    bench.sign_with(None)
    bench.upstream.commit({"a": "1"})
    assert bench.passed()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda b: b.signers.chmod(0o664), "allowed_signers can be written by others than root"),
        (lambda b: b.signers.unlink(), "allowed_signers: No such file or directory: nobody can tell who may sign"),
        (lambda b: (b.programs / "ssh-keygen").unlink(), "Signatures cannot be checked without ssh-keygen"),
        (lambda b: setattr(verify, "OWNER", os.getuid() + 1), "allowed_signers can be written by others than root"),
    ],
)
def test_what_the_server_lacks_is_no_fault_of_the_commit(
    bench: Signed, capsys: pytest.CaptureFixture[str], spoil: Callable[[Signed], object], expected: str
) -> None:
    bench.upstream.commit({"a": "1"})
    spoil(bench)
    assert not bench.passed()
    assert expected in capsys.readouterr().err
    assert bench.quarantine() == []


def test_a_history_that_was_rewritten_stops_unless_that_is_allowed(
    bench: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    second = bench.upstream.commit({"a": "1"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    state = bench.store.load()
    assert state.deployed is not None
    bench.store.save(replace(state, deployed=replace(state.deployed, commit=second)))
    bench.upstream.git("reset", "-q", "--hard", bench.first)
    other = bench.upstream.commit({"a": "2"})
    assert not bench.passed()
    expected = f"The history of main was rewritten: {other[:7]} does not follow {second[:7]}, which goes on running."
    assert expected in capsys.readouterr().err
    assert bench.quarantine() == []
    bench.config = replace(bench.config, allow_rewrite=True)
    assert bench.passed()
    passing = f"The history of main was rewritten: {other[:7]} does not follow {second[:7]}; GITOPS_ALLOW_FORCE_PUSH"
    assert passing in capsys.readouterr().out


@pytest.mark.parametrize("key", ["ours", "theirs"])
def test_going_back_to_one_that_only_a_version_brought_with_it_it_alone_is_looked_at(bench: Signed, key: str) -> None:
    bench.config = replace(bench.config, allow_rewrite=True)
    bench.sign_with(key)
    between = bench.upstream.commit({"a": "1"})
    bench.sign_with("ours")
    tip = bench.upstream.commit({"a": "2"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    state = bench.store.load()
    assert state.deployed is not None
    bench.store.save(replace(state, deployed=replace(state.deployed, commit=tip)))
    bench.upstream.git("reset", "-q", "--hard", between)
    assert bench.passed() == (key == "ours")
    assert bench.quarantine() == ([] if key == "ours" else [between])


def test_a_version_that_ran_here_need_not_be_signed_where_the_branch_goes_back_to_it(bench: Signed) -> None:
    bench.config = replace(bench.config, allow_rewrite=True)
    bench.sign_with(None)
    between = bench.upstream.commit({"a": "1"})
    tip = bench.upstream.commit({"a": "2"})
    git(bench.config.checkout, "fetch", "-q", "origin")
    state = bench.store.load()
    assert state.deployed is not None
    lived(bench.config.state_dir, replace(state.deployed, commit=between))
    bench.store.save(replace(state, deployed=replace(state.deployed, commit=tip)))
    bench.upstream.git("reset", "-q", "--hard", between)
    assert bench.passed()
