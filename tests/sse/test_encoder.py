"""The encoder, and what the parser makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.sse import Event, SSEParser, encode_comment, encode_event

text = st.text(st.characters(exclude_categories=["Cs"]))
line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


def lf(value: str) -> str:
    return value.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"data": "a"}, b"data: a\n\n"),
        ({"data": " a "}, b"data:  a \n\n"),
        ({"data": ": a"}, b"data: : a\n\n"),
        ({"data": "a\nb\r\nc\rd"}, b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ({"data": "\n"}, b"data: \ndata: \n\n"),
        ({"data": "a\u2028b\x85c\x0b"}, "data: a\u2028b\x85c\x0b\n\n".encode()),
        ({"data": "a", "type": "ping", "id": "1", "retry_ms": 5}, b"event: ping\nid: 1\nretry: 5\ndata: a\n\n"),
        ({"data": "a", "id": ""}, b"id: \ndata: a\n\n"),
        ({"data": "a", "retry_ms": 0}, b"retry: 0\ndata: a\n\n"),
        ({}, b"data:\n\n"),
        ({"data": None, "id": "1"}, b"id: 1\n\n"),
        ({"data": None, "retry_ms": 100}, b"retry: 100\n\n"),
    ],
)
def test_bytes(arguments: dict[str, object], expected: bytes) -> None:
    """An event is its fields, one line for each line of data, and a blank line (W-03)."""
    assert encode_event(**arguments) == expected  # type: ignore[arg-type]


def test_priming_event() -> None:
    """An id without data is the event that MCP servers send first (MCP 2025-11-25, transports)."""
    assert encode_event(id="x") == b"id: x\ndata:\n\n"
    assert SSEParser().feed(encode_event(id="x")) == [Event(data="", id="x")]


@pytest.mark.parametrize("bad", ["\n", "\r", "a\r\nb", "\0", "a\0"])
def test_bad_ids_are_refused(bad: str) -> None:
    """An id that would not arrive, or would begin another line, is refused (W-04)."""
    with pytest.raises(LocalProtocolError, match="event id must not have"):
        encode_event("a", id=bad)


@pytest.mark.parametrize("bad", ["\n", "\r", "a\r\ndata: b"])
def test_bad_types_are_refused(bad: str) -> None:
    """A type that would begin another line is refused."""
    with pytest.raises(LocalProtocolError, match="event type must not have"):
        encode_event("a", type=bad)


def test_other_mistakes_are_refused() -> None:
    """Neither a negative retry time nor half a surrogate pair can be sent (W-05)."""
    with pytest.raises(LocalProtocolError, match="negative"):
        encode_event("a", retry_ms=-1)
    for send in (
        lambda: encode_event("\ud800"),
        lambda: encode_event("a", id="\ud800"),
        lambda: encode_event("a", type="\ud800"),
        lambda: encode_comment("\ud800"),
    ):
        with pytest.raises(LocalProtocolError, match="UTF-8"):
            send()


@pytest.mark.parametrize(
    ("comment", "expected"),
    [("", b":\n\n"), ("ping", b": ping\n\n"), ("a\r\nb\rc\n", b": a\n: b\n: c\n:\n\n"), (" a", b":  a\n\n")],
)
def test_comments(comment: str, expected: bytes) -> None:
    """Each line of a comment begins with a colon."""
    assert encode_comment(comment) == expected


@given(text, st.none() | line, st.none() | line, st.none() | st.integers(0, 10**15 - 1))
def test_the_parser_gives_back_what_was_sent(
    data: str, event_type: str | None, event_id: str | None, retry_ms: int | None
) -> None:
    """What is encoded is parsed to the same event, with LF for all line ends, whole and byte by byte."""
    stream = encode_event(data, type=event_type, id=event_id, retry_ms=retry_ms)
    event = Event(event_type or "message", lf(data), "before" if event_id is None else event_id)
    for chunks in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        parser = SSEParser(last_event_id="before")
        assert [e for chunk in chunks for e in parser.feed(chunk)] == [event]
        assert (parser.last_event_id, parser.retry_ms) == (event.id, retry_ms)


@given(text)
def test_a_comment_is_nothing(comment: str) -> None:
    """No comment becomes an event or joins one."""
    parser = SSEParser()
    assert parser.feed(encode_comment(comment) + encode_event("a") + encode_comment(comment)) == [Event(data="a")]
    assert (parser.last_event_id, parser.retry_ms) == ("", None)
