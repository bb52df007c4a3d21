"""Breaks connections and kills workers while many clients stream, and checks that nothing is lost or doubled.

``python -m tests.server.chaos [--store redis|sqlite] [--clients 200] [--seconds 20]`` runs two gunicorn
servers behind nginx (round robin, no affinity) on one store, prints the figures, and ends with status 0 only
if

- every call whose handler survived gave each of its events once and in order, and its result;
- every call whose handler was killed ended with an error that says so, within its deadline.

Needs nginx, gunicorn and, for Redis, redis-server and redis.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import streamhttp_client
from tests.server.kit import Wire, events

ROOT = Path(__file__).parents[2]
# Events of one call, and seconds between them.
EVENTS = 20
PAUSE = 0.05
# Seconds within which a call must end, whatever happens; a worker counts as dead after 5.
DEADLINE = 30.0
# Chance that a client breaks its connection after an event.
CUT = 0.08

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream workers {{ server 127.0.0.1:{ports[0]} max_fails=0; server 127.0.0.1:{ports[1]} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""


class Tally:
    """What the clients found; any thread may add to it."""

    def __init__(self) -> None:
        # Guards all of it.
        self._lock = threading.Lock()
        self.counts: collections.Counter[str] = collections.Counter()
        self.problems: list[str] = []
        self.ends: list[float] = []

    def add(self, what: str, number: int = 1) -> None:
        with self._lock:
            self.counts[what] += number

    def problem(self, text: str) -> None:
        with self._lock:
            self.problems.append(text)

    def ended(self, seconds: float) -> None:
        """How long a call took whose handler had been killed."""
        with self._lock:
            self.ends.append(seconds)


class Client:
    """Calls one after the other until the time is over, and breaks its own connections at random."""

    def __init__(self, url: str, tally: Tally, seed: int) -> None:
        self.wire = Wire(url, elicitation={})
        self.tally = tally
        self.random = random.Random(seed)

    def run(self, until: float) -> None:
        try:
            self._patiently(self.wire.initialize)
            while time.monotonic() < until:
                if self.random.random() < 0.1:
                    self._call("ask", {})
                else:
                    self._call("count", {"to": EVENTS, "pause": PAUSE})
        except Exception as error:
            self.tally.problem(f"a client ended: {error!r}")

    def _patiently(self, action: Any) -> Any:
        """Repeat what fails because a worker was killed."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                return action()
            except (OSError, http.client.HTTPException, AssertionError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _call(self, tool: str, arguments: dict[str, Any]) -> None:
        began = time.monotonic()
        seen: list[int] = []
        last_id = ""
        request: int | None = None
        while True:
            if time.monotonic() - began > DEADLINE:
                self.tally.problem(f"{tool} did not end within {DEADLINE:g} s, after {seen}, id {last_id!r}")
                return
            try:
                if last_id:
                    response = self.wire.send("GET", Last_Event_Id=last_id)
                    self.tally.add("resumptions")
                else:
                    if request is not None:
                        # Nothing has come, so nobody can tell whether it runs; this tool may run twice.
                        self.tally.add("calls begun anew")
                    request = self.wire.next_id()
                    meta = {"progressToken": request}
                    params = {"name": tool, "arguments": arguments, "_meta": meta}
                    response = self.wire.post(
                        {"jsonrpc": "2.0", "id": request, "method": "tools/call", "params": params}
                    )
                if response.status != 200:
                    text = response.read()
                    response.close()
                    if response.status < 500:
                        self.tally.problem(f"{tool} got {response.status} after {seen}: {text!r}")
                        return
                    time.sleep(0.1)
                    continue
                with response:
                    for event in events(response):
                        last_id = event["id"]
                        if event["data"] and self._take(tool, json.loads(event["data"]), seen, began):
                            return
                        if self.random.random() < CUT:
                            self._cut(response)
                            break
            except (OSError, http.client.HTTPException):
                self.tally.add("connections lost to a killed worker")
                time.sleep(0.1)

    def _cut(self, response: http.client.HTTPResponse) -> None:
        """Reset the connection, so that what is under way is lost."""
        self.tally.add("cuts")
        raw: Any = response.fp.raw  # type: ignore[union-attr]
        raw._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _take(self, tool: str, message: Any, seen: list[int], began: float) -> bool:
        """Take one message; return whether the call has ended."""
        if message.get("method") == "notifications/progress":
            seen.append(message["params"]["progress"])
            self.tally.add("events")
            return False
        if message.get("method") == "elicitation/create":
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}
            with self._patiently(lambda: self.wire.post(answer)) as accepted:
                accepted.read()
            return False
        if "error" in message:
            if "died" not in message["error"]["message"]:
                self.tally.problem(f"{tool} ended with {message['error']}")
            self.tally.add("calls whose worker was killed")
            self.tally.ended(time.monotonic() - began)
            return True
        whole = list(range(1, EVENTS + 1)) if tool == "count" else []
        if seen != whole:
            self.tally.problem(f"{tool} gave {seen}")
        self.tally.add("calls that were whole")
        return True


