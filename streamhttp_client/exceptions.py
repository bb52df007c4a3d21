"""Every error that this package raises on purpose.

One root, so that ``except StreamHTTPError`` catches all of it, and never a group::

    StreamHTTPError
    ├── LocalProtocolError (ValueError)   the caller asked for what cannot be sent; nothing was sent
    │   └── CapabilityError               the server did not offer this during the handshake
    ├── ClientClosed                      the client, call or stream was closed, here
    │   └── CallCancelled                 this call was cancelled, here
    ├── MissingExtra (ImportError)        an optional package is needed for this
    ├── RemoteProtocolError               the peer broke the protocol
    │   ├── MessageTooLarge               a message passed the byte limit
    │   ├── ContentTypeError              the answer is of a type that was not asked for
    │   ├── InvalidResult                 a result is not of the shape that the method promises
    │   └── UnsupportedVersion            no protocol revision in common, or not the one that was used
    ├── HTTPStatusError                   an HTTP error status
    │   ├── AuthenticationError           401 or 403
    │   └── SessionExpired                404 for a session that was known
    ├── RPCError                          the server answered with a JSON-RPC error
    │   ├── MethodNotFound, InvalidParams, ResourceNotFound, URLElicitationRequired
    │   ├── HeaderMismatch                the headers of a request did not say what its body says
    │   └── MissingCapability             the server needs a capability that the request did not offer
    ├── InputRequired                     the server asks for something before it goes on, and nobody answers
    ├── ToolError                         a tool ran and reported a failure
    ├── TransportError                    the network failed
    │   ├── ConnectionFailed              no request left this machine whole
    │   ├── ConnectionLost                the answer was lost
    │   │   └── ReadTimeout (TimeoutError)    the server was silent for too long
    │   ├── ResumeRefused                 the server no longer holds the stream
    │   └── CallTimeout (TimeoutError)    a deadline of the caller passed
    └── TransferError                     a download or upload failed
        ├── TransferInterrupted           the network failed, after all attempts
        ├── TransferTimeout (TimeoutError)    the caller's deadline passed
        ├── TooSlow                       below the least speed, after all attempts
        ├── TransferRefused (HTTPStatusError)  an HTTP error status
        │   └── TransferForbidden (AuthenticationError)  401 or 403
        ├── TargetExists (FileExistsError)     the target is there, and was not to be overwritten
        ├── SourceChanged                 what is read changed while it was read
        ├── RangesNotSupported            the server gives no parts of the file
        ├── TargetChanged                 somebody else changed what is written
        ├── SizeMismatch                  not as many bytes as was promised
        ├── DigestMismatch                all the bytes, and not the right ones
        ├── DiskFull                      no room for the partial file
        ├── UploadGone                    the server no longer holds the upload
        └── NotReplayable                 the source can be read only once, and was begun

Each error holds plain values only: it pickles, and it keeps no socket, response or lock alive. Messages name what
was expected and what came; tokens, cookies, session ids and whole bodies are never in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AuthenticationError",
    "CallCancelled",
    "CallTimeout",
    "CapabilityError",
    "ClientClosed",
    "ConnectionFailed",
    "ConnectionLost",
    "ContentTypeError",
    "DigestMismatch",
    "DiskFull",
    "HTTPStatusError",
    "HeaderMismatch",
    "InputRequired",
    "InvalidParams",
    "InvalidResult",
    "LocalProtocolError",
    "MessageTooLarge",
    "MethodNotFound",
    "MissingCapability",
    "MissingExtra",
    "NotReplayable",
    "RPCError",
    "RangesNotSupported",
    "ReadTimeout",
    "RemoteProtocolError",
    "ResourceNotFound",
    "ResumeRefused",
    "SessionExpired",
    "SizeMismatch",
    "SourceChanged",
    "StreamHTTPError",
    "TargetChanged",
    "TargetExists",
    "TooSlow",
    "ToolError",
    "TransferError",
    "TransferForbidden",
    "TransferInterrupted",
    "TransferRefused",
    "TransferTimeout",
    "TransportError",
    "URLElicitationRequired",
    "UnsupportedVersion",
    "UploadGone",
]


def _restore(cls: type[StreamHTTPError], args: tuple[Any, ...], facts: dict[str, Any]) -> StreamHTTPError:
    """Rebuild a pickled error without calling its ``__init__``, whose arguments differ from class to class."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(facts)
    return error


