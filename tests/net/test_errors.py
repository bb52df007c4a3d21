"""The one map from foreign errors to ours."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import requests
import urllib3
from urllib3.connection import HTTPConnection

from streamhttp_client import ConnectionFailed, ConnectionLost, LocalProtocolError, ReadTimeout, TransportError
from streamhttp_client.net.errors import connect_error, read_error, requests_error

CONNECTION = HTTPConnection("h")
POOL = urllib3.HTTPConnectionPool("h")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "no connection to h:1: Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "no connection to h:1: Name or service not known"),
        (TimeoutError("timed out"), "no connection to h:1 within the connect timeout"),
        (
            urllib3.exceptions.ConnectTimeoutError(CONNECTION, "Connection to h timed out"),
            "no connection to h:1 within the connect timeout",
        ),
        (urllib3.exceptions.NewConnectionError(CONNECTION, "Failed: [Errno 111] refused"), "refused"),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate verify failed"),
        (OSError(), "no connection to h:1: OSError"),
    ],
)
def test_before_anything_was_sent(error: Exception, text: str) -> None:
    """A failure to connect ran nothing on the server, and says where to and why."""
    ours = connect_error(error, "h:1")
    assert type(ours) is ConnectionFailed and not ours.may_have_executed
    assert text in str(ours)
    assert "0x" not in str(ours)


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), TimeoutError("timed out"), urllib3.exceptions.ReadTimeoutError(POOL, "/", "Read timed out")],
)
def test_silence(error: Exception) -> None:
    """L25-08: silence is a ReadTimeout, which is lost, and a builtin TimeoutError."""
    ours = read_error(error, 2.5)
    assert type(ours) is ReadTimeout and ours.may_have_executed and isinstance(ours, TimeoutError)
    assert str(ours) == "the server was silent for 2.5 s"
    assert str(read_error(error, None)) == "the server was silent"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(32, "Broken pipe"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        urllib3.exceptions.ProtocolError("Connection broken", ConnectionResetError(104, "Connection reset by peer")),
        urllib3.exceptions.IncompleteRead(3, 10),
        ValueError("I/O operation on closed file"),
    ],
)
def test_the_answer_is_lost(error: Exception) -> None:
    """Anything else while waiting or reading: the request may have run."""
    ours = read_error(error, 1)
    assert type(ours) is ConnectionLost and ours.may_have_executed
    assert "0x" not in str(ours)


REFUSED = urllib3.exceptions.NewConnectionError(CONNECTION, "Failed to establish: [Errno 111] Connection refused")


def exhausted(reason: Exception) -> urllib3.exceptions.MaxRetryError:
    return urllib3.exceptions.MaxRetryError(POOL, "/mcp", reason)


@pytest.mark.parametrize(
    ("error", "kind", "may_have_executed"),
    [
        (requests.exceptions.ConnectTimeout(exhausted(REFUSED)), ConnectionFailed, False),
        (requests.exceptions.ConnectionError(exhausted(REFUSED)), ConnectionFailed, False),
        (
            requests.exceptions.SSLError(exhausted(urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("no")))),
            ConnectionFailed, False,
        ),
        (  # an alert or a bad record after the request looks the same as one before it
            requests.exceptions.SSLError(exhausted(urllib3.exceptions.SSLError("bad record"))),
            ConnectionLost, True,
        ),
        (
            requests.exceptions.ProxyError(exhausted(urllib3.exceptions.ProxyError("no", OSError("refused")))),
            ConnectionFailed, False,
        ),
        (requests.exceptions.ReadTimeout(), ReadTimeout, True),
        (
            requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
            ),
            ConnectionLost, True,
        ),
        (requests.exceptions.ConnectionError(), ConnectionLost, True),
        (requests.exceptions.ChunkedEncodingError(ConnectionResetError(104, "reset")), ConnectionLost, True),
        (urllib3.exceptions.ProtocolError("broken"), ConnectionLost, True),
        (OSError("broken"), ConnectionLost, True),
    ],
)  # fmt: skip
def test_what_requests_raises(error: Exception, kind: type[Any], may_have_executed: bool) -> None:
    """Connecting, sending and waiting are one step in requests: what surely was not sent is told apart."""
    ours = requests_error(error, "h:80", 3)
    assert type(ours) is kind and isinstance(ours, TransportError)
    assert ours.may_have_executed is may_have_executed
    assert "0x" not in str(ours)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.InvalidURL("bad"), requests.exceptions.MissingSchema("bad"),
        requests.exceptions.InvalidSchema("bad"), requests.exceptions.InvalidHeader("bad"),
    ],
)  # fmt: skip
def test_what_the_caller_did(error: Exception) -> None:
    """An address or a header that requests refuses is the caller's error; nothing was sent."""
    assert type(requests_error(error, "h:80", 3)) is LocalProtocolError


def test_a_circle_of_causes_ends() -> None:
    """Looking for the innermost cause does not run in a circle."""
    one, two = OSError("one"), OSError("two")
    one.__cause__, two.__cause__ = two, one
    assert "no connection to h:1" in str(connect_error(one, "h:1"))
