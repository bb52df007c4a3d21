"""The parser, case by case. Each case runs whole, byte by byte, cut at every point, and with more to come."""

from __future__ import annotations

import pickle
import sys
import tracemalloc

import pytest

from streamhttp_client.exceptions import LocalProtocolError, MessageTooLarge
from streamhttp_client.sse import Event, SSEParser, iter_events
from tests.sse.reference import interpret

MESSAGE = "message"


def cuttings(stream: bytes) -> list[list[bytes]]:
    """The whole stream, its single bytes, and each way to cut it in two."""
    return [
        [stream],
        [stream[i : i + 1] for i in range(len(stream))],
        *([stream[:i], stream[i:]] for i in range(1, len(stream))),
    ]


def check(stream: bytes, events: list[tuple[str, str, str]], *, last_event_id: str = "", retry_ms: int | None = None):
    """Assert what a stream means, however it is cut, also when the parser has already seen something."""
    reference = interpret(stream)
    assert (reference.events, reference.last_event_id, reference.retry_ms) == (events, last_event_id, retry_ms)
    for chunks in cuttings(stream):
        parser = SSEParser()
        got = [event for chunk in chunks for event in parser.feed(chunk)]
        assert got == events, chunks
        assert parser.last_event_id == last_event_id, chunks
        assert parser.retry_ms == retry_ms, chunks
        if not stream.startswith((b"\xef", b"\n")):
            parser = SSEParser()
            assert parser.feed(b": hello\n\n") == []  # now the block path serves the first chunk too
            assert [event for chunk in chunks for event in parser.feed(chunk)] == events, chunks
            # Bytes that follow, in the same chunk or alone, do not change what was there.
            for more in (b": more", b"\ndata: more", b"x"):
                parser = SSEParser()
                parser.feed(b":\n\n")
                last = chunks[-1] + more
                assert [e for chunk in [*chunks[:-1], last] for e in parser.feed(chunk)][: len(events)] == events


@pytest.mark.parametrize("eol", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_line_ends(eol: bytes) -> None:
    """CR, LF and CRLF end a line, also when a cut falls between CR and LF (W-01)."""
    stream = eol.join([b"event: a", b"id: 1", b"data: x", b"data: y", b"", b"data: z", b"", b""])
    check(stream, [("a", "x\ny", "1"), (MESSAGE, "z", "1")], last_event_id="1")


@pytest.mark.parametrize(
    "stream",
    [
        b"data: a\r\ndata: b\n\ndata: c\r\r",
        b"data: a\ndata: b\r\n\ndata: c\n\r",
        b"data: a\rdata: b\r\r\ndata: c\n\r\n",
    ],
)
def test_mixed_line_ends(stream: bytes) -> None:
    """One stream may mix all three (W-01)."""
    check(stream, [(MESSAGE, "a\nb", ""), (MESSAGE, "c", "")])


def test_crlf_across_chunks_is_no_blank_line() -> None:
    """The LF of a CRLF that two chunks share does not end the event (W-01)."""
    parser = SSEParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: b\r") == []
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: c\r\n\r") == [Event(data="a\nb\nc")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: d\n\n") == [Event(data="d")]


def test_bare_cr_ends_an_event_at_once() -> None:
    """An event that a CR ends comes out before the next byte arrives (W-01)."""
    parser = SSEParser()
    assert parser.feed(b"data: a\r\r") == [Event(data="a")]
    assert parser.feed(b"data: b\r\n\r") == [Event(data="b")]
    assert parser.feed(b"\ndata: c\r\r") == [Event(data="c")]


@pytest.mark.parametrize("stream", [b"\xef\xbb\xbfdata: a\n\n", b"\xef\xbb\xbf\n\ndata: a\n\n"])
def test_one_leading_bom_is_removed(stream: bytes) -> None:
    """One byte order mark at the beginning of the stream is no part of it (W-01)."""
    check(stream, [(MESSAGE, "a", "")])