@contextmanager
def stopping(process: subprocess.Popen[Any], how: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def run(store: str, clients: int, seconds: float, folder: Path, seed: int = 1) -> Tally:
    """Run it all, and return what was found.

    Args:
        store: ``"redis"`` or ``"sqlite"``.
        folder: For configuration, logs and the SQLite file.
    """
    tally = Tally()
    with ExitStack() as stack:
        if store == "redis":
            port = free_port()
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            stack.enter_context(stopping(subprocess.Popen([*command, "--dir", str(folder), "--loglevel", "warning"])))
            wait_for(port)
            address = f"redis://127.0.0.1:{port}/0"
        else:
            address = str(folder / "store.db")
        source = Path(streamhttp_client.__file__).parents[1]
        environment = {
            **os.environ,
            "CHAOS_STORE": address,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(source)]),
        }
        masters, ports = [], []
        for _ in range(2):
            ports.append(free_port())
            command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--workers", "1", "--threads", "400"]
            command += ["--bind", f"127.0.0.1:{ports[-1]}", "--log-level", "critical", "--no-control-socket"]
            command += ["--graceful-timeout", "5", "tests.server.chaos_app:app"]
            masters.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            stack.enter_context(stopping(masters[-1]))
        for port in ports:
            wait_for(port)
        port = free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(NGINX.format(folder=folder, ports=ports, port=port))
        nginx = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(configuration)]
        nginx += ["-e", str(folder / "error.log")]
        stack.enter_context(stopping(subprocess.Popen(nginx), signal.SIGQUIT))
        wait_for(port)
        until = time.monotonic() + seconds
        threads = []
        for number in range(clients):
            client = Client(f"http://127.0.0.1:{port}/mcp", tally, seed * 1000 + number)
            threads.append(threading.Thread(target=client.run, args=(until,)))
            threads[-1].start()
        for master in masters:
            time.sleep(seconds / 3)
            for worker in children(master.pid):
                os.kill(worker, signal.SIGKILL)
                tally.add("workers killed")
        for thread in threads:
            thread.join()
    return tally


def report(tally: Tally) -> None:
    for what, number in sorted(tally.counts.items()):
        print(f"{number:8d}  {what}")
    if tally.ends:
        print(f"{statistics.median(tally.ends):8.1f}  seconds until such a call ended (median)")
        print(f"{max(tally.ends):8.1f}  seconds (longest)")
    print(f"{len(tally.problems):8d}  problems")
    for problem in tally.problems[:20]:
        print("          ", problem)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["redis", "sqlite"], default="redis")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = run(options.store, options.clients, options.seconds, Path(folder), options.seed)
    where = f"two gunicorn servers behind nginx, store: {options.store}"
    print(f"{options.clients} clients for {options.seconds:g} s, {where}")
    report(tally)
    return 1 if tally.problems or not tally.counts["calls that were whole"] else 0


if __name__ == "__main__":
    sys.exit(main())
