"""The template imports once, says what went wrong and where, and its workers do not outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from convexpy.errors import DefinitionError, WorkerLost
from convexpy.processes.messages import Output
from convexpy.processes.template import Template
from convexpy.processes.template_process import TemplateProcess
from tests.processes.rig import call, function_pool, gone, run, small_load, started_template


def test_it_describes_the_app_and_passes_on_what_the_import_printed() -> None:
    """Lines arrive whole and in order, the last one also without its end."""

    async def main() -> None:
        output: list[Output] = []
        template = TemplateProcess(output.append)
        await template.start()

        loaded = await template.load(small_load(generation=4, print=["one", "two\nthree"]))

        assert loaded.description == {"generation": 4, "hash seed": "0"}
        assert not loaded.is_spawning
        assert [(line.level, line.line) for line in output] == [("LOG", "one"), ("LOG", "two"), ("LOG", "three")]
        await template.close()

    run(main())


@pytest.mark.parametrize(
    ("fail", "text", "line"),
    [
        ("definition", "no such index", 7),
        ("exit", "SystemExit: enough", None),
        ("syntax", "SyntaxError", 1),
        ("import", "ZeroDivisionError: division by zero", 3),
    ],
)
def test_a_failed_import_says_what_and_where(fail: str, text: str, line: int | None, tmp_path: Path) -> None:
    """File and line are of the user's own code, whatever lies deeper in the traceback."""
    (tmp_path / "messages.py").write_text("rate = 0\n\nshare = 1 / rate\n")

    async def main() -> None:
        template = TemplateProcess(lambda _: None)
        await template.start()

        with pytest.raises(DefinitionError) as caught:
            await template.load(small_load(fail=fail, project_folder=str(tmp_path)))
        await template.close()

        assert text in caught.value.text
        assert caught.value.line == line
        assert (caught.value.file or "messages.py").endswith("messages.py")
        assert "Traceback" in caught.value.__notes__[0] or fail == "syntax"

    run(main())


def test_an_import_that_kills_its_process_is_an_error() -> None:
    """A crash in a C extension must fail the push, not hang it."""

    async def main() -> None:
        template = TemplateProcess(lambda _: None)
        await template.start()

        with pytest.raises(WorkerLost, match="died while it did so"):
            await template.load(small_load(fail="death"))
        await template.close()

    run(main())


def test_workers_are_forked_from_the_one_import() -> None:
    """What the template loaded is what runs, however the folder changes."""

    async def main() -> None:
        async with function_pool(workers=2) as (pool, _):
            replies = [await pool.submit(call("loaded_in"), prefer=slot) for slot in range(2)]

            assert len({reply.value for reply in replies}) == 1
            assert int(replies[0].value) not in pool.pids

    run(main())


def test_an_import_that_starts_threads_spawns_workers_and_says_so() -> None:
    """A fork copies only one thread: locks that the others held would stay locked."""

    async def main() -> None:
        output: list[Output] = []
        template = await started_template(small_load(threads=True), output)
        await template.close()
        async with function_pool(workers=1, threads=True) as (pool, _):
            loaded_in = (await pool.submit(call("loaded_in"))).value

            assert int(loaded_in) == pool.pids[0]
        assert output[0].level == "WARN"
        assert "started threads (background)" in output[0].line

    run(main())


def test_workers_end_with_their_template() -> None:
    """The kernel sees to it, whatever they are doing."""

    async def main() -> None:
        lost = asyncio.Event()
        template = TemplateProcess(lambda _: None, lambda _: lost.set())
        await template.start()
        await template.load(small_load())
        async with function_pool(workers=2) as (pool, reports):
            pids = pool.pids
            hanging = pool.submit(call("hang"))
            group = pool._generations.current
            assert group is not None

            os.kill(group.template.pid, signal.SIGKILL)
            for pid in pids:
                await gone(pid)
            pool.replace_template(group.template, template)

            assert (await pool.submit(call("echo", 1))).value == b"1"
            assert reports.having("its template is gone")
            hanging.cancel()
            os.kill(template.pid, signal.SIGKILL)
            await lost.wait()
            pool.template_failed(template, "The app cannot be loaded again.")
            assert (await pool.submit(call("echo", 1))).error == "The app cannot be loaded again."
        await template.close()

    run(main())


def test_a_server_that_is_gone_ends_it_without_a_word() -> None:
    """Killed before it has read what the template sent: the kernel then gives an error in place of an end."""
    server, ours = socket.socketpair()
    ours.sendall(b"unread")
    server.close()

    with ours:
        Template(ours).serve()
