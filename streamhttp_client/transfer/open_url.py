"""A file on a server as a binary file of Python's, for ``zipfile``, ``csv``, ``gzip``, pandas and pyarrow.

Strategy. What is asked for follows from how the file is used. A small read somewhere asks for the block around it,
and a few blocks are kept, since those who jump come back (the directory of a zip archive, the footer of a Parquet
file). A large read asks for just that. Whoever reads on from where he was gets more and more ahead: four times what
he has read since his last jump, and from 1 MiB on the rest of the file in one answer, which the socket holds back as
long as nobody reads it.

Growth. :data:`_BLOCKS` blocks, and one piece as it came from the network.
"""

from __future__ import annotations

import io
import operator
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, overload

from ..exceptions import LocalProtocolError, RangesNotSupported
from ..net.timeouts import Timeout, TimeoutLike
from ..progress import OnProgress
from .source import Source

if TYPE_CHECKING:
    import requests
    from typing_extensions import Buffer, Never

    from ..net.http import AuthLike
    from ..net.retry import RetryPolicy

__all__ = ["RemoteFile", "open_url"]

# A file has no deadline of its own. A minute of silence in the middle of a file is a dead connection.
_TIMEOUT = Timeout(connect=10.0, read=60.0, total=None)
# 64 KiB cost hardly more than 1 byte on any link that is worth it, and hold the directory of most archives.
_BLOCK_SIZE = 64 * 1024
# 1 MiB in all: the ends of the file and some places in it.
_BLOCKS = 16
# How much may be asked for ahead, in parts of what was read in a row.
_AHEAD = 4
# In a row, after which all of the rest is asked for.
_ALL_AFTER = 1024 * 1024
# Bytes that peek() shows at most: for readline(), which asks for each line anew.
_PEEK = 8 * 1024


