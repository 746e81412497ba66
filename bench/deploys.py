"""Counts the requests that clients lose while a server deploys: `python -m bench.deploys`.

A server of the sandbox, in a world of its own, is asked steadily by a client outside of it, while one deploy after the
other is made: good ones, a sick one, one that changes Traefik, one that changes PostgreSQL, and those of the script
that this project replaces. Every request between two deploys is counted for the one before.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import click
from koprogo_server import Server

from bench import load, report, samples, ways
from bench import server as server_of
from bench.report import GOOD, Result, Row, row
from bench.samples import Log, Window
from bench.ways import DOWN, PLAIN, POSTGRES, SICK, TRAEFIK, Deploy
from sandbox import internet
from sandbox.errors import SandboxError
from sandbox.progress import console, say, step

NAME = "bench"
"""The sandbox of this program; `make demo` and the tests have others."""
QUIET = "no deploy"
QUIET_SECONDS = 20
SETTLE = 5
"""Seconds between two deploys, in which one may still lose requests."""


def measure(server: Server, plan: load.Plan, order: list[str]) -> tuple[list[tuple[Window, Deploy]], Window]:
    """Make the deploys under load; returns each with its window, and the window before all of them."""
    made = []
    with load.running(plan) as client:
        time.sleep(2)  # until the client has its first connections
        begin = time.monotonic()
        time.sleep(QUIET_SECONDS)
        quiet = Window(begin, time.monotonic())
        begin = quiet.end
        for number, way in enumerate(order, 1):
            with step(f"{number}/{len(order)} {way}"):
                deploy = ways.deploy(server, way)
            if deploy.trouble:
                say(f"[red]It did not end as it should:[/red] {deploy.trouble}")
            time.sleep(SETTLE)
            if client.poll() is not None:
                raise SandboxError(f"the client ended with {client.returncode} during {way}")
            made.append((Window(begin, end := time.monotonic()), deploy))
            begin = end
    return made, quiet


def evaluate(log: Log, made: list[tuple[Window, Deploy]], quiet: Window) -> tuple[list[Row], list[Row]]:
    """Count: one row for each way, and one for each deploy."""
    each = [row(d.way, [d.seconds], int(bool(d.trouble)), log.count([window])) for window, d in made]
    summed = [row(QUIET, [], 0, log.count([quiet]))]
    for way in dict.fromkeys(deploy.way for _, deploy in made):
        mine = [(window, deploy) for window, deploy in made if deploy.way == way]
        failed = sum(1 for _, deploy in mine if deploy.trouble)
        counts = log.count([window for window, _ in mine])
        summed.append(row(way, [deploy.seconds for _, deploy in mine], failed, counts))
    return summed, each


def run(deploys: int, rate: int, *, keep: bool) -> Result:
    """Measure all of it. Raises SandboxError."""
    order = [GOOD] * deploys + [SICK, TRAEFIK, POSTGRES, DOWN, DOWN, PLAIN, PLAIN]
    with server_of.running(NAME, keep=keep) as server, tempfile.TemporaryDirectory() as folder:
        with step("the cost of a check"):
            cost = ways.check_cost(server)
        ca_file, output = Path(folder) / "acme.pem", Path(folder) / "samples"
        ca_file.write_text(internet.acme_root(server.world))
        mark = f"bench-{int(time.time())}-"
        plan = load.Plan(server.machine.ipv4, rate, str(ca_file), str(output), mark)
        made, quiet = measure(server, plan, order)
        found = ways.rows(server, mark)
        with output.open(encoding="utf-8") as lines:
            log = Log(samples.read(lines))
    summed, each = evaluate(log, made, quiet)
    whole = Window(quiet.begin, made[-1][0].end)
    counts = log.count([whole])
    acknowledged = log.acknowledged()
    return Result(
        rate=rate,
        ways=summed,
        deploys=each,
        acknowledged=len(acknowledged),
        missing=len(acknowledged - found),
        check=cost,
        late_p99=counts.late_p99,
        late_max=counts.late_max,
        kept_rate=samples.kept_rate(counts, 2 * rate * (whole.end - whole.begin)),
        host=f"a server of 2 GB and its client on one host with {os.cpu_count()} cores",
    )


@click.command(help="Count the requests that clients lose while a server of the sandbox deploys.")
@click.option("--deploys", type=click.IntRange(1), default=20, show_default=True, help="good deploys")
@click.option(
    "--rate", type=click.IntRange(1, 500), default=50, show_default=True, help="requests a second to each name"
)
@click.option("--keep", is_flag=True, help=f"leave the sandbox {NAME} running")
@click.option("--json", "file", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="write all of it")
def main(deploys: int, rate: int, keep: bool, file: Path | None) -> None:
    """Measure, print, and end with 1 if something is not as it should be."""
    try:
        result = run(deploys, rate, keep=keep)
    except SandboxError as error:
        console.print(f"[red]✗[/red] {error}", markup=True)
        sys.exit(1)
    if file:
        file.write_text(report.as_json(result), encoding="utf-8")
    report.show(result, console)
    for line in report.missed(result):
        console.print(f"NOT MET: {line}", soft_wrap=True)
    sys.exit(1 if report.missed(result) else 0)


if __name__ == "__main__":
    main()
