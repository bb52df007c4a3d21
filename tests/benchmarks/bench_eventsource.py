"""EventSource beside other clients, over loopback: ``python -m tests.benchmarks.bench_eventsource [--rounds N]``.

Each client runs in a process of its own and reads the same streams from one server process (see `event_server`), in
rounds that take turns. MB/s is the stream's bytes over the CPU time of the client's process; a ratio is the median of
the rounds' ratios to our own. The first event's latency is taken from clocks of one machine.

Peers come from this interpreter, or from the one that the environment variable ``BENCH_PEERS_PYTHON`` names. What is
not installed is left out: ``pip install launchdarkly-eventsource sseclient-py httpx-sse requests-sse``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import median
from time import monotonic_ns, perf_counter, process_time
from typing import Any

from tests.benchmarks._table import print_table
from tests.benchmarks.event_server import SHAPES

_ROOT = Path(__file__).resolve().parents[2]
_PEERS_PYTHON = os.environ.get("BENCH_PEERS_PYTHON", sys.executable)
_OURS = "streamhttp"

#: Gives the data of each event of an address, for as long as it is asked.
Read = Callable[[str], Iterator[str]]


def _streamhttp() -> Read:
    from streamhttp_client.eventsource import EventSource

    def read(url: str) -> Iterator[str]:
        with EventSource(url) as source:
            for event in source:
                yield event.data

    return read


def _streamhttp_session() -> Read:
    import requests

    from streamhttp_client.eventsource import EventSource

    def read(url: str) -> Iterator[str]:
        with requests.Session() as session, EventSource(url, http=session) as source:
            for event in source:
                yield event.data

    return read


def _launchdarkly() -> Read:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy

    logging.getLogger("ld_eventsource").setLevel(logging.CRITICAL)

    def read(url: str) -> Iterator[str]:
        client = SSEClient(ConnectStrategy.http(url))
        try:
            for event in client.events:
                yield event.data
        finally:
            client.close()

    return read


def _sseclient_py() -> Read:
    import requests
    from sseclient import SSEClient

    def read(url: str) -> Iterator[str]:
        with requests.get(url, stream=True, headers={"Accept": "text/event-stream"}) as response:
            for event in SSEClient(response).events():
                yield event.data

    return read


def _httpx_sse() -> Read:
    import httpx
    from httpx_sse import connect_sse

    def read(url: str) -> Iterator[str]:
        with httpx.Client() as client, connect_sse(client, "GET", url) as source:
            for event in source.iter_sse():
                yield event.data

    return read


def _requests_sse() -> Read:
    from requests_sse import EventSource

    def read(url: str) -> Iterator[str]:
        with EventSource(url) as source:
            for event in source:
                yield event.data or ""

    return read


_FLOOR = "iter_content, unparsed"


def _iter_content() -> Read:
    """The floor: bytes as requests hands them out, only counted, with nothing parsed."""
    import requests

    def read(url: str) -> Iterator[str]:
        with requests.get(url, stream=True) as response:
            for chunk in response.iter_content(chunk_size=None):
                yield from [""] * chunk.count(b"\n\n")

    return read


CLIENTS: dict[str, Callable[[], Read]] = {
    _OURS: _streamhttp,
    "streamhttp, http=": _streamhttp_session,
    "launchdarkly-eventsource": _launchdarkly,
    "sseclient-py": _sseclient_py,
    "httpx-sse": _httpx_sse,
    "requests-sse": _requests_sse,
    _FLOOR: _iter_content,
}


# -- the process of one client


def _child(name: str) -> None:
    """Do what standard input says: an address and a number of events; answer with figures."""
    try:
        read = CLIENTS[name]()
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        url, count = line.split()
        events = read(url)
        cpu, wall = process_time(), perf_counter()
        if int(count) == 1:
            sent = int(next(events))
            result = {"latency": (monotonic_ns() - sent) / 1e6}
        else:
            size = sum(len(data) for data in islice(events, int(count)))
            result = {"cpu": process_time() - cpu, "wall": perf_counter() - wall, "size": size}
        events.close()  # type: ignore[attr-defined]
        print(json.dumps(result), flush=True)


class _Client:
    def __init__(self, name: str, stack: ExitStack) -> None:
        ours = name.startswith(_OURS)
        environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [sys.executable if ours else _PEERS_PYTHON, "-m", "tests.benchmarks.bench_eventsource", "--child", name],
            env={**environment, "PYTHONPATH": str(_ROOT)},
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._end)
        self.missing = self._answer().get("missing")

    def run(self, url: str, count: int) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{url} {count}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


# -- the comparison


def _throughput(clients: dict[str, _Client], origin: str, rounds: int) -> None:
    for number, (shape, chunks, count) in enumerate(SHAPES):
        size = sum(map(len, chunks))
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
        for _ in range(rounds):
            for name, client in clients.items():
                figures[name].append(client.run(f"{origin}/stream/{number}", count))
        right = figures[_OURS][0]["size"]
        rows = []
        for name, results in figures.items():
            ratios = [ours["cpu"] / theirs["cpu"] for ours, theirs in zip(figures[_OURS], results, strict=True)]
            cpu, wall = (median(result[key] for result in results) for key in ("cpu", "wall"))
            verdict = "" if results[0]["size"] == right or name == _FLOOR else "wrong"
            rows.append((name, size / cpu / 1e6, size / wall / 1e6, cpu / count * 1e6, median(ratios), verdict))
        header = ("client", "MB/s of CPU", "MB/s", "us an event", "of ours", "")
        print_table(f"{shape}: {count} events, {size / 1e6:.1f} MB", header, rows)


def _latency(clients: dict[str, _Client], origin: str, rounds: int) -> None:
    rows = []
    for name, client in clients.items():
        if name == _FLOOR:  # it reads no events
            continue
        row: list[object] = [name]
        for framing in ("chunked", "close"):
            row.append(median(client.run(f"{origin}/first/{framing}", 1)["latency"] for _ in range(rounds)))
        rows.append(row)
    print_table("First event, ms after it was sent", ("client", "chunked", "close-delimited"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return _child(options.child)
    with ExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.event_server"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert server.stdin is not None and server.stdout is not None
        stack.callback(server.stdin.close)
        origin = f"http://127.0.0.1:{int(server.stdout.readline())}"
        clients = {name: _Client(name, stack) for name in CLIENTS}
        for name, client in clients.items():
            if client.missing:
                print(f"left out: {name}: {client.missing}")
        clients = {name: client for name, client in clients.items() if not client.missing}
        _throughput(clients, origin, options.rounds)
        _latency(clients, origin, min(options.rounds, 3))


if __name__ == "__main__":
    main()
