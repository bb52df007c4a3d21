"""What arrives for a call before its result, and who is told of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..net.retry import Effort
from ..progress import OnProgress, Progress, SharedMeter

if TYPE_CHECKING:
    from .._record import Record
    from ..protocol.models.notifications import LogMessage
    from .engine import Engine

    CallEvent = Progress | LogMessage | Record

__all__ = ["Hearing"]

logger = logging.getLogger("streamhttp_client")


class Hearing:
    """Reads notifications, on whatever stream they come, and hands them to the functions of the call or of the client.

    Args:
        engine: Whose call it is.
        effort: Of the call; it knows how many attempts there were.
        on_progress, on_log: The caller's functions.
        count: Counts progress, where it goes on; else made with the first of it.

    Attributes:
        tokens: The progress tokens of the call.
    """

    __slots__ = ("_count", "_effort", "_engine", "on_log", "on_progress", "tokens")

    def __init__(
        self,
        engine: Engine,
        effort: Effort,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
        count: SharedMeter | None,
    ) -> None:
        self._engine = engine
        self._effort = effort
        self._count = count
        self.on_progress = on_progress
        self.on_log = on_log
        self.tokens: tuple[jsonrpc.RequestId | None, ...] = ()

    def owns(self, token: Any) -> bool:
        """Whether a progress token is this call's."""
        return token is not None and any(token == mine and type(token) is type(mine) for mine in self.tokens)

    def take(self, message: jsonrpc.Notification) -> CallEvent | None:
        """A notification that came for this call, on its own stream or on the listening one; None if it is dropped.

        Raises:
            BaseException: What a function of the user raised.
        """
        if message.method == "notifications/progress":
            return self._take_progress(message)
        event = self._engine.read_notification(message)
        if message.method == "notifications/message" and event is not None:
            on_log = self.on_log or self._engine.on_log
            if on_log is not None:
                on_log(event)  # type: ignore[arg-type]
        elif event is not None and self._engine.on_notification is not None:
            self._engine.on_notification(event)
        return event

    def _take_progress(self, message: jsonrpc.Notification) -> Progress | None:
        params = message.params or {}
        token, progress, total, text = (params.get(key) for key in ("progressToken", "progress", "total", "message"))
        if not self.owns(token):
            logger.debug("dropped progress for an unknown token")
            return None
        if isinstance(progress, bool) or not isinstance(progress, (int, float)):
            logger.warning("dropped a progress notification without a number in it")
            return None
        if isinstance(total, bool) or not isinstance(total, (int, float)):
            total = None
        words = text if isinstance(text, str) else None
        event = self.counted().update(progress, total, words, self._effort.attempts)
        if self.on_progress is not None:
            self.on_progress(event)
        return event

    def tell(self, words: str) -> None:
        """Words of the server that came without a number are progress too."""
        if self.on_progress is not None:
            self.on_progress(self.counted().words(words, self._effort.attempts))

    def counted(self) -> SharedMeter:
        """What counts the progress."""
        if self._count is None:
            self._count = SharedMeter()
        return self._count
