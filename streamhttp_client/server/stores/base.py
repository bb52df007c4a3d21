"""What the server needs from a store, in one small interface.

A store holds two things. A **session** is a small JSON object that expires when it is not used. A **log**
belongs to a session and is a list of byte strings that only grows at its end, numbered from 1; one writer
appends, readers take what comes after a number, and wait. Every stream of server-sent events is a log, since
"resume after event 7" is then only "read after 7"; and so is the inbox of a running call, through which a
POST that reached another thread or another machine hands it an answer or a cancellation.

Invariants that every store keeps:

- Numbers have no gaps, and an entry never changes. What was dropped to keep a limit is dropped from the front, and a
  reader that needed it is told so (``Page.state == "gone"``) instead of being given a stream with a hole.
- A log has at most one reader that counts: :meth:`Store.claim` gives a new reader number, and the reader before it
  finds ``"taken"`` at its next read. So a client that comes back never shares a stream with its own dead connection.
- Everything expires. Nobody has to clean up after a client that vanished. A session expires ``session_ttl`` seconds
  after it was last of use: asked for, one of its logs read by a reader that counts, or one with a will unfinished in a
  process that lives, since a call runs there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from ...exceptions import StreamHTTPError

__all__ = [
    "PAGE_BYTES",
    "PAGE_EVENTS",
    "PROBE_INTERVAL",
    "Page",
    "SessionsFull",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "lacks",
]

#: What one read brings at most: one chunk on the wire, which is what a slow reader makes us hold besides the log.
PAGE_EVENTS, PAGE_BYTES = 256, 1 << 18
#: Seconds between two questions of a wait whether it shall go on.
PROBE_INTERVAL = 1.0

State = Literal["open", "ended", "gone", "taken"]


class StoreError(StreamHTTPError):
    """A store cannot do what it should. Requests are answered with 503; what a service calls itself, such as
    :meth:`Server.notify_list_changed`, raises it.
    """


class StoreFull(StoreError):
    """A limit of the store is reached."""


class SessionsFull(StoreFull):
    """There are as many sessions as may be, so one that ends makes room for another."""


class StoreUnavailable(StoreError):
    """The database behind the store does not answer; ``__cause__`` says why."""


class StoreClosed(StoreError):
    """The store was closed, here."""


class Page(NamedTuple):
    """What one read brought.

    Attributes:
        entries: ``(number, data)`` in order, without gaps, beginning right after the number that was asked
            for.
        state: ``"open"``: more may come. ``"ended"``: these are the last. ``"gone"``: the log, or what came
            after the number asked for, is no longer held. ``"taken"``: another reader has claimed the log.
    """

    entries: list[tuple[int, bytes]]
    state: State


class Store(Protocol):
    """Sessions and logs. Any thread may call any method."""

    shared: bool
    """Whether other processes use the same store, so that a message may arrive anywhere."""

    session_ttl: float
    """Seconds that a session lives without use."""

    def secret(self) -> bytes:
        """32 bytes that nobody can guess: the same for all who use this store, made for the first who asks, and kept
        for as long as the store keeps anything. Who can read the store can read it.
        """

    def create_session(self, session: str, fields: Mapping[str, Any]) -> None:
        """Keep a new session.

        Raises:
            SessionsFull: There are as many sessions as may be.
            StoreFull: There is no room for what it keeps.
        """

    def get_session(self, session: str) -> dict[str, Any] | None:
        """Return the fields of a session and put off its expiry, or None if there is no such session."""

    def update_session(self, session: str, changes: Mapping[str, Any]) -> bool:
        """Set some fields, and drop those whose value is None; return False if the session is gone."""

    def delete_session(self, session: str) -> bool:
        """Drop the session with its logs; their readers get ``"gone"``. Returns whether it was there."""

    def iter_sessions(self, having: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Walk all sessions, without putting off their expiry.

        Args:
            having: Those without a field whose name begins with this may be left out.
        """

    def create_log(self, session: str, log: str, *, will: bytes | None = None) -> bool:
        """Begin a log, or begin it anew; return False if the session is gone.

        Limits count inboxes, whose names begin with "i", apart from streams.

        Args:
            will: The last entry of this log if the process that began it dies before it ends the log, so that
                nobody waits for a handler that is no more. A store that lives in the process itself need only know
                that there is one.

        Raises:
            StoreFull: The session has as many unfinished logs as may be, or the store is full.
        """

    def delete_log(self, session: str, log: str) -> None:
        """Drop a log that nobody needs any more; a reader gets ``"gone"``."""

    def append(self, session: str, log: str, data: bytes | None, *, end: bool = False) -> int:
        """Add one entry (none if ``data`` is None), and end the log if so asked.

        Returns:
            The entry's number, or that of the last entry; 0 if the log is gone or has ended.
        """

    def read(
        self,
        session: str,
        log: str,
        after: int,
        *,
        wait: float = 0.0,
        reader: int = 0,
        until: Callable[[], bool] | None = None,
    ) -> Page:
        """Return what comes after a number, waiting at most ``wait`` seconds until there is something.

        Args:
            reader: From :meth:`claim`; 0 reads without being the reader that counts.
            until: Asked each second (:data:`PROBE_INTERVAL`) of a wait, which ends once it is true. It may not use
                the store.
        """

    def claim(self, session: str, log: str) -> int:
        """Become the one reader of the log; 0 if it is gone."""

    def release(self, session: str, log: str, reader: int, position: int) -> None:
        """Say that this reader has ended after handing on ``position``."""

    def position(self, session: str, log: str) -> int | None:
        """Where the last reader ended, 0 if there was none; None if a reader is at it now, or the log is
        gone.
        """

    def wake(self) -> None:
        """Let all waiting reads of this process return now."""

    def close(self) -> None:
        """Release what the store holds. Calling it again does nothing."""


def lacks(store: object) -> list[str]:
    """What an object has not of a :class:`Store`, or only as that has it: a method that does nothing."""
    methods = sorted(name for name, member in vars(Store).items() if callable(member) and not name.startswith("_"))
    return [
        name
        for name in ("shared", "session_ttl", *methods)
        if (found := getattr(store, name, None)) is None or getattr(found, "__func__", found) is vars(Store).get(name)
    ]
