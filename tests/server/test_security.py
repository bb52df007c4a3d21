"""Who is let in: hosts, origins, principals, tokens; and limits."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import BearerAuth, InsufficientScope, MemoryStore, Server, WSGIApp
from tests.server.kit import Direct

METADATA = "/.well-known/oauth-protected-resource/mcp"


def status(app: WSGIApp, **headers: str | None) -> int:
    with Direct(app).request("ping", **headers) as reply:
        reply.body()
        return reply.status


# A ping without a session is a 400: it came past the guards.
PASSED = 400


@pytest.mark.parametrize(
    ("hosts", "origins", "host", "origin", "expected"),
    [
        (["mcp.example.com"], None, "mcp.example.com", None, PASSED),
        (["mcp.example.com"], None, "MCP.example.com:8443", "https://mcp.example.com", PASSED),
        (["mcp.example.com"], None, "localhost", None, 421),
        (["mcp.example.com"], None, "mcp.example.com", "http://localhost", 403),
        (["mcp.example.com"], ["https://app.example.com/"], "mcp.example.com", "https://app.example.com", PASSED),
        (["mcp.example.com"], ["https://app.example.com"], "mcp.example.com", "http://app.example.com", 403),
        (["mcp.example.com:81"], None, "mcp.example.com:82", None, 421),
        (["*"], None, "anything", None, PASSED),
        (["*"], None, "anything", "https://anything", 403),
        (["*"], ["*"], "anything", "https://other", PASSED),
        ([], None, "localhost", None, 421),
    ],
)
def test_hosts_and_origins(
    server: Server,
    hosts: Iterable[str],
    origins: Iterable[str] | None,
    host: str,
    origin: str | None,
    expected: int,
) -> None:
    """Only named hosts are served, only their own pages and named ones may call; asking twice changes
    nothing.
    """
    app = server.wsgi(allowed_hosts=hosts, allowed_origins=origins)
    for _ in range(2):
        assert status(app, HOST=host, ORIGIN=origin) == expected
    app.close()


def opened(app: WSGIApp, who: str) -> int:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}}
    with Direct(app).request("initialize", params, X_USER=who) as reply:
        return reply.status


def test_nobody_alone_keeps_others_out() -> None:
    """A full store takes some sessions from who has most, if that is a large part of all, and not too often."""
    store = MemoryStore(max_sessions=16)
    app = Server("test", "1").wsgi(store=store, principal=lambda environ: environ.get("HTTP_X_USER"))
    now = 100.0
    app._hoards._clock = lambda: now
    # What she holds herself is not spared for her.
    assert [opened(app, "eve") for _ in range(18)] == [200] * 16 + [503] * 2
    store.delete_session(next(iter(store.iter_sessions()))[0])
    assert opened(app, "eve") == 200  # nobody else has asked for it
    now += 1
    # Of 16 she loses an eighth, which she does not get back at once; and more only a while later.
    assert [opened(app, who) for who in ("ann", "eve", "bob", "cid")] == [200, 503, 200, 503]
    now += 1
    assert [opened(app, "cid"), opened(app, "eve")] == [200, 503]
    now += 60
    assert opened(app, "eve") == 200
    owners = [fields["principal"] for _, fields in store.iter_sessions()]
    assert sorted(set(owners)) == ["ann", "bob", "cid", "eve"]

    store = MemoryStore(max_sessions=16)
    app = Server("test", "1").wsgi(store=store, principal=lambda environ: environ.get("HTTP_X_USER"))
    assert [opened(app, str(number // 2)) for number in range(16)] == [200] * 16
    assert opened(app, "new") == 503  # nobody has too many

    app = Server("test", "1").wsgi(store=MemoryStore(max_sessions=2))
    assert [opened(app, "anybody") for _ in range(3)] == [200, 200, 503]  # they cannot be told apart


def test_nobody_grows_by_what_others_use(server: Server) -> None:
    """Sessions are taken for who has few. Who fills the rest of a store ends no session of one who has more."""
    store = MemoryStore(max_sessions=16)
    app = server.wsgi(store=store, principal=lambda environ: environ.get("HTTP_X_USER"))
    assert [opened(app, "gateway") for _ in range(10)] == [200] * 10
    assert [opened(app, "eve") for _ in range(7)] == [200] * 6 + [503]
    assert len(list(store.iter_sessions())) == 16


def test_no_session_ends_for_want_of_bytes(server: Server) -> None:
    """Who has most sessions is perhaps not who has filled the store."""
    store = MemoryStore(max_bytes=1 << 16)
    app = server.wsgi(store=store, principal=lambda environ: environ.get("HTTP_X_USER"))
    assert [opened(app, "gateway") for _ in range(3)] == [200] * 3
    store.create_session("t", {"task": "x" * (1 << 16)})
    assert opened(app, "eve") == 503
    assert len(list(store.iter_sessions())) == 4


def test_pages_of_other_origins(server: Server) -> None:
    """A page in allowed_origins may ask beforehand, and may read answers and the session id; no other page may."""
    app = server.wsgi(allowed_origins=["https://app.example.com"])
    page: dict[str, str | None] = {"ORIGIN": "https://app.example.com"}
    with Direct(app).send("OPTIONS", ACCESS_CONTROL_REQUEST_METHOD="POST", **page) as reply:
        assert (reply.status, reply.body()) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "Mcp-Session-Id" in reply.headers["access-control-allow-headers"]
    direct = Direct(app).initialize(**page)
    with direct.request("ping", **page) as reply:
        assert reply.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "Mcp-Session-Id" in reply.headers["access-control-expose-headers"]
        assert reply.headers["vary"] == "Origin"
        reply.body()
    with direct.request("tools/call", {"name": "add", "arguments": {"a": 1}}, **page) as reply:
        assert reply.headers["access-control-allow-origin"] == "https://app.example.com"
        reply.body()
    for origin in (None, "http://localhost"):
        with direct.request("ping", ORIGIN=origin) as reply:
            assert reply.status == 200 and "access-control-allow-origin" not in reply.headers
            reply.body()
    with direct.send("OPTIONS", ACCESS_CONTROL_REQUEST_METHOD="POST", ORIGIN="https://evil.example.com") as reply:
        assert reply.status == 403 and "access-control-allow-origin" not in reply.headers
        reply.body()
    app.close()


def test_session_belongs_to_who_opened_it(server: Server) -> None:
    """To anybody else it does not exist: 404, also for GET and DELETE."""
    app = server.wsgi(principal=lambda environ: environ.get("HTTP_X_USER"))
    direct = Direct(app).initialize(X_USER="ada")
    for user, expected in (("ada", 200), ("eve", 404), (None, 404)):
        with direct.request("ping", X_USER=user) as reply:
            assert reply.status == expected
            reply.body()
    for method in ("GET", "DELETE"):
        with direct.send(method, X_USER="eve") as reply:
            assert reply.status == 404
            reply.body()
    assert direct.answer("ping", X_USER="ada") == {}
    app.close()


@pytest.fixture
def guarded(server: Server) -> Any:
    def check(token: str) -> str | None:
        if token == "narrow":
            raise InsufficientScope("tools:call")
        return {"good": "ada", "other": "eve"}.get(token)

    bearer = BearerAuth(
        check,
        resource="https://mcp.example.com/mcp",
        authorization_servers=["https://auth.example.com"],
        scopes=["tools:list"],
    )
    app = server.wsgi(bearer=bearer)
    yield app
    app.close()


def test_protected_resource_metadata(guarded: WSGIApp) -> None:
    """RFC 9728, section 3: public, under the well-known path with the resource's own behind it."""
    with Direct(guarded, METADATA).send("GET", HOST="anything") as reply:
        assert reply.json() == {
            "resource": "https://mcp.example.com/mcp",
            "authorization_servers": ["https://auth.example.com"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["tools:list"],
        }


@pytest.mark.parametrize(
    ("authorization", "expected", "challenge"),
    [
        (None, 401, 'Bearer scope="tools:list", '),
        ("Basic good", 401, 'Bearer scope="tools:list", '),
        ("Bearer", 401, 'Bearer scope="tools:list", '),
        ("Bearer bad", 401, 'Bearer error="invalid_token", scope="tools:list", '),
        ("Bearer narrow", 403, 'Bearer error="insufficient_scope", scope="tools:call", '),
    ],
)
def test_challenges(guarded: WSGIApp, authorization: str | None, expected: int, challenge: str) -> None:
    """RFC 6750, section 3, with the address of the metadata (RFC 9728, section 5.1)."""
    with Direct(guarded).request("ping", AUTHORIZATION=authorization) as reply:
        assert reply.status == expected
        where = f'resource_metadata="https://mcp.example.com{METADATA}"'
        assert reply.headers["www-authenticate"] == challenge + where
        assert b"good" not in reply.body()


def test_token_is_the_principal(guarded: WSGIApp) -> None:
    direct = Direct(guarded).initialize(AUTHORIZATION="bearer good")
    assert direct.answer("ping", AUTHORIZATION="Bearer good") == {}
    with direct.request("ping", AUTHORIZATION="Bearer other") as reply:
        assert reply.status == 404
        reply.body()


def test_bearer_and_principal_exclude_each_other(server: Server) -> None:
    bearer = BearerAuth(lambda token: None, resource="https://x/mcp", authorization_servers=[])
    with pytest.raises(LocalProtocolError):
        server.wsgi(bearer=bearer, principal=lambda environ: None)


@pytest.mark.parametrize("resource", ["mcp.example.com", "ftp://x/mcp", "https://x/mcp?q", 'https://x/"'])
def test_bad_resource(resource: str) -> None:
    with pytest.raises(LocalProtocolError):
        BearerAuth(lambda token: None, resource=resource, authorization_servers=[])


def test_limit_of_sessions(server: Server) -> None:
    """503 with Retry-After; a session that ends makes room."""
    app = server.wsgi(store=MemoryStore(max_sessions=2))
    first = Direct(app).initialize()
    Direct(app).initialize()
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    with Direct(app).request("initialize", params) as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        reply.body()
    with first.send("DELETE"):
        Direct(app).initialize()
    app.close()


def test_session_ttl(server: Server) -> None:
    """It is for the store in memory; a store that is given has its own."""
    app = server.wsgi(session_ttl=0.0)
    direct = Direct(app).initialize()
    with direct.request("ping") as reply:
        assert reply.status == 404
        reply.body()
    app.close()
    with pytest.raises(LocalProtocolError):
        server.wsgi(session_ttl=1.0, store=MemoryStore())


def test_limit_of_streams(server: Server) -> None:
    """Streams over the limit are refused, and a stream that is closed makes room, however it was closed."""
    app = server.wsgi(max_streams=1, store=MemoryStore(max_logs=5))
    direct = Direct(app).initialize()
    with direct.send("GET") as never_read:
        assert never_read.status == 200
        # More often than the session may have streams: none of the refused ones is left behind.
        for _ in range(10):
            with direct.request("tools/call", {"name": "add", "arguments": {"a": 1}}) as reply:
                assert reply.status == 503
                reply.body()
    assert direct.tool("add", {"a": 1})["content"]
    app.close()


def test_limit_of_stateless_streams(server: Server) -> None:
    """The same where each call has a session of its own that nobody sees."""
    go = threading.Event()
    server.tool("wait")(lambda: str(go.wait(10)))
    app = server.wsgi(max_streams=1, stateless=True)
    direct = Direct(app)
    with direct.request("tools/call", {"name": "wait"}) as waiting:
        next(waiting.chunks)
        for _ in range(10):
            with direct.request("tools/call", {"name": "add", "arguments": {"a": 1}}) as reply:
                assert reply.status == 503
                reply.body()
        go.set()
        assert b"True" in waiting.body()
    assert direct.tool("add", {"a": 1})["content"]
    assert not list(app._scratch.iter_sessions())
    app.close()


def test_store_that_fails_when_a_call_begins(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind: no stream that counts, and no request id that counts as running."""
    app = server.wsgi(max_streams=1)
    direct = Direct(app).initialize()
    request = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "add", "arguments": {"a": 1}}}
    for method in ("claim", "create_log"):
        with monkeypatch.context() as patch:

            def fail(*_: Any, **__: Any) -> None:
                raise OSError("away")

            patch.setattr(app.store, method, fail)
            with direct.post(request) as reply:
                assert reply.status == 500
                reply.body()
    with monkeypatch.context() as patch:
        patch.setattr("streamhttp_client.server.calls.Call.begin", fail)
        with direct.post(request) as reply:
            assert reply.status == 500
            reply.body()
    with direct.post(request) as reply:
        assert b'"text":"2"' in reply.body()
    app.close()


def test_stateless_server_promises_no_news(server: Server) -> None:
    """Where no stream and no session is, nobody can be told of a change, so nothing says that one could."""
    direct = Direct(server.wsgi(stateless=True))
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    capabilities = direct.answer("initialize", params)["capabilities"]
    assert capabilities and all(found == {} for found in capabilities.values())
    for method in ("resources/subscribe", "resources/unsubscribe"):
        assert direct.answer(method, {"uri": "test://a"})["code"] == -32601


def test_stateless(server: Server) -> None:
    """No session id is given or needed, any endpoint answers, streams have no ids, and there is nothing to
    GET.
    """
    one, other = server.wsgi(stateless=True), server.wsgi(stateless=True)
    direct = Direct(one).initialize()
    assert direct.session is None
    elsewhere = Direct(other)
    assert elsewhere.answer("ping") == {}
    with elsewhere.request(
        "tools/call", {"name": "add", "arguments": {"a": 1}}, MCP_PROTOCOL_VERSION="2025-11-25"
    ) as reply:
        body = reply.body()
        assert reply.headers["content-type"] == "text/event-stream"
        assert b'"text":"2"' in body and b"id: " not in body
    with elsewhere.post({"jsonrpc": "2.0", "method": "notifications/initialized"}) as reply:
        assert reply.status == 202
        reply.body()
    for method in ("GET", "DELETE"):
        with direct.send(method) as reply:
            assert (reply.status, reply.headers["allow"]) == (405, "POST")
            reply.body()
    with direct.request("ping", MCP_PROTOCOL_VERSION="1999-01-01") as reply:
        assert reply.status == 400
        reply.body()
    one.close()
    other.close()
