"""What backups and restores cost, beside `pg_dumpall | gzip` and its restore: `python -m bench.backup`.

A server of the sandbox, in a world of its own, gets a database of the size that is asked for; then everything is done
in turn on that server.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click
from koprogo_server import Server
from rich import box
from rich.table import Table

from bench import server as server_of
from sandbox.errors import SandboxError
from sandbox.progress import console, step

NAME = "bench-backup"
BACKUPS = "/home/koprogo/backups"
PEAK = Path(__file__).with_name("peak.py")
MEMORY_MIB = 64
"""What a backup or a restore may hold, but for Docker's client and the database itself."""
SHARE = 0.5
"""Of the time that gzip's way takes."""

# A row is about 250 bytes of text, as rows of an application are: numbers, times, words, and some of what packs badly.
_FILL = """
create table bench (
    id bigint primary key, owner uuid, at timestamptz, amount numeric(12, 2), state text, line text, note text);
insert into bench select n, md5((n % 5000)::text)::uuid, timestamptz '2024-01-01' + n * interval '37 s',
    (n::bigint * 7919 % 1000000) / 100.0, (array['open', 'paid', 'late', 'void'])[1 + n % 4],
    'Charges of the building ' || n % 400 || ', flat ' || n % 37 || ', ' || md5(n::text),
    repeat('Repair of the lift and the stairs, as decided by the assembly. ', 1 + (n % 3)::int)
    from generate_series({begin}, {end}) n;
"""
_INDEXES = "create index on bench (owner, at); create index on bench (state) where state = 'open';"
_BATCH = 250_000
_ROW = 250

_OLD_BACKUP = "docker exec koprogo-postgres pg_dumpall -U koprogo | gzip > /home/koprogo/old.sql.gz"
_OLD_RESTORE = """
docker run -d --name old -e POSTGRES_USER=koprogo -e POSTGRES_PASSWORD=x postgres:15 > /dev/null
until docker exec old pg_isready -q -h 127.0.0.1 -U koprogo; do sleep 0.2; done
gunzip < /home/koprogo/old.sql.gz | docker exec -i old psql -q -o /dev/null -U koprogo -d postgres 2> /dev/null
"""
# Once more with commands as somebody types them who reads zstd's manual: what is ours and not zstd's?
_PLAIN_ZSTD = "docker exec koprogo-postgres pg_dumpall -U koprogo | zstd -q -3 -f -o /home/koprogo/old.sql.zst"


@dataclass(frozen=True)
class Cost:
    """One thing that was done. Bytes and seconds."""

    what: str
    seconds: float
    cpu: float
    """Of the whole server's processor, the database included."""
    peak: int
    docker: int
    size: int | None = None


def fill(server: Server, megabytes: int) -> int:
    """Make rows until the dump is about that large; returns how many."""
    rows = megabytes * 1_000_000 // _ROW
    with step(f"{rows} rows"):
        create, insert = _FILL.strip().split(";\n", 1)
        server.sql(create)
        for begin in range(1, rows + 1, _BATCH):
            server.sql(insert.format(begin=begin, end=min(begin + _BATCH - 1, rows)))
        server.sql(_INDEXES)
        server.sql("checkpoint")
    return rows


def measure(server: Server, what: str, *command: str) -> Cost:
    """Run one command on the server as the program's user. Raises SandboxError if it fails."""
    before = _used(server)
    with step(what):
        user = ["runuser", "-u", "koprogo", "--", "env", "HOME=/home/koprogo"]
        done = server.machine.run(
            [*user, "python3", "-", *command], input=PEAK.read_text(encoding="utf-8"), check=False
        )
    found = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {"code": done.returncode}
    if found["code"]:
        raise SandboxError(f"{what} failed: {done.stderr.strip().splitlines()[-1:]}")
    return Cost(what, found["seconds"], _used(server) - before, found["peak"], found["docker"])


def one_processor(server: Server) -> None:
    """Let the server have one processor, as the smallest one at OVH has."""
    for folder in _groups(server):
        for name, text in (("cpu.max", "100000 100000"), ("cpu.cfs_quota_us", "100000")):
            if (folder / name).exists():
                (folder / name).write_text(text)


def _used(server: Server) -> float:
    """Seconds of processor that the server has used so far."""
    for folder in _groups(server):
        if (path := folder / "cpuacct.usage").exists():
            return int(path.read_text()) / 1e9
        if (path := folder / "cpu.stat").exists() and "usage_usec" in (text := path.read_text()):
            return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6
    return 0.0


