"""Answers that are wrong: each gives a typed error with its facts, and the next call works."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import (
    AuthenticationError,
    ContentTypeError,
    HTTPStatusError,
    InvalidResult,
    MessageTooLarge,
    Progress,
    RemoteProtocolError,
    RetryPolicy,
    RPCError,
    StreamHTTPError,
)
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport._faults import RESULT, open_client, progress, result, stays_usable

MIB = 1024 * 1024
Script = Callable[[Peer, Request], None]


def answers(status: int, body: bytes, content_type: str | None, **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def script(peer: Peer, request: Request) -> None:
        peer.respond(status, body, content_type=content_type, headers=named)

    return script


# -- HTTP


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8", "application/xml", None])
def test_a_wrong_content_type(content_type: str | None) -> None:
    """A 200 with a body of another type is named as that, with the type and the beginning of the body."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(200, b"<html>hello</html>", content_type))
        with pytest.raises(ContentTypeError) as caught:
            client.call_tool("echo", idempotent=True)
        assert (caught.value.status, caught.value.content_type) == (200, content_type)
        assert caught.value.body.startswith(b"<html>")
        assert len(server.seen("tools/call")) == 1, "what was answered is not repeated"
        stays_usable(client)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ; x=y"]
)
def test_a_content_type_with_parameters_or_in_capitals(content_type: str) -> None:
    """Media types are compared without case and parameters (RFC 9110, section 8.3.1)."""

    def script(peer: Peer, request: Request) -> None:
        peer.respond(200, json.dumps(result(request)).encode(), content_type=content_type)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert client.call_tool("echo").text == "ok"


def test_a_server_error_carries_its_body() -> None:
    """500 is an error with status, headers and body, after which the connection serves the next call."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(500, b"the database is down", "text/plain", X_Request_Id="r-7"))
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert (caught.value.status, caught.value.body) == (500, b"the database is down")
        assert caught.value.headers["x-request-id"] == "r-7"
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)
        assert server.accepted == 1


def test_an_endless_error_body_is_bounded() -> None:
    """Of an error's body at most 64 KiB are kept, and it is not read to its end."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream(500, content_type="text/plain")
        while True:
            peer.write(b"x" * 65536)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert 0 < len(caught.value.body) <= 65536
        stays_usable(client)


@pytest.mark.parametrize("status", [401, 403])
def test_missing_credentials(status: int) -> None:
    """401 and 403 are told apart from other statuses, and not repeated."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(status, b"", None, WWW_Authenticate="Bearer"))
        with pytest.raises(AuthenticationError) as caught:
            client.call_tool("echo", idempotent=True)
        assert caught.value.status == status and len(server.seen("tools/call")) == 1
        stays_usable(client)


def test_a_json_rpc_error_in_an_http_error() -> None:
    """The JSON-RPC error is the better news; the HTTP status stays on it."""

    def script(peer: Peer, request: Request) -> None:
        error = {"code": -32000, "message": "no", "data": [1]}
        peer.respond_json({"jsonrpc": "2.0", "id": request.id, "error": error}, 400)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(RPCError) as caught:
            client.call_tool("echo")
        assert (caught.value.code, caught.value.data, caught.value.status) == (-32000, [1], 400)
        stays_usable(client)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", [None, "0", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_busy_server_is_asked_again(status: int, retry_after: str | None) -> None:
    """429 and 503 say that the call did not run: it is repeated, even one that must not run twice."""
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    with RawMCPServer() as server, open_client(server) as client:
        busy = answers(status, b"busy", "text/plain", **headers)
        server.on("tools/call", busy, busy, RESULT)
        assert client.call_tool("echo").text == "ok"
        assert len(server.seen("tools/call")) == 3


def test_a_busy_server_is_not_asked_for_ever() -> None:
    """After the attempts of the policy the last answer is the error."""
    with RawMCPServer() as server, open_client(server, retry=RetryPolicy(attempts=3, base=0)) as client:
        server.on("tools/call", answers(503, b"busy", "text/plain"))
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert (caught.value.status, caught.value.body) == (503, b"busy")
        assert len(server.seen("tools/call")) == 3


def test_retry_after_that_is_too_long_ends_at_once() -> None:
    """A server that asks to come back tomorrow is not waited for."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(429, b"", None, Retry_After="86400"))
        with pytest.raises(HTTPStatusError) as caught:
            client.call_tool("echo")
        assert caught.value.status == 429 and caught.value.headers["retry-after"] == "86400"
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