def test_other_boms_stay() -> None:
    """A second byte order mark, one in a later event, or half of one is text (W-01)."""
    check(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [(MESSAGE, "b", "")])
    check(b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: \xef\xbb\xbfc\n\n", [(MESSAGE, "a", ""), (MESSAGE, "\ufeffc", "")])
    check(b"\xef\xbbdata: a\n\ndata: b\n\n", [(MESSAGE, "b", "")])


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\0"])
def test_only_cr_and_lf_end_lines(separator: str) -> None:
    """Other separators of Unicode are text, as in JSON (W-02)."""
    data = f'{{"a": "{separator}"}}{separator}'
    check(f"data: {data}\n\ndata: {data}\ndata:x\n\n".encode(), [(MESSAGE, data, ""), (MESSAGE, f"{data}\nx", "")])


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"a\x80b",
        b"\xf4\x90\x80\x80",
        b"\xe2\x28\xa1",
    ],
)
def test_invalid_utf8_is_replaced(junk: bytes) -> None:
    """Bytes that are no UTF-8 become U+FFFD as the standard decoder does it, wherever they are (W-01)."""
    text = junk.decode("utf-8", "replace")
    check(
        b"event: " + junk + b"\nid: " + junk + b"\ndata: " + junk + b"\ndata: x" + junk + b"\n\ndata: z\n\n",
        [(text, f"{text}\nx{text}", text), (MESSAGE, "z", text)],
        last_event_id=text,
    )


def test_text_of_all_lengths() -> None:
    """Characters of two, three and four bytes survive any cut (W-01)."""
    check(
        "data: é—😀\n\nid: 😀\ndata: é\n\n".encode(), [(MESSAGE, "é—😀", ""), (MESSAGE, "é", "😀")], last_event_id="😀"
    )


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: a\ndata: b\n\n", "a\nb"),
        (b"data:a\n\n", "a"),
        (b"data:  a\n\n", " a"),
        (b"data: a \n\n", "a "),
        (b"data:\ta\n\n", "\ta"),
        (b"data: a: b:c\n\n", "a: b:c"),
        (b"data\n\n", ""),
        (b"data:\n\n", ""),
        (b"data: \n\n", ""),
        (b"data\ndata\n\n", "\n"),
        (b"data: \ndata: \ndata: \n\n", "\n\n"),
        (b"data: a\ndata:b\ndata\ndata: c\n\n", "a\nb\n\nc"),
        (b"data: a\nevent: message\ndata: b\n\n", "a\nb"),
        (b"data: a\n: comment\ndata: b\n\n", "a\nb"),
        (b"data: a\nfoo: bar\nfoo\n bar\nDATA: x\ndata : x\n data: x\ndatax: y\ndata: b\n\n", "a\nb"),
        (b":\n: x\ndata: a\n\n", "a"),
        (b"\n\n\ndata: a\n\n\n\n", "a"),
        (b"data: " + b"x" * 300 + b"\n\n", "x" * 300),
    ],
)
def test_fields(stream: bytes, data: str) -> None:
    """Data lines are joined with LF, one space goes, a colon may be missing, other lines mean nothing (W-03)."""
    check(stream, [(MESSAGE, data, "")])
    check(stream.replace(b"\n", b"\r\n"), [(MESSAGE, data, "")])


@pytest.mark.parametrize(
    "head",
    [
        b"id: 7\nevent: message\n",
        b"event: message\nid: 7\n",
        b"id: 7\n",
        b"id:7\nevent: message\n",
        b"id: 7\nevent:\n",
        b"event: \nid: 7\n",
        b"retry: 1\nid: 7\n",
        b": x\nid: 7\n",
        b"id: 6\nevent: ping\nid: 7\nevent: message\n",
    ],
)
def test_heads(head: bytes) -> None:
    """What comes before the data may have any form (W-03, W-04, W-06)."""
    stream = head + b"data: a\n\n" + head + b"data: b\ndata: c\n\n"
    retry = 1 if b"retry" in head else None
    events = [(MESSAGE, "a", "7"), (MESSAGE, "b\nc", "7")]
    check(stream, events, last_event_id="7", retry_ms=retry)
    check(stream.replace(b"\n", b"\r\n"), events, last_event_id="7", retry_ms=retry)


