"""A PostgreSQL for a while: of the image of the database, without network, to restore a set into and to count its rows.

It lives on a lease: it ends by itself when its standard input does, which is when this program ends, however that
comes about; Docker then removes it with all that it wrote.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from koprogo.backups import feeding, packing, sets
from koprogo.backups.content import Content
from koprogo.backups.recipe import Recipe
from koprogo.backups.sets import Set
from koprogo.deploys.wanted import available_memory
from koprogo.docker.complaints import complaint
from koprogo.problem import Problem, one_line
from koprogo.runner import Runner

READY = 180.0
"""Seconds that a new database may take until it answers."""
END = 180.0
"""Seconds that it may take to end, everything written."""
LIMIT = 6 * 3600.0
"""Seconds that a restore may take."""
COUNT_LIMIT = 3600
POLL = 0.25
# Of a table's name as the dump quotes it: how many rows, and whether it belongs to an extension.
_COUNT = (
    "SELECT count(*), EXISTS (SELECT FROM pg_catalog.pg_depend WHERE deptype = 'e' AND classid = "
    "'pg_catalog.pg_class'::pg_catalog.regclass AND objid = {1}::pg_catalog.regclass) FROM {0};\n"
)
_PIPE = "/koprogo-pipe"
_SQL = "sql"
_LABEL = "koprogo.throwaway"
"""Of a volume without a name: the container that it was made for."""
_ABLE = "-c default_transaction_read_only=off -c statement_timeout=0"
"""What a set may have been told of its databases or roles holds for the application, not for restoring them."""

MEMORY = 512 * 2**20
"""Bytes that it has at most, and at least; and what has to stay free for everything else."""
MEMORY_LEAST = 160 * 2**20
MEMORY_LEFT = 64 * 2**20

# What makes it fast: nothing of it counts before all of it is on the disk, so nothing has to be there earlier.
_QUICK = {
    "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "wal_level": "minimal",
    "max_wal_senders": "0", "archive_mode": "off", "autovacuum": "off", "checkpoint_timeout": "1h",
    "max_wal_size": "1GB", "shared_buffers": "96MB", "maintenance_work_mem": "96MB", "max_connections": "5",
    # Where there is one processor, workers for an index cost more than they bring.
    "max_parallel_maintenance_workers": "0",
    # Only the server that stays listens there: what the image starts while it makes the cluster does not.
    "listen_addresses": "127.0.0.1", "logging_collector": "off", "jit": "off",
}  # fmt: skip

# A fast shutdown, asked for until there is nobody left: while the cluster is made, nobody listens.
_LEASE = (
    '"$@" & child=$!; timeout 86400 cat > /dev/null; '
    "(while kill -INT $child 2>/dev/null; do sleep 0.2; done) & wait $child"
)


def memory(wanted: int = MEMORY) -> int:
    """Return how many bytes it may have; raises Problem where too little is free."""
    free = available_memory() - MEMORY_LEFT
    if free < MEMORY_LEAST:
        raise Problem(
            f"{max(free, 0) >> 20} MB of memory can be had, and a throw-away database wants {MEMORY_LEAST >> 20} MB."
        )
    return min(free, wanted)


class Throwaway:
    """A database that runs and has nothing in it but its superuser."""

    def __init__(self, runner: Runner, name: str, user: str, pipe: Path) -> None:
        self._runner = runner
        self._pipe = pipe
        self.name = name
        self.user = user

    def restore(self, found: Set) -> None:
        """Read a set into it, and count its rows; raises Problem when a statement of it fails, or a row is missing."""
        content = self._read(found)
        sets.require_whole(found, content)
        self._compare(content)

    def _read(self, found: Set) -> Content:
        """Return what went by."""
        content = Content()
        with ExitStack() as stack:
            said = stack.enter_context(tempfile.TemporaryFile())
            argv = [*self._psql("postgres"), "-f", f"{_PIPE}/{_SQL}"]
            child = stack.enter_context(packing.start(argv, stderr=said, pass_fds=self._runner.held))
            late = stack.enter_context(packing.limited(LIMIT, child))
            with suppress(BrokenPipeError), feeding.writing(self._pipe / _SQL, child) as target:
                feeding.feed(target, found, content)
            code = child.wait()
            if late.is_set():
                raise Problem(f"The restore did not end within {LIMIT:.0f} s.")
            if code < 0:
                raise Problem(f"{found.name} was not restored to its end: psql was ended by signal {-code}.")
            if code != 0:
                raise Problem(f"{found.name} cannot be restored: {_complaint(said, code)}.")
        return content

    def _compare(self, content: Content) -> None:
        """Count the rows of all the tables of a dump; raises Problem where the number is another."""
        for database, tables in content.rows.items():
            if not tables:
                continue
            roots = {table for table in tables if (database, table) in content.roots}
            others = ", ".join(f"{_literal(table)}::regclass" for table in tables if table not in roots)
            elsewhere = f" WHERE tableoid NOT IN ({others})" if others else ""
            # ONLY: the rows of tables that inherit from it are in the dump with those.
            query = "".join(
                _COUNT.format(f"{table}{elsewhere}" if table in roots else f"ONLY {table}", _literal(table))
                for table in tables
            )
            counted = [line.split("|") for line in self.sql(database, query, COUNT_LIMIT).split()]
            for (table, wanted), (number, extension) in zip(tables.items(), counted, strict=True):
                # A table of an extension (PostGIS's reference systems) has rows that come with it, and not in the dump.
                if int(number) < wanted or (int(number) != wanted and extension == "f"):
                    name = one_line(f"{database}: {table}")
                    raise Problem(f"{name} has {number} rows, and the dump had {wanted}.")

    def sql(self, database: str, text: str, limit: float = 60) -> str:
        """Run statements and return what they print; raises Problem when one fails."""
        result = self._runner.run(self._psql(database, "-At"), text=text, timeout=limit)
        if not result.ok:
            raise Problem(f"psql: {one_line(result.err) or f'exit code {result.code}'}.")
        return result.out

    def set_password(self, password: str) -> None:
        """Give the superuser the password that the application uses now; that of the set may be another."""
        role = self.user.replace('"', '""')
        change = f'ALTER ROLE "{role}" PASSWORD {_literal(password)}'
        self.sql("postgres", f"SET standard_conforming_strings = on; {change};\n")

    def wait_ready(self, child: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until it answers; raises Problem when it does not, or when `child`, its `docker run`, has ended."""
        ends = time.monotonic() + READY
        ready = ["docker", "exec", self.name, "pg_isready", "-q", "-h", "127.0.0.1", "-U", self.user]
        while not self._runner.run(ready).ok:
            if time.monotonic() >= ends or (child is not None and child.poll() is not None):
                raise Problem("The throw-away database does not start.")
            time.sleep(POLL)

    def _psql(self, database: str, *options: str) -> list[str]:
        # The name by the environment: as an argument, one with a `=` in it would mean something else.
        command = ["docker", "exec", "-i", "-e", f"PGDATABASE={database}", "-e", f"PGOPTIONS={_ABLE}", self.name]
        command += ["psql", "-X", "-q", *options]
        return [*command, "-v", "ON_ERROR_STOP=1", "-U", self.user, *(["-o", "/dev/null"] if not options else [])]


