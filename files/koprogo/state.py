"""What this program remembers between two runs: one file, replaced as a whole, on the disk before it counts."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from koprogo.problem import Problem

FILE = "state.json"


class Step(str, Enum):
    """How far the deploy of a commit has come, in order."""

    SEEN = "seen"
    FETCHED = "fetched"
    VERIFIED = "verified"
    CHECKED = "checked"
    PULLED = "pulled"
    DUMPED = "dumped"
    SWITCHING = "switching"
    STARTED = "started"
    HEALTHY = "healthy"
    SWITCHED = "switched"
    DRAINED = "drained"
    ROLLING_BACK = "rolling back"

    @property
    def touched(self) -> bool:
        """Whether the checkout or a container may already be another than before."""
        return self in _TOUCHED


_TOUCHED = (Step.SWITCHING, Step.STARTED, Step.HEALTHY, Step.SWITCHED, Step.DRAINED, Step.ROLLING_BACK)


@dataclass(frozen=True)
class Image:
    """The image that a service ran: how the compose file calls it, and which one that really was."""

    ref: str
    id: str
    digest: str | None


@dataclass(frozen=True)
class Deployed:
    """The last version that was seen healthy."""

    commit: str
    tag: str
    since: float
    environment: str
    """SHA-256 of the .env that it was started with."""
    project: str
    images: Mapping[str, Image]
    """By service."""
    schema: Mapping[str, str] | None = None
    """By service, the form of the data that it works with (see `routing.SCHEMA`); None where nobody noted it."""


@dataclass(frozen=True)
class Attempt:
    """A deploy that has begun and not ended."""

    commit: str
    step: Step
    started: float
    tries: int = 0
    """How many runs have begun to switch to it, or to go back from it."""
    lenient: tuple[str, ...] = ()
    """Addresses whose certificate did not verify before the deploy either: no reason to go back."""
    service: str = ""
    """The one that a step is about, where it is about one."""
    schema: str = ""
    """How the form of the data changes with it (see `wanted.new_schema`): then there is no way back."""
    dump: str = ""
    """The path of the database as it was before, where this deploy made a dump of it."""
    id: str = ""
    """Made at its beginning; "" for one that a program of before began."""
    by: str = ""
    """Who asked for it: the timer, or a person's name."""
    subject: str = ""
    """The first line of the commit's message."""
    rollback: bool = False
    """Whether a person asked for this older version: it then stays until `koprogo resume`."""
    stood: tuple[str, ...] = ()
    """The IDs of the containers that it found, if all was well with them and with the public addresses."""
    ailing: Mapping[str, bool] = field(default_factory=dict)
    """The services that were not well before it, and of each whether it leaves it as it was."""
    excused: int = 0
    """How many of the tries ended because the server failed (Docker, the disk), and count for nothing."""

    @property
    def counted(self) -> int:
        """How many runs were killed while they switched to it, or did not succeed in going back from it."""
        return self.tries - self.excused

    @property
    def spared(self) -> tuple[str, ...]:
        """The services that may go on being ill: what is started is not to blame for them."""
        return tuple(name for name, left in self.ailing.items() if left or self.step is Step.ROLLING_BACK)


@dataclass(frozen=True)
class Probation:
    """The version that runs went live a short while ago, and may still turn out to be no good (see `probation`)."""

    since: float
    before: Deployed
    """What ran before, and was well."""
    restarts: Mapping[str, int]
    """How often each container had restarted when it went live, by its ID."""
    kept: Mapping[str, str]
    """The services that it left as they were, and when their containers were started, as Docker tells it."""
    lenient: tuple[str, ...] = ()
    """As in the attempt, like what follows."""
    schema: str = ""
    dump: str = ""


@dataclass(frozen=True)
class Bad:
    """A commit that failed: never tried again by itself."""

    commit: str
    reason: str
    at: float


@dataclass(frozen=True)
class Check:
    """The last look at the branch."""

    at: float
    commit: str | None
    problem: str | None = None
    said_at: float = 0
    since: float = 0
    """When the checks began to run into problems; 0 while they do not."""
    told: bool = False
    """Whether somebody was told that they do."""


@dataclass(frozen=True)
class Hold:
    """A person wants no check to deploy anything, until `koprogo resume`."""

    at: float
    reason: str
    commit: str = ""
    """The version that was gone back to; "" for a pause."""
    by: str = ""
    """Who wanted that."""


class Outcome(str, Enum):
    """How an attempt ended."""

    DEPLOYED = "deployed"
    APPLIED = "settings"
    """The version that ran was started again with the settings of then."""
    WENT_BACK = "rollback"
    """A person asked for an older version, and it runs."""
    UNDONE = "undone"
    """It did not become healthy, and the version of before runs again."""
    REFUSED = "refused"
    """It was given up before anything was touched."""
    FAILED = "failed"
    """It did not become healthy, and nothing went back."""
    OVERTAKEN = "overtaken"
    """It waited for CI, and a newer commit came."""

    @property
    def ran(self) -> bool:
        """Whether the commit ran in the end and was seen healthy."""
        return self in (Outcome.DEPLOYED, Outcome.APPLIED, Outcome.WENT_BACK)


