"""The guard: what a call sees of clock and randomness, what it is refused, and what passes.

Once installed it cannot be taken away, so whatever needs it installed runs in a process of its own.
"""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
import threading
import time
import zoneinfo
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from convexpy.functions import guard
from convexpy.functions.call_environment import slot
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PREAMBLE = """
import random
from convexpy.functions import guard
guard.install()
from convexpy.errors import NotAllowed
NOW_MS = 1_700_000_000_123

def environment(seed=7):
    return guard.CallEnvironment(kind="query", now_ms=NOW_MS, random=random.Random(seed))

def refused(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except NotAllowed as error:
        return str(error)
    raise AssertionError(f"{function} was not refused")
"""


def run_guarded(script: str, before: str = "") -> str:
    """Run a script in a process with the guard installed; its failed assertion is the test's.

    Args:
        before: what runs there before the guard is installed.
    """
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + PREAMBLE + textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def new_environment(now_ms: int = 5_000) -> guard.CallEnvironment:
    return guard.CallEnvironment(kind="query", now_ms=now_ms, random=random.Random(1))


# --- the slot


def test_a_call_within_a_call_gives_the_slot_back() -> None:
    outer, inner = new_environment(), new_environment()

    with guard.call(outer):
        with guard.call(inner):
            assert slot.environment is inner
        assert slot.environment is outer
        with guard.deterministic(now_ms=9, random=random.Random(2)):
            assert slot.environment is not None and slot.environment.now_ms == 9
        with guard.suspended():
            assert slot.environment is None
        assert slot.environment is outer
    assert slot.environment is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_gives_the_slot_back_and_passes(error: type[BaseException]) -> None:
    outer = new_environment()

    with guard.call(outer):
        with pytest.raises(error), guard.call(new_environment()):
            raise error
        with pytest.raises(error), guard.deterministic(now_ms=9, random=random.Random(2)):
            raise error
        assert slot.environment is outer
    assert slot.environment is None


def test_another_thread_has_a_slot_of_its_own() -> None:
    is_in_call, seen = threading.Event(), []

    def look() -> None:
        is_in_call.wait(60)
        seen.append(slot.environment)

    thread = threading.Thread(target=look)
    thread.start()  # before the call: where another test has installed the guard, a call may start none
    with guard.call(new_environment()):
        is_in_call.set()
        thread.join()

    assert seen == [None]


def test_reset_leaves_a_call_that_was_never_left() -> None:
    guard.call(new_environment()).__enter__()

    guard.reset()

    assert slot.environment is None


class _Nothing(AbstractContextManager[None]):
    """The least that a `with` can be of."""

    def __init__(self, environment: guard.CallEnvironment) -> None:
        """Like a call, it is told its environment."""

    def __enter__(self) -> None:
        """Begin nothing."""

    def __exit__(self, *error: object) -> None:
        """End nothing."""


def test_entering_and_leaving_a_call_costs_about_as_much_as_an_empty_block() -> None:
    """The best of many rounds, so that a busy machine does not count; beside a block of the same machine, so that a
    slow one does not either."""
    environment, calls = new_environment(), 500
    best: dict[Callable[[guard.CallEnvironment], AbstractContextManager[object]], float] = {
        guard.call: 1.0,
        _Nothing: 1.0,
    }
    for _ in range(40):
        for block in best:
            began = time.perf_counter()
            for _ in range(calls):
                with block(environment):
                    slot.environment  # noqa: B018  the least a call does
            best[block] = min(best[block], time.perf_counter() - began)

    assert best[guard.call] < 5 * best[_Nothing]


# --- clock


