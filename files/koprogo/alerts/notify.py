"""Telling somebody: what is sent, and that a message which does not arrive spoils nothing.

A message is sent at least once: a run that is killed between sending and noting it sends it again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from koprogo import log
from koprogo.problem import Problem
from koprogo.state import Entry, Outcome, State, write_durably

if TYPE_CHECKING:
    from koprogo.alerts.channels import Channels, Message
    from koprogo.config import Config

PATIENCE = 30
"""Seconds that sending may take, all ways at once."""
WAYS = "alert-ways.json"
"""In the state directory: the ways that do not work."""


def channels(config: Config) -> Channels | None:
    """Return where messages go; None where nobody wants any. Raises Problem when the file cannot be read."""
    from koprogo.alerts.channels import parse  # noqa: PLC0415 - mail and TLS: most runs have nothing to tell

    path = config.alerts_file
    if path is None:
        return None
    try:
        return parse(json.loads(path.read_bytes()))
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}. Run deploy.py again from the operator's machine.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Problem(f"{path} is damaged. Run deploy.py again from the operator's machine.") from None


def nobody(config: Config) -> str:
    """Say why nobody is told of anything; "" where somebody is."""
    try:
        there = channels(config)
    except Problem as problem:
        return f"alerts go nowhere ({str(problem).rstrip('.')})"
    return "" if there is not None and there.ways else "alerts go nowhere (no ALERT_EMAIL, no ALERT_WEBHOOK_URL)"


def tell(config: Config, messages: Iterable[Message]) -> bool:
    """Send messages; returns whether each arrived somewhere. What did not arrive is a line in the log, no failure."""
    arrived = True
    for message in messages:
        try:
            there = channels(config)
        except Problem as problem:
            log.complain(f"“{message.title}” was not sent: {problem}")
            return False
        if there is None:
            return True
        results = send(there, message)
        _remember(config, results)
        for way, trouble in results.items():
            if trouble is not None:
                log.complain(f"“{message.title}” was not sent: {way}: {trouble}.")
        arrived = arrived and (not results or None in results.values())
    return arrived


def broken(config: Config) -> dict[str, str]:
    """Return the ways that did not take the last message, which another way took, and what was wrong with them."""
    try:
        there = channels(config)
        found = json.loads((config.state_dir / WAYS).read_bytes())
        return {str(way): str(trouble) for way, trouble in found.items() if there is not None and way in there.ways}
    except (Problem, OSError, ValueError, AttributeError):
        return {}


def _remember(config: Config, results: Mapping[str, str | None]) -> None:
    """Note the ways that do not work. Nothing is learned where none does: then it is as likely this server."""
    failed = {way: trouble for way, trouble in results.items() if trouble is not None}
    if len(failed) == len(results) or failed == broken(config):
        return
    try:
        write_durably(config.state_dir / WAYS, json.dumps(failed).encode(), 0o640)
    except Problem as problem:
        log.complain(str(problem))


def send(there: Channels, message: Message) -> dict[str, str | None]:
    """Send a message by all ways at once; returns what went wrong, or None, by way."""
    return _at_once({way: partial(take, message) for way, take in there.ways.items()})


def beat(there: Channels) -> dict[str, str | None]:
    """Give a sign of life, where somebody waits for one; returns what went wrong with it, or None."""
    from koprogo.alerts import channels as edge  # noqa: PLC0415 - as in channels

    return _at_once({"heartbeat": partial(edge.beat, there)} if there.heartbeat else {})


def _at_once(calls: Mapping[str, Callable[[], None]]) -> dict[str, str | None]:
    """Make calls of others' servers; returns what went wrong, or None, by name. It takes PATIENCE at most."""
    results: dict[str, str | None] = dict.fromkeys(calls, f"no end within {PATIENCE} s")

    def go(way: str) -> None:
        try:
            calls[way]()
            results[way] = None
        except Problem as problem:
            results[way] = str(problem)
        except Exception as error:  # whatever a stranger's server answers: a deploy goes on
            results[way] = type(error).__name__

    # Not waited for at the end of the program: a server that says a letter a second must not keep a deploy.
    threads = [threading.Thread(target=go, args=(way,), daemon=True) for way in calls]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return dict(results)


def test(config: Config) -> int:
    """Send a message by every way, and say of each whether it arrived; returns the exit code."""
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - as in channels

    there = channels(config)
    if there is None:
        raise Problem("No alerts are set up. Put ALERT_EMAIL, ALERT_WEBHOOK_URL or ALERT_HEARTBEAT_URL into .env.")
    text = f"Somebody tried whether alerts of {there.server} arrive. They do."
    results = send(there, Message("this is a test", text, good=True, at=time.time()))
    _remember(config, results)
    results |= beat(there)
    for way, trouble in results.items():
        log.say(f"{way}: accepted.") if trouble is None else log.complain(f"{way}: {trouble}.")
    return 1 if any(results.values()) else 0


def of_deploys(entries: Iterable[Entry], state: State) -> list[Message]:
    """Return what there is to tell of attempts that ended."""
    return [message for entry in entries if (message := _of_entry(entry, state)) is not None]


def _of_entry(entry: Entry, state: State) -> Message | None:
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - as in channels

    name = entry.commit[:7]
    runs = state.deployed.commit[:7] if state.deployed else "nothing"
    titles = {
        Outcome.DEPLOYED: f"{name} is live",
        Outcome.WENT_BACK: f"{name} is live again, as {entry.by} wanted",
        Outcome.UNDONE: f"{name} failed and was undone; {runs} runs again",
        Outcome.FAILED: f"{name} failed, and nothing went back by itself",
        Outcome.REFUSED: f"{name} is not deployed; {runs} goes on running",
    }
    title = titles.get(entry.result)
    if title is None:
        return None
    lines = [entry.subject, entry.reason, f"{entry.by or 'timer'}, {log.minute(entry.at)}, {entry.seconds:.0f} s"]
    if not entry.result.ran:
        lines.append("On the server: sudo koprogo status; sudo koprogo logs")
    return Message(title, "\n".join(line for line in lines if line), good=entry.result.ran, at=entry.at)
