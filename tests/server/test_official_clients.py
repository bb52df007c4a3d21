"""The clients of other makers work with the server, also when their connections are cut."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from streamhttp_client.server import Context, RunningServer, Server
from tests.live.peers import folder, node, require
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live
pytest.importorskip("cheroot")

SCRIPTS = Path(__file__).with_name("official")
# Seconds for all that one client does; each takes about two.
BOUND = 60


class Scene(NamedTuple):
    """A server, and the address of it at which connections are cut."""

    running: RunningServer
    url: str


@pytest.fixture
def scene() -> Iterator[Scene]:
    server = Server("official", "1.0")

    @server.tool()
    def count(to: int, ctx: Context) -> str:
        for number in range(1, to + 1):
            ctx.progress(number, to)
        return "counted"

    @server.tool()
    def broken_off(to: int, ctx: Context) -> str:
        """The connection breaks in the middle."""
        for number in range(1, to + 1):
            if number == 3:
                cutter.wait_for(b"the last before the cut")
                cutter.cut()
            ctx.progress(number, to, "the last before the cut" if number == 2 else None)
        return "counted all the same"

    @server.tool()
    def polled(to: int, ctx: Context) -> str:
        """The server closes the connection, and goes on when nobody is there."""
        ctx.progress(1, to)
        ctx.close_connection(retry_ms=100)
        threading.Event().wait(0.05)
        for number in range(2, to + 1):
            ctx.progress(number, to)
        return "collected"

    @server.tool()
    def ask(ctx: Context) -> str:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        return str((ctx.elicit("Your name?", schema).content or {})["name"])

    with server.serve(retry_ms=50) as running, Cutter(running.url) as cutter:
        yield Scene(running, cutter.through(running.url))


def check(command: list[str | Path], running: RunningServer) -> None:
    finished = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    everything = [1, 2, 3, 4, 5]
    assert found == {
        "tools": ["ask", "broken_off", "count", "polled"],
        "count": [everything, "counted"],
        "broken_off": [everything, "counted all the same"],
        "polled": [everything, "collected"],
        "ask": "Ada",
        "bad": True,
    }


@pytest.mark.parametrize(
    ("environment", "script"), [("mcp2", "mcp2.py"), ("mcp1", "mcp1.py"), ("fastmcp", "fastmcp_client.py")]
)
def test_python(scene: Scene, environment: str, script: str) -> None:
    """List, call with progress, elicitation, resume after a cut, polling (SEP-1699)."""
    python = require(environment, folder() / environment / "bin" / "python")
    check([python, SCRIPTS / script, scene.url], scene.running)


@pytest.mark.parametrize("package", ["@modelcontextprotocol/sdk", "@modelcontextprotocol/client"])
def test_typescript(scene: Scene, package: str) -> None:
    """The same, for 1.x and 2.x."""
    modules = require(package, folder() / "npm" / "node_modules" / package).parents[1]
    check([node(), SCRIPTS / "client.mjs", scene.url, modules, package], scene.running)
