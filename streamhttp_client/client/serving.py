"""Answering what the server asks on its streams (until 2025-11-25)."""

from __future__ import annotations

import logging

from .. import jsonrpc
from ..exceptions import CallTimeout, ClientClosed, StreamHTTPError
from ..net.retry import Effort
from ..transport.link import Link, LookAhead
from .callbacks import Callbacks

__all__ = ["Serving"]

logger = logging.getLogger("streamhttp_client")

# Requests of the server whose answers are remembered, so that one which is replayed is not asked of the user again.
_MAX_ANSWERED = 1024


class Serving:
    """Asks the user's functions, and posts what they say. Threads share it.

    Args:
        callbacks: The user's functions.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        # What was answered, on one link: another session counts its requests anew.
        self._answered: tuple[Link | None, dict[jsonrpc.RequestId, None]] = None, {}

    def serve(
        self, link: Link, request: jsonrpc.Request, effort: Effort, stream: LookAhead, *, lasting: bool
    ) -> None:
        """Answer a request, with a POST of its own. What goes wrong with that is not the call's failure.

        Args:
            link: On which it was asked.
            request: What was asked.
            effort: The limits of whoever reads the stream.
            stream: Where it came, and where it may be taken back.
            lasting: Whether the link is the one of now; else nothing of it is remembered.

        Raises:
            ClientClosed: The call was cancelled or the client closed meanwhile.
            CallTimeout: The time of the call was over.
        """
        answered = self._answered_on(link, lasting)
        if request.id in answered:
            return  # replayed on a resumed stream
        if not link.era.server_asks:
            logger.warning("the server asked %r, which revision %s forbids", request.method, link.era.revision.name)
            return
        answer = self._callbacks.answer(request)
        if _is_taken_back(request, stream):
            logger.info("the server cancelled its request %r", request.method)
            return
        try:
            link.post(answer, effort)
        except CallTimeout as error:
            error.may_have_executed = True  # the call that it belongs to may; of the answer nobody speaks
            raise
        except StreamHTTPError as error:
            if isinstance(error, ClientClosed):
                raise
            logger.warning("the answer to %r could not be sent: %s", request.method, str(error))
            return
        answered[request.id] = None
        for old in list(answered)[:-_MAX_ANSWERED]:  # a copy, since other threads answer too
            answered.pop(old, None)

    def _answered_on(self, link: Link, lasting: bool) -> dict[jsonrpc.RequestId, None]:
        """The requests that were answered on a link."""
        whose, answered = self._answered
        if whose is not link:
            answered = {}
            if lasting:
                self._answered = link, answered
        return answered


def _is_taken_back(request: jsonrpc.Request, stream: LookAhead) -> bool:
    """Whether the server has cancelled its request meanwhile: it gets no answer then (MCP 2025-11-25, Cancellation)."""
    return any(
        isinstance(message, jsonrpc.Notification)
        and message.method == "notifications/cancelled"
        and (message.params or {}).get("requestId") == request.id
        for message in stream.look_ahead()
    )