def test_every_clock_stands_at_the_calls_instant() -> None:
    run_guarded("""
        import datetime, os, time
        with guard.call(environment()):
            for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
                assert getattr(time, name)() == NOW_MS / 1000, name
                assert getattr(time, name + "_ns")() == NOW_MS * 1_000_000, name
            assert time.clock_gettime(time.CLOCK_REALTIME) == NOW_MS / 1000
            assert os.times().elapsed == NOW_MS / 1000
            assert time.clock_gettime_ns(time.CLOCK_MONOTONIC) == NOW_MS * 1_000_000
            assert time.strftime("%Y-%m", time.gmtime()) == "2023-11"
            assert time.localtime() == time.localtime(NOW_MS / 1000)
            assert time.strftime("%Y") == "2023" and time.ctime() == time.asctime() == time.ctime(NOW_MS / 1000)
            utc = datetime.datetime.now(datetime.UTC)
            assert utc.isoformat() == "2023-11-14T22:13:20.123000+00:00", utc
            assert datetime.datetime.now().astimezone(datetime.UTC) == utc
            assert datetime.datetime.today() == datetime.datetime.now()
            assert datetime.datetime.utcnow() == utc.replace(tzinfo=None)
            assert datetime.date.today() == datetime.datetime.now().date()
        assert time.time() * 1000 > NOW_MS and time.time() == __import__("pytest").approx(time.time_ns() / 1e9)
        assert datetime.datetime.now(datetime.UTC) > utc and datetime.date.today() > utc.date()
    """)


def test_only_a_read_of_the_clock_counts_as_one() -> None:
    run_guarded("""
        import datetime, logging, time, uuid
        logging.basicConfig(format="%(asctime)s %(message)s")
        reads = [
            time.time, time.perf_counter_ns, time.gmtime, time.ctime, datetime.datetime.now, datetime.datetime.utcnow,
            datetime.date.today, uuid.uuid1, lambda: time.strftime("%Y"), lambda: time.clock_gettime(0),
        ]
        others = [
            lambda: time.gmtime(0), lambda: time.strftime("%Y", time.gmtime(0)), uuid.uuid4, random.random,
            lambda: datetime.datetime.fromtimestamp(0), lambda: datetime.datetime.strptime("2020", "%Y"),
            lambda: logging.getLogger("a").warning("a record is stamped with the real time"),
        ]
        for function in reads + others:
            slot = environment()
            with guard.call(slot):
                function()
            assert slot.used_time == (function in reads), function
    """)


def test_a_nested_clock_is_not_the_calls() -> None:
    """A workflow handler has a time of its own; that it reads it says nothing about the wave that runs it."""
    run_guarded("""
        import time
        slot = environment()
        with guard.call(slot):
            with guard.deterministic(now_ms=4_000, random=random.Random(3)):
                assert time.time() == 4.0 and random.random() == random.Random(3).random() == 0.23796462709189137
            assert not slot.used_time
            assert time.time() == NOW_MS / 1000
        assert slot.used_time
    """)


def test_a_clock_in_a_class_body_is_not_a_method() -> None:
    run_guarded("""
        import time, logging
        class UtcFormatter(logging.Formatter):
            converter = time.gmtime
        class Timer:
            clock = time.perf_counter
            draw = random.random
        assert UtcFormatter().converter(0).tm_year == 1970
        assert Timer().clock() > 0 and 0 <= Timer().draw() < 1
    """)


# --- randomness


def test_the_same_seed_gives_the_same_randomness_from_every_source() -> None:
    run_guarded("""
        import os, secrets, uuid
        def draw():
            values = list(range(20))
            random.shuffle(values)
            return [
                random.random(), random.randint(1, 10**9), random.choice(range(10**6)), random.gauss(0, 1), values,
                random.sample(range(99), 5), random.getrandbits(99), random.randbytes(9), random.choices(range(9), k=9),
                random.Random().random(), random.SystemRandom().random(), os.urandom(16), os.getrandom(8),
                uuid.uuid1(), uuid.uuid4(), secrets.token_hex(), secrets.token_bytes(8), secrets.token_urlsafe(8),
                secrets.randbelow(10**9), secrets.randbits(99), secrets.choice(range(10**6)),
            ]
        def draw_in_call(seed):
            with guard.call(environment(seed)):
                return draw()
        assert draw_in_call(1) == draw_in_call(1)
        first, second, real, really = draw_in_call(1), draw_in_call(2), draw(), draw()
        for values in zip(first, second, real, really):
            assert len({str(value) for value in values}) == 4, values
    """)


def test_a_call_leaves_the_processes_own_randomness_alone() -> None:
    run_guarded("""
        random.seed(11)
        expected = random.Random(11).random()
        with guard.call(environment()):
            random.seed(3)
            assert random.random() == random.Random(3).random()
        assert random.random() == expected
    """)


