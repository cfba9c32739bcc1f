"""Small programs written with the official clients, for what the drivers of the other tests have no command for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS

from .conftest import APP, StartServer
from .server import Server

FOLDER = Path(__file__).parent
AUTH_APP = APP.parent / "auth_app"
JAVASCRIPT = """
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi as api } from "convex/server";
const [url, ...given] = process.argv.slice(1);
const options = { skipConvexDeploymentUrlCheck: true, logger: false };
const http = new ConvexHttpClient(url, options);
const live = new ConvexClient(url, options);
const tell = (value) => { console.log(JSON.stringify(value ?? null)); process.exit(0); };
"""
PYTHON = """
import json, sys
from convex import ConvexClient, ConvexInt64
from convex.http_client import ConvexHttpClient
url, *given = sys.argv[1:]
http, live = ConvexHttpClient(url), ConvexClient(url)
"""


def told_by(program: str, *given: str) -> Any:
    """What a program prints as the last line of its output, which is JSON."""
    if program.startswith(JAVASCRIPT):
        command = ["node", "--input-type=module", "-e", program, *given]
    else:
        command = [sys.executable, "-c", program, *given]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])  # the Python client prints log lines before it


VALUES_OF_JAVASCRIPT = """
const values = {
  "largest int64": 2n ** 63n - 1n, "smallest int64": -(2n ** 63n), "zero int64": 0n, "minus one": -1n,
  "not a number": NaN, "infinity": Infinity, "minus infinity": -Infinity, "minus zero": -0, "least": 5e-324,
  "no bytes": new ArrayBuffer(0), "bytes": new Uint8Array([0, 1, 2, 255]).buffer, "astral": "\\u{1F40D}\\u0000",
  "nested": { "": [[], {}, [-0, 1n, null]], "_x": { y: new ArrayBuffer(1) } },
};
const { isDeepStrictEqual } = await import("node:util");
const changed = [];
for (const [name, value] of Object.entries(values)) {
  for (const client of [http, live]) {
    const back = await client.query(api.messages.echo, { value });
    if (!isDeepStrictEqual(back, value)) changed.push([name, client.constructor.name, String(back)]);
  }
}
tell([Object.keys(values).length, changed]);
"""
VALUES_OF_PYTHON = """
import math
values = [
    ConvexInt64(2**63 - 1), ConvexInt64(-(2**63)), ConvexInt64(0), math.nan, math.inf, -math.inf, -0.0, 5e-324,
    b"", b"\\x00\\x01\\x02\\xff", "\\U0001f40d\\x00",
    {"": [[], {}, [-0.0, ConvexInt64(1), None]], "_x": {"y": b"\\x00"}},
]
def shown(value):  # -0.0 == 0.0, and nan is not itself
    if isinstance(value, list):
        return [shown(each) for each in value]
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    return ["int64", value.value] if isinstance(value, ConvexInt64) else repr(value)
changed = []
for value in values:
    for client in (http, live):
        back = client.query("messages:echo", {"value": value})
        if shown(back) != shown(value):
            changed.append([repr(value), type(client).__name__, repr(back)])