@contextmanager
def running(runner: Runner, made_of: Recipe, name: str, user: str, volume: str = "") -> Iterator[Throwaway]:
    """A new database whose superuser is `user`, called `name`; it keeps its data in `volume`, or nowhere.

    What an earlier one of that name left is removed first. At the end, with a volume, all is written, and on the disk
    when Problem is not raised.
    """
    remove(runner, name)
    with _pipe() as pipe, tempfile.TemporaryFile() as said:
        argv = ["docker", "run", "--rm", "--interactive", *_options(made_of, name, user, pipe), "--log-driver", "none"]
        argv += ["--volume", f"{volume}:{made_of.mount['Destination']}"] if volume else _unnamed(made_of, name)
        argv += ["--entrypoint", "sh", made_of.image, "-c", _LEASE, "sh", *_server(made_of)]
        more: dict[str, Any] = {"pass_fds": runner.held, "env": _environment(made_of)}
        with packing.start(argv, stdin=subprocess.PIPE, stdout=said, stderr=said, **more) as child:
            database = Throwaway(runner, name, user, pipe)
            try:
                try:
                    database.wait_ready(child)
                except Problem as problem:
                    raise Problem(f"{str(problem).rstrip('.')}: {_complaint(said, child.poll())}.") from None
                yield database
                _end(child, said)
            finally:
                remove(runner, name)
    if volume:
        # It wrote without waiting for the disk.
        os.sync()


