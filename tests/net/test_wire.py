"""HTTP/1.1 from bytes: heads and framings, cut at every point, and the lies that peers tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamhttp_client import ConnectionLost, MessageTooLarge, RemoteProtocolError, StreamHTTPError
from streamhttp_client._headers import Headers
from streamhttp_client.net import wire
from streamhttp_client.net.wire import (
    MAX_HEAD_SIZE,
    ChunkedFraming,
    CloseFraming,
    Framing,
    Head,
    LengthFraming,
    find_head_end,
    framing_for,
    parse_head,
)

# --- heads


def head(*lines: str, start: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> bytes:
    return end.join([start, *lines, "", ""]).encode("latin-1")


def fields(*lines: str, end: str = "\r\n") -> dict[str, str]:
    return dict(parse_head(head(*lines, end=end)).headers)


@pytest.mark.parametrize(
    ("start", "status", "reason"),
    [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 404 Not Found", 404, "Not Found"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.1 103 Early Hints", 103, "Early Hints"),
        ("HTTP/1.1 599 \xe9", 599, "\xe9"),
        ("HTTP/1.0 200 OK", 200, "OK"),
    ],
)
def test_status_lines(start: str, status: int, reason: str) -> None:
    """The reason may be empty, missing, or hold any bytes (RFC 9112, section 4)."""
    read = parse_head(head(start=start))
    assert (read.status, read.reason) == (status, reason)


@pytest.mark.parametrize(
    "start",
    [
        "", " ", "OK", "HTTP/1.1", "HTTP/1.1 ", "HTTP/2 200", "HTTP/1.2 200 OK", "HTTP/11 200 OK", "http/1.1 200 OK",
        "HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 +20 OK",
        "HTTP/1.1 2_0 OK", "HTTP/1.1 abc OK", "HTTP/1.1 \xb2\xb3\xb9 OK", "SSH-2.0-OpenSSH_9.2", "220 smtp ready",
        "<html>", "\x15\x03\x01\x00\x02\x02F",
    ],
)  # fmt: skip
def test_what_is_no_status_line(start: str) -> None:
    """Anything else on the first line is not HTTP/1.x, and is shown in part."""
    with pytest.raises(RemoteProtocolError, match="expected an HTTP/1.1 status line") as caught:
        parse_head(head("a" * 200, start=start))
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_fields(end: str) -> None:
    """Names in any case, values without the space around them, and either kind of line end."""
    assert fields("Content-Type:text/plain", "X-Empty:", "x-SPACE: \t a b \t ", "x: a:b", end=end) == {
        "content-type": "text/plain", "x-empty": "", "x-space": "a b", "x": "a:b",
    }  # fmt: skip


def test_no_fields() -> None:
    """A head may have none."""
    assert fields() == {}


def test_bytes_above_ascii_are_kept() -> None:
    """A value may hold any byte; each is one character, and none is lost (RFC 9110, section 5.5)."""
    value = "".join(map(chr, range(0xA0, 0x100)))
    assert fields(f"x: a{value}z") == {"x": f"a{value}z"}


def test_repeated_fields_are_joined() -> None:
    """RFC 9110, section 5.3: the values of fields of one name form a list, in order."""
    read = parse_head(head("Via: a", "x: 1", "VIA: b, c", "via:"))
    assert read.headers["via"] == "a, b, c, "


def test_cookies_are_kept_apart() -> None:
    """RFC 9110, section 5.3: Set-Cookie is the field that must not be joined."""
    read = parse_head(head("Set-Cookie: a=1; Expires=Wed, 01 Jan 2020 00:00:00 GMT", "x: y", "set-cookie: b=2"))
    assert read.headers.cookies == ("a=1; Expires=Wed, 01 Jan 2020 00:00:00 GMT", "b=2")
    assert parse_head(head("x: y")).headers.cookies == ()


def test_folded_lines() -> None:
    """RFC 9112, section 5.2: a line that begins with a space goes on with the value before it."""
    assert fields("x: a", "  b", "\tc ", "y: z") == {"x": "a b c", "y": "z"}
    assert fields("x:", " b") == {"x": " b"}
    with pytest.raises(RemoteProtocolError, match="continuation"):
        parse_head(head(" folded: too early"))


@pytest.mark.parametrize("line", ["no colon", ":", ": no name", "name : space", "name\t: tab", "x"])
def test_what_is_no_field(line: str) -> None:
    """RFC 9112, section 5.1: no space between name and colon; and there must be both."""
    with pytest.raises(RemoteProtocolError, match="expected a header line"):
        parse_head(head("good: one", line))


@pytest.mark.parametrize("value", ["a\rb", "a\x00b", "a\rset-cookie: c=d"])
def test_a_bare_carriage_return_never_gets_into_a_value(value: str) -> None:
    """RFC 9110, section 5.5: CR and NUL in a value are replaced by a space, or the message is refused.

    A cookie or a session id with a CR in it would otherwise be sent back, and split the request.
    """
    try:
        read = parse_head(head(f"x: {value}", f"Set-Cookie: {value}"))
    except RemoteProtocolError:
        return
    for kept in (*read.headers.values(), *read.headers.cookies):
        assert "\r" not in kept and "\x00" not in kept


@pytest.mark.parametrize(
    ("start", "connection", "keep_alive"),
    [
        ("HTTP/1.1 200 OK", None, True),
        ("HTTP/1.1 200 OK", "keep-alive", True),
        ("HTTP/1.1 200 OK", "close", False),
        ("HTTP/1.1 200 OK", "Close", False),
        ("HTTP/1.1 200 OK", "foo, CLOSE", False),
        ("HTTP/1.0 200 OK", None, False),
        ("HTTP/1.0 200 OK", "close", False),
        ("HTTP/1.0 200 OK", "Keep-Alive", True),
    ],
)
def test_connections_that_stay(start: str, connection: str | None, keep_alive: bool) -> None:
    """RFC 9112, section 9.3: 1.1 stays unless it says otherwise, 1.0 the other way round."""
    lines = [] if connection is None else [f"Connection: {connection}"]
    assert parse_head(head(*lines, start=start)).keep_alive is keep_alive


def test_a_transfer_coding_under_http_1_0_ends_the_connection() -> None:
    """RFC 9112, section 6.1: "treat the message as if the framing is faulty ... and close the connection"."""
    lines = ["Connection: keep-alive", "Transfer-Encoding: chunked"]
    assert parse_head(head(*lines, start="HTTP/1.0 200 OK")).keep_alive is False
    assert parse_head(head(*lines, start="HTTP/1.1 200 OK")).keep_alive is True


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_the_end_of_a_head(end: str) -> None:
    """Found only when it is whole, wherever the search begins, and not in the body."""
    data = head("a: b", "c: d", end=end)
    for size in range(len(data)):
        assert find_head_end(data[:size]) == -1
        assert find_head_end(data + b"body\r\n\r\n\n\n", max(0, size - 3)) == len(data)


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 OK\r\na: b\n\r\n", b"HTTP/1.1 200 OK\na: b\r\n\n", b"HTTP/1.1 200 OK\n\r\n"]
)
def test_the_end_of_a_head_with_mixed_line_ends(data: bytes) -> None:
    """RFC 9112, section 2.2: each line may end in LF or CRLF, so the blank one may do so by itself."""
    assert find_head_end(data + b"body") == len(data)
    assert parse_head(data).status == 200


@given(st.binary(max_size=200))
@example(b"HTTP/1.1 200 OK\r\n\n")
def test_any_bytes_make_a_head_or_an_error(data: bytes) -> None:
    """Nothing but the documented error comes out, whatever comes in."""
    try:
        parse_head(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n")
        parse_head(data)
    except RemoteProtocolError:
        pass


# --- which framing


def framing(method: str, status: int, *lines: str) -> Framing:
    return framing_for(method, parse_head(head(*lines, start=f"HTTP/1.1 {status} x")))


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("POST", 204), ("GET", 304)]
)
@pytest.mark.parametrize("line", ["Content-Length: 10", "Transfer-Encoding: chunked", "x: y"])
def test_answers_without_a_body(method: str, status: int, line: str) -> None:
    """RFC 9112, section 6.3, 1: whatever the fields promise, nothing follows."""
    none = framing(method, status, line)
    assert none.done and none.reusable


def test_which_framing() -> None:
    """RFC 9112, section 6.3: chunks, else the length, else the end of the connection."""
    assert isinstance(framing("GET", 200, "Transfer-Encoding: chunked"), ChunkedFraming)
    assert isinstance(framing("GET", 200, "Transfer-Encoding: CHUNKED "), ChunkedFraming)
    assert isinstance(framing("GET", 200, "Content-Length: 5"), LengthFraming)
    assert isinstance(framing("GET", 200, "Content-Length: 0"), LengthFraming)
    assert isinstance(framing("GET", 200), CloseFraming)
    assert isinstance(framing("GET", 200, "Transfer-Encoding: identity"), CloseFraming)
    assert isinstance(framing("GET", 200, "Transfer-Encoding: Identity", "Content-Length: 5"), LengthFraming)


def test_codings_beside_the_chunks_are_refused() -> None:
    """A coding that was not asked for (no TE was sent) is not handed out as if it were the body."""
    with pytest.raises(RemoteProtocolError, match="transfer coding"):
        framing("GET", 200, "Transfer-Encoding: gzip, chunked")
    with pytest.raises(RemoteProtocolError, match="transfer coding"):
        framing("GET", 200, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")
    for coding in ("gzip", "chunked, gzip", "x"):
        with pytest.raises(RemoteProtocolError, match="transfer coding"):
            framing("GET", 200, f"Transfer-Encoding: {coding}", "Content-Length: 5")


def test_both_length_and_chunks() -> None:
    """RFC 9112, section 6.3, 3: chunks count, and the connection is not used again."""
    both = framing("GET", 200, "Content-Length: 5", "Transfer-Encoding: chunked")
    assert isinstance(both, ChunkedFraming)
    assert both.feed(b"2\r\nab\r\n0\r\n\r\n") == b"ab"
    assert both.done and not both.reusable


@pytest.mark.parametrize("lines", [("Content-Length: 5", "Content-Length: 5"), ("Content-Length: 5, 5",)])
def test_a_length_said_twice(lines: Sequence[str]) -> None:
    """RFC 9112, section 6.3, 5: the same length twice is one length."""
    assert framing("GET", 200, *lines).feed(b"abcdef") == b"abcde"


@pytest.mark.parametrize(
    "value",
    ["5, 6", "", ",", "5,", "+5", "-5", "5_0", "0x5", "5.0", "five", "5 5", "\xb2", "9" * 19, "5;", "\xa05"],
)
def test_lengths_that_cannot_be(value: str) -> None:
    """RFC 9112, section 6.3, 5: a length that is not one decimal number is an error, not a guess."""
    with pytest.raises(RemoteProtocolError, match="content length"):
        framing("GET", 200, f"Content-Length: {value}")
    with pytest.raises(RemoteProtocolError, match="content length"):
        framing("GET", 200, "Content-Length: 7", f"Content-Length: {value}")


# --- framings


def drain(framing: Framing, pieces: Sequence[bytes]) -> tuple[bytes, bytes, bool]:
    """What a framing gives of a body that arrives in ``pieces``: the body, what came after it, and if it is done."""
    body = b""
    rest = b""
    for piece in pieces:
        if framing.done:
            rest += piece
            continue
        body += framing.feed(piece)
        if framing.done:
            rest += framing.rest
    return body, rest, framing.done


def splits(data: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at every point."""
    single = [data[at : at + 1] for at in range(len(data))]
    return [[data], single, *([data[:at], data[at:]] for at in range(1, len(data)))]


