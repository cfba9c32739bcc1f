"""How one deployment is to run: options of `dev` and `serve`, else `[tool.convexpy]` of the project, else defaults."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convexpy.errors import ConvexpyError
from convexpy.limits import MAP_BYTES, MAP_BYTES_MIN, WORKERS_MAX, LogLimits, override_limits

DEFAULT_PORT = 3210  # the site's is the next one
PORT_MAX = 65_535
_KNOWN = {
    "port",
    "site-port",
    "host",
    "data",
    "workers",
    "durability",
    "limits",
    "public-url",
    "public-site-url",
    "map-bytes",
}


@dataclass(frozen=True)
class DeploymentSettings:
    """What a `Deployment` needs to know.

    Args:
        is_redacted: `serve`: error texts and log lines stay in the server.
        is_relaxed: `--durability=relaxed`: power loss may cost the last commits.
        limits: overrides of `FunctionLimits`.
        log_limits: how much of the commit log is kept.
    """

    project_folder: Path
    data_folder: Path
    is_redacted: bool = False
    is_relaxed: bool = False
    workers: int | None = None
    limits: dict[str, float] = field(default_factory=dict)
    log_limits: LogLimits = field(default_factory=LogLimits)
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    site_port: int = DEFAULT_PORT + 1
    map_bytes: int = MAP_BYTES  # of a data folder that is created now
    public_url: str | None = None  # of the API port, where clients reach it by another address

    @property
    def api_origin(self) -> str:
        """What URLs of uploads and files begin with."""
        return (self.public_url or self.url_of(self.port)).rstrip("/")

    def url_of(self, port: int) -> str:
        """Where one of the ports is served; an IPv6 address stands in brackets."""
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"


def read_settings(project_folder: Path, options: dict[str, Any], *, is_redacted: bool) -> DeploymentSettings:
    """Merge options (None: not given) with the project's `[tool.convexpy]`.

    Raises:
        ConvexpyError: no such folder, or a setting that is unknown or malformed; the text names it.
    """
    if not project_folder.is_dir():
        raise ConvexpyError(f"There is no folder {project_folder}. Give the folder that holds your functions.")
    table = _project_table(project_folder / "pyproject.toml")
    if unknown := sorted(set(table) - _KNOWN):
        raise ConvexpyError(
            f"{project_folder / 'pyproject.toml'}: [tool.convexpy] has no setting {unknown[0]!r}. "
            f"Known: {', '.join(sorted(_KNOWN))}."
        )
    given = {name: value for name, value in options.items() if value is not None}
    merged = {**table, **given}
    durability = merged.get("durability", "full")
    if durability not in ("full", "relaxed"):
        raise ConvexpyError(f"durability is 'full' or 'relaxed', not {durability!r}.")
    port = _port(merged.get("port", DEFAULT_PORT), "port")
    site_port = _port(merged["site-port"], "site-port") if "site-port" in merged else _port_beside(port)
    if site_port == port:
        raise ConvexpyError(
            f"port and site-port are both {port}. API and site are served on two ports: choose another with --port or "
            f"--site-port."
        )
    limits, log_limits = _limits(merged.get("limits", {}))
    data = Path(merged["data"]) if "data" in merged else project_folder / ".convexpy"
    return DeploymentSettings(
        project_folder=project_folder.resolve(),
        data_folder=data.resolve(),
        is_redacted=is_redacted,
        is_relaxed=durability == "relaxed",
        workers=_workers(merged.get("workers")),
        limits=limits,
        log_limits=log_limits,
        host=_host(merged.get("host", "127.0.0.1")),
        port=port,
        map_bytes=_map_bytes(merged.get("map-bytes", MAP_BYTES)),
        public_url=merged.get("public-url"),
        site_port=site_port,
    )


def _project_table(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text()).get("tool", {}).get("convexpy", {})
    except tomllib.TOMLDecodeError as error:
        raise ConvexpyError(f"{file} is not valid TOML: {error}") from error
    return table


def _limits(given: Any) -> tuple[dict[str, float], LogLimits]:
    """The overrides, refused here rather than by the first process that uses them."""
    if not isinstance(given, dict):
        raise ConvexpyError(f"limits is a table of NAME = NUMBER, not {given!r}.")
    return override_limits(given)


def _map_bytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < MAP_BYTES_MIN:
        raise ConvexpyError(f"map-bytes is a whole number, at least {MAP_BYTES_MIN}, not {value!r}.")
    return value


def _workers(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= WORKERS_MAX:
        raise ConvexpyError(
            f"workers is a number of processes from 1 to {WORKERS_MAX}, not {value!r}. One for each processor is "
            f"usually best."
        )
    return value


def _host(value: Any) -> str:
    # The empty host means every interface to the system: nobody should open a server to the network by accident.
    if not isinstance(value, str) or not value.strip():
        raise ConvexpyError(
            f"host is the address to listen on, not {value!r}. Write 127.0.0.1 for this machine alone, or 0.0.0.0 for "
            f"every interface."
        )
    return value


def _port_beside(port: int) -> int:
    if port == PORT_MAX:
        raise ConvexpyError(f"The site is served on the port after {port}, and there is none. Choose it: --site-port.")
    return port + 1


def _port(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= PORT_MAX:
        raise ConvexpyError(f"{name} is a number from 1 to {PORT_MAX}, not {value!r}.")
    return value
