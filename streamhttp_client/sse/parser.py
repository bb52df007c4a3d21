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
from itertools import repeat
from typing import NamedTuple

from streamhttp_client.exceptions import LocalProtocolError, MessageTooLarge

__all__ = ["Event", "SSEParser", "iter_batches", "iter_events"]

_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
#: Longest "field: " that decides what a line is.
_LONGEST_PREFIX = len(b"event: ")
#: The standard sets no limit. Fifteen digits of milliseconds are 31,000 years; without a bound, one line
#: could take memory for ever, and int() refuses more than 4300 digits.
_MAX_RETRY_DIGITS = 15
_DEFAULT_MAX_EVENT_SIZE = 64 * 1024 * 1024

_new = tuple.__new__  # half the time of Event(...), which shows with small events


class Event(NamedTuple):
    """One dispatched event."""

    type: str = "message"
    """The event's type."""
    data: str = ""
    """Its data lines, joined with LF. Empty if there was a ``data`` field without a value."""
    id: str = ""
    """The last event id of the stream when this event came: its own, or one that an earlier block set."""


class _Form:
    """What the block path looks for, with one kind of line end."""

    __slots__ = ("eol", "blank", "data_line", "message_data", "message_id", "message_tail")

    def __init__(self, eol: str) -> None:
        self.eol = eol
        self.blank = eol + eol  # ends a line, and the block
        self.data_line = f"{eol}data: "
        self.message_data = f"event: message{eol}data: "
        self.message_id = f"event: message{eol}id: "
        self.message_tail = f"{eol}event: message"


