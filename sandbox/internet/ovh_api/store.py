"""The zones of the account, in one JSON file. What is served changes only when a zone is refreshed."""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from .errors import business, no_object
from .records import Record
from .zone import Task, Zone, next_serial, now_text

FIRST_ID = 5_000_000_001  # OVH's ids do not fit in 32 bits


class Publisher(Protocol):
    """Makes name servers serve the records; raises OSError or PublishError with the reason if they cannot."""

    def __call__(self, name: str, serial: int, records: Sequence[Record]) -> None:
        """Serve exactly these records of the zone from now on."""


class PublishError(Exception):
    """The name servers refused a zone."""


class Store:
    """Thread-safe. Every change is on disk before its call returns."""

    def __init__(self, path: Path, publish: Publisher, deploy_seconds: float = 1.0) -> None:
        self._path = path
        self._publish = publish
        self.deploy_seconds = deploy_seconds
        self._lock = threading.RLock()
        self._zones: dict[str, Zone] = {}
        self._next_id = FIRST_ID
        # Called with a copy of the zone after every change of it, in the order of the changes.
        self.observers: list[Callable[[Zone], None]] = []
        if path.exists():
            saved = json.loads(path.read_text())
            self._zones, self._next_id = saved["zones"], saved["next_id"]
            for zone in self._zones.values():  # of a sandbox from before these existed
                zone.setdefault("redirections", [])
                zone.setdefault("dynhosts", [])

    def add_zone(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Make a zone with these records, served at once, unless it exists."""
        with self._lock:
            if name in self._zones:
                return
            rows = [Record(**{**r, "id": self.new_id(), "zone": name}) for r in records]  # type: ignore[typeddict-item]
            self._zones[name] = Zone(
                name=name,
                records=rows,
                served=copy.deepcopy(rows),
                redirections=[],
                dynhosts=[],
                serial=next_serial(0),
                errors=[],
                tasks=[],
                lastUpdate=now_text(),
            )
            self._save()

    def names(self) -> list[str]:
        """Return the names of the account's zones, sorted."""
        with self._lock:
            return sorted(self._zones)

    def zone(self, name: str) -> Zone:
        """Return a copy of the zone; 404 if the account has none of that name."""
        with self._lock:
            return copy.deepcopy(self._zone(name))

    def record(self, name: str, identifier: int) -> Record:
        """Return a copy of the record; 404 if it does not exist."""
        with self._lock:
            return copy.deepcopy(self._record(name, identifier))

    def create(self, name: str, make: Callable[[list[Record]], Record]) -> Record:
        """Store and return the record that `make` builds from the zone's present ones."""
        with self.changing(name) as zone:
            record = make(zone["records"])
            record["id"] = self.new_id()
            zone["records"].append(record)
            return copy.deepcopy(record)

    def update(self, name: str, identifier: int, make: Callable[[Record, list[Record]], Record]) -> None:
        """Put what `make` builds from the record and the zone's present ones in the record's place."""
        with self.changing(name) as zone:
            old = self._record(name, identifier)
            zone["records"][zone["records"].index(old)] = make(old, zone["records"])

    def delete(self, name: str, identifier: int) -> None:
        """Remove the record; 404 if it does not exist."""
        with self.changing(name) as zone:
            zone["records"].remove(self._record(name, identifier))

    def renumber(self, name: str) -> None:
        """Give every record of the zone a new id, as an import or an edit in text mode does."""
        with self.changing(name) as zone:
            new = {record["id"]: self.new_id() for record in zone["records"]}
            for record in zone["records"]:
                record["id"] = new[record["id"]]
            for owner in (*zone["redirections"], *zone["dynhosts"]):
                owner["rows"] = [new.get(row, row) for row in owner["rows"]]

    def refresh(self, name: str, function: str = "ZoneRefresh") -> Task:
        """Send the zone's present records to its name servers; they serve them a moment later."""
        with self.changing(name) as zone:
            zone["serial"] = next_serial(zone["serial"])
            zone["served"] = copy.deepcopy(zone["records"])
            zone["lastUpdate"] = now_text()
            task = Task(
                id=self.new_id(),
                function=function,
                status="doing",
                comment=None,
                creationDate=now_text(),
                todoDate=now_text(),
                lastUpdate=now_text(),
                doneDate=None,
                canAccelerate=False,
                canCancel=False,
                canRelaunch=False,
            )
            zone["tasks"].append(task)
            answer = task.copy()
        threading.Thread(target=self._deploy, args=(name, self.deploy_seconds), daemon=True).start()
        return answer

    def deploy_all(self) -> None:
        """Give the name servers what they were last told to serve (a start after a stop in the middle)."""
        for name in self.names():
            self._deploy(name, 0)

    def _deploy(self, name: str, delay: float) -> None:
        time.sleep(delay)
        with self._lock:
            zone = self._zone(name)
            try:
                self._publish(name, zone["serial"], zone["served"])
                zone["errors"] = []
            except (OSError, PublishError) as error:
                zone["errors"] = [str(error)]
            for task in zone["tasks"]:
                if task["status"] == "doing":
                    task["status"] = "error" if zone["errors"] else "done"
                    task["lastUpdate"] = task["doneDate"] = now_text()
            self._save()

    @contextmanager
    def changing(self, name: str) -> Iterator[Zone]:
        """Lend the zone itself to a change; 404 if it does not exist. Whoever raises has changed nothing."""
        with self._lock:
            zone = self._zone(name)
            yield zone
            self._save()
            for observe in self.observers:
                observe(copy.deepcopy(zone))

    def _zone(self, name: str) -> Zone:
        try:
            return self._zones[name]
        except KeyError:
            raise business(404, "NotFound", "This service does not exist") from None

    def _record(self, name: str, identifier: int) -> Record:
        for record in self._zone(name)["records"]:
            if record["id"] == identifier:
                return record
        raise no_object(identifier)

    def new_id(self) -> int:
        """Return an id that nothing has or had."""
        self._next_id += 1
        return self._next_id - 1

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"zones": self._zones, "next_id": self._next_id}))
        new.replace(self._path)
