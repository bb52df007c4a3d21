"""What a server asks for before it can go on, and what it is given (since 2026-07-28, basic/patterns/mrtr)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .base import Model, Result
from .elicitation import ElicitResult
from .roots import ListRootsResult
from .sampling import CreateMessageResult

__all__ = ["ANSWERS", "InputRequest", "InputRequiredResult"]

# "values are request objects that MUST be one of ElicitRequest, CreateMessageRequest, or ListRootsRequest"
ANSWERS: dict[str, type[ElicitResult] | type[CreateMessageResult] | type[ListRootsResult]] = {
    "elicitation/create": ElicitResult,
    "sampling/createMessage": CreateMessageResult,
    "roots/list": ListRootsResult,
}
"""What a server may ask, and the model of its answer."""


class InputRequest(Model):
    """One thing that a server asks of the client.

    Its answer is an :class:`ElicitResult`, :class:`CreateMessageResult` or :class:`ListRootsResult`.

    Attributes:
        method: One of :data:`ANSWERS`.
        params: As of the request of that name in the session era.
    """

    method: str
    params: Mapping[str, Any] | None = None


class InputRequiredResult(Result, kw_only=True):
    """The server cannot answer yet: the request is to be sent again, with what it asks for.

    At least one of the two members is there.

    Attributes:
        input_requests: By the names under which the answers are wanted.
        request_state: To be sent back exactly as it is. Opaque: it means something to the server alone.
    """

    result_type: Literal["input_required"] = "input_required"
    input_requests: Mapping[str, InputRequest] | None = None
    request_state: str | None = None