def test_uuids_have_their_version_and_time() -> None:
    run_guarded("""
        import uuid
        with guard.call(environment()):
            assert uuid.uuid4().version == 4
            made = uuid.uuid1()
            assert made.version == 1 and made.variant == uuid.RFC_4122
            assert (made.time - 0x01B21DD213814000) // 10_000 == NOW_MS
            assert uuid.uuid1(node=5, clock_seq=6).fields[3:] == (0x80, 6, 5)
            import os
            try:
                os.urandom(-1)
            except ValueError:
                pass
            else:
                raise AssertionError
    """)


def test_generators_of_ones_own_are_seeded_as_they_say() -> None:
    run_guarded("""
        expected = random.Random(3).random()
        def draw_anew():
            own = random.Random(3)
            assert own.random() == expected
            own.seed()
            return own.random()
        with guard.call(environment(1)):
            first = draw_anew()
            assert draw_anew() != first
        with guard.call(environment(1)):
            assert draw_anew() == first
    """)


def test_code_that_was_hot_before_the_guard_sees_it_too() -> None:
    """The interpreter remembers where it found a function; what ran often must not keep the real clock."""
    run_guarded(
        """
        with guard.call(environment()):
            assert [round(seconds * 1000) for seconds in look()] == [NOW_MS] * 3
        assert min(look()) * 1000 > NOW_MS + 1000
        """,
        before=(
            "import datetime, time\n"
            "def look(): return time.time(), datetime.datetime.now(datetime.UTC).timestamp(), time.time_ns() / 1e9\n"
            "for _ in range(200): look()\n"
        ),
    )


# --- datetime stays itself


def test_datetimes_stay_real_ones() -> None:
    run_guarded("""
        import copy, pickle, functools, json, typing, subprocess, sys
        from convexpy.functions.deterministic_datetime import RealDate, RealDatetime
        import datetime as module
        from datetime import date, datetime, timedelta, UTC
        assert datetime is not RealDatetime
        made = [
            datetime(2020, 1, 2, tzinfo=UTC), datetime.fromisoformat("2020-01-02"), datetime.now(), datetime.max,
            datetime.strptime("2020", "%Y"), datetime.combine(date(2020, 1, 2), module.time()),
            datetime.fromtimestamp(0, UTC), RealDatetime(2020, 1, 2), datetime.now() + timedelta(1),
        ]
        with guard.call(environment()):
            made += [datetime.now(), datetime.now(UTC), datetime.utcnow(), datetime.today()]
        for value in made:
            assert type(value) is RealDatetime and type(value) == datetime and {datetime: 1}[type(value)]
            assert isinstance(value, datetime) and isinstance(value, date) and not isinstance(value, int)
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                again = pickle.loads(pickle.dumps([value, value.date(), datetime], protocol))
                assert again == [value, value.date(), datetime] and again[0].tzinfo == value.tzinfo
                assert [type(each) for each in again[:2]] == [RealDatetime, RealDate]
            assert copy.deepcopy(value) == copy.copy(value) == value
        assert made[2].replace(fold=1).fold == pickle.loads(pickle.dumps(made[2].replace(fold=1))).fold == 1
        assert type(date(2020, 1, 2)) is type(date.today()) is type(date.fromisoformat("2020-01-02")) is RealDate
        assert not isinstance(date(2020, 1, 2), datetime)
        assert issubclass(datetime, date) and issubclass(RealDatetime, date) and not issubclass(int, date)
        assert repr(datetime) == "<class 'datetime.datetime'>" and datetime != date and datetime == RealDatetime
        assert datetime | None == typing.Optional[datetime]
        match made[0]:
            case datetime(year=2020):
                pass
            case _:
                raise AssertionError

        @functools.singledispatch
        def name(value): return "other"
        @name.register(datetime)
        def _(value): return "datetime"
        assert name(made[0]) == "datetime" and name(date.today()) == "other"

        # what is pickled here can be read where no guard is
        reader = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])))"
        read = subprocess.run([sys.executable, "-c", reader, pickle.dumps(made[0]).hex()], capture_output=True)
        assert read.stdout.decode().strip() == str(made[0])
    """)


