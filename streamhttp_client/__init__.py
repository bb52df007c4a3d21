"""A blocking client and WSGI server for Streamable HTTP, and for streaming over HTTP at large.

The names below are the public ones. They are imported when they are first used, so that a program pays only for what
it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .client.call import Call
    from .client.client import Client
    from .client.listening import Listener
    from .exceptions import (
        AuthenticationError,
        CallCancelled,
        CallTimeout,
        CapabilityError,
        ClientClosed,
        ConnectionFailed,
        ConnectionLost,
        ContentTypeError,
        HTTPStatusError,
        InvalidParams,
        InvalidResult,
        LocalProtocolError,
        MessageTooLarge,
        MethodNotFound,
        MissingExtra,
        ReadTimeout,
        RemoteProtocolError,
        ResourceNotFound,
        ResumeRefused,
        RPCError,
        SessionExpired,
        StreamHTTPError,
        ToolError,
        TransferError,
        TransportError,
        UnsupportedVersion,
        URLElicitationRequired,
    )
    from .net.retry import RetryPolicy
    from .net.timeouts import Timeout
    from .progress import Progress
    from .protocol.models.notifications import LogMessage
    from .protocol.models.tools import Tool, ToolResult
    from .protocol.session import Session, StreamCursor

__all__ = [
    "AuthenticationError",
    "Call",
    "CallCancelled",
    "CallTimeout",
    "CapabilityError",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "ContentTypeError",
    "HTTPStatusError",
    "InvalidParams",
    "InvalidResult",
    "Listener",
    "LocalProtocolError",
    "LogMessage",
    "MessageTooLarge",
    "MethodNotFound",
    "MissingExtra",
    "Progress",
    "RPCError",
    "ReadTimeout",
    "RemoteProtocolError",
    "ResourceNotFound",
    "ResumeRefused",
    "RetryPolicy",
    "Session",
    "SessionExpired",
    "StreamCursor",
    "StreamHTTPError",
    "Timeout",
    "Tool",
    "ToolError",
    "ToolResult",
    "TransferError",
    "TransportError",
    "URLElicitationRequired",
    "UnsupportedVersion",
    "__version__",
]

_HOMES = {
    "Call": "client.call",
    "Client": "client.client",
    "Listener": "client.listening",
    "LogMessage": "protocol.models.notifications",
    "Progress": "progress",
    "RetryPolicy": "net.retry",
    "Session": "protocol.session",
    "StreamCursor": "protocol.session",
    "Timeout": "net.timeouts",
    "Tool": "protocol.models.tools",
    "ToolResult": "protocol.models.tools",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'exceptions')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
