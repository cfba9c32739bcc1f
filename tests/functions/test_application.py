"""A folder becomes an app: its modules are imported, its functions found, its components installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from convexpy.errors import DefinitionError, InvalidRequest
from convexpy.functions import discovery
from convexpy.functions.application import Application, load_application
from convexpy.functions.definitions import query
from convexpy.functions.importing import ProjectFinder

DECORATORS = "from convexpy.functions.definitions import query, mutation, internal_mutation\n"
CONFIG = "from convexpy.functions.components import define_app, define_component\n"
SCHEMA = "from convexpy.functions.schema import define_schema, define_table\nfrom convexpy.values import v\n"
LISTED = DECORATORS + "@query\ndef listed(ctx, limit: int = 5) -> list[str]:\n    return ['first']\n"
SKIPPED = (
    *("web/a.py", "node_modules/a.py", ".convexpy/a.py", "__pycache__/a.py", ".hidden/a.py"),
    *(".dot.py", "messages.test.py", "_generated/api.py", "_generated.py", "notes.txt"),
)

Load = Callable[..., Application]


@pytest.fixture(autouse=True)
def _restored_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Apps and components of one test are unknown to the next."""
    known, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]
    sys.path[:], sys.meta_path[:] = path, finders


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write files below a folder and load it."""

    def write_and_load(files: dict[str, str], name: str = "sample_app") -> Application:
        write(tmp_path / name, files)
        return load_application(tmp_path / name)

    return write_and_load


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def install(tmp_path: Path, package: str, files: dict[str, str]) -> None:
    """Make a package importable as an installed one would be."""
    place = tmp_path / "installed"
    write(place / package, {"__init__.py": "", **files})
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
    importlib.invalidate_caches()


def paths(application: Application, instance: str = "") -> list[str]:
    return sorted(application.instances[instance].functions)


# --- which modules, which functions


def test_modules_below_the_folder_are_found(load: Load) -> None:
    application = load(
        {
            "messages.py": LISTED,
            "deep/er/file.py": LISTED,
            "package/__init__.py": LISTED,
            "package/inner.py": LISTED,
            **dict.fromkeys(SKIPPED, "raise AssertionError('must not be imported')"),
        }
    )

    assert paths(application) == [
        "deep/er/file:listed",
        "messages:listed",
        "package/inner:listed",
        "package:listed",
    ]
    function = application.instances[""].functions["deep/er/file:listed"]
    assert (function.path, function.name, function.module) == (
        "deep/er/file:listed",
        "listed",
        "sample_app.deep.er.file",
    )
    assert [file.name for file in application.module_files] == ["file.py", "messages.py", "__init__.py", "inner.py"]


def test_functions_belong_to_the_module_that_defines_them(load: Load) -> None:
    application = load(
        {
            "messages.py": LISTED + "other_name = listed\n",
            "reexport.py": "from .messages import listed\n",
            "sub/relative.py": "from ..messages import listed\nfrom . import sibling\n",
            "sub/sibling.py": LISTED,
        }
    )

    assert paths(application) == ["messages:listed", "messages:other_name", "sub/sibling:listed"]
    assert application.instances[""].functions["messages:other_name"].path == "messages:listed"


FACTORY = (
    DECORATORS
    + """
def make_api(word):
    @query
    def got(ctx): return word

    @mutation
    def put(ctx): return word

    return got, put
