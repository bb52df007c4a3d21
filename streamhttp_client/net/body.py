"""The body of an answer: bytes as they arrive, whichever way the answer came."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from .._headers import Headers
from ..exceptions import ConnectionLost, MessageTooLarge, RemoteProtocolError
from .errors import RefusedAnswer

__all__ = ["CHUNK_SIZE", "Body", "Decoder", "Response", "decoder_for"]

CHUNK_SIZE = 64 * 1024
"""Bytes asked of the socket at a time: the default of Linux loopback and TLS records fit in it several times."""


class Body(ABC):
    """What an answer carries. One thread reads it; it is closed by that thread.

    Another thread ends a blocked read through the :class:`~.interrupt.Interrupt` that was given with the request.
    """

    _decoder: Decoder | None = None
    end_is_known = True
    """False if the body simply ends with the connection, so that one which was cut looks whole."""

    @abstractmethod
    def read1(self, size: int = CHUNK_SIZE, *, timeout: float | None = None) -> bytes:
        """Return what has arrived, as soon as anything has, at most about ``size`` bytes; ``b""`` at the end.

        Args:
            size: Upper bound of what is taken from the network at once. Decoded data can be longer.
            timeout: Seconds of silence after which to give up; None waits for ever.

        Raises:
            ConnectionLost: The connection broke or the body ended early. All that arrived before was returned before.
            ReadTimeout: Silence. The body can be read on.
        """

    def read1_into(self, buffer: bytearray, *, timeout: float | None = None) -> bytes | memoryview:
        """Like :meth:`read1`, but what is returned may be a view on ``buffer``, and so is good until the next call.

        Receiving into one buffer over and over takes half the time of getting fresh memory for each piece. Where the
        body must be taken apart or decoded, this is :meth:`read1`.
        """
        return self.read1(min(len(buffer), 4 * CHUNK_SIZE), timeout=timeout)

    def read_ready(self) -> bytes:
        """Return what has arrived already, without waiting; ``b""`` if nothing has, or if that cannot be told."""
        return b""

    def leave_coded(self) -> None:
        """Give the bytes as they were sent, with their content coding on. To be said before any is read."""
        self._decoder = None

    @abstractmethod
    def close(self) -> None:
        """Let go of the answer. The connection serves again if the body was read to its end or soon will be."""

    def abandon(self) -> None:
        """Let go of an answer of which much more may come: close its connection, so that the peer stops sending."""
        self.close()

    def read_all(self, limit: int, remaining: Callable[[], float | None]) -> bytes:
        """Read to the end.

        Args:
            limit: Bytes after which to give up.
            remaining: Called before each read for the seconds it may take.

        Raises:
            MessageTooLarge: It is longer than ``limit``.
        """
        first = self.read1(timeout=remaining())
        rest = bytearray()  # a list of pieces would take forty times their size if they come byte by byte
        data = first
        while data:
            if len(first) + len(rest) > limit:
                raise MessageTooLarge(f"the answer is longer than {limit} bytes", limit=limit)
            data = self.read1(timeout=remaining())
            rest += data
        return first + rest if rest else first


class Response:
    """An answer: its head, and its body still to be read."""

    __slots__ = ("body", "headers", "reason", "redirected_to", "request_sent", "status", "url")

    def __init__(
        self, status: int, reason: str, headers: Headers, url: str, body: Body, *, request_sent: bool = True
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.url = url
        self.body = body
        self.redirected_to: str | None = None  # the other origin, which got no credentials
        self.request_sent = request_sent  # False if the answer came before the request had gone out whole

    @property
    def content_type(self) -> str:
        """The essence of the content type, in lower case and without parameters; "" if there is none."""
        value: str = self.headers.get("content-type", "")
        return value.partition(";")[0].strip().lower()


class Decoder:
    """Undoes gzip or deflate, giving at once what can be given. Bounded output, whatever the ratio."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._zlib = zlib.decompressobj(31 if coding == "gzip" else 15)
        self._begun = False
        self._first = b""  # of deflate, until it shows whether the zlib header is there

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield decoded pieces of at most 256 KiB each."""
        if not self._begun and self._coding == "deflate":
            data = self._first + data
            if len(data) < 2:
                self._first = data
                return
            # RFC 1950, section 2.2. Without that header it is raw deflate, which some servers send under this name.
            if data[0] & 0x0F != 8 or (data[0] << 8 | data[1]) % 31:
                self._zlib = zlib.decompressobj(-15)
        self._begun = self._begun or bool(data)
        while data:
            try:
                piece = self._zlib.decompress(data, 4 * CHUNK_SIZE)
            except zlib.error as error:
                raise RemoteProtocolError(f"the answer is not valid {self._coding}: {error}") from error
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail
            if self._zlib.eof and self._zlib.unused_data:  # several gzip members in a row, RFC 1952, section 2.2
                data = self._zlib.unused_data
                if self._coding != "gzip":
                    return
                self._zlib = zlib.decompressobj(31)

    def end(self) -> None:
        """Raise ConnectionLost if the coded data stopped in the middle."""
        if (self._begun or self._first) and not self._zlib.eof:
            raise ConnectionLost(f"the answer ended in the middle of its {self._coding} data")


def decoder_for(headers: Headers) -> Decoder | None:
    """The decoder for an answer's content coding, or None if it is plain.

    Raises:
        RefusedAnswer: A coding that was not asked for.
    """
    coding = headers.get("content-encoding")
    if coding is None:
        return None
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip"):
        return Decoder("gzip")
    if coding == "deflate":
        return Decoder("deflate")
    raise RefusedAnswer(f"expected content coding gzip, deflate or none, got {coding!r:.40}")
