"""The clients of other makers work with the server in revision 2026-07-28."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest

from streamhttp_client.server import Context, Header, RunningServer, Server
from tests.live.peers import folder, node, require
from tests.server.modern_kit import REVISION

pytestmark = pytest.mark.live
pytest.importorskip("cheroot")

SCRIPTS = Path(__file__).with_name("official")
# Seconds for all that one client does; each takes about two.
BOUND = 60

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    server = Server("official", "1.0", ttl=60)

    @server.tool()
    def count(to: int, ctx: Context) -> str:
        for number in range(1, to + 1):
            ctx.progress(number, to)
        return "counted"

    @server.tool()
    def ask(ctx: Context) -> str:
        name = (ctx.elicit("Your name?", NAME).content or {})["name"]
        return f"{name} is {ctx.ask_sampling('How are you?', max_tokens=5).text} at {ctx.roots()[0].uri}"

    @server.tool()
    def mirrored(region: Annotated[str, Header("Region")], count: Annotated[int, Header("Count")]) -> str:
        return f"{count} in {region}"

    @server.tool()
    def change() -> str:
        server.notify_list_changed("tools")
        return "changed"

    @server.tool(task="required")
    def errand(ctx: Context) -> str:
        ctx.progress(1, 2)
        return f"done for {(ctx.elicit('Your name?', NAME).content or {})['name']}"

    @server.prompt()
    def greeting() -> str:
        return "Hello"

    @server.resource("x://text", ttl=60)
    def text() -> str:
        return "text"

    with server.serve() as running:
        yield running


def check(command: list[str | Path], *, listens: bool = True, discovers: bool = True, has_tasks: bool = False) -> None:
    finished = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found.pop("errand", None) == ("done for Ada" if has_tasks else None)
    heard = found.pop("heard", None)
    assert heard in ("ToolsListChanged", "ToolListChanged") if listens else heard is None
    assert found == {
        "version": REVISION,
        "server": "official" if discovers else None,
        "tools": ["ask", "change", "count", "errand", "mirrored"],
        "count": [[1, 2, 3, 4, 5], "counted"],
        "ask": "Ada is fine at file:///a",
        "bad": True,
        "mirrored": "3 in Zürich",
        "prompt": "Hello",
        "resource": "text",
    }


@pytest.mark.parametrize("mode", ["auto", REVISION])
@pytest.mark.parametrize(("environment", "script"), [("mcp2", "modern_mcp2.py"), ("fastmcp", "modern_fastmcp.py")])
def test_python(running: RunningServer, environment: str, script: str, mode: str) -> None:
    """V26-01, M26-10, H26-13, S26-03, T-17: found out by themselves or told to, they get everything."""
    python = require(environment, folder() / environment / "bin" / "python")
    known = {"listens": environment == "mcp2", "has_tasks": environment == "fastmcp", "discovers": mode == "auto"}
    check([python, SCRIPTS / script, running.url, mode], **known)


@pytest.mark.parametrize("mode", ["auto", REVISION])
def test_typescript(running: RunningServer, mode: str) -> None:
    """V26-01, M26-10, H26-13, S26-03: the same."""
    package = "@modelcontextprotocol/client"
    modules = require(package, folder() / "npm" / "node_modules" / package).parents[1]
    check([node(), SCRIPTS / "modern.mjs", running.url, mode, modules])
