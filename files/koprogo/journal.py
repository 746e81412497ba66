"""How far a restore has come: one file, on the disk before the next step begins, gone when nothing is left to do."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from koprogo.problem import Problem
from koprogo.state import known, sync_directory, write_durably

FILE = "restore.json"


class Step(str, Enum):
    """In order. What a kill leaves is undone up to `STARTING`, and finished from `WRITING` on."""

    BEGUN = "begun"
    """New volumes are being filled; the application runs."""
    RESTORED = "restored"
    """They are complete, and their rows were counted."""
    STOPPING = "stopping"
    """What writes is being stopped."""
    DUMPED = "dumped"
    """Nothing writes, and the last dump of what there is was made."""
    EXCHANGING = "exchanging"
    """The database is being stopped, and the volumes exchanged."""
    STARTING = "starting"
    """They are exchanged, and the database is being started."""
    WRITING = "writing"
    """The database works on the restored data, and everything else is being started: there are new rows from here."""

    @property
    def stopped(self) -> bool:
        """Whether something of the application may not run."""
        return self not in (Step.BEGUN, Step.RESTORED)

    @property
    def exchanged(self) -> bool:
        """Whether the restored data may be in place."""
        return self in (Step.EXCHANGING, Step.STARTING)


@dataclass(frozen=True)
class Exchange:
    """A volume of the application, and the one whose content it gets."""

    real: str
    fresh: str


@dataclass(frozen=True)
class Journal:
    """A restore that has begun and not ended."""

    dump: str
    """The path of the dump of its set."""
    step: Step
    started: float
    by: str
    image: str
    """Of the database, by its ID."""
    database: str
    """The container."""
    root: str
    """The folder that Docker keeps volumes in."""
    exchanges: tuple[Exchange, ...]
    """The database's comes first."""
    files: bool = False
    """Whether the volumes come from the set, too, and .env."""
    settings: bool = True
    """Whether .env is among them."""
    running: tuple[str, ...] = ()
    """The other containers that ran, to be started again."""
    lenient: tuple[str, ...] = ()
    """Addresses whose certificate did not verify before."""
    last_dump: str = ""
    """Of what was there, made when nothing wrote any more."""


def load(state_dir: Path) -> Journal | None:
    """Return what has to be finished or undone; None if nothing has. Raises Problem if that cannot be read."""
    path = state_dir / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        tuples = {name: tuple(data[name]) for name in ("running", "lenient")}
        exchanges = tuple(Exchange(**known(Exchange, one)) for one in data["exchanges"])
        return Journal(**{**known(Journal, data), **tuples, "step": Step(data["step"]), "exchanges": exchanges})
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Problem(f"{path}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem(
            f"{path} is damaged, so nobody knows how far a restore had come. See `docker volume ls` and "
            f"`docker ps --all`, start the containers, and remove that file."
        ) from None


def save(state_dir: Path, journal: Journal) -> None:
    """Note how far it has come, before going further."""
    text = json.dumps(dataclasses.asdict(journal), indent=1) + "\n"
    write_durably(state_dir / FILE, text.encode(), 0o640)


def clear(state_dir: Path) -> None:
    """Note that there is nothing to finish."""
    try:
        (state_dir / FILE).unlink(missing_ok=True)
        sync_directory(state_dir)
    except OSError as error:
        raise Problem(f"{state_dir / FILE}: {error.strerror}.") from None
