"""A TCP relay whose connections can be broken at any moment."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

from streamhttp_client.server import RunningServer


class Cutter:
    """Relays to a server. ``cut()`` resets all connections at once; later ones work."""

    running: RunningServer

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Guards the sets below.
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        # What went to clients since the last cut; guarded by its own condition.
        self._passed = bytearray()
        self._more = threading.Condition()
        self.cuts = 0
        self._closed = False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{path}"

    def __enter__(self) -> Cutter:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        # Wakes accept(), which closing alone does not everywhere.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()).close()
        self.cut()
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def wait_for(self, text: bytes, timeout: float = 10.0) -> None:
        """Wait until something has gone to a client."""
        with self._more:
            assert self._more.wait_for(lambda: text in self._passed, timeout)

    def cut(self) -> None:
        """Break all connections: the peers get a reset, and what was under way is lost."""
        with self._lock:
            found, self._open = self._open, set()
        self.cuts += len(found) // 2
        with self._more:
            self._passed.clear()
        for end in found:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed meanwhile
            if self._closed:
                near.close()
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()  # the server has ended; a client that still tries finds it out
                continue
            with self._lock:
                self._open |= {near, far}
            self._start(self._relay, near, far, False)
            self._start(self._relay, far, near, True)

    def _relay(self, source: socket.socket, target: socket.socket, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if watched:
                    with self._more:
                        self._passed += data
                        self._more.notify_all()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        with self._lock:
            done = source in self._open
            self._open.discard(source)
        if done:
            source.close()
