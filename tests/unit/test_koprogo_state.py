"""What is remembered, the configuration, the lock, starting programs, and what the command does with mistakes."""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from koprogo import config, history, lock
from koprogo.problem import Problem, one_line
from koprogo.runner import Result, Runner
from koprogo.state import (
    Attempt,
    Bad,
    Check,
    Deployed,
    Entry,
    Hold,
    Image,
    Outcome,
    Probation,
    State,
    Step,
    Store,
    write_durably,
)

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


def newer(data: Any) -> Any:
    """What a newer version of the program could have written: with a key more wherever there are keys."""
    if isinstance(data, list):
        return [newer(one) for one in data]
    if not isinstance(data, dict):
        return data
    there = {name: newer(value) for name, value in data.items()}
    # Services and containers are keys, too, of other things than settings.
    return there if {"postgres", "c-1"} & {*data} else there | {"of_tomorrow": 1}


def test_what_a_newer_version_wrote_is_read_by_this_one(tmp_path: Path) -> None:
    image = Image("postgres:15", "sha256:1", "postgres@sha256:2")
    running = Deployed("a" * 40, "main-aaaaaaa", 1.5, "hash", "production", {"postgres": image}, {"postgres": "1"})
    entry = Entry("x", 1.0, "a" * 40, Outcome.DEPLOYED, version=running)
    state = State(
        deployed=running,
        attempt=Attempt("b" * 40, Step.STARTED, 2.5, 1, ("https://x",), ailing={"postgres": True}, excused=1),
        quarantine=(Bad("b" * 40, "sick", 3.5),),
        check=Check(4.5, "b" * 40, "sick", 4.0),
        hold=Hold(1.0, "x"),
        unwritten=(entry,),
        probation=Probation(1.0, running, {"c-1": 0}, {"postgres": "then"}),
    )
    store = Store(tmp_path)
    store.save(state)
    store.path.write_text(json.dumps(newer(json.loads(store.path.read_text()))))
    assert store.load() == state
    history.append(tmp_path, [entry])
    path = tmp_path / history.FILE
    path.write_text(json.dumps(newer(json.loads(path.read_text()))) + "\n")
    assert history.read(tmp_path) == [entry]


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
        *("", "{", "[]", "[" * 100_000, "null", '{"deployed": 3}', '{"deployed": null}'),
        _TYPED % (_BAD % ("null", "1"), ""),
        _TYPED % (_BAD % ('"x"', '"then"'), ""),
        _TYPED % ("", ', "hold": {"at": null, "reason": "x"}'),
        _TYPED % ("", f', "unwritten": [{_ENTRY}]'),
    ],
)
def test_a_damaged_state_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(Problem, match="Else move the file away and run `koprogo deploy`"):
        Store(tmp_path).load()