print(json.dumps([len(values), changed]))
"""


@pytest.mark.parametrize("program", [JAVASCRIPT + VALUES_OF_JAVASCRIPT, PYTHON + VALUES_OF_PYTHON], ids=["js", "py"])
def test_values_that_json_has_no_form_for_come_back_to_the_bit(dev_server: Server, program: str) -> None:
    count, changed = told_by(program, dev_server.url)

    assert count > 10
    assert changed == []


PAGES_OF_JAVASCRIPT = """
let latest;
let waiting = [];
const bodies = () => latest.results.map((row) => row.body);
const until = async (wanted, status) => {
  while (latest === undefined || latest.status !== status || bodies().join() !== wanted) {
    await new Promise((resolve) => waiting.push(resolve));
    if (latest !== undefined && [...new Set(bodies())].sort().join() !== bodies().join()) tell(["torn", bodies()]);
  }
};
const channel = "pages of a plain client";
await live.mutation(api.feed.add, { channel, bodies: ["10", "20", "30", "40", "50"] });
live.onPaginatedUpdate_experimental(api.feed.page, { channel }, { initialNumItems: 2 }, (value) => {
  latest = value;
  waiting.splice(0).forEach((resolve) => resolve());
});
await until("10,20", "CanLoadMore");
latest.loadMore(2);
await until("10,20,30,40", "CanLoadMore");
await http.mutation(api.feed.add, { channel, bodies: ["15", "25", "45"] });
await until("10,15,20,25,30,40", "CanLoadMore");
await http.mutation(api.feed.remove, { channel, body: "20" });
await until("10,15,25,30,40", "CanLoadMore");
latest.loadMore(5);
await until("10,15,25,30,40,45,50", "Exhausted");
tell("whole");
"""


def test_pages_of_a_plain_client_have_no_gap_either(dev_server: Server) -> None:
    """`onPaginatedUpdate_experimental` of `ConvexClient`, which sends `id: -1` and splits pages in its own way."""
    assert told_by(JAVASCRIPT + PAGES_OF_JAVASCRIPT, dev_server.url) == "whole"


ADMIN_OF_JAVASCRIPT = """
const [key] = given;
const ada = { issuer: "https://convex.test", subject: "ada", name: "Ada L\\u00f6velace" };
http.setAdminAuth(key, ada);
live.client.setAdminAuth(key, ada);
const found = [];
for (const client of [http, live]) {
  found.push(await client.query(api.people.me), await client.mutation(api.people.sign));
}
found.push(await http.function("people:sign_later", undefined, {}), await live.mutation(api.people.sign_later));
http.setAdminAuth(key);
live.client.setAdminAuth(key);
for (const client of [http, live]) found.push(await client.query(api.people.me));
http.setAdminAuth(key + "0", ada);
const refuse = ({ message }) => found.push(message.startsWith("{") ? JSON.parse(message).code : message);
await http.query(api.people.me).catch(refuse);
http.clearAuth();
await http.function("people:sign_later", undefined, {}).catch(refuse);
await http.mutation(api.people.sign_later).catch(refuse);
tell(found);
"""
ADMIN_OF_PYTHON = """
found = []
for client in (http, live):
    client.set_admin_auth(given[0])
    found += [client.query("people:me", {}), client.mutation("people:sign_later", {})]
print(json.dumps(found))
"""


def test_an_admin_calls_what_is_internal_and_acts_as_a_user(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key as a header and on the live socket; an admin who acts as nobody is no user."""
    monkeypatch.setenv("TEST_ISSUER", "https://nobody.test")
    server = start_server(app=AUTH_APP)
    key = (server.data / "admin_key").read_text().strip()

    *found, hidden = told_by(JAVASCRIPT + ADMIN_OF_JAVASCRIPT, server.url, key)
    assert found == [*["ada"] * 4, *[None] * 4, *["BadDeployKey"] * 2]
    assert "Could not find public function for 'people:sign_later'." in hidden
    assert told_by(PYTHON + ADMIN_OF_PYTHON, server.url, key) == [None] * 4


THREADS_OF_PYTHON = """
from threading import Thread
told = []
def count():
    mine = ConvexClient(url)
    for _ in range(10):
        mine.mutation("counters:add", {"name": "threads"})
        live.mutation("counters:add", {"name": "threads"})  # one client for all of them
    told.append(mine.query("counters:read", {"name": "threads"}))
threads = [Thread(target=count) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for value in live.subscribe("counters:read", {"name": "threads"}):
    if value == 160.0:
        break
print(json.dumps([len(told), max(told), live.query("counters:read", {"name": "threads"})]))
"""


def test_threads_share_a_python_client_or_have_their_own(dev_server: Server) -> None:
    """What each was told was counted has been counted once."""
    assert told_by(PYTHON + THREADS_OF_PYTHON, dev_server.url) == [8, 160.0, 160.0]
