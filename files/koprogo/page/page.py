"""The status page: after each check the record goes on and the page is written anew. `koprogo page` does the latter.

record.py         what the checks found, kept in bounded space
page_html.py      the page that is made of it, with page_text.py and page_style.py
page_server.py    who serves it
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from koprogo import history, lock, log
from koprogo.backups import backup_state
from koprogo.backups.retention import verified
from koprogo.config import Config, StatusPage
from koprogo.health import record
from koprogo.health.record import Fault, Record, Sample, Seen
from koprogo.page import page_html, page_server
from koprogo.page.page_html import Change, Facts
from koprogo.page.page_text import Words
from koprogo.problem import Problem
from koprogo.report import Report
from koprogo.runner import Runner
from koprogo.state import Outcome, Store, write_durably
from koprogo.web import Answer

FOLDER = "page"
FILE = "index.html"
LOCK = "page.lock"
SHOWN = (Outcome.DEPLOYED, Outcome.APPLIED, Outcome.WENT_BACK, Outcome.UNDONE, Outcome.FAILED)
"""What touched what runs; the rest is nobody's business who only uses it."""


def run(config: Config) -> int:
    """`koprogo page`: write the page and see that it is served, or that it is not; returns the exit code."""
    runner = Runner()
    if config.status_page is None:
        page_server.remove(runner)
        log.say("There is no status page: STATUS_PAGE_DOMAIN is not set.")
        return 0
    with lock.exclusive(config.state_dir / LOCK, wait=True):
        kept, trouble = record.load(config.state_dir)
        if trouble is not None:
            log.complain(trouble)
        _publish(config, config.status_page, kept, runner)
    log.say(f"The status page is at https://{config.status_page.domain}/")
    return 0


def update(config: Config, sample: Sample) -> None:
    """Go on with the record, and write the page if there is one. A failure is a line, and no failure of the check."""
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=True):
            kept, trouble = record.load(config.state_dir)
            if trouble is not None:
                log.complain(trouble)
            kept = record.add(kept, sample, time.strftime("%Y-%m-%d", time.localtime(sample.at)))
            record.save(config.state_dir, kept)
            if config.status_page is not None:
                _publish(config, config.status_page, kept, Runner())
    except Problem as problem:
        log.complain(f"status page: {problem}")


def after_deploy(config: Config) -> None:
    """Tell of the version that runs now, and see to a Traefik that may be a new one. A failure is a line here too."""
    if config.status_page is None:
        return
    try:
        with lock.exclusive(config.state_dir / LOCK, wait=True):
            kept, _ = record.load(config.state_dir)
            _publish(config, config.status_page, kept, Runner())
    except Problem as problem:
        log.say(f"The status page is as it was for now: {problem}")


def sample(found: Report, *, attention: bool) -> Sample:
    """Return what a check found that the page tells of."""
    return Sample(found.now, tuple(_seen(answer) for answer in found.answers), attention)


def _seen(answer: Answer) -> Seen:
    fault = Fault.NONE
    if answer.trouble is not None:
        fault = Fault.CERTIFICATE if answer.certificate_trouble else Fault.ANSWER
    name = urlsplit(answer.url).hostname or answer.url
    return Seen(name, fault, answer.milliseconds, answer.days_left)


def _publish(config: Config, wanted: StatusPage, kept: Record, runner: Runner) -> None:
    folder = config.state_dir / FOLDER
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise Problem(f"{folder}: {error.strerror}.") from None
    text = page_html.render(kept, facts(config), time.time(), Words(wanted.language))
    write_durably(folder / FILE, text.encode(), 0o644)
    page_server.ensure(runner, Store(config.state_dir).load().deployed, wanted.domain, folder)


def facts(config: Config) -> Facts:
    """Return what the page tells of versions and backups."""
    state = Store(config.state_dir).load()
    try:
        entries = history.known(config.state_dir, state)
    except Problem:
        entries = list(state.unwritten)
    changes = tuple(
        Change(entry.at, entry.version.tag if entry.version else entry.commit[:7], entry.result)
        for entry in reversed(entries)
        if entry.result in SHOWN
    )
    deployed, drill = state.deployed, backup_state.load(config.state_dir).good_drill
    return Facts(
        site=_site(config.health_urls),
        version=deployed.tag if deployed else None,
        since=deployed.since if deployed else None,
        changes=changes[: page_html.CHANGES],
        backup=_last_backup(config.backup_dir),
        drill=drill.at if drill else None,
    )


def _site(urls: Iterable[str]) -> str:
    """Return the name that people know: of what is asked as they ask it, and not at a path of its own."""
    parts = min(map(urlsplit, urls), key=lambda parts: (len(parts.path), len(parts.netloc)))
    return parts.hostname or parts.netloc


def _last_backup(folder: Path) -> float | None:
    found = verified(folder)
    return found[-1].modified if found else None
