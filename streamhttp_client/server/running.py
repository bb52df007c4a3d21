"""A server that runs in this process, on threads of its own.

On cheroot: of the maintained HTTP/1.1 WSGI servers it is the one that keeps connections alive, sends each
chunk at once, takes an answer's iterable at the pace of its client, and can be started and stopped inside a
process.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..exceptions import LocalProtocolError, MissingExtra
from .stores.base import StoreUnavailable
from .workers import Workers
from .wsgi import WSGIApp

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RunningServer"]

_log = logging.getLogger("streamhttp_client.server")

# Seconds that a connection may be idle between two requests.
_IDLE_TIMEOUT = 60
# Seconds for which a thread stays with a connection after an answer.
_STAY = 0.05
# Bytes of all header fields of a request; 64 KiB is what most servers take at most.
_MAX_HEADERS = 1 << 16


class RunningServer:
    """Made by :meth:`Server.serve`. A context manager; ``stop()`` may be called twice, from any thread.

    Attributes:
        host, port: Where it can be reached from this machine.
        url: The endpoint's address.
        app: The WSGI application that runs.
    """

    def __init__(self, app: WSGIApp, host: str, port: int, path: str | None, max_connections: int) -> None:
        self.app = app
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise LocalProtocolError(f"port must be an integer from 0 to 65535, got {port!r:.60}")
        try:
            # So that a store that is not there is found out now, and not by the first client.
            app.store.get_session("")
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{error}: {error.__cause__}") from error.__cause__
        self._server = _make_server(app, host, port, max_connections)
        self._server.prepare()
        # What listens on all interfaces is called on this one.
        self.host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
        self.port = int(self._server.bind_addr[1])
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{shown}:{self.port}/{(path or '').strip('/')}"
        # Guards the stop, which must happen once.
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._server.serve, name="streamhttp-server", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0, *, grace: float = 0.0) -> None:
        """Stop listening, end all streams, and join all threads.

        Args:
            timeout: Seconds that running handlers may take; they see ``Context.cancelled``.
            grace: Seconds of these in which they do not see it yet, as for :meth:`WSGIApp.close`.
        """
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            try:
                self.app.close(timeout, grace=grace)
            finally:
                self._stop_listening(timeout)

    def _stop_listening(self, timeout: float) -> None:
        self._server.shutdown_timeout = timeout
        stopper = threading.Thread(target=self._server.stop, name="streamhttp-stop", daemon=True)
        stopper.start()
        while stopper.is_alive() and self._thread.is_alive():
            # The accepting thread looks up twice a second, or when somebody connects; so somebody does.
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=0.1).close()
            self._thread.join(0.01)
        stopper.join()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Pool:
    """What cheroot wants of its thread pool, on our workers.

    cheroot's own pool has a fixed number of threads. An open stream keeps its thread, so a few of them would
    stop the server; and it grows only in steps that can take 0.1 s each, on the thread that accepts
    connections.
    """

    min = 1

    def __init__(self, server: Any, max_connections: int) -> None:
        self._server = server
        self._workers = Workers("connection", max_connections, max_waiting=max_connections)
        # Guards the set of connections that a thread serves; held for set operations only.
        self._lock = threading.Lock()
        self._serving: set[Any] = set()

    idle = property(lambda self: 0)
    qsize = property(lambda self: 0)

    def start(self) -> None:
        """Threads start at the first need."""

    def put(self, connection: Any) -> None:
        """Take a connection from which a request can be read."""
        with self._lock:
            self._serving.add(connection)
        if not self._workers.submit(lambda: self._serve(connection)):
            self._forget(connection)
            raise queue.Full  # cheroot answers with 503 then

    def _serve(self, connection: Any) -> None:
        keep = False
        try:
            # Most clients that call again do so soon, and coming back here through the thread that watches all
            # connections costs as much as a whole request. Not if threads are getting few.
            while (keep := connection.communicate()) and self._workers.has_spare and connection.rfile.wait(_STAY):
                pass
        except OSError:
            _log.debug("a connection broke", exc_info=True)
        finally:
            self._forget(connection)
            if keep:
                with contextlib.suppress(ValueError, KeyError, OSError):
                    # Fails if the server has just stopped, and closed what watches the connections.
                    self._server.put_conn(connection)
                    connection = None
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.close()

    def _forget(self, connection: Any) -> None:
        with self._lock:
            self._serving.discard(connection)

    def stop(self, timeout: float) -> None:
        """End all threads: first those that wait for a request, then, after ``timeout`` seconds, those that
        write.
        """
        self._shut(socket.SHUT_RD)
        if not self._workers.close(timeout):
            self._shut(socket.SHUT_RDWR)
            self._workers.close(1.0)

    def _shut(self, how: int) -> None:
        with self._lock:
            found = list(self._serving)
        for connection in found:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(how)


def _make_server(app: WSGIApp, host: str, port: int, max_connections: int) -> Any:
    """Build the cheroot server; imported here and not at the top, so that cheroot is needed only by who runs
    it.
    """
    try:
        from cheroot import wsgi

        from .connection import Connection, Gateway
    except ImportError as error:
        raise MissingExtra("Server.serve()", "server") from error
    server: Any = wsgi.Server(
        (host, port), app, server_name="streamhttp", timeout=_IDLE_TIMEOUT, request_queue_size=128
    )
    server.ConnectionClass = Connection
    server.gateway = Gateway
    server.requests = _Pool(server, max_connections)
    server.keep_alive_conn_limit = max_connections
    server.max_request_header_size = _MAX_HEADERS
    server.error_log = _quiet_log
    return server


def _quiet_log(message: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
    _log.log(level, "%s", message, exc_info=traceback)
