"""Whether the client of a WSGI request is still there.

WSGI itself cannot tell before the next write fails, and the first write into a dead connection does not fail.
The servers offer what they can under names of their own.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["PROBE_KEY", "connection_probe", "is_ready", "peer_is_gone"]

PROBE_KEY = "streamhttp_client.client_disconnected"


def connection_probe(environ: Mapping[str, Any]) -> Callable[[], bool] | None:
    """Return a function that says whether the client has gone, or None if this WSGI server offers nothing."""
    for key in (PROBE_KEY, "waitress.client_disconnected"):
        if callable(probe := environ.get(key)):
            return lambda: bool(probe())
    for key in ("gunicorn.socket", "werkzeug.socket"):
        connection = environ.get(key)
        if isinstance(connection, socket.socket):
            return lambda: peer_is_gone(connection)
    return None


def is_ready(connection: socket.socket, timeout: float, *, writing: bool = False) -> bool:
    """Wait until a socket can be read or written, or has failed; False after ``timeout`` seconds.

    Raises:
        ValueError: The socket is closed, here.
    """
    # poll, where there is one, since select takes no file descriptor above 1023.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLOUT if writing else select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    wanted = [connection]
    return any(select.select([] if writing else wanted, wanted if writing else [], [], timeout))


def peer_is_gone(connection: socket.socket) -> bool:
    """Whether the peer has closed or reset the connection; data that waits to be read is left there.

    A client that only closed its sending half counts as gone: nothing that speaks HTTP does that while it
    waits for an answer, and it cannot be told from one that closed both.
    """
    try:
        # First a look whether there is anything to read: on a socket with a timeout recv() itself waits for
        # it, whatever its flags say.
        if not is_ready(connection, 0):
            return False
        return connection.recv(1, socket.MSG_PEEK) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except ValueError:
        # A socket of ssl cannot peek; then the next write must find out. Or it is closed, here.
        return connection.fileno() < 0
    except OSError:
        return True
