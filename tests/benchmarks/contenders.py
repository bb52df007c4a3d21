"""Ways to call one tool, each in a process of its own: ``python -m tests.benchmarks.contenders NAME URL``.

The process connects, makes sure that the answer is right, and then obeys lines on standard input: ``run N``
makes N calls, ``threads T N`` makes N calls from each of T threads on the one client, ``first URL`` opens a
stream and says how many milliseconds after sending its first event was seen. It answers each line with one
line of JSON. `SKIPPED` on start means that a package is missing; the rest of the line says which.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

EXPECTED = "The quick brown fox jumps over the lazy dog."
SKIPPED = "skipped"
_WARM_UP = 30
_SENT_AT = re.compile(rb"sent at (\d+)")

_ARGUMENTS = {"rows": 10_000, "name": "fox"}
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-11-25",
    "MCP-Session-Id": "0123456789abcdef",
}

Call = Callable[[], str]


def _request(id: int) -> bytes:
    """What any client must at least do for a call: number it and write it as JSON."""
    params = {"name": "echo", "arguments": _ARGUMENTS}
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()


def _text(id: int, content_type: str | None, body: bytes) -> str:
    """What any client must at least do with an answer: tell JSON from SSE, read it, and see whose it is."""
    if content_type is not None and content_type.startswith("text/event-stream"):
        for line in body.split(b"\n"):
            if line.startswith(b"data:"):
                body = line[5:]
    message = json.loads(body)
    assert message["id"] == id
    text: str = message["result"]["content"][0]["text"]
    return text


# -- contenders that block: each gives a function that makes one call


@contextmanager
def _http_client(url: str) -> Iterator[Call]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    ids = itertools.count(1)

    def call() -> str:
        id = next(ids)
        connection.request("POST", parts.path, _request(id), _HEADERS)
        response = connection.getresponse()
        return _text(id, response.getheader("Content-Type"), response.read())

    yield call
    connection.close()


@contextmanager
def _urllib3(url: str) -> Iterator[Call]:
    import urllib3

    ids = itertools.count(1)
    with urllib3.PoolManager(maxsize=16) as pool:

        def call() -> str:
            id = next(ids)
            response = pool.request("POST", url, body=_request(id), headers=_HEADERS)
            return _text(id, response.headers.get("Content-Type"), response.data)

        yield call


@contextmanager
def _requests(url: str) -> Iterator[Call]:
    import requests
    import requests.adapters

    ids = itertools.count(1)
    with requests.Session() as session:
        # Otherwise 16 threads would open new connections all the time.
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))

        def call() -> str:
            id = next(ids)
            response = session.post(url, data=_request(id), headers=_HEADERS)
            return _text(id, response.headers.get("Content-Type"), response.content)

        yield call


@contextmanager
def _ours(url: str) -> Iterator[Call]:
    from streamhttp_client import Client

    with Client(url) as client:
        yield lambda: client.call_tool("echo", _ARGUMENTS).text


@contextmanager
def _ours_stateless(url: str) -> Iterator[Call]:
    """The same without a session: each request says all."""
    from streamhttp_client import Client

    with Client(url, protocol="2026-07-28") as client:
        yield lambda: client.call_tool("echo", _ARGUMENTS).text


@contextmanager
def _mcp_sync(url: str) -> Iterator[Call]:
    """The official SDK from blocking code: its event loop on a thread of its own, as anyio documents it."""
    import anyio.from_thread  # type: ignore[import-not-found, unused-ignore]
    import mcp  # type: ignore[import-not-found, unused-ignore]

    with anyio.from_thread.start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(mcp.Client(url, mode="legacy")) as client:

            def call() -> str:
                result = portal.call(client.call_tool, "echo", _ARGUMENTS)
                text: str = result.content[0].text
                return text

            yield call


# -- contenders that are asynchronous: a whole number of calls runs inside their loop


async def _mcp_async(url: str, obey: Callable[[Callable[[], Awaitable[str]]], Awaitable[None]]) -> None:
    import mcp  # type: ignore[import-not-found, unused-ignore]

    async with mcp.Client(url, mode="legacy") as client:

        async def call() -> str:
            result = await client.call_tool("echo", _ARGUMENTS)
            text: str = result.content[0].text
            return text

        await obey(call)


# -- first events: each opens one stream and gives the bytes or text of the first event


def _first_ours(url: str) -> Iterator[bytes]:
    from streamhttp_client import EventSource

    with EventSource(url) as source:
        for event in source:
            yield event.data.encode()
            return


def _first_ours_call(url: str) -> Iterator[bytes]:
    from streamhttp_client import Client

    with Client(url) as client:
        with client.stream_tool("echo", _ARGUMENTS) as call:
            for event in call:
                yield repr(event).encode()
                break
            call.result  # noqa: B018  the call is finished, not cancelled: that would be another benchmark


def _first_requests(url: str) -> Iterator[bytes]:
    import requests

    with requests.get(url, stream=True) as response:
        for line in response.iter_lines():
            if line:
                yield line
                return


def _first_sseclient(url: str) -> Iterator[bytes]:
    import requests
    import sseclient  # type: ignore[import-not-found, unused-ignore]

    with requests.get(url, stream=True) as response:
        for event in sseclient.SSEClient(response).events():
            yield event.data.encode()
            return


BLOCKING: dict[str, Callable[[str], Any]] = {
    "http.client": _http_client,
    "urllib3": _urllib3,
    "requests.Session.post": _requests,
    "mcp, from sync code": _mcp_sync,
    "ours": _ours,
    "ours, 2026-07-28": _ours_stateless,
}
ASYNC = {"mcp, async": _mcp_async}
FIRST_EVENT: dict[str, Callable[[str], Iterator[bytes]]] = {
    "requests.iter_lines": _first_requests,
    "sseclient-py": _first_sseclient,
    "ours, EventSource": _first_ours,
    "ours, stream_tool": _first_ours_call,
}


def _reply(value: object) -> None:
    print(json.dumps(value), flush=True)


class _Stopwatch:
    """CPU seconds of all threads of this process, and wall seconds, since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def reading(self) -> dict[str, float]:
        return {"cpu": time.process_time() - self._cpu, "wall": time.perf_counter() - self._wall}


