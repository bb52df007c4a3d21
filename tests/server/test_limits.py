"""What a client may make the server keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamhttp_client.server import MemoryStore, Server
from streamhttp_client.server.sessions import ServerSession, kept_of_client
from tests.server.kit import Direct


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
