"""What a server wants to know before it can finish a call: rounds of input, MCP 2026-07-28, basic/patterns/mrtr.

The server answers a call with questions, the same callbacks as in the session era answer them, and the call is made
again with the answers. Each call has rounds of its own; nothing of them gets into another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import InputRequired
from ..net.retry import Effort
from ..protocol import inputs
from ..protocol.calls import Operation

if TYPE_CHECKING:
    from .callbacks import Callbacks

__all__ = ["Rounds", "answer_requests"]


class Rounds:
    """The rounds of one call.

    Args:
        callbacks: The user's functions.
        operation: What is called.
        params: What to send first, where the call goes on with a round that was begun before; else the operation's.

    Attributes:
        params: What to send next.
    """

    def __init__(
        self, callbacks: Callbacks, operation: Operation[Any], params: Mapping[str, Any] | None = None
    ) -> None:
        self._callbacks = callbacks
        self._operation = operation
        self._count = 0
        self.params: Mapping[str, Any] | None = operation.params if params is None else params

    def answer(self, result: Mapping[str, Any], effort: Effort) -> None:
        """Answer what an ``input_required`` result asks, and have ``params`` carry the answers.

        Raises:
            InputRequired: Nobody can answer it, or it asks too often.
            InvalidResult: It is malformed.
        """
        operation = self._operation
        wanted = inputs.read(result, operation.method)
        assert wanted is not None
        self._count += 1
        if self._count > inputs.MAX_ROUNDS:
            raise self._refused(wanted, f"it still asks after {inputs.MAX_ROUNDS} rounds")
        responses: dict[str, Any] | None = None
        if wanted.requests is None:
            # A state alone: the server wants to be asked again, and "the client MAY retry the original request
            # immediately". With the pauses of any other attempt, it cannot keep us busy.
            if not effort.again():
                raise self._refused(wanted, "it wants to be asked again and again")
        else:
            responses, unanswered = answer_requests(self._callbacks, wanted.requests)
            if unanswered is not None:
                raise self._refused(wanted, f"nobody here answers {unanswered!r}")
        self.params = inputs.retry_params(operation.params, wanted, responses)

    def _refused(self, wanted: inputs.WantedInput, why: str) -> InputRequired:
        operation = self._operation
        about = operation.method if operation.name is None else f"{operation.method} {operation.name!r}"
        return InputRequired(
            f"the server cannot finish {about} without input, and {why}",
            method=operation.method,
            params=operation.params,
            result=wanted.result,
        )


def answer_requests(
    callbacks: Callbacks, requests: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Ask the user what a server wants to know.

    Returns:
        The answers under the server's names, and the first method that could not be answered, or None. Then nothing is
        to be sent: "the client just does not retry" (client/sampling, Error Handling).
    """
    responses = {}
    for key, request in requests.items():
        answer = callbacks.answer(jsonrpc.Request(key, request.method, request.params))
        if isinstance(answer, jsonrpc.ErrorResponse):
            return {}, request.method
        responses[key] = answer.result
    return responses, None
