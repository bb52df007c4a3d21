"""Server-sent events: bytes in, events out.

Follows "Parsing an event stream" and "Interpreting an event stream" of the WHATWG HTML standard,
https://html.spec.whatwg.org/multipage/server-sent-events.html, for any slicing of the stream into chunks.

Strategy. There is one definition of the format, the *line path* (:meth:`SSEParser._feed_lines` and below),
which takes bytes line by line and keeps what is unfinished between chunks. Beside it the *block path*
(:meth:`SSEParser._feed_blocks`) serves what nearly all traffic is, chunks that begin where a block begins: it
decodes the chunk in one go, splits it at blank lines in C and reads the usual forms of a block directly; any
other block goes back to the line path as bytes. Cutting first and decoding later, or the other way round,
gives the same text, because CR and LF are never part of a longer UTF-8 sequence.

Growth. Nothing is held but the block that is not finished. Comments and unknown fields are dropped as they
arrive; the values of ``data``, ``event`` and ``id`` are held up to ``max_event_size``. Each byte is copied a
bounded number of times, however small the chunks are.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streamhttp_client.exceptions import LocalProtocolError, MessageTooLarge

__all__ = ["Event", "SSEParser", "iter_events"]

_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
#: Longest "field: " that decides what a line is.
_LONGEST_PREFIX = len(b"event: ")
#: The standard sets no limit. Fifteen digits of milliseconds are 31,000 years; without a bound, one line
#: could take memory for ever, and int() refuses more than 4300 digits.
_MAX_RETRY_DIGITS = 15
_DEFAULT_MAX_EVENT_SIZE = 64 * 1024 * 1024

#: Line end, blank line at the end of a block, and how a block without an id begins that an MCP server sends.
_LF = ("\n", "\n\n", "event: message\ndata: ")
_CRLF = ("\r\n", "\r\n\r\n", "event: message\r\ndata: ")

_new = tuple.__new__  # half the time of Event(...), which shows with small events


class Event(NamedTuple):
    """One dispatched event."""

    type: str = "message"
    """The event's type."""
    data: str = ""
    """Its data lines, joined with LF. Empty if there was a ``data`` field without a value."""
    id: str = ""
    """The last event id of the stream when this event came: its own, or one that an earlier block set."""


