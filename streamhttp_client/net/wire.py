"""HTTP/1.1 answers, from bytes. Pure: no sockets, no clock (RFC 9112).

Why not ``http.client``: reading one answer with it costs more than all the rest of a call, since header fields go
through the ``email`` package; it takes an interim answer (103, 104) for the final one; and it hands out one chunk of
a chunked body at a time, which at one event a chunk is most of the cost of a stream.

A head is parsed once it is whole. A body is taken apart by a *framing*, which is fed what arrived and gives what
belongs to the body at once, holding back nothing but an unfinished chunk-size line. ``rest`` has what came after the
end. Limits: 64 KiB for a head or for trailers (twice what nginx and Apache accept), 4 KiB for a chunk-size line.
"""

from __future__ import annotations

from typing import Protocol

from .._headers import Headers
from ..exceptions import ConnectionLost, MessageTooLarge, RemoteProtocolError
from .errors import RefusedAnswer

__all__ = [
    "MAX_HEAD_SIZE",
    "ChunkedFraming",
    "CloseFraming",
    "Framing",
    "Head",
    "LengthFraming",
    "find_head_end",
    "framing_for",
    "parse_head",
]

MAX_HEAD_SIZE = 64 * 1024
_MAX_CHUNK_LINE = 4096
_MAX_KNOWN_LINES = 1024
# A size line with an extension or leading zeros is not worth remembering.
_LONGEST_KNOWN_LINE = 8
# Below this, taking chunks one by one is as fast as splitting.
_WORTH_SPLITTING = 1024
# And if the first chunk is longer than this: looking for a CRLF in it takes time too.
_LARGEST_SPLIT = 160
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Head:
    """Status line and header fields of an answer."""

    __slots__ = ("headers", "keep_alive", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers, keep_alive: bool) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.keep_alive = keep_alive


def find_head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Where the body begins, or -1 if the head is not whole yet.

    "a recipient MAY recognize a single LF as a line terminator" (RFC 9112, section 2.2), and some servers need it.
    """
    end = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, end if end >= 0 else len(data))
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def parse_head(data: bytes) -> Head:
    """Read a whole head, up to and with its blank line.

    Raises:
        RemoteProtocolError: It is not HTTP/1.x, or a field line has no colon.
    """
    # ISO-8859-1 gives every byte a character and loses none, whatever the field holds (RFC 9110, section 5.5).
    text = data.decode("latin-1").replace("\r\n", "\n")
    lines = text.split("\n")
    version, _, rest = lines[0].partition(" ")
    code, _, reason = rest.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise RemoteProtocolError(f"expected an HTTP/1.1 status line, got {lines[0]!r:.60}")
    # "Field values containing CR, LF, or NUL characters are invalid and dangerous" (RFC 9110, section 5.5): a session
    # id or a cookie with one in it would be sent back.
    if "\r" in text or "\0" in text:
        raise RemoteProtocolError("the head of the answer has a bare CR or a NUL in it")
    headers = Headers()
    cookies: list[str] = []
    name = ""
    for line in lines[1:]:
        if not line:
            break
        if line[0] in " \t":  # obs-fold, RFC 9112, section 5.2: replace by a space
            if not name:
                raise RemoteProtocolError("the first header line of the answer is a continuation")
            dict.__setitem__(headers, name, f"{headers[name]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name[-1] in " \t":
            raise RemoteProtocolError(f"expected a header line 'name: value', got {line!r:.60}")
        name = name.lower()
        value = value.strip(" \t")
        if name == "set-cookie":
            cookies.append(value)
        if name in headers:
            value = f"{headers[name]}, {value}"
        dict.__setitem__(headers, name, value)
    if cookies:
        headers.cookies = tuple(cookies)
    connection = dict.get(headers, "connection", "").lower()
    keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    if version == "HTTP/1.0" and "transfer-encoding" in headers:
        keep_alive = False  # "the message framing is faulty" (RFC 9112, section 6.1): close after it
    return Head(int(code), reason, headers, keep_alive)


class Framing(Protocol):
    """Finds the end of a body."""

    done: bool
    rest: bytes
    reusable: bool

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, give what of it is body."""

    def end(self) -> None:
        """The peer closed the connection. Raises ConnectionLost if the body is not whole by then."""


def framing_for(method: str, head: Head) -> Framing:
    """Choose by RFC 9112, section 6.3.

    Raises:
        RemoteProtocolError: The length of the body is not to be known.
    """
    if method == "HEAD" or head.status in (204, 304):
        return LengthFraming(0)
    coding = head.headers.get("transfer-encoding", "identity").strip().lower()
    length = head.headers.get("content-length")
    if coding == "chunked":
        framing = ChunkedFraming()
        # Both fields: a smuggling attempt or a broken proxy; the connection must not be used again.
        framing.reusable = length is None
        return framing
    if coding != "identity":  # which is what HTTP of 1999 called none at all
        # No TE was sent, so no other may come; handed out, its bytes would pass for the body.
        raise RefusedAnswer(f"expected transfer coding 'chunked', got {coding!r:.60}")
    if length is None:
        return CloseFraming()
    values = {value.strip(" \t") for value in length.split(",")}
    (value, *others) = values
    if others or not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise RemoteProtocolError(f"expected one content length in decimal digits, got {length!r:.60}")
    return LengthFraming(int(value))


