"""What goes by of an uncompressed dump: enough to know that it is whole, and how many rows each table has.

The rows are counted from the dump itself, in the COPY blocks that a restore is going to read: a line is a row, for a
line break inside a value is written as `\\n`. So the count is of the very snapshot of the dump, and costs no query.
"""

from __future__ import annotations

import re

BEGINS = b"-- PostgreSQL database cluster dump"
ENDS = b"-- PostgreSQL database cluster dump complete"

EDGE = 4096
"""How much of both ends of a dump is looked at, bytes."""
LONGEST = 1 << 20
"""Bytes that the line which begins the rows of a table may have."""

# A database begins with the comment of pg_dumpall, and not with `\connect`, which may be in the text of a function.
_PLACE = re.compile(rb"\n(?:-- Data for Name: [^\n]*\n--\n\n(?:(?:--[^\n]*)?\n)*COPY |-- Database \"(.*)\" dump\n)")
_BY_ROOT = b"\n-- load via partition root "
_QUOTED = rb'"(?:[^"]|"")*"(?!")'
# A name ends at a quote that no other follows, and nowhere else: tried in every way, one of many quotes takes years.
_ROWS = re.compile(rb'((?:%b|[^"\s(])+) (?:\((?:%b|[^")])*\))? ?FROM stdin;\n' % (_QUOTED, _QUOTED))
"""What follows COPY: a table, its columns, if it has any. Names between quotes may have anything in them."""
_OVER = b"\n\\.\n"


class Content:
    """Gets a dump piece by piece."""

    def __init__(self) -> None:
        self.size = 0
        self.rows: dict[str, dict[str, int]] = {}
        """By database, then by table as SQL calls it; for every table that the dump has data of."""
        self.roots: set[tuple[str, str]] = set()
        """The tables among them, by database, that only pass their rows on to partitions, wherever these belong."""
        self._head = b""
        self._tail = b""
        self._rest = b"\n"
        """What was not understood so far; where rows are going by, it begins with the end of the line before."""
        self._database = ""
        self._table: str | None = None

    @property
    def databases(self) -> int:
        """How many databases there are."""
        return len(self.rows)

    def add(self, data: bytes) -> None:
        """Take note of the next piece."""
        if len(self._head) < EDGE:
            self._head += data[: EDGE - len(self._head)]
        self._tail = (self._tail + data)[-EDGE:] if len(data) < EDGE else data[-EDGE:]
        self.size += len(data)
        self._rest = self._scan(self._rest + data)

    def trouble(self) -> str | None:
        """Return why this is not a whole dump, or None."""
        if self.size == 0:
            return "it is empty"
        if BEGINS not in self._head:
            return "it does not begin like a dump"
        last = [line for line in self._tail.splitlines() if line.strip(b"- \t")]
        if not last or last[-1] != ENDS:
            return "its closing line is missing"
        if self.databases == 0:
            return "it holds no database"
        if self._table is not None:
            return f"the rows of {self._table} do not end"
        return None

    def _scan(self, data: bytes) -> bytes:
        """Understand what is complete in `data`; returns the rest."""
        position = 0
        while True:
            if self._table is not None:
                end = data.find(_OVER, position)
                if end < 0:
                    # The mark may begin in the last bytes of this piece.
                    safe = max(len(data) - len(_OVER) + 1, position)
                    self._count(data.count(b"\n", position, safe))
                    return data[safe:]
                self._count(data.count(b"\n", position, end))
                self._table = None
                # From the line end after the mark: the next place may begin with it.
                position = end + len(_OVER) - 1
            place = _PLACE.search(data, position)
            if place is None:
                return data[max(len(data) - EDGE, position) :]
            found = self._begin(data, place)
            if found is None:
                rest = data[place.start() :]
                return rest if len(rest) < LONGEST else b""
            position = found

    def _begin(self, data: bytes, place: re.Match[bytes]) -> int | None:
        """Understand what names a database or a table; returns where it ends, None if it is not complete."""
        if place[1] is not None:
            self._database = _text(place[1])
            self.rows.setdefault(self._database, {})
            return place.end() - 1
        rows = _ROWS.match(data, place.end())
        if rows is None:
            return None
        self._table = _text(rows[1])
        self._count(0)
        if _BY_ROOT in place[0]:
            self.roots.add((self._database, self._table))
        return rows.end() - 1

    def _count(self, lines: int) -> None:
        tables = self.rows.setdefault(self._database, {})
        table = self._table or "?"
        tables[table] = tables.get(table, 0) + lines


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