class SSEParser:
    """Turns the chunks of one stream into events.

    Use a new parser for each connection: ``SSEParser(last_event_id=old.last_event_id)`` carries the id over
    and leaves the unfinished rest of the broken stream behind. There is nothing to call at the end of a
    stream; an event that no blank line has ended is dropped, and its id does not count.

    Not safe to share between threads.

    Args:
        max_event_size: Most bytes that the values of one block's ``data``, ``event`` and ``id`` fields, and
            the LFs that join its data lines, may have together. Comments and other fields do not count.
        last_event_id: The id that is in force before the first block.

    Attributes:
        last_event_id: Id of the last finished block that had one; blocks without data count.
        retry_ms: The last ``retry`` field, in milliseconds, or None. It counts as soon as its line ends. A
            value of more than 15 digits is ignored.
        max_event_size: As given.
    """

    __slots__ = (
        "last_event_id",
        "max_event_size",
        "retry_ms",
        "_between_blocks",
        "_data",
        "_failed",
        "_id",
        "_line",
        "_line_ignored",
        "_line_value_at",
        "_size",
        "_skip_lf",
        "_start",
        "_type",
    )

    def __init__(self, max_event_size: int = _DEFAULT_MAX_EVENT_SIZE, *, last_event_id: str = "") -> None:
        if max_event_size < 1:
            raise LocalProtocolError(f"max_event_size must be at least 1 byte, got {max_event_size!r}")
        self.max_event_size = max_event_size
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None

        # The next byte begins a block and nothing is held: the block path may take over.
        self._between_blocks = False
        self._failed = False
        # What may become the byte order mark; None once the stream has really begun.
        self._start: bytes | None = b""
        # The last byte was a CR: a LF that comes next belongs to it.
        self._skip_lf = False

        # The line that has not ended. Once its field and the index where its value begins are known, the
        # latter is in _line_value_at. A line that means nothing is marked, and not kept.
        self._line = bytearray()
        self._line_value_at = 0
        self._line_ignored = False

        # The block that has not ended. Each data line in _data is followed by a LF, as in the standard.
        self._data = bytearray()
        self._type = b""
        self._id: bytes | None = None
        self._size = 0

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes of the stream and return the events that they finish, in order.

        Args:
            chunk: Any number of bytes, cut anywhere.

        Raises:
            MessageTooLarge: An event is larger than ``max_event_size``; said as soon as it is known, in the
                middle of a line too. If events were finished before it in the same chunk, they are returned
                and the next call raises, ``feed(b"")`` too. The parser is dead after that: all calls raise.
        """
        events: list[Event] = []
        if self._between_blocks and chunk.__class__ is bytes:
            self._feed_blocks(chunk, events)
            return events
        if self._failed:
            raise self._too_large()
        # memoryview() refuses what bytes() would misread: a str, or an int as a number of zeros.
        chunk = bytes(memoryview(chunk))
        end = self._end_of_block(chunk)
        self._feed_lines(chunk[:end], events)
        if end < len(chunk) and not self._failed:
            self._feed_blocks(chunk[end:], events)
        if self._failed and not events:
            raise self._too_large()
        return events

    # The block path.

    def _feed_blocks(self, chunk: bytes, events: list[Event]) -> None:
        """Take a chunk that begins where a block begins, while nothing is held."""
        if len(chunk) > self.max_event_size:
            return self._feed_lines(chunk, events)  # else no event in here can be too large
        used = len(chunk)
        try:
            text = chunk.decode()
        except UnicodeDecodeError:
            try:
                text, used = utf_8_decode(chunk)  # maybe only the last character is cut: leave it unused
            except UnicodeDecodeError:
                return self._feed_lines(chunk, events)

        # One kind of line end is served here. Where another turns up inside a block, the block is unusual.
        eol, blank, event_line = _CRLF if "\r" in text else _LF
        if text.startswith("data: "):
            lead = "data: "
        elif text.startswith(event_line):
            lead = event_line
        else:
            lead = ""
        if lead:
            # Blocks that differ in their data only: split right between the data of one and of the next.
            end = text.rfind(blank)
            if end < 0:
                return self._feed_lines(chunk, events)
            body = text[len(lead) : end]
            for data in body.split(blank + lead) if "\n" in body else (body,):
                if "\n" in data or "\r" in data:
                    self._take_block(lead + data, eol, events)
                else:
                    events.append(_new(Event, ("message", data, self.last_event_id)))
            rest = text[end + len(blank) :]
        else:
            blocks = text.split(blank)
            rest = blocks.pop()
            for block in blocks:
                self._take_block(block, eol, events)
        if rest or used < len(chunk):
            self._feed_lines(rest.encode() + chunk[used:], events)

    def _take_block(self, block: str, eol: str, events: list[Event]) -> None:
        """Take one block, or several if they are unusual, without the blank line at the end."""
        event_type = "message"
        event_id = self.last_event_id
        # Usual are "event: …" and "id: …" in any order, then one or more "data: …": what MCP servers send.
        if block.startswith("data: "):
            data = block[6:]
        else:
            head, found, data = block.partition(eol + "data: ")
            if not found:
                if block.startswith(":") and "\n" not in block and "\r" not in block:
                    return  # a heartbeat
                return self._feed_lines((block + eol + eol).encode(), events)
            for line in head.split(eol):
                if line.startswith("id: ") and "\0" not in line:
                    event_id = line[4:]
                elif line.startswith("event: "):
                    event_type = line[7:] or "message"
                else:
                    return self._feed_lines((block + eol + eol).encode(), events)
                if "\n" in line or "\r" in line:
                    return self._feed_lines((block + eol + eol).encode(), events)
        if "\n" in data or "\r" in data:
            lines = data.split(eol + "data: ")
            data = "\n".join(lines)
            if "\r" in data or data.count("\n") >= len(lines):
                return self._feed_lines((block + eol + eol).encode(), events)
        self.last_event_id = event_id
        events.append(_new(Event, (event_type, data, event_id)))

    # The line path.

    def _end_of_block(self, chunk: bytes) -> int:
        """Return where a block surely begins in ``chunk``, early if that is easily found, or its end."""
        first = chunk.find(b"\n")
        blank = b"\r\n\r\n" if first > 0 and chunk[first - 1] == 0x0D else b"\n\n"
        found = chunk.find(blank, max(first - 1, 0)) if first >= 0 else -1
        return found + len(blank) if found >= 0 else len(chunk)

    def _feed_lines(self, chunk: bytes, events: list[Event]) -> None:
        """Take any bytes in any state."""
        if self._start is not None:
            # "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
            chunk = self._start + chunk
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._start = chunk
                return
            self._start = None
            chunk = chunk.removeprefix(_BOM)
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")

        try:
            if 0x0A not in chunk and 0x0D not in chunk:
                self._hold(chunk)
            else:
                lines = chunk.splitlines()  # of bytes: at CR, LF and CRLF, nowhere else
                unfinished = b"" if chunk[-1] in b"\r\n" else lines.pop()
                self._skip_lf = chunk[-1] == 0x0D
                if self._line or self._line_ignored:
                    self._end_line(lines.pop(0), events)
                if len(lines) > 2 and self._take_data_lines(lines[:-1]):
                    del lines[:-1]
                for line in lines:
                    self._take_line(line, events)
                self._hold(unfinished)
        except MessageTooLarge:
            self._failed = True
        self._between_blocks = not (
            self._line
            or self._line_ignored
            or self._data
            or self._type
            or self._skip_lf
            or self._id is not None
            or self._failed
        )

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of a line that has not ended, unless the line means nothing."""
        if self._line_ignored or not piece:
            return
        self._line += piece
        if not self._line_value_at:
            head = bytes(self._line[:_LONGEST_PREFIX])
            name, colon, value = head.partition(b":")
            if name not in _FIELDS if colon else not any(field.startswith(name) for field in _FIELDS):
                self._line_ignored = True
                self._line = bytearray()
                return
            if not value:
                return
            self._line_value_at = len(name) + 1 + value.startswith(b" ")
        size = len(self._line) - self._line_value_at
        if not self._line.startswith(b"retry"):
            joint = bool(self._data) and self._line.startswith(b"data")
            self._check_size(size + joint)
        elif size > _MAX_RETRY_DIGITS:
            self._line_ignored = True
            self._line = bytearray()

    def _end_line(self, piece: bytes, events: list[Event]) -> None:
        """Take the last piece, maybe empty, of the line that is held."""
        line = self._line
        ignored = self._line_ignored
        self._line = bytearray()
        self._line_value_at = 0
        self._line_ignored = False
        if not ignored:
            line += piece
            self._take_line(line, events)

    def _take_data_lines(self, lines: list[bytes]) -> bool:
        """Take these whole lines at once if all begin with ``data: ``; else return False."""
        text = b"\n".join(lines)
        if not text.startswith(b"data: ") or text.count(b"\ndata: ") != len(lines) - 1:
            return False
        value = text[6:].replace(b"\ndata: ", b"\n")
        self._size = self._check_size(len(value) + bool(self._data))
        self._data += value
        self._data += b"\n"
        return True

    def _take_line(self, line: bytes | bytearray, events: list[Event]) -> None:
        """Take one whole line, without its end."""
        if not line:
            return self._dispatch(events)
        colon = line.find(b":")
        name = line if colon < 0 else line[:colon]
        value = b"" if colon < 0 else line[colon + 1 + (line[colon + 1 : colon + 2] == b" ") :]
        if name == b"data":
            self._size = self._check_size(len(value) + bool(self._data))
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._size = self._check_size(len(value))
            self._type = bytes(value)
        elif name == b"id":
            self._size = self._check_size(len(value))
            if b"\0" not in value:
                self._id = bytes(value)
        elif name == b"retry":
            if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:  # of bytes: ASCII digits only
                self.retry_ms = int(value)

    def _dispatch(self, events: list[Event]) -> None:
        """End the block."""
        if self._id is not None:
            self.last_event_id = self._id.decode("utf-8", "replace")
            self._id = None
        # "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty
        # string and return." One data line without a value leaves a LF in it, so that is an event.
        if self._data:
            del self._data[-1:]
            data = self._data.decode("utf-8", "replace")
            self._data = bytearray()
            event_type = self._type.decode("utf-8", "replace") or "message"
            events.append(_new(Event, (event_type, data, self.last_event_id)))
        self._type = b""
        self._size = 0

    def _check_size(self, more: int) -> int:
        """Return the size of the block with ``more`` bytes, if it is not too large."""
        size = self._size + more
        if size > self.max_event_size:
            raise self._too_large()
        return size

    def _too_large(self) -> MessageTooLarge:
        limit = self.max_event_size
        return MessageTooLarge(f"event larger than {limit} bytes; raise the limit to accept it", limit=limit)


def iter_events(
    chunks: Iterable[bytes], *, parser: SSEParser | None = None, max_event_size: int = _DEFAULT_MAX_EVENT_SIZE
) -> Iterator[Event]:
    """Yield the events of one stream, each as soon as the chunk that finishes it arrives.

    Args:
        chunks: The stream's bytes, cut anywhere. Closing it is the caller's work.
        parser: A new parser to use, for whoever wants to read its ``last_event_id`` and ``retry_ms``.
        max_event_size: As in :class:`SSEParser`; not used if ``parser`` is given.

    Raises:
        MessageTooLarge: After all events that were finished before the one that is too large.
    """
    if parser is None:
        parser = SSEParser(max_event_size)
    for chunk in chunks:
        yield from parser.feed(chunk)
        if parser._failed:
            parser.feed(b"")  # raises
