"""Measures the server beside one made with the official ``mcp`` 2.x under uvicorn.

``python -m tests.benchmarks.bench_server [seconds]``; the official one needs ``.ci/peers``. Each server is a
process of its own, asked over kept-alive connections by a client that is only sockets and ready-made bytes.
Rounds alternate, and what counts is the processor time of the server per call, and ratios of one run.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks._table import print_table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = Path(os.environ.get("STREAMHTTP_PEERS") or ROOT / ".ci" / "cache" / "peers")
CONNECTIONS = 4
ROUNDS = 4
# Number of progress events whose delay is measured.
STAMPS = 100


class Contender:
    """A running server, and what it spent."""

    def __init__(self, name: str, command: list[str], mode: str, port: int | None = None, **options: object) -> None:
        self.name = name
        self.mode = mode
        self.rates: list[float] = []
        self.costs: list[float] = []
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE, **options
        )  # type: ignore[call-overload]
        assert self.process.stdout is not None
        self.port = port or int(self.process.stdout.readline())

    def cpu(self) -> float:
        """Seconds of processor time of the process and its children."""
        ticks = 0
        for number in [self.process.pid, *_children(self.process.pid)]:
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


class Line:
    """One kept-alive connection with a session."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2025-11-25\r\n"
        )
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "b", "version": "1"}}
        answer = self.ask(self.request({"id": 0, "method": "initialize", "params": client}))
        for line in answer.split(b"\r\n\r\n")[0].decode().splitlines():
            if line.lower().startswith("mcp-session-id:"):
                self._head += f"Mcp-Session-Id: {line.partition(':')[2].strip()}\r\n"
        self.ask(self.request({"method": "notifications/initialized"}))

    def request(self, message: dict[str, object]) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def call(self, tool: str, number: int, **arguments: object) -> bytes:
        meta = {"progressToken": number}
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        return self.request({"id": number, "method": "tools/call", "params": params})

    def ask(self, request: bytes) -> bytes:
        """Send, and return the whole answer as it came."""
        self.socket.sendall(request)
        answer = b""
        while True:
            answer += self.socket.recv(65536)
            head, found, body = answer.partition(b"\r\n\r\n")
            if found:
                lower = head.lower()
                if b"transfer-encoding: chunked" in lower:
                    if body.endswith(b"0\r\n\r\n"):
                        return answer
                else:
                    place = lower.find(b"content-length:")
                    length = int(lower[place + 15 :].split(b"\r\n")[0]) if place >= 0 else 0
                    if len(body) >= length:
                        return answer


def measure(contender: Contender, seconds: float) -> None:
    """One round: several connections call one after the other, all at the same time."""
    counts = [0] * CONNECTIONS
    begin = threading.Barrier(CONNECTIONS + 1)
    stop = threading.Event()

    def work(index: int) -> None:
        line = Line(contender.port)
        answer = line.ask(line.call("add", 1, a=2, b=3))
        kind = b"application/json" if contender.mode == "json" else b"text/event-stream"
        assert b'"5"' in answer and kind in answer, answer
        number = 1
        begin.wait()
        while not stop.is_set():
            number += 1
            line.ask(line.call("add", number, a=2, b=3))
            counts[index] += 1
        line.socket.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    begin.wait()
    spent, began = contender.cpu(), time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    calls, elapsed = sum(counts), time.perf_counter() - began
    contender.rates.append(calls / elapsed)
    contender.costs.append((contender.cpu() - spent) / calls * 1e6)


def delays(contender: Contender) -> list[float]:
    """Milliseconds from ``progress`` in the handler to the client's socket."""
    line = Line(contender.port)
    line.socket.sendall(line.call("stamps", 7, count=STAMPS))
    found: list[float] = []
    buffer = b""
    while not buffer.endswith(b"0\r\n\r\n"):
        data = line.socket.recv(65536)
        now = time.monotonic_ns()
        buffer += data
        for part in data.split(b'"message":"')[1:]:
            found.append((now - int(part.partition(b'"')[0])) / 1e6)
    line.socket.close()
    assert len(found) == STAMPS
    return found


def under_gunicorn(name: str, mode: str, app: str) -> Contender:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        bind = f"fd://{listener.fileno()}"
        command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "16", "-b", bind]
        command += ["--log-level", "error", "--no-control-socket", f"server_contender:app_{app}"]
        return Contender(name, command, mode, port, pass_fds=[listener.fileno()])


def contenders(mode: str) -> list[Contender]:
    script = str(HERE / "server_contender.py")
    found = [Contender("ours, serve()", [sys.executable, script, "ours", mode], mode)]
    found.append(under_gunicorn("ours, gunicorn", mode, mode))
    if mode == "json":
        # What is left for any application under gunicorn.
        found.append(under_gunicorn("nothing, gunicorn", mode, "nothing"))
    python = PEERS / "mcp2" / "bin" / "python"
    if python.exists():
        found.append(Contender("mcp 2.x, uvicorn", [str(python), script, "official", mode], mode))
    return found


def main(seconds: float) -> None:
    rows: list[list[object]] = []
    waits: list[list[object]] = []
    median: Callable[[list[float]], float] = statistics.median
    for mode in ("json", "sse"):
        running = contenders(mode)
        try:
            for _ in range(ROUNDS):
                for contender in running:
                    measure(contender, seconds)
            slowest = running[-1]
            for contender in running:
                ratio = median([theirs / own for theirs, own in zip(slowest.costs, contender.costs, strict=True)])
                rate = median(contender.rates)
                rows.append([f"{contender.name}, {mode}", rate, median(contender.costs), f"{ratio:.2f}x"])
                if mode == "sse":
                    found = sorted(delays(contender))
                    waits.append([contender.name, found[0], median(found), found[int(STAMPS * 0.95)]])
        finally:
            for contender in running:
                contender.stop()
    title = f"Tool calls on {CONNECTIONS} connections ({ROUNDS} rounds of {seconds:g} s)"
    print_table(title, ["server", "calls/s", "CPU us/call", "calls per core"], rows)
    print_table(
        f"From progress() to the client ({STAMPS} events)", ["server", "least ms", "median ms", "95 % ms"], waits
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