def test_what_is_written_is_on_the_disk_before_it_takes_its_place_and_the_place_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    brought, replace_by = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        brought(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append(path.read_text() if path.is_file() else sorted(each.name for each in path.iterdir()))

    def take(self: Path, target: Path) -> Path:
        seen.append(f"to {target.name}")
        return replace_by(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", take)
    write_durably(tmp_path / "state.json", b"all of it", 0o640)
    assert seen == ["all of it", "to state.json", ["state.json"]]


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
    # the name of a table in a database of Latin 1
    assert Runner().run(["od", "-An", "-tx1"], text="\udce9t\udce9").out == " e9 74 e9\n"


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


def test_who_presses_ctrl_c_ends_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    def interrupted(child: subprocess.Popen[str], *_: Any, **__: Any) -> tuple[str, str]:
        started.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Runner().run(["sleep", "60"])
    assert started[0].returncode == -signal.SIGKILL


def test_a_program_does_not_read_what_somebody_types() -> None:
    code = f"import sys; sys.path.insert(0, {str(FILES)!r})\nfrom koprogo.runner import Runner\n"
    code += "print(repr(Runner().run(['cat'], timeout=9).out))"
    done = subprocess.run([sys.executable, "-c", code], input="typed", capture_output=True, text=True, check=True)
    assert done.stdout == "''\n"


def test_what_outlived_a_program_and_holds_its_pipes_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As ssh does once git was killed for want of memory. It would hold the deploy lock, too.
    path, communicate = tmp_path / "lock", subprocess.Popen.communicate

    def once_started(child: subprocess.Popen[str], *text: Any, **options: Any) -> tuple[str, str]:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        return communicate(child, *text, **options)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_started)
    with lock.exclusive(path, wait=False) as held:
        late = Runner(held=[held]).run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid"], timeout=0.6)
    assert late.code is None
    left = Path("/proc") / (tmp_path / "pid").read_text().strip()
    try:
        ends = time.monotonic() + 10
        while left.exists() and "State:\tZ" not in (left / "status").read_text() and time.monotonic() < ends:
            time.sleep(0.01)
        with lock.exclusive(path, wait=False):
            pass
    except lock.Busy:
        os.kill(int(left.name), signal.SIGKILL)
        raise


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


@pytest.fixture
def server(tmp_path: Path) -> dict[str, str]:
    """The environment of a server with a history of 200 versions, whose subjects are no ASCII."""
    (tmp_path / "config.json").write_text(json.dumps(GOOD | {"state_dir": str(tmp_path)}))
    running = Deployed("a" * 40, "main-aaaaaaa", 1.5, "hash", "production", {})
    Store(tmp_path).save(State(deployed=running))
    history.append(
        tmp_path,
        [Entry(f"{n}", n, f"{n:040x}", Outcome.DEPLOYED, "Übung → …" * 9, version=running) for n in range(200)],
    )
    return {"KOPROGO_CONFIG": str(tmp_path / "config.json")}


def test_what_a_terminal_cannot_show_is_a_question_mark(server: dict[str, str]) -> None:
    done = run("history", PYTHONIOENCODING="ascii", **server)
    assert (done.returncode, done.stderr) == (0, "")
    assert "?bung ? ?" in done.stdout
    done = run("pause", "Übung …", PYTHONIOENCODING="ascii", **server)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(?bung ?): no check deploys anything" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "err"),
    [
        ("history --json | head -n 1 >/dev/null; exit ${PIPESTATUS[0]}", 0, ""),
        ("history --json >/dev/full", 1, "PROBLEM standard output: No space left on device.\n"),
        ("history >/dev/full", 1, "PROBLEM standard output: No space left on device.\n"),
    ],
)
def test_an_output_that_nobody_takes_is_no_traceback(server: dict[str, str], command: str, code: int, err: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(FILES), **server}
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m koprogo {command}"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.partition(" ")[2]) == (code, err)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
def test_a_state_of_a_user_who_is_not_there(server: dict[str, str], tmp_path: Path) -> None:
    os.chown(tmp_path, 54321, -1)
    done = run("history", **server)
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to the user 54321, who is not there. Run deploy.py again" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
def test_git_is_never_root_s_on_what_another_user_can_write(server: dict[str, str], tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    changed = {"state_dir": str(tmp_path), "checkout": str(checkout), "compose_file": f"{checkout}/c"}
    (tmp_path / "config.json").write_text(json.dumps(GOOD | changed))
    assert run("history", **server).returncode == 0
    os.chown(checkout, pwd.getpwnam("nobody").pw_uid, -1)
    done = run("history", **server)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"PROBLEM {tmp_path} and {checkout} belong to two users. Run deploy.py again" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
def test_root_becomes_whom_the_state_belongs_to(tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody")
    os.chown(tmp_path, user.pw_uid, -1)
    code = f"import os, sys; sys.path.insert(0, {str(FILES)!r})\nfrom pathlib import Path\n"
    code += "from types import SimpleNamespace\n"
    code += f"facts = SimpleNamespace(state_dir=Path({str(tmp_path)!r}), checkout=Path('/none'))\n"
    code += "from koprogo import cli\ncli.become_owner(facts)\n"
    code += "print(os.getresuid(), os.getresgid(), os.getgroups(), os.environ['HOME'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    assert done.stdout == f"{(user.pw_uid,) * 3} {(user.pw_gid,) * 3} {groups} {user.pw_dir}\n"


def test_the_command_knows_its_commands() -> None:
    assert run("logs", "-n", "²").stderr.endswith("² is not a number of lines\n")
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