class RemoteFile(io.RawIOBase):
    """A file on a server, to be read and sought in. Made by :func:`open_url`.

    ``read(n)`` waits for all of ``n`` bytes, as ``zipfile`` expects it, up to the end of the file; ``readinto`` and
    ``read1`` give what is there. When a connection breaks, the missing rest is asked for again. For one thread at a
    time; :meth:`close` may be called from any thread and wakes the one that reads.

    Attributes:
        name: The address, without user name, password and query.
        size: Bytes; None if the file is read in one go and the server did not say.

    All reading raises:
        SourceChanged: The file on the server is another one now. What was read before belongs to the old one.
        TransferInterrupted: The network failed, after all attempts.
        TransferRefused: The server answered with an error status.
        TransferTimeout: The total of ``timeout`` passed within one read.
        RemoteProtocolError: The server gave other bytes than it was asked for.
        ClientClosed: It was closed by another thread.
    """

    mode = "rb"

    _source: Source | None = None  # for __del__, which also comes after a constructor that failed

    def __init__(self, source: Source, block_size: int, sequential: bool) -> None:
        self._source = source
        self._block_size = block_size
        self._position = 0
        self._run = 0  # bytes read in a row since the last jump
        self._piece = b""  # what is at hand, and where it begins
        self._piece_at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._seekable = True
        self._begun = False
        self.name = source.name
        try:
            self._begin(source, sequential)
        except BaseException:
            self.close()
            raise

    def _begin(self, source: Source, sequential: bool) -> None:
        """Make the first request, which shows what kind of server this is, and keep what it brings."""
        source.begin()
        source.open(0, None if sequential else self._block_size)
        if source.ranges and source.size is None:
            raise RangesNotSupported("the server does not say how long the file is")
        if not source.ranges and source.size != 0:
            if not sequential:
                raise RangesNotSupported(
                    "the server gives no parts of the file; pass sequential=True to read it once from beginning to end,"
                    " or download it"
                )
            self._seekable = False
        elif not sequential:
            self._piece = self._blocks[0] = b"".join(iter(source.read, b""))
        self._begun = True

    @property
    def size(self) -> int | None:
        """Its length in bytes; None if the server has not said."""
        return None if self._source is None else self._source.size

    def __reduce_ex__(self, protocol: object) -> Never:
        # A copy would share the connection, and close it when it goes.
        raise TypeError("a file on a server can neither be pickled nor copied; open its address again")

    # What a file is asked for.

    def readable(self) -> bool:
        """Always True."""
        return True

    def write(self, data: object) -> int:
        """Refuse."""
        raise io.UnsupportedOperation("a file on a server cannot be written to; see upload()")

    def seekable(self) -> bool:
        """False if the server gives no parts of the file, and ``sequential=True`` was passed."""
        return self._seekable

    def tell(self) -> int:
        """The offset of the next byte."""
        self._check()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere; nothing is asked for before the next read."""
        self._check()
        offset = operator.index(offset)  # a float would be an error of some later read
        if whence == io.SEEK_SET:
            position = offset
        elif whence == io.SEEK_CUR:
            position = self._position + offset
        elif whence == io.SEEK_END and self.size is not None:
            position = self.size + offset
        else:
            raise io.UnsupportedOperation(f"cannot seek with whence {whence!r} here")
        if not self._seekable and position != self._position:
            raise io.UnsupportedOperation("cannot seek: the server gives no parts of this file")
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        if position != self._position:
            self._position, self._run = position, 0
        return position

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes, fewer only at the end of the file; all the rest for None or a negative number."""
        source = self._check()
        if size is None or size < 0:
            size = -1
        start = self._position
        pieces: list[bytes] = []
        source.begin()
        try:
            while size:
                piece = self._next(source, size)
                if not piece:
                    break
                pieces.append(piece)
                if size > 0:
                    size -= len(piece)
        except BaseException:
            if pieces:  # nothing that came is lost: the next read begins with it
                self._piece, self._piece_at, self._position = b"".join(pieces), start, start
            raise
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        """Read all the rest."""
        return self.read(-1)

    def read1(self, size: int | None = -1) -> bytes:
        """Read what is there, at least one byte and at most ``size``; ``b""`` at the end of the file."""
        source = self._check()
        source.begin()
        return self._next(source, self._block_size if size is None or size < 0 else size)

    def readinto(self, buffer: Buffer) -> int:
        """Read what is there into a buffer; the number of bytes, 0 at the end of the file."""
        source = self._check()
        view = memoryview(buffer).cast("B")
        source.begin()
        piece = self._next(source, len(view))
        view[: len(piece)] = piece
        return len(piece)

    def peek(self, size: int = 1) -> bytes:
        """Show what comes next, at most 8 KiB, without moving on; ``size`` is only a hint."""
        source = self._check()
        source.begin()
        run, position = self._run, self._position
        piece = self._next(source, max(1, min(size, _PEEK)))
        if not piece:
            return piece
        self._run, self._position = run, position
        offset = position - self._piece_at
        return self._piece[offset : offset + _PEEK]

    def close(self) -> None:
        """Let go of the connection. Any thread, more than once too."""
        if self.closed:
            return
        source = self._source
        try:
            if source is not None:
                source.close()
        finally:
            super().close()
            self._piece = b""
        if source is not None and self._begun:
            source.done()

    def _check(self) -> Source:
        if self.closed or self._source is None:
            raise ValueError("I/O operation on closed file")
        return self._source

    # How it is read.

    def _next(self, source: Source, wanted: int) -> bytes:
        """At least one and at most ``wanted`` bytes (-1: any number) from the position on, which moves."""
        position = self._position
        size = source.size
        if not wanted or size is not None and position >= size:
            return b""
        offset = position - self._piece_at
        if not 0 <= offset < len(self._piece):
            if not self._fetch(source, position, wanted if size is None else _least(wanted, size - position)):
                return b""
            offset = position - self._piece_at
        piece = self._piece[offset : None if wanted < 0 else offset + wanted]  # no copy if that is all of it
        self._position += len(piece)
        self._run += len(piece)
        return piece

    def _fetch(self, source: Source, position: int, wanted: int) -> bool:
        """Get a piece that has the byte at ``position``; False if the file ends before it."""
        block_size = self._block_size
        if source.is_open:
            # Reading over a small gap costs less than another request; of a broken-off answer, more is on its way.
            gap = position - source.at
            if 0 <= gap <= block_size and self._read_to(source, position):
                return True
        if not self._seekable:
            return False
        block = position // block_size
        kept = self._blocks.get(block)
        if kept is not None and position - block * block_size < len(kept):
            self._blocks.move_to_end(block)
            self._piece, self._piece_at = kept, block * block_size
            return True
        run = self._run
        if run >= _ALL_AFTER:
            source.open(position, None)
            return self._read_to(source, position)
        if run >= block_size or wanted < 0 or wanted >= block_size:
            size = source.size or 0
            end = size if wanted < 0 else min(size, position + max(wanted, _AHEAD * run))
            source.open(position, end)
            return self._read_to(source, position)
        return self._fetch_blocks(source, block, position + wanted)

    def _read_to(self, source: Source, position: int) -> bool:
        """Read on in the present stretch until the byte at ``position`` is there; False at its end."""
        while piece := source.read():
            if source.at > position:
                self._piece, self._piece_at = piece, source.at - len(piece)
                return True
        return False

    def _fetch_blocks(self, source: Source, first: int, end: int) -> bool:
        """Get the block ``first``, and what follows up to ``end`` if that is in another one, and keep them."""
        block_size = self._block_size
        start = first * block_size
        stop = -(-end // block_size) * block_size
        source.open(start, min(stop, source.size or stop))
        data = b"".join(iter(source.read, b""))
        if not data:
            return False
        for at in range(0, len(data), block_size):
            self._blocks[first + at // block_size] = data[at : at + block_size]
            self._blocks.move_to_end(first + at // block_size)
        while len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        self._piece, self._piece_at = data, start
        return True


def _least(wanted: int, left: int) -> int:
    """``wanted``, where -1 is without limit, cut to what is left."""
    return left if wanted < 0 else min(wanted, left)


@overload
def open_url(
    url: str,
    *,
    buffered: Literal[False] = False,
    block_size: int = ...,
    sequential: bool = ...,
    headers: Mapping[str, str] | None = ...,
    auth: AuthLike = ...,
    http: requests.Session | None = ...,
    timeout: TimeoutLike | None = ...,
    retry: RetryPolicy | None = ...,
    on_progress: OnProgress | None = ...,
) -> RemoteFile: ...


@overload
def open_url(
    url: str,
    *,
    buffered: Literal[True],
    block_size: int = ...,
    sequential: bool = ...,
    headers: Mapping[str, str] | None = ...,
    auth: AuthLike = ...,
    http: requests.Session | None = ...,
    timeout: TimeoutLike | None = ...,
    retry: RetryPolicy | None = ...,
    on_progress: OnProgress | None = ...,
) -> io.BufferedReader: ...


def open_url(
    url: str,
    *,
    buffered: bool = False,
    block_size: int = _BLOCK_SIZE,
    sequential: bool = False,
    headers: Mapping[str, str] | None = None,
    auth: AuthLike = None,
    http: requests.Session | None = None,
    timeout: TimeoutLike | None = None,
    retry: RetryPolicy | None = None,
    on_progress: OnProgress | None = None,
) -> RemoteFile | io.BufferedReader:
    """Open a file on a server for reading, as a binary file that can be sought in.

    The first block is asked for at once, so an address that does not work is an error here. What belongs to another
    version of the file than that block is refused, as far as the server lets them be told apart: by a tag, a date, or
    the size.

    Args:
        url: Asked anew for each part of the file, whatever redirects there were.
        buffered: Wrap it in an :class:`io.BufferedReader`, for those who read a few bytes at a time. Its ``raw`` is
            the :class:`RemoteFile`.
        block_size: Least bytes that are asked for at a time, 64 KiB by default. 16 blocks are kept.
        sequential: Read from beginning to end, in one answer: also from a server that gives no parts of the file,
            where the result cannot be sought in and ``seekable()`` is False.
        headers: Sent to the origin of ``url``, never to another one.
        auth: ``(user, password)``, any requests auth, or an object with ``apply`` and ``respond``.
        http: A ``requests.Session`` to use; it is not closed.
        timeout: Seconds for each read, or a :class:`~streamhttp_client.Timeout`: ``read`` is the longest silence, 60 s
            by default, ``total`` bounds each call of ``read`` with all its attempts. No total by default.
        retry: How often to ask again for what did not come; attempts with progress do not count.
        on_progress: Called with the bytes that came from the server and the size of the file; what is jumped over
            never comes, what is read twice may come twice. The last call comes with ``close()``.

    Raises:
        RangesNotSupported: The server gives no parts of the file, or does not say how long it is.
        TransferError: As for all reading, see :class:`RemoteFile`.
        LocalProtocolError: Something in the arguments cannot be sent.
    """
    if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
        raise LocalProtocolError(f"block_size must be a number of bytes of at least 1, got {block_size!r}")
    source = Source(
        url,
        http=http,
        headers=headers,
        auth=auth,
        timeout=Timeout.of(timeout, _TIMEOUT),
        retry=retry,
        on_progress=on_progress,
    )
    file = RemoteFile(source, block_size, sequential)
    return io.BufferedReader(file) if buffered else file
