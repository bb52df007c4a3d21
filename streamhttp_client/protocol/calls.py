"""One builder for each verb: what to send, and how to read the answer.

A builder checks what can be checked without a server, and raises :class:`LocalProtocolError` before anything
is sent. (That the values are JSON at all shows when the message is written.) Readers import their models when
the first answer is read: building a call costs no more than its own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..exceptions import LocalProtocolError
from ..jsonrpc import Notification, RequestId
from .names import TASKS_EXTENSION

if TYPE_CHECKING:
    from .models.completion import CompleteResult, PromptReference, ResourceTemplateReference
    from .models.deferred import DeferredTask
    from .models.prompts import GetPromptResult, ListPromptsResult
    from .models.resources import ListResourcesResult, ListResourceTemplatesResult, ReadResourceResult
    from .models.server_info import ClientCapabilities, DiscoverResult, Implementation, InitializeResult
    from .models.subscriptions import SubscriptionFilter, SubscriptionsListenResult
    from .models.tasks import CreateTaskResult, ListTasksResult, Task, TaskMetadata
    from .models.tools import ListToolsResult, ToolResult

__all__ = [
    "LOGGING_LEVELS",
    "Operation",
    "call_tool",
    "cancel_task",
    "cancelled",
    "complete",
    "discover",
    "get_prompt",
    "get_task",
    "get_task_result",
    "initialize",
    "initialized",
    "list_prompts",
    "list_resource_templates",
    "list_resources",
    "list_tasks",
    "list_tools",
    "listen",
    "ping",
    "poll_task",
    "progress",
    "read_resource",
    "roots_list_changed",
    "set_logging_level",
    "stop_task",
    "subscribe_resource",
    "unsubscribe_resource",
    "update_task",
]

# RFC 5424, section 6.2.1, as MCP 2025-11-25, server/utilities/logging names them; least severe first.
LOGGING_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

T = TypeVar("T")


class Operation(Generic[T]):
    """A request that can be sent, and how to read its answer. Treat it as immutable.

    Attributes:
        method: The JSON-RPC method.
        params: Its parameters, or None. They are of this object alone: whoever sends it may add ``_meta``.
        parse: Turns the JSON result into what the verb returns, or raises :class:`InvalidResult`.
        read_only: It may be sent again when it may have been carried out already, because that changes
            nothing.
        capability: What the server must have declared, as a path of wire names such as
            ``resources.subscribe``, or None.
        name: The tool, prompt or URI that it is about, or None.
    """

    __slots__ = ("capability", "method", "name", "params", "parse", "read_only")

    def __init__(
        self,
        method: str,
        params: dict[str, Any] | None,
        parse: Callable[[Any], T],
        *,
        read_only: bool,
        capability: str | None = None,
        name: str | None = None,
    ) -> None:
        self.method = method
        self.params = params
        self.parse = parse
        self.read_only = read_only
        self.capability = capability
        self.name = name

    def __repr__(self) -> str:
        # Without the parameters: they are the user's data, and this may be logged.
        about = f" {self.name!r}" if self.name is not None else ""
        return f"<Operation {self.method}{about}>"


# --- requests
# --------------------------------------------------------------------------------------------------


def initialize(
    protocol_version: str,
    *,
    capabilities: ClientCapabilities | Mapping[str, Any],
    client_info: Implementation | Mapping[str, Any],
) -> Operation[InitializeResult]:
    """The first request of a session. Sent twice, it makes a second session; the first expires."""
    params = {
        "protocolVersion": _text("protocol version", protocol_version),
        "capabilities": _wire("capabilities", capabilities),
        "clientInfo": _wire("client info", client_info),
    }
    return Operation("initialize", params, _initialize_result, read_only=True)


def discover() -> Operation[DiscoverResult]:
    """Ask what the server is and can do, and which revisions it speaks (since 2026-07-28)."""
    return Operation("server/discover", None, _discover_result, read_only=True)


def ping() -> Operation[None]:
    """Ask whether the server is there."""
    return Operation("ping", None, _nothing, read_only=True)


def list_tools(cursor: str | None = None) -> Operation[ListToolsResult]:
    """Ask for one page of tools."""
    return Operation("tools/list", _page(cursor), _tools, read_only=True, capability="tools")


@overload
def call_tool(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    meta: Mapping[str, Any] | None = None,
    task: None = None,
    read_only: bool = False,
) -> Operation[ToolResult]: ...


@overload
def call_tool(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    meta: Mapping[str, Any] | None = None,
    task: TaskMetadata | Mapping[str, Any],
    read_only: bool = False,
) -> Operation[ToolResult | CreateTaskResult]: ...


def call_tool(
    name: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    meta: Mapping[str, Any] | None = None,
    task: TaskMetadata | Mapping[str, Any] | None = None,
    read_only: bool = False,
) -> Operation[Any]:
    """Call a tool.

    Args:
        name: The tool; case matters.
        arguments: By name. None sends none.
        meta: Sent as ``_meta``.
        task: Run it as a task (2025-11-25). The answer is then a task, or the result if the server was
            quicker.
        read_only: The caller knows that calling this tool twice does no harm.
    """
    params: dict[str, Any] = {"name": _text("tool name", name)}
    if arguments is not None:
        params["arguments"] = _mapping("arguments", arguments)
    if meta is not None:
        params["_meta"] = _mapping("meta", meta)
    if task is None:
        return Operation(
            "tools/call", params, _tool_result, read_only=read_only, capability="tools", name=name
        )
    params["task"] = _wire("task", task)
    capability = "tasks.requests.tools.call"
    return Operation(
        "tools/call", params, _task_or_tool_result, read_only=read_only, capability=capability, name=name
    )


def list_resources(cursor: str | None = None) -> Operation[ListResourcesResult]:
    """Ask for one page of resources."""
    return Operation("resources/list", _page(cursor), _resources, read_only=True, capability="resources")


def list_resource_templates(cursor: str | None = None) -> Operation[ListResourceTemplatesResult]:
    """Ask for one page of resource templates."""
    return Operation(
        "resources/templates/list", _page(cursor), _templates, read_only=True, capability="resources"
    )


def read_resource(uri: str, *, meta: Mapping[str, Any] | None = None) -> Operation[ReadResourceResult]:
    """Ask for the contents of a resource."""
    params = _with_meta({"uri": _text("URI", uri)}, meta)
    return Operation("resources/read", params, _contents, read_only=True, capability="resources", name=uri)


def subscribe_resource(uri: str) -> Operation[None]:
    """Ask to be told of changes to a resource. Asking twice is the same as once."""
    return Operation(
        "resources/subscribe",
        {"uri": _text("URI", uri)},
        _nothing,
        read_only=True,
        capability="resources.subscribe",
        name=uri,
    )


def unsubscribe_resource(uri: str) -> Operation[None]:
    """Ask to be told no more."""
    return Operation(
        "resources/unsubscribe",
        {"uri": _text("URI", uri)},
        _nothing,
        read_only=True,
        capability="resources.subscribe",
        name=uri,
    )


def list_prompts(cursor: str | None = None) -> Operation[ListPromptsResult]:
    """Ask for one page of prompts."""
    return Operation("prompts/list", _page(cursor), _prompts, read_only=True, capability="prompts")


def get_prompt(
    name: str, arguments: Mapping[str, str] | None = None, *, meta: Mapping[str, Any] | None = None
) -> Operation[GetPromptResult]:
    """Ask for a prompt with its arguments, all strings, filled in."""
    params: dict[str, Any] = {"name": _text("prompt name", name)}
    if arguments is not None:
        params["arguments"] = _strings("prompt arguments", arguments)
    return Operation(
        "prompts/get", _with_meta(params, meta), _prompt, read_only=True, capability="prompts", name=name
    )


def complete(
    ref: PromptReference | ResourceTemplateReference | Mapping[str, Any],
    argument: Mapping[str, str],
    context: Mapping[str, str] | None = None,
) -> Operation[CompleteResult]:
    """Ask what an argument could be.

    Args:
        ref: The prompt or resource template.
        argument: ``{"name": …, "value": …}``: the argument, and what was typed so far.
        context: Arguments that were filled in before, by name (since 2025-06-18).
    """
    wanted = _strings("argument", argument)
    if not wanted.get("name") or "value" not in wanted:
        raise LocalProtocolError(f"argument must have 'name' and 'value', got {sorted(wanted)}")
    params: dict[str, Any] = {"ref": _wire("ref", ref), "argument": wanted}
    if context is not None:
        params["context"] = {"arguments": _strings("context", context)}
    return Operation("completion/complete", params, _completion, read_only=True, capability="completions")


def set_logging_level(level: str) -> Operation[None]:
    """Ask for log messages of this level and above. Asking twice is the same as once."""
    if level not in LOGGING_LEVELS:
        raise LocalProtocolError(f"log level must be one of {', '.join(LOGGING_LEVELS)}; got {level!r}")
    return Operation("logging/setLevel", {"level": level}, _nothing, read_only=True, capability="logging")


def get_task(task_id: str) -> Operation[Task]:
    """Ask for the state of a task (2025-11-25)."""
    return Operation("tasks/get", _task_params(task_id), _task, read_only=True, capability="tasks")


@overload
def get_task_result(task_id: str) -> Operation[ToolResult]: ...


@overload
def get_task_result(task_id: str, parse: Callable[[Any], T]) -> Operation[T]: ...


def get_task_result(task_id: str, parse: Callable[[Any], Any] | None = None) -> Operation[Any]:
    """Wait for the end of a task and ask for what the request behind it gave back (2025-11-25).

    Args:
        task_id: The task.
        parse: ``parse`` of the operation that became the task; a tool's call if None.
    """
    return Operation(
        "tasks/result",
        _task_params(task_id),
        parse or _tool_result,
        read_only=True,
        capability="tasks",
    )


def list_tasks(cursor: str | None = None) -> Operation[ListTasksResult]:
    """Ask for one page of tasks (2025-11-25)."""
    return Operation("tasks/list", _page(cursor), _tasks, read_only=True, capability="tasks.list")


def cancel_task(task_id: str) -> Operation[Task]:
    """Ask that a task be cancelled (2025-11-25). The second of two is refused: the task has ended."""
    return Operation(
        "tasks/cancel", _task_params(task_id), _task, read_only=False, capability="tasks.cancel"
    )


def listen(wanted: SubscriptionFilter | Mapping[str, Any]) -> Operation[SubscriptionsListenResult]:
    """Open a stream of what changes at the server (since 2026-07-28). The answer comes when the server ends it.

    Args:
        wanted: What to be told of; as a mapping, by the names on the wire.
    """
    params = {"notifications": _wire("filter", wanted)}
    return Operation("subscriptions/listen", params, _listen_result, read_only=True)


# What an extension brings is asked of the server as if it were a capability of that name.
_TASKS_EXTENSION = f"extensions.{TASKS_EXTENSION}"


def poll_task(task_id: str) -> Operation[DeferredTask]:
    """Ask for the state of a task, and what came of it (tasks extension; for 2025-11-25 see :func:`get_task`)."""
    return Operation(
        "tasks/get",
        _task_params(task_id),
        _deferred_task,
        read_only=True,
        capability=_TASKS_EXTENSION,
        name=task_id,
    )


def update_task(task_id: str, responses: Mapping[str, Any]) -> Operation[None]:
    """Give a task what it waits for (tasks extension).

    It may be sent twice: servers ignore what they have an answer to already.

    Args:
        task_id: The task.
        responses: The answers, models or JSON objects, by the names of the task's ``input_requests``. They need not
            be all of them.
    """
    answers = {key: _wire(f"response {key!r}", value) for key, value in _mapping("responses", responses).items()}
    params = {**_task_params(task_id), "inputResponses": answers}
    return Operation(
        "tasks/update", params, _nothing, read_only=True, capability=_TASKS_EXTENSION, name=task_id
    )


def stop_task(task_id: str) -> Operation[None]:
    """Say that a task is no longer wanted (tasks extension; for 2025-11-25 see :func:`cancel_task`).

    The server may finish it all the same. It may be sent twice.
    """
    return Operation(
        "tasks/cancel",
        _task_params(task_id),
        _nothing,
        read_only=True,
        capability=_TASKS_EXTENSION,
        name=task_id,
    )


# --- notifications
# ---------------------------------------------------------------------------------------------


def initialized() -> Notification:
    """Tell the server that the handshake is done."""
    return Notification("notifications/initialized")


def cancelled(request_id: RequestId, reason: str | None = None) -> Notification:
    """Tell the server that the answer to a request is no longer wanted. Never for ``initialize``."""
    params: dict[str, Any] = {"requestId": request_id}
    if reason is not None:
        params["reason"] = reason
    return Notification("notifications/cancelled", params)


def roots_list_changed() -> Notification:
    """Tell the server that the list of roots is another now."""
    return Notification("notifications/roots/list_changed")


def progress(
    token: str | int, progress: float, *, total: float | None = None, message: str | None = None
) -> Notification:
    """Tell the server how far a request of its own has come. ``progress`` must grow from one to the next."""
    params: dict[str, Any] = {"progressToken": token, "progress": progress}
    if total is not None:
        params["total"] = total
    if message is not None:
        params["message"] = message
    return Notification("notifications/progress", params)


# --- checks
# ----------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    return type(value).__name__


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise LocalProtocolError(f"{what} must be a string, got {_kind(value)}")
    if not value:
        raise LocalProtocolError(f"{what} must not be empty")
    return value


def _mapping(what: str, value: Any) -> dict[str, Any]:
    """Return a copy, so that what is sent does not change under a retry when the caller changes theirs."""
    if not isinstance(value, Mapping):
        raise LocalProtocolError(f"{what} must be a mapping, got {_kind(value)}")
    for key in value:
        if not isinstance(key, str):
            raise LocalProtocolError(f"{what} must have strings as keys, got {key!r}")
    return dict(value)


def _strings(what: str, value: Any) -> dict[str, str]:
    strings = _mapping(what, value)
    for key, item in strings.items():
        if not isinstance(item, str):
            raise LocalProtocolError(f"{what} must be strings, got {_kind(item)} for {key!r}")
    return strings


def _wire(what: str, value: Any) -> dict[str, Any]:
    """Return the JSON object of a model, or of a mapping that is one already."""
    to_wire = getattr(value, "to_wire", None)
    return to_wire() if to_wire is not None else _mapping(what, value)


def _with_meta(params: dict[str, Any], meta: Mapping[str, Any] | None) -> dict[str, Any]:
    if meta is not None:
        params["_meta"] = _mapping("meta", meta)
    return params


def _page(cursor: Any) -> dict[str, Any] | None:
    if cursor is None:
        return None
    if not isinstance(cursor, str):
        raise LocalProtocolError(f"cursor must be a string, got {_kind(cursor)}")
    return {"cursor": cursor}  # opaque, and the empty one is as good as any other


def _task_params(task_id: str) -> dict[str, Any]:
    return {"taskId": _text("task id", task_id)}


# --- readers
# ---------------------------------------------------------------------------------------------------


def _nothing(result: Any) -> None:
    return None


def _initialize_result(result: Any) -> InitializeResult:
    from .models.server_info import InitializeResult

    return InitializeResult.from_wire(result)


def _discover_result(result: Any) -> DiscoverResult:
    from .models.server_info import DiscoverResult

    return DiscoverResult.from_wire(result)


def _listen_result(result: Any) -> SubscriptionsListenResult:
    from .models.subscriptions import SubscriptionsListenResult

    return SubscriptionsListenResult.from_wire(result)


def _deferred_task(result: Any) -> DeferredTask:
    from .models.deferred import DeferredTask

    return DeferredTask.from_wire(result)


def _tools(result: Any) -> ListToolsResult:
    from .models.tools import ListToolsResult

    return ListToolsResult.from_wire(result)


def _tool_result(result: Any) -> ToolResult:
    from .models.tools import ToolResult

    return ToolResult.from_wire(result)


def _task_or_tool_result(result: Any) -> ToolResult | CreateTaskResult:
    from .models.tasks import CreateTaskResult

    if isinstance(result, Mapping) and "task" in result and "content" not in result:
        return CreateTaskResult.from_wire(result)
    return _tool_result(result)


def _resources(result: Any) -> ListResourcesResult:
    from .models.resources import ListResourcesResult

    return ListResourcesResult.from_wire(result)


def _templates(result: Any) -> ListResourceTemplatesResult:
    from .models.resources import ListResourceTemplatesResult

    return ListResourceTemplatesResult.from_wire(result)


def _contents(result: Any) -> ReadResourceResult:
    from .models.resources import ReadResourceResult

    return ReadResourceResult.from_wire(result)


def _prompts(result: Any) -> ListPromptsResult:
    from .models.prompts import ListPromptsResult

    return ListPromptsResult.from_wire(result)


def _prompt(result: Any) -> GetPromptResult:
    from .models.prompts import GetPromptResult

    return GetPromptResult.from_wire(result)


def _completion(result: Any) -> CompleteResult:
    from .models.completion import CompleteResult

    return CompleteResult.from_wire(result)


def _task(result: Any) -> Task:
    from .models.tasks import Task

    return Task.from_wire(result)


def _tasks(result: Any) -> ListTasksResult:
    from .models.tasks import ListTasksResult

    return ListTasksResult.from_wire(result)
