"""How the programs start: interrupted in their imports, without a library, in a folder that is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROVISION = ["provision.py", "plan"]
DNS = ["-m", "cloud.dns", "check", "www.example.org", "--ipv4=192.0.2.1"]
OFFSITE = ["-m", "offsite", "policy"]


@pytest.mark.parametrize(
    ("program", "library"),
    [(PROVISION, "click"), (PROVISION, "rich"), (DNS, "click"), (DNS, "rich"), (OFFSITE, "click")],
)
def test_ctrl_c_while_libraries_are_imported_is_quiet(tmp_path: Path, program: list[str], library: str) -> None:
    (tmp_path / f"{library}.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    command = ["env", "--default-signal=INT", sys.executable, *program]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.stderr.read()) == (130, b"")


@pytest.mark.parametrize(
    ("program", "called"), [(PROVISION, "provision.py"), (DNS, "-m cloud.dns"), (OFFSITE, "-m offsite")]
)
def test_a_library_that_is_not_there_is_a_line(program: list[str], called: str) -> None:
    done = subprocess.run([sys.executable, "-S", *program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"click is not installed for {sys.executable}. Once: make setup. Then: .venv/bin/python {called}\n",
    )


@pytest.mark.parametrize("program", [f"{ROOT}/provision.py", "-m cloud.dns"])
def test_a_current_folder_that_is_gone_is_a_line(tmp_path: Path, program: str) -> None:
    here = f'cd "{tmp_path}" && rmdir "{tmp_path}" && exec "{sys.executable}" {program} plan'
    environment = os.environ | {"ENV_FILE": ".env", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", here], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "The current folder is gone: somebody removed it. Change to another one, then run again.\n",
    )
