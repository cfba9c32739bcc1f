"""Where a deployment listens and with how many processes: what cannot work is refused before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from convexpy.errors import ConvexpyError
from convexpy.limits import READERS_MAX, WORKERS_MAX
from convexpy.serving.settings import read_settings
from convexpy.serving.sockets import bind, listen


def refusal(folder: Path, options: dict[str, Any]) -> str:
    """Why these options are refused."""
    with pytest.raises(ConvexpyError) as refused:
        read_settings(folder, options, is_redacted=False)
    return str(refused.value)


@pytest.mark.parametrize("options", [{"port": 4000, "site-port": 4000}, {"site-port": 3210}])
def test_two_sites_on_one_port_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    """Also where one of them is the default."""
    text = refusal(tmp_path, options)

    assert f"port and site-port are both {options['site-port']}." in text
    assert "choose another with --port or --site-port" in text


def test_the_site_is_on_the_next_port_unless_another_is_given(tmp_path: Path) -> None:
    for options, ports in (({}, (3210, 3211)), ({"port": 4000}, (4000, 4001)), ({"site-port": 80}, (3210, 80))):
        settings = read_settings(tmp_path, options, is_redacted=False)

        assert (settings.port, settings.site_port) == ports


def test_the_last_port_has_no_next_one(tmp_path: Path) -> None:
    assert "the port after 65535, and there is none. Choose it: --site-port." in refusal(tmp_path, {"port": 65535})
    assert read_settings(tmp_path, {"port": 65535, "site-port": 1}, is_redacted=False).site_port == 1


def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    for host, url in (("::1", "http://[::1]:3210"), ("127.0.0.2", "http://127.0.0.2:3210")):
        assert read_settings(tmp_path, {"host": host}, is_redacted=False).api_origin == url


@pytest.mark.parametrize("host", ["", " ", 5])
def test_an_empty_host_opens_nothing_to_the_network(tmp_path: Path, host: Any) -> None:
    """To the system it would be every interface."""
    text = refusal(tmp_path, {"host": host})

    assert text.startswith(f"host is the address to listen on, not {host!r}.")
    assert "0.0.0.0 for every interface" in text


@pytest.mark.parametrize("workers", [0, -1, WORKERS_MAX + 1, 100_000_000, 2.5, True, "many"])
def test_workers_are_bounded(tmp_path: Path, workers: Any) -> None:
    assert f"workers is a number of processes from 1 to {WORKERS_MAX}, not {workers!r}." in refusal(
        tmp_path, {"workers": workers}
    )


def test_the_most_workers_are_taken(tmp_path: Path) -> None:
    """Those of two generations find room in the table of readers."""
    assert read_settings(tmp_path, {"workers": WORKERS_MAX}, is_redacted=False).workers == WORKERS_MAX
    assert read_settings(tmp_path, {}, is_redacted=False).workers is None
    assert 2 * WORKERS_MAX < READERS_MAX


def test_of_two_servers_that_start_at_once_the_later_says_that_the_port_is_taken() -> None:
    """Both may take it as long as none of them listens."""
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1", port) as second:
            listen(first)
            with pytest.raises(ConvexpyError) as refused:
                listen(second)

    assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use." in str(refused.value)


@pytest.mark.parametrize("host", ["no such host", "ü" * 100, "\0"])
def test_a_host_that_cannot_be_is_refused(host: str) -> None:
    with pytest.raises(ConvexpyError, match=f"Port 4000 on {host} cannot be used: "):
        bind(host, 4000)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConvexpyError, match=f"Port {port} on 127.0.0.1 cannot be used: Address already in use"):
            bind("127.0.0.1", port)
