"""Listing and calling tools, and collecting what became of a call."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..exceptions import InputRequired, LocalProtocolError, StreamHTTPError, ToolError
from ..net.retry import Effort
from ..net.timeouts import Deadline, TimeoutLike
from ..progress import OnProgress
from ..protocol import calls
from ..protocol.calls import Operation
from ..protocol.session import StreamCursor, StreamCursorLike
from .asking import Asker, CacheUse
from .call import Call
from .run import Run, raw_object

if TYPE_CHECKING:
    from ..protocol.models.notifications import LogMessage
    from ..protocol.models.tools import Tool, ToolResult
    from .validation import OutputChecker

__all__ = ["ToolVerbs"]

logger = logging.getLogger("streamhttp_client")

# For looking at a result that has come at the last moment.
_LEAST_SECONDS = 0.5


class ToolVerbs(Asker, ABC):
    """Verbs for tools; see :class:`Verbs` for what ``timeout`` and ``cache`` mean."""

    _checker: OutputChecker | None = None

    @abstractmethod
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
        """Call a tool that can only be called as a task (2025-11-25)."""

    @abstractmethod
    def _continue_task(
        self,
        task_id: str,
        responses: Mapping[str, Any],
        timeout: TimeoutLike | None,
        raise_on_error: bool,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
    ) -> ToolResult:
        """Give a task what it waits for, and wait for its end."""

    def iter_tools(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> Iterator[Tool]:
        """Walk the server's tools, asking for a page when the last one is used up. ``timeout`` is for each page."""
        names: set[str] = set()
        for page in self._pages(calls.list_tools, lambda: timeout, cache):
            tools = self._remember_tools(page.tools)
            names.update(tool.name for tool in tools)
            yield from tools
        self._engine.tools.keep_only(names)

    def list_tools(self, *, timeout: TimeoutLike | None = None, cache: CacheUse = "use") -> list[Tool]:
        """Return all tools of the server, over all pages."""
        return self._list_tools(timeout, cache)

    def _list_tools(self, timeout: TimeoutLike | Effort | None, cache: CacheUse) -> list[Tool]:
        tools = self._whole(calls.list_tools, lambda page: self._remember_tools(page.tools), timeout, cache)
        self._engine.tools.keep_only({tool.name for tool in tools})
        return tools

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        idempotent: bool | None = None,
        meta: Mapping[str, Any] | None = None,
        raise_on_error: bool = True,
    ) -> ToolResult:
        """Call a tool and wait for its result.

        If the connection breaks, the stream is resumed, as often as needed within ``timeout``. Where that is not
        possible, the call is repeated only if that can do no harm.

        Args:
            name: The tool.
            arguments: By name; JSON values.
            timeout: Seconds for the whole call, or a :class:`Timeout`.
            on_progress: Called with each :class:`Progress` that the tool reports, on this thread.
            on_log: Called with each log message that comes during the call; else the client's.
            idempotent: True if running the tool twice is as good as once; False if it is not. None: what the tool
                says of itself (``readOnlyHint``, ``idempotentHint``), if the tools have been listed.
            meta: More ``_meta`` for the request.
            raise_on_error: Whether a failure that the tool reports raises; else see ``result.is_error``.

        Raises:
            ToolError: The tool reported a failure; ``error.result`` has all of it.
            RPCError: The server refused the call.
            ConnectionLost: The answer is lost; ``error.may_have_executed``, ``error.cursor``.
            CallTimeout: The time was over; the call was cancelled.
            InvalidResult: The result does not fit the tool's output schema.
            InputRequired: The server asks for something first, and no callback answers (since 2026-07-28).
            MissingCapability: It would have to ask, and there is no callback for it.
        """
        known, link = self._engine.tools.get(name), self._engine.link
        carried = link is not None and link.era.tasks_carry_results
        if known is not None and known.task_support == "required" and not carried:
            return self._call_as_task(name, arguments, timeout, on_progress, on_log, meta, raise_on_error)
        return self._tool_run(
            name, arguments, timeout, on_progress, on_log, idempotent, meta, raise_on_error, wants_progress=False
        ).result

    def stream_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        idempotent: bool | None = None,
        meta: Mapping[str, Any] | None = None,
        raise_on_error: bool = True,
    ) -> Call[ToolResult]:
        """Call a tool, and iterate what it reports while it works. Arguments as for :meth:`call_tool`.

        The request is sent with the first step of the iteration, or when ``.result`` is asked for.
        """
        run = self._tool_run(
            name, arguments, timeout, on_progress, on_log, idempotent, meta, raise_on_error, wants_progress=True
        )
        return Call(run, self)

    def resume_call(
        self,
        cursor: StreamCursorLike,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        raise_on_error: bool = True,
    ) -> Any:
        """Collect what was missed of a call, from this or another process, and wait for its result.

        Args:
            cursor: ``call.cursor``, ``error.cursor``, one of ``session.cursors``, or its JSON text.
            timeout: As for :meth:`call_tool`, as are the others.
            on_progress: Called for progress after the cursor.
            on_log: Called for log messages after the cursor.
            raise_on_error: As for :meth:`call_tool`.

        Returns:
            What the verb of the call returns: a :class:`ToolResult` for a tool, else the result as a dict.

        Raises:
            ResumeRefused: The server no longer holds the stream.
        """
        return self.stream_call(
            cursor, timeout=timeout, on_progress=on_progress, on_log=on_log, raise_on_error=raise_on_error
        ).result

    def stream_call(
        self,
        cursor: StreamCursorLike,
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        raise_on_error: bool = True,
    ) -> Call[Any]:
        """Like :meth:`resume_call`, as an iterator."""
        if cursor is None:  # what ``call.cursor`` is where there is none
            raise LocalProtocolError(
                "a call without a cursor cannot be resumed: its server gives no event ids, or speaks 2026-07-28, which "
                "has given that up"
            )
        if not isinstance(cursor, StreamCursor):
            cursor = StreamCursor.from_json(cursor)
        operation: Operation[Any]
        finish, effort = None, self._effort(timeout)
        if cursor.method == "tools/call":
            operation = calls.call_tool(cursor.name or "unknown")
            finish = self._finish_tool(operation.name or "", raise_on_error, effort)
        else:
            operation = Operation(cursor.method, None, raw_object, read_only=False, name=cursor.name)
        run: Run[Any] = Run(
            self._engine,
            operation,
            effort,
            repeatable=False,
            on_progress=on_progress,
            on_log=on_log,
            wants_progress=True,
            resume_from=cursor,
            finish=finish,
        )
        return Call(run, self)

    def continue_call(
        self,
        required: InputRequired | str | bytes,
        responses: Mapping[str, Any],
        *,
        timeout: TimeoutLike | None = None,
        on_progress: OnProgress | None = None,
        on_log: Callable[[LogMessage], object] | None = None,
        raise_on_error: bool = True,
    ) -> Any:
        """Go on with a call that the server could not finish without input, in this or another process.

        The call is made again, with the answers (since 2026-07-28). What else the server asks is for the callbacks.

        Args:
            required: The error that said so, or its JSON text.
            responses: An answer to each of ``required.requests``, under the same names: models, or JSON objects such
                as ``{"action": "accept", "content": {…}}`` for an elicitation.
            timeout: As for :meth:`call_tool`, as are the others.
            on_progress: Called for progress.
            on_log: Called for log messages.
            raise_on_error: As for :meth:`call_tool`.

        Returns:
            What the verb of the call returns.

        Raises:
            InputRequired: The server asks for more, and there is no callback for it.
        """
        if not isinstance(required, InputRequired):
            required = InputRequired.from_json(required)
        effort = self._effort(timeout)
        if required.method == "tasks/update":
            task_id = str((required.params or {}).get("taskId"))
            return self._continue_task(task_id, responses, timeout, raise_on_error, on_progress, on_log)
        from .rounds import go_on

        operation, rounds = go_on(self._engine.callbacks, required, responses)
        finish = None
        if operation.method == "tools/call":
            finish = self._finish_tool(operation.name or "", raise_on_error, effort)
        return Run(
            self._engine,
            operation,
            effort,
            repeatable=operation.read_only,
            on_progress=on_progress,
            on_log=on_log,
            finish=finish,
            rounds=rounds,
            relist=self._relist,
        ).result

    def _tool_run(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        timeout: TimeoutLike | None,
        on_progress: OnProgress | None,
        on_log: Callable[[LogMessage], object] | None,
        idempotent: bool | None,
        meta: Mapping[str, Any] | None,
        raise_on_error: bool,
        *,
        wants_progress: bool,
    ) -> Run[ToolResult]:
        operation, effort = calls.call_tool(name, arguments, meta=meta), self._effort(timeout)
        return Run(
            self._engine,
            operation,
            effort,
            repeatable=self._engine.tools.may_repeat(name) if idempotent is None else idempotent,
            on_progress=on_progress,
            on_log=on_log,
            wants_progress=wants_progress,
            finish=self._finish_tool(name, raise_on_error, effort),
            wants_log=wants_progress,
            relist=self._relist,
        )

    def _relist(self, effort: Effort, seen: object) -> None:
        """List the tools because something depends on how they are now, unless another thread has done so meanwhile.

        Args:
            effort: Of the call that needs it: what is left of its time, and what ends it ends this.
            seen: What ``tools.listed`` was when the call looked at them.
        """
        engine, part, left = self._engine, effort.part(), effort.deadline.remaining()
        if left is not None and left < _LEAST_SECONDS:
            part.deadline = Deadline(_LEAST_SECONDS)
        if engine.listing_tools.is_here:  # in a callback for what came with the list
            self._list_tools(part, "refresh")
            return
        with engine.listing_tools.turn(part, "listing the tools"):
            if engine.tools.listed is None or engine.tools.listed is seen:
                self._list_tools(part, "refresh")

    def _finish_tool(self, name: str, raise_on_error: bool, effort: Effort) -> Callable[[ToolResult], ToolResult]:
        def finish(result: ToolResult) -> ToolResult:
            if result.is_error:
                if raise_on_error:
                    raise ToolError(result.text or f"tool {name!r} reported a failure", result=result)
            else:
                self._check_result(name, result, effort)
            return result

        return finish

    def _check_result(self, name: str, result: ToolResult, effort: Effort) -> None:
        tools, link = self._engine.tools, self._engine.link
        tool = tools.get(name)
        if not self._options.check_results or tool is None and result.structured_content is None:
            return
        if self._checker is None:
            from .validation import OutputChecker

            self._checker = OutputChecker()
        checker = self._checker
        if tool is None and checker.available and tools.listed_for is not link:
            # The official SDKs list the tools here too: a schema that was never seen cannot be checked. But the tool
            # has run, and its result must not be lost because something else fails.
            try:
                self._relist(effort, tools.listed)
            except StreamHTTPError as error:
                reason = str(error)  # not the error: a record that is kept would keep its connection too
                logger.warning("the result of %r was not checked, for the tools could not be listed: %s", name, reason)
            tools.listed_for = link
            tool = tools.get(name)
        if tool is not None:
            checker.check(tool, result)

    def _remember_tools(self, tools: Iterable[Tool]) -> list[Tool]:
        link = self._engine.link
        return self._engine.tools.remember(tools, mirrored=link is not None and link.era.mirrors_arguments)