class LengthFraming:
    """A body of known length."""

    __slots__ = ("_left", "_length", "done", "rest", "reusable")

    def __init__(self, length: int) -> None:
        self._length = self._left = length
        self.done = length == 0
        self.rest = b""
        self.reusable = True

    def feed(self, data: bytes) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.done = True
        if left:
            data, self.rest = data[: self._left], data[self._left :]
        self._left = 0
        return data

    def end(self) -> None:
        if not self.done:
            raise ConnectionLost(f"the answer ended after {self._length - self._left} bytes, expected {self._length}")


class CloseFraming:
    """A body that ends with the connection. Whether it is whole cannot be known."""

    __slots__ = ("done", "rest", "reusable")

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.reusable = False

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        self.done = True


class ChunkedFraming:
    """The chunked coding, RFC 9112, section 7.1.

    ``_left`` counts what is missing of the present chunk with its CRLF: above 2 payload, 2 or 1 the line end, 0 a size
    line is next, -1 the trailers. ``_line`` keeps an unfinished size line or trailer only, so payload is never copied.

    Streams of small events have a chunk for each, of few different sizes. Reading the size lines was more than half of
    what such a stream cost, so those that were seen are remembered in ``_known``, 1024 at most. And while no payload
    has a CRLF in it, which nearly all event streams can do without, what arrived is split at each CRLF in one go: if
    every second piece is as long as the one before it says, this is what taking one chunk after the other would give.
    """

    __slots__ = ("_known", "_left", "_line", "_lengths", "_splits", "_trailer_size", "done", "rest", "reusable")

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}  # a chunk's size line, and its length with its line end
        self._lengths: dict[bytes, int] = {}  # the same without line ends
        self._splits = True
        self._left = 0
        self._line = b""
        self._trailer_size = 0
        self.done = False
        self.rest = b""
        self.reusable = True

    def feed(self, data: bytes) -> bytes:
        if self._line:
            data, self._line = self._line + data, b""
        size, position, left = len(data), 0, self._left
        parts: list[bytes] = []
        known = self._known.get
        splits = self._splits
        while position < size:
            if left > 0:
                after = position + left
                if after <= size:  # the rest of the chunk is here, with its line end
                    if left > 2:
                        parts.append(data[position : after - 2])
                    if left > 1 and data[after - 2] != 13 or data[after - 1] != 10:
                        raise RemoteProtocolError("a chunk of the answer does not end where its size says")
                    position, left = after, 0
                    continue
                if left > 2:
                    parts.append(data[position : after - 2])
                if left > 1 and after - 1 == size and data[size - 1] != 13:
                    raise RemoteProtocolError("a chunk of the answer does not end where its size says")
                left = after - size
                break
            newline = data.find(b"\n", position)
            if splits and left == 0 and size - position >= _WORTH_SPLITTING:
                splits = False  # once in all that came now
                if known(data[position:newline], size) <= _LARGEST_SPLIT:
                    position = self._split(data, position, parts)
                    continue
            if left == 0:  # whole chunks of known size
                while newline >= 0 and (after := newline + known(data[position:newline], size)) < size:
                    if data[after - 1 : after + 1] != b"\r\n":
                        raise RemoteProtocolError("a chunk of the answer does not end where its size says")
                    parts.append(data[newline + 1 : after - 1])
                    position = after + 1
                    newline = data.find(b"\n", position)
                if position == size:
                    break
            if newline < 0:
                self._line = data[position:]
                _check_line(len(self._line))
                break
            line, position = data[position:newline], newline + 1
            _check_line(len(line))
            if left == 0:
                length = _chunk_size(line)
                left = length + 2 if length else -1
                if length and len(self._known) < _MAX_KNOWN_LINES and len(line) <= _LONGEST_KNOWN_LINE:
                    self._known[line] = left
                    self._lengths[line.rstrip(b"\r")] = length
            elif line.strip(b"\r"):
                self._trailer_size += len(line)
                if self._trailer_size > MAX_HEAD_SIZE:
                    raise MessageTooLarge(
                        f"the trailers of the answer are longer than {MAX_HEAD_SIZE} bytes", limit=MAX_HEAD_SIZE
                    )
            else:
                self.done = True
                self.rest = data[position:]
                break
        self._left = left
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _split(self, data: bytes, position: int, parts: list[bytes]) -> int:
        """Take all whole chunks from a size line on if none has a CRLF in it; where the rest begins."""
        pieces = data[position:].split(b"\r\n")
        end = len(pieces) - 1 & ~1  # what comes after the last pair is not whole
        payloads = pieces[1:end:2]
        lengths = list(map(self._lengths.get, pieces[0:end:2]))
        if lengths == list(map(len, payloads)):
            parts += payloads
            rest = pieces[end:]
            return len(data) - sum(map(len, rest)) - 2 * (len(rest) - 1)
        if None not in lengths or len(self._known) >= _MAX_KNOWN_LINES:
            self._splits = False  # it would go on being in vain
        return position

    def end(self) -> None:
        if not self.done:
            raise ConnectionLost("the answer ended in the middle of a chunked body")


def _check_line(length: int) -> None:
    if length > _MAX_CHUNK_LINE:
        raise MessageTooLarge(
            f"a chunk-size or trailer line of the answer is longer than {_MAX_CHUNK_LINE} bytes", limit=_MAX_CHUNK_LINE
        )


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t\r")
    # int() would take signs, underscores and 0x too.
    if not digits or len(digits) > 16 or not _HEX.issuperset(digits):
        raise RemoteProtocolError(f"expected a chunk size in hexadecimal digits, got {digits!r:.40}")
    return int(digits, 16)
