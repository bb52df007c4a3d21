"""The one map from foreign errors to ours.

Only errors that say something about a connection are translated. Whether the peer may have acted on the request is
known to whoever was sending, so each function says for which moment it speaks.
"""

from __future__ import annotations

import ssl

import requests
import urllib3

from ..exceptions import ConnectionFailed, ConnectionLost, LocalProtocolError, ReadTimeout, StreamHTTPError

__all__ = ["connect_error", "read_error", "requests_error"]


def connect_error(error: Exception, where: str) -> StreamHTTPError:
    """For what went wrong before a byte of the request was sent."""
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # a kind of ConnectTimeoutError, oddly
    if not refused and isinstance(error, (urllib3.exceptions.ConnectTimeoutError, TimeoutError)):
        return ConnectionFailed(f"no connection to {where} within the connect timeout", may_have_executed=False)
    return ConnectionFailed(f"no connection to {where}: {_reason(error)}", may_have_executed=False)


def read_error(error: Exception, seconds: float | None) -> StreamHTTPError:
    """For what went wrong while waiting for the answer or reading it."""
    if isinstance(error, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
        return ReadTimeout(f"the server was silent for {seconds:g} s" if seconds else "the server was silent")
    return ConnectionLost(f"the connection broke while the answer was awaited: {_reason(error)}")


def requests_error(error: Exception, where: str, seconds: float | None) -> StreamHTTPError:
    """For what ``requests.Session.send`` raised, where connecting, sending and waiting are one step."""
    if isinstance(error, requests.exceptions.ReadTimeout):
        return read_error(TimeoutError(), seconds)
    failures = requests.exceptions
    if isinstance(error, (failures.ConnectTimeout, failures.SSLError, failures.ProxyError)):
        return connect_error(error, where)
    if isinstance(error, failures.ConnectionError):
        inner = error.args[0] if error.args else error
        reason = getattr(inner, "reason", inner)
        # NewConnectionError and NameResolutionError: the connection was never made, so nothing was sent.
        if isinstance(reason, urllib3.exceptions.NewConnectionError):
            return connect_error(reason, where)
        return read_error(reason if isinstance(reason, Exception) else error, seconds)
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return read_error(error, seconds)
    if isinstance(error, requests.exceptions.RequestException):
        return LocalProtocolError(str(error))
    return read_error(error, seconds)


def _reason(error: BaseException) -> str:
    """A short text: the innermost cause in words, without addresses of objects."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) if not isinstance(error, ssl.SSLError) else None
        inner = inner if isinstance(inner, BaseException) else error.__cause__
        if inner is None and error.args and isinstance(error.args[-1], BaseException):
            inner = error.args[-1]
        if inner is None:
            break
        error = inner
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[text.rfind(">: ") + 3 :] if ">: " in text else text
