"""The benchmarks run and count right; what they find is looked at elsewhere."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import budget, growth, latency, peer_servers, raw
from benchmarks.backend_peers import HttpBackend
from benchmarks.common import Figure, Part, convexpy_processes, in_turns, percentile, run, table
from benchmarks.countdown import Countdown
from benchmarks.http_client import EventStream, HttpConnection, request, wait_until_answered
from benchmarks.load import SyncBackend, creates_a_second, pushes
from benchmarks.marks import Mark, laps
from benchmarks.processes import busy_ns, busy_percent_of_core, memory_kib, memory_mib
from benchmarks.sync_client import connect
from benchmarks.workflow_growth import step_commits, step_times
from benchmarks.workflows import callers, rate

MODULES = sorted(path.stem for path in Path(command.__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def test_every_module_that_measures_is_a_question() -> None:
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in MODULES}
    assert {name for name, module in modules.items() if hasattr(module, "measure")} == command.KNOWN.keys()


def test_help_says_what_each_question_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert "BENCH_RUNS" in told
    assert "latency              How long does one client's mutation take" in told
    assert all(f"\n  {name} " in told for name in command.KNOWN)


def test_an_unknown_question_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["growth", "weather"]) == 2
    assert "There is no benchmark weather; there are mutations, " in capsys.readouterr().err


def test_a_table_has_medians_spreads_ratios_of_each_run_and_goals() -> None:
    other = Figure("of another", [8.0, 10.0, 30.0], "µs", goal="≤ 3")
    _, _, ours, theirs = table([Figure("ours", [2000.0, 20.0, 40.0], "µs", [other], goal="≤ 50 µs")]).splitlines()
    assert [cell.strip() for cell in ours.split("|")] == ["", "ours", "40 µs [20 - 2,000]", "", "≤ 50 µs", ""]
    assert [cell.strip() for cell in theirs.split("|")] == [
        "",
        "beside: of another",
        "10 µs [8 - 30]",
        "2 [1.33 - 250]",  # 2000 / 8, 20 / 10, 40 / 30
        "≤ 3",
        "",
    ]


def test_what_is_compared_takes_turns() -> None:
    measured: list[str] = []

    def part(name: str) -> Part:
        def measure() -> float:
            measured.append(name)
            return float(len(measured))

        return Part(name, measure)

    figure = in_turns("ms", part("ours"), part("theirs"))
    assert measured == ["ours", "theirs"] * len(figure.runs)
    assert [ours - theirs for ours, theirs in zip(figure.runs, figure.beside[0].runs, strict=True)] == [-1.0] * len(
        figure.runs
    )


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([3.0, 1.0, 2.0, 4.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 4.0, 4.0]


def test_laps_are_times_between_marks_that_come_in_order() -> None:
    names = ["begin", "other", "middle", "end", "other", "begin", "middle", "begin", "middle", "end"]
    marks = [Mark(1000 * second**2, name) for second, name in enumerate(names)]
    assert laps(marks, ("begin", "middle", "end")) == [[4.0, 5.0], [15.0, 17.0]]
    rounds = [Mark(at, name) for at, name in ((0, "end"), (1000, "work"), (3000, "end"), (7000, "work"), (9000, "end"))]
    assert laps(rounds, ("end", "work", "end")) == [[1.0, 2.0], [4.0, 2.0]]


def test_peers_that_are_not_installed_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peer_servers, "BIN", tmp_path)
    with pytest.raises(SystemExit, match="run `make peers` first"):
        peer_servers.check_installed()


def test_a_countdown_knows_the_last_and_refuses_more() -> None:
    async def count() -> None:
        board = Countdown(2)
        board.arrived()
        assert not board.last.done()
        board.arrived()
        assert (await board.last).seconds <= time.perf_counter()
        with pytest.raises(RuntimeError, match="more has arrived"):
            board.arrived()

    asyncio.run(count())


@asynccontextmanager
async def serving(answers: list[bytes]) -> AsyncIterator[int]:
    """A port where one connection gets these answers; the block ends after the connection."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await ended.wait()


def test_the_http_client_reads_answers_and_refusals() -> None:
    async def talk() -> None:
        answers = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
        ]
        async with serving(answers) as port:
            connection = await HttpConnection.open(port)
            assert await connection.send(request("GET", "/")) == b"hi"
            with pytest.raises(RuntimeError, match="answered 503: b'busy'"):
                await connection.send(request("POST", "/", {"a": 1}))
            connection.close()

    asyncio.run(talk())


def test_events_of_a_stream_may_arrive_in_pieces() -> None:
    async def listen() -> None:
        stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nid:1\n\nid:\r\n3\r\n2\n\n\r\n"
        async with serving([stream]) as port:
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            listener = await EventStream.listen(port, "/", heard.put_nowait)
            assert [await heard.get(), await heard.get()] == [b"id:1", b"id:2"]
            listener.close()

    asyncio.run(listen())


def test_a_server_that_does_not_start_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.http_client.START_SECONDS_MAX", 0)
    with pytest.raises(RuntimeError, match="no success on port 1 after 0 s"):
        asyncio.run(wait_until_answered(1, request("GET", "/")))


def test_a_server_is_loaded_over_both_of_its_ways_and_measured(tmp_path: Path) -> None:
    since = time.time_ns()
    with convexpy_processes(tmp_path) as server:
        for backend in (SyncBackend(server.url), HttpBackend(server.url)):
            assert run(creates_a_second(backend, 2, 0.05)) > 0
            together = run(pushes(backend, 3, 2))
            apart = run(pushes(backend, 3, 2, are_topics=True))
            assert [len(together), len(apart)] == [2, 2]
            assert all(push.milliseconds > 0 and push.arrived_ns > since for push in together + apart)
        assert run(_workflows_a_second(server.url)) > 0
        memory, busy = memory_kib(server.pid), busy_ns(server.pid)
        assert memory.keys() == {"server", "committer", "template", "function workers", "action workers"}
        assert memory_mib(server.pid) > 10
        assert busy["committer"] > 0
        assert run(busy_percent_of_core(server.pid, 0.01)) >= 0


async def _workflows_a_second(url: str) -> float:
    (client,) = await connect(url, 1)
    found = await rate(callers([client]), "ten", 1)
    client.close()
    return found


def test_every_stage_of_a_mutation_and_of_a_step_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((latency, "SECONDS", 0.1), (budget, "LOOK_SECONDS", 0.2), (budget, "WARM_STEPS", 1)):
        monkeypatch.setattr(module, name, value)
    since = time.time_ns()
    found = budget.one_run(tmp_path)
    assert all(microseconds > 0 for microseconds in found.mutation.stages + found.step.stages)
    assert sum(found.mutation.stages) < 2 * found.mutation.outside
    steps = [steps for _, steps in step_commits(tmp_path / "data", since)]
    assert budget.STEPS <= sum(steps) <= budget.STEPS + 2  # with the wait at the end
    assert len(step_times(tmp_path / "data", since)) == sum(steps[1:])


def test_reads_among_documents_that_a_server_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "DOCUMENTS_PER_MUTATION", 100)
    with growth.notes(300) as notes:
        assert notes.point() > 0
        assert notes.range() > 0
        assert notes.gigabytes() > 0


def test_raw_parts_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw, "SECONDS", 0.02)
    assert raw.commit_p50_ms() > 0
    assert raw.puts_a_second(3) > 0
    assert raw.round_trip_p50_ms() > 0
    assert raw.echo_p50_ms() > 0
    assert raw.answers_a_second(2) > 0
    assert raw.broadcast_p50_ms(2) > 0
