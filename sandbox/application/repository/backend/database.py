"""A few connections to PostgreSQL, and the schema."""

import queue
import threading
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

# Applied in this order, each once; two versions may share one schema while one takes over from the other,
# so a step only ever adds.
MIGRATIONS = (
    """CREATE TABLE buildings (
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           name text NOT NULL,
           created_at timestamptz NOT NULL DEFAULT now())""",
)
MIGRATION_LOCK = 7_261_500  # any number that nothing else in this database locks
PATIENCE = 5  # seconds: for a free connection, and for one statement


class Unavailable(Exception):
    """The database does not answer now; it may later."""


class Database:
    """A pool that opens connections when they are needed and replaces those that died.

    The database may be away when this starts, as after a reboot of the server: the schema is brought up to
    date by the first connection that succeeds.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._slots: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._migration = threading.Lock()
        self._migrated = False

    def query(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows."""
        try:
            connection = self._slots.get(timeout=PATIENCE)
        except queue.Empty:
            raise Unavailable("every connection is busy") from None
        try:
            connection = self._alive(connection)
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except psycopg2.Error as error:
            raise Unavailable(str(error).strip()) from None
        finally:
            self._slots.put(connection)

    def _alive(self, connection: Connection | None) -> Connection:
        """Return this connection if it still answers, else a new one: a restart costs no request."""
        if connection is not None:
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return connection
            except psycopg2.Error:
                connection.close()
        connection = psycopg2.connect(self._url, connect_timeout=3, options=f"-c statement_timeout={PATIENCE}s")
        with self._migration:
            if not self._migrated:
                migrate(connection)
                self._migrated = True
        return connection


def migrate(connection: Connection) -> None:
    """Apply the migrations that this database has not had, all of them or none."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        cursor.execute("CREATE TABLE IF NOT EXISTS schema_migrations (number int PRIMARY KEY)")
        cursor.execute("SELECT count(*) FROM schema_migrations")
        (done,) = cursor.fetchone()
        for number, statement in enumerate(MIGRATIONS[done:], start=done + 1):
            cursor.execute(statement)
            cursor.execute("INSERT INTO schema_migrations VALUES (%s)", (number,))
