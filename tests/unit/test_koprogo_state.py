"""What is remembered, the configuration, the lock, starting programs, and what the command does with mistakes."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from koprogo import config, lock
from koprogo.problem import Problem, one_line
from koprogo.runner import Result, Runner
from koprogo.state import Attempt, Bad, Check, Deployed, Image, State, Step, Store

FILES = Path(__file__).parents[2] / "files"
GOOD: dict[str, Any] = {
    "repository": "https://git.sandbox.test/x.git",
    "branch": "main",
    "checkout": "/home/koprogo/koprogo",
    "compose_file": "/home/koprogo/koprogo/deploy/production/docker-compose.yml",
    "env_file": "/home/koprogo/koprogo/deploy/production/.env",
    "image_tag": "main-{sha7}",
    "health_urls": ["https://koprogo.test", "https://api.koprogo.test/api/v1/health"],
    "database_service": "postgres",
    "backup_dir": "/home/koprogo/backups",
    "backup_days": 7,
    "state_dir": "/var/lib/koprogo",
    "tls_ca_file": None,
}


def test_state_survives(tmp_path: Path) -> None:
    image = Image("postgres:15", "sha256:1", "postgres@sha256:2")
    state = State(
        deployed=Deployed("a" * 40, "main-aaaaaaa", 1.5, "hash", "production", {"postgres": image}),
        first_deployed=1.0,
        attempt=Attempt("b" * 40, Step.ROLLING_BACK, 2.5, 1, ("https://x",)),
        quarantine=(Bad("b" * 40, "sick", 3.5),),
        check=Check(4.5, "b" * 40, "sick", 4.0),
    )
    store = Store(tmp_path)
    assert store.load() == State()
    store.save(state)
    assert store.load() == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
    assert store.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_the_version_that_runs_and_the_one_to_go_back_to() -> None:
    running = Deployed("a" * 40, "main-aaaaaaa", 1.5, "hash", "production", {})
    state = State(deployed=running)
    assert (state.runs("a" * 40), state.fallback("a" * 40)) == (True, None)
    assert (state.runs("b" * 40), state.fallback("b" * 40)) == (False, running)
    assert (State().runs("a" * 40), State().fallback("a" * 40)) == (False, None)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


_TYPED = '{"deployed": null, "first_deployed": 1, "attempt": null, "quarantine": [%s], "check": null%s}'
_BAD = '{"commit": "a", "reason": %s, "at": %s}'
_ENTRY = '{"id": "1", "commit": "a", "result": "deployed", "version": null, "at": "then"}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '{"deployed": 3}', '{"deployed": null}'),
        _TYPED % (_BAD % ("null", "1"), ""),
        _TYPED % (_BAD % ('"x"', '"then"'), ""),
        _TYPED % ("", ', "hold": {"at": null, "reason": "x"}'),
        _TYPED % ("", f', "unwritten": [{_ENTRY}]'),
    ],
)
def test_a_damaged_state_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(Problem, match="Move the file away and run `koprogo deploy`"):
        Store(tmp_path).load()


def test_a_part_of_a_state_left_by_a_kill_does_not_count(tmp_path: Path) -> None:
    Store(tmp_path).save(State(first_deployed=1.0))
    (tmp_path / ".state.json.partial").write_text('{"depl')
    assert Store(tmp_path).load().first_deployed == 1.0
    Store(tmp_path).save(State(first_deployed=2.0))
    assert Store(tmp_path).load().first_deployed == 2.0


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program finds its configuration; there is none so far."""
    path = tmp_path / "config.json"
    monkeypatch.setenv("KOPROGO_CONFIG", str(path))
    return path