class StreamHTTPError(Exception):
    """The root of all errors of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


class LocalProtocolError(StreamHTTPError, ValueError):
    """What was asked for cannot be sent; nothing was sent."""


class CapabilityError(LocalProtocolError):
    """The server did not declare the capability that this needs."""


class ClientClosed(StreamHTTPError):
    """The client, call or stream was closed on this side."""


class CallCancelled(ClientClosed):
    """The call was cancelled on this side, with :meth:`Call.cancel` or by leaving its ``with`` block."""


class MissingExtra(StreamHTTPError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'streamhttp-client[{extra}]'")
        self.extra = extra


class RemoteProtocolError(StreamHTTPError):
    """The peer sent what the protocol does not allow."""


class MessageTooLarge(RemoteProtocolError):
    """A message passed the byte limit that was set for it.

    Attributes:
        limit: The limit in bytes.
    """

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ContentTypeError(RemoteProtocolError):
    """The answer's content type is none of those that were asked for.

    Attributes:
        status: HTTP status of the answer.
        headers: Its headers.
        body: The beginning of its body.
        content_type: The value that came, or None.
    """

    def __init__(
        self, message: str, *, content_type: str | None, status: int, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        super().__init__(message)
        self.content_type = content_type
        self.status = status
        self.headers = headers
        self.body = body


class InvalidResult(RemoteProtocolError):
    """A result is not of the shape that its method promises, or does not fit the tool's output schema.

    Attributes:
        result: The result as it came.
    """

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class UnsupportedVersion(RemoteProtocolError):
    """The server speaks no protocol revision that this side supports, or not the one that a request was in.

    Attributes:
        requested: The revision that was offered or used; "" if the server did not say.
        supported: What the server offered instead.
        code: -32022 where the server said so in a JSON-RPC error (since 2026-07-28); None where it was found here.
        data: Of that error, any JSON value, or None.
        status, headers, body: Of the answer that carried it, as for :class:`RPCError`.
    """

    def __init__(
        self,
        message: str,
        *,
        requested: str,
        supported: tuple[str, ...] = (),
        code: int | None = None,
        data: Any = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.requested = requested
        self.supported = supported
        self.code = code
        self.data = data
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.body = body


class HTTPStatusError(StreamHTTPError):
    """The server answered with an HTTP error status.

    Attributes:
        status: The status code.
        headers: The answer's headers; names are looked up in any case.
        body: At most the first 64 KiB of its body, decoded from gzip or deflate.
        url: The address asked, without credentials and query.
    """

    def __init__(
        self, message: str, *, status: int, headers: Mapping[str, str], body: bytes = b"", url: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = body
        self.url = url


class AuthenticationError(HTTPStatusError):
    """401 or 403: the credentials are missing, wrong or not enough."""


class SessionExpired(HTTPStatusError):
    """404 to a request that carried a session id: the server has ended it (MCP 2025-11-25, Session Management)."""


class RPCError(StreamHTTPError):
    """The server answered with a JSON-RPC error object.

    Attributes:
        code: The error code, as the server sent it.
        message: Its message.
        data: Its data, any JSON value, or None.
        status: HTTP status of the answer that carried it.
        headers, body: Of an answer with an HTTP error status; else empty.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        data: Any = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(f"{message} (code {code})")
        self.message = message
        self.code = code
        self.data = data
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.body = body


class MethodNotFound(RPCError):
    """-32601: the server has no such method."""


class InvalidParams(RPCError):
    """-32602: the server did not accept the parameters."""


class ResourceNotFound(RPCError):
    """-32002: the server has no such resource."""


class URLElicitationRequired(RPCError):
    """-32042: the user must visit a page before the call can go on (2025-11-25, elicitation in URL mode).

    ``data["elicitations"]`` lists the pages.
    """


class HeaderMismatch(RPCError):
    """-32020: a header was missing, or did not say what the body says (since 2026-07-28)."""


class MissingCapability(RPCError):
    """-32021: to serve the request, the server needs something of this client that it did not offer
    (since 2026-07-28).

    Attributes:
        required_capabilities: What that is.
    """

    @property
    def required_capabilities(self) -> Mapping[str, Any]:
        """What the server needs, in the shape of the client's capabilities; empty if it did not say."""
        required = self.data.get("requiredCapabilities") if isinstance(self.data, Mapping) else None
        return required if isinstance(required, Mapping) else {}


class InputRequired(StreamHTTPError):
    """The server asks for something before it goes on, and it will not get it here: nothing is registered that could
    answer, or it asked in more than ten rounds (since 2026-07-28).

    Whoever has the answers can go on, in another process and on another day too: :meth:`to_json` and
    :meth:`from_json` carry all that it takes. What a server keeps in ``state``, and the parameters of the request, may
    be private: treat the text so.

    Attributes:
        method: The request that was asked.
        params: Its parameters, as they were the first time.
        result: The result that asks, as it came.
        requests: The questions in it, each with ``method`` and ``params``, by the names under which it wants the
            answers.
        state: What is to be sent back as it is, or None.
    """

    def __init__(
        self, message: str, *, method: str, params: Mapping[str, Any] | None, result: Mapping[str, Any]
    ) -> None:
        super().__init__(message)
        self.method = method
        self.params = params
        self.result = result
        requests = result.get("inputRequests")
        self.requests: Mapping[str, Any] = requests if isinstance(requests, Mapping) else {}
        state = result.get("requestState")
        self.state: str | None = state if isinstance(state, str) else None

    def to_json(self) -> str:
        """Return what :meth:`from_json` takes, as JSON text. No credentials of this client are in it."""
        import json

        text = str(self.args[0]) if self.args else ""
        return json.dumps({"message": text, "method": self.method, "params": self.params, "result": self.result})

    @classmethod
    def from_json(cls, text: str | bytes) -> InputRequired:
        """Read what :meth:`to_json` wrote.

        Raises:
            LocalProtocolError: It is something else.
        """
        import json

        try:
            saved = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            saved = None
        kinds: dict[str, Any] = {"message": str, "method": str, "params": (dict, type(None)), "result": dict}
        if not isinstance(saved, dict) or not all(
            name in saved and isinstance(saved[name], kind) for name, kind in kinds.items()
        ):
            raise LocalProtocolError("this is not the JSON text of an InputRequired error")
        return cls(saved["message"], method=saved["method"], params=saved["params"], result=saved["result"])


