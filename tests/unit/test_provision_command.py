"""How provision.py ends, whatever becomes of its output and of the process: with a stand-in for what it does."""

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = r"""
import sys, time, types
import cloud, provision

def plan(**_):
    print("koprogo \u2026 5 \u20ac \u2192 6 \u20ac")
    print("Z\u00fcrich \u2026", file=sys.stderr)
    return 2

def apply(**_):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("given back", file=sys.stderr, flush=True)

def status(**_):
    from cloud.show import console
    for _ in range(10000):
        console().print("koprogo \u2026 5 \u20ac")
    return 0

def console(**_):
    print("x" * 1000000, end="")
    return 0

def destroy(**_):
    raise FileNotFoundError(2, "No such file or directory", "/there")

cloud.commands = types.SimpleNamespace(
    plan=plan, apply=apply, status=status, console=console, destroy=destroy
)
provision.main()
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}


def argv(command: str) -> list[str]:
    """provision.py with this command."""
    return [sys.executable, "-c", STAND_IN, command]


def ended(command: str, **environment: str) -> tuple[int, str, str]:
    """Its status and its output."""
    done = subprocess.run(argv(command), cwd=ROOT, env=os.environ | environment, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_letters_that_a_terminal_lacks_are_replaced() -> None:
    assert ended("plan", PYTHONUTF8="1") == (2, "koprogo … 5 € → 6 €\n", "Zürich …\n")
    assert ended("plan", **ASCII) == (2, "koprogo ? 5 ? ? 6 ?\n", "Z?rich ?\n")


@pytest.mark.parametrize("command", ["plan", "status", "console"])
def test_a_full_disk_is_a_line(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv(command), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().removeprefix("Zürich …\n") == "The output: No space left on device.\n"


@pytest.mark.parametrize("command", ["plan", "status", "console"])
def test_whoever_reads_may_go(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(argv(command), cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr.decode().removeprefix("Zürich …\n") == ""


def test_a_file_that_is_not_there_is_a_line() -> None:
    assert ended("destroy") == (1, "", "/there: No such file or directory.\n")


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (
            signal.SIGINT,
            130,
            "given back\n\nInterrupted. What was done until then stays so; run the same command again to go on.\n",
        ),
        (signal.SIGTERM, 143, "given back\n"),
        (signal.SIGHUP, 129, "given back\n"),
    ],
)
def test_what_was_taken_is_given_back_at_the_end(number: signal.Signals, status: int, said: str) -> None:
    # whoever runs the tests may ignore these signals, and children inherit that
    default = ["env", "--default-signal=INT,TERM,HUP"]
    with subprocess.Popen(
        [*default, *argv("apply")], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert (process.wait(10), process.stderr.read()) == (status, said)


def test_ctrl_c_after_the_imports_gives_back(tmp_path: Path) -> None:
    stand_in = STAND_IN.replace("import cloud, provision", "import cloud, runpy").replace(
        "provision.main()", "runpy.run_path('provision.py', run_name='__main__')"
    )
    command = ["env", "--default-signal=INT", sys.executable, "-c", stand_in, "apply"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read().startswith(b"given back\n\nInterrupted. ")


def test_nohup_is_heeded() -> None:
    with subprocess.Popen(
        ["env", "--ignore-signal=HUP", *argv("apply")], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        assert process.wait(10) == 143


def test_a_terminal_that_is_closed_ends_it() -> None:
    ours, theirs = pty.openpty()
    command = ["env", "--default-signal=HUP", *argv("apply")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        os.close(theirs)
        # all of the line: whoever is still writing when the terminal goes has an error of its own
        assert b"".join(iter(lambda: os.read(ours, 1), b"\n")) == b"begun\r"
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.stderr
        assert (process.wait(10), process.stderr.read()) == (129, b"given back\n")


def whole(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """provision.py itself, with nobody at a terminal."""
    command = [sys.executable, str(ROOT / "provision.py"), *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **how)


def test_help_that_cannot_be_written_is_a_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = whole("--help", stdout=full)
    assert (done.returncode, done.stderr) == (1, "The output: No space left on device.\n")


def test_a_closed_output_is_no_traceback(tmp_path: Path) -> None:
    done = whole("plan", env=os.environ | {"ENV_FILE": str(tmp_path / ".env")}, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}/.env: there is no such file;")


def test_ctrl_c_at_a_question_says_that_nothing_was_done() -> None:
    stand_in = STAND_IN.replace('    raise FileNotFoundError(2, "No such file or directory", "/there")', "    asked()")
    stand_in = f"from cloud import asking\ndef asked():\n    asking.confirmed('Do this?')\n{stand_in}"
    ours, theirs = pty.openpty()
    command = ["env", "--default-signal=INT", sys.executable, "-c", stand_in, "destroy"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        assert "Do this?" in read_until(ours, "Do this?")
        # one that comes just before it begins to read is heard only at the next
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
        assert process.returncode == 130
        assert read_until(ours, "done.").endswith("\r\nNothing was done.")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows up to this text, or to its end."""
    shown = ""
    while text not in shown:
        try:
            shown += os.read(terminal, 1).decode(errors="replace")
        except OSError:  # nobody is there any more
            break
    return shown
