"""What a client may make the server keep."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any, cast

import pytest

from streamhttp_client.server import Context, MemoryStore, Server
from streamhttp_client.server.sessions import ServerSession, kept_of_client
from tests.server.kit import PATIENCE, Direct, Reply
from tests.server.modern_kit import ModernDirect, meta


def test_long_client_info(server: Server) -> None:
    """The handshake of anybody is answered, but of 4 MB only what counts is kept."""
    store = MemoryStore()
    app = server.wsgi(store=store)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"sampling": {"tools": {}, "x": "y" * 1_000_000}, "elicitation": {"url": {}}, "x" * 10_000: {}},
        "clientInfo": {"name": "n" * 1_000_000, "version": "1", "icons": ["i" * 1_000_000]},
    }
    direct = Direct(app)
    with direct.request("initialize", params) as reply:
        direct.session = reply.headers["mcp-session-id"]
        assert reply.status == 200 and "result" in reply.json()
    ((_, fields),) = store.iter_sessions()
    assert len(json.dumps(fields)) < 2000
    session = ServerSession("s", fields)
    assert session.client_info == {"name": "n" * 256, "version": "1"}
    assert session.can("sampling.tools") and session.can("elicitation.url") and not session.can("roots")
    assert direct.answer("ping") == {}
    app.close()


def test_usual_client_info_is_kept_as_it_is() -> None:
    info: dict[str, Any] = {"name": "x", "version": "1", "websiteUrl": "https://example.com", "more": [1]}
    capabilities: dict[str, Any] = {"roots": {"listChanged": True}, "experimental": {"a": {"b": 1}}}
    assert kept_of_client(info, capabilities) == {"client_info": info, "client_capabilities": capabilities}
    deep: Any = {}
    for _ in range(100_000):
        deep = {"d": deep}
    assert kept_of_client(info, deep)["client_capabilities"] == {}


@pytest.mark.parametrize(("length", "status"), [(256, 200), (257, 400), (1_000_000, 400)])
def test_long_request_ids(direct: Direct, length: int, status: int) -> None:
    with direct.post({"jsonrpc": "2.0", "id": "i" * length, "method": "ping"}) as reply:
        assert reply.status == status
        assert len(reply.body()) < 1000


def test_long_uris_of_subscriptions(server: Server, direct: Direct) -> None:
    @server.resource("t://{x}")
    def give(x: str) -> str:
        return x

    assert direct.answer("resources/subscribe", {"uri": "t://" + "x" * 2044}) == {}
    assert "2048" in direct.answer("resources/subscribe", {"uri": "t://" + "x" * 2045})["message"]


@pytest.mark.parametrize("era", [Direct, ModernDirect])
def test_nobody_alone_has_all_streams(server: Server, era: Any) -> None:
    """One who is known by name leaves a quarter of them to others, in both eras, and gets more when some have ended."""
    go = threading.Event()

    @server.tool()
    def wait(ctx: Context) -> None:
        ctx.log("error", "runs")  # so that the answer is a stream
        assert go.wait(PATIENCE)

    app = server.wsgi(max_streams=4, principal=lambda environ: environ.get("HTTP_X_USER"))
    sessions = {who: era(app) for who in ("eve", "ann")}

    def opens(who: str) -> Reply:
        if era is ModernDirect:
            params = {"name": "wait", "_meta": meta(logLevel="error")}
            return cast("Reply", sessions[who].ask("tools/call", params, X_USER=who))
        return cast("Reply", sessions[who].request("tools/call", {"name": "wait"}, X_USER=who))

    try:
        if era is Direct:
            for who, session in sessions.items():
                session.initialize(X_USER=who)
        with contextlib.ExitStack() as stack:
            replies = [stack.enter_context(opens("eve")) for _ in range(4)]
            assert [reply.status for reply in replies] == [200, 200, 200, 503]
            assert stack.enter_context(opens("ann")).status == 200
            assert stack.enter_context(opens("ann")).status == 503  # there are no more
        with opens("eve") as reply:
            assert reply.status == 200
    finally:
        go.set()
        app.close()