@pytest.mark.parametrize("stray", [b"\n", b"\r"])
def test_another_line_end_inside_a_crlf_block(stray: bytes) -> None:
    """A bare CR or LF in a stream of CRLF still ends a line (W-01)."""
    check(b"id: 1" + stray + b"id: 2\r\ndata: a\r\n\r\n", [(MESSAGE, "a", "2")], last_event_id="2")
    check(b"id: 1" + stray + b"event: x\r\ndata: a\r\n\r\n", [("x", "a", "1")], last_event_id="1")
    check(b"event: y\r\nevent: x" + stray + b"data: a\r\n\r\n", [("x", "a", "")])
    check(b"event: x\r\ndata: a" + stray + b"data: b\r\ndata: c\r\n\r\n", [("x", "a\nb\nc", "")])
    check(b"data: a" + stray * 2 + b"data: b\r\n\r\ndata: c\r\n\r\n", [(MESSAGE, d, "") for d in "abc"])
    check(b": x" + stray + b"data: b\r\n\r\n", [(MESSAGE, "b", "")])
    check(b"id: 1\r\ndata: a" + stray + b"id: 2\r\n\r\n", [(MESSAGE, "a", "2")], last_event_id="2")


def test_id_persists_until_changed() -> None:
    """An id holds for later events until another comes (W-04)."""
    check(
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
        [(MESSAGE, "a", "1"), (MESSAGE, "b", "1"), (MESSAGE, "c", "2")],
        last_event_id="2",
    )


@pytest.mark.parametrize("reset", [b"id", b"id:", b"id: "])
def test_empty_id_resets(reset: bytes) -> None:
    """An empty id leaves no id in force (W-04)."""
    check(b"id: 1\ndata: a\n\n" + reset + b"\ndata: b\n\n", [(MESSAGE, "a", "1"), (MESSAGE, "b", "")])


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_id_with_nul_is_ignored(eol: bytes) -> None:
    """An id with NUL in it does not count (W-04)."""
    stream = b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nevent: message\nid: \0\ndata: c\n\nid: 3\0\nevent: x\ndata: d\n\n"
    events = [(MESSAGE, "a", "1"), (MESSAGE, "b", "1"), (MESSAGE, "c", "1"), ("x", "d", "1")]
    check(stream.replace(b"\n", eol), events, last_event_id="1")


@pytest.mark.parametrize(
    ("value", "retry_ms"),
    [
        (b" 1500", 1500),
        (b"0", 0),
        (b" 007", 7),
        (b" 999999999999999", 999_999_999_999_999),
        (b" 1000000000000000", None),
        (b" " + b"9" * 5000, None),
        (b" +5", None),
        (b" -5", None),
        (b" 1_0", None),
        (b"  5", None),
        (b" 5 ", None),
        (b" 5.0", None),
        (b"", None),
        (b" ", None),
        (" ٣".encode(), None),
        (" ²".encode(), None),
    ],
)
def test_retry(value: bytes, retry_ms: int | None) -> None:
    """A retry value counts if it is all ASCII digits, at most fifteen (W-05)."""
    if len(value) < 100:
        check(b"retry:" + value + b"\n\n", [], retry_ms=retry_ms)
        check(b"data: a\nretry:" + value + b"\ndata: b\n\n", [(MESSAGE, "a\nb", "")], retry_ms=retry_ms)
    parser = SSEParser()
    for chunk in (b"retry: 1\nretry:", value, b"\n"):
        assert parser.feed(chunk) == []
    assert parser.retry_ms == (1 if retry_ms is None else retry_ms)


def test_retry_applies_at_once() -> None:
    """A retry field counts when its line ends, without a blank line (W-05)."""
    parser = SSEParser()
    parser.feed(b"data: a\nretry: 20")
    assert parser.retry_ms is None
    parser.feed(b"\r")
    assert parser.retry_ms == 20


