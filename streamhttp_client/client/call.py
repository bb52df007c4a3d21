"""A call under way, as its user sees it: an iterator, a result, and a way to end it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from .. import jsonrpc
from ..protocol.session import StreamCursor
from .run import Run

if TYPE_CHECKING:
    from ..protocol.models.deferred import DeferredTask
    from .hearing import CallEvent

__all__ = ["Call"]

T = TypeVar("T")


class Call(Generic[T]):
    """One request to the server, from its sending to its result.

    ``with client.stream_tool(…) as call`` and iterate: :class:`Progress`, :class:`LogMessage` and other notifications
    come as they arrive, over any number of reconnects. After the loop, or instead of it, ``call.result`` is the
    result. Leaving the block before the end cancels the call. So does dropping a call that was begun, though not at
    once: when its client makes the next one, or is closed.

    One thread iterates. :meth:`cancel` may be called from any thread, as may ``cursor`` be read.
    """

    def __init__(self, run: Run[T], owner: object) -> None:
        self._run = run
        self._owner = owner  # a client that nobody else holds must not be closed by being collected

    def __enter__(self) -> Call[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._run.end("the caller left the block")

    def __del__(self) -> None:
        # In the collector no socket is closed and no lock is taken: it may run in whatever holds one.
        run: Run[T] | None = self.__dict__.get("_run")
        if run is not None:
            run.forsake()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a call cannot be pickled; store its cursor instead")

    def __iter__(self) -> Iterator[CallEvent]:
        return self

    def __next__(self) -> CallEvent:
        return next(self._run)

    @property
    def result(self) -> T:
        """The result; reads on to the end of the call if it has not come yet. Events on the way go to the callbacks.

        Raises:
            ToolError: The tool failed, unless ``raise_on_error=False`` was given.
            RPCError: The server answered with an error.
            TransportError: The answer is lost; ``CallTimeout`` if its time was over.
        """
        return self._run.result

    @property
    def done(self) -> bool:
        """Whether the result is here."""
        return self._run.done

    @property
    def request_id(self) -> jsonrpc.RequestId | None:
        """The JSON-RPC id of the request, or of its last attempt; None before it was sent."""
        return self._run.request_id

    @property
    def cursor(self) -> StreamCursor | None:
        """Where this call stands, to be stored and given to :meth:`Client.resume_call`; None if it cannot be resumed.

        Stored while an event is handled, it stands behind that event: later ones come again, this one does not.
        """
        return self._run.cursor

    @property
    def task(self) -> DeferredTask | None:
        """The task that the server made of this call, as it was last seen; None if it made none.

        Its ``task_id`` is all that :meth:`Client.wait_task` needs, in this or another process.
        """
        return self._run.task

    def cancel(self, reason: str = "cancelled by the user") -> None:
        """End the call: wake the thread that is blocked in it, which gets CallCancelled, and tell the server.

        Any thread may call it, also more than once, and after the end, when it does nothing. Takes two seconds at the
        most. The server may have finished all the same.
        """
        self._run.cancel(reason)
