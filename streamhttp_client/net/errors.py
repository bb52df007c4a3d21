"""The one map from foreign errors to ours.

Only errors that say something about a connection are translated. Whether the peer may have acted on the request is
known to whoever was sending, so each function says for which moment it speaks. In doubt it may have.
"""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3

from ..exceptions import (
    ConnectionFailed,
    ConnectionLost,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    StreamHTTPError,
)

__all__ = ["RefusedAnswer", "causes_of", "connect_error", "foreign_cause", "is_foreign", "read_error", "requests_error"]


class RefusedAnswer(RemoteProtocolError):
    """What a server means to say and we do not go along with: unlike what was garbled, it would come again."""


def is_foreign(error: BaseException) -> bool:
    """Whether a signal handler of the program raised this while we were blocked, and not the socket.

    ``signal.alarm`` with a handler that raises TimeoutError is a common way to limit a script. Such an error is the
    program's own and must pass, although its class is one that sockets raise too.
    """
    frames: set[object] = set()
    trace = error.__traceback__
    while trace is not None:
        frames.add(trace.tb_frame.f_code)
        trace = trace.tb_next
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if callable(handler):
            # A function, a method, or an object that can be called.
            for function in (handler, handler.__call__):
                if getattr(getattr(function, "__func__", function), "__code__", None) in frames:
                    return True
    return False


def foreign_cause(error: BaseException) -> BaseException | None:
    """What a signal handler raised, where a library below has made an error of its own of it; None if nothing did."""
    # The innermost one: urllib3 lends the traceback of what it caught to its own error.
    return next((cause for cause in reversed(list(causes_of(error))) if is_foreign(cause)), None)


def connect_error(error: BaseException, where: str) -> StreamHTTPError:
    """For what went wrong before a byte of the request was sent."""
    causes = list(causes_of(error))
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        reason = getattr(certificate, "verify_message", "") or str(certificate)
        return ConnectionFailed(
            f"the certificate of {where} was not accepted: {reason} (verify= takes the path of a CA bundle)",
            may_have_executed=False,
            permanent=True,
        )
    if any(getattr(cause, "reason", None) == "WRONG_VERSION_NUMBER" for cause in causes):
        return ConnectionFailed(
            f"{where} does not speak TLS; perhaps http:// is meant", may_have_executed=False, permanent=True
        )
    refused = any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes)
    # NewConnectionError is a kind of ConnectTimeoutError, oddly.
    late = (urllib3.exceptions.ConnectTimeoutError, TimeoutError)
    if not refused and any(isinstance(cause, late) for cause in causes):
        return ConnectionFailed(f"no connection to {where} within the connect timeout", may_have_executed=False)
    unknown = any(isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME for cause in causes)
    return ConnectionFailed(
        f"no connection to {where}: {_reason(causes)}", may_have_executed=False, permanent=unknown
    )


def read_error(error: BaseException, seconds: float | None) -> StreamHTTPError:
    """For what went wrong while waiting for the answer or reading it."""
    if isinstance(error, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
        return ReadTimeout(f"the server was silent for {seconds:g} s" if seconds else "the server was silent")
    return ConnectionLost(f"the connection broke while the answer was awaited: {_reason(list(causes_of(error)))}")


def requests_error(error: BaseException, where: str, seconds: float | None) -> StreamHTTPError:
    """For what ``requests.Session.send`` raised, where connecting, sending and waiting are one step."""
    failures = requests.exceptions
    if isinstance(error, failures.ReadTimeout):
        return read_error(TimeoutError(), seconds)
    causes = list(causes_of(error))
    # What is raised for TLS after the handshake cannot be told from what is raised in it, except for certificates.
    before_sending = (
        failures.ConnectTimeout,
        failures.ProxyError,
        ssl.SSLCertVerificationError,
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.NameResolutionError,
    )
    if any(isinstance(cause, before_sending) for cause in causes):
        return connect_error(error, where)
    if isinstance(error, (failures.InvalidURL, urllib3.exceptions.LocationParseError)):
        return LocalProtocolError(f"no request can be sent to {where}")  # their words hold addresses with passwords
    if isinstance(error, (failures.InvalidHeader, failures.InvalidSchema, failures.MissingSchema)):
        hint = "; pip install 'requests[socks]' brings it" if "SOCKS" in str(error) else ""
        return LocalProtocolError(f"{error}{hint}")
    return read_error(causes[-1] if causes else error, seconds)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies below it, outermost first; each library hides the inner one in a place of its own.

    Not what the program is handling while it calls us, which Python makes the context of all that is raised meanwhile.
    """
    above = set()  # frames of the callers: what was caught there is older than this call
    frame = error.__traceback__.tb_frame.f_back if error.__traceback__ is not None else None
    while frame is not None:
        above.add(frame)
        frame = frame.f_back
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        if inner.__traceback__ is not None and inner.__traceback__.tb_frame in above:
            return
        yield inner
        seen.add(id(inner))
        below = [getattr(inner, "reason", None), inner.__cause__, *inner.args, inner.__context__]
        inner = next((cause for cause in below if isinstance(cause, BaseException) and id(cause) not in seen), None)


def _reason(causes: list[BaseException]) -> str:
    """A short text: the innermost cause in words, without addresses of objects."""
    error = causes[-1]
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[text.rfind(">: ") + 3 :] if ">: " in text else text