def test_configuration() -> None:
    found = config.parse(GOOD | {"a_key_of_tomorrow": 1})
    assert found.compose_path == "deploy/production/docker-compose.yml"
    assert found.health_urls == ("https://koprogo.test", "https://api.koprogo.test/api/v1/health")
    assert found.image_wait == 1800
    assert (found.allow_rewrite, found.allowed_signers, found.log_file) == (False, None, None)
    signers = "/etc/koprogo/allowed_signers"
    strict = config.parse(GOOD | {"allow_rewrite": True, "allowed_signers": signers, "log_file": "/var/log/x.log"})
    assert (strict.allow_rewrite, strict.allowed_signers) == (True, Path("/etc/koprogo/allowed_signers"))
    assert strict.log_file == Path("/var/log/x.log")
    assert config.parse(GOOD | {"tls_ca_file": "/etc/koprogo/tls-ca.pem"}).tls_ca_file == Path(
        "/etc/koprogo/tls-ca.pem"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"branch": ""}, "branch has to be a text"),
        ({"branch": None}, "branch has to be a text"),
        ({"backup_days": 0}, "backup_days has to be 1 or more"),
        ({"compose_file": "/elsewhere/docker-compose.yml"}, "compose_file has to be inside checkout"),
        ({"health_urls": ["http://koprogo.test"]}, "http://koprogo.test is not an https:// address"),
        ({"health_urls": ["https://koprogo.test:0"]}, "is not an https:// address"),
        ({"health_urls": ["https://koprogo.test:x"]}, "Port could not be cast"),
        ({"allow_rewrite": "false"}, "allow_rewrite has to be true or false"),
        ({"allowed_signers": ""}, "allowed_signers has to be a text"),
        ({"allowed_signers": []}, "allowed_signers has to be a text"),
    ],
)
def test_mistakes_in_the_configuration(file: Path, change: dict[str, Any], text: str) -> None:
    file.write_text(json.dumps(GOOD | change))
    with pytest.raises(Problem, match=text):
        config.load()


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "3"])
def test_a_configuration_that_is_not_an_object(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(Problem, match=r"config.json: it is not an object. Run deploy.py again"):
        config.load()


def test_a_missing_key_and_a_missing_file(file: Path) -> None:
    with pytest.raises(Problem, match=r"config.json: No such file or directory. Run deploy.py again"):
        config.load()
    file.write_text(json.dumps({k: v for k, v in GOOD.items() if k != "branch"}))
    with pytest.raises(Problem, match="'branch' is missing"):
        config.load()
    file.write_text("{")
    with pytest.raises(Problem, match="is not JSON"):
        config.load()


def test_the_lock_keeps_others_out_and_goes_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding = f"import sys; sys.path.insert(0, {str(FILES)!r})\nfrom pathlib import Path\nfrom koprogo import lock\n"
    holding += f"with lock.exclusive(Path({str(path)!r}), wait=True):\n    print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(lock.Busy), lock.exclusive(path, wait=False):
        pass
    other.kill()
    other.communicate()
    with lock.exclusive(path, wait=False) as held:
        assert Path(f"/proc/self/fd/{held}").readlink() == path


def test_the_lock_lasts_until_the_last_child_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.exclusive(path, wait=False) as held:
        started = Runner(held=[held]).run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"])
    try:
        with pytest.raises(lock.Busy), lock.exclusive(path, wait=False):
            pass
    finally:
        os.kill(int(started.out), signal.SIGKILL)
    with lock.exclusive(path, wait=True):
        pass


def test_runner(tmp_path: Path) -> None:
    done = Runner().run(["sh", "-c", "echo out; echo err >&2; echo $X; exit 3"], env={"X": "y"})
    assert (done.code, done.out, done.err, done.ok) == (3, "out\ny\n", "err\n", False)
    with pytest.raises(Problem, match="Cannot start /nowhere/docker: No such file or directory"):
        Runner().run(["/nowhere/docker"])


def test_what_takes_too_long_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both processes hold the end of a pipe that we read: it is closed when both have ended.
    ours, theirs = os.pipe()
    communicate = subprocess.Popen.communicate

    def once_started(child: subprocess.Popen[str], *text: Any, **options: Any) -> tuple[str, str]:
        assert os.read(ours, 8) == b"started\n"
        return communicate(child, *text, **options)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_started)
    script = f"sleep 60 & echo started >/dev/fd/{theirs}; wait"
    late = Runner(held=[theirs]).run(["sh", "-c", script], timeout=0.6)
    os.close(theirs)
    assert late == Result(None, "", f"no answer from `sh -c {script}` within 1 s")
    assert select.select([ours], [], [], 10)[0] == [ours], "it still runs"
    assert os.read(ours, 1) == b""
    os.close(ours)


def test_one_line() -> None:
    assert one_line("a\n\tb \x1b[31mred\x07") == "a b [31mred"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "koprogo", *arguments],
        env={**os.environ, "PYTHONPATH": str(FILES), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    done = run("deploy", "--check", KOPROGO_CONFIG=str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert "PROBLEM" in done.stderr
    assert "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    path = tmp_path / "config.json"
    path.write_text(json.dumps(GOOD | {"state_dir": str(tmp_path / "nothing")}))
    done = run("status", KOPROGO_CONFIG=str(path))
    assert done.returncode == 1
    assert "Try `sudo koprogo" in done.stderr


def test_the_command_knows_its_commands() -> None:
    assert run("undo").returncode == 2
    assert run("logs", "-n", "0").returncode == 2
    shown = run("--help").stdout
    for word in (
        "status",
        "deploy",
        "backup",
        "health",
        "history",
        "rollback",
        "pause",
        "resume",
        "retry",
        "diff",
        "logs",
    ):
        assert f"\n    {word} " in shown
