"""What is uploaded: a path, a binary file, bytes, or an iterable of bytes; read in bounded pieces from any place.

A file of the system is handed on as places in it (:class:`~streamhttp_client.net.sending.FilePart`), so that its bytes
need not pass through this process. Whatever can be read again from the beginning is *replayable*; an iterator that
was begun never is.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO

from ..exceptions import LocalProtocolError, NotReplayable, SourceChanged
from ..net.sending import FilePart, Piece
from .callers import asked

__all__ = ["Payload", "Source", "open_payload"]

Source = str | os.PathLike[str] | BinaryIO | bytes | bytearray | memoryview | Iterable[bytes]

# The step of progress, and of noticing that the file changed: short on a slow link, and on a fast one no cost.
_PIECE_SIZE = 512 * 1024
_FINGERPRINT_SIZE = 64 * 1024
_END: Any = object()


class Payload:
    """Base of all sources.

    Attributes:
        size: Bytes, or None if that shows only at the end.
        name: What the file is called, or None.
        replayable: Whether it can be read again, and from any place if the size is known.
        shared: Whether several threads may read it at once, each in its own place.
    """

    size: int | None = None
    name: str | None = None
    replayable = True
    shared = False

    def pieces(self, start: int = 0, end: int | None = None, *, in_memory: bool = False) -> Iterator[Piece]:
        """The bytes from ``start`` to ``end``, in pieces of at most 512 KiB; ``in_memory`` forbids places in files.

        Raises:
            SourceChanged: The file changed since it was opened.
            NotReplayable: It was begun before, and cannot be begun again.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Raise SourceChanged if it can be seen that the content is another one by now."""

    def fingerprint(self) -> dict[str, Any] | None:
        """What tells this content from another, for a later process; None if there is nothing to tell it by."""
        return None

    def close(self) -> None:
        """Close what was opened here; never what the caller opened."""


class _Memory(Payload):
    shared = True

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = _bytes_of(data)
        self.size = len(self._view)

    def pieces(self, start: int = 0, end: int | None = None, *, in_memory: bool = False) -> Iterator[Piece]:
        stop = len(self._view) if end is None else end
        for at in range(start, stop, _PIECE_SIZE):
            yield self._view[at : min(at + _PIECE_SIZE, stop)]


class _SystemFile(Payload):
    """A regular file by its descriptor, from some place on to its end. Its position is left alone."""

    shared = hasattr(os, "pread")

    def __init__(self, fd: int, base: int, *, path: str | None, owned: bool) -> None:
        self._fd = fd
        self._base = base
        self._owned = owned
        self._path = path
        self.name = os.path.basename(path) if path else None
        about = os.fstat(fd)
        self.size = max(0, about.st_size - base)
        self._seen = (about.st_size, about.st_mtime_ns)

    def pieces(self, start: int = 0, end: int | None = None, *, in_memory: bool = False) -> Iterator[Piece]:
        assert self.size is not None
        stop = self.size if end is None else end
        for at in range(start, stop, _PIECE_SIZE):
            self.check()
            part = FilePart(self._fd, self._base + at, min(_PIECE_SIZE, stop - at))
            if in_memory:
                yield from part.blocks()
            else:
                yield part

    def check(self) -> None:
        about = os.fstat(self._fd)
        if (about.st_size, about.st_mtime_ns) != self._seen:
            text = f"it was {self._seen[0]} bytes long and is {about.st_size} now"
            raise SourceChanged(f"the file was written to while it was sent; {text}")

    def fingerprint(self) -> dict[str, Any] | None:
        assert self.size is not None
        digest = hashlib.sha256()
        step = _FINGERPRINT_SIZE
        for at in (0, max(0, self.size // 2 - step // 2), max(0, self.size - step)):
            for block in FilePart(self._fd, self._base + at, min(step, self.size - at)).blocks():
                digest.update(block)
        return {"size": self.size, "mtime": self._seen[1], "sample": digest.hexdigest()}

    def close(self) -> None:
        if self._owned:
            self._owned = False
            os.close(self._fd)


class _Seekable(Payload):
    """A file object that can seek, from where it stands. It has one position, and going back may be dear (gzip)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._base = file.tell()
        self.size = file.seek(0, os.SEEK_END) - self._base
        file.seek(self._base)
        name = getattr(file, "name", None)
        self.name = os.path.basename(name) if isinstance(name, str) else None

    def pieces(self, start: int = 0, end: int | None = None, *, in_memory: bool = False) -> Iterator[Piece]:
        assert self.size is not None
        stop = self.size if end is None else end
        asked(partial(self._file.seek, self._base + start))
        at = start
        while at < stop:
            data = asked(partial(self._file.read, min(_PIECE_SIZE, stop - at)))
            if not data:
                raise SourceChanged(f"the file ended after {at} bytes, expected {self.size}")
            at += len(data)
            yield data


