"""How much to send in one tus request: all of it, until something shows that this is too much. Pure."""

from __future__ import annotations

__all__ = ["Chunks"]

# Smaller requests would be mostly round trips.
_LEAST = 256 * 1024
# So much may have been in the buffers of both ends when a connection broke, and says nothing about the server.
_IN_FLIGHT = 4 << 20


class Chunks:
    """The size of the next request.

    One request for everything is fastest, and most servers keep what they got of one that broke. It shrinks when the
    server says that a request is too large (413), and when a broken one was lost as a whole, as behind a proxy that
    passes on only whole requests. It grows again while all goes well, but never back to what was refused.

    Args:
        fixed: The caller's own choice; None to adapt.
    """

    def __init__(self, fixed: int | None) -> None:
        self._adapts = fixed is None
        self._size = fixed
        self._ceiling: int | None = None

    def next(self, left: int) -> int:
        """Bytes to send next, of those that are left."""
        return left if self._size is None else min(left, self._size)

    def took(self, size: int) -> None:
        """A request went through."""
        if self._adapts and self._size is not None and size >= self._size:
            self._size = self._size * 2 if self._ceiling is None else min(self._size * 2, self._ceiling)

    def too_large(self, size: int) -> bool:
        """A request was refused for its size; False if a smaller one is not to be tried."""
        if not self._adapts or size <= _LEAST:
            return False
        self._size = self._ceiling = max(_LEAST, size // 2)
        return True

    def lost(self, sent: int) -> None:
        """A connection broke after so many bytes, and the server has none of them."""
        if self._adapts and sent > _IN_FLIGHT:
            self._size = max(_LEAST, sent // 2)
