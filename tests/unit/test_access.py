"""Logging in to a server that was made before, and what is said of one that was restarted."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_first_boot import Answers, clock, out
from test_plan import FOUND
from test_settings import folder, load

from cloud.machine import access
from cloud.machine.login import END_OF_FIRST_BOOT
from cloud.trouble import CloudError, NotYet

__all__ = ["clock", "folder", "out"]  # fixtures

REFUSED = NotYet("51.75.1.2 port 22: Connection refused.")
ENDLESS = NotYet("51.75.1.2 port 22: no answer in time.")
ANOTHER = CloudError("The machine that answers at 51.75.1.2 shows another host key than it should.")


class Machine:
    """As much of Login as waiting asks for; its answers depend on what is asked."""

    address = "51.75.1.2"

    def __init__(self, up: Any = (0, ""), boot: Any = (0, "status: done"), health: Any = (0, "")) -> None:
        self.answers = {"true": Answers(up), END_OF_FIRST_BOOT: Answers(boot), access.HEALTH: Answers(health)}

    def run(self, command: str, seconds: float) -> Any:
        """What was prepared for this command; what does not end takes all the time that it may."""
        assert 0 < seconds <= 300
        answer = self.answers[command]
        if answer.answers[0] is ENDLESS:
            time.sleep(seconds)
        return answer()


def trouble(machine: Machine, out: Console, *, was_healthy: bool = True) -> str:
    """What is said of it."""
    return access.answers_again(machine, was_healthy, out)  # type: ignore[arg-type]  # stand-in


def test_a_machine_that_is_well_again(out: Console) -> None:
    assert trouble(Machine(), out) == ""
    assert trouble(Machine(boot=(2, "degraded")), out) == ""
    assert trouble(Machine(health=(1, "")), out, was_healthy=False) == ""


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (Machine(up=REFUSED), "no answer within 5 minutes. 51.75.1.2 port 22: Connection refused."),
        (Machine(up=(1, "")), "no answer within 5 minutes."),
        (Machine(up=ANOTHER), str(ANOTHER)),
        (
            Machine(boot=ENDLESS),
            "its boot did not end within 5 minutes. 51.75.1.2 port 22: no answer in time.",
        ),
        (Machine(boot=ANOTHER), str(ANOTHER)),
        (Machine(health=(1, "")), "the application is not healthy: sudo koprogo status."),
        (Machine(health=ANOTHER), str(ANOTHER)),
    ],
)
def test_what_is_wrong_with_it_is_told_and_never_raised(out: Console, machine: Machine, said: str) -> None:
    assert trouble(machine, out) == said
    assert time.monotonic() <= 5 * 60 + 3


def test_a_boot_that_is_interrupted_is_asked_about_again(out: Console) -> None:
    machine = Machine()
    machine.answers[END_OF_FIRST_BOOT] = Answers(REFUSED, (0, ""))
    assert trouble(machine, out) == ""


def test_nobody_logs_in_to_a_server_without_an_address(folder: Path) -> None:
    with pytest.raises(CloudError) as caught:
        access.known_login(load(folder), replace(FOUND, ipv4=""))
    assert str(caught.value) == "The server koprogo has no public IPv4 address, so nobody can log in."
