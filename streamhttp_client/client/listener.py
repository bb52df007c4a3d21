"""A listener, as its user sees it: an iterator, or a thread that calls a function; and a way to end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .listening import Listening

__all__ = ["Listener"]


class Listener:
    """Iterates notifications that belong to no call; made by :meth:`Client.listen`.

    Requests of the server that come here are answered from the client's callbacks, on the thread that iterates.
    Progress for calls of other threads is handed to their ``on_progress``, on this thread.

    Leaving its block ends it. So does dropping one that is iterated, though not at once: when its client makes the next
    call, or is closed. One with a callback goes on, whoever holds it.
    """

    def __init__(self, listening: Listening, forsake: Callable[[Listening], object]) -> None:
        self._listening = listening
        self._forsake = forsake

    def __del__(self) -> None:
        # In the collector no socket is closed and no lock is taken: it may run in whatever holds one.
        listening: Listening | None = self.__dict__.get("_listening")
        if listening is not None and not listening.has_thread:
            self._forsake(listening)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a listener cannot be pickled; listen anew, with a copy of the client")

    def __enter__(self) -> Listener:
        """Open the stream, so that nothing is missed of what the block brings about."""
        self._listening.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._listening)

    @property
    def available(self) -> bool | None:
        """None until the server was asked; False if it has no such stream (405), which is no error: the iteration just
        ends.
        """
        return self._listening.available

    @property
    def honoured(self) -> Mapping[str, Any] | None:
        """What the server agreed to tell, where it is asked for each kind (since 2026-07-28); else None."""
        return self._listening.honoured

    def wait_open(self, timeout: float | None = 10.0) -> bool:
        """Wait until the server has answered, for a listener with a callback; whether the stream is open.

        What the server sends before that, nobody hears: wait before doing what it is to report.
        """
        return self._listening.wait_open(timeout)

    @property
    def ended(self) -> bool:
        """Whether the thread has ended, of a listener with a callback."""
        return self._listening.ended

    @property
    def failure(self) -> BaseException | None:
        """Why the thread of a listener with a callback has ended, if it failed."""
        return self._listening.failure

    def close(self) -> None:
        """Stop listening. Any thread; takes two seconds at the most, for a callback that is running."""
        self._listening.close()
