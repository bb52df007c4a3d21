"""Calls that the server makes a task of: asking after one until it has ended (tasks extension, for 2026-07-28)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .. import jsonrpc
from ..exceptions import (
    CallCancelled,
    CallTimeout,
    ClientClosed,
    InputRequired,
    InvalidParams,
    RemoteProtocolError,
)
from ..net.retry import Effort
from ..protocol import calls
from ..protocol.inputs import MAX_ROUNDS
from ..protocol.models.deferred import DeferredTask
from ..transport.answers import rpc_error
from .callbacks import Unanswered
from .rounds import answer_requests

if TYPE_CHECKING:
    from .call import CallEvent
    from .engine import Engine

__all__ = ["follow"]

T = TypeVar("T")

# Where the server names no interval: soon enough to feel quick, and no more than a heartbeat to the server.
_POLL_SECONDS = 1.0
_LEAST_SECONDS = 0.05
_MOST_MS = 86_400_000  # a day; clocks cannot wait for as long as JSON can say
# What is kept back of a deadline for the last question.
_LAST_LOOK = 0.25


def follow(
    engine: Engine, task: DeferredTask, effort: Effort, callbacks: Mapping[str, Any]
) -> Generator[CallEvent, None, Any]:
    """Ask after a task at the server's own interval, and answer what it asks, until it has ended.

    Args:
        engine: Whose task it is.
        task: As it was last seen.
        effort: The limits of the whole.
        callbacks: Arguments of the calls that ask, so that what arrives with their answers is heard.

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
    engine.register(effort)
    try:
        while True:
            if seen != (task.status, task.status_message):
                seen = task.status, task.status_message
                yield task
            if task.is_terminal:
                return _outcome(task)
            requests = {key: asked for key, asked in (task.input_requests or {}).items() if key not in answered}
            if requests:
                try:
                    responses = answer_requests(engine.callbacks, requests)
                except Unanswered as why:
                    raise _refused(task, str(why)) from None
                try:
                    yield from _ask(engine, calls.update_task(task.task_id, responses), effort, callbacks)
                    answered.update(requests)
                except InvalidParams as error:  # an answer does not fit: it is asked for once more
                    refused += 1
                    if refused >= MAX_ROUNDS:
                        raise _refused(task, f"no answer fits: {error}") from error
                if asked_before:
                    _pause(engine, task, effort)  # it asks one thing after the other, and must not keep us busy
                asked_before = True
            else:
                asked_before = False
                _pause(engine, task, effort)
            task_id = task.task_id
            task = yield from _ask(engine, calls.poll_task(task_id), effort, callbacks)
            if task.task_id != task_id:
                raise RemoteProtocolError(f"asked after task {task_id!r:.80}, and was told of {task.task_id!r:.80}")
    finally:
        engine.unregister(effort)


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


def _refused(task: DeferredTask, why: str) -> InputRequired:
    return InputRequired(
        f"the task cannot go on without input, and {why}",
        method="tasks/update",
        params={"taskId": task.task_id},
        result=task.to_wire(),
    )


def _pause(engine: Engine, task: DeferredTask, effort: Effort) -> None:
    """Wait until it is time to ask again; one more look at the end is better than giving up before it."""
    interval = task.poll_interval_ms
    pause = _POLL_SECONDS if interval is None else max(min(interval, _MOST_MS) / 1000, _LEAST_SECONDS)
    left = effort.deadline.remaining()
    if left is not None:
        if left <= _LAST_LOOK:
            raise CallTimeout(f"the task had not ended within {effort.deadline.seconds:g} s")
        pause = min(pause, left - _LAST_LOOK)
    effort.interrupt.sleep(pause)
    if effort.interrupt.fired:
        raise ClientClosed("closed while waiting for a task")


def _ask(
    engine: Engine, operation: calls.Operation[T], effort: Effort, callbacks: Mapping[str, Any]
) -> Generator[CallEvent, None, T]:
    """One request about the task, within what is left of the whole."""
    from .call import Call

    if effort.deadline.expired:
        raise CallTimeout(f"the task had not ended within {effort.deadline.seconds:g} s")
    call: Call[T] = Call(engine, operation, effort.part(), repeatable=True, **callbacks)
    yield from call
    return call.result
