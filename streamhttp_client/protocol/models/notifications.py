"""What the other side tells without being asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from ..._record import EMPTY, Record
from ...jsonrpc import RequestId
from .base import MetaModel
from .deferred import DeferredTask
from .subscriptions import SubscriptionFilter, subscription_id
from .tasks import Task

__all__ = [
    "Cancelled",
    "DeferredTaskChanged",
    "ElicitationComplete",
    "Initialized",
    "LogMessage",
    "LoggingLevel",
    "Notification",
    "ProgressNotification",
    "ProgressToken",
    "PromptListChanged",
    "ResourceListChanged",
    "ResourceUpdated",
    "RootsListChanged",
    "SubscriptionsAcknowledged",
    "TaskStatusChanged",
    "ToolListChanged",
    "UnknownNotification",
    "parse_notification",
]

LoggingLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
ProgressToken: TypeAlias = str | int


class _Notification(MetaModel):
    """The parameters of a notification.

    Attributes:
        method: Which notification it is.
    """

    method: ClassVar[str]

    @property
    def subscription_id(self) -> RequestId | None:
        """The id of the request that opened the stream on which this came, if it was ``subscriptions/listen``."""
        return subscription_id({"_meta": self.meta})


class LogMessage(_Notification):
    """The server logged something.

    Attributes:
        level: One of the eight levels of RFC 5424; see :data:`LoggingLevel`.
        data: What was logged: any JSON value.
        logger: Who logged it.
    """

    method = "notifications/message"
    level: str
    data: Any
    logger: str | None = None


class ProgressNotification(_Notification):
    """A request has come further.

    Attributes:
        progress_token: The token that the request was sent with.
        progress: Grows with each notification.
        total: Where it will end, if that is known.
    """

    method = "notifications/progress"
    progress_token: ProgressToken
    progress: float
    total: float | None = None
    message: str | None = None


class Cancelled(_Notification):
    """The sender of a request no longer wants its answer.

    Attributes:
        request_id: Which request; None for a task of 2025-11-25.
        reason: For logs.
    """

    method = "notifications/cancelled"
    request_id: RequestId | None = None
    reason: str | None = None


class Initialized(_Notification):
    """The client has finished the handshake."""

    method = "notifications/initialized"


class ResourceUpdated(_Notification):
    """A resource has changed that was subscribed to.

    Attributes:
        uri: The resource, or a part of the one subscribed to.
    """

    method = "notifications/resources/updated"
    uri: str


class ResourceListChanged(_Notification):
    """The list of resources, or of their templates, has changed."""

    method = "notifications/resources/list_changed"


class ToolListChanged(_Notification):
    """The list of tools has changed."""

    method = "notifications/tools/list_changed"


class PromptListChanged(_Notification):
    """The list of prompts has changed."""

    method = "notifications/prompts/list_changed"


class RootsListChanged(_Notification):
    """The list of the client's roots has changed."""

    method = "notifications/roots/list_changed"


class ElicitationComplete(_Notification):
    """The user has finished on the page of an elicitation in URL mode.

    Attributes:
        elicitation_id: Which. Ignore it if it is not one of those that are open.
    """

    method = "notifications/elicitation/complete"
    elicitation_id: str


class TaskStatusChanged(Task):
    """A task has changed; it is the whole new state. Servers need not send this, so do not wait for it."""

    method: ClassVar[str] = "notifications/tasks/status"


class DeferredTaskChanged(DeferredTask):
    """A task of the tasks extension has changed; it is the whole new state, with what came of it."""

    method: ClassVar[str] = "notifications/tasks"

    @property
    def subscription_id(self) -> RequestId | None:
        """The id of the request that opened the stream on which this came."""
        return subscription_id({"_meta": self.meta})


class SubscriptionsAcknowledged(_Notification):
    """The first message on a stream of changes.

    Attributes:
        notifications: What of that which was asked for the server will tell.
    """

    method = "notifications/subscriptions/acknowledged"
    notifications: SubscriptionFilter


class UnknownNotification(Record):
    """A notification that this version does not know."""

    method: str
    params: Mapping[str, Any] = EMPTY

    @property
    def subscription_id(self) -> RequestId | None:
        """The id of the request that opened the stream on which this came, if it was ``subscriptions/listen``."""
        return subscription_id(self.params)

    def to_wire(self) -> dict[str, Any]:
        """Return the parameters."""
        return dict(self.params)


Notification: TypeAlias = (
    LogMessage
    | ProgressNotification
    | Cancelled
    | Initialized
    | ResourceUpdated
    | ResourceListChanged
    | ToolListChanged
    | PromptListChanged
    | RootsListChanged
    | ElicitationComplete
    | TaskStatusChanged
    | DeferredTaskChanged
    | SubscriptionsAcknowledged
    | UnknownNotification
)

_KINDS: dict[str, Any] = {
    kind.method: kind
    for kind in (
        LogMessage,
        ProgressNotification,
        Cancelled,
        Initialized,
        ResourceUpdated,
        ResourceListChanged,
        ToolListChanged,
        PromptListChanged,
        RootsListChanged,
        ElicitationComplete,
        TaskStatusChanged,
        DeferredTaskChanged,
        SubscriptionsAcknowledged,
    )
}


def parse_notification(method: str, params: Mapping[str, Any] | None = None) -> Notification:
    """Read a notification.

    Raises:
        InvalidResult: The method is known, and the parameters are not of its shape.
    """
    kind = _KINDS.get(method)
    if kind is None:
        return UnknownNotification(method, params or EMPTY)
    notification: Notification = kind.from_wire(params or EMPTY)
    return notification
