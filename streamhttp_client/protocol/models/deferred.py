"""Work that a server does later: the tasks extension (SEP-2663, for 2026-07-28).

Not to be confused with the tasks of 2025-11-25 in ``tasks``, which have other shapes under the same methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..names import TASKS_EXTENSION
from .base import Result
from .inputs import InputRequest

__all__ = ["TASKS_EXTENSION", "DeferredResult", "DeferredTask"]

class DeferredTask(Result):
    """The state of a task, with what came of it.

    Attributes:
        status: ``"working"``, ``"input_required"``, ``"completed"``, ``"failed"`` or ``"cancelled"``.
        created_at: ISO 8601 date and time.
        last_updated_at: ISO 8601 date and time.
        ttl_ms: Milliseconds that the server keeps it, from its creation on; None is without limit. It may change.
        status_message: Says more, for people.
        poll_interval_ms: Milliseconds to wait between questions. It may change.
        input_requests: All that the server now waits for, by names that it uses once in the life of the task.
        result: Of a completed task: the result of the request behind it, as it stands on the wire.
        error: Of a failed task: the JSON-RPC error, with ``code`` and ``message``.
    """

    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl_ms: float | None
    status_message: str | None = None
    poll_interval_ms: float | None = None
    input_requests: Mapping[str, InputRequest] | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None

    @property
    def is_terminal(self) -> bool:
        """The status will not change any more."""
        return self.status in ("completed", "failed", "cancelled")


class DeferredResult(DeferredTask, kw_only=True):
    """The answer to a request that became a task. The task's own answers are a :class:`DeferredTask`."""

    result_type: Literal["task"] = "task"
