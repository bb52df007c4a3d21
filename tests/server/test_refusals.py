"""What is refused at the door, and how: types, batches, mounts, wrong options, and an end of threads."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from typing import Any
from wsgiref.handlers import SimpleHandler

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import Context, Server, WSGIApp
from streamhttp_client.server.arguments import ArgumentError, read_signature
from streamhttp_client.server.workers import Workers
from tests.server.kit import BOTH, PATIENCE, Direct, Wire


@pytest.fixture
def server() -> Server:
    return Server("test", "1")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (BOTH, 200),
        ("TEXT/*;q=0.5, application/json; v=1", 200),
        ("*/*", 200),
        ("application/jsonx, text/event-streamy", 406),
        ("application/json, text/event-stream;q=0", 406),
        ("application/json, text/event-stream; q=0.000", 406),
        ("application/json, text/event-stream; q=0.001", 200),
    ],
)
def test_accept(server: Server, accept: str, status: int) -> None:
    """Media ranges count, not parts of their names; a weight of zero is a no."""
    direct = Direct(server.wsgi()).initialize()
    with direct.request("ping", ACCEPT=accept) as reply:
        assert reply.status == status


SURROGATE = '"' + "\\ud800" + '"'


@pytest.mark.parametrize(
    "message",
    [
        '{"jsonrpc":"2.0","id":1,"method":%s}',
        '{"jsonrpc":"2.0","id":%s,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%s}}',
        '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":%s}}',
        '{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%s}}',
        '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}',
        '{"jsonrpc":"2.0","id":"1~5","result":{"a":%s}}',
        '{"jsonrpc":"2.0","id":%s,"result":{}}',
    ],
)
def test_lone_surrogates_are_refused(server: Server, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """JSON can spell them, UTF-8 cannot carry them: an answer could not hold one, nor a store. It is the client's
    mistake, so it is no error of the server, and nothing for its log.
    """
    direct = Direct(server.wsgi()).initialize()
    with direct.post((message % SURROGATE).encode()) as reply:
        assert reply.status == 400 and "lone surrogate" in reply.json()["error"]["message"]
    assert not caplog.records


def test_surrogates_that_are_pairs(server: Server) -> None:
    server.tool("echo")(lambda text: text)
    direct = Direct(server.wsgi()).initialize()
    for text in ("\U0001f600", "\\ud800"):
        assert direct.tool("echo", {"text": text})["content"][0]["text"] == text


def test_compressed_bodies_are_refused(server: Server) -> None:
    """As that, and not as broken JSON."""
    direct = Direct(server.wsgi()).initialize()
    for coding, status in (("gzip", 415), ("identity", 200)):
        with direct.request("ping", CONTENT_ENCODING=coding) as reply:
            assert reply.status == status


def test_arguments_that_are_nested_deeply() -> None:
    """The error is the caller's, not ours."""

    def length(rows: list[int]) -> int:
        return len(rows)

    signature = read_signature(length, Context)
    deep: Any = 1.0
    for _ in range(sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(ArgumentError):
        signature.convert({"rows": deep})


@pytest.mark.parametrize(
    ("options", "environ", "words"),
    [
        ({}, {}, []),
        ({}, {"wsgi.multiprocess": True}, ["SQLiteStore"]),
        ({"stateless": True}, {"wsgi.multiprocess": True}, []),
        ({}, {"wsgi.multithread": False, "wsgi.multiprocess": True}, ["SQLiteStore", "gthread"]),
        ({"json_response": True}, {"wsgi.multithread": False}, []),
    ],
)
def test_advice_on_the_wsgi_server(
    server: Server, options: Any, environ: Any, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What fails only now and then is said once, in the log."""
    app = server.wsgi(**options)
    for _ in range(2):
        Direct(lambda given, start: app(given | environ, start)).initialize()
    assert len(caplog.records) == len(words)
    assert all(word in record.message for word, record in zip(words, caplog.records, strict=True))


def test_large_batches_are_refused(server: Server) -> None:
    """Their answers could be a hundred times as long."""
    direct = Direct(server.wsgi()).initialize("2025-03-26")
    ping = {"jsonrpc": "2.0", "method": "ping"}
    for count, status in ((100, 200), (101, 400)):
        with direct.post([ping | {"id": number} for number in range(count)]) as reply:
            assert reply.status == status


def test_refusals_under_the_reference_server(server: Server) -> None:
    """No header of an answer is one that PEP 3333 keeps for the WSGI server."""
    output = io.BytesIO()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/mcp",
        "HTTP_HOST": "localhost",
        "HTTP_ACCEPT": BOTH,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "1000",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    app = server.wsgi(max_body=10)
    for _ in range(2):
        handler = SimpleHandler(io.BytesIO(b"x" * 1000), output, io.StringIO(), environ)
        handler.run(app)  # type: ignore[arg-type]
        app.close()
    assert output.getvalue().count(b"413 Content Too Large") == 1
    assert output.getvalue().count(b"503 Service Unavailable") == 1


@pytest.mark.parametrize(
    ("script", "path", "status"),
    [("/api/mcp", "", 200), ("/api/mcp", "/", 200), ("/api", "/mcp", 200), ("", "/mcp", 200), ("", "/", 404)],
)
def test_mounted_anywhere(server: Server, script: str, path: str, status: int) -> None:
    """A framework says where the application is; it need not be where the application thinks it is."""
    direct = Direct(server.wsgi("/mcp"))
    inner = direct.app

    def mounted(environ: dict[str, Any], start_response: Any) -> Any:
        return inner({**environ, "SCRIPT_NAME": script, "PATH_INFO": path}, start_response)

    direct.app = mounted
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    with direct.request("initialize", params) as reply:
        assert reply.status == status


def test_a_text_is_no_list_of_hosts(server: Server) -> None:
    for options in ({"allowed_hosts": "mcp.example.com"}, {"allowed_origins": "https://app.example.com"}):
        with pytest.raises(LocalProtocolError, match="list"):
            server.wsgi(**options)  # type: ignore[arg-type]


def test_principals_are_texts(server: Server) -> None:
    """A tuple would come back from a store as something else."""
    app: WSGIApp = server.wsgi(principal=lambda environ: ("a", "b"))  # type: ignore[arg-type, return-value]
    with Direct(app).request("ping") as reply:
        assert reply.status == 500


def test_streams_leave_connections_to_others(server: Server) -> None:
    """A stream keeps its connection's thread, so there are fewer streams than connections."""
    pytest.importorskip("cheroot")
    with server.serve(max_connections=8) as running:
        sessions = [Wire(running.url).initialize() for _ in range(3)]
        responses = [wire.send("GET") for wire in sessions for _ in range(3)]
        assert sorted(response.status for response in responses) == [200] * 6 + [503] * 3
        assert Wire(running.url).initialize().result("ping") == {}
        for response in responses:
            response.close()
    with server.serve(max_connections=8, max_streams=2) as running:
        wire = Wire(running.url).initialize()
        responses = [wire.send("GET") for _ in range(3)]
        assert [response.status for response in responses] == [200, 200, 503]
        for response in responses:
            response.close()


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that could not be started is not counted, and the pool works again when there are threads."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    workers = Workers("test", 2, max_waiting=0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert [workers.submit(lambda: None) for _ in range(5)] == [False] * 5
    done = threading.Event()
    assert workers.submit(done.set) and done.wait(PATIENCE)
    assert workers.close(PATIENCE)


def test_all_interfaces(server: Server) -> None:
    """The URL of a server that listens everywhere is one that can be called, and the others must be named."""
    pytest.importorskip("cheroot")
    with server.serve("0.0.0.0") as running:
        assert running.url.startswith("http://127.0.0.1:")
        Wire(running.url).initialize()
        with socket.create_connection((running.host, running.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /mcp HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"421" in answer and "other.example" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]


def test_unknown_version_in_the_handshake() -> None:
    """The header is not needed there, but it must be one that is known if it is there."""
    direct = Direct(Server("test", "1").wsgi(protocol="2025-11-25"))
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    for version, status in (("bogus", 400), ("2025-06-18", 200)):
        with direct.request("initialize", params, MCP_PROTOCOL_VERSION=version) as reply:
            assert reply.status == status
            assert reply.body()
