"""provision.py killed (SIGKILL) before each of its calls to the cloud; what the next run makes of it."""

import pytest
from cloud_project import EVERYTHING, NOTHING, remove, there_is
from conftest import Operator
from killing import Call, Moment, calls, killed_at, side_by_side
from openstack.connection import Connection

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(2400)]

NAME = "killed"
APPLY, DESTROY = ("apply", "--yes"), ("destroy", "--yes", "--name")


def test_an_apply_that_is_killed_at_any_call_is_completed_by_the_next(
    operators: list[Operator], api: Connection
) -> None:
    every = calls(operators[0], *APPLY)
    assert len(every) > 20

    def work(operator: Operator, call: Call) -> None:
        remove(api, operator.server_name)
        for file in ("inventory.json", "known_hosts"):
            (operator.folder / file).unlink(missing_ok=True)
        killed_at(operator, Moment(call), *APPLY)
        operator.provision(*APPLY)
        assert there_is(api, operator.server_name) == EVERYTHING, f"killed at {call}"
        assert operator.provision("plan").returncode == 0

    side_by_side(operators, every, work)


def test_a_destroy_that_is_killed_at_any_call_is_completed_by_the_next(
    operators: list[Operator], api: Connection
) -> None:
    def destroy(operator: Operator) -> tuple[str, ...]:
        return *DESTROY, operator.server_name, "--no-backup"

    operators[0].provision(*APPLY)
    every = calls(operators[0], *destroy(operators[0]))
    assert len(every) > 15

    def work(operator: Operator, call: Call) -> None:
        operator.provision(*APPLY)
        killed_at(operator, Moment(call), *destroy(operator))
        operator.provision(*destroy(operator))
        assert there_is(api, operator.server_name) == NOTHING, f"killed at {call}"
        assert not (operator.folder / "inventory.json").exists()

    side_by_side(operators, every, work)