@dataclass(frozen=True)
class Entry:
    """How one attempt ended: a line of the history."""

    id: str
    """Of the attempt; there is one entry for each."""
    at: float
    commit: str
    result: Outcome
    subject: str = ""
    by: str = ""
    seconds: float = 0
    """That the run which ended it worked on it."""
    reason: str = ""
    """Why it did not run in the end."""
    version: Deployed | None = None
    """What ran in the end, if it was this."""
    dump: str = ""
    """The path of the database as it was before, where the deploy made a dump."""


@dataclass(frozen=True)
class State:
    """All of it. Changed only by whoever holds the deploy lock; read by anyone at any time."""

    deployed: Deployed | None = None
    first_deployed: float | None = None
    attempt: Attempt | None = None
    quarantine: tuple[Bad, ...] = ()
    check: Check | None = None
    hold: Hold | None = None
    unwritten: tuple[Entry, ...] = ()
    """What the history lacks so far: it is noted here, at once with what it tells, and written there afterwards."""
    told: tuple[str, ...] = ()
    """Names of those of which somebody was told."""
    probation: Probation | None = None
    """Of the version that runs, while it is new."""

    def runs(self, commit: str) -> bool:
        """Whether `commit` is the last version that was seen healthy."""
        return self.deployed is not None and self.deployed.commit == commit

    def fallback(self, commit: str) -> Deployed | None:
        """Return the version to keep or to go back to when `commit` is no good; None when there is no other."""
        return None if self.runs(commit) else self.deployed

    def bad(self, commit: str) -> Bad | None:
        """Return why `commit` is in quarantine, or None when it is not."""
        return next((bad for bad in self.quarantine if bad.commit == commit), None)


class Store:
    """The file that a State lives in."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def load(self) -> State:
        """Return what is remembered; an absent file is a server on which nothing was deployed yet."""
        try:
            return decode(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise Problem(f"{self.path}: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Problem(
                f"{self.path} is damaged, or of a newer version of this program: then run its deploy.py again. "
                f"What runs goes on running. Else move the file away and run `koprogo deploy`: it starts afresh from "
                f"the newest commit."
            ) from None

    def save(self, state: State) -> None:
        """Replace what is remembered; after a power cut the file holds either the old state or this one."""
        write_durably(self.path, json.dumps(dataclasses.asdict(state), indent=1).encode() + b"\n", 0o640)


def decode(data: dict[str, Any]) -> State:
    """Return the State that `data` was made from by `dataclasses.asdict`."""
    attempt = data["attempt"]
    check = data["check"]
    if attempt is not None:
        lists = {name: tuple(attempt.get(name, ())) for name in ("lenient", "stood")}
        attempt = {**known(Attempt, attempt), "step": Step(attempt["step"]), **lists}
    made = State(
        deployed=_decode_deployed(data["deployed"]),
        first_deployed=data["first_deployed"],
        attempt=None if attempt is None else Attempt(**attempt),
        quarantine=tuple(Bad(**known(Bad, bad)) for bad in data["quarantine"]),
        check=None if check is None else Check(**known(Check, check)),
        hold=Hold(**known(Hold, data["hold"])) if data.get("hold") else None,
        unwritten=tuple(decode_entry(entry) for entry in data.get("unwritten", ())),
        told=tuple(data.get("told", ())),
        probation=_decode_probation(data.get("probation")),
    )
    _check(made)
    return made


_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "float": (int, float), "int": int, "bool": bool}


def _check(made: Any) -> None:
    """Raise TypeError where a text, a number or a bool is something else: whoever reads it believes that it is that."""
    for one in dataclasses.fields(made):
        kind, _, optional = str(one.type).partition(" | ")
        value = getattr(made, one.name)
        if kind in _PLAIN and not isinstance(value, _PLAIN[kind]) and not (optional and value is None):
            raise TypeError(f"{one.name} is no {kind}")
        inside = value if isinstance(value, tuple) else value.values() if isinstance(value, Mapping) else [value]
        for part in inside:
            if dataclasses.is_dataclass(part):
                _check(part)


def _decode_probation(data: dict[str, Any] | None) -> Probation | None:
    before = _decode_deployed(data["before"]) if data else None
    if data is None or before is None:
        return None
    return Probation(**{**known(Probation, data), "before": before, "lenient": tuple(data["lenient"])})


def decode_entry(data: dict[str, Any]) -> Entry:
    """Return the Entry that `data` was made from by `dataclasses.asdict`."""
    rest = {"result": Outcome(data["result"]), "version": _decode_deployed(data["version"])}
    made = Entry(**{**known(Entry, data), **rest})
    _check(made)
    return made


def _decode_deployed(data: dict[str, Any] | None) -> Deployed | None:
    if data is None:
        return None
    images = {service: Image(**known(Image, image)) for service, image in data["images"].items()}
    return Deployed(**{**known(Deployed, data), "images": images})


def known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` without what only a newer program writes: whoever goes back to this one must not lose the rest."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in data.items() if name in names}


def write_durably(path: Path, content: bytes, mode: int) -> None:
    """Write `content` to `path` by way of a temporary file beside it, flushed to the disk before it takes its place."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None


def sync_directory(directory: Path) -> None:
    """Bring the names in `directory` to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
