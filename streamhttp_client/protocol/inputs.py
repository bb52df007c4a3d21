"""Rounds of a request that the server cannot answer yet (since 2026-07-28, basic/patterns/mrtr).

Strategy: a round is a value. :func:`read` says whether a result asks for something, and :func:`retry_params` makes the
parameters of the next attempt from the original ones. Nothing is kept between rounds and nothing given is changed, so
what one request is asked for cannot get into another that runs beside it. The id of the next attempt is another one,
which is for whoever sends it to choose; how many rounds there may be, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from .._record import Record
from ..exceptions import InvalidResult, LocalProtocolError

if TYPE_CHECKING:
    from .models.inputs import InputRequest

__all__ = ["ASKING_METHODS", "MAX_ROUNDS", "WantedInput", "check_result_type", "read", "retry_params"]

ASKING_METHODS = frozenset(("prompts/get", "resources/read", "tools/call"))
"""The requests that a server may answer with questions (Supported Requests)."""

MAX_ROUNDS = 10
"""Rounds after which a client had better stop: as many as the official SDKs allow."""


class WantedInput(Record):
    """What a server asks for before it goes on.

    Attributes:
        requests: By the names under which the answers are wanted; None if there are no questions, and the request may
            simply be sent again after a while.
        state: To be sent back as it is, without a look inside; None if there is none.
        result: The result as it came.
    """

    requests: Mapping[str, InputRequest] | None
    state: str | None
    result: Mapping[str, Any]

    def _repr_value(self, name: str, value: Any) -> str:
        # Questions may be private, and the state is nobody's business.
        return "..." if value and name != "requests" else repr(list(value) if value else value)


def check_result_type(result: Any, known: Collection[str] = ()) -> str:
    """Return the type of a result: ``"complete"``, ``"input_required"`` or one of ``known``.

    A result that does not say is complete, as those of earlier revisions are (basic/index, ResultType).

    Args:
        result: Any JSON value; one that is no object is complete, and for its reader to refuse.
        known: Types of extensions that the request offered, such as ``"task"``.

    Raises:
        InvalidResult: The type is another.
    """
    kind = result.get("resultType") if isinstance(result, Mapping) else None
    if kind is None:
        return "complete"
    if isinstance(kind, str) and (kind in ("complete", "input_required") or kind in known):
        return kind
    shown = repr(kind) if isinstance(kind, str) else type(kind).__name__
    raise InvalidResult(f"resultType must be {_listed(known)}, got {shown:.60}", result=result)


def read(result: Any, method: str, *, known: Collection[str] = ()) -> WantedInput | None:
    """Return what a result asks for, or None if it is an answer.

    Args:
        result: The result as it came.
        method: Of the request that it answers.
        known: As for :func:`check_result_type`. With a type of these, None is returned: the caller reads it.

    Raises:
        InvalidResult: It is of an unknown type; or it asks for something, and in the wrong shape or where the
            protocol allows no questions.
    """
    if check_result_type(result, known) != "input_required":
        return None
    if method not in ASKING_METHODS:
        # "Servers MUST NOT send InputRequiredResult responses on any other client requests." Supported Requests
        raise InvalidResult(f"a result of {method!r} must not ask for input", result=result)
    from .models.inputs import InputRequiredResult

    asked = InputRequiredResult.from_wire(result)
    if asked.input_requests is None and asked.request_state is None:
        raise InvalidResult("a result that asks for input must have 'inputRequests' or 'requestState'", result=result)
    return WantedInput(asked.input_requests, asked.request_state, result)


def retry_params(
    original: Mapping[str, Any] | None, wanted: WantedInput, responses: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the parameters of the next attempt: the original ones, the answers, and the server's state.

    Args:
        original: Parameters of the request as it was first asked. It is not changed; what it holds is shared.
        wanted: What the last attempt was answered with.
        responses: An answer to each question, models or JSON objects, by the names of the questions.

    Raises:
        LocalProtocolError: There is not exactly one answer to each question, or one is no object.
    """
    # What an earlier round added is not of the original: "If the InputRequiredResult does not contain a requestState
    # field, the client MUST NOT include one in the retry." Client Requirements
    params = {key: value for key, value in (original or {}).items() if key not in ("inputResponses", "requestState")}
    questions = wanted.requests or {}
    answers = responses or {}
    if questions.keys() != answers.keys():
        missing = sorted(questions.keys() - answers.keys())
        unasked = sorted(answers.keys() - questions.keys(), key=str)
        raise LocalProtocolError(f"each question needs one answer: missing {missing}, not asked for {unasked}")
    if wanted.requests is not None:
        params["inputResponses"] = {key: _answer(key, answers[key]) for key in questions}
    if wanted.state is not None:
        params["requestState"] = wanted.state
    return params


def _answer(key: str, value: Any) -> dict[str, Any]:
    to_wire = getattr(value, "to_wire", None)
    if to_wire is not None:
        value = to_wire()
    if not isinstance(value, Mapping):
        raise LocalProtocolError(f"the answer to {key!r} must be a mapping, got {type(value).__name__}")
    return dict(value)


def _listed(known: Collection[str]) -> str:
    return " or ".join(map(repr, ("complete", "input_required", *sorted(known))))