def test_a_class_derived_from_datetime_works() -> None:
    run_guarded("""
        import pickle
        from datetime import date, datetime, timedelta
        class Stamp(datetime):
            def label(self): return self.strftime("%Y")
        value = Stamp(2020, 1, 2)
        assert value.label() == "2020" and isinstance(value, Stamp) and isinstance(value, datetime)
        assert type(value + timedelta(1)) is Stamp and type(pickle.loads(pickle.dumps(value))) is Stamp
        assert not isinstance(datetime(2020, 1, 2), Stamp) and not issubclass(datetime, Stamp) and Stamp != datetime
        with guard.call(environment()):
            assert Stamp.now().label() == "2023" and type(Stamp.now()) is type(Stamp.today()) is Stamp
        assert type(Stamp.now()) is Stamp and Stamp.now().year > 2023
    """)


def test_msgspec_knows_the_annotations() -> None:
    run_guarded("""
        import msgspec, typing
        from datetime import date, datetime
        class Event(msgspec.Struct):
            at: datetime
            day: date | None = None
            others: list[typing.Annotated[datetime, "utc"]] = []
        text = b'{"at":"2020-01-02T03:04:05Z","day":"2020-01-02","others":["2020-01-02T03:04:05Z"]}'
        event = msgspec.json.decode(text, type=Event)
        assert event.at.year == 2020 and event.day == date(2020, 1, 2)
        assert msgspec.json.encode(event) == text
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event
        assert typing.get_type_hints(Event)["at"] == datetime
        with guard.call(environment()):
            assert msgspec.json.encode(datetime.now()).startswith(b'"2023-11-1')
        try:
            msgspec.json.decode(b'"no date"', type=datetime)
        except msgspec.ValidationError:
            pass
        else:
            raise AssertionError
    """)


# --- refusals


def test_the_outside_is_refused_and_the_refusal_says_what_to_use() -> None:
    """All of it in one process: each case is refused before it does anything."""
    run_guarded("""
        import _thread, asyncio, glob, mmap, os, pathlib, shutil, socket, sqlite3, subprocess, sys, tempfile
        import threading, time, urllib.request, concurrent.futures, multiprocessing, queue, select, signal
        here = os.getcwd()
        cases = [
            ("open()", open, sys.executable), ("open()", open, "/tmp/x", "w"),
            ("open()", os.open, "/tmp/x", os.O_RDONLY),
            ("open()", pathlib.Path(sys.executable).read_bytes),
            ("os.listdir()", os.listdir, here), ("os.scandir()", os.scandir, here),
            ("os.mkdir()", os.mkdir, "/nowhere/x"), ("os.remove()", os.remove, "/nowhere/x"),
            ("os.rename()", os.rename, "/nowhere/x", "/nowhere/y"), ("os.rmdir()", os.rmdir, "/nowhere/x"),
            ("os.chmod()", os.chmod, "/nowhere/x", 0), ("os.symlink()", os.symlink, "/nowhere/x", "/nowhere/y"),
            ("os.truncate()", os.truncate, "/nowhere/x", 0), ("os.putenv()", os.environ.__setitem__, "A_NAME", "x"),
            ("shutil.rmtree()", shutil.rmtree, "/nowhere/x"), ("shutil.copyfile()", shutil.copyfile, "/nowhere", "/x"),
            ("tempfile.mkstemp()", tempfile.mkstemp, "", "", "/nowhere"), ("glob.glob()", glob.glob, "*"),
            ("mmap.mmap()", mmap.mmap, -1, 4096), ("sqlite3.connect()", sqlite3.connect, ":memory:"),
            ("socket.socket()", socket.socket),
            ("socket.getaddrinfo()", socket.getaddrinfo, "localhost", 80),
            ("urllib.request", urllib.request.urlopen, "http://localhost:1"),
            ("subprocess.Popen()", subprocess.run, ["true"]), ("os.system()", os.system, "true"),
            ("os.fork()", os.fork), ("os.exec()", os.execv, "/nowhere", ["x"]),
            ("os.posix_spawn()", os.posix_spawn, "/nowhere", ["x"], {}), ("os.kill()", os.kill, os.getpid(), 0),
            ("threads", threading.Thread(target=print).start), ("threads", _thread.start_new_thread, print, ()),
            ("threads", concurrent.futures.ThreadPoolExecutor().submit, print),
            ("time.sleep()", time.sleep, 0), ("input()", input),
            ("select.select()", select.select, [], [], [], 0), ("select.poll()", select.poll),
            ("signal.alarm()", signal.alarm, 0),
            ("waits for threads", threading.Event().wait, 0.01), ("waits for threads", queue.Queue().get, True, 0.01),
            ("waits for threads", concurrent.futures.Future().result, 0.01),
            ("socket.socket()", asyncio.new_event_loop),
        ]
        for thing, function, *args in cases:
            with guard.call(environment()):
                text = refused(function, *args)
                assert text == f"Can't use {thing} in queries and mutations. Please consider using an action.", text
                with guard.deterministic(0, random.Random(1)):
                    text = refused(function, *args)
                instead = {
                    "time.sleep()": "Pause with step.sleep(…).",
                    "waits for threads": "Wait for tasks, events and queues of asyncio instead.",
                }.get(thing, "Do it in a step: step.run_action(…).")
                assert text == f"Can't use {thing} in a workflow handler. {instead}", text
        assert "A_NAME" not in os.environ
    """)


