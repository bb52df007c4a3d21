"""The lines of a text or NDJSON stream, each as soon as it is there.

A line ends with LF, or CRLF; nothing else ends one, so no U+2028 inside of a JSON string does. Blocks of whole lines
are decoded and split at once. What is held is one piece as it came from the network, and the beginning of a line that
has not ended, up to the limit.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, AnyStr, Generic, cast, overload

from ..exceptions import ClientClosed, LocalProtocolError, MessageTooLarge, RemoteProtocolError
from ..net.timeouts import Timeout, TimeoutLike
from ..progress import OnProgress
from .source import Source

if TYPE_CHECKING:
    import requests
    from typing_extensions import Self

    from ..net.http import AuthLike
    from ..net.retry import RetryPolicy

__all__ = ["Lines", "iter_lines"]

# As for event streams: no end is known, and five minutes of silence mean a connection that died without a word.
_TIMEOUT = Timeout(connect=10.0, read=300.0, total=None)
_DEFAULT_MAX_LINE_SIZE = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Lines(Generic[AnyStr]):
    """An iterator of lines and context manager, made by :func:`iter_lines`.

    One thread iterates; any thread may call :meth:`close`, which ends the iteration. So does an error, Ctrl-C too: what
    was being read is lost then, and whoever iterates again is told so (ClientClosed).

    Attributes:
        count: Lines given so far.
    """

    def __init__(self, source: Source, encoding: str | None, errors: str, max_line_size: int) -> None:
        self._source = source
        self._encoding = encoding
        self._errors = errors
        self._max_line_size = max_line_size
        self._closed = self._failed = False
        self.count = 0
        # Kept here, so that leaving a loop and beginning another one goes on with the next line.
        self._lines: Iterator[AnyStr] = cast("Iterator[AnyStr]", self._run())

    def __iter__(self) -> Iterator[AnyStr]:
        self._check()
        return self._lines

    def __next__(self) -> AnyStr:
        self._check()
        return next(self._lines)

    def _check(self) -> None:
        # Else it would look like the end of the text.
        if self._failed and not self._closed:
            raise ClientClosed(f"reading ended with an error after {self.count} lines; open the address again")

    @property
    def bytes_read(self) -> int:
        """Bytes of the stream that came so far; what is not yet given out is among them."""
        return self._source.at

    def _run(self) -> Iterator[str | bytes]:
        source = self._source
        try:
            source.begin()
            source.open(0, None)
            for block in self._blocks():
                for line in self._split(block):
                    self.count += 1
                    yield line
                    if self._closed:
                        return
            source.done()
        except BaseException as error:
            if isinstance(error, ClientClosed) and self._closed:
                return
            self._failed = True
            raise
        finally:
            source.close()

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, as many as are there, each with its LF; at last what is left."""
        read, limit = self._source.read, self._max_line_size
        begun = bytearray()  # a line that has not ended; however small its pieces are, it takes no more than its size
        first = True
        while piece := read():
            if first:
                while len(piece) < len(_BOM) and _BOM.startswith(piece) and (more := read()):
                    piece += more
                piece, first = piece.removeprefix(_BOM) if self._encoding == "utf-8" else piece, False
            end = piece.rfind(b"\n") + 1
            if end:
                if len(begun) + piece.find(b"\n") > limit:
                    raise self._too_long()
                yield bytes(begun) + piece[:end]
                begun.clear()
            begun += piece[end:]
            if len(begun) > limit:
                raise self._too_long()
        if begun:
            yield bytes(begun)

    def _split(self, block: bytes) -> Iterator[str | bytes]:
        """The lines of a block, without their ends."""
        limit = self._max_line_size
        if len(block) > limit:
            for line in block.split(b"\n"):
                if len(line) > limit:
                    raise self._too_long()
        if self._encoding is None:
            lines = block.removesuffix(b"\n").split(b"\n")
            yield from ([line.removesuffix(b"\r") for line in lines] if b"\r" in block else lines)
            return
        try:
            text = block.decode(self._encoding, self._errors)
        except UnicodeDecodeError:
            for line in block.removesuffix(b"\n").split(b"\n"):
                yield self._decode(line.removesuffix(b"\r"))
            return
        texts = text.removesuffix("\n").split("\n")
        yield from ([line.removesuffix("\r") for line in texts] if "\r" in text else texts)

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode(self._encoding or "", self._errors)
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(
                f"line {self.count + 1} is not valid {self._encoding}: {error.reason} at byte {error.start};"
                " pass errors='replace', or encoding=None for bytes"
            ) from error

    def _too_long(self) -> MessageTooLarge:
        limit = self._max_line_size
        return MessageTooLarge(f"a line is longer than {limit} bytes; raise max_line_size to accept it", limit=limit)

    def close(self) -> None:
        """End it; a thread that reads, connects or waits ends its iteration at once. Any thread, more than once too."""
        self._closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@overload