def _in_threads(call: Call, threads: int, calls: int) -> dict[str, float]:
    failures: list[BaseException] = []
    ready = threading.Barrier(threads + 1)

    def work() -> None:
        try:
            call()  # opens this thread's connection
            ready.wait()
            for _ in range(calls):
                assert call() == EXPECTED
        except BaseException as error:
            failures.append(error)
            ready.abort()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    watch = _Stopwatch()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return watch.reading()


def _obey_blocking(call: Call) -> None:
    for _ in range(_WARM_UP):
        assert call() == EXPECTED
    _reply("ready")
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "run":
            watch = _Stopwatch()
            for _ in range(int(numbers[0])):
                call()
            _reply(watch.reading())
        elif command == "threads":
            _reply(_in_threads(call, int(numbers[0]), int(numbers[1])))


async def _obey_async(call: Callable[[], Awaitable[str]]) -> None:
    for _ in range(_WARM_UP):
        assert await call() == EXPECTED
    _reply("ready")
    # Between two rounds the loop stands still, as a blocked reader costs nothing and disturbs nobody.
    for line in sys.stdin:
        watch = _Stopwatch()
        for _ in range(int(line.split()[1])):
            await call()
        _reply(watch.reading())


def _obey_first(opened: Callable[[str], Iterator[bytes]]) -> None:
    """Answer ``first URL`` with milliseconds from the sending of the first event to its arrival here."""
    _reply("ready")
    for line in sys.stdin:
        url = line.split()[1]
        stream = opened(url)
        data = next(stream)
        seen = time.monotonic_ns()
        found = _SENT_AT.search(data)
        assert found is not None, data
        for _ in stream:
            pass
        _reply((seen - int(found[1])) / 1e6)


def main(name: str, url: str) -> None:
    with ExitStack() as stack:
        try:
            if name in ASYNC:
                asyncio.run(ASYNC[name](url, _obey_async))
            elif name in BLOCKING:
                _obey_blocking(stack.enter_context(BLOCKING[name](url)))
            else:
                _probe_first(name)
                _obey_first(FIRST_EVENT[name])
        except ImportError as error:
            _reply(f"{SKIPPED}: {error}")


def _probe_first(name: str) -> None:
    """Raise ImportError now rather than in the middle of a measurement."""
    if name == "ours, EventSource":
        from streamhttp_client import EventSource  # noqa: F401
    elif name == "ours, stream_tool":
        from streamhttp_client import Client  # noqa: F401
    else:
        import requests  # noqa: F401
    if name.startswith("sseclient"):
        import sseclient  # noqa: F401


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
