"""The status page: what serves it, and its first writing. Later it is written by every look at the health."""

from typing import Any

from pyinfra.api import deploy

from facts import layout
from facts.server import State
from operations import commands
from operations.commands import Command


def packages(domain: str | None) -> tuple[str, ...]:
    """The program that serves it, which needs nothing else; none without a page."""
    return ("busybox-static",) if domain else ()


def needed(said: dict[str, Any] | None, domain: str | None, pending: bool) -> bool:
    """Whether `koprogo page` has to run: the page is served under another name than it should be, or not, or still is.

    `said` is what `koprogo status --json` says. `pending`: a deploy comes first, and with it perhaps another Traefik.
    """
    return (said or {}).get("status_page") != domain or (pending and domain is not None)


@deploy("Status page")
def status_page(state: State, domain: str | None, pending: bool) -> None:
    """Write it and have it served, or take it away."""
    failing = (
        "The status page is not served; the application is not concerned. Mend what the line above says, run again."
    )
    wanted = needed(state["program"], domain, pending)
    commands.run(
        name=f"https://{domain}/" if domain else "Not wanted",
        wanted=[Command(f"{layout.PROGRAM} page", failing)] if wanted else [],
        otherwise="it is served" if domain else "there is none",
    )  # fmt: skip
