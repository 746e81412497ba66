"""A restic for tests of the program around it: a folder, its keys and its snapshots; it says what restic 0.18 says.

It answers as a program called `restic`; `install` puts it on the PATH. The real one is tried in tests/machine.
"""

import sys
from pathlib import Path

import pytest

_PROGRAM = """#!{python}
import json, os, shutil, sys, time
from pathlib import Path

there = Path(os.environ["RESTIC_REPOSITORY"])
faults = json.loads((there.parent / "faults.json").read_text())
words = [word for word in sys.argv[1:] if word != "--"]
plain, skip = [], 0
for word in words:
    if skip:
        skip = 0
    elif word in ("--option", "--host", "--tag", "--time", "--new-password-file", "--repository-version"):
        skip = 1
    elif not word.startswith("--"):
        plain.append(word)
value = lambda name: words[words.index(name) + 1]
with (there.parent / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")

def end(code, *lines):
    print("\\n".join(lines), file=sys.stderr)
    sys.exit(code)

if plain[0] in faults:
    time.sleep(faults[plain[0]]) if isinstance(faults[plain[0]], int) else end(1, *faults[plain[0]])
if plain[0] == "version":
    print("restic 0.18.0 compiled with go1.24.4 on linux/amd64")
    sys.exit()
keys = there / "keys"
if plain[0] == "init":
    keys.mkdir(parents=True)
    (keys / os.environ["RESTIC_PASSWORD"]).touch()
    sys.exit()
if not keys.exists():
    end(10, "Fatal: repository does not exist: unable to open config file: Stat: The specified key does not exist.")
if not (keys / os.environ["RESTIC_PASSWORD"]).exists():
    end(12, "Fatal: wrong password or no key found")
snapshots = sorted(there.glob("snapshot-*"))
if plain[:2] == ["key", "add"]:
    faults.get("forget") or (keys / Path(value("--new-password-file")).read_text()).touch()
elif plain[0] == "snapshots":
    print(json.dumps([json.loads((each / "about").read_text()) for each in snapshots]))
elif plain[0] == "backup":
    made = there / f"snapshot-{{len(snapshots):03}}"
    made.mkdir()
    for name in plain[1:]:
        shutil.copy(name, made / name)
        if faults.get("cut") and name.endswith(".zst"):
            os.truncate(made / name, 3)
    about = {{"id": made.name, "time": f"2026-11-23T0{{len(snapshots)}}:00:00Z", "tags": [value("--tag")]}}
    (made / "about").write_text(json.dumps(about))
    print(json.dumps({{"message_type": "summary", "snapshot_id": made.name}}))
elif plain[0] == "dump":
    file = there / plain[1] / plain[2].lstrip("/")
    if not file.exists():
        end(1, f"Fatal: cannot dump file: path {{plain[2]}}: no such file")
    moved = there.parent / "moved"
    if "moved" in faults and not moved.exists():
        moved.touch()
        end(1, "Fatal: The specified key does not exist.")
    if "breaks" in faults and file.suffix == ".zst":
        sys.stdout.buffer.write(file.read_bytes()[:-1])
        end(1, *faults["breaks"])
    sys.stdout.buffer.write(file.read_bytes())
"""


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Put it on the PATH; returns the folder of its repository, with `calls` and `faults.json` beside it."""
    program = folder / "bin" / "restic"
    program.parent.mkdir()
    program.write_text(_PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    store = folder / "store" / "repository"
    store.parent.mkdir()
    (store.parent / "faults.json").write_text("{}")
    return store
