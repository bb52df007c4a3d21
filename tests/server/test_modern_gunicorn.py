"""Workers of gunicorn in the stateless era: any of them answers anything, and a stop is a graceful end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import streamhttp_client
from tests.server.kit import PATIENCE, events
from tests.server.modern_kit import CLIENT, ModernWire, meta

pytest.importorskip("gunicorn")
pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[2] / "examples"
# Attempts after which both workers have surely been met.
ATTEMPTS = 200


@contextmanager
def gunicorn(store: Path) -> Iterator[tuple[ModernWire, subprocess.Popen[bytes]]]:
    """The example of this era, ``server_stateless``, in two workers."""
    source = Path(streamhttp_client.__file__).parents[1]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "-c", EXAMPLES / "server_gunicorn.py", "--chdir", EXAMPLES]
        command += ["--bind", f"fd://{listener.fileno()}", "--log-level", "error", "--no-control-socket"]
        server = subprocess.Popen(
            [*command, "server_stateless:app"],
            env={**os.environ, "PYTHONPATH": str(source), "STORE": str(store)},
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
    try:
        yield ModernWire(f"http://127.0.0.1:{port}/mcp", **CLIENT), server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            # Longer than the configuration's graceful_timeout.
            assert server.wait(40) == 0
        finally:
            server.kill()


def call(wire: ModernWire, name: str, arguments: Any, **more: Any) -> Any:
    region = {"Mcp_Param_Region": arguments["region"]} if "region" in arguments else {}
    return wire.answer_to("tools/call", {"name": name, "arguments": arguments, **more}, **region)


def test_any_worker(tmp_path: Path) -> None:
    """M26-04, T-17, S26-04, H26-22: rounds, tasks and changes go from worker to worker."""
    with gunicorn(tmp_path / "store.db") as (wire, _):
        workers = set()
        for _ in range(ATTEMPTS):
            asked = call(wire, "order", {"item": "tea", "region": "us"})
            (key,) = asked["inputRequests"]
            answers = {key: {"action": "accept", "content": {"amount": 3}}}
            more = {"inputResponses": answers, "requestState": asked["requestState"]}
            text = call(wire, "order", {"item": "tea", "region": "us"}, **more)["content"][0]["text"]
            assert ": 3 tea to us, by process " in text
            workers.add(text.rpartition(" ")[2])
            if len(workers) == 2:
                break
        assert len(workers) == 2

        tasks = [call(wire, "stocktaking", {"seconds": 0})["taskId"] for _ in range(8)]
        for task in tasks:
            while (found := wire.answer_to("tasks/get", {"taskId": task}))["status"] == "working":
                pass
            assert found["result"]["structuredContent"]["stock"] == {"tea": 12, "coffee": 7}

        wanted = {"notifications": {"resourceSubscriptions": ["shop://prices"]}}
        with wire.ask("subscriptions/listen", wanted) as response:
            heard = events(response)
            assert json.loads(next(heard)["data"])["method"] == "notifications/subscriptions/acknowledged"
            for _ in range(8):
                assert call(wire, "raise_prices", {})["content"][0]["text"] == "told 1 clients"
            for _ in range(8):
                assert json.loads(next(heard)["data"])["params"]["uri"] == "shop://prices"


def test_stop(tmp_path: Path) -> None:
    """S26-06: a subscription ends by a result, and a call is done within the grace, though its handler would end early
    if it were told to.
    """
    with gunicorn(tmp_path / "store.db") as (wire, server):
        plain = ModernWire(f"http://{wire.address}{wire.path}")
        params = {"name": "stocktaking", "arguments": {"seconds": 0.3}, "_meta": meta(progressToken=1)}
        with (
            wire.ask("subscriptions/listen", {"notifications": {}}) as listening,
            plain.ask("tools/call", params) as running,
        ):
            heard, called = events(listening), events(running)
            assert next(heard) and next(called)
            server.send_signal(signal.SIGTERM)
            (end,) = (json.loads(event["data"]) for event in heard)
            *_, last = (json.loads(event["data"]) for event in called)
        assert end["result"]["resultType"] == "complete"
        assert last["result"]["structuredContent"]["stock"] == {"tea": 12, "coffee": 7}
        assert server.wait(PATIENCE) == 0