_LF = _Form("\n")
_CRLF = _Form("\r\n")


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
        "_line_room",
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

        # The line that has not ended. Once its field and the beginning of its value are known, _line_room is
        # the most bytes that it may have; 0 before. A line that means nothing is marked, and not kept.
        self._line = bytearray()
        self._line_room = 0
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
            if events or not self._failed:
                return events
            raise self._too_large()
        if self._failed:
            raise self._too_large()
        if chunk.__class__ is not bytes:
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
        cut = b""
        try:
            text = chunk.decode()
        except UnicodeDecodeError:
            try:
                text, used = utf_8_decode(chunk)  # maybe only the last character is cut, and not used
            except UnicodeDecodeError:
                return self._feed_lines(chunk, events)
            cut = chunk[used:]

        # One kind of line end is served here. Where another turns up inside a block, the block is unusual.
        form = _CRLF if "\r" in text else _LF
        if text[:6] == "data: ":
            data = text[6:-2]
            if text[-2:] == "\n\n" and not ("\n" in data or "\r" in data or cut):
                events.append(_new(Event, ("message", data, self.last_event_id)))  # one alone in its chunk
                return
            rest = self._take_run(text, "data: ", form, events)
        elif text.startswith(form.message_data):
            rest = self._take_run(text, form.message_data, form, events)
        else:
            rest = self._take_blocks(text, form, events)
        if rest or cut:
            self._feed_lines(rest.encode() + cut, events)

    def _take_run(self, text: str, lead: str, form: _Form, events: list[Event]) -> str:
        """Take blocks of type "message" that differ in their data only, and return the unfinished rest.

        ``lead`` is what comes before the data in the first block. What comes between two events' data is always
        the same then, so the text can be split there.
        """
        end = text.rfind(form.blank)
        if end < 0:
            return text
        values = text[len(lead) : end].split(form.blank + lead)
        joined = "".join(values)
        if "\n" not in joined and "\r" not in joined:  # each is of one line
            events += map(_new, repeat(Event), zip(repeat("message"), values, repeat(self.last_event_id)))
        else:
            for data in values:
                if "\n" in data or "\r" in data:
                    self._take_block(lead + data, form, events)
                else:
                    events.append(_new(Event, ("message", data, self.last_event_id)))
        return text[end + len(form.blank) :]

    def _take_blocks(self, text: str, form: _Form, events: list[Event]) -> str:
        """Take blocks of any form, and return the unfinished rest."""
        data_line = form.data_line
        blocks = text.split(form.blank)
        rest = blocks.pop()
        for block in blocks:
            head, found, data = block.partition(data_line)
            # With an id and of type "message", as MCP servers send them.
            if head.startswith("id: "):
                event_id = head[4:].removesuffix(form.message_tail)
            elif head.startswith(form.message_id):
                event_id = head[len(form.message_id) :]
            elif head[:1] == ":" and not ("\n" in block or "\r" in block):
                continue  # a heartbeat
            else:
                found = event_id = ""
            if (
                found
                and not ("\n" in event_id or "\r" in event_id or "\0" in event_id)
                and not ("\n" in data or "\r" in data)
            ):
                self.last_event_id = event_id
                events.append(_new(Event, ("message", data, event_id)))
            else:
                self._take_block(block, form, events)
        return rest

    def _take_block(self, block: str, form: _Form, events: list[Event]) -> None:
        """Take one block, or several if they are unusual, without the blank line at the end."""
        event = _read_block(block, form, self.last_event_id)
        if event is None:
            # The text was valid UTF-8, so this gives the bytes that came.
            self._feed_lines((block + form.blank).encode(), events)
        else:
            self.last_event_id = event.id
            events.append(event)

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
            or self._skip_lf
            or self._size  # also of an id or type that came to nothing
            or self._data
            or self._id is not None
            or self._failed
        )

    def _hold(self, piece: bytes) -> None:
        """Keep a piece of a line that has not ended, unless the line means nothing."""
        if self._line_ignored or not piece:
            return
        self._line += piece
        if not self._line_room:
            name, colon, value = bytes(self._line[:_LONGEST_PREFIX]).partition(b":")
            if name not in _FIELDS if colon else not any(field.startswith(name) for field in _FIELDS):
                return self._ignore_line()
            if not value:
                return
            room = self.max_event_size - self._size - (name == b"data" and bool(self._data))
            if name == b"retry":
                room = _MAX_RETRY_DIGITS
            self._line_room = len(name) + 1 + value.startswith(b" ") + room
        if len(self._line) > self._line_room:
            if not self._line.startswith(b"retry"):
                raise self._too_large()
            self._ignore_line()

    def _ignore_line(self) -> None:
        """Forget the line that is held, and what is still to come of it."""
        self._line = bytearray()
        self._line_ignored = True

    def _end_line(self, piece: bytes, events: list[Event]) -> None:
        """Take the last piece, maybe empty, of the line that is held."""
        line = self._line
        ignored = self._line_ignored
        self._line = bytearray()
        self._line_room = 0
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
        # The limit has the one name in a client and the other in an event source.
        return MessageTooLarge(f"event larger than {limit} bytes (max_message_size, max_event_size)", limit=limit)


def _read_block(block: str, form: _Form, event_id: str) -> Event | None:
    """Read a block of "event: …" and "id: …" in any order, then one or more "data: …"; None for any other."""
    event_type = "message"
    if block.startswith("data: "):
        data = block[6:]
    else:
        head, found, data = block.partition(form.data_line)
        if not found:
            return None
        for line in head.split(form.eol):
            if "\n" in line or "\r" in line:
                return None
            if line.startswith("event: "):
                event_type = line[7:] or "message"
            elif line.startswith("id: ") and "\0" not in line:
                event_id = line[4:]
            else:
                return None
    if "\n" in data or "\r" in data:
        lines = data.split(form.data_line)
        data = "\n".join(lines)
        if "\r" in data or data.count("\n") >= len(lines):
            return None
    return Event(event_type, data, event_id)


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
    for events in iter_batches(chunks, SSEParser(max_event_size) if parser is None else parser):
        yield from events


def iter_batches(chunks: Iterable[bytes], parser: SSEParser) -> Iterator[list[Event]]:
    """As :func:`iter_events`, but with all events that one chunk finishes together; no list is empty."""
    for chunk in chunks:
        if events := parser.feed(chunk):
            yield events
        if parser._failed:
            parser.feed(b"")  # raises
