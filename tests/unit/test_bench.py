"""Counting what clients lose. The deploys themselves are measured by `make bench-deploys`."""

import asyncio
import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_tls import certificate

from bench import check_cost, client, load, report, samples
from bench.client import Ask, Client, Lost
from bench.report import Cost, Result, Row
from bench.samples import Counts, Log, Sample, Window

API, FRONTEND = "api.koprogo.test", "koprogo.test"


def sample(due: float, lost: str = "", *, host: str = API, seconds: float = 0.5, late: float = 0.0) -> Sample:
    return Sample(host, True, due, late, seconds, lost)


def row(way: str, **changes: object) -> Row:
    usual = Row(way, 2, 0, [20.0, 30.0], 4000, {}, 0, {API: 0.04, FRONTEND: 0.05}, 0.004, 0.0213)
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]  # what a test changes fits


def result(*ways: Row, **changes: object) -> Result:
    usual = Result(
        rate=50,
        ways=[*ways],
        deploys=[],
        acknowledged=1200,
        missing=0,
        check=Cost([31 * 2**20, 33 * 2**20], [0.12, 0.1]),
        late_p99=0.003,
        late_max=0.05,
        kept_rate=True,
        host="2 cores",
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]  # what a test changes fits


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 201)], 99, 198.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_percentile_by_nearest_rank(values: list[float], percent: float, expected: float | None) -> None:
    assert samples.percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([10.0, 11.0, 14.0, 15.0, 20.0], 5.0),
        ([9.0, 12.0, 13.0, 20.5], 7.5),  # goes on beyond the window
        ([2.0, 13.0, 16.0, 19.0, 21.0], 11.0),  # began before it
        ([14.0], 6.0),  # nothing known beyond: the window ends it
        ([], 10.0),
        ([1.0, 30.0], 29.0),  # not one answer in all of the window
    ],
)
def test_longest_gap_of_a_window(answers: list[float], expected: float) -> None:
    assert samples.longest_gap(answers, Window(10, 20)) == expected


def test_requests_are_counted_where_they_were_due_and_gaps_for_each_name() -> None:
    log = Log(
        [
            sample(9.9),
            sample(10.0),
            sample(10.5, host=FRONTEND, seconds=0.25),
            sample(11.0, "status 502"),
            sample(11.5, "refused"),
            Sample(API, False, 12.0, 0.125, 10.0, "timeout"),
            sample(12.5, "refused"),
            sample(13.0, late=0.25, seconds=0.75),
            sample(19.5, host=FRONTEND, seconds=1.0),
            sample(20.0, "reset"),
        ]
    )
    assert log.count([Window(10, 20)]) == Counts(
        sent=8,
        lost={"refused": 2, "status 502": 1, "timeout": 1},
        lost_kept=3,
        gaps={API: 6.0, FRONTEND: 9.75},  # 14.0 to the window's end; 10.75 to 20.5
        p50=0.5,
        p99=1.0,
        late_p99=0.25,
        late_max=0.25,
    )
    two = log.count([Window(9, 10), Window(20, 21)])
    assert (two.sent, two.lost, two.lost_total) == (2, {"reset": 1}, 1)
    assert log.count([Window(30, 40)]).p50 is None


def test_samples_survive_a_file() -> None:
    first = Sample(API, False, 1.5, 0.25, 0.125, "", "bench-1")
    second = Sample(FRONTEND, True, 0.5, 0.0, 10.0, "timeout")
    assert samples.read([samples.write(first), samples.write(second)]) == [second, first]


def test_only_an_answered_write_is_acknowledged() -> None:
    def wrote(name: str, lost: str) -> Sample:
        return Sample(API, True, 1.0, 0.0, 0.1, lost, name)

    log = Log([wrote("a", ""), wrote("b", "timeout"), wrote("c", "wrong body"), sample(1.0)])
    assert log.acknowledged() == {"a"}


@pytest.mark.parametrize(("sent", "late", "kept"), [(990, 0.25, True), (989, 0.0, False), (1000, 0.26, False)])
def test_a_client_that_could_not_keep_the_rate_says_so(sent: int, late: float, kept: bool) -> None:
    counts = Counts(sent, {}, 0, {}, None, None, late, 1.0)
    assert samples.kept_rate(counts, 1000) is kept


def test_half_of_everything_goes_over_new_connections() -> None:
    plan = load.Plan("127.0.0.1", 50, "", "", "run-")
    asked = [load.request(plan, API, number) for number in range(100)]
    assert sum(1 for _, keep, _ in asked if keep) == 50
    assert [row for _, keep, row in asked if row and keep] == ["run-4", "run-24", "run-44", "run-64", "run-84"]
    assert [row for _, keep, row in asked if row and not keep] == ["run-15", "run-35", "run-55", "run-75", "run-95"]
    assert asked[4][0].text(keep=True) == (
        b"POST /api/v1/buildings HTTP/1.1\r\nHost: api.koprogo.test\r\nConnection: keep-alive\r\n"
        b'Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{"name": "run-4"}'
    )


ASK = Ask("127.0.0.1", "/", 200, b"good")


async def _against(script: list[bytes | None], keeps: list[bool], folder: Path) -> tuple[list[str], int]:
    """Ask a server that answers so, in turn (None: it closes instead); what was lost, and how many connections."""
    trusted, context = certificate(folder)
    connections = 0
    answers = iter(script)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            text = next(answers)
            if text is None or b"close" in text:
                writer.write(text or b"")
                break
            writer.write(text)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    asking = Client("127.0.0.1", server.sockets[0].getsockname()[1], str(trusted))
    outcomes = []
    for keep in keeps:
        try:
            await asking.ask(ASK, keep=keep)
            outcomes.append("")
        except Lost as lost:
            outcomes.append(str(lost))
        await asyncio.sleep(0.02)
    asking.close()
    server.close()
    return outcomes, connections


