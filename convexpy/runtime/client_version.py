"""Which client is talking, from the `Convex-Client` header or the sync URL.

Source: wire-protocol 1; convex-backend crates/common/src/version.rs.
"""

from __future__ import annotations

import re

from msgspec import Struct

_SEMVER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")

# Newest versions that are too old to talk to.
_UNSUPPORTED = {"npm": (0, 19, 1), "python": (0, 0, 2), "rust": (0, 0, 1)}
# First versions that take clean JSON where no format is asked for.
_CLEAN_JSON_SINCE = {"npm": (1, 4, 1), "npm-cli": (1, 4, 1), "actions": (1, 4, 1), "python": (0, 5, 0)}
# First npm version that puts a transition together from parts; Rust and Python clients do not know them.
_CHUNKS_SINCE = (1, 28, 0)


class ClientVersionError(Exception):
    """A version that cannot be read; its text is for the client."""


class ClientVersion(Struct, frozen=True):
    """A client's name and version."""

    name: str = "unknown"
    version: tuple[int, int, int] | None = None

    @property
    def is_supported(self) -> bool:
        newest_bad = _UNSUPPORTED.get(self.name)
        return newest_bad is None or self.version is None or self.version > newest_bad

    @property
    def unsupported_text(self) -> str:
        """What to tell a client that is not supported."""
        return f"The {self.name} client is too old. Install a newer one."

    @property
    def wants_encoded_json(self) -> bool:
        """Whether an HTTP call without `format` expects convex-encoded JSON."""
        since = _CLEAN_JSON_SINCE.get(self.name)
        return since is not None and self.version is not None and self.version < since

    @property
    def takes_transition_chunks(self) -> bool:
        """Whether a long transition may be sent in parts."""
        return self.name == "npm" and self.version is not None and self.version >= _CHUNKS_SINCE


def client_version(header: str | None, path_segment: str | None = None) -> ClientVersion:
    """Read the header; without it the version in the sync URL, which only the npm client sends.

    Raises:
        ClientVersionError: what is given is no version.
    """
    if header is not None:
        # Split at the first dash after which the rest is a version: "npm-cli-1.48.0" is "npm-cli".
        for dash in re.finditer("-", header):
            if version := _version(header[dash.end() :]):
                return ClientVersion(header[: dash.start()], version)
        raise ClientVersionError(f"The Convex-Client header {header!r} is not of the form <client>-<version>.")
    if path_segment is not None:
        if version := _version(path_segment):
            return ClientVersion("npm", version)
        raise ClientVersionError(f"{path_segment!r} in the URL is no version.")
    return ClientVersion()


def _version(text: str) -> tuple[int, int, int] | None:
    if match := _SEMVER.fullmatch(text):
        return int(match[1]), int(match[2]), int(match[3])
    return None