def iter_lines(
    url: str,
    *,
    encoding: str = ...,
    errors: str = ...,
    max_line_size: int = ...,
    headers: Mapping[str, str] | None = ...,
    auth: AuthLike = ...,
    http: requests.Session | None = ...,
    timeout: TimeoutLike | None = ...,
    retry: RetryPolicy | None = ...,
    on_progress: OnProgress | None = ...,
) -> Lines[str]: ...


@overload
def iter_lines(
    url: str,
    *,
    encoding: None,
    errors: str = ...,
    max_line_size: int = ...,
    headers: Mapping[str, str] | None = ...,
    auth: AuthLike = ...,
    http: requests.Session | None = ...,
    timeout: TimeoutLike | None = ...,
    retry: RetryPolicy | None = ...,
    on_progress: OnProgress | None = ...,
) -> Lines[bytes]: ...


def iter_lines(
    url: str,
    *,
    encoding: str | None = "utf-8",
    errors: str = "strict",
    max_line_size: int = _DEFAULT_MAX_LINE_SIZE,
    headers: Mapping[str, str] | None = None,
    auth: AuthLike = None,
    http: requests.Session | None = None,
    timeout: TimeoutLike | None = None,
    retry: RetryPolicy | None = None,
    on_progress: OnProgress | None = None,
) -> Lines[str] | Lines[bytes]:
    """Iterate the lines of an answer, each as soon as it is there: NDJSON, CSV, logs, any text.

    When the connection breaks, the rest is asked for with a range, if the first answer had a strong validator: then it
    is known to be the rest of the same text. Otherwise going on could repeat or lose lines, so that is an error which
    says how much was read. A body without length and chunked coding that is cut looks like one that ended.

    The request is made by the first iteration. The last line need not have an end.

    Args:
        url: Where to.
        encoding: Of the text, a superset of ASCII; for UTF-8 a byte order mark is dropped. None gives bytes.
        errors: What decoding does with bytes that do not fit, as for :meth:`bytes.decode`.
        max_line_size: Most bytes of one line, 16 MiB by default.
        headers: Sent to the origin of ``url``, never to another one.
        auth: ``(user, password)``, any requests auth, or an object with ``apply`` and ``respond``.
        http: A ``requests.Session`` to use; it is not closed.
        timeout: Seconds for everything, or a :class:`~streamhttp_client.Timeout`: ``read`` is the longest silence,
            300 s by default. No total by default.
        retry: How often to ask again for what did not come; attempts with progress do not count.
        on_progress: Called with the bytes that came, and the total if the server said it.

    Iterating raises:
        MessageTooLarge: A line is longer than ``max_line_size``.
        TransferInterrupted: The network failed, after all attempts, or nothing proves what the rest is.
        SourceChanged: The text is another one now.
        TransferRefused: The server answered with an error status.
        TransferTimeout: The total of ``timeout`` passed.
        RemoteProtocolError: A line is not valid in ``encoding``, or the answer is no valid HTTP.

    Raises:
        LocalProtocolError: Something in the arguments cannot be sent.
    """
    if isinstance(max_line_size, bool) or not isinstance(max_line_size, int) or max_line_size < 1:
        raise LocalProtocolError(f"max_line_size must be a number of bytes of at least 1, got {max_line_size!r}")
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
            end = "\n".encode(encoding)
            codecs.lookup_error(errors)
        except (LookupError, TypeError) as error:
            raise LocalProtocolError(f"text cannot be decoded so: {error}") from None
        if end != b"\n":
            raise LocalProtocolError(f"encoding must be a superset of ASCII, got {encoding!r}; pass None for bytes")
    source = Source(
        url,
        http=http,
        headers=headers,
        auth=auth,
        timeout=Timeout.of(timeout, _TIMEOUT),
        retry=retry,
        on_progress=on_progress,
        whole_first=True,
    )
    if encoding is None:
        return Lines[bytes](source, None, errors, max_line_size)
    return Lines[str](source, encoding, errors, max_line_size)