def _groups(server: Server) -> list[Path]:
    return sorted(Path("/sys/fs/cgroup").glob(f"**/koprogo-sandbox/{server.machine.group}"))


def size(server: Server, path: str, cost: Cost) -> Cost:
    """Add the size of what was written."""
    return replace(cost, size=int(server.sh(f"stat -c %s {path}").stdout))


def run(megabytes: int, *, keep: bool) -> tuple[int, list[Cost]]:
    """Do and measure all of it; returns the rows, and the costs. Raises SandboxError."""
    with server_of.running(NAME, keep=keep) as server:
        rows = fill(server, megabytes)
        one_processor(server)
        server.sh("touch /home/koprogo/old.sql.gz /home/koprogo/old.sql.zst; chown koprogo /home/koprogo/old.*")
        found = [
            size(server, "/home/koprogo/old.sql.gz", measure(server, "pg_dumpall | gzip", "sh", "-c", _OLD_BACKUP))
        ]
        found.append(
            size(server, "/home/koprogo/old.sql.zst", measure(server, "pg_dumpall | zstd", "sh", "-c", _PLAIN_ZSTD))
        )
        found.append(
            size(server, f"{BACKUPS}/*.sql.zst", measure(server, "koprogo backup", "/usr/local/bin/koprogo", "backup"))
        )
        found.append(measure(server, "gunzip | psql", "sh", "-c", _OLD_RESTORE))
        if server.sql("select count(*) from bench", "old") != str(rows):
            raise SandboxError("gunzip | psql did not restore all rows")
        server.sh("docker rm -f -v old")
        found.append(measure(server, "koprogo drill", "/usr/local/bin/koprogo", "drill"))
        server.sql("delete from bench where id % 2 = 0")
        found.append(measure(server, "koprogo restore", "/usr/local/bin/koprogo", "restore", "--yes"))
        if server.sql("select count(*) from bench") != str(rows):
            raise SandboxError("koprogo restore did not restore all rows")
    return rows, found


def missed(found: list[Cost]) -> list[str]:
    """What is not as it should be, a line each."""
    by_name = {cost.what: cost for cost in found}
    old, new = by_name["pg_dumpall | gzip"], by_name["koprogo backup"]
    lines = []
    for before, after in ((old, new), (by_name["gunzip | psql"], by_name["koprogo drill"])):
        if after.seconds > before.seconds * SHARE:
            lines.append(f"{after.what} took {after.seconds:.1f} s, and {before.what} {before.seconds:.1f} s")
    if (new.size or 0) > (old.size or 0):
        lines.append("the set is larger than gzip's file")
    lines += [
        f"{cost.what} held {cost.peak >> 20} MiB"
        for cost in found
        if cost.what.startswith("koprogo") and cost.peak > MEMORY_MIB * 2**20
    ]
    return lines


def table(found: list[Cost]) -> Table:
    """What came of it, for a terminal."""
    shown = Table(box=box.SIMPLE)
    for name in ("", "seconds", "of processor", "MB written", "MiB held", "MiB by docker exec"):
        shown.add_column(name, justify="left" if not name else "right")
    for cost in found:
        written = f"{cost.size / 1e6:.1f}" if cost.size is not None else ""
        shown.add_row(
            cost.what,
            f"{cost.seconds:.1f}",
            f"{cost.cpu:.1f}",
            written,
            f"{cost.peak / 2**20:.0f}",
            f"{cost.docker / 2**20:.0f}",
        )
    return shown


@click.command(help="Measure backups and restores of a large database, and gzip's way beside them.")
@click.option("--megabytes", type=click.IntRange(1), default=1000, show_default=True, help="size of the dump")
@click.option("--keep", is_flag=True, help=f"leave the sandbox {NAME} running")
def main(megabytes: int, keep: bool) -> None:
    """Measure, print, and end with 1 if something is not as it should be."""
    try:
        rows, found = run(megabytes, keep=keep)
    except SandboxError as error:
        console.print(f"[red]✗[/red] {error}", markup=True)
        sys.exit(1)
    host = f"a host with {os.cpu_count()} cores and a load of {os.getloadavg()[0]:.0f}"
    console.print(f"{rows} rows; a server of 1 processor and 2 GB on {host}")
    console.print(table(found))
    for line in missed(found):
        console.print(f"NOT MET: {line}", soft_wrap=True)
    sys.exit(1 if missed(found) else 0)


if __name__ == "__main__":
    main()
