"""The parser against a naive reading of the standard, on streams and chunkings that nobody would think of."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamhttp_client.exceptions import MessageTooLarge
from streamhttp_client.sse import SSEParser
from tests.sse.reference import Reference, interpret

#: Raise it for a longer hunt: SSE_EXAMPLES=100000.
EXAMPLES = int(os.environ.get("SSE_EXAMPLES", "400"))

#: Pieces that matter to the format, so that random streams are full of near misses.
PIECES = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b":", b" ", b"\0"),
    *(b"data", b"data:", b"data: ", b"data: x", b"\ndata: y", b"event", b"event: ", b"event: a", b"event:"),
    *(b"id", b"id: ", b"id: 5", b"id: 12\0\n", b"id:\n", b"retry: ", b"retry: 10", b"retry:+5", b"1234567890"),
    *(b"datax", b"eve", b"foo: bar", b": ping\n\n", b"data: a\ndata: b\n\n"),
    b"event: m\nid: 8\ndata: hi\n\n",
    b"id: 7\r\nevent: message\r\ndata: hello\r\n\r\n",
    *(b"\xef\xbb\xbf", b"\xef\xbb", b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"),
    *("\u2028\u2029".encode(), "\x85".encode(), b"\x0b\x0c\x1c\x1d\x1e"),
]
streams = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 12), max_size=60)
more = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def split(stream: bytes, sizes: list[int]) -> list[bytes]:
    """Cut a stream into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [*pieces, stream]


def parse(chunks: list[bytes]) -> Reference:
    """Feed all chunks to one parser."""
    parser = SSEParser()
    events = [tuple(event) for chunk in chunks for event in parser.feed(chunk)]
    return Reference(events=events, last_event_id=parser.last_event_id, retry_ms=parser.retry_ms)


@more
@given(streams, cuts)
def test_as_the_standard_says(stream: bytes, sizes: list[int]) -> None:
    """Any stream means what the standard says, however it is cut (W-01 .. W-07)."""
    expected = interpret(stream)
    assert parse([stream]) == expected
    assert parse(split(stream, sizes)) == expected
    assert parse([stream[i : i + 1] for i in range(len(stream))]) == expected


@more
@given(streams, cuts)
def test_events_come_as_early_as_they_can(stream: bytes, sizes: list[int]) -> None:
    """After each chunk, all events have come out that the bytes so far finish."""
    parser = SSEParser()
    events = []
    fed = b""
    for chunk in split(stream, sizes):
        events += parser.feed(chunk)
        fed += chunk
        expected = interpret(fed)
        assert [tuple(event) for event in events] == expected.events
        assert (parser.last_event_id, parser.retry_ms) == (expected.last_event_id, expected.retry_ms)


@more
@given(streams, cuts, st.integers(1, 30))
def test_a_limit_does_not_depend_on_the_chunks(stream: bytes, sizes: list[int], limit: int) -> None:
    """However a stream is cut, MessageTooLarge comes or not, after the same events (W-08)."""
    outcomes = []
    for chunks in ([stream], split(stream, sizes), [stream[i : i + 1] for i in range(len(stream))]):
        parser = SSEParser(limit)
        events = []
        too_large = False
        try:
            for chunk in [*chunks, b""]:
                events += parser.feed(chunk)
        except MessageTooLarge as error:
            too_large = True
            assert error.limit == limit
        outcomes.append((events, too_large, parser.last_event_id, parser.retry_ms))
    assert outcomes[0] == outcomes[1] == outcomes[2]