"""
)


def test_what_a_factory_makes_belongs_to_the_module_that_calls_it(load: Load, tmp_path: Path) -> None:
    install(tmp_path, "library_of_tests", {"crud.py": FACTORY})
    application = load(
        {
            "_helpers/crud.py": FACTORY + "own, _ = make_api('own')\n",
            "channels.py": "from ._helpers.crud import make_api\nread, write = make_api('channels')\n",
            "messages.py": "from library_of_tests.crud import make_api\nread, write = make_api('messages')\n",
            "reexport.py": "from .channels import read\nfrom ._helpers.crud import own\n",
        }
    )

    functions = application.instances[""].functions
    assert {path: function(None) for path, function in functions.items()} == {
        "_helpers/crud:own": "own",
        "_helpers/crud:_": "own",
        "channels:read": "channels",
        "channels:write": "channels",
        "messages:read": "messages",
        "messages:write": "messages",
    }
    assert all(function.path == path for path, function in functions.items())


def test_functions_of_the_packages_own_file_are_told_where_to_go(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"listed is in the __init__\.py .* messages:listed") as caught:
        load({"__init__.py": LISTED})
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "sample_app/__init__.py"), 2)

    files = {"__init__.py": "from .crud import make_api\nread, _ = make_api('a')\n", "crud.py": FACTORY}
    with pytest.raises(DefinitionError, match="read is in the") as caught:
        load(files, "with_factory")
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "with_factory/__init__.py"), None)

    shared = load({"__init__.py": "from .messages import listed\n", "messages.py": LISTED}, "shared")
    assert paths(shared) == ["messages:listed"]


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ({}, r"users\.py hides the modules in the folder users/\. Move users\.py to users/__init__\.py"),
        (
            {"users/__init__.py": ""},
            r"users\.py is hidden by the folder users/\. Move what is in users\.py to users/__i",
        ),
    ],
)
def test_a_module_and_a_folder_of_one_name(load: Load, tmp_path: Path, init: dict[str, str], text: str) -> None:
    with pytest.raises(DefinitionError, match=text) as caught:
        load({"users.py": LISTED, "users/admin.py": LISTED, **init})

    assert caught.value.file == str(tmp_path / "sample_app/users.py")


def test_a_folder_without_modules_may_have_the_name_of_one(load: Load) -> None:
    assert paths(load({"users.py": LISTED, "users/notes.txt": ""})) == ["users:listed"]


def test_modules_named_like_standard_ones_shadow_nothing(load: Load, tmp_path: Path) -> None:
    router = "from convexpy import http_router\nhttp = http_router()\n"
    load({"http.py": router, "queue.py": LISTED, "json.py": "import json, http\nassert json.dumps({}) == '{}'\n"})

    assert "sample_app" in sys.modules
    assert str(tmp_path) not in sys.path
    assert "sample_app" not in str(importlib.import_module("http").__file__)
    assert "sample_app" not in str(importlib.import_module("queue").__file__)


@pytest.mark.parametrize(
    ("file", "source", "text"),
    [
        ("größe.py", LISTED, r"Nobody could call größe:listed: .* Rename the module\."),
        ("users.py", LISTED.replace("listed", "größe"), r"Nobody could call users:größe: .* Rename the function\."),
    ],
)
def test_functions_that_no_path_can_name_are_refused(
    load: Load, tmp_path: Path, file: str, source: str, text: str
) -> None:
    with pytest.raises(DefinitionError, match=text) as caught:
        load({file: source})
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "sample_app" / file), 2)


def test_too_many_modules_are_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MODULES_MAX", 2)

    with pytest.raises(DefinitionError, match="more than 2 modules"):
        load({"a.py": "", "b.py": "", "c.py": ""})


def test_a_schema_is_exported_by_name(load: Load) -> None:
    application = load({"schema.py": SCHEMA + "schema = define_schema({'notes': define_table({'a': v.string()})})\n"})

    schema = application.instances[""].schema
    assert schema is not None
    assert list(schema.tables) == ["notes"]
    assert load({}, "bare").instances[""].schema is None


# --- the folder's name


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("my-app", "my_app"),
        ("2nd", "app_2nd"),
        ("class", "app_class"),
        ("json", "json_app"),
        ("queue", "queue_app"),
        ("msgspec", "msgspec_app"),
        ("sys", "sys_app"),
        ("convexpy", "convexpy_app"),
    ],
)
def test_names_that_no_package_can_have(load: Load, name: str, mend: str) -> None:
    with pytest.raises(DefinitionError, match=f"'{mend}'"):
        load({"messages.py": LISTED}, name)


def test_a_module_that_is_installed_but_not_imported_is_not_hidden(load: Load, tmp_path: Path) -> None:
    install(tmp_path, "installed_thing", {})

    with pytest.raises(DefinitionError, match="'installed_thing_app'"):
        load({}, "installed_thing")


def test_a_parent_that_is_on_the_path_already_does_no_harm(load: Load, tmp_path: Path) -> None:
    sys.path.insert(0, str(tmp_path))

    assert paths(load({"messages.py": LISTED, "__init__.py": ""})) == ["messages:listed"]


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no folder"):
        load_application(tmp_path / "nowhere")


def test_modules_need_importable_names(load: Load) -> None:
    with pytest.raises(DefinitionError, match=r"'my_module\.py'"):
        load({"my-module.py": LISTED})


# --- loading again


def test_a_fresh_load_sees_the_files_as_they_are(load: Load) -> None:
    """Same length, same second: cached bytecode would look fresh."""
    first = load({"messages.py": LISTED, "gone.py": LISTED})
    old = first.instances[""].functions["messages:listed"]
    before = first.describe()["hash"]
    Path(first.module_files[0]).unlink()

    second = load({"messages.py": LISTED.replace("first", "other"), "added/new.py": LISTED})

    new = second.instances[""].functions["messages:listed"]
    assert paths(second) == ["added/new:listed", "messages:listed"]
    assert (old(None), new(None)) == (["first"], ["other"])
    assert second.describe()["hash"] != before
    with pytest.raises(InvalidRequest, match="not registered"):
        second.locate(old)


def test_another_folder_of_the_same_name_takes_its_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        write(tmp_path / place / "app_of_tests", {f"in_{place}.py": LISTED})

    for place in ("one", "two", "one"):
        assert paths(load_application(tmp_path / place / "app_of_tests")) == [f"in_{place}:listed"]
    assert "app_of_tests.in_two" not in sys.modules
    finders = [each for each in sys.meta_path if isinstance(each, ProjectFinder) and each.package == "app_of_tests"]
    assert len(finders) == 1


def test_loading_after_a_failure_works(load: Load) -> None:
    with pytest.raises(DefinitionError):
        load({"messages.py": "1 / 0\n"})

    assert paths(load({"messages.py": LISTED})) == ["messages:listed"]


def test_a_failed_load_leaves_the_modules_of_the_one_before(load: Load, tmp_path: Path) -> None:
    """Else a function of the app that is still served would import from the one that is refused."""
    lazy = DECORATORS + "@query\ndef lazy(ctx):\n    from .words import WORD\n    return WORD\n"
    first = load({"messages.py": lazy, "words.py": "WORD = 'old'\n"})
    before = {name: module for name, module in sys.modules.items() if name.startswith("sample_app")}
    finders = list(sys.meta_path)

    for broken in ({"zzz.py": "1 / 0\n"}, {"__init__.py": "boom\n", "zzz.py": ""}):
        with pytest.raises(DefinitionError):
            load({"words.py": "WORD = 'new'\n", "added.py": "", **broken})
        after = {name: module for name, module in sys.modules.items() if name.startswith("sample_app")}
        assert after == before
        assert sys.meta_path == finders
    assert first.instances[""].functions["messages:lazy"](None) == "old"

    write(tmp_path / "sample_app", {"__init__.py": "", "zzz.py": ""})
    assert load({}).instances[""].functions["messages:lazy"](None) == "new"


def test_a_failed_first_load_leaves_nothing(load: Load) -> None:
    finders = list(sys.meta_path)

    with pytest.raises(DefinitionError):
        load({"a.py": "", "b.py": "1 / 0\n"}, "half_of_tests")

    assert not [name for name in sys.modules if name.startswith("half_of_tests")]
    assert sys.meta_path == finders


# --- errors in user code


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("x = 1\ndef broken(:\n", "SyntaxError: invalid syntax", 2),
        ("if True:\nx = 1\n", "IndentationError: ", 2),
        ("\n\nimport no_such_module_anywhere\n", "ModuleNotFoundError: No module named", 3),
        ("from .absent import x\n", "ModuleNotFoundError: ", 1),
        ("def f():\n    return 1 / 0\n\nf()\n", "ZeroDivisionError: division by zero", 2),
        ("raise SystemExit('bye')\n", "SystemExit: bye", 1),
        (DECORATORS + "\n@query\nasync def late(ctx): ...\n", "late is a query", 3),
        (SCHEMA + "\n\ndefine_table({'a': v.string()}).index('by_id', ['a'])\n", "'by_id' cannot be", 5),
        (SCHEMA + "v.array(v.optional(v.string()))\n", "v.optional", 3),
        ("import json\njson.loads('{')\n", "JSONDecodeError: ", 2),
    ],
)
def test_errors_name_the_line_of_the_user(load: Load, tmp_path: Path, text: str, message: str, line: int) -> None:
    with pytest.raises(DefinitionError) as caught:
        load({"folder/broken.py": text})

    error = caught.value
    assert error.text.startswith(message)
    assert (error.file, error.line) == (str((tmp_path / "sample_app/folder/broken.py").resolve()), line)


def test_an_error_is_blamed_on_the_module_where_it_is(load: Load, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        load({"a_first.py": "from . import z_last\n", "z_last.py": "\nboom\n"})

    assert caught.value.text == "NameError: name 'boom' is not defined"
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "sample_app/z_last.py"), 2)


def test_a_failing_package_file_is_named(load: Load) -> None:
    with pytest.raises(DefinitionError, match=r"__init__\.py:1: NameError"):
        load({"__init__.py": "boom\n"})


@pytest.mark.parametrize(
    "files",
    [
        {"convex_config.py": "app = 3\n"},
        {"convex_config.py": "application = 3\n"},
        {"convex_config.py": CONFIG + "app = define_component('a', functions='a.b')\n"},
        {"schema.py": "schema = {}\n"},
        {"schema.py": "tables = {}\n"},
    ],
)
def test_exports_must_be_what_their_names_say(load: Load, files: dict[str, str]) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(files)

    assert caught.value.file is not None
    assert Path(caught.value.file).name in files


# --- components

COUNTER = {
    "component/__init__.py": "",
    "component/lib.py": LISTED + "@internal_mutation\ndef reset(ctx): ...\n",
    "component/schema.py": SCHEMA + "schema = define_schema({'counts': define_table({'n': v.number()})})\n",
    "config.py": CONFIG + "counter = define_component('counter', functions='counter_of_tests.component')\n",
}


def test_components_are_discovered_in_their_packages(load: Load, tmp_path: Path) -> None:
    install(tmp_path, "counter_of_tests", COUNTER)
    install(
        tmp_path,
        "poll_of_tests",
        {
            "component/__init__.py": "",
            "component/polls.py": LISTED,
            "config.py": CONFIG
            + "from counter_of_tests.config import counter\n"
            + "poll = define_component('poll', functions='poll_of_tests.component', before_push='polls:listed')\n"
            + "poll.use(counter, name='votes')\n",
        },
    )

    application = load(
        {
            "convex_config.py": CONFIG
            + "from counter_of_tests.config import counter\nfrom poll_of_tests.config import poll\n"
            + "app = define_app()\napp.use(counter)\napp.use(counter, name='clicks')\napp.use(poll, name='survey')\n",
            "messages.py": LISTED,
        }
    )

    assert list(application.instances) == ["", "counter", "clicks", "survey", "survey/votes"]
    root, counter, votes = (application.instances[path] for path in ("", "counter", "survey/votes"))
    assert root.children == {"counter": "counter", "clicks": "clicks", "survey": "survey"}
    assert application.instances["survey"].children == {"votes": "survey/votes"}
    assert application.instances["survey"].before_push == "polls:listed"
    assert paths(application, "clicks") == ["lib:listed", "lib:reset"]
    assert votes.functions["lib:reset"] is counter.functions["lib:reset"]
    assert votes.definition is counter.definition
    assert counter.schema is not None

    assert application.locate(counter.functions["lib:listed"]) == (counter.definition, "lib:listed")
    assert application.locate(root.functions["messages:listed"]) == (root.definition, "messages:listed")


def test_a_component_may_live_in_the_app_folder(load: Load) -> None:
    application = load(
        {
            "convex_config.py": CONFIG
            + "app = define_app()\napp.use(define_component('inner', functions='sample_app.inner'))\n",
            "messages.py": LISTED,
            "inner/lib.py": LISTED,
            "inner/__init__.py": "",
        }
    )

    assert paths(application) == ["messages:listed"]
    assert paths(application, "inner") == ["lib:listed"]


def use(line: str) -> dict[str, str]:
    return {"convex_config.py": f"{CONFIG}app = define_app()\n{line}\n"}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("app.use(define_component('a', functions='no_such_package.component'))", "cannot be found. Install"),
        ("app.use(define_component('a', functions='textwrap'))", "Make it a package"),
        ("app.use(define_component('a', functions='broken_of_tests.component'))", "NameError: name 'boom'"),
        (
            "a = define_component('a', functions='counter_of_tests.component')\na.use(a, name='again')\napp.use(a)",
            "in a circle: app → a → a",
        ),
        (
            "for name in ('a', 'b'): app.use(define_component(name, functions='counter_of_tests.component'))",
            "two definitions of 'counter_of_tests.component'",
        ),
        (
            "app.use(define_component('a', functions='counter_of_tests.component', before_push='lib:reset'))",
            "must name a query",
        ),
    ],
)
def test_components_that_cannot_be_installed(load: Load, tmp_path: Path, line: str, text: str) -> None:
    install(tmp_path, "counter_of_tests", COUNTER)
    install(tmp_path, "broken_of_tests", {"component/__init__.py": "", "component/lib.py": "boom\n"})

    with pytest.raises(DefinitionError, match=text):
        load(use(line))


# --- descriptions


def test_a_description_is_plain_data(load: Load, tmp_path: Path) -> None:
    install(tmp_path, "counter_of_tests", COUNTER)
    files = {
        **use("from counter_of_tests.config import counter\napp.use(counter)"),
        "messages.py": LISTED + "@mutation\ndef hook(ctx, name: str, **more): ...\n",
    }

    described: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(load(files).describe()))

    assert described["name"] == "sample_app"
    assert len(described["hash"]) == 64
    assert described["instances"][""]["children"] == {"counter": "counter"}
    assert described["instances"][""]["schema"] is None
    assert described["instances"][""]["functions"] == {
        "messages:listed": {
            "kind": "query",
            "visibility": "public",
            "args": {"type": "object", "value": {"limit": {"fieldType": {"type": "number"}, "optional": True}}},
            "returns": {"type": "array", "value": {"type": "string"}},
        },
        "messages:hook": {"kind": "mutation", "visibility": "public", "args": {"type": "any"}, "returns": None},
    }
    counter = described["instances"]["counter"]
    assert counter["definition"] == "counter"
    assert counter["functions"]["lib:reset"]["visibility"] == "internal"
    assert list(counter["schema"]["tables"]) == ["counts"]


def test_the_hash_is_that_of_the_code(load: Load, tmp_path: Path) -> None:
    first = load({"messages.py": LISTED}).describe()["hash"]

    assert load({"messages.py": LISTED}).describe()["hash"] == first
    assert load({"messages.py": LISTED + "# edited\n"}).describe()["hash"] != first
    assert load({"messages.py": LISTED, "empty.py": ""}).describe()["hash"] != first


def test_the_hash_does_not_tell_where_the_code_lies(tmp_path: Path) -> None:
    hashes = set()
    for place in ("one", "two"):
        write(tmp_path / place / "app_of_tests", {"messages.py": LISTED, "inner/__init__.py": "", "inner/b.py": ""})
        hashes.add(load_application(tmp_path / place / "app_of_tests").describe()["hash"])

    assert len(hashes) == 1


def test_the_hash_is_that_of_the_source_that_was_imported(load: Load) -> None:
    """An edit after the import, here by the module that is imported next, is not what runs."""
    editing = "from pathlib import Path\nPath(__file__).with_name('a.py').write_text('# edited')\n"

    loaded = load({"a.py": "", "b.py": editing})
    edited = load({"a.py": "# edited", "b.py": editing})

    assert loaded.describe()["hash"] != edited.describe()["hash"]
    assert load({"a.py": "", "b.py": editing}).describe()["hash"] == loaded.describe()["hash"]


def test_the_hash_of_a_component_is_that_of_its_first_import(load: Load, tmp_path: Path) -> None:
    install(tmp_path, "counter_of_tests", COUNTER)
    files = use("from counter_of_tests.config import counter\napp.use(counter)")
    first = load(files).describe()["hash"]

    (tmp_path / "installed/counter_of_tests/component/lib.py").write_text("")

    assert load(files).describe()["hash"] == first


def test_a_function_that_no_module_exports_is_not_registered(load: Load) -> None:
    @query
    def nowhere(ctx: Any) -> None: ...

    with pytest.raises(InvalidRequest, match="not registered"):
        load({"messages.py": LISTED}).locate(nowhere)
