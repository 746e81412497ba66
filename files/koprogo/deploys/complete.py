"""The last part of every deploy: the switch, a line that says so, and clearing up."""

from __future__ import annotations

import time

from koprogo import log
from koprogo.deploys.prepare import Prepared
from koprogo.deploys.switch import switch
from koprogo.deploys.work import Work
from koprogo.docker import prune


def complete(work: Work, prepared: Prepared, began: float) -> None:
    """Switch to a prepared version, say that it is live, and take away what no longer is; `began` is monotonic.

    Raises Problem when it does not run in the end.
    """
    switch(work, prepared)
    images, addresses = len(prepared.project.images), len(work.config.health_urls)
    log.say(
        f"Deployed {prepared.commit[:7]} ({prepared.tag}) in {time.monotonic() - began:.0f} s: "
        f"{images} services healthy, {addresses} public addresses answer."
    )
    prune.after(work)
    from koprogo.page import page  # noqa: PLC0415 - a check that deploys nothing has no use for it

    page.after_deploy(work.config)
