"""The endpoint as a WSGI application: every request here goes through the checker of ``wsgiref.validate``."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from streamhttp_client.server import Server, WSGIApp
from tests.server.kit import Direct

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
NOTE = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def test_handshake(app: WSGIApp) -> None:
    """The result says what the server is and can; the session id is visible ASCII and cannot be guessed."""
    direct = Direct(app)
    result = direct.answer(
        "initialize",
        {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
    )
    assert result == {
        "protocolVersion": "2025-06-18",
        "capabilities": {"logging": {}, "tools": {"listChanged": True}},
        "serverInfo": {"name": "test", "version": "1.0", "title": "Test"},
        "instructions": "Use it well.",
    }
    sessions = {Direct(app).initialize().session for _ in range(5)}
    assert len(sessions) == 5 and all(session and len(session) == 32 for session in sessions)


@pytest.mark.parametrize("asked", ["2024-11-05", "2024-10-07", "1.0", "2999-01-01"])
def test_unknown_revision_is_answered_with_the_latest(app: WSGIApp, asked: str) -> None:
    """Version negotiation: the server names another one, and the client decides."""
    params = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    assert Direct(app).answer("initialize", params)["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": 1, "capabilities": {}, "clientInfo": {}}])
def test_broken_handshake(app: WSGIApp, params: Any) -> None:
    assert Direct(app).answer("initialize", params)["code"] == -32602


def body_and_status(direct: Direct, body: bytes, **headers: str | None) -> tuple[int, int]:
    with direct.post(body, **headers) as reply:
        return reply.status, reply.json()["error"]["code"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"NaN", -32700),
        (b"[" * 100_000, -32700),
        (b"7", -32600),
        (b"{}", -32600),
        (b"[]", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', -32600),
    ],
)
def test_body_that_is_no_message(direct: Direct, body: bytes, code: int) -> None:
    """400, with a JSON-RPC error without id: -32700 for what is not JSON, -32600 for what is not JSON-RPC."""
    assert body_and_status(direct, body) == (400, code)
    assert direct.answer("ping") == {}


def test_batch_is_refused_where_the_revision_has_none(direct: Direct) -> None:
    assert body_and_status(direct, json.dumps([PING]).encode()) == (400, -32600)


def test_batch_of_2025_03_26(app: WSGIApp) -> None:
    """O-02: an array is answered by an array, or by a stream with all responses."""
    direct = Direct(app).initialize("2025-03-26")
    with direct.post([PING, NOTE, {**PING, "id": 2}]) as reply:
        assert [message["id"] for message in reply.json()] == [1, 2]
    with direct.post([NOTE, NOTE]) as reply:
        assert (reply.status, reply.body()) == (202, b"")
    calls = [
        {"jsonrpc": "2.0", "id": f"c{a}", "method": "tools/call", "params": {"name": "add", "arguments": {"a": a}}}
        for a in range(3)
    ]
    with direct.post([*calls, PING]) as reply:
        lines = reply.body().decode().splitlines()
    answers = {(data := json.loads(line[6:]))["id"]: data["result"] for line in lines if line.startswith("data: ")}
    assert answers.keys() == {"c0", "c1", "c2", 1}
    assert answers["c2"]["content"][0]["text"] == "3"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"ACCEPT": "application/json"}, 406),
        ({"ACCEPT": "text/event-stream"}, 406),
        ({"ACCEPT": None}, 406),
        ({"ACCEPT": "text/html"}, 406),
        ({"ACCEPT": "*/*"}, 200),
        ({"ACCEPT": "application/*;q=0.5, TEXT/*"}, 200),
        ({"CONTENT_TYPE": "text/plain"}, 415),
        ({"CONTENT_TYPE": None}, 415),
        ({"CONTENT_TYPE": "Application/JSON; charset=utf-8"}, 200),
        ({"MCP_SESSION_ID": None}, 400),
        ({"MCP_SESSION_ID": "0" * 32}, 404),
        ({"MCP_SESSION_ID": "\x7f"}, 404),
        ({"MCP_PROTOCOL_VERSION": "2024-10-07"}, 400),
        ({"MCP_PROTOCOL_VERSION": "2024-11-05"}, 400),
        ({"MCP_PROTOCOL_VERSION": "nonsense"}, 400),
        ({"MCP_PROTOCOL_VERSION": "2025-11-25"}, 200),
        ({"MCP_PROTOCOL_VERSION": None}, 200),
        ({"HOST": "evil.example.com"}, 421),
        ({"HOST": None}, 421),
        ({"HOST": "127.0.0.1.evil.example.com:80"}, 421),
        ({"HOST": "[::1]:8000"}, 200),
        ({"HOST": "LOCALHOST"}, 200),
        ({"ORIGIN": "http://evil.example.com"}, 403),
        ({"ORIGIN": "null"}, 403),
        ({"ORIGIN": "http://localhost@evil.example.com"}, 403),
        ({"ORIGIN": "http://[broken"}, 403),
        ({"ORIGIN": "http://localhost:3000"}, 200),
        ({"CONTENT_LENGTH": "99"}, 400),
        ({"CONTENT_LENGTH": None}, 411),
        ({"CONTENT_LENGTH": str(5 << 20)}, 413),
    ],
)
def test_headers(direct: Direct, headers: dict[str, str | None], status: int) -> None:
    """Each wrong header has its own status; what HTTP leaves open is taken."""
    with direct.request("ping", **headers) as reply:
        assert reply.status == status, reply.body()
        answer = reply.json()
    assert ("error" in answer) == (status != 200)
    if status != 200:
        assert "id" not in answer


def test_length_that_is_no_number(app: WSGIApp) -> None:
    """Past the checker, which refuses to pass it on."""
    direct = Direct(app).initialize()
    direct.app = app
    with direct.request("ping", CONTENT_LENGTH="many") as reply:
        assert reply.status == 400


def test_body_over_the_limit(server: Server) -> None:
    """413, and nothing of the body is kept."""
    app = server.wsgi(max_body=1000)
    direct = Direct(app).initialize()
    with direct.request("ping", {"padding": "x" * 1000}) as reply:
        assert reply.status == 413
    app.close()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods(direct: Direct, method: str) -> None:
    with direct.send(method) as reply:
        assert (reply.status, reply.headers["allow"]) == (405, "POST, GET, DELETE")
        reply.body()


def test_other_path(app: WSGIApp) -> None:
    with Direct(app, "/other").send("GET") as reply:
        assert reply.status == 404
        reply.body()


def test_get_needs_a_stream(direct: Direct) -> None:
    with direct.send("GET", ACCEPT="application/json") as reply:
        assert reply.status == 406
        reply.body()


def test_unknown_method(direct: Direct) -> None:
    assert direct.answer("no/such")["code"] == -32601


def test_notification_and_unexpected_responses_are_taken(direct: Direct) -> None:
    """H25-04: 202 without a body, also for what nobody waits for."""
    messages: list[Any] = [
        NOTE,
        {"jsonrpc": "2.0", "method": "notifications/unheard/of"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": []}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled"},
        {"jsonrpc": "2.0", "id": "1~99", "result": {}},
        {"jsonrpc": "2.0", "id": "nobody asked", "result": {}},
        {"jsonrpc": "2.0", "id": 5, "error": {"code": 1, "message": "no"}},
        {"jsonrpc": "2.0", "error": {"code": 1, "message": "no"}},
    ]
    for message in messages:
        with direct.post(message) as reply:
            assert (reply.status, reply.body()) == (202, b"")


def test_tool_that_raises_tells_the_log_and_not_the_peer(direct: Direct, caplog: pytest.LogCaptureFixture) -> None:
    """An error result without internals, and a log record with them."""
    with caplog.at_level(logging.ERROR, "streamhttp_client.server"):
        result = direct.tool("explode")
    assert result == {"content": [{"type": "text", "text": "the tool 'explode' failed"}], "isError": True}
    (record,) = caplog.records
    assert record.exc_info is not None and "hunter2" in str(record.exc_info[1])


def test_failure_of_the_application_is_a_500(
    app: WSGIApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that fails is told to the log; the peer learns that something failed, and no more."""
    direct = Direct(app).initialize()

    def fail(session: str) -> None:
        raise OSError("secret path")

    monkeypatch.setattr(app.store, "get_session", fail)
    with direct.request("ping") as reply:
        assert reply.status == 500 and b"secret" not in reply.body()
    assert "secret path" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({}, "'a'"), ({"a": "one"}, "'a'"), ({"a": 1, "b": None}, "'b'"), ({"a": 1, "c": 2}, "'c'")],
)
def test_bad_arguments_are_a_tool_error_that_names_the_field(direct: Direct, arguments: Any, named: str) -> None:
    """SEP-1303: the model reads it and corrects itself."""
    result = direct.tool("add", arguments)
    assert result["isError"] and named in result["content"][0]["text"]


@pytest.mark.parametrize("params", [{}, {"name": 7}, {"name": "none"}, {"name": "add", "arguments": [1]}])
def test_call_of_no_tool_is_a_protocol_error(direct: Direct, params: Any) -> None:
    assert direct.answer("tools/call", params)["code"] == -32602


def test_json_answers(server: Server) -> None:
    """With ``json_response`` a tool call is answered by one object, and the client need not take streams."""
    app = server.wsgi(json_response=True)
    direct = Direct(app).initialize(ACCEPT="application/json")
    with direct.request("tools/call", {"name": "add", "arguments": {"a": 2}}, ACCEPT="application/json") as reply:
        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["result"]["content"] == [{"type": "text", "text": "3"}]
    app.close()


def test_result_without_json_form(server: Server, direct: Direct) -> None:
    """The client gets an error and not silence."""

    @server.tool()
    def broken() -> str:
        return "\ud800"

    assert direct.tool("broken")["code"] == -32603


def test_after_close_nothing_is_taken(app: WSGIApp, direct: Direct) -> None:
    app.close()
    with direct.request("ping") as reply:
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        reply.body()
