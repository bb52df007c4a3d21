"""The endpoint inside a Flask and a Django application, and the examples of the server, each run as users run
them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

import streamhttp_client
from tests.server.kit import PATIENCE, Wire, events

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = False


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def plain_server(app: Callable[..., Any]) -> Iterator[str]:
    """The server of the standard library: HTTP/1.0, so what works here needs nothing special of a WSGI
    server.
    """
    with make_server("127.0.0.1", 0, app, _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def check_todo(url: str) -> None:
    """The views and the endpoint work side by side, on the same data."""

    def todo() -> Any:
        with urllib.request.urlopen(f"{url}/todo", timeout=PATIENCE) as response:
            return json.load(response)

    assert "milk" not in str(todo())
    wire = Wire(f"{url}/mcp").initialize()
    with wire.call("add", {"text": "milk"}, token=1) as response:
        messages = [json.loads(event["data"]) for event in events(response) if event["data"]]
    assert messages[0]["params"]["message"] == "added milk"
    assert messages[1]["result"]["content"][0]["text"] == "3 things to do"
    assert "milk" in str(todo())
    with wire.send("DELETE") as response:
        assert response.status == 204


def test_flask() -> None:
    pytest.importorskip("flask")
    example = load("flask_app")
    with plain_server(example.app) as url:
        check_todo(url)
    (endpoint,) = example.server._apps
    assert endpoint.close()


def test_django() -> None:
    pytest.importorskip("django")
    example = load("django_app")
    with plain_server(example.application) as url:
        check_todo(url)
    assert example.endpoint.close()


def check_bearer(url: str, pages: tuple[str, bytes]) -> None:
    """Who has no token is told where to get one, and finds that there; who has one is known by name."""
    wire = Wire(f"{url}/mcp")
    params = {"protocolVersion": wire.revision, "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    with wire.request("initialize", params) as response:
        assert response.status == 401
        challenge = response.headers["WWW-Authenticate"]
    place = urllib.parse.urlsplit(challenge.partition('resource_metadata="')[2].partition('"')[0]).path
    with urllib.request.urlopen(url + place, timeout=PATIENCE) as response:
        metadata = json.load(response)
    assert metadata["authorization_servers"] == ["https://auth.example.com"]
    assert metadata["resource"] == "http://127.0.0.1:8000/mcp"
    for name in ("ada", "bob"):
        known = Wire(f"{url}/mcp")
        known.fixed["Authorization"] = f"Bearer token-of-{name}"
        assert known.initialize().tool("note", {"text": "x"})["content"][0]["text"].startswith(f"{name} has ")
    with urllib.request.urlopen(url + pages[0], timeout=PATIENCE) as response:
        assert pages[1] in response.read()


def test_bearer_beside_plain_pages() -> None:
    with plain_server(load("server_bearer").application) as url:
        check_bearer(url, ("/", b"own pages"))


def test_bearer_in_flask() -> None:
    pytest.importorskip("flask")
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    views = load("flask_app").app
    with plain_server(DispatcherMiddleware(views, load("server_bearer").places)) as url:
        check_bearer(url, ("/todo", b"write"))


def test_bearer_in_django() -> None:
    pytest.importorskip("django")
    views = load("django_app").views
    with plain_server(load("server_bearer").beside(views)) as url:
        check_bearer(url, ("/todo", b"write"))


@contextmanager
def running_example(name: str) -> Iterator[str]:
    """Run an example as a script; it prints its URL, and ends when its standard input does."""
    source = Path(streamhttp_client.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / f"{name}.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            assert process.wait(PATIENCE * 3) == 0


def test_server_tools() -> None:
    pytest.importorskip("cheroot")
    with running_example("server_tools") as url:
        wire = Wire(url).initialize()
        assert wire.tool("look_up", {"item": "bolt"})["structuredContent"] == {"item": "bolt", "pieces": 120}
        assert "bolt, nut" in wire.tool("look_up", {"item": "x"})["content"][0]["text"]
        with wire.call("recount", {"seconds_per_item": 0}, token=1) as response:
            messages = [json.loads(event["data"]) for event in events(response) if event["data"]]
        assert [message["params"].get("message") for message in messages[:2]] == ["counted bolt", "counted nut"]
        assert messages[-1]["result"]["content"][0]["text"] == "2 articles counted"
        text = wire.result("resources/read", {"uri": "stock://nut"})["contents"][0]["text"]
        assert json.loads(text) == {"item": "nut", "pieces": 80}
        prompt = wire.result("prompts/get", {"name": "reorder", "arguments": {"item": "nut"}})
        assert "80 left" in prompt["messages"][0]["content"]["text"]
        argument = {"ref": {"type": "ref/prompt", "name": "reorder"}, "argument": {"name": "item", "value": "b"}}
        assert wire.result("completion/complete", argument)["completion"]["values"] == ["bolt"]


def test_server_ask() -> None:
    pytest.importorskip("cheroot")
    with running_example("server_ask") as url:
        wire = Wire(url, elicitation={}).initialize()
        with wire.call("book", {"city": "Oslo"}) as response:
            stream = (json.loads(event["data"]) for event in events(response) if event["data"])
            asked = next(stream)
            answer = {"action": "accept", "content": {"nights": 3, "seat": "aisle"}}
            with wire.post({"jsonrpc": "2.0", "id": asked["id"], "result": answer}) as accepted:
                assert accepted.status == 202
            (result,) = stream
        assert result["result"]["content"][0]["text"] == "booked 3 nights in Oslo, seat at the aisle"


def test_server_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", str(tmp_path / "store.db"))
    monkeypatch.delenv("HOSTS", raising=False)
    example = load("server_workers")
    with plain_server(example.app) as url:
        wire = Wire(f"{url}/mcp").initialize()
        result = wire.tool("count", {"to": 3, "seconds": 0})
    assert result["content"][0]["text"] == f"counted by process {os.getpid()}"
    assert example.app.close()
    example.app.store.close()
