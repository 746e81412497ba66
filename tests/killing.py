"""provision.py killed (SIGKILL) at each of its calls to the cloud, by the proxy that these go through.

The calls of a whole run are counted first. Looking again and again at the same thing until it is ready counts as one
call, since how often that happens depends on the machine. Two operators work side by side, to save time.
"""

import re
import shutil
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from conftest import Operator
from fault_proxy import Action, FaultProxy

WILD = "[^/]+"
ACTION = re.compile(rb'{"([\w-]+)"')
"""What is asked of a server, as the body of the call begins."""
CONSOLE = "os-getConsoleOutput"
BEFORE_FILES = None
"""The moment at which all is done but to note it beside `.env`: there is no call at which a proxy could kill."""
KILLED_BEFORE_FILES = (
    "import os; from cloud.machine import records; records.write = lambda *_: os.kill(os.getpid(), 9);"
    " import provision; provision.main()"
)


@dataclass(frozen=True)
class Call:
    """The n-th call of a kind. Which call of a whole run it is depends on how often things were looked at before."""

    method: str
    path: str
    """With a wildcard for what is different in each run."""
    action: str
    """What is asked of a server: all of that has one path. "" for other calls."""
    nth: int

    @property
    def words(self) -> str:
        """What it does, in short."""
        if self.action:
            return self.action
        return f"{self.method} {next(part for part in reversed(self.path.split('/')) if part not in WILD.split('/'))}"


@dataclass(frozen=True)
class Moment:
    """When a run is killed: at a call, before it is carried out or after that, while its answer is on its way."""

    call: Call
    carried_out: bool = False


def calls(operator: Operator, *command: str) -> list[Call]:
    """The calls of a run that goes well; looks at the same thing one after the other are one."""
    with FaultProxy() as proxy:
        operator.provision(*command, HTTP_PROXY=proxy.url)
    # ids, and what has the name of the operator's server
    varying = re.compile(rf"[0-9a-f]{{8}}-[0-9a-f-]{{27}}|[0-9a-f]{{32}}|(?<=record/)[0-9]+|{operator.server_name}")
    kinds = [
        (method, varying.sub(WILD, path), _action(path, sent))
        for (method, path), sent in zip(proxy.calls, proxy.sent, strict=True)
    ]
    different = [kind for kind, _ in groupby(kinds)]
    return [Call(*kind, different[: place + 1].count(kind)) for place, kind in enumerate(different)]


def _action(path: str, sent: bytes) -> str:
    begins = ACTION.match(sent) if path.endswith("/action") else None
    return begins[1].decode() if begins else ""


def changing(every: Iterable[Call]) -> list[Call]:
    """Those that change something in the cloud: a login does not, and neither does a look at a console."""
    return [
        call
        for call in every
        if call.method != "GET" and not call.path.endswith("/auth/tokens") and call.action != CONSOLE
    ]


def before(every: Iterable[Call]) -> list[Moment]:
    """Before each of these calls is carried out."""
    return [Moment(call) for call in every]


def after(every: Iterable[Call]) -> list[Moment]:
    """After each of these calls was carried out, and before its answer."""
    return [Moment(call, carried_out=True) for call in every]


def killed_at(operator: Operator, moment: Moment | None, *command: str) -> None:
    """Run, and kill at this moment. Nothing is remembered of OVH's catalogue, which would spare a call."""
    shutil.rmtree(operator.folder / "cache", ignore_errors=True)
    if moment is BEFORE_FILES:
        done = operator.run(sys.executable, "-c", KILLED_BEFORE_FILES, *command, check=False)
        assert done.returncode == -9, f"{done.stdout}\n{done.stderr}"
        return
    call = moment.call
    action: Action = "kill after" if moment.carried_out else "kill"
    sent = f'^{{"{call.action}"'.encode() if call.action else b""
    with FaultProxy() as proxy:
        proxy.rule(action, call.method, f"^{call.path}($|[?])", nth=call.nth, sent=sent)
        process = operator.start_provision(*command, HTTP_PROXY=proxy.url)
        proxy.victim = process.pid
        output, errors = process.communicate(timeout=120)
    assert process.returncode == -9, f"{moment}\n{output}\n{errors}"


Item = TypeVar("Item")


def side_by_side(operators: list[Operator], every: list[Item], work: Callable[[Operator, Item], None]) -> None:
    """Do the work for each of something, shared between the operators."""

    def share(place: int) -> None:
        for item in every[place :: len(operators)]:
            work(operators[place], item)

    with ThreadPoolExecutor(len(operators)) as pool:
        for done in [pool.submit(share, place) for place in range(len(operators))]:
            done.result()
