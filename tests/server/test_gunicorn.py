"""Workers of gunicorn that are told to stop: streams end at once, and the next server has the results."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import streamhttp_client
from tests.server.kit import PATIENCE, Wire, events

pytest.importorskip("gunicorn")
pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def gunicorn(store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The example of several workers, under the example's configuration."""
    source = Path(streamhttp_client.__file__).parents[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "-c", EXAMPLES / "server_gunicorn.py", "--chdir", EXAMPLES]
        command += ["--bind", f"fd://{listener.fileno()}", "--log-level", "error", "--no-control-socket"]
        server = subprocess.Popen(
            [*command, "server_workers:app"],
            env={**os.environ, "PYTHONPATH": str(source), "STORE": str(store)},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
    try:
        yield f"http://127.0.0.1:{port}/mcp", server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            # Longer than the configuration's graceful_timeout.
            assert server.wait(40) == 0
        finally:
            server.kill()


def test_stop_and_start_again(tmp_path: Path) -> None:
    with gunicorn(tmp_path / "store.db") as (url, server):
        wire = Wire(url).initialize()
        with wire.call("count", {"to": 100, "seconds": 0.02}, token=1) as response:
            stream = events(response)
            got = [next(stream) for _ in range(5)]
            server.send_signal(signal.SIGTERM)
            got += stream
        assert got[-1]["data"] == "" and got[-1]["retry"] == "1000" and len(got) < 100
    with gunicorn(tmp_path / "store.db") as (url, _):
        again = Wire(url)
        again.session = wire.session
        with again.send("GET", Last_Event_Id=got[-1]["id"]) as response:
            rest = [json.loads(event["data"]) for event in events(response) if event["data"]]
    seen = [json.loads(event["data"])["params"]["progress"] for event in got if event["data"]]
    assert [*seen, *(message["params"]["progress"] for message in rest[:-1])] == list(range(1, 101))
    assert rest[-1]["result"]["content"][0]["text"].startswith("counted by process")


@pytest.mark.parametrize("signalled", [True, False])
def test_application_is_closed_once(monkeypatch: pytest.MonkeyPatch, signalled: bool) -> None:
    """Whether a signal came or the worker ends by itself: both hooks together take no longer than it has, since a
    handler that hangs is waited for once. Then goodbye is said to the store.
    """
    monkeypatch.syspath_prepend(EXAMPLES)
    import server_gunicorn as configuration

    assert configuration.GRACE < configuration.LONGEST < configuration.graceful_timeout
    calls: list[Any] = []
    stops: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def close(timeout: float, *, grace: float) -> None:
        calls.append((timeout, grace))
        begun.set()
        assert go.wait(PATIENCE)
        calls.append("closed")

    store = SimpleNamespace(close=lambda: calls.append("goodbye"))
    worker = SimpleNamespace(wsgi=SimpleNamespace(close=close, store=store))
    before = signal.signal(signal.SIGTERM, lambda number, frame: stops.append(number))
    try:
        configuration.post_worker_init(worker)
        if signalled:
            signal.raise_signal(signal.SIGTERM)
            assert stops == [signal.SIGTERM]  # gunicorn hears of it as well
            assert begun.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGTERM, before)
    go.set()
    configuration.worker_exit(None, worker)
    assert calls == [(configuration.LONGEST, configuration.GRACE), "closed", "goodbye"]


def test_app_that_cannot_be_imported(tmp_path: Path) -> None:
    """What the configuration does at the end of a worker does not bury the reason."""
    (tmp_path / "broken_app.py").write_text('raise RuntimeError("no database here")')
    command = [sys.executable, "-m", "gunicorn", "-c", EXAMPLES / "server_gunicorn.py", "--chdir", tmp_path]
    command += ["--bind", "127.0.0.1:0", "--workers", "1", "--no-control-socket", "broken_app:app"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert ended.returncode != 0 and "no database here" in ended.stderr
    assert "AttributeError" not in ended.stderr