def _answer(status: str, body: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", body]).encode()


GOOD, GOOD_AND_CLOSE = _answer("200 OK", "good"), _answer("200 OK", "good", "Connection: close")
BAD_GATEWAY, OTHER = _answer("502 Bad Gateway", "good"), _answer("200 OK", "else")
NOT_HTTP, CUT = b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\ngoo"


@pytest.mark.parametrize(
    ("script", "keeps", "lost", "connections"),
    [
        ([GOOD] * 3, [True] * 3, ["", "", ""], 1),
        ([GOOD] * 3, [False, False, True], ["", "", ""], 3),
        ([GOOD_AND_CLOSE, GOOD], [True, True], ["", ""], 2),
        ([GOOD, None, GOOD], [True, True, True], ["", "closed", ""], 2),  # not asked again in silence
        ([BAD_GATEWAY, OTHER, GOOD], [True, True, True], ["status 502", "wrong body", ""], 1),
        ([NOT_HTTP, CUT, GOOD], [True, True, True], ["no HTTP", "closed", ""], 3),
    ],
)  # fmt: skip
def test_what_becomes_of_a_request(
    script: list[bytes | None], keeps: list[bool], lost: list[str], connections: int, tmp_path: Path
) -> None:
    assert asyncio.run(_against(script, keeps, tmp_path)) == (lost, connections)


def test_a_server_that_is_away_slow_or_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    trusted, _ = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other")

    async def ask(port: int) -> str:
        with pytest.raises(Lost) as lost:
            await Client("127.0.0.1", port, str(trusted)).ask(ASK, keep=False)
        return str(lost.value)

    async def all_three() -> list[str]:
        closed = asyncio.Event()

        async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await closed.wait()

        slow = await asyncio.start_server(silent, "127.0.0.1", 0)
        stranger = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=other)
        ports = [server.sockets[0].getsockname()[1] for server in (slow, stranger)]
        found = [await ask(port) for port in ports]
        closed.set()
        slow.close()
        await slow.wait_closed()
        return [*found, await ask(ports[0])]

    assert asyncio.run(all_three()) == ["timeout", "certificate", "refused"]


def test_the_load_goes_on_whatever_becomes_of_a_request(tmp_path: Path) -> None:
    trusted, _ = certificate(tmp_path)
    plan = load.Plan("127.0.0.1", 50, str(trusted), "", "run-", port=1)
    output = io.StringIO()

    async def half_a_second() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.5, stop.set)
        await load.send(plan, output, stop)

    asyncio.run(half_a_second())
    found = samples.read(output.getvalue().splitlines())
    assert 48 <= len(found) <= 52
    assert {each.lost for each in found} == {"refused"}
    assert abs(sum(1 for each in found if each.host == API) - len(found) / 2) <= 1
    assert found[10].due - found[0].due == pytest.approx(0.1)


def test_the_memory_of_a_check_is_that_of_all_its_descendants() -> None:
    # A child that holds 50 MB, below one that holds little.
    holder = "import sys; held = bytearray(50_000_000); print(flush=True); sys.stdin.read()"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    command = [sys.executable, "-c", parent, holder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdout.readline()
        assert 50_000_000 < check_cost._held(running.pid) < 120_000_000
        running.stdin.close()


def test_a_row_and_its_notes() -> None:
    bad = row("old", failed=1, lost={"refused": 1300, "status 502": 2}, gaps={API: 20.04, FRONTEND: 19.5}, p50=None)
    shown = result(row(report.GOOD), bad)
    assert report.markdown(shown) == (
        "|  | deploys | seconds | sent | lost | longest gap, api.koprogo.test | longest gap, koprogo.test "
        "| p50 | p99 |\n"
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        "| koprogo deploy | 2 | 25 (20 to 30) | 4,000 | 0 | 0.04 s | 0.05 s | 4 ms | 21 ms |\n"
        "| old | 2 (1 failed) | 25 (20 to 30) | 4,000 | 1,302 | 20.04 s | 19.50 s | none | 21 ms |\n"
        "\n"
        "50 requests a second to each name, half of them on new connections; 2 cores.\n"
        "Rows written: 1,200 acknowledged, 0 of them missing afterwards.\n"
        "A check that finds nothing new (2 runs): 32 (31 to 33) MiB at the peak, 0.11 (0.10 to 0.12) s of CPU, git "
        "included.\n"
        "The client sent 99 of 100 requests within 3 ms of when they were due, and all within 50 ms.\n"
        "Lost: old: 1,300 refused, 2 status 502.\n"
    )
    assert report.from_json(report.as_json(shown)) == shown


def test_what_is_not_met_is_said() -> None:
    fine = row(report.GOOD)
    assert report.missed(result(fine, row("old", lost={"refused": 9}))) == []
    assert report.missed(result(row(report.GOOD, lost={"refused": 1, "reset": 1}))) == [
        "koprogo deploy: 2 requests were lost, none should be"
    ]
    assert report.missed(
        result(
            row("sick", failed=1),
            missing=2,
            check=Cost([61 * 2**20], [0.31]),
            kept_rate=False,
        )
    ) == [
        "sick: 1 did not end as they should",
        "2 acknowledged rows are not in the database",
        "a check took 61 MiB, 60 are allowed",
        "a check took 0.31 s of CPU, 0.3 are allowed",
        "the client was too slow to ask as often and as punctually as it should: is this host busy?",
    ]
