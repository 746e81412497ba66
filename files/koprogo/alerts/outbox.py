"""Messages that nobody took: kept, a file each, and sent again by the next health checks.

A deploy sends its message once and goes on. What it could not send waits here, with its own time, for a day at most.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from koprogo import log
from koprogo.alerts import notify
from koprogo.problem import Problem
from koprogo.state import write_durably

if TYPE_CHECKING:
    from koprogo.alerts.channels import Message
    from koprogo.config import Config

FOLDER = "outbox"
KEPT = 20
"""How many wait at most: the newest."""
PATIENCE = 86400
"""Seconds after which a message is no news any more."""


def tell(config: Config, messages: Iterable[Message]) -> None:
    """Send messages, and keep those that did not arrive anywhere."""
    for message in messages:
        if not notify.tell(config, [message]):
            _keep(config.state_dir / FOLDER, message)


def send_again(config: Config) -> None:
    """Send what waits, oldest first, up to the first that does not arrive this time either."""
    from koprogo.alerts.channels import Message  # noqa: PLC0415 - mail and TLS: most checks have nothing to tell

    for path in _waiting(config.state_dir / FOLDER):
        try:
            message = Message(**json.loads(path.read_bytes()))
            late = time.time() - message.at > PATIENCE
        except (OSError, ValueError, TypeError):
            late = True
        if not late and not notify.tell(config, [message]):
            return
        _remove(path)


def _keep(folder: Path, message: Message) -> None:
    text = json.dumps(dataclasses.asdict(message)).encode()
    name = f"{message.at:017.6f}-{hashlib.sha256(text).hexdigest()[:8]}.json"
    try:
        folder.mkdir(mode=0o750, exist_ok=True)
        write_durably(folder / name, text, 0o640)
    except (OSError, Problem) as error:
        log.complain(f"“{message.title}” cannot be kept for later: {error}")
    for path in _waiting(folder)[:-KEPT]:
        _remove(path)


def _waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.complain(f"{path}: {error.strerror}.")
