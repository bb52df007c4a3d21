"""Server-sent events from memory: MB/s of this package's parser and of other clients' parsers.

    python -m tests.benchmarks.bench_sse [--rounds N] [SHAPE ...]

Peers that are not installed are left out: ``pip install launchdarkly-eventsource sseclient-py httpx-sse
httpx2 requests-sse``. Each peer is fed the same chunks through the entry that its users have, launchdarkly-eventsource
also through its parser alone, as ``ld parser``. A peer that does not give the expected number of events is shown as
``wrong``. Machines are noisy: the time is CPU time, the contenders take turns, and of each the best round counts.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import process_time
from typing import Any

from streamhttp_client.sse import iter_events
from tests.benchmarks._table import print_table

MIB = 1024 * 1024
#: Takes the chunks of a stream and gives its events.
Parse = Callable[[Iterable[bytes]], Any]


# The streams. Each ends with an event, so that a peer that waits for more at the end can be left in time.

_PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}'


def _chunks(stream: bytes, size: int) -> list[bytes]:
    return [stream[i : i + size] for i in range(0, len(stream), size)]


def _small(count: int) -> list[bytes]:
    return [f"data: {_PROGRESS % i}\n\n".encode() for i in range(count)]


def _mcp(count: int) -> list[bytes]:
    """As the official Python SDK's server sends them."""
    return [f"id: {i}\r\nevent: message\r\ndata: {_PROGRESS % i}\r\n\r\n".encode() for i in range(count)]


def _sized(count: int, size: int) -> list[bytes]:
    return [b"data: " + (b'{"x": "%d"}' % i).ljust(size, b"x") + b"\n\n" for i in range(count)]


def _heartbeats(count: int) -> list[bytes]:
    """Fifty comments, as sse-starlette sends them, for each event."""
    return ([b": ping - 2025-11-25 10:00:00.000000+00:00\r\n\r\n"] * 50 + [b"data: x\r\n\r\n"]) * count


_MANY_LINES = [(b"data: a line of forty characters, or nearly\n" * 2000 + b"\n")] * 20
_TEXT = [f'data: {{"text": "Grüße — 你好, 世界 {i}"}}\n\n'.encode() for i in range(20_000)]

SHAPES: dict[str, tuple[list[bytes], int]] = {
    "small, one per chunk": (_small(20_000), 20_000),
    "MCP (id, event, data), one per chunk": (_mcp(15_000), 15_000),
    "small, 64 KiB chunks": (_chunks(b"".join(_small(30_000)), 65536), 30_000),
    "MCP, 64 KiB chunks": (_chunks(b"".join(_mcp(20_000)), 65536), 20_000),
    "not ASCII, 64 KiB chunks": (_chunks(b"".join(_TEXT), 65536), 20_000),
    "2 KB, one per chunk": (_sized(6000, 2000), 6000),
    "2 KB, 64 KiB chunks": (_chunks(b"".join(_sized(6000, 2000)), 65536), 6000),
    "1 MB, one per chunk": (_sized(40, 1_000_000), 40),
    "1 MB, 64 KiB chunks": (_chunks(b"".join(_sized(40, 1_000_000)), 65536), 40),
    "many data lines, 64 KiB chunks": (_chunks(b"".join(_MANY_LINES), 65536), 20),
    "heartbeats, one per chunk": (_heartbeats(400), 400),
    "a line of 4 MB in 1 KB drips": (_chunks(_sized(1, 4 * MIB)[0], 1000), 1),
}


# The peers.


def _ours(chunks: Iterable[bytes]) -> Any:
    return iter_events(chunks)


def _ld_parser() -> Parse:
    from ld_eventsource.reader import _BufferedLineReader, _SSEReader

    def parse(chunks: Iterable[bytes]) -> Any:
        actions = _SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments()
        return (action for action in actions if hasattr(action, "data"))

    return parse


def _ld() -> Parse:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy
    from ld_eventsource.config.connect_strategy import ConnectionClient, ConnectionResult

    class FromMemory(ConnectStrategy, ConnectionClient):  # type: ignore[misc]
        def __init__(self, chunks: Iterable[bytes]) -> None:
            self.chunks = chunks

        def create_client(self, logger: object) -> FromMemory:
            return self

        def connect(self, last_event_id: str | None) -> Any:
            return ConnectionResult(iter(self.chunks), None)

    def parse(chunks: Iterable[bytes]) -> Any:
        return SSEClient(FromMemory(chunks)).events

    return parse