@pytest.mark.parametrize("length", [1, 2, 10])
@pytest.mark.parametrize("trailing", [b"", b"HTTP/1.1 500"])
def test_a_length_at_every_split(length: int, trailing: bytes) -> None:
    """So many bytes are the body, and the rest is not."""
    data = b"0123456789"[:length]
    for pieces in splits(data + trailing):
        assert drain(LengthFraming(length), pieces) == (data, trailing, True)


def test_a_length_that_is_not_reached() -> None:
    """An answer cut short says how much was missing."""
    short = LengthFraming(10)
    assert short.feed(b"abc") == b"abc"
    with pytest.raises(ConnectionLost, match="ended after 3 bytes, expected 10"):
        short.end()
    whole = LengthFraming(3)
    whole.feed(b"abc")
    whole.end()


def test_a_body_to_the_end_of_the_connection() -> None:
    """Only the end of the connection ends it, so that connection serves nobody else."""
    body = CloseFraming()
    assert body.feed(b"a") + body.feed(b"\r\n\r\n") == b"a\r\n\r\n"
    assert not body.done and not body.reusable
    body.end()
    assert body.done


CHUNKED = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc"),
    (b"2\r\n\r\n\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n\n"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"a;name=value;q=\"x\"\r\n0123456789\r\n0;end\r\n\r\n", b"0123456789"),
    (b"00005 \t\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n0\r\nTrailer: x\r\nother: y\r\n\r\n", b"hello"),
    (b"5\nhello\n0\n\n", b"hello"),
    (b"5\r\nhello\n0\n\r\n", b"hello"),
]


