"""``subscriptions/listen``: a stream of the changes that a client opted in to (MCP 2026-07-28).

A subscription is a session of the store that only the server knows, with one log, so that a change is heard whichever
process says it. Both go when the stream ends: "the server holds no subscription state across reconnections"
(basic/patterns/subscriptions).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from .. import jsonrpc
from ..exceptions import RPCError
from ..protocol.names import SUBSCRIPTION_ID
from .delivery import Backlog
from .sessions import new_token
from .stores.base import Store
from .streams import EventStream

__all__ = ["SubscriptionStream", "honoured", "is_subscription", "notify", "pass_on", "subscribe"]

_LOG = "n"
# What one subscription may name, of each kind and of both. The store keeps it twice, once as the first message; and
# there may be a thousand streams.
_MAX_NAMES = 100
_MAX_FILTER = 32 << 10

_FLAGS = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
# Of these a client names which it wants: the member of the filter, and that of the notification.
_NAMED = {
    "notifications/resources/updated": ("resourceSubscriptions", "uri"),
    "notifications/tasks": ("taskIds", "taskId"),
}


def honoured(
    wanted: Any, capabilities: Mapping[str, Any], is_resource: Callable[[str], bool], is_task: Callable[[str], bool]
) -> dict[str, Any]:
    """The part of a filter that the server can honour: "Notification types the server does not support are omitted".

    Args:
        wanted: ``notifications`` of the request.
        capabilities: Of the server.
        is_resource: Whether a URI is one of the server's.
        is_task: Whether a task can be listened to by the caller.

    Raises:
        RPCError: It is no filter.
    """
    if not isinstance(wanted, dict):
        raise RPCError("'notifications' must be an object", code=jsonrpc.INVALID_PARAMS)
    found: dict[str, Any] = {}
    for flag in _FLAGS.values():
        if not isinstance(wanted.get(flag, False), bool):
            raise RPCError(f"{flag!r} must be a boolean", code=jsonrpc.INVALID_PARAMS)
        if wanted.get(flag) and capabilities.get(flag.removesuffix("ListChanged"), {}).get("listChanged"):
            found[flag] = True
    size = 0
    for (member, _), known in zip(_NAMED.values(), (is_resource, is_task), strict=True):
        names = wanted.get(member, [])
        if not _are_names(names):
            problem = f"{member!r} must be an array of at most {_MAX_NAMES} strings"
            raise RPCError(problem, code=jsonrpc.INVALID_PARAMS)
        size += sum(len(json.dumps(name)) for name in names)
        if size > _MAX_FILTER:
            problem = f"the names of a subscription may have {_MAX_FILTER} bytes together"
            raise RPCError(problem, code=jsonrpc.INVALID_PARAMS)
        if kept := [name for name in dict.fromkeys(names) if known(name)]:
            found[member] = kept
    return found


def _are_names(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and len(value) <= _MAX_NAMES and all(isinstance(name, str) for name in value)


def subscribe(store: Store, request_id: jsonrpc.RequestId, wanted: Mapping[str, Any]) -> str:
    """Begin a subscription, whose first message says what is honoured; return the name of its session.

    Raises:
        StoreFull: There are too many.
    """
    name = "l" + new_token()
    store.create_session(name, {})
    try:
        store.create_log(name, _LOG)
        notify(store, name, request_id, "notifications/subscriptions/acknowledged", {"notifications": dict(wanted)})
        # Only now, so that nothing comes before the acknowledgment. The last field is what all sessions have that
        # somebody listens in, so that stores find them.
        store.update_session(name, {"listen": dict(wanted), "listen_id": request_id, f"listener:{_LOG}": 1})
    except BaseException:
        store.delete_session(name)
        raise
    return name


def is_subscription(fields: Mapping[str, Any]) -> bool:
    """Whether a session of the store is one of these."""
    return "listen" in fields


def pass_on(
    store: Store, session: str, fields: Mapping[str, Any], method: str, params: Mapping[str, Any] | None
) -> bool:
    """Write a notification to a subscription that wants it; return whether it went there."""
    wanted = fields["listen"]
    if method in _NAMED:
        member, key = _NAMED[method]
        if (params or {}).get(key) not in wanted.get(member, ()):
            return False
    elif not wanted.get(_FLAGS.get(method, "")):
        return False
    return notify(store, session, fields["listen_id"], method, params)


def notify(
    store: Store, session: str, request_id: jsonrpc.RequestId, method: str, params: Mapping[str, Any] | None
) -> bool:
    """Write a notification to a subscription; return whether it is still there."""
    message = jsonrpc.Notification(method, {**(params or {}), "_meta": {SUBSCRIPTION_ID: request_id}})
    return bool(store.append(session, _LOG, jsonrpc.dump(message)))


class SubscriptionStream(EventStream):
    """The stream of one subscription. It ends by a result when the server stops, so that the client knows.

    Args:
        on_end: Called after the subscription was taken out of the store; again, and later, if that fails.
        on_close: Called once at the end, in any case.
    """

    def __init__(
        self,
        store: Store,
        session: str,
        request_id: jsonrpc.RequestId,
        meta: Mapping[str, Any],
        *,
        keepalive: float,
        backlog: Backlog,
        gone: Callable[[], bool] | None,
        stopping: Callable[[], bool],
        on_end: Callable[[], None],
        on_close: Callable[[], None],
    ) -> None:
        self._request_id = request_id
        self._meta = {**meta, SUBSCRIPTION_ID: request_id}

        def forget() -> None:
            store.delete_session(session)
            on_end()

        def closed(whole: bool) -> None:
            try:
                backlog.attempt(forget, "the end of a subscription")
            finally:
                on_close()

        super().__init__(
            store,
            session,
            _LOG,
            0,
            store.claim(session, _LOG),
            ids=False,
            polling=False,
            retry_ms=0,
            keepalive=keepalive,
            backlog=backlog,
            gone=gone,
            stopping=stopping,
            on_close=closed,
        )

    def _farewell(self, position: int) -> bytes:
        # "it SHOULD send a successful subscriptions/listen response to signal a graceful end", Cancellation
        result = {"resultType": "complete", "_meta": self._meta}
        return b"data: %b\n\n" % jsonrpc.dump(jsonrpc.Response(self._request_id, result))

    def _loss(self) -> bytes:
        # "A server MUST send notifications/cancelled referencing a subscriptions/listen request ID when it tears down
        # that subscription stream" (basic/patterns/cancellation). Only where there is no graceful end: clients take
        # it for a loss, and read anew what they have missed.
        params = {
            "requestId": self._request_id,
            "reason": "the server could not keep the changes",
            "_meta": {SUBSCRIPTION_ID: self._request_id},
        }
        return b"data: %b\n\n" % jsonrpc.dump(jsonrpc.Notification("notifications/cancelled", params))
