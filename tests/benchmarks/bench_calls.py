"""What a call costs: ``python -m tests.benchmarks.bench_calls [--quick] [--only SECTION]``.

Contenders run side by side against one canned server (see `canned_server`), each in a process of its own, in
rounds that take turns, so that what else happens on the machine meets them all. A figure is the median over
the rounds; a ratio is the median of the ratios within a round. CPU is user + system time of the client's
process alone.

Peers come from this interpreter, or from the one that the environment variable ``BENCH_PEERS_PYTHON`` names.
What is not installed is skipped: ``pip install sseclient-py 'mcp>=2' fastmcp``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks._table import print_table
from tests.benchmarks.contenders import FIRST_EVENT, SKIPPED

_ROOT = Path(__file__).resolve().parents[2]
_PEERS_PYTHON = os.environ.get("BENCH_PEERS_PYTHON", sys.executable)
_THREADS = 16


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds, and work per round."""

    processes: int
    rounds: int
    calls: int
    first_events: int


_FULL = Effort(processes=11, rounds=25, calls=100, first_events=9)
_QUICK = Effort(processes=3, rounds=7, calls=50, first_events=3)


def _environment() -> dict[str, str]:
    # Proxies would send loopback requests elsewhere. What is installed comes compiled, and so must the checkout.
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPATH": str(_ROOT)}


def _python_for(name: str) -> str:
    return _PEERS_PYTHON if name.startswith(("mcp", "fastmcp", "sseclient")) else sys.executable


# -- whole processes


@dataclass(frozen=True)
class Run:
    """One process from start to end: seconds of wall clock and of CPU."""

    wall: float
    cpu: float


def _run(name: str, code: str) -> Run | str:
    """Run ``code`` in a new interpreter. A text is why it could not run."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [_python_for(name), "-c", code],
        env=_environment(),
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr:
        complaint = process.stderr.read().decode().strip()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        return complaint.splitlines()[-1] if complaint else f"exit status {process.returncode}"
    return Run(wall, usage.ru_utime + usage.ru_stime)


def _peak_mib(name: str, code: str) -> float:
    """The largest resident size that a process which runs ``code`` had, in MiB.

    Asked of the process itself, as what its parent could learn includes the parent's own size at the fork.
    """
    ask = (
        "import os, re, resource, sys\n"
        "if os.path.exists('/proc/self/status'):\n"
        "    kib = int(re.search('VmHWM:\\\\s*(\\\\d+)', open('/proc/self/status').read())[1])\n"
        "else:\n"
        "    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    kib /= 1024 if sys.platform == 'darwin' else 1\n"
        "print(kib / 1024)\n"
    )
    command = [_python_for(name), "-c", f"{code}\n{ask}"]
    return float(subprocess.check_output(command, env=_environment(), cwd=_ROOT).split()[-1])


def _compare_processes(title: str, scripts: Mapping[str, str], base: str, effort: Effort) -> None:
    """Run each script as a whole process, in turns; the table has ratios to the script named ``base``."""
    runs: dict[str, list[Run]] = {}
    for name, code in scripts.items():
        first = _run(name, code)  # also writes the bytecode caches
        if isinstance(first, str):
            print(f"{SKIPPED}: {name}: {first}")
        else:
            runs[name] = []
    for _ in range(effort.processes):
        for name in runs:
            run = _run(name, scripts[name])
            assert isinstance(run, Run), run
            runs[name].append(run)
    rows: list[list[object]] = []
    for name, these in runs.items():
        pairs = list(zip(these, runs[base], strict=True))
        row: list[object] = [
            name,
            median(run.wall for run in these) * 1e3,
            median(run.cpu for run in these) * 1e3,
            median(run.wall / other.wall for run, other in pairs),
            median(run.cpu / other.cpu for run, other in pairs),
            (median(run.cpu - other.cpu for run, other in pairs)) * 1e3,
        ]
        rows.append([*row, _peak_mib(name, scripts[name])])
    header = ["", "wall ms", "CPU ms", f"wall/{base}", f"CPU/{base}", f"CPU ms over {base}", "peak MiB"]
    print_table(title, header, rows)


def bench_import(server: str, effort: Effort) -> None:
    """How long a program waits for the import, and what it weighs."""
    scripts = {
        "nothing": "pass",
        "requests": "import requests",
        "ours": "import streamhttp_client",
        "ours, Client": "from streamhttp_client import Client",
        "mcp": "import mcp",
        "mcp Client": "from mcp import Client",
        "fastmcp Client": "from fastmcp import Client",
    }
    _compare_processes("Import, whole processes", scripts, "requests", effort)


def bench_script(server: str, effort: Effort) -> None:
    """The shortest program: start, connect, one call, close, exit; against one POST with requests."""
    url = f"{server}/json"
    arguments = "{'rows': 10000}"
    body = f"{{'jsonrpc': '2.0', 'id': 1, 'method': 'tools/call', 'params': {{'arguments': {arguments}}}}}"
    scripts = {
        "requests, one POST": f"import requests\nrequests.post({url!r}, json={body}).json()['result']",
        "ours": (
            "from streamhttp_client import Client\n"
            f"with Client({url!r}) as client:\n"
            f"    client.call_tool('echo', {arguments}).text"
        ),
        "mcp": (
            "import asyncio, mcp\n"
            "async def main():\n"
            f"    async with mcp.Client({url!r}) as client:\n"
            f"        await client.call_tool('echo', {arguments})\n"
            "asyncio.run(main())"
        ),
        "fastmcp": (
            "import asyncio, fastmcp\n"
            "async def main():\n"
            f"    async with fastmcp.Client({url!r}) as client:\n"
            f"        await client.call_tool('echo', {arguments})\n"
            "asyncio.run(main())"
        ),
    }
    _compare_processes("One-shot script, whole processes", scripts, "requests, one POST", effort)


# -- calls


class Worker:
    """A contender in its process, obeying one line at a time."""

    def __init__(self, name: str, url: str) -> None:
        self._process = subprocess.Popen(
            [_python_for(name), "-m", "tests.benchmarks.contenders", name, url],
            env=_environment(),
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.greeting: Any = self._answer()

    def order(self, command: str) -> Any:
        """Have the contender do something; gives its figures."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return f"{SKIPPED}: it failed, see above"
        return json.loads(line)

    def close(self) -> None:
        """Let the contender end by itself, which it does when its input ends."""
        self._process.communicate()