@pytest.mark.parametrize(("data", "body"), CHUNKED)
@pytest.mark.parametrize("trailing", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n"])
def test_chunks_at_every_split(data: bytes, body: bytes, trailing: bytes) -> None:
    """RFC 9112, section 7.1: sizes, extensions, line ends and trailers, wherever the network cuts them."""
    if b"hello\n" in data:
        # A line end of one byte after a chunk cannot be told from a wrong size; nobody sends it.
        with pytest.raises(RemoteProtocolError):
            drain(ChunkedFraming(), [data + trailing])
        return
    for pieces in splits(data + trailing):
        assert drain(ChunkedFraming(), pieces) == (body, trailing, True)


@pytest.mark.parametrize("data", [data for data, _ in CHUNKED if b"hello\n" not in data])
def test_chunks_that_end_too_early(data: bytes) -> None:
    """Cut anywhere before its end, a chunked body is not whole, and that is said."""
    for size in range(len(data)):
        cut = ChunkedFraming()
        cut.feed(data[:size])
        assert not cut.done
        with pytest.raises(ConnectionLost, match="middle of a chunked body"):
            cut.end()


@pytest.mark.parametrize(
    "line",
    [b"", b" ", b"-5", b"+5", b"0x5", b"5_0", b"5.0", b"g", b"5 5", b"\xb2", b";5", b"f" * 17, b"five", b"\x005"],
)
def test_chunk_sizes_that_cannot_be(line: bytes) -> None:
    """RFC 9112, section 7.1: a size is hexadecimal digits, and nothing that ``int()`` takes besides."""
    data = line + b"\r\n" + b"x" * 80
    for pieces in splits(data):
        with pytest.raises(RemoteProtocolError, match="chunk size"):
            drain(ChunkedFraming(), pieces)


@pytest.mark.parametrize("end", [b"", b"\r", b"\rx", b"xy", b"\n\r", b"x\n"])
def test_a_chunk_that_is_longer_than_its_size(end: bytes) -> None:
    """Where the line end should be is something else: the size was a lie."""
    for pieces in splits(b"3\r\nabc" + end + b"zzzz\r\n0\r\n\r\n"):
        with pytest.raises(RemoteProtocolError, match="does not end where its size says"):
            drain(ChunkedFraming(), pieces)


def test_a_body_is_not_held_back() -> None:
    """Each byte of a body comes out as soon as it is in, though its chunk is not whole: events depend on it."""
    chunked = ChunkedFraming()
    assert chunked.feed(b"ff\r\n") == b""
    assert [chunked.feed(bytes([byte])) for byte in b"data: 1\n\n"] == [bytes([byte]) for byte in b"data: 1\n\n"]


def feed_lines(make: Callable[[], bytes], count: int, size: int) -> None:
    """Feed a framing ``count`` times what ``make`` gives, in pieces of ``size``."""
    data = make() * count
    framing = ChunkedFraming()
    for at in range(0, len(data), size):
        framing.feed(data[at : at + size])


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_an_endless_size_line(size: int) -> None:
    """A size line is bounded at 4 KiB, in whatever pieces it comes."""
    with pytest.raises(MessageTooLarge) as caught:
        feed_lines(lambda: b"5;" + b"x" * 100, 200, size)
    assert caught.value.limit == 4096


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_size_line_that_is_too_long_and_ends(size: int) -> None:
    """The bound does not depend on whether the whole line came in one piece."""
    with pytest.raises(MessageTooLarge):
        feed_lines(lambda: b"1;" + b"x" * 10_000 + b"\r\na\r\n", 1, size)


@pytest.mark.parametrize("size", [100, 100_000])
def test_endless_trailers(size: int) -> None:
    """Trailers are bounded as a head is."""
    framing = ChunkedFraming()
    framing.feed(b"0\r\n")
    line = b"x-trailer: " + b"y" * 80 + b"\r\n"
    data = line * (2 * MAX_HEAD_SIZE // len(line))
    with pytest.raises(MessageTooLarge) as caught:
        for at in range(0, len(data), size):
            framing.feed(data[at : at + size])
    assert caught.value.limit == MAX_HEAD_SIZE


def test_many_empty_trailer_lines_do_not_end_twice() -> None:
    """The first blank line ends the body; all after it is of the next answer."""
    assert drain(ChunkedFraming(), [b"0\r\n\r\n\r\n\r\n"]) == (b"", b"\r\n\r\n", True)


# --- against a reference that is too simple to be wrong


def reference(data: bytes) -> tuple[bytes, bytes] | None:
    """A chunked body and what follows it, or None if it is not whole."""
    body = b""
    while True:
        line = re.match(rb"([0-9a-fA-F]+)[^\n]*\n", data)
        if line is None:
            return None
        size, data = int(line[1], 16), data[line.end() :]
        if size == 0:
            break
        if len(data) < size + 2:
            return None
        body, data = body + data[:size], data[size + 2 :]
    while (end := data.find(b"\n")) >= 0:
        line_, data = data[: end + 1], data[end + 1 :]
        if not line_.strip(b"\r\n"):
            return body, data
    return None


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
extensions = st.sampled_from([b"", b";a", b";a=b", b" ", b";\xff"])
trailers = st.lists(st.sampled_from([b"a: b\r\n", b"c:\r\n", b"\xff: \xfe\r\n"]), max_size=2)


@st.composite
def coded(draw: st.DrawFn) -> bytes:
    parts = []
    for chunk in draw(chunks):
        size = draw(st.sampled_from(["%x", "%X", "0%x"])) % len(chunk)
        parts.append(size.encode() + draw(extensions) + b"\r\n" + chunk + b"\r\n")
    parts.append(b"0" + draw(extensions) + b"\r\n" + b"".join(draw(trailers)) + b"\r\n")
    return b"".join(parts)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in zip(marks, marks[1:], strict=False)]


places = st.lists(st.integers(0, 10_000), max_size=12)


@given(coded(), st.binary(max_size=20), places)
def test_chunks_as_the_reference_has_them(data: bytes, trailing: bytes, places: list[int]) -> None:
    """Any body, in any pieces, comes out as the simple reference reads it whole."""
    expected = reference(data + trailing)
    assert expected is not None
    assert drain(ChunkedFraming(), cut(data + trailing, places)) == (*expected, True)


@given(st.binary(max_size=60) | coded().flatmap(lambda d: st.just(d).map(lambda d: d.replace(b"\r", b"", 1))), places)
def test_pieces_make_no_difference(data: bytes, places: list[int]) -> None:
    """Right or wrong, what comes out does not depend on how it came in."""

    def outcome(pieces: Sequence[bytes]) -> object:
        framing = ChunkedFraming()
        try:
            return drain(framing, pieces)
        except StreamHTTPError as error:
            return type(error), str(error)[:40]

    assert outcome(cut(data, places)) == outcome([data])


ambiguous = st.lists(st.text("\r\n25", min_size=1, max_size=3).map(str.encode), max_size=30)


@given(ambiguous, st.sampled_from([b"", b"2\r\n25\r\n", b"0\r\n\r\n"]), places, st.booleans())
@example([b"25", b"25", b"\r\n", b"25"], b"", [10], False)
def test_chunks_that_look_like_size_lines(payloads: list[bytes], trailing: bytes, places: list[int], bad: bool) -> None:
    """Many chunks are taken at once; whatever is in them, the result is that of one after the other."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(payload), payload) for payload in payloads) + b"0\r\n\r\n" + trailing
    if bad:  # a byte too many, somewhere
        at = sum(places) % len(data)
        data = data[:at] + b"5" + data[at:]

    def outcome(pieces: Sequence[bytes]) -> object:
        framing = ChunkedFraming()
        for size in (1, 2, 3):  # sizes that were seen before
            framing.feed(b"%x\r\n%b\r\n" % (size, b"x" * size))
        try:
            return drain(framing, pieces)
        except StreamHTTPError as error:
            return type(error), str(error)[:40]

    one_by_one = outcome([data[at : at + 1] for at in range(len(data))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_WORTH_SPLITTING", 0)
        assert outcome([data]) == outcome(cut(data, places)) == one_by_one
    if not bad:
        assert one_by_one == (b"".join(payloads), trailing, True)


def test_chunks_of_any_sizes_take_bounded_memory() -> None:
    """Sizes that were seen are remembered, but not all that there can be."""
    framing = ChunkedFraming()
    for size in range(1, 5000):
        assert framing.feed(b"%x\r\n%b\r\n" % (size, b"x" * size)) == b"x" * size
        framing.feed(b"1;%d\r\nx\r\n" % size)
    assert len(framing._known) == 1024 and max(map(len, framing._known)) <= 8
    assert len(framing._lengths) == 1024


@given(st.integers(0, 60), st.binary(max_size=80), places)
def test_lengths_as_slicing_has_them(length: int, data: bytes, places: list[int]) -> None:
    """A body of known length is a slice."""
    framing = LengthFraming(length)
    got = drain(framing, cut(data, places))
    assert got == (data[:length], data[length:], len(data) >= length)


def test_heads_hold_what_was_read() -> None:
    """A head is a plain value."""
    read = Head(200, "OK", Headers({"a": "b"}), True)
    assert (read.status, read.reason, read.headers["A"], read.keep_alive) == (200, "OK", "b", True)
