"""provision.py killed (SIGKILL) before each of its calls to the cloud; what the next run makes of it.

The calls of a whole run are counted first. Looking again and again at the same thing until it is ready counts as one
call, since how often that happens depends on the machine. Two operators work side by side, to save time.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest
from cloud_project import EVERYTHING, NOTHING, remove, set_variable, there_is
from conftest import Operator
from fault_proxy import FaultProxy
from openstack.connection import Connection

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(2400)]

NAME = "killed"
CHANGING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|(?<=record/)[0-9]+|killed[12]")
"""Ids, and the names of the two operators' servers."""
APPLY, DESTROY = ("apply", "--yes"), ("destroy", "--yes", "--name")


@pytest.fixture
def operators(operator_env: Operator, api: Connection, tmp_path: Path) -> Iterator[list[Operator]]:
    """Two operators, with a server of their own each."""
    both = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in (".env", "id_ed25519", "id_ed25519.pub"):
            shutil.copy2(operator_env.folder / name, folder / name)
        one = Operator(folder)
        set_variable(one, INSTANCE_NAME=f"{NAME}{number}", SSH_PUBLIC_KEY=str(folder / "id_ed25519.pub"))
        both.append(one)
        remove(api, name_of(one))
    yield both
    for one in both:
        remove(api, name_of(one))


def name_of(operator: Operator) -> str:
    """Of the operator's server."""
    return f"{NAME}{operator.folder.name}"


@dataclass(frozen=True)
class Call:
    """The n-th call of a kind. Which call of a whole run it is depends on how often things were looked at before."""

    method: str
    path: str
    """With a wildcard for what is different in each run."""
    nth: int


def calls(operator: Operator, *command: str) -> list[Call]:
    """The calls of a run that goes well; looks at the same thing one after the other are one."""
    with FaultProxy() as proxy:
        operator.provision(*command, HTTP_PROXY=proxy.url)
    kinds = [(method, CHANGING.sub("[^/]+", path)) for method, path in proxy.calls]
    different = [kind for kind, _ in groupby(kinds)]
    return [Call(*kind, different[: place + 1].count(kind)) for place, kind in enumerate(different)]


def killed_at(operator: Operator, call: Call, *command: str) -> None:
    """Run, and kill before this call. Nothing is remembered of OVH's catalogue, which would spare a call."""
    shutil.rmtree(operator.folder / "cache", ignore_errors=True)
    with FaultProxy() as proxy:
        proxy.rule("kill", call.method, f"^{call.path}($|[?])", nth=call.nth)
        process = operator.start_provision(*command, HTTP_PROXY=proxy.url)
        proxy.victim = process.pid
        output, errors = process.communicate(timeout=120)
    assert process.returncode == -9, f"{call}\n{output}\n{errors}"


def side_by_side(operators: list[Operator], every: list[Call], work: Callable[[Operator, Call], None]) -> None:
    """Do the work for each call, shared between the operators."""

    def share(place: int) -> None:
        for call in every[place :: len(operators)]:
            work(operators[place], call)

    with ThreadPoolExecutor(len(operators)) as pool:
        for done in [pool.submit(share, place) for place in range(len(operators))]:
            done.result()


def test_an_apply_that_is_killed_at_any_call_is_completed_by_the_next(
    operators: list[Operator], api: Connection
) -> None:
    every = calls(operators[0], *APPLY)
    assert len(every) > 20

    def work(operator: Operator, call: Call) -> None:
        remove(api, name_of(operator))
        for file in ("inventory.json", "known_hosts"):
            (operator.folder / file).unlink(missing_ok=True)
        killed_at(operator, call, *APPLY)
        operator.provision(*APPLY)
        assert there_is(api, name_of(operator)) == EVERYTHING, f"killed at {call}"
        assert operator.provision("plan").returncode == 0

    side_by_side(operators, every, work)


def test_a_destroy_that_is_killed_at_any_call_is_completed_by_the_next(
    operators: list[Operator], api: Connection
) -> None:
    def destroy(operator: Operator) -> tuple[str, ...]:
        return *DESTROY, name_of(operator), "--no-backup"

    operators[0].provision(*APPLY)
    every = calls(operators[0], *destroy(operators[0]))
    assert len(every) > 15

    def work(operator: Operator, call: Call) -> None:
        operator.provision(*APPLY)
        killed_at(operator, call, *destroy(operator))
        operator.provision(*destroy(operator))
        assert there_is(api, name_of(operator)) == NOTHING, f"killed at {call}"
        assert not (operator.folder / "inventory.json").exists()

    side_by_side(operators, every, work)