def test_types() -> None:
    """The default type is "message", a type holds for its own event only (W-06)."""
    check(
        b"event: ping\ndata: a\n\ndata: b\n\nevent:\ndata: c\n\nevent\ndata: d\n\nevent: x\nevent: y\ndata: e\n\n",
        [("ping", "a", ""), (MESSAGE, "b", ""), (MESSAGE, "c", ""), (MESSAGE, "d", ""), ("y", "e", "")],
    )


def test_without_data_no_event_but_the_id_counts() -> None:
    """A block without data is not dispatched, its id counts and its type is forgotten (W-04, W-06)."""
    check(b"event: ping\nid: 4\n\ndata: a\n\n", [(MESSAGE, "a", "4")], last_event_id="4")
    check(b"id: 4\n\n", [], last_event_id="4")
    check(b"id: 4\n\nevent: ping\n\nid\n\n", [])


def test_the_priming_event_is_an_event() -> None:
    """An id with an empty data field gives an event without text: ``data`` is there (MCP 2025-11-25, W-06)."""
    check(b"id: 4\ndata:\n\n", [(MESSAGE, "", "4")], last_event_id="4")
    check(b"id: 4\ndata: \n\n", [(MESSAGE, "", "4")], last_event_id="4")
    check(b"retry: 9\nid: 4\r\ndata\n\n", [(MESSAGE, "", "4")], last_event_id="4", retry_ms=9)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r"])
def test_an_unfinished_event_is_dropped(end: bytes) -> None:
    """What no blank line has ended gives no event, and its id does not count (W-07)."""
    check(b"id: 1\ndata: a\n\nid: 2\ndata: b" + end, [(MESSAGE, "a", "1")], last_event_id="1")
    check(b"id: 1\ndata: a\n\ndata: b\nid: 2" + end, [(MESSAGE, "a", "1")], last_event_id="1")
    check(b"id: 1\n\nevent: x\nid: 2" + end, [], last_event_id="1")


def test_a_new_connection_begins_clean() -> None:
    """A new parser takes the id over and nothing else (W-07)."""
    old = SSEParser()
    old.feed(b"id: 1\ndata: a\n\nid: 2\nevent: x\ndata: b\ndata: half a li")
    new = SSEParser(last_event_id=old.last_event_id)
    assert new.last_event_id == "1"
    assert new.feed(b"\xef\xbb\xbfdata: c\n\n") == [Event(data="c", id="1")]
    assert new.feed(b"id\n\n") == []
    assert new.last_event_id == ""


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_bytes(kind: type) -> None:
    """Anything with a byte buffer can be fed, and is not kept."""
    parser = SSEParser()
    assert parser.feed(kind(b"data: a\n\ndata: b")) == [Event(data="a")]
    assert parser.feed(kind(b"c\n\n")) == [Event(data="bc")]
    assert parser.feed(kind(b"data: d\n\n")) == [Event(data="d")]
    assert parser.feed(memoryview(b"data: e\n\n__")[:-2]) == [Event(data="e")]
    assert parser.feed(b"") == parser.feed(kind(b"")) == []


@pytest.mark.parametrize("wrong", ["data: a\n\n", 5, None])
def test_what_is_not_bytes_is_refused(wrong: object) -> None:
    """A text or number is a TypeError, not a strange event."""
    with pytest.raises(TypeError):
        SSEParser().feed(wrong)  # type: ignore[arg-type]


def test_event() -> None:
    """An event has defaults, equality and a repr, pickles, and cannot be changed."""
    event = Event("ping", "x", "1")
    assert Event() == Event(type="message", data="", id="")
    assert event == Event(type="ping", data="x", id="1") != Event("ping", "x", "2")
    assert repr(event) == "Event(type='ping', data='x', id='1')"
    with pytest.raises(AttributeError):
        event.data = "y"  # type: ignore[misc]
    (parsed,) = SSEParser().feed(b"event: ping\nid: 1\ndata: x\n\n")
    assert type(parsed) is Event
    assert pickle.loads(pickle.dumps(parsed)) == event


# The limit.


def too_large(parser: SSEParser, chunk: bytes) -> None:
    with pytest.raises(MessageTooLarge, match="larger than") as caught:
        parser.feed(chunk)
    assert caught.value.limit == parser.max_event_size


