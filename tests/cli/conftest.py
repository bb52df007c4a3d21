"""A server for the commands to talk to, and ways to run them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from streamhttp_client.cli import main
from streamhttp_client.exceptions import ToolError
from streamhttp_client.server import Blob, Context, RunningServer, Server

# Bound on whatever a test waits for, in seconds; reached only when something is broken.
PATIENCE = 30.0


class Workshop:
    """A running server, and what its tools have seen."""

    def __init__(self, running: RunningServer, server: Server) -> None:
        self.url = running.url
        self.server = server
        self.cancelled = threading.Event()
        self.headers: list[dict[str, str]] = []


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    """A server with tools that work, report, fail, and wait to be cancelled."""
    server = Server("workshop", "1.2", "Handle with care.\nTwo lines.", title="The Workshop")

    @server.tool()
    def count(n: int, ctx: Context, word: str = "step") -> str:
        """Count.

        Reports each step.
        """
        for number in range(1, n + 1):
            ctx.progress(number, n, f"{word} {number}")
        ctx.log("warning", {"counted": n}, logger="abacus")
        return f"counted to {n}"

    @server.tool()
    def echo(value: Any = None) -> dict[str, Any]:
        return {"kind": type(value).__name__, "value": value}

    @server.tool()
    def picture() -> list[Any]:
        return ["a picture:", Blob(b"12345", "image/png")]

    @server.tool()
    def escape() -> str:
        return "red \x1b[31malert\x07"

    @server.tool()
    def fail() -> str:
        raise ToolError("out of paper")

    @server.tool()
    def wait(ctx: Context) -> str:
        ctx.progress(1, 2, "waiting")
        while not ctx.cancelled and not shop.cancelled.wait(0.01):
            pass
        shop.cancelled.set()
        return "over"

    with server.serve() as running:
        app = running.app

        def noting(environ: dict[str, str], start_response: Callable[..., object]) -> object:
            shop.headers.append({key: value for key, value in environ.items() if key.startswith("HTTP_")})
            return app(environ, start_response)

        running._server.wsgi_app = noting
        shop = Workshop(running, server)
        yield shop


class Ran(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def streamhttp(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command in this process."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        status = main(arguments)
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return run


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start ``python -m streamhttp_client`` as users do."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, "-m", "streamhttp_client", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,  # type: ignore[call-overload]
    )
