"""What became of every attempt: `koprogo history`, and what a rollback can go back to.

An attempt ends in the state first (see `ended`), and is then written to the history, a line each. A run that is killed
between the two leaves the entry in the state; the next run writes it, unless its line is there already.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from koprogo import log
from koprogo.alerts import notify, outbox
from koprogo.deploys import decide
from koprogo.problem import Problem, one_line
from koprogo.state import (
    Attempt,
    Deployed,
    Entry,
    Hold,
    Outcome,
    State,
    Step,
    Store,
    decode_entry,
    sync_directory,
    write_durably,
)

if TYPE_CHECKING:
    from koprogo.config import Config
    from koprogo.deploys.work import Work

FILE = "history.jsonl"
KEPT = 200
SPARE = 50
"""How many lines more there may be before the file is written anew, with the last `KEPT` ones."""
COLUMNS = 80
LINES = 22


def ended(before: State, after: State, now: float, seconds: float) -> State:
    """Return `after` with what has to be remembered if an attempt ended between the two: its entry.

    A version that somebody went back to stays from then on, and what is in quarantine is no better for it.
    """
    attempt = before.attempt
    if attempt is None or (after.attempt is not None and identity(after.attempt) == identity(attempt)):
        return after
    result = _outcome(attempt, before, after)
    if result is None:
        return after
    bad = after.bad(attempt.commit)
    entry = Entry(
        id=identity(attempt),
        at=now,
        commit=attempt.commit,
        subject=attempt.subject,
        by=attempt.by,
        result=result,
        seconds=round(seconds, 1),
        reason=bad.reason if bad is not None and not result.ran else "",
        version=after.deployed if result.ran else None,
        dump=attempt.dump,
    )
    # While the history cannot be written, they come together here.
    after = dataclasses.replace(after, unwritten=(*after.unwritten, entry)[-KEPT:])
    if result is Outcome.WENT_BACK:
        away = before.deployed.commit[:7] if before.deployed and not before.runs(attempt.commit) else "a failed deploy"
        hold = Hold(now, f"rolled back from {away}", attempt.commit, attempt.by)
        quarantine = tuple(bad for bad in before.quarantine if bad.commit != attempt.commit)
        after = dataclasses.replace(after, hold=hold, quarantine=quarantine)
    return after


def identity(attempt: Attempt) -> str:
    """Return the name of an attempt; one that a program of before began has only its beginning."""
    return attempt.id or f"{attempt.commit[:12]}-{attempt.started}"


def _outcome(attempt: Attempt, before: State, after: State) -> Outcome | None:
    """How an attempt ended; None where nothing came of it and nobody gave it up."""
    if after.deployed is not before.deployed and after.runs(attempt.commit):
        lived = Outcome.APPLIED if before.runs(attempt.commit) else Outcome.DEPLOYED
        return Outcome.WENT_BACK if attempt.rollback else lived
    if attempt.step.touched:
        undone = attempt.step is Step.ROLLING_BACK and attempt.counted <= decide.TRIES
        return Outcome.UNDONE if undone else Outcome.FAILED
    if after.attempt is not None:
        return None if before.runs(attempt.commit) else Outcome.OVERTAKEN
    return Outcome.REFUSED if after.bad(attempt.commit) or attempt.rollback else None


def write(work: Work, *, quiet: bool = False) -> None:
    """Bring the history up to date; one that cannot be written is a line in the log unless `quiet`, and no failure."""
    try:
        _tell(work)
        if not work.state.unwritten:
            if work.state.deployed is not None and not (work.config.state_dir / FILE).exists():
                append(work.config.state_dir, [_first(work)])
        else:
            append(work.config.state_dir, work.state.unwritten)
            work.save(unwritten=(), told=())
    except Problem as problem:
        if not quiet:
            log.say(f"The history lacks the last entry for now: {problem}")


def _tell(work: Work) -> None:
    """Tell somebody of what ended, once: also where the history cannot be written, and the entries stay here."""
    if not work.state.unwritten:
        return
    known_ids = set(work.state.told)
    with suppress(Problem):
        known_ids |= {entry.id for entry in read(work.config.state_dir)}
    new = [entry for entry in work.state.unwritten if entry.id not in known_ids]
    if new:
        work.save()  # a disk that is full cannot keep that somebody was told, who would be told at every check
        outbox.tell(work.config, notify.of_deploys(new, work.state))
        work.save(told=tuple(entry.id for entry in work.state.unwritten))


def stopped(work: Work, commit: str, problem: str) -> None:
    """Note, once for each commit, that nothing was begun for this reason, which is no fault of the commit."""
    subject, reason = work.repository.subject(commit), one_line(problem, 200)
    entry = Entry(f"stopped-{commit}", time.time(), commit, Outcome.REFUSED, subject, work.by, reason=reason)
    if entry.id not in {other.id for other in work.state.unwritten}:
        work.save(unwritten=(*work.state.unwritten, entry))


def explain(work: Work, problem: str) -> None:
    """Give the entry that was just made, if nobody knows why it ended like that, this problem as its reason."""
    entries = work.state.unwritten
    if not entries or entries[-1].result is Outcome.OVERTAKEN:
        return  # the problem is that of the newer commit
    if not entries[-1].result.ran and not entries[-1].reason:
        work.save(unwritten=(*entries[:-1], dataclasses.replace(entries[-1], reason=one_line(problem, 200))))


def read(directory: Path) -> list[Entry]:
    """Return the last entries, oldest first. A line that a power cut left unfinished is no entry.

    Raises Problem when there is a history and nobody can read it.
    """
    try:
        lines = (directory / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise Problem(f"{directory / FILE}: {error.strerror}.") from None
    entries: dict[str, Entry] = {}
    for line in lines:
        try:
            entry = decode_entry(json.loads(line))
            entries.setdefault(entry.id, entry)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return list(entries.values())[-KEPT:]


def known(directory: Path, state: State) -> list[Entry]:
    """Return the last entries, oldest first, with those that are still to be written."""
    entries = read(directory)
    written = {entry.id for entry in entries}
    return [*entries, *(entry for entry in state.unwritten if entry.id not in written)]


def legible(directory: Path, state: State) -> list[Entry]:
    """Return what `known` does, and what the state alone tells where the file cannot be read (`write` says so)."""
    try:
        return known(directory, state)
    except Problem:
        return list(state.unwritten)


def append(directory: Path, entries: Sequence[Entry]) -> None:
    """Add entries that are not there yet; they are on the disk when this returns."""
    path, there = directory / FILE, read(directory)
    ids = {entry.id for entry in there}
    new = [entry for entry in entries if entry.id not in ids]
    if not new:
        return
    try:
        before = path.read_bytes() if path.exists() else b""
        if before.count(b"\n") + len(new) > KEPT + SPARE:
            write_durably(path, _lines([*there, *new][-KEPT:]), 0o640)
            return
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        with os.fdopen(handle, "ab") as stream:
            # After a power cut in the middle of a line, the next one must not become part of it.
            stream.write((b"" if before.endswith(b"\n") or not before else b"\n") + _lines(new))
            stream.flush()
            os.fsync(stream.fileno())
        sync_directory(directory)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None


def _lines(entries: Sequence[Entry]) -> bytes:
    return b"".join(json.dumps(dataclasses.asdict(entry)).encode() + b"\n" for entry in entries)


def _first(work: Work) -> Entry:
    """The version that a program without a history deployed: one has to be able to go back to it."""
    running = work.state.deployed
    if running is None:
        raise AssertionError("nothing runs")
    try:
        subject = work.repository.subject(running.commit)
    except Problem:
        subject = ""
    name = f"{running.commit[:12]}-{running.since}"
    return Entry(name, running.since, running.commit, Outcome.DEPLOYED, subject, version=running)


def choices(entries: Sequence[Entry], running: str) -> list[Entry]:
    """Return the versions to go back to, newest first, as they ran the last time; not the one that is `running`."""
    last: dict[str, Entry] = {}
    for entry in reversed(entries):
        if entry.version is not None and entry.commit != running:
            last.setdefault(entry.commit, entry)
    return list(last.values())


def versions(entries: Sequence[Entry]) -> list[Deployed]:
    """Return every version that was live, newest first, each commit once."""
    return [entry.version for entry in choices(entries, "") if entry.version is not None]


def disturbed(entries: Sequence[Entry]) -> bool:
    """Whether the last deploy that touched anything failed and was left as it is: who knows what runs now."""
    touched = [entry.result for entry in entries if entry.result not in (Outcome.REFUSED, Outcome.OVERTAKEN)]
    return touched[-1:] == [Outcome.FAILED]


def previous(entries: Sequence[Entry], running: str) -> Deployed | None:
    """Return the version that ran before the one that is `running`; None if there is none.

    Going back twice goes back twice: that somebody went back to a version is not when it was deployed.
    """
    order = _order(entries)
    at = max((index for index, commit in enumerate(order) if commit == running), default=len(order))
    older = {commit: index for index, commit in enumerate(order[:at]) if commit != running}
    found = [version for version in versions(entries) if version.commit in older]
    return max(found, key=lambda version: older[version.commit], default=None)


def _order(entries: Sequence[Entry]) -> list[str]:
    """Return the commits that were deployed, each after the one that ran before it.

    Those that somebody went back from are no more before what is deployed then, nor is one that was undone after it
    went live: going back would lead to what was found to be no good.
    """
    order: list[str] = []
    runs = ""
    for entry in entries:
        if entry.result is Outcome.DEPLOYED:
            order = [*(order[: _last(order, runs) + 1] if runs in order else order), entry.commit]
            runs = entry.commit
        elif entry.result is Outcome.WENT_BACK:
            runs = entry.commit
        elif entry.result is Outcome.UNDONE and entry.commit == runs and runs in order:
            del order[_last(order, runs) :]
            runs = order[-1] if order else ""
    return order


def _last(order: Sequence[str], commit: str) -> int:
    return max(index for index, other in enumerate(order) if other == commit)


def run(config: Config, *, as_json: bool) -> int:
    """Print the history, newest last; returns the exit code."""
    entries = known(config.state_dir, Store(config.state_dir).load())
    print(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=1) if as_json else screen(entries))
    return 0


def screen(entries: Sequence[Entry]) -> str:
    """Return what a person sees: as many of the last entries as fit on a screen."""
    lines: list[str] = []
    for number, entry in enumerate(reversed(entries)):
        more = _shown(entry)
        if len(lines) + len(more) > LINES:
            return "\n".join([f"{len(entries) - number} older ones: koprogo history --json", *lines])
        lines = more + lines
    return "\n".join(lines) or "Nothing was deployed here so far."


def _shown(entry: Entry) -> list[str]:
    seconds = f"{entry.seconds:.0f} s" if entry.seconds else ""
    head = f"{log.minute(entry.at)} {entry.commit[:7]} {entry.result.value:<9} {seconds:>6} {one_line(entry.by, 9):<9}"
    return [_cut(f"{head} {entry.subject}"), *([_cut(f"{'':17}{entry.reason}")] if entry.reason else [])]


def _cut(line: str) -> str:
    return line.rstrip() if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"