@pytest.mark.parametrize(
    ("stream", "size"),
    [
        (b"data: 12345\n\n", 5),
        (b"data:12345\r\n\r\n", 5),
        (b"data: 12\ndata: 45\n\n", 5),
        (b"data: 12\r\ndata: 45\r\n\r\n", 5),
        (b"data: 1\ndata: 3\ndata: 5\ndata: 7\ndata: 9\n\n", 9),
        (b"data\ndata\ndata\n\n", 2),
        (b"event: ping\ndata: 5\nid: 6\n\n", 6),
        (b"id: 1\nid: 2\nevent: 3\nevent: 4\ndata: 5\n\n", 5),
        (b"id: 12\0\ndata: 4\n\n", 4),
        ("data: é\n\n".encode(), 2),
    ],
)
def test_what_counts_to_the_limit(stream: bytes, size: int) -> None:
    """The values of data, event and id count, and what joins data lines; at the limit is not over it (W-08)."""
    for chunks in cuttings(stream):
        parser = SSEParser(size)
        assert len([event for chunk in chunks for event in parser.feed(chunk)]) == 1
        parser = SSEParser(size)
        parser.feed(b":\n\n")
        assert len([event for chunk in chunks for event in parser.feed(chunk)]) == 1
        assert len(parser.feed(stream)) == 1  # the size does not carry over
        if size > 1:
            parser = SSEParser(size - 1)
            with pytest.raises(MessageTooLarge):
                for chunk in chunks:
                    parser.feed(chunk)


@pytest.mark.parametrize("field", [b"data", b"event", b"id"])
@pytest.mark.parametrize("colon", [b":", b": "])
def test_raised_in_the_middle_of_a_line(field: bytes, colon: bytes) -> None:
    """The limit is known to be passed before the line ends, at the very byte (W-08)."""
    parser = SSEParser(10)
    line = field + colon + b"0123456789"
    for i in range(len(line)):
        assert parser.feed(line[i : i + 1]) == []
    too_large(parser, b"a")


def test_events_before_the_large_one_are_not_lost() -> None:
    """Events finished in the same chunk are returned, the next call raises; then the parser is dead (W-08)."""
    parser = SSEParser(5)
    assert parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: 123456") == [Event(data="a", id="1")]
    too_large(parser, b"")
    too_large(parser, b"\n\n")
    too_large(parser, b"data: b\n\n")
    assert parser.last_event_id == "1"


