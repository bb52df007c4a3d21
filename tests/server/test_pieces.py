"""Long answers leave in pieces, so that a client which does not read keeps no copies of them in the server."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from streamhttp_client.server import Context, Server
from streamhttp_client.server.http_answers import _PIECE, in_pieces
from tests.server.kit import Direct
from tests.server.modern_kit import ModernDirect, meta


@pytest.mark.parametrize(
    "sizes",
    [[0], [1], [_PIECE], [_PIECE + 1], [1, _PIECE], [_PIECE - 1, 2], [_PIECE, 1, _PIECE], [3 * _PIECE + 5, 7, 0, 9]],
)
def test_nothing_is_lost_or_too_long(sizes: list[int]) -> None:
    parts = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    found = list(in_pieces(parts))
    assert b"".join(found) == b"".join(parts)
    assert all(0 < len(piece) <= _PIECE for piece in found) or found == [b""]


@pytest.mark.parametrize("era", [Direct, ModernDirect])
def test_long_results(era: Any) -> None:
    """The last piece, and no other, may leave together with the end of the body."""
    server = Server("test", "1")

    @server.tool()
    def long(ctx: Context) -> str:
        ctx.progress(1)
        return "\u00e4\n" * _PIECE

    app = server.wsgi()
    streams: list[Any] = []

    def watched(environ: Any, start_response: Any) -> Any:
        answer = app(environ, start_response)
        streams.append(answer)
        return answer

    session = era(watched)
    if era is Direct:
        session.initialize()
    token = {"progressToken": 1}
    reply = (
        session.request("tools/call", {"name": "long", "_meta": token})
        if era is Direct
        else session.ask("tools/call", {"name": "long", "_meta": meta() | token})
    )
    found, body = [], b""
    with reply:
        for chunk in reply.chunks:
            found.append((len(chunk), streams[-1].is_last))
            body += chunk
    assert max(size for size, _ in found) <= _PIECE
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    last = [line for line in body.decode().split("\n") if line.startswith("data: {")][-1]
    assert json.loads(last[6:])["result"]["content"][0]["text"] == "\u00e4\n" * _PIECE


def test_what_is_long_is_not_copied() -> None:
    """Head and body are one packet if they are short, and else the body goes out as it is."""
    pytest.importorskip("cheroot")
    from streamhttp_client.server.connection import _CHUNK, Writer

    near, far = socket.socketpair()
    with near, far:
        writer = Writer(near, 1.0)
        sent: list[bytes] = []
        writer._send = sent.append  # type: ignore[method-assign]
        body = b"x" * _CHUNK
        for data in (b"short", body):
            writer.hold = True
            writer.write(b"head")
            writer.hold = False
            writer.write(data)
    assert sent[:2] == [b"headshort", b"head"] and sent[2] is body
    assert writer.bytes_written == 4 + 5 + 4 + _CHUNK
