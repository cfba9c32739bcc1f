"""Calls to a running server, over its HTTP API with the admin key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from convexpy.errors import ConvexError, ConvexpyError
from convexpy.values import decode_json, encode_json

TIMEOUT_SECONDS = 900  # actions may take long


def read_admin_key(data_folder: Path) -> str:
    """The admin key in a data folder.

    Raises:
        ConvexpyError: there is none.
    """
    try:
        return (data_folder / "admin_key").read_text().strip()
    except OSError as error:
        raise ConvexpyError(
            f"No admin key in {data_folder}. Give --data DIR, --admin-key KEY, or set CONVEX_SELF_HOSTED_ADMIN_KEY."
        ) from error


class AdminCalls:
    """Calls functions of a running server as its administrator: those of components and internal ones too.

    For commands that components bring.

    Args:
        url: of the server.
        admin_key: None: that of `data`.
        data: the server's data folder; None: `.convexpy` in the current folder.

    Raises:
        ConvexpyError: no admin key is given, and none is found.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:3210", admin_key: str | None = None, data: Path | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._admin_key = read_admin_key(data or Path(".convexpy")) if admin_key is None else admin_key

    def call(self, path: str, args: dict[str, Any] | None = None, component: str = "") -> Any:
        """Call a function of any kind; gives its value.

        Raises:
            ConvexError: the function raised one.
            ConvexpyError: the server cannot be reached or refuses, or the function failed; the text is its error's.
        """
        body = {
            "path": path,
            "args": json.loads(encode_json(args or {})),
            "format": "convex_encoded_json",
            "componentPath": component or None,
        }
        answer = _post(f"{self.url}/api/function", body, self._admin_key)
        if answer.get("status") == "success":
            return decode_json(json.dumps(answer["value"]))
        if "errorData" in answer:
            raise ConvexError(decode_json(json.dumps(answer["errorData"])))
        raise ConvexpyError(str(answer.get("errorMessage", "The function failed.")).rstrip())


def call_function(url: str, path: str, args: str, component: str, admin_key: str | None) -> str:
    """Call a function of any kind, without a key only a public one; the result as indented JSON.

    Raises:
        ConvexpyError: the server cannot be reached, refuses, or the function failed.
    """
    try:
        decoded = json.loads(args)
    except ValueError as error:
        raise ConvexpyError(f'The arguments are no JSON: {error}. Write them like \'{{"name": "Ada"}}\'.') from error
    body = {"path": path, "args": decoded, "format": "json", "componentPath": component or None}
    if admin_key is not None:
        answer = _post(f"{url.rstrip('/')}/api/function", body, admin_key)
    else:
        answer = _post(f"{url.rstrip('/')}/api/run/{quote(path.replace(':', '/'), errors='replace')}", body, None)
    for line in answer.get("logLines", []):
        print(line)
    if answer.get("status") != "success":
        text = str(answer.get("errorMessage", "The function failed.")).rstrip()
        if "errorData" in answer:
            text += f"\n{json.dumps(answer['errorData'])}"
        if admin_key is None and "Could not find public function" in text:
            text += "\nFor an internal function give --data DIR, or --admin-key KEY (`convexpy admin-key` prints it)."
        raise ConvexpyError(text)
    return json.dumps(answer["value"], indent=2, ensure_ascii=False)


def _post(url: str, body: dict[str, Any], admin_key: str | None) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise ConvexpyError(f"{url} is no address of a server. Write --url http://127.0.0.1:3210.")
    if admin_key is not None and not (admin_key.isascii() and admin_key.isprintable()):
        raise ConvexpyError(  # without the key itself: it may be right but for a newline at its end
            "The admin key has a line break or another character that no key has. Give it as `convexpy admin-key` "
            "prints it, with --admin-key KEY or in CONVEX_SELF_HOSTED_ADMIN_KEY."
        )
    import http.client
    import urllib.error  # it costs more than the rest of this module, which every worker imports
    import urllib.request

    data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
    headers = {"Content-Type": "application/json"}
    if admin_key is not None:
        headers["Authorization"] = f"Convex {admin_key}"
    try:
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - the scheme is checked above
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            raw = response.read()
    except urllib.error.HTTPError as error:
        raise ConvexpyError(f"The server refused: {error.code} {error.read().decode(errors='replace')}") from error
    except (http.client.InvalidURL, ValueError) as error:
        raise ConvexpyError(f"{url} is no address of a server: {error}. Write --url http://127.0.0.1:3210.") from error
    except (http.client.HTTPException, OSError) as error:  # URLError is an OSError
        raise ConvexpyError(f"No server answers at {url}: {error}. Is `convexpy dev` running?") from error
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ConvexpyError(f"What answers at {url} is no Convex server: it sends no JSON object.")
    return answer