@pytest.mark.parametrize("interim", [100, 102, 103])
def test_interim_answers_are_skipped(interim: int) -> None:
    """A 1xx before the answer on a kept-alive connection is no answer: each call gets its own."""

    def script(peer: Peer, request: Request) -> None:
        peer.send_head(interim, {"Link": "</style.css>; rel=preload"})
        peer.send_head(interim)
        name = request.json["params"]["name"]
        peer.respond_result(request, {"content": [{"type": "text", "text": name}]})

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert [client.call_tool(name).text for name in ("one", "two", "three")] == ["one", "two", "three"]
        assert server.accepted == 1


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
    ],
    ids=["other-protocol", "status", "negative-length", "chunk-size", "two-lengths"],
)
def test_what_is_not_http(head: bytes) -> None:
    """Nonsense on the socket is a typed error, and that connection is not used again."""

    def script(peer: Peer, request: Request) -> None:
        peer.send(head)
        peer.hold()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(StreamHTTPError):
            client.call_tool("echo", timeout=1)
        stays_usable(client)


def test_an_endless_head_is_bounded() -> None:
    """Headers without end are refused with a named error."""

    def script(peer: Peer, request: Request) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.send(b"X-Filler: " + b"x" * 4000 + b"\r\n")

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo")
        stays_usable(client)


# -- size


def _measured(client: Any) -> int:
    """Bytes at the peak of a call that must end with MessageTooLarge."""
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge) as caught:
            client.call_tool("echo")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.limit == 8 * MIB
    return peak


@pytest.mark.parametrize("kind", ["event", "line", "json", "sized json"])
def test_a_message_beyond_the_limit(kind: str) -> None:
    """64 MiB against a limit of 8: a named error, a few times the limit in memory, and no reading on."""
    piece = b"x" * 65536
    sent = 0

    def script(peer: Peer, request: Request) -> None:
        nonlocal sent
        if kind == "sized json":
            peer.send_head(200, {"Content-Type": "application/json", "Content-Length": str(64 * MIB)})
            write = peer.send
        else:
            peer.start_stream(content_type="application/json" if kind == "json" else "text/event-stream")
            write = peer.write
        write(b'{"jsonrpc": "2.0", "result": "' if "json" in kind else b"data: ")
        for _ in range(64 * MIB // len(piece)):
            write(piece)
            if kind == "event":
                write(b"\ndata: ")
            sent += len(piece)

    with RawMCPServer() as server, open_client(server, max_message_size=8 * MIB) as client:
        stays_usable(client)
        server.on("tools/call", script)
        peak = _measured(client)
        stays_usable(client)
        assert len(server.seen("tools/call")) == 1
    assert peak < 40 * MIB
    assert sent < 32 * MIB  # what the kernel's buffers took on top of the limit


def test_a_small_body_that_unpacks_to_a_large_one() -> None:
    """The limit counts what comes out of gzip, and unpacking stops there."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(b'{"jsonrpc": "2.0", "result": "')
    for _ in range(64):
        packed += packer.compress(b"x" * MIB)
    packed += packer.flush()

    def script(peer: Peer, request: Request) -> None:
        peer.respond(200, packed, content_type="application/json", headers={"Content-Encoding": "gzip"})

    with RawMCPServer() as server, open_client(server, max_message_size=8 * MIB) as client:
        server.on("tools/call", script)
        assert _measured(client) < 40 * MIB
        stays_usable(client)


def test_many_messages_may_pass_the_limit_together() -> None:
    """The limit is for one message: a stream may be as long as it likes."""
    seen: list[Progress] = []

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for count in range(32):
            message = progress(request, count)
            message["params"]["message"] = "x" * 65536
            peer.event(message)
        peer.event_result(request, RESULT)
        peer.end_stream()

    with RawMCPServer() as server, open_client(server, max_message_size=MIB) as client:
        server.on("tools/call", script)
        assert client.call_tool("echo", on_progress=seen.append).text == "ok"
    assert len(seen) == 32


# -- JSON-RPC


def as_json(peer: Peer, data: bytes) -> None:
    peer.respond(200, data, content_type="application/json")


def as_event(peer: Peer, data: bytes) -> None:
    peer.start_stream()
    peer.write(b"data: " + data + b"\n\n")
    peer.end_stream()


FORMS = pytest.mark.parametrize("form", [as_json, as_event])


@FORMS
@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"nonsense",
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"{}",
        b'{"jsonrpc": "1.0", "id": 1, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": 1, "message": ""}}',
        b'{"jsonrpc": "2.0", "id": 1, "error": "no"}',
        b'{"jsonrpc": "2.0", "id": [1], "result": {}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_rpc(form: Callable[[Peer, bytes], None], data: bytes) -> None:
    """It is the peer's error, in one class, whatever is wrong; the next call works."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: form(peer, data))
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo", timeout=5)
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


def test_an_empty_body() -> None:
    """200 with nothing in it answers no request."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(200, b"", "application/json"))
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo")
        stays_usable(client)


def test_accepted_answers_no_request() -> None:
    """202 is for notifications: a request that gets it will never be answered, which is said at once."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", answers(202, b"", None))
        with pytest.raises(StreamHTTPError):
            client.call_tool("echo", timeout=5)
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


