"""Whether a client has gone is found out without waiting and without taking what it sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streamhttp_client.server.disconnect import PROBE_KEY, connection_probe, peer_is_gone
from tests.server.kit import PATIENCE


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.settimeout(PATIENCE)
        yield near, far


def test_silent_peer_is_there(pair: tuple[socket.socket, socket.socket]) -> None:
    """The socket has a timeout, as those of WSGI servers do; nothing waits for it."""
    begin = time.monotonic()
    assert not peer_is_gone(pair[0])
    assert time.monotonic() - begin < PATIENCE / 2


def test_data_is_left_where_it_is(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].sendall(b"next request")
    pair[0].recv(1, socket.MSG_PEEK)
    assert not peer_is_gone(pair[0]) and not peer_is_gone(pair[0])
    assert pair[0].recv(100) == b"next request"


def test_closed_and_half_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].shutdown(socket.SHUT_WR)
    pair[0].recv(1, socket.MSG_PEEK)
    assert peer_is_gone(pair[0])


def test_reset(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    pair[1].close()
    assert peer_is_gone(pair[0])


def test_closed_here(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].close()
    assert peer_is_gone(pair[0])


@pytest.mark.parametrize(
    ("environ", "gone"),
    [
        ({PROBE_KEY: lambda: True}, True),
        ({"waitress.client_disconnected": lambda: False}, False),
        ({}, None),
        ({"gunicorn.socket": "no socket"}, None),
    ],
)
def test_what_servers_offer(environ: dict[str, Any], gone: bool | None) -> None:
    probe = connection_probe(environ)
    assert (None if probe is None else probe()) is gone


def test_socket_of_the_server(pair: tuple[socket.socket, socket.socket]) -> None:
    probe = connection_probe({"gunicorn.socket": pair[0]})
    assert probe is not None and not probe()
    pair[1].close()
    pair[0].recv(1, socket.MSG_PEEK)
    assert probe()
