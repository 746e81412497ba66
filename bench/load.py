"""Steady load on a server, as a process of its own: `python -m bench.load PLAN`, PLAN being a `Plan` in JSON.

It sends each request when it is due, whatever became of those before, so a slow server gets no relief; and writes a
line (samples.py) when its outcome is known. It ends when its standard input does, also if its parent was killed.
"""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from bench.client import TIMEOUT, Ask, Client, Lost
from bench.samples import Sample, write

FRONTEND = "koprogo.test"
API = "api.koprogo.test"
WRITE_EVERY = 10
"""One in so many requests to the API adds a row: its number 4, 15, 24, 35 …, so half of them on new connections."""


@dataclass(frozen=True)
class Plan:
    """What to send where: `rate` requests a second to each of both names, half of them over used connections."""

    address: str
    rate: int
    ca_file: str
    output: str
    mark: str
    """Beginning of the name of every row that is written."""
    port: int = 443


def request(plan: Plan, host: str, number: int) -> tuple[Ask, bool, str]:
    """Return the request to a host with this number, whether it uses a kept connection, and the row that it writes."""
    keep = number % 2 == 0
    if host == FRONTEND:
        return Ask(host, "/", 200, b"<title>KoproGo</title>"), keep, ""
    if number % (2 * WRITE_EVERY) not in (4, 4 + WRITE_EVERY + 1):
        return Ask(host, "/api/v1/health", 200, b'"healthy"'), keep, ""
    row = f"{plan.mark}{number}"
    return Ask(host, "/api/v1/buildings", 201, f'"{row}"'.encode(), json.dumps({"name": row}).encode()), keep, row


async def send(plan: Plan, output: TextIO, stop: asyncio.Event) -> None:
    """Send until `stop` is set, then wait for the answers that are due."""
    loop = asyncio.get_running_loop()
    client = Client(plan.address, plan.port, plan.ca_file)
    hosts = (FRONTEND, API)
    pause = 1 / (plan.rate * len(hosts))
    began, number = loop.time(), 0

    async def one(host: str, of_host: int, due: float) -> None:
        ask, keep, row = request(plan, host, of_host)
        sent = loop.time()
        try:
            await client.ask(ask, keep=keep)
            lost = ""
        except Lost as fault:
            lost = str(fault)
        output.write(write(Sample(host, keep, due, sent - due, loop.time() - sent, lost, row)))

    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            due = began + number * pause
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(hosts[number % len(hosts)], number // len(hosts), due))
            number += 1
    client.close()


@contextmanager
def running(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """Have the load of a plan while the block runs; its file is complete afterwards."""
    command = [sys.executable, "-m", "bench.load", json.dumps(asdict(plan))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        yield process
    finally:
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(2 * TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _main(plan: Plan) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, stop.set)
    with Path(plan.output).open("w", encoding="utf-8") as output:
        await send(plan, output, stop)


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of every broken connection, which is counted
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # late requests would look like a slow server
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(Plan(**json.loads(sys.argv[1]))))
