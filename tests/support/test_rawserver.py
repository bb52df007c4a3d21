"""The scripted server is itself right: what it sends, what it records, and how it ends."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.rawserver import ModernMCPServer, Peer, RawMCPServer, RawServer, Request, refusing_port, sse

BOUND = 10.0  # seconds; none of these should take one


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def connect(server: RawServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=BOUND)


def post(connection: http.client.HTTPConnection, message: object, **headers: str) -> http.client.HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/mcp", json.dumps(message), named)
    return connection.getresponse()


def test_a_request_is_recorded_as_it_came() -> None:
    """Method, target, headers, body and connection are those of the wire; chunked bodies are joined."""

    def script(peer: Peer) -> None:
        while True:
            peer.read_request()
            peer.respond(200, b"hello")

    with RawServer(script) as server:
        client = connect(server)
        client.request("PUT", "/a?b=c", iter([b"one", b"two"]), {"X-Twice": "1"}, encode_chunked=True)
        assert client.getresponse().read() == b"hello"
        client.request("POST", "/mcp", b'{"method": "ping", "id": 3}')
        assert client.getresponse().read() == b"hello"
        client.close()
        first, second = server.requests
    assert (first.method, first.target, first.body, first.connection) == ("PUT", "/a?b=c", b"onetwo", 1)
    assert first.header("x-twice") == "1" and first.header("absent") is None and first.key == "PUT"
    assert (second.key, second.id, second.connection) == ("ping", 3, 1)


@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_arrives_piece_by_piece(chunked: bool) -> None:
    """An event can be read while the script holds, under both framings; then the body ends."""
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.start_stream(chunked=chunked)
        peer.event({"a": 1}, id="7", event="message", retry=5)
        peer.hold(go_on)
        peer.comment()
        peer.end_stream()

    with RawServer(script) as server:
        client = connect(server)
        client.request("GET", "/mcp")
        response = client.getresponse()
        first = sse('{"a": 1}', id="7", event="message", retry=5)
        assert response.read(len(first)) == first == b'event: message\nid: 7\nretry: 5\ndata: {"a": 1}\n\n'
        go_on.set()
        assert response.read() == b": keep-alive\n\n"
        client.close()


def test_a_cut_is_an_end_and_a_reset_is_an_error() -> None:
    """FIN delivers what was sent and then the end of the body; RST is ECONNRESET."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send_head(200, {"Content-Length": "100"})
        peer.drip(b"partial", size=3)
        if peer.number == 1:
            peer.cut()
        else:
            peer.read_request()  # until the client has read the part above
            peer.reset()

    with RawServer(script) as server:
        client = connect(server)
        client.request("GET", "/")
        with pytest.raises(http.client.IncompleteRead) as caught:
            client.getresponse().read()
        assert caught.value.partial == b"partial"
        client.close()

        with socket.create_connection(("127.0.0.1", server.port), BOUND) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with raw.makefile("rb") as received:
                assert received.readline() == b"HTTP/1.1 200 OK\r\n"
                raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with pytest.raises(ConnectionResetError):
                    received.read()


