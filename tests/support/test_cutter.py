"""The cutter forwards faithfully, counts, and cuts exactly as told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.cutter import Cutter

BOUND = 10.0


class Echo:
    """A server that sends back what it gets, on any number of connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        self.threads: list[threading.Thread] = []
        self.sockets: list[socket.socket] = []
        self.endings: list[str] = []
        self.ended = threading.Semaphore(0)
        self._start(self._accept)

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)  # type: ignore[arg-type]
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(sock)
            self._start(self._echo, sock)

    def _echo(self, sock: socket.socket) -> None:
        ending = "eof"
        with sock:
            try:
                while chunk := sock.recv(65536):
                    sock.sendall(chunk)
            except OSError:
                ending = "reset"
        self.endings.append(ending)
        self.ended.release()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(BOUND)
            assert not thread.is_alive()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def cutter(echo: Echo) -> Iterator[Cutter]:
    with Cutter(echo.address) as proxy:
        yield proxy


def connect(cutter: Cutter) -> socket.socket:
    return socket.create_connection(cutter.address, timeout=BOUND)


def read(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (chunk := sock.recv(65536)):
        data += chunk
    return bytes(data)


def test_bytes_pass_both_ways_unchanged_and_counted(cutter: Cutter) -> None:
    """Far more than any buffer goes through while the reader is slower than the writer."""
    payload = bytes(range(256)) * 8192
    with connect(cutter) as sock:
        writer = threading.Thread(target=sock.sendall, args=(payload,), daemon=True)
        writer.start()
        assert read(sock, len(payload)) == payload
        writer.join(BOUND)
        assert cutter.open == 1
    assert cutter.bytes_up == cutter.bytes_down == len(payload)
    assert (cutter.connections, cutter.cuts) == (1, 0)


def test_the_end_of_a_stream_passes_on_behind_its_last_byte(cutter: Cutter, echo: Echo) -> None:
    with connect(cutter) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert read(sock, 1000) == b"last words"
    assert echo.ended.acquire(timeout=BOUND)
    assert echo.endings == ["eof"]


def test_a_reset_is_a_reset(cutter: Cutter, echo: Echo) -> None:
    with connect(cutter) as sock:
        sock.sendall(b"hello")
        assert read(sock, 5) == b"hello"
        assert cutter.cut("rst") == 1
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert echo.ended.acquire(timeout=BOUND)
    assert echo.endings == ["reset"]
    assert (cutter.cuts, cutter.open) == (1, 0)


def test_a_reset_reaches_a_client_that_is_blocked_reading(cutter: Cutter) -> None:
    caught: list[BaseException] = []
    with connect(cutter) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

        def block() -> None:
            try:
                sock.recv(1)
            except OSError as error:
                caught.append(error)

        reader = threading.Thread(target=block, daemon=True)
        reader.start()
        cutter.cut("rst")
        reader.join(BOUND)
    assert [type(error) for error in caught] == [ConnectionResetError]


def test_a_fin_is_a_clean_end_even_with_bytes_on_their_way_up(cutter: Cutter) -> None:
    """What the client sends after the cut is read away, since closing over unread bytes would be a reset."""
    with connect(cutter) as sock:
        sock.sendall(b"hello")
        assert read(sock, 5) == b"hello"
        assert cutter.cut("fin") == 1
        sock.sendall(b"too late")
        assert sock.recv(1) == b""
    assert cutter.bytes_up == 5


@pytest.mark.parametrize("how", ["rst", "fin"])
@pytest.mark.parametrize("size", [1, 2, 4999, 5000])
def test_a_cut_falls_behind_the_very_byte(cutter: Cutter, size: int, how: str) -> None:
    cutter.cut_after(size, how)  # type: ignore[arg-type]
    with connect(cutter) as sock:
        sock.sendall(bytes(5000))
        assert read(sock, size) == bytes(size)
        if how == "rst":
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        else:
            assert sock.recv(1) == b""
    assert (cutter.bytes_down, cutter.cuts) == (size, 1)
    with connect(cutter) as sock:  # armed once only
        sock.sendall(b"again")
        assert read(sock, 5) == b"again"


def test_refused_connections_are_reset_until_accepted_again(cutter: Cutter) -> None:
    cutter.refuse()
    with pytest.raises(ConnectionResetError), connect(cutter) as sock:  # connecting itself may see it already
        sock.recv(1)
    cutter.refuse(False)
    with connect(cutter) as sock:
        sock.sendall(b"welcome")
        assert read(sock, 7) == b"welcome"


def test_a_new_target_gets_the_new_connections_only(cutter: Cutter) -> None:
    with connect(cutter) as old, closing(Echo()) as other:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        cutter.target = other.address
        with connect(cutter) as new:
            new.sendall(b"b")
            assert new.recv(1) == b"b"
        assert other.ended.acquire(timeout=BOUND)
        old.sendall(b"c")
        assert old.recv(1) == b"c"


def test_a_dead_target_resets(cutter: Cutter) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        gone = listener.getsockname()
    cutter.target = gone
    with pytest.raises(ConnectionResetError), connect(cutter) as sock:
        sock.recv(1)


def test_urls_are_led_through(cutter: Cutter) -> None:
    host, port = cutter.address
    assert cutter.through("http://127.0.0.1:1/mcp?x=1") == f"http://{host}:{port}/mcp?x=1"


def test_leaving_closes_everything_and_ends_the_thread(echo: Echo) -> None:
    before = threading.active_count()
    with Cutter(echo.address) as cutter, connect(cutter) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        client = sock.dup()
    with client:
        client.settimeout(BOUND)
        assert client.recv(1) == b""
    assert echo.ended.acquire(timeout=BOUND)
    assert all(thread.name != "cutter" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1
    with pytest.raises(RuntimeError):
        cutter.cut()


def test_what_passed_can_be_waited_for(cutter: Cutter) -> None:
    """As soon as it has gone to the client, though it came in pieces; what did not is not found."""
    with connect(cutter) as sock:
        sock.sendall(b"one tw")
        cutter.wait_for(b"tw")
        sock.sendall(b"o three")
        cutter.wait_for(b"two three")
        with pytest.raises(AssertionError):
            cutter.wait_for(b"four", 0.01)
