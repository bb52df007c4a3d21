"""Calls that outlive their request: the tasks of 2025-11-25, and the tasks extension that took their place.

In the session era the client asks for a task, and collects its result with a request of its own. Since 2026-07-28 the
server decides what becomes one, and asking after it brings its result too. The verbs are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import CallTimeout, CapabilityError, LocalProtocolError, RemoteProtocolError, StreamHTTPError
from ..net.retry import Effort
from ..net.timeouts import TimeoutLike
from ..progress import OnProgress, SharedMeter
from ..protocol import calls
from .callbacks import check_function
from .polling import check_time, pause, time_is_over
from .run import Run
from .tool_verbs import ToolVerbs

if TYPE_CHECKING:
    from ..protocol.models.deferred import DeferredTask
    from ..protocol.models.notifications import LogMessage
    from ..protocol.models.tasks import Task
    from ..protocol.models.tools import ToolResult

    AnyTask = Task | DeferredTask

__all__ = ["TaskVerbs"]

logger = logging.getLogger("streamhttp_client")

_CANCEL_SECONDS = 2.0


class TaskVerbs(ToolVerbs):
    """Verbs for tasks. A task's id is all that is needed to come back to it, from any process of the same session."""

    def call_tool_as_task(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        ttl: float | None = None,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> AnyTask | ToolResult:
        """Start a tool as a task and return at once, with the task.

        Args:
            name: The tool.
            arguments: By name.
            ttl: Seconds for which the server should keep the result; its own choice if None, and since 2026-07-28.
            timeout: For the starting alone.
            on_progress: Called for progress that arrives with the answer.
            meta: More ``_meta`` for the request.

        Returns:
            The task. Since 2026-07-28 the server decides whether it makes one; where not, the result of the tool.

        Raises:
            CapabilityError: The server does not run tools as tasks.
        """
        effort = self._effort(timeout).begin()
        if not self._engine.ready(effort).era.tasks_carry_results:
            return self._start_task(name, arguments, ttl, effort, on_progress, None, meta)[0]
        run: Run[ToolResult] = Run(
            self._engine,
            calls.call_tool(name, arguments, meta=meta),
            effort,
            repeatable=False,
            on_progress=on_progress,
            relist=self._relist,
            awaits_task=False,
        )
        result = run.result
        return result if run.task is None else run.task

    def get_task(self, task_id: str, *, timeout: TimeoutLike | None = None) -> AnyTask:
        """Ask how a task stands."""
        return self._get_task(task_id, self._effort(timeout).begin())

    def _get_task(self, task_id: str, effort: Effort) -> AnyTask:
        task: AnyTask = self._ask(self._engine.ready(effort).era.ask_task(task_id), effort)
        return task

    def get_task_result(
        self, task_id: str, *, timeout: TimeoutLike | None = None, raise_on_error: bool = True
    ) -> ToolResult:
        """Wait for a task's end and return its tool's result. Questions of the server are answered meanwhile.

        Raises:
            ToolError: The tool reported a failure.
        """
        effort = self._effort(timeout).begin()
        if self._engine.ready(effort).era.tasks_carry_results:
            return self._follow_task(task_id, effort, raise_on_error)
        operation = calls.get_task_result(task_id)
        finish = self._finish_tool("", raise_on_error, effort)
        return Run(self._engine, operation, effort, repeatable=True, finish=finish).result

    def iter_tasks(self, *, timeout: TimeoutLike | None = None) -> Iterator[Task]:
        """Walk the tasks that the server knows of this session. There is no such list since 2026-07-28."""
        self._check_listing(self._effort(timeout).begin())
        for page in self._pages(calls.list_tasks, lambda: timeout):
            yield from page.tasks

    def list_tasks(self, *, timeout: TimeoutLike | None = None) -> list[Task]:
        """Return all tasks that the server knows of this session. There is no such list since 2026-07-28."""
        effort = self._effort(timeout).begin()
        self._check_listing(effort)
        return self._whole(calls.list_tasks, lambda page: page.tasks, effort, "off")

    def _check_listing(self, effort: Effort) -> None:
        era = self._engine.ready(effort).era
        if era.tasks_carry_results:
            raise CapabilityError(f"revision {era.revision.name} has no list of tasks; keep their ids")

    def update_task(self, task_id: str, responses: Mapping[str, Any], *, timeout: TimeoutLike | None = None) -> None:
        """Give a task what it waits for (tasks extension); :meth:`wait_task` does it by itself where it has callbacks.

        Args:
            task_id: The task.
            responses: Answers to some or all of the task's ``input_requests``, under the same names.
            timeout: See the class.
        """
        self._ask(calls.update_task(task_id, responses), timeout)

    def cancel_task(self, task_id: str, *, timeout: TimeoutLike | None = None) -> AnyTask:
        """Ask the server to stop a task, and return how it stands; it may end otherwise all the same.

        Raises:
            InvalidParams: It has ended already (until 2025-11-25).
        """
        effort = self._effort(timeout).begin()
        era = self._engine.ready(effort).era
        task: AnyTask | None = self._ask(era.end_task(task_id), effort)
        return self._get_task(task_id, effort) if task is None else task

    def wait_task(
        self,
        task: AnyTask | str,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        raise_on_error: bool = True,
    ) -> ToolResult:
        """Poll a task at the server's own interval until it has ended, answer what it asks, and return its result.

        Its id is enough, from any process. Status notifications are not relied on (MCP 2025-11-25,
        basic/utilities/tasks).

        Args:
            task: The task, or its id.
            timeout: See the class.
            on_progress: Called with progress that arrives with the answers, and with new words of the task's status
                (since 2026-07-28).
            on_log: Called with log messages that arrive with the answers.
            raise_on_error: Whether a failure that the tool reports raises.

        Raises:
            ToolError: The tool reported a failure.
            CallTimeout: It took longer; the task goes on.
        """
        task_id = task if isinstance(task, str) else getattr(task, "task_id", None)
        if not isinstance(task_id, str):
            raise LocalProtocolError(f"a task or its id is wanted, got {type(task).__name__}")
        check_function("on_progress", on_progress)
        check_function("on_log", on_log)
        return self._wait_task(task_id, self._effort(timeout).begin(), raise_on_error, on_progress, on_log)

    def _wait_task(
        self,
        task_id: str,
        effort: Effort,
        raise_on_error: bool,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
    ) -> ToolResult:
        if self._engine.ready(effort).era.tasks_carry_results:
            return self._follow_task(task_id, effort, raise_on_error, on_progress, on_log)
        callbacks = {"on_progress": on_progress, "on_log": on_log, "count": SharedMeter()}
        return self._finish_task(task_id, effort, raise_on_error, callbacks)

    def _follow_task(
        self,
        task_id: str,
        effort: Effort,
        raise_on_error: bool,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
    ) -> ToolResult:
        """Wait for a task of the extension."""
        return Run(
            self._engine,
            calls.call_tool("task"),
            effort,
            repeatable=True,
            on_progress=on_progress,
            on_log=on_log,
            finish=self._finish_tool("", raise_on_error, effort),
            task_id=task_id,
        ).result

    def _start_task(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        ttl: float | None,
        effort: Effort,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
        meta: Mapping[str, Any] | None,
    ) -> tuple[Task, Run[Any]]:
        from ..protocol.models.tasks import CreateTaskResult

        known = self._engine.tools.get(name)
        if known is not None and known.task_support == "forbidden":
            raise CapabilityError(f"tool {name!r} does not allow to be run as a task")
        task = {} if ttl is None else {"ttl": int(ttl * 1000)}
        operation = calls.call_tool(name, arguments, meta=meta, task=task)
        run: Run[Any] = Run(
            self._engine, operation, effort, repeatable=False, on_progress=on_progress, on_log=on_log
        )
        result = run.result
        if not isinstance(result, CreateTaskResult):
            raise RemoteProtocolError(f"asked for a task, and tool {name!r} answered with a result at once")
        return result.task, run

    def _finish_task(
        self, task_id: str, effort: Effort, raise_on_error: bool, callbacks: Mapping[str, Any]
    ) -> ToolResult:
        """Poll until the end. What arrives meanwhile goes to the callbacks: arguments of the calls that ask."""
        engine = self._engine
        engine.work.register(effort)
        try:
            while True:
                task = self._within(calls.get_task(task_id), effort, callbacks=callbacks)
                if task.is_terminal or task.status == "input_required":
                    break
                pause(task.poll_interval, effort)
            finish = self._finish_tool("", raise_on_error, effort)
            result: ToolResult = self._within(calls.get_task_result(task_id), effort, finish, callbacks)
            return result
        except CallTimeout as error:
            raise time_is_over(effort) from error
        finally:
            engine.work.unregister(effort)

    def _within(
        self,
        operation: calls.Operation[Any],
        effort: Effort,
        finish: Callable[[Any], Any] | None = None,
        callbacks: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask once, within what is left of the whole."""
        check_time(effort)
        part = effort.part()
        return Run(self._engine, operation, part, repeatable=True, finish=finish, **(callbacks or {})).result

    def _call_as_task(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        timeout: TimeoutLike | None,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
        meta: Mapping[str, Any] | None,
        raise_on_error: bool,
    ) -> ToolResult:
        """For a tool that can only be called so (``execution.taskSupport`` is ``required``)."""
        effort = self._effort(timeout)
        task, run = self._start_task(name, arguments, None, effort, on_progress, on_log, meta)
        try:
            return self._finish_task(task.task_id, effort, raise_on_error, run.callbacks())
        except BaseException as error:
            # Its time is over, or the caller was interrupted, or a callback failed. What the server has said, or what
            # is lost, is no reason: the task goes on.
            if isinstance(error, CallTimeout) or not isinstance(error, StreamHTTPError):
                self._cancel_quietly(task.task_id)
            raise

    def _cancel_quietly(self, task_id: str) -> None:
        """Say that a task is no longer wanted; the caller has news of its own.

        "For task-augmented requests, tasks/cancel MUST be used", MCP 2025-11-25, Cancellation.
        """
        try:
            self.cancel_task(task_id, timeout=_CANCEL_SECONDS)
        except StreamHTTPError as error:
            logger.info("the task could not be cancelled: %s", str(error))

    def _continue_task(
        self,
        task_id: str,
        responses: Mapping[str, Any],
        timeout: TimeoutLike | None,
        raise_on_error: bool,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
    ) -> ToolResult:
        effort = self._effort(timeout).begin()
        self._ask(calls.update_task(task_id, responses), effort)
        return self._wait_task(task_id, effort, raise_on_error, on_progress, on_log)