class ToolError(StreamHTTPError):
    """The tool ran and reported a failure (``isError``).

    A tool of our own server raises it to say to the peer what went wrong.

    Attributes:
        result: The whole :class:`~streamhttp_client.ToolResult`; None where a tool raises it without.
    """

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class TransportError(StreamHTTPError):
    """The network failed, after all attempts that were safe.

    Attributes:
        may_have_executed: False if the server surely did not act on the request.
        resumable: True if the server may still hold the answer; see ``cursor``.
        cursor: What :meth:`Client.resume_call` takes, or None.
        attempts: How many tries were made, counted from 1.
        permanent: True if trying again cannot help: no such name, a certificate that does not fit.
    """

    def __init__(
        self,
        message: str,
        *,
        may_have_executed: bool = True,
        resumable: bool = False,
        cursor: Any = None,
        attempts: int = 1,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.may_have_executed = may_have_executed
        self.resumable = resumable
        self.cursor = cursor
        self.attempts = attempts


class ConnectionFailed(TransportError):
    """The server could not be reached: no name, no route, refused, TLS or proxy failure. It did not see the request."""


class ConnectionLost(TransportError):
    """The connection broke after the request was sent and before its answer was whole."""


class ReadTimeout(ConnectionLost, TimeoutError):
    """The server was silent for longer than the read timeout."""


class ResumeRefused(TransportError):
    """The server no longer holds the stream that was to be resumed. Start the call again."""


class CallTimeout(TransportError, TimeoutError):
    """A deadline of the caller passed. The call was cancelled on the wire if that was possible."""


class TransferError(StreamHTTPError):
    """A download or upload failed.

    Attributes:
        bytes_kept: Bytes that are safe and need not be sent again.
        resumable: True if calling again goes on from there.
        attempts: How many tries were made, counted from 1.
    """

    def __init__(self, message: str, *, bytes_kept: int = 0, resumable: bool = False, attempts: int = 1) -> None:
        super().__init__(message)
        self.bytes_kept = bytes_kept
        self.resumable = resumable
        self.attempts = attempts


class TransferInterrupted(TransferError):
    """The network failed, after all attempts; the last failure is the ``__cause__``."""


class TransferTimeout(TransferError, TimeoutError):
    """The deadline that the caller set for the whole transfer passed."""


class TooSlow(TransferError):
    """The transfer stayed below its least speed, after all attempts."""


class TransferRefused(TransferError, HTTPStatusError):
    """The server answered with an HTTP error status that is not worth another attempt, or kept answering with one.

    Attributes:
        status, headers, body, url: As in :class:`HTTPStatusError`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        headers: Mapping[str, str],
        body: bytes = b"",
        url: str = "",
        bytes_kept: int = 0,
        resumable: bool = False,
        attempts: int = 1,
    ) -> None:
        HTTPStatusError.__init__(self, message, status=status, headers=headers, body=body, url=url)
        self.bytes_kept = bytes_kept
        self.resumable = resumable
        self.attempts = attempts


class TransferForbidden(TransferRefused, AuthenticationError):
    """401 or 403: the credentials are missing, wrong or not enough."""


class TargetExists(TransferError, FileExistsError):
    """The target is there, and ``overwrite=True`` was not given."""


class SourceChanged(TransferError):
    """What is read changed while it was read: a local file under an upload, or the server's copy too often."""


class RangesNotSupported(TransferError):
    """The server gives the file only from its beginning to its end, so no place in it can be gone to."""


class TargetChanged(TransferError):
    """What is written was changed by somebody else: the partial file, or the upload on the server."""


class SizeMismatch(TransferError):
    """The transfer ended with a number of bytes other than was promised."""


class DigestMismatch(TransferError):
    """All bytes arrived, and their digest is not the one that was promised. They were thrown away."""


class DiskFull(TransferError):
    """The partial file could not grow. It is kept."""


class UploadGone(TransferError):
    """The server no longer holds the upload that was begun (404 or 410)."""


class NotReplayable(TransferError):
    """The source can be read only once and was begun, so it cannot be sent again."""