@contextmanager
def _workers(names: Sequence[str], url: str) -> Iterator[dict[str, Worker]]:
    """Start the contenders that are installed, and say which are not."""
    with ExitStack() as stack:
        workers = {}
        for name in names:
            worker = Worker(name, url)
            stack.callback(worker.close)
            if worker.greeting == "ready":
                workers[name] = worker
            else:
                print(f"{name}: {worker.greeting}")
        yield workers


_STATELESS = "ours, 2026-07-28"
_CALLERS = ["http.client", "urllib3", "requests.Session.post", "ours", _STATELESS, "mcp, async", "mcp, from sync code"]


def _bench_calls(title: str, url: str, effort: Effort) -> None:
    with _workers(_CALLERS, url) as workers:
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(effort.rounds):
            rounds.append({name: worker.order(f"run {effort.calls}") for name, worker in workers.items()})
        rows = []
        for name in workers:
            rows.append(
                [
                    name,
                    median(each[name]["cpu"] for each in rounds) / effort.calls * 1e6,
                    min(each[name]["cpu"] for each in rounds) / effort.calls * 1e6,
                    median(each[name]["cpu"] / each["http.client"]["cpu"] for each in rounds),
                    median(each[name]["cpu"] / each["requests.Session.post"]["cpu"] for each in rounds),
                    median(each[name]["cpu"] / each["ours"]["cpu"] for each in rounds),
                    median(each[name]["wall"] for each in rounds) / effort.calls * 1e6,
                ]
            )
    print_table(title, ["", "CPU us", "least", "/http.client", "/Session.post", "/ours", "wall us"], rows)


def bench_json(server: str, effort: Effort) -> None:
    """CPU of one tool call that is answered with JSON."""
    _bench_calls("One tool call, JSON answer", f"{server}/json", effort)


def bench_sse(server: str, effort: Effort) -> None:
    """CPU of one tool call that is answered with one event."""
    _bench_calls("One tool call, SSE answer", f"{server}/sse", effort)


def bench_threads(server: str, effort: Effort) -> None:
    """Calls per second of 16 threads on one client, and of one thread."""
    names = ["urllib3", "requests.Session.post", "ours"]
    each_thread = max(1, effort.calls // 4)
    with _workers(names, f"{server}/json") as workers:
        rounds: list[dict[str, tuple[float, float]]] = []
        for _ in range(effort.rounds):
            this = {}
            for name, worker in workers.items():
                alone = worker.order(f"threads 1 {each_thread * 4}")["wall"]
                many = worker.order(f"threads {_THREADS} {each_thread}")["wall"]
                this[name] = (each_thread * 4 / alone, each_thread * _THREADS / many)
            rounds.append(this)
        rows = []
        for name in workers:
            rows.append(
                [
                    name,
                    median(each[name][1] for each in rounds),
                    median(each[name][0] for each in rounds),
                    median(each[name][1] / each[name][0] for each in rounds),
                    median(each[name][1] / each["requests.Session.post"][1] for each in rounds),
                ]
            )
    header = ["", f"{_THREADS} threads, calls/s", "1 thread", "16 / 1", "/Session.post"]
    print_table("Threads on one client", header, rows)


def bench_first(server: str, effort: Effort) -> None:
    """From the sending of the first event to its being in the caller's hands, while the stream goes on."""
    with _workers(list(FIRST_EVENT), server) as workers:
        rows = []
        for name, worker in workers.items():
            row: list[object] = [name]
            for framing in ("chunked", "close"):
                order = f"first {server}/first-{framing}"
                row.append(median(worker.order(order) for _ in range(effort.first_events)))
            rows.append(row)
    title = "First event, ms after it was sent (the stream ends after 500 ms)"
    print_table(title, ["", "chunked", "close"], rows)


_SECTIONS: dict[str, Callable[[str, Effort], None]] = {
    "import": bench_import,
    "script": bench_script,
    "json": bench_json,
    "sse": bench_sse,
    "threads": bench_threads,
    "first": bench_first,
}


@contextmanager
def canned_server() -> Iterator[str]:
    """Run the canned server in its own process; gives its origin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.canned_server"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description="What a call costs, side by side with peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, no claim")
    parser.add_argument("--only", action="append", choices=list(_SECTIONS), help="a section; may be repeated")
    options = parser.parse_args()
    effort = _QUICK if options.quick else _FULL
    with canned_server() as server:
        for name, section in _SECTIONS.items():
            if options.only is None or name in options.only:
                section(server, effort)


if __name__ == "__main__":
    main()