def test_outside_calls_nothing_is_refused() -> None:
    run_guarded("""
        import os, socket, subprocess, sys, tempfile, threading, time
        def use_everything():
            with tempfile.TemporaryFile() as file:
                file.write(b"x")
            a, b = socket.socketpair()
            a.close(), b.close()
            subprocess.run([sys.executable, "-c", ""], check=True)
            thread = threading.Thread(target=os.listdir, args=("/",))
            thread.start()
            thread.join()
            time.sleep(0)
        use_everything()
        with guard.call(environment()):
            with guard.suspended():
                use_everything()
                assert time.time() * 1000 > NOW_MS + 1000
            refused(open, sys.executable)
        try:
            with guard.call(environment()):
                raise ValueError
        except ValueError:
            use_everything()
    """)


def test_a_call_in_one_thread_refuses_nothing_to_another() -> None:
    run_guarded("""
        import threading, sys, time
        is_in_call, is_done, results = threading.Event(), threading.Event(), []
        def read():
            is_in_call.wait()
            with open(sys.executable, "rb") as file:
                results.append(file.read(4))
            results.append(time.time() * 1000 > NOW_MS + 1000)
            is_done.set()
        thread = threading.Thread(target=read)
        thread.start()
        with guard.call(environment()):
            is_in_call.set()
            while not is_done.is_set():
                pass
        thread.join()
        assert len(results) == 2 and results[1]
    """)


def test_a_refused_thread_leaves_no_trace() -> None:
    """`threading` lists a thread before it starts it; one that never ran must not stay in the list."""
    run_guarded("""
        import threading
        before = threading.enumerate()
        with guard.call(environment()):
            refused(threading.Thread(target=print).start)
        assert threading.enumerate() == before
    """)


def test_a_call_amid_an_import_is_guarded_all_the_same(tmp_path: Path) -> None:
    """Whoever runs a function from a module's top level must not switch the guard off."""
    (tmp_path / "early_runner.py").write_text(
        "import random\nfrom convexpy.functions import guard\n"
        "with guard.call(guard.CallEnvironment('query', 1, random.Random(1))):\n    open(__file__)\n"
    )
    run_guarded(f"""
        import importlib, sys
        sys.path.insert(0, {str(tmp_path)!r})
        refused(importlib.import_module, "early_runner")
        with guard.call(environment()):
            refused(importlib.import_module, "early_runner")
            refused(open, sys.executable)
    """)


def test_the_environment_can_be_read() -> None:
    run_guarded("""
        import os
        os.environ["A_NAME"] = "here"
        with guard.call(environment()):
            assert os.environ["A_NAME"] == os.getenv("A_NAME") == "here"
    """)


# --- what passes


def test_a_first_import_in_a_call_passes_and_sees_the_real_clock(tmp_path: Path) -> None:
    (tmp_path / "first_module.py").write_text(
        "import time, sys\nloaded_at = time.time()\nwith open(sys.executable, 'rb') as file: head = file.read(4)\n"
    )
    (tmp_path / "second_module.py").write_text("from first_module import loaded_at\n")
    (tmp_path / "broken_module.py").write_text("raise ValueError('broken')\n")
    run_guarded(f"""
        import sys
        from importlib import import_module
        sys.path.insert(0, {str(tmp_path)!r})
        slot = environment()
        with guard.call(slot):
            import second_module
            import xml.dom.minidom, colorsys
            assert import_module("first_module").loaded_at * 1000 > NOW_MS + 1000
            assert import_module("wave").__name__ == "wave"
            for _ in range(2):
                try:
                    import broken_module
                except ValueError:
                    pass
                refused(open, sys.executable)
            try:
                from colorsys import no_such_name
            except ImportError:
                pass
            assert not slot.used_time
            import time
            assert time.time() == NOW_MS / 1000
    """)


