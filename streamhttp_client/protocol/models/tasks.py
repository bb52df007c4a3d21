"""Tasks of 2025-11-25: requests that go on on the server, and are asked about later.

(The tasks of 2026-07-28 are an extension with messages of its own.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ..names import RELATED_TASK
from .base import MetaModel, Model, Page

__all__ = ["RELATED_TASK", "CreateTaskResult", "ListTasksResult", "RelatedTask", "Task", "TaskMetadata"]


class TaskMetadata(Model):
    """Asks that a request be run as a task.

    Attributes:
        ttl: Milliseconds to keep the task from its creation on.
    """

    ttl: float | None = None


class RelatedTask(Model):
    """Says which task a message belongs to."""

    task_id: str


class Task(MetaModel):
    """The state of a task.

    Attributes:
        status: ``"working"``, ``"input_required"``, ``"completed"``, ``"failed"`` or ``"cancelled"``.
        created_at: ISO 8601 date and time.
        last_updated_at: ISO 8601 date and time.
        ttl: Milliseconds that the server keeps it, from its creation on; None is without limit.
        status_message: Says more, for people.
        poll_interval: Milliseconds to wait between questions.
    """

    task_id: str
    status: str
    created_at: str
    last_updated_at: str
    ttl: float | None
    status_message: str | None = None
    poll_interval: float | None = None

    @property
    def is_terminal(self) -> bool:
        """The status will not change any more."""
        return self.status in ("completed", "failed", "cancelled")


class CreateTaskResult(MetaModel):
    """The answer to a request that runs as a task."""

    task: Task


class ListTasksResult(Page[Task]):
    """One page of tasks."""

    tasks: Sequence[Task]

    @property
    def items(self) -> Sequence[Task]:
        """The tasks."""
        return self.tasks
