"""A server for ``bench_server.py``: ours, or one made with the official package under uvicorn, as the
interpreter has it.

``python server_contender.py ours|official json|sse`` prints its port and ends with its standard input.
``app_json`` and ``app_sse`` are ours for gunicorn, ``app_nothing`` does nothing there.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

# Pauses between the events of ``stamps``, in seconds.
PAUSE = 0.005


def make_ours() -> Any:
    from streamhttp_client.server import Context, Server

    server = Server("bench", "1")

    @server.tool()
    def add(a: int, b: int) -> str:
        return str(a + b)

    @server.tool()
    def stamps(count: int, ctx: Context) -> str:
        for number in range(1, count + 1):
            time.sleep(PAUSE)
            ctx.progress(number, None, str(time.monotonic_ns()))
        return "done"

    return server


def serve_ours(mode: str) -> None:
    with make_ours().serve(json_response=mode == "json") as running:
        print(running.port, flush=True)
        sys.stdin.read()


def serve_official(mode: str) -> None:
    import os
    import socket

    import anyio
    import uvicorn
    from mcp.server.mcpserver import Context, MCPServer

    server = MCPServer("bench", version="1", log_level="ERROR")

    @server.tool()
    async def add(a: int, b: int) -> str:
        return str(a + b)

    async def stamps(count: int, ctx: Any) -> str:
        for number in range(1, count + 1):
            await anyio.sleep(PAUSE)
            await ctx.report_progress(number, None, str(time.monotonic_ns()))
        return "done"

    stamps.__annotations__["ctx"] = Context
    server.tool()(stamps)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(listener.getsockname()[1], flush=True)

    def leave_with_parent() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    app = server.streamable_http_app(json_response=mode == "json")
    uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_keep_alive=60)).run(sockets=[listener])


def app_nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Reads a request and answers as if it had done something."""
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"5"}]}}'
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def __getattr__(name: str) -> Any:
    if name in ("app_json", "app_sse"):
        return make_ours().wsgi(json_response=name == "app_json")
    raise AttributeError(name)


if __name__ == "__main__":
    {"ours": serve_ours, "official": serve_official}[sys.argv[1]](sys.argv[2])