def test_tracebacks_show_source_lines_in_a_call(tmp_path: Path) -> None:
    """An app that logs an exception must get its traceback and no second exception."""
    (tmp_path / "failing.py").write_text("def fail():\n    return 1 / 0  # the culprit\n")
    run_guarded(f"""
        import sys, traceback
        sys.path.insert(0, {str(tmp_path)!r})
        import failing
        with guard.call(environment()):
            try:
                failing.fail()
            except ZeroDivisionError:
                assert "# the culprit" in traceback.format_exc()
            refused(open, failing.__file__)
    """)


def test_time_zones_are_known_in_a_call() -> None:
    """The first use of a zone reads its table, as an import reads a module."""
    run_guarded("""
        from datetime import datetime
        from zoneinfo import ZoneInfo
        with guard.call(environment()):
            assert datetime.now(ZoneInfo("Europe/Berlin")).isoformat() == "2023-11-14T23:13:20.123000+01:00"
            for path, mode in (("new", "w"), ("../../../etc/passwd", "r"), ("Europe/../../zoneinfo.tab", "rb")):
                refused(open, f"/usr/share/zoneinfo/{path}", mode)
            refused(open, "/home/somebody/zoneinfo/notes", "r")
            refused(open, "zoneinfo/Europe/Berlin", "rb")
    """)


def test_time_zones_of_the_package_are_known_in_a_call(tmp_path: Path) -> None:
    """Machines without tables have them in the package `tzdata`; here is one with a single zone, which is not real."""
    table = next(Path(root, "Asia/Tokyo") for root in zoneinfo.TZPATH if Path(root, "Asia/Tokyo").exists())
    zones = tmp_path / "tzdata/zoneinfo/Moon"
    zones.mkdir(parents=True)
    (zones / "Base").write_bytes(table.read_bytes())
    for folder in (zones, zones.parent, zones.parent.parent):
        (folder / "__init__.py").touch()
    (tmp_path / "tzdata_notes").touch()
    run_guarded(
        """
        from datetime import datetime
        from zoneinfo import ZoneInfo
        with guard.call(environment()):
            assert datetime.now(ZoneInfo("Moon/Base")).isoformat() == "2023-11-15T07:13:20.123000+09:00"
            refused(open, sys.path[0] + "/tzdata_notes")
        """,
        before=f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n",
    )


def test_an_event_loop_without_sockets_runs_in_a_call() -> None:
    """As the workflow engine's: tasks and futures on a loop that is drained by hand."""
    run_guarded("""
        import asyncio, collections, time
        class Loop(asyncio.AbstractEventLoop):
            def __init__(self): self.ready = collections.deque()
            def get_debug(self): return False
            def is_running(self): return True
            def time(self): return time.monotonic()
            def create_future(self): return asyncio.Future(loop=self)
            def create_task(self, coro, **options): return asyncio.Task(coro, loop=self, **options)
            def call_soon(self, callback, *args, context=None):
                handle = asyncio.Handle(callback, args, self, context)
                self.ready.append(handle)
                return handle
            def drain(self):
                asyncio._set_running_loop(self)
                while self.ready:
                    self.ready.popleft()._run()
                asyncio._set_running_loop(None)
        async def child(number):
            await asyncio.sleep(0)
            return number + asyncio.get_running_loop().time()
        async def main():
            async with asyncio.TaskGroup() as group:
                task = group.create_task(child(0))
            return sum(await asyncio.gather(child(1), child(2))) + task.result()
        slot = environment()
        with guard.call(slot), guard.deterministic(now_ms=2_000, random=random.Random(1)):
            loop = Loop()
            task = loop.create_task(main())
            loop.drain()
            assert task.result() == 9.0
        assert not slot.used_time
    """)


def test_installing_twice_changes_nothing() -> None:
    run_guarded("""
        import builtins, datetime, random, time
        before = time.time, random.random, datetime.datetime, builtins.__import__, random.Random.seed
        guard.install()
        assert before == (time.time, random.random, datetime.datetime, builtins.__import__, random.Random.seed)
    """)