class _Iterable(Payload):
    """Anything that gives bytes: again and again, or once."""

    def __init__(self, source: Iterable[bytes]) -> None:
        if isinstance(source, (list, tuple, dict)):  # all of it is there to be looked at before anything is sent
            for data in source:
                _check_bytes(data)
        self._source = source
        self._iterator = iter(source)
        self.replayable = self._iterator is not source
        self._begun = False

    def pieces(self, start: int = 0, end: int | None = None, *, in_memory: bool = False) -> Iterator[Piece]:
        if self._begun:
            if not self.replayable:
                raise NotReplayable(
                    "the body had to be sent a second time, for a redirect or for credentials, and the source can be "
                    "read only once; a file or bytes could be sent again"
                )
            self._iterator = asked(partial(iter, self._source))
        self._begun = True
        while (data := asked(partial(next, self._iterator, _END))) is not _END:
            _check_bytes(data)
            view = _bytes_of(data)
            for at in range(0, len(view), _PIECE_SIZE):
                yield view[at : at + _PIECE_SIZE]


def _check_bytes(data: object) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise LocalProtocolError(f"the source must give bytes, got {type(data).__name__}")


def _bytes_of(data: bytes | bytearray | memoryview) -> memoryview:
    """A view of the bytes as they stand; of a copy, if they do not lie one behind the other."""
    view = memoryview(data)
    # Without any bytes it may have a shape that cannot be cast.
    return view.cast("B") if view.c_contiguous and view.nbytes else memoryview(view.tobytes())


def open_payload(source: Source) -> Payload:
    """Make a payload of what the caller gave; a path is opened, and closed with the payload.

    Raises:
        OSError: The file is missing or cannot be read.
        LocalProtocolError: It is nothing to upload.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _Memory(source)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        file = open(path, "rb", buffering=0)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return _Pipe(file, os.path.basename(path))
        fd = os.dup(file.fileno())
        file.close()
        return _SystemFile(fd, 0, path=path, owned=True)
    if isinstance(source, io.TextIOBase):
        raise LocalProtocolError("the source must be a binary file, got one opened for text")
    if callable(getattr(source, "read", None)):
        return _file_payload(source)  # type: ignore[arg-type]
    if isinstance(source, Iterable):
        return _Iterable(source)
    kind = type(source).__name__
    raise LocalProtocolError(f"the source must be a path, a binary file, bytes or an iterable, got {kind}")


def _file_payload(file: BinaryIO) -> Payload:
    raw = getattr(file, "raw", file)
    # Only what surely gives the bytes of its descriptor: a GzipFile has one too, and those are other bytes.
    if type(raw) is io.FileIO and type(file) in (io.FileIO, io.BufferedReader):
        fd = file.fileno()
        if stat.S_ISREG(os.fstat(fd).st_mode):
            name = file.name if isinstance(file.name, str) else None
            return _SystemFile(fd, file.tell(), path=name, owned=False)
    readable, seekable = getattr(file, "readable", None), getattr(file, "seekable", None)
    if callable(readable) and not readable():
        raise LocalProtocolError("the source must be open for reading, got a file that was opened for writing")
    if callable(seekable) and seekable():
        return _Seekable(file)
    return _Iterable(iter(lambda: file.read(_PIECE_SIZE) or b"", b""))


class _Pipe(_Iterable):
    """A path that is no regular file: a pipe or a device, read once and closed here."""

    def __init__(self, file: io.FileIO, name: str) -> None:
        super().__init__(iter(lambda: file.read(_PIECE_SIZE) or b"", b""))
        self._file = file
        self.name = name

    def close(self) -> None:
        self._file.close()
