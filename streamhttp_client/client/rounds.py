"""What a server wants to know before it can finish a call: rounds of input, MCP 2026-07-28, basic/patterns/mrtr.

The server answers a call with questions, the same callbacks as in the session era answer them, and the call is made
again with the answers. Each call has rounds of its own; nothing of them gets into another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import InputRequired, LocalProtocolError
from ..net.retry import Backoff, Effort
from ..protocol import calls, inputs
from ..protocol.calls import Operation
from .callbacks import Unanswered

if TYPE_CHECKING:
    from .callbacks import Callbacks

__all__ = ["Rounds", "answer_requests", "go_on"]


class Rounds:
    """The rounds of one call.

    Args:
        callbacks: The user's functions.
        operation: What is called.
        params: What to send first, where the call goes on with a round that was begun before; else the operation's.

    Attributes:
        params: What to send next.
        capabilities: Those of whoever gave the first answers, where no callback did: servers look at them again.
    """

    def __init__(
        self, callbacks: Callbacks, operation: Operation[Any], params: Mapping[str, Any] | None = None
    ) -> None:
        self._callbacks = callbacks
        self._operation = operation
        self._count = 0
        self._pauses: Backoff | None = None
        self.capabilities: dict[str, Any] | None = None
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
            # immediately". With pauses that grow, whatever its streams bring in between, it cannot keep us busy.
            if self._pauses is None:
                self._pauses = Backoff(effort.policy, effort.deadline, effort.interrupt)
            if not self._pauses.again():
                raise self._refused(wanted, "it wants to be asked again and again")
        else:
            try:
                responses = answer_requests(self._callbacks, wanted.requests)
            except Unanswered as why:
                raise self._refused(wanted, str(why)) from None
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


def go_on(
    callbacks: Callbacks, required: InputRequired, responses: Mapping[str, Any]
) -> tuple[Operation[Any], Rounds]:
    """A call that stopped for want of input, with that input: what is called, and what to send.

    Raises:
        LocalProtocolError: It is no call that can be made again, or an answer is missing.
        InvalidResult: What it stopped at is malformed.
    """
    readers: dict[str, Callable[[str], Operation[Any]]] = {
        "tools/call": calls.call_tool,
        "prompts/get": calls.get_prompt,
        "resources/read": calls.read_resource,
    }
    wanted, params = inputs.read(required.result, required.method), required.params or {}
    name = params.get("uri" if required.method == "resources/read" else "name")
    if wanted is None or required.method not in readers or not isinstance(name, str):
        raise LocalProtocolError(f"a call of {required.method!r:.40} cannot be gone on with")
    reader = readers[required.method](name)
    operation = Operation(
        required.method,
        dict(params),
        reader.parse,
        read_only=reader.read_only,
        capability=reader.capability,
        name=name,
    )
    rounds = Rounds(callbacks, operation, inputs.retry_params(params, wanted, responses))
    rounds.capabilities = {}
    for request in (wanted.requests or {}).values():
        asked = request.params or {}
        if request.method == "elicitation/create":
            modes = rounds.capabilities.setdefault("elicitation", {})
            modes[asked.get("mode", "form")] = {}
        elif request.method == "sampling/createMessage":
            abilities = rounds.capabilities.setdefault("sampling", {})
            if "tools" in asked:
                abilities["tools"] = {}
        elif request.method == "roots/list":
            rounds.capabilities["roots"] = {}
    return operation, rounds


def answer_requests(callbacks: Callbacks, requests: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the user what a server wants to know; the answers under the server's names.

    Raises:
        Unanswered: One of them has no answer. Then nothing is to be sent: "the client just does not retry"
            (client/sampling, Error Handling).
        BaseException: What a callback raised: the call ends with it.
    """
    from ..protocol.models.inputs import ANSWERS

    for request in requests.values():  # before anybody is asked in vain
        if request.method not in ANSWERS or not callbacks.answers(request.method):
            raise Unanswered(f"nobody here answers {request.method!r}")
    return {key: callbacks.result(request.method, request.params) for key, request in requests.items()}