@FORMS
def test_an_answer_to_somebody_else(form: Callable[[Peer, bytes], None]) -> None:
    """A result with an id that was never sent is not taken for ours."""
    other = json.dumps({"jsonrpc": "2.0", "id": "never-sent", "result": RESULT}).encode()
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", lambda peer, request: form(peer, other))
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo", timeout=5)
        stays_usable(client)


@pytest.mark.parametrize("change", [str, float, lambda id: f"{id} "], ids=["text", "float", "space"])
def test_ids_are_compared_with_their_type(change: Callable[[Any], Any]) -> None:
    """``"1"`` does not answer ``1``: ids match exactly or not at all."""

    def script(peer: Peer, request: Request) -> None:
        if change(request.id) == request.id and type(change(request.id)) is type(request.id):
            peer.respond_json({"jsonrpc": "2.0", "id": "", "result": RESULT})
        else:
            peer.respond_json({"jsonrpc": "2.0", "id": change(request.id), "result": RESULT})

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(StreamHTTPError):
            client.call_tool("echo", timeout=5)
        stays_usable(client)


def test_a_second_answer_to_an_older_request() -> None:
    """An id that was answered before is as wrong as one that was never sent, on a stream as well."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "id": first, "result": RESULT})
        peer.event_result(request, RESULT)
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        client.call_tool("echo")
        first = server.seen("tools/call")[0].id
        server.on("tools/call", script)
        with pytest.raises(RemoteProtocolError):
            client.call_tool("echo")
        stays_usable(client)


def test_a_second_answer_to_the_same_request() -> None:
    """The first answer counts; what comes after it is neither taken for it nor for the next call's."""
    wrong = {"content": [{"type": "text", "text": "wrong"}]}

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event_result(request, RESULT)
        peer.event_result(request, wrong)
        peer.end_stream()

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert [client.call_tool("echo").text for _ in range(3)] == ["ok"] * 3
        stays_usable(client)


def test_an_error_without_an_id_answers_its_own_request() -> None:
    """A JSON-RPC error with id null belongs to the POST that it answers."""

    def script(peer: Peer, request: Request) -> None:
        peer.respond_json({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}, 400)

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(RPCError) as caught:
            client.call_tool("echo")
        assert caught.value.code == -32600
        stays_usable(client)


@FORMS
@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "text",
        [],
        {"content": "text"},
        {"content": [7]},
        {"content": [{"text": "no type"}]},
        {"content": [], "isError": "yes"},
    ],
)
def test_a_result_of_the_wrong_shape(form: Callable[[Peer, bytes], None], wrong: Any) -> None:
    """A result that is not what ``tools/call`` promises is an InvalidResult that carries it."""

    def script(peer: Peer, request: Request) -> None:
        form(peer, json.dumps({"jsonrpc": "2.0", "id": request.id, "result": wrong}).encode())

    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        with pytest.raises(InvalidResult) as caught:
            client.call_tool("echo")
        assert caught.value.result == wrong
        assert len(server.seen("tools/call")) == 1
        stays_usable(client)


@pytest.mark.parametrize("wrong", [{"tools": 7}, {"tools": [7]}, {"tools": [{}]}, {}])
def test_a_list_of_the_wrong_shape(wrong: dict[str, Any]) -> None:
    """The same for a listing."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/list", wrong, {"tools": []})
        with pytest.raises(InvalidResult):
            client.list_tools()
        assert client.list_tools() == []


def test_pages_that_never_end() -> None:
    """A server that gives the same cursor again and again is noticed."""
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/list", {"tools": [], "nextCursor": "again"})
        with pytest.raises(RemoteProtocolError):
            client.list_tools()
        assert len(server.seen("tools/list")) < 20_000


def test_progress_with_a_foreign_token_is_dropped() -> None:
    """Unknown tokens, methods and event types neither fail a call nor reach its callback."""

    def script(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for params in ({"progressToken": "other", "progress": 1}, {"progress": 1}, {}):
            peer.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        peer.event({"jsonrpc": "2.0", "method": "notifications/never/heard/of"})
        peer.event("", event="ping")
        peer.event("not json at all", event="ping")
        peer.event(progress(request, 1))
        peer.event_result(request, RESULT)
        peer.end_stream()

    seen: list[Progress] = []
    with RawMCPServer() as server, open_client(server) as client:
        server.on("tools/call", script)
        assert client.call_tool("echo", on_progress=seen.append).text == "ok"
    assert [update.progress for update in seen] == [1]