def _sseclient_py() -> Parse:
    from sseclient import SSEClient

    def parse(chunks: Iterable[bytes]) -> Any:
        return SSEClient(chunks).events()

    return parse


def _httpx_sse() -> Parse:
    from httpx import Response
    from httpx_sse import EventSource

    def parse(chunks: Iterable[bytes]) -> Any:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return EventSource(Response(200, headers=headers, content=iter(chunks))).iter_sse()

    return parse


def _httpx2() -> Parse:
    from httpx2 import EventSource, Request, Response

    request = Request("GET", "http://localhost/")

    def parse(chunks: Iterable[bytes]) -> Any:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        response = Response(200, headers=headers, content=iter(chunks), request=request)
        return EventSource(response, max_event_size=64 * MIB)

    return parse


def _requests_sse() -> Parse:
    from requests import Response, Session
    from requests_sse import EventSource

    class Raw:
        def __init__(self, chunks: Iterable[bytes]) -> None:
            self.chunks = chunks

        def stream(self, amount: int, decode_content: bool) -> Iterator[bytes]:
            return iter(self.chunks)

    class FromMemory(Session):
        def __init__(self, chunks: Iterable[bytes]) -> None:
            super().__init__()
            self.chunks = chunks

        def request(self, *args: Any, **kwargs: Any) -> Response:
            response = Response()
            response.status_code = 200
            response.url = "http://localhost/"
            response.headers["Content-Type"] = "text/event-stream"
            response.raw = Raw(self.chunks)
            return response

    def parse(chunks: Iterable[bytes]) -> Any:
        source = EventSource("http://localhost/", session=FromMemory(chunks))
        source.connect()
        return source

    return parse


PEERS: dict[str, Callable[[], Parse]] = {
    "ld parser": _ld_parser,
    "ld-eventsource": _ld,
    "sseclient-py": _sseclient_py,
    "httpx-sse": _httpx_sse,
    "httpx2": _httpx2,
    "requests-sse": _requests_sse,
}


# The measurement.


def _seconds(parse: Parse, chunks: list[bytes], expected: int) -> float | None:
    """CPU seconds to take all events out, or None if they are not as many as they should be."""
    started = process_time()
    count = sum(1 for _ in islice(parse(chunks), expected))
    seconds = process_time() - started
    return seconds if count == expected else None


def _measure(parsers: dict[str, Parse], chunks: list[bytes], expected: int, rounds: int) -> list[object]:
    """Return one row: MB/s of each parser, and ours against the best peer."""
    size = sum(map(len, chunks))
    times: dict[str, list[float]] = {name: [] for name in parsers}
    wrong = {name for name, parse in parsers.items() if _seconds(parse, chunks, expected) is None}
    for _ in range(rounds):
        for name in parsers.keys() - wrong:
            seconds = _seconds(parsers[name], chunks, expected)
            assert seconds is not None
            times[name].append(seconds)
    best = {name: min(seconds) for name, seconds in times.items() if seconds}
    peer = min(best.keys() - {"ours"}, key=best.__getitem__, default=None)
    ratio = f"{best[peer] / best['ours']:.2f}x" if peer else "-"
    speeds = ["wrong" if name in wrong else size / best[name] / 1e6 for name in parsers]
    return [*speeds, ratio, peer or "-"]


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description="MB/s of parsers of server-sent events")
    options.add_argument("--rounds", type=int, default=9, help="rounds per shape (default: 9)")
    options.add_argument("shapes", nargs="*", metavar="SHAPE", help="part of a shape's name (default: all)")
    arguments = options.parse_args()
    logging.disable(logging.CRITICAL)

    parsers: dict[str, Parse] = {"ours": _ours}
    for name, load in PEERS.items():
        try:
            parsers[name] = load()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    rows = [
        [shape, *_measure(parsers, chunks, expected, arguments.rounds)]
        for shape, (chunks, expected) in SHAPES.items()
        if not arguments.shapes or any(part in shape for part in arguments.shapes)
    ]
    print_table("Server-sent events, MB/s of CPU time", ["stream", *parsers, "ours/best", "best peer"], rows)


if __name__ == "__main__":
    main()
