"""Calls that the server makes a task of: asking after one until it has ended (tasks extension, for 2026-07-28)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from .. import jsonrpc
from ..exceptions import CallCancelled, InputRequired, InvalidParams, RemoteProtocolError
from ..net.retry import Effort
from ..protocol import calls
from ..protocol.inputs import MAX_ROUNDS
from ..protocol.models.deferred import DeferredTask
from ..transport.answers import rpc_error
from .callbacks import Callbacks, Unanswered
from .polling import check_time, pause
from .rounds import answer_requests

if TYPE_CHECKING:
    from .hearing import CallEvent

__all__ = ["follow"]

Ask = Callable[[calls.Operation[Any]], "Generator[CallEvent, None, Any]"]


def follow(
    callbacks: Callbacks, task: DeferredTask, effort: Effort, ask: Ask
) -> Generator[CallEvent, None, Any]:
    """Ask after a task at the server's own interval, and answer what it asks, until it has ended.

    Args:
        callbacks: The user's functions.
        task: As it was last seen.
        effort: The limits of the whole.
        ask: Makes a request within them: gives what arrives on the way, and returns its result.

    Yields:
        The task, each time that its status or its words have changed, and whatever else arrives.

    Returns:
        The result of the call that the task was made of, as it stands on the wire.

    Raises:
        RPCError: The task failed.
        CallCancelled: It was cancelled, here or elsewhere.
        InputRequired: It asks what nobody here can answer.
        CallTimeout: It had not ended in time.
    """
    answered: set[str] = set()
    refused = 0
    asked_before = False
    seen: tuple[str, str | None] | None = None
    while True:
        if seen != (task.status, task.status_message):
            seen = task.status, task.status_message
            yield task
        if task.is_terminal:
            return _outcome(task)
        requests = {key: asked for key, asked in (task.input_requests or {}).items() if key not in answered}
        if requests:
            try:
                responses = answer_requests(callbacks, requests)
            except Unanswered as why:
                raise _refused(task, str(why)) from None
            check_time(effort)
            try:
                yield from ask(calls.update_task(task.task_id, responses))
                answered.update(requests)
            except InvalidParams as error:  # an answer does not fit: it is asked for once more
                refused += 1
                if refused >= MAX_ROUNDS:
                    raise _refused(task, f"no answer fits: {error}") from error
            if asked_before:
                pause(task.poll_interval_ms, effort)  # it asks one thing after the other, and must not keep us busy
            asked_before = True
        else:
            asked_before = False
            pause(task.poll_interval_ms, effort)
        check_time(effort)
        task_id = task.task_id
        task = yield from ask(calls.poll_task(task_id))
        if task.task_id != task_id:
            raise RemoteProtocolError(f"asked after task {task_id!r:.80}, and was told of {task.task_id!r:.80}")


def _refused(task: DeferredTask, why: str) -> InputRequired:
    return InputRequired(
        f"the task cannot go on without input, and {why}",
        method="tasks/update",
        params={"taskId": task.task_id},
        result=task.to_wire(),
    )


def _outcome(task: DeferredTask) -> Any:
    if task.status == "cancelled":
        raise CallCancelled("the task was cancelled")
    if task.status == "failed":
        error = task.error or {}
        code, message = error.get("code"), error.get("message")
        raise rpc_error(
            jsonrpc.ErrorResponse(
                None,
                code if isinstance(code, int) else jsonrpc.INTERNAL_ERROR,
                message if isinstance(message, str) else "the task failed",
                error.get("data"),
            )
        )
    return task.result
