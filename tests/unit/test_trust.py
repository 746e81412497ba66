"""Which host keys a server is known by, with a cloud and a machine that answer from lists."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from test_first_boot import Answers, Cloud, clock, out, printed
from test_host_keys import CONSOLE, ECDSA, ED25519, OTHER
from test_plan import FOUND

from cloud.machine import trust
from cloud.trouble import CloudError, NoAnswer, NotYet

__all__ = ["clock", "out"]  # fixtures

Machine = Callable[..., None]
QUESTION = (
    ", so nobody has vouched for the machine that answers at 51.75.1.2. It shows"
    " ssh-ed25519 SHA256:RyaD1e4+fZRye17+LIiQOuscDVnHubRwhhVLAIq10TI. Compare it with what the server says of itself in"
    " OVH's console (Public Cloud > Instances > VNC console), on its screen or to: ssh-keygen -lf"
    " /etc/ssh/ssh_host_ed25519_key.pub."
)


class Refusal(Exception):
    """As much of openstacksdk's exceptions as counts."""

    def __init__(self, status: int) -> None:
        self.status_code = status


def refusal(status: int) -> CloudError:
    """What Compute makes of such an answer."""
    error = (NoAnswer if status >= 500 else CloudError)(f"Reading the console: no ({status}).")
    error.__cause__ = Refusal(status)
    return error


