"""A blocking client and WSGI server for Streamable HTTP, and for streaming over HTTP at large.

The names below are the public ones. They are imported when they are first used, so that a program pays only for what
it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .client.call import Call
    from .client.client import Client
    from .client.listener import Listener
    from .eventsource import EventSource, StreamOpened, StreamStats
    from .exceptions import (
        AuthenticationError,
        CallCancelled,
        CallTimeout,
        CapabilityError,
        ClientClosed,
        ConnectionFailed,
        ConnectionLost,
        ContentTypeError,
        DigestMismatch,
        DiskFull,
        HeaderMismatch,
        HTTPStatusError,
        InputRequired,
        InvalidParams,
        InvalidResult,
        LocalProtocolError,
        MessageTooLarge,
        MethodNotFound,
        MissingCapability,
        MissingExtra,
        NotReplayable,
        RangesNotSupported,
        ReadTimeout,
        RemoteProtocolError,
        ResourceNotFound,
        ResumeRefused,
        RPCError,
        SessionExpired,
        SizeMismatch,
        SourceChanged,
        StreamHTTPError,
        TargetChanged,
        TargetExists,
        ToolError,
        TooSlow,
        TransferError,
        TransferForbidden,
        TransferInterrupted,
        TransferRefused,
        TransferTimeout,
        TransportError,
        UnsupportedVersion,
        UploadGone,
        URLElicitationRequired,
    )
    from .net.retry import RetryPolicy
    from .net.timeouts import Timeout
    from .progress import Progress
    from .protocol.models.notifications import LogMessage
    from .protocol.models.tools import Tool, ToolResult
    from .protocol.session import Session, StreamCursor
    from .transfer.download import DownloadResult, download
    from .transfer.lines import Lines, iter_lines
    from .transfer.open_url import RemoteFile, open_url
    from .transfer.upload import UploadAnswer, UploadResult, upload

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
    "DigestMismatch",
    "DiskFull",
    "DownloadResult",
    "EventSource",
    "HTTPStatusError",
    "HeaderMismatch",
    "InputRequired",
    "InvalidParams",
    "InvalidResult",
    "Lines",
    "Listener",
    "LocalProtocolError",
    "LogMessage",
    "MessageTooLarge",
    "MethodNotFound",
    "MissingCapability",
    "MissingExtra",
    "NotReplayable",
    "Progress",
    "RPCError",
    "RangesNotSupported",
    "ReadTimeout",
    "RemoteFile",
    "RemoteProtocolError",
    "ResourceNotFound",
    "ResumeRefused",
    "RetryPolicy",
    "Session",
    "SessionExpired",
    "SizeMismatch",
    "SourceChanged",
    "StreamCursor",
    "StreamHTTPError",
    "StreamOpened",
    "StreamStats",
    "TargetChanged",
    "TargetExists",
    "Timeout",
    "TooSlow",
    "Tool",
    "ToolError",
    "ToolResult",
    "TransferError",
    "TransferForbidden",
    "TransferInterrupted",
    "TransferRefused",
    "TransferTimeout",
    "TransportError",
    "URLElicitationRequired",
    "UnsupportedVersion",
    "UploadAnswer",
    "UploadGone",
    "UploadResult",
    "__version__",
    "download",
    "iter_lines",
    "open_url",
    "upload",
]

# Where each name lives; those that are not here are errors.
_HOMES = {
    "Call": "client.call",
    "Client": "client.client",
    "DownloadResult": "transfer.download",
    "EventSource": "eventsource",
    "Lines": "transfer.lines",
    "Listener": "client.listener",
    "LogMessage": "protocol.models.notifications",
    "Progress": "progress",
    "RemoteFile": "transfer.open_url",
    "RetryPolicy": "net.retry",
    "Session": "protocol.session",
    "StreamCursor": "protocol.session",
    "StreamOpened": "eventsource",
    "StreamStats": "eventsource",
    "Timeout": "net.timeouts",
    "Tool": "protocol.models.tools",
    "ToolResult": "protocol.models.tools",
    "UploadAnswer": "transfer.upload",
    "UploadResult": "transfer.upload",
    "download": "transfer.download",
    "iter_lines": "transfer.lines",
    "open_url": "transfer.open_url",
    "upload": "transfer.upload",
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
