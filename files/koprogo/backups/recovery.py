"""`koprogo offsite recover` and `finish`: what a server in the place of a lost one gets, and when it has it."""

from __future__ import annotations

import json
import time
from typing import Any

from koprogo import log
from koprogo.backups import backup_state, offsite
from koprogo.config import Config
from koprogo.problem import Problem
from koprogo.state import FILE as STATE
from koprogo.state import write_durably

RECOVERY = "recovery.json"
"""In the state directory of a server that takes the place of a lost one: the set that it shall have."""


def recover(config: Config, name: str) -> int:
    """Bring the set here that this new server shall have, the newest if none is named; returns the exit code.

    Which set that is stays the same from the first call on, unless another one is named before it is in place. Raises
    Problem where the server has data of its own.
    """
    found = pending(config)
    if found is None or (name and f"postgres_{offsite.bare(name)}" != found["set"]):
        if (config.state_dir / STATE).exists() if found is None else "done" in found:
            raise Problem("This server has data of its own. To replace them: koprogo restore --from-offsite")
        with offsite.alone(config) as store:
            chosen = offsite.choose(offsite.stored_sets(store), name)
        found = {"set": chosen, "begun": time.time()}
        write_durably(config.state_dir / RECOVERY, json.dumps(found).encode(), 0o640)
    if "done" in found:
        log.say(f"This server has the data of {found['set']} already.")
    else:
        offsite.fetch(config, found["set"])
    return 0


def finish(config: Config) -> int:
    """Restore the set that `recover` brought, once; returns the exit code. Raises Problem."""
    from koprogo.backups import restore  # noqa: PLC0415 - and with it nearly everything else

    found = pending(config)
    if found is None:
        raise Problem("Nothing is to be recovered here. First: koprogo offsite recover")
    name, last = found["set"], backup_state.load(config.state_dir).good_restore
    if "done" in found:
        log.say(f"This server has the data of {name} already.")
        return 0
    if not (last and last.set == name and last.at > found["begun"]):
        # Its .env is this server's own: deploy.py wrote it, with the secrets of the set in it, and names of its own.
        restore.run(config, name, files=True, env=False, yes=True)
    write_durably(config.state_dir / RECOVERY, json.dumps({**found, "done": time.time()}).encode(), 0o640)
    return 0


def pending(config: Config) -> dict[str, Any] | None:
    """Return the set that this server shall have, when that began, and when it was `done`; None if none is meant."""
    return offsite.remembered(config.state_dir / RECOVERY) or None