@pytest.fixture
def shows(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Say what the machine at the address shows, look after look."""

    def let(*keys: str) -> None:
        answers = Answers(*keys)
        monkeypatch.setattr(trust, "shown_key", lambda _address, prefer: answers(prefer))

    return let


class Asked:
    """An operator who gives one answer."""

    def __init__(self, answer: bool) -> None:
        self.answer, self.questions = answer, list[str]()

    def __call__(self, question: str) -> bool:
        """Answer."""
        self.questions.append(question)
        return self.answer


def keys(out: Console, former: tuple[str, ...], *console: Any, ask: trust.Ask = None, **how: Any) -> tuple[str, ...]:
    """Wait with these answers of the console's."""
    cloud = Cloud(console=Answers(*console))
    return trust.HostKeys(cloud, FOUND, former, **how).wait(out, ask)  # type: ignore[arg-type]  # stand-in


def test_the_keys_are_read_as_soon_as_the_console_shows_them(out: Console, shows: Machine) -> None:
    shows("", "", OTHER)
    assert keys(out, (), "", NotYet("500"), CONSOLE[:500], CONSOLE) == (ECDSA, ED25519)
    assert printed(out) == "  Reading its SSH host keys from its console … 6.0 s\n"
    assert keys(out, (OTHER,), CONSOLE) == (ECDSA, ED25519)


def test_former_keys_serve_when_the_console_forgot_and_the_machine_shows_one(out: Console, shows: Machine) -> None:
    shows("", ED25519)
    assert keys(out, (ECDSA, ED25519), "[ 1234.5] audit: something else") == (ECDSA, ED25519)
    assert keys(out, (ECDSA, ED25519), refusal(403)) == (ECDSA, ED25519)


def test_a_key_that_is_neither_pinned_nor_on_the_console_is_a_stop(out: Console, shows: Machine) -> None:
    shows(OTHER)
    operator = Asked(True)
    with pytest.raises(CloudError) as caught:
        keys(out, (ED25519,), "", ask=operator)
    assert str(caught.value) == (
        "The machine that answers at 51.75.1.2 shows another host key than it should:"
        " ssh-ed25519 SHA256:RyaD1e4+fZRye17+LIiQOuscDVnHubRwhhVLAIq10TI, and not"
        " ssh-ed25519 SHA256:9QWkRKLSWppqlj3pEMd2EHoxjH43W8KMCOs7H2gnMIc. Either the server was rebuilt or given other"
        " host keys, and its console does not show them; or another machine answers at its address. Nothing was sent to"
        " it. Compare it with what the server says of itself in OVH's console (Public Cloud > Instances > VNC console),"
        " on its screen or to: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub. If it is the same,"
        " let the server print its keys on its console, as root there: cloud-init single --name"
        " keys_to_console --frequency always. Or, where that shows none, remove the lines of 51.75.1.2 from"
        " known_hosts. Then run again."
    )
    assert operator.questions == []
    assert printed(out) == "  Reading its SSH host keys from its console … 60.0 s\n"


def test_a_rebuild_that_was_interrupted_is_waited_for(out: Console, shows: Machine) -> None:
    shows("", OTHER)
    assert keys(out, (OTHER + "A",), "", "", "", CONSOLE) == (ECDSA, ED25519)


def test_a_server_made_again_has_neither_its_old_console_nor_its_old_key(out: Console, shows: Machine) -> None:
    shows(ED25519, "", OTHER)
    block = f"-----BEGIN SSH HOST KEY KEYS-----\n{OTHER} root@koprogo\n-----END SSH HOST KEY KEYS-----\n"
    assert keys(out, (ECDSA, ED25519), CONSOLE, "", "", block, again=trust.Again.MADE) == (OTHER,)
    assert printed(out) == "  Reading its SSH host keys from its console … 6.0 s\n"


def test_what_a_server_made_again_shows_may_be_accepted(out: Console, shows: Machine) -> None:
    shows(ED25519, OTHER)
    assert keys(out, (ED25519,), refusal(403), ask=Asked(True), again=trust.Again.MADE) == (OTHER,)


@pytest.mark.parametrize("status", [403, 501])
def test_a_console_that_is_refused_makes_it_ask_as_soon_as_ssh_answers(
    out: Console, shows: Machine, status: int
) -> None:
    shows("", OTHER)
    operator = Asked(True)
    assert keys(out, (), refusal(status), ask=operator) == (OTHER,)
    assert operator.questions == [
        f"The console of koprogo cannot be read (Reading the console: no ({status})){QUESTION}"
        " Is it the same, and to be trusted?"
    ]
    assert printed(out) == "  Reading its SSH host keys from its console … 2.0 s\n"


def test_a_console_without_keys_makes_it_ask_a_minute_after_ssh_answers(out: Console, shows: Machine) -> None:
    shows("", "", OTHER)
    operator = Asked(True)
    assert keys(out, (), "nothing", ask=operator) == (OTHER,)
    assert operator.questions == [
        f"The console of koprogo shows no host keys{QUESTION} Is it the same, and to be trusted?"
    ]
    assert printed(out) == "  Reading its SSH host keys from its console … 64.0 s\n"


def test_a_no_trusts_nothing(out: Console, shows: Machine) -> None:
    shows(OTHER)
    with pytest.raises(CloudError) as caught:
        keys(out, (), "nothing", ask=Asked(False))
    assert str(caught.value) == "The host key of 51.75.1.2 was not accepted. The server stays, and is billed."


def test_with_nobody_to_ask_nothing_is_trusted(out: Console, shows: Machine) -> None:
    shows(OTHER)
    with pytest.raises(CloudError) as caught:
        keys(out, (), refusal(403))
    assert str(caught.value) == (
        f"The console of koprogo cannot be read (Reading the console: no (403)){QUESTION}"
        " Then run this again in a terminal and without --yes, and it will ask."
    )


def test_another_refusal_is_no_reason_to_ask(out: Console, shows: Machine) -> None:
    shows(OTHER)
    with pytest.raises(CloudError, match=r"^Reading the console: no \(401\)\.$"):
        keys(out, (), refusal(401), ask=Asked(True))


def test_it_does_not_wait_for_ever(out: Console, shows: Machine) -> None:
    shows("")
    with pytest.raises(CloudError) as caught:
        keys(out, (), refusal(501), ask=Asked(True))
    assert str(caught.value) == (
        "Neither the console of koprogo nor SSH at 51.75.1.2 shows host keys after 15 minutes."
        " Run again to go on waiting."
    )


def test_a_console_that_fails_for_the_moment_is_asked_again(out: Console, shows: Machine) -> None:
    shows(OTHER)
    assert keys(out, (), refusal(500), refusal(503), CONSOLE) == (ECDSA, ED25519)


def test_the_console_or_why_it_cannot_be_read() -> None:
    def read(answer: Any) -> tuple[str, str]:
        return trust.console(Cloud(console=Answers(answer)), "5c1e")  # type: ignore[arg-type]  # stand-in

    assert read("[ 0.0] Linux") == ("[ 0.0] Linux", "")
    assert read(refusal(501)) == ("", "Reading the console: no (501).")
    assert read(refusal(401)) == ("", "Reading the console: no (401).")
    assert read(refusal(500)) == ("", "Reading the console: no (500).")


def test_of_a_rebuild_that_was_cut_off_the_machine_says_whether_it_came_to_be(out: Console, shows: Machine) -> None:
    perhaps = trust.Again.PERHAPS
    shows("", OTHER)  # it did: the old block on the console is nobody's
    block = f"{CONSOLE}-----BEGIN SSH HOST KEY KEYS-----\n{OTHER}\n-----END SSH HOST KEY KEYS-----\n"
    assert keys(out, (ECDSA, ED25519), CONSOLE, "", block, again=perhaps) == (OTHER,)
    shows(ED25519)  # it did not
    assert keys(out, (ECDSA, ED25519), CONSOLE, again=perhaps) == (ECDSA, ED25519)
    shows(OTHER)  # nobody has vouched for it, and the old keys do not speak against it
    assert keys(out, (ED25519,), refusal(403), ask=Asked(True), again=perhaps) == (OTHER,)