def test_waiting_needs_no_sleep() -> None:
    """wait_for returns once the request is in, wait_connected once the client let go; a failure says why."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.wait_gone()

    with RawServer(script) as server:
        client = connect(server)
        later = threading.Timer(0.05, client.request, ("GET", "/"))
        later.start()
        assert server.wait_for(lambda seen: len(seen) == 1)[0].key == "GET"
        later.join(BOUND)
        with pytest.raises(AssertionError, match="seen: #1 GET"):
            server.wait_for(lambda seen: len(seen) == 2, timeout=0.01)
        with pytest.raises(AssertionError, match="1 connections open"):
            server.wait_connected(0, timeout=0.01)
        client.close()
        server.wait_connected(0)


def test_a_script_that_fails_fails_the_test() -> None:
    """The error of a script comes out of the with block; a client that went away is none."""

    def fails(peer: Peer) -> None:
        peer.read_request()
        raise AssertionError("wrong header")

    with pytest.raises(AssertionError, match="wrong header"), RawServer(fails) as server:
        client = connect(server)
        client.request("GET", "/")
        with pytest.raises(http.client.RemoteDisconnected):
            client.getresponse()
        client.close()

    with RawServer(fails) as server:
        socket.create_connection(("127.0.0.1", server.port), BOUND).close()
        server.wait_connected(0)


def test_closing_wakes_every_script() -> None:
    """Scripts that read, hold for the peer, or hold for an event all end when the server is closed."""
    never = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number == 1:
            peer.read_request()
        elif peer.number == 2:
            peer.hold()
        else:
            peer.hold(never)

    with RawServer(script) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), BOUND) for _ in range(3)]
        server.wait_connected(3)
    for sock in held:
        assert sock.recv(1) == b""
        sock.close()


def test_a_port_that_refuses() -> None:
    """Nothing listens, and nobody else can take the port meanwhile."""
    with refusing_port() as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection(held.getsockname(), BOUND)


def test_the_mcp_server_behaves_and_can_be_overridden() -> None:
    """Handshake, session checks and endings are as the transport demands; overrides are used in order."""

    def busy(peer: Peer, request: Request) -> None:
        peer.respond(503, headers={"Retry-After": "1"})

    with RawMCPServer() as server:
        server.on("tools/call", busy, {"content": []})
        client = connect(server)
        response = post(client, {"jsonrpc": "2.0", "id": 1, "method": "initialize"})
        session_id = response.headers["MCP-Session-Id"]
        assert json.load(response)["result"]["protocolVersion"] == "2025-11-25"
        assert server.sessions == {session_id}

        statuses = []
        for message, known in [
            ({"method": "notifications/initialized"}, session_id),
            ({"id": 2, "method": "ping"}, session_id),
            ({"id": 2, "method": "ping"}, "another"),
            ({"id": "r", "result": {}}, session_id),
            ({"id": 3, "method": "tools/call"}, session_id),
        ]:
            response = post(client, message, MCP_Session_Id=known)
            statuses.append(response.status)
            response.read()
        assert statuses == [202, 200, 404, 202, 503]
        response = post(client, {"id": 4, "method": "tools/call"}, MCP_Session_Id=session_id)
        assert json.load(response) == {"jsonrpc": "2.0", "id": 4, "result": {"content": []}}
        response = post(client, {"id": 5, "method": "no/such"}, MCP_Session_Id=session_id)
        assert json.load(response)["error"]["code"] == -32601

        for method, status in [("GET", 405), ("DELETE", 200), ("DELETE", 404)]:
            client.request(method, "/mcp", headers={"MCP-Session-Id": session_id})
            response = client.getresponse()
            response.read()
            assert response.status == status
        client.close()
        assert server.sessions == set() and server.accepted == 1
        assert [request.id for request in server.seen("tools/call")] == [3, 4]
        assert len(server.seen("response")) == 1


META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
FIELDS = {
    "Accept": "text/event-stream, application/json",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}


def modern(connection: http.client.HTTPConnection, message: object, **changed: str | None) -> tuple[int, object]:
    """The status and error code, or the result, of a request whose headers are right but for ``changed`` ones."""
    headers = FIELDS | {name.replace("_", "-"): value for name, value in changed.items()}
    body = json.dumps(message)
    connection.request("POST", "/mcp", body, {name: value for name, value in headers.items() if value is not None})
    response = connection.getresponse()
    text = response.read()
    answer = json.loads(text) if text else {}
    return response.status, answer.get("result", answer.get("error", {}).get("code"))


def call(method: str = "tools/call", *, meta: object = META, name: str = "echo") -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": name, "_meta": meta}}


def test_the_modern_server_refuses_what_it_must() -> None:
    """Every misfit of headers and body has its own error; what fits is answered; overrides come first."""
    with ModernMCPServer(supported=["2026-07-28", "2025-11-25"]) as server:
        client = connect(server)
        status, result = modern(client, call())
        assert status == 200 and result == {"resultType": "complete", "content": [{"type": "text", "text": "ok"}]}
        status, result = modern(client, call("server/discover"), Mcp_Method="server/discover", Mcp_Name=None)
        assert isinstance(result, dict) and result["supportedVersions"] == ["2026-07-28", "2025-11-25"]
        assert modern(client, call(name="ä"), Mcp_Name="=?base64?w6Q=?=")[0] == 200
        assert modern(client, {"jsonrpc": "2.0", "method": "notifications/odd"}) == (202, None)

        other = META | {"io.modelcontextprotocol/protocolVersion": "2030-01-01"}
        only_version = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
        assert modern(client, call(), MCP_Protocol_Version=None) == (400, -32020)
        assert modern(client, call(), MCP_Protocol_Version="2025-11-25") == (400, -32020)
        assert modern(client, call(), Mcp_Method=None) == (400, -32020)
        assert modern(client, call(), Mcp_Method="Tools/Call") == (400, -32020)
        assert modern(client, call(), Mcp_Name=None) == (400, -32020)
        assert modern(client, call(), Mcp_Name="=?base64?*?=") == (400, -32020)
        assert modern(client, call(meta=other), MCP_Protocol_Version="2030-01-01") == (400, -32022)
        assert modern(client, call(meta={})) == (400, -32602)
        assert modern(client, call(meta=only_version)) == (400, -32602)
        assert modern(client, call("ping"), Mcp_Method="ping") == (404, -32601)
        assert modern(client, {"jsonrpc": "2.0", "id": 1, "result": {}}) == (400, -32600)
        assert modern(client, [call()]) == (400, -32600)
        assert modern(client, call(), Accept="application/json") == (406, -32600)

        for method in ("GET", "DELETE"):
            client.request(method, "/mcp")
            response = client.getresponse()
            response.read()
            assert response.status == 405
        server.on("tools/call", {"content": []})
        assert modern(client, call(), MCP_Protocol_Version=None) == (200, {"content": []})
        client.close()


def test_the_modern_server_can_serve_both_eras() -> None:
    """Which one a request is in, its metadata say."""
    with ModernMCPServer(sessions=True) as server:
        client = connect(server)
        response = post(client, {"jsonrpc": "2.0", "id": 1, "method": "initialize"})
        session_id = response.headers["MCP-Session-Id"]
        assert json.load(response)["result"]["protocolVersion"] == "2025-11-25"
        response = post(client, {"id": 2, "method": "tools/call"}, MCP_Session_Id=session_id)
        assert "resultType" not in json.load(response)["result"]
        assert modern(client, call())[1] == {"resultType": "complete", "content": [{"type": "text", "text": "ok"}]}
        client.close()
