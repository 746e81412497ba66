"""Waiting for a new server, with a cloud that answers from a list."""

import io
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_plan import FOUND

from cloud.machine import first_boot
from cloud.resources import FoundServer
from cloud.show import console
from cloud.trouble import CloudError, NotYet, ServerFailed


class Answers:
    """Gives its answers one after another, the last for ever; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self, *_: object) -> Any:
        """The next answer."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Cloud:
    """As much of Compute as waiting asks for."""

    def __init__(self, *, server: Callable[..., Any] | None = None, console: Callable[..., Any] | None = None) -> None:
        self.server, self.console = server, console


class Door:
    """As much of Login as waiting asks for."""

    address, user = "51.75.1.2", "ubuntu"

    def __init__(self, *answers: Any) -> None:
        self.run = Answers(*answers)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes by sleeping only."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


@pytest.fixture
def out() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def printed(out: Console) -> str:
    """What was shown."""
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


BUILDING = replace(FOUND, status="BUILD", ipv4="", ipv6="")


def active(out: Console, *answers: FoundServer | Exception | None) -> FoundServer:
    """Wait with these answers of Nova's."""
    return first_boot.wait_active(Cloud(server=Answers(*answers)), "5c1e", out)  # type: ignore[arg-type]  # stand-in


def test_it_waits_for_active_and_puts_up_with_a_cloud_that_stumbles(out: Console) -> None:
    assert active(out, BUILDING, NotYet("503"), FOUND) == FOUND
    assert printed(out) == "  Waiting until the server is ACTIVE … 4.0 s\n"


def test_error_is_reported_with_novas_reason(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        active(out, BUILDING, replace(FOUND, status="ERROR", launched=False, fault="No valid host was found"))
    assert str(caught.value) == (
        "Nova could not make the server: No valid host was found."
        " It stays, and is billed, until it is removed. Run again, and it is replaced."
    )
    assert isinstance(caught.value, ServerFailed)


def test_one_that_ran_is_not_given_up(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        active(out, replace(FOUND, status="ERROR", fault="its host is down"))
    assert str(caught.value) == (
        "The server koprogo (5c1e) is in ERROR: its host is down. It is billed, and its disk may still be good: a hard"
        " reboot in OVH's console can bring it back. To give it up: python provision.py destroy"
    )
    assert not isinstance(caught.value, ServerFailed)


def test_a_list_of_addresses_may_come_after_the_status(out: Console) -> None:
    unlisted = replace(FOUND, ipv4="", ipv6="", networks=frozenset())
    assert active(out, BUILDING, unlisted, FOUND) == FOUND
    assert time.monotonic() == 4


def test_a_server_without_an_address_is_said_as_soon_as_it_is_active(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        active(out, BUILDING, replace(FOUND, ipv4="", networks=frozenset({"private"})))
    assert str(caught.value) == (
        "The server koprogo has no public IPv4 address in private. Is NETWORK the network with public addresses"
        " (Ext-Net at OVH)? It stays, and is billed; with another NETWORK the next run replaces it."
    )
    assert printed(out) == "  Waiting until the server is ACTIVE …\n"
    assert time.monotonic() == 2


def test_a_server_that_somebody_removed_meanwhile(out: Console) -> None:
    with pytest.raises(CloudError, match=r"The server 5c1e is gone: somebody removed it\."):
        active(out, BUILDING, None)


def test_a_size_that_somebody_has_to_decide_on_is_not_waited_for(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        active(out, BUILDING, replace(FOUND, status="VERIFY_RESIZE", flavor="d2-4"))
    assert str(caught.value) == (
        "The server koprogo was given another size meanwhile, d2-4, which is not confirmed. Run again to have it tried,"
        " or taken back."
    )


def test_it_does_not_wait_for_ever(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        active(out, NotYet("Asking for the server: the cloud failed (500: x)."))
    assert str(caught.value) == (
        "The server 5c1e is still not ACTIVE with an address after 15 minutes."
        " Asking for the server: the cloud failed (500: x). Run again to go on waiting."
    )


def test_the_first_boot_ends_when_it_says_so(out: Console) -> None:
    first_boot.wait_first_boot(Door(NotYet("refused"), (0, ""), (0, "status: done")), out)  # type: ignore[arg-type]
    assert printed(out) == ("  Waiting for SSH at 51.75.1.2 … 2.0 s\n  Waiting for the end of its first boot … 0.0 s\n")


def test_a_first_boot_that_does_not_end_is_waited_for_no_longer_than_it_may_take(out: Console) -> None:
    def run(command: str, seconds: float) -> tuple[int, str]:
        if command == "true":
            return 0, ""
        time.sleep(min(seconds, 14 * 60))
        raise NotYet("51.75.1.2 port 22: the connection ended.")

    door = Door()
    door.run = run  # type: ignore[assignment]
    with pytest.raises(CloudError) as caught:
        first_boot.wait_first_boot(door, out)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "The first boot of 51.75.1.2 does not end after 15 minutes. 51.75.1.2 port 22: the connection ended."
        " Run again to go on waiting."
    )
    assert time.monotonic() <= 15 * 60 + 5


def test_a_first_boot_with_complaints_is_told_and_no_failure(out: Console) -> None:
    first_boot.wait_first_boot(Door((0, ""), (2, "status: done\nextended: degraded\n")), out)  # type: ignore[arg-type]
    assert "  Its first boot ended with complaints (status: done extended: degraded), which need not" in printed(out)


def test_what_the_server_says_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    first_boot.wait_first_boot(Door((0, ""), (2, "errors: [red] in [/etc/x]:b:")), console())  # type: ignore[arg-type]
    assert "complaints (errors: [red] in [/etc/x]:b:), which" in capsys.readouterr().out


def test_an_ssh_that_never_opens_says_why(out: Console) -> None:
    with pytest.raises(CloudError) as caught:
        first_boot.wait_first_boot(Door(NotYet("51.75.1.2 port 22: Connection refused.")), out)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Nobody could log in to 51.75.1.2 as ubuntu after 5 minutes. 51.75.1.2 port 22: Connection refused."
        " Run again to go on waiting."
    )


def test_openstacksdk_which_takes_a_second_to_import_is_not_imported_with_the_command() -> None:
    code = "import provision, sys; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
