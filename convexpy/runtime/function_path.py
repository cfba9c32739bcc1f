"""The one spelling of a function's name.

Clients write `dir/module:name`, `dir/module.js:name`, or a bare module for its export `default`.

Source: wire-protocol 2.2; convex-js src/browser/sync/udf_path_utils.ts.
"""

from __future__ import annotations

import re

from convexpy.errors import InvalidRequest

_COMPONENT = re.compile(r"(?=[A-Za-z0-9_]{1,64}\Z)_*[A-Za-z0-9]")  # no dots: none is in a Python module's name
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def canonical_path(text: str) -> str:
    """Spell a function path as `dir/module:name`.

    Raises:
        InvalidRequest: it can name no function.
    """
    module, colon, name = text.rpartition(":")
    if not colon:
        module, name = text, "default"
    module = module.removesuffix(".js")
    parts = module.split("/")
    if not _NAME.fullmatch(name) or not all(_COMPONENT.match(part) for part in parts):
        raise InvalidRequest(
            f"{text!r} is no function path. Write it as module:name, or folder/module:name for a module in a subfolder."
        )
    return f"{module}:{name}"