@contextmanager
def scratch(runner: Runner, made_of: Recipe, name: str, user: str) -> Iterator[Throwaway]:
    """Start one that stays until somebody removes it."""
    remove(runner, name)
    with _pipe() as pipe:
        argv = ["docker", "run", "--detach", *_options(made_of, name, user, pipe), *_unnamed(made_of, name)]
        argv += ["--log-opt", "max-size=1m"]
        entrypoint, *rest = _server(made_of)
        argv += ["--entrypoint", entrypoint, made_of.image, *rest]
        result = runner.run(argv, timeout=READY, env=_environment(made_of))
        if not result.ok:
            raise Problem(f"docker run: {complaint(result)}.")
        database = Throwaway(runner, name, user, pipe)
        database.wait_ready()
        yield database


@contextmanager
def _pipe() -> Iterator[Path]:
    """A folder with a named pipe: what goes by `docker exec` costs more than all the rest of a restore."""
    with tempfile.TemporaryDirectory(prefix="koprogo-") as folder:
        os.mkfifo(Path(folder, _SQL), 0o600)
        yield Path(folder)


def remove(runner: Runner, name: str) -> None:
    """Remove a container and the data that it did not keep elsewhere; raises Problem when it is still there."""
    result = runner.run(["docker", "rm", "--force", "--volumes", name], timeout=END)
    if not result.ok and not re.search("No such container|already in progress", result.err):
        raise Problem(f"docker rm {name}: {complaint(result)}.")
    # Where Docker was started again, it has removed the container, and not what that had written.
    unused = ["--filter", "dangling=true", "--filter", f"label={_LABEL}={name}"]
    if left := runner.run(["docker", "volume", "ls", "--quiet", *unused]).out.split():
        runner.run(["docker", "volume", "rm", "--force", *left], timeout=END)


def _literal(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _options(made_of: Recipe, name: str, user: str, pipe: Path) -> list[str]:
    return [
        "--pull", "never", "--name", name, "--network", "none", "--memory", str(memory()), "--cpu-shares", "512",
        "--volume", f"{pipe}:{_PIPE}", "--env", f"PGDATA={made_of.pgdata}",
        "--env", f"POSTGRES_HOST_AUTH_METHOD={made_of.authentication}",
        "--env", f"POSTGRES_USER={user}", "--env", "POSTGRES_DB=postgres", "--env", "POSTGRES_PASSWORD",
        # All of it is brought to the disk at once in the end.
        "--env", f"POSTGRES_INITDB_ARGS={made_of.initdb} --no-sync",
    ]  # fmt: skip


def _unnamed(made_of: Recipe, name: str) -> list[str]:
    """A volume without a name, which goes with its container, and is known by its label where it did not."""
    folder = made_of.mount.get("Destination")
    return ["--mount", f"type=volume,destination={folder},volume-label={_LABEL}={name}"] if folder else []


def _server(made_of: Recipe) -> list[str]:
    settings = {**_QUICK, **({"shared_preload_libraries": made_of.libraries} if made_of.libraries else {})}
    return [*made_of.entrypoint, "postgres", *(word for k, v in settings.items() for word in ("-c", f"{k}={v}"))]


def _environment(made_of: Recipe) -> dict[str, str]:
    """With the password, which must not be among the arguments."""
    return {**os.environ, "POSTGRES_PASSWORD": made_of.password or os.urandom(16).hex()}


def _end(child: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    """Let it end and write everything."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        code = child.wait(END)
    except subprocess.TimeoutExpired:
        raise Problem(f"The throw-away database did not end within {END:.0f} s.") from None
    if code != 0:
        raise Problem(f"The throw-away database did not end as it should: {_complaint(said, code)}.")


def _complaint(said: IO[bytes], code: int | None) -> str:
    """Return the first error of what a program said, else its last line."""
    said.seek(0)
    lines = [line.strip() for line in said.read(1 << 16).decode("utf-8", "replace").splitlines() if line.strip()]
    found = next((line for line in lines if re.search(r"ERROR|FATAL|PANIC|rror:", line)), lines[-1] if lines else "")
    return re.sub(r"^psql:\S+:(\d+): ", r"line \1: ", one_line(found).rstrip(".")) or f"exit code {code}"