@pytest.mark.parametrize("before", [b"", b"data: a\n\n", b": comment\n\n"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\n\ndata: b\n\n"])
def test_a_large_event_alone_in_its_chunk_is_told_at_once(before: bytes, end: bytes) -> None:
    """Nothing else may come for long: where no event goes before it, the call that brings it raises (W-08)."""
    parser = SSEParser(5)
    parser.feed(before)
    too_large(parser, b"data: 123456" + end)


def test_iter_events_raises_without_waiting_for_more() -> None:
    """iter_events() gives the events before the large one and then raises, without another chunk (W-08)."""

    def chunks():
        yield b"data: a\n\ndata: 123456"
        pytest.fail("another chunk was asked for")

    events = iter_events(chunks(), max_event_size=5)
    assert next(events) == Event(data="a")
    with pytest.raises(MessageTooLarge):
        next(events)


@pytest.mark.parametrize("size", [0, -1])
def test_a_limit_below_one_byte_is_refused(size: int) -> None:
    """A limit that nothing fits is a mistake of the caller."""
    with pytest.raises(LocalProtocolError, match="at least 1 byte"):
        SSEParser(size)


@pytest.mark.parametrize("begin", [b":", b": ping ", b"foo: ", b"datax", b"dataset: ", b"retry: ", b"\xff", b" data: "])
def test_what_means_nothing_is_not_kept(begin: bytes) -> None:
    """A comment or unknown field without end takes no memory and never counts to the limit (W-08)."""
    parser = SSEParser(100)
    parser.feed(begin)
    chunk = b"1" * 65536
    parser.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(200):
            assert parser.feed(chunk) == []
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(chunk)
    assert parser.feed(b"\ndata: a\n\n") == [Event(data="a")]
    assert parser.retry_ms is None


def test_comments_between_fields_do_not_count() -> None:
    """Comments inside an event do not bring it nearer to its limit (W-08)."""
    parser = SSEParser(5)
    for _ in range(50):
        assert parser.feed(b": a comment longer than the limit\nfoo: neither does this\n") == []
    assert parser.feed(b"data: 12345\n: and more\n\n") == [Event(data="12345")]


# Linear work.


@pytest.mark.parametrize("drip", [1, 1000])
def test_a_long_line_in_drips_is_kept_once(drip: int) -> None:
    """A long line in small pieces costs no copy per piece, and about its own size in memory (W-08)."""
    size = 400_000 if drip == 1 else 8_000_000
    piece = b"x" * drip
    parser = SSEParser()
    parser.feed(b"data: ")
    copied = 0
    tracemalloc.start()
    try:
        held = parser._line
        for _ in range(size // drip):
            parser.feed(piece)
            # The same buffer all the time: it grows in place, by more than is asked for.
            assert parser._line is held
        current, peak = tracemalloc.get_traced_memory()
        copied = peak
    finally:
        tracemalloc.stop()
    assert sys.getsizeof(held) < 1.3 * size
    assert copied < 1.5 * size + 100_000
    assert parser.feed(b"\n\n") == [Event(data="x" * size)]
    assert parser._line == parser._data == b""


def test_one_byte_does_not_look_at_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeding a piece reads only that piece and the first bytes of the line, however long the line is (W-08)."""

    class Counting(bytearray):
        read = 0

        def __getitem__(self, key):
            got = super().__getitem__(key)
            Counting.read += len(got) if isinstance(key, slice) else 1
            return got

        def find(self, *args):
            raise AssertionError("the held line was searched")

        split = splitlines = partition = count = replace = find

    parser = SSEParser()
    parser.feed(b"dat")
    parser._line = Counting(parser._line)
    for _ in range(5000):
        parser.feed(b"a: x")
        parser.feed(b"y")
    assert len(parser._line) > 20_000
    assert Counting.read < 100


def test_many_lines_are_kept_as_bytes() -> None:
    """Many short data lines take about as much memory as they have bytes (W-08)."""
    parser = SSEParser()
    chunk = b"data: ab\ndata:c\n" * 1000
    parser.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(200):
            assert parser.feed(chunk) == []
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 1.5 * 200 * 1000 * len("ab\nc\n")
    (event,) = parser.feed(b"\n")
    assert event.data == "\n".join(["ab\nc"] * 201_000)


# Large chunks, which are cut where the block path needs it.


@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 7, 100, 1000, 65536])
def test_long_streams(eol: bytes, size: int) -> None:
    """A long stream of all kinds of blocks gives the same events for any size of chunk."""
    blocks = [
        b"data: plain\n\n" * 5,
        b"event: message\ndata: m\n\n" * 5,
        b"id: 1\nevent: message\ndata: sdk\n\n" * 5,
        b"event: message\nid: 2\ndata: sdk\n\n" * 5,
        b": ping\n\n",
        b"event: ping\ndata: p\n\n",
        b"data: a\ndata: b\ndata: c\ndata: d\n\n",
        b"id: 3\n\n",
        "data: é\u2028😀\n\n".encode() * 5,
        b"retry: 5\n\n",
        b"data: " + b"long" * 500 + b"\n\n",
        b"data: line\n" * 200 + b"\n",
        b"data: \xff\n\n",
        b"data: x\nid: 4\nevent: z\n\n",
    ]
    stream = b"".join(blocks + blocks[::-1] + blocks[::2] * 3 + blocks[1::3] * 3).replace(b"\n", eol)
    expected = interpret(stream)
    parser = SSEParser()
    got = list(iter_events((stream[i : i + size] for i in range(0, len(stream), size)), parser=parser))
    assert [tuple(event) for event in got] == expected.events
    assert (parser.last_event_id, parser.retry_ms) == (expected.last_event_id, expected.retry_ms)
