"""What a JSON-RPC error of a server becomes."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client import exceptions
from streamhttp_client.jsonrpc import ErrorResponse
from streamhttp_client.transport.answers import rpc_error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-32601, exceptions.MethodNotFound),
        (-32602, exceptions.InvalidParams),
        (-32002, exceptions.ResourceNotFound),
        (-32042, exceptions.URLElicitationRequired),
        (-32020, exceptions.HeaderMismatch),
        (-32021, exceptions.MissingCapability),
        (-32022, exceptions.UnsupportedVersion),
        (-32603, exceptions.RPCError),
        (-32700, exceptions.RPCError),
        # "MUST NOT assume a meaning"
        *((code, exceptions.RPCError) for code in range(-32019, -31999) if code != -32002),
        (-32023, exceptions.RPCError),
        (-32099, exceptions.RPCError),
        (-1, exceptions.RPCError),
        (0, exceptions.RPCError),
    ],
)
def test_codes(code: int, kind: type[exceptions.StreamHTTPError]) -> None:
    """BASE-08, BASE-09: a code that the protocol defines has its class, and any other means nothing here."""
    error = rpc_error(ErrorResponse(1, code, "no", {"a": [1]}))
    assert type(error) is kind
    assert (error.code, error.data, error.status, error.body) == (code, {"a": [1]}, None, b"")
    assert str(error) == f"no (code {code})"


@pytest.mark.parametrize(
    ("data", "requested", "supported"),
    [
        ({"supported": ["2025-11-25", "x"], "requested": "2026-07-28"}, "2026-07-28", ("2025-11-25", "x")),
        ({"supported": ["a", 7, None]}, "", ("a",)),
        ({"supported": [], "requested": 7}, "", ()),
        ({"supported": "2025-11-25"}, "", ()),
        ([], "", ()),
        (None, "", ()),
    ],
)
def test_revisions_that_the_server_names(data: Any, requested: str, supported: tuple[str, ...]) -> None:
    """V26-03: the revisions that a server names when it refuses ours are there to choose from."""
    error = rpc_error(ErrorResponse(None, -32022, "", data))
    assert isinstance(error, exceptions.UnsupportedVersion)
    assert (error.requested, error.supported, error.code, error.data) == (requested, supported, -32022, data)
    assert str(error) == "the server reported an error (code -32022)"


def test_required_capabilities() -> None:
    """V26-13: the capability that the server misses is named by the error."""
    error = rpc_error(ErrorResponse(1, -32021, "no", {"requiredCapabilities": {"sampling": {}}}))
    assert isinstance(error, exceptions.MissingCapability)
    assert error.required_capabilities == {"sampling": {}}


@pytest.mark.parametrize(
    ("required", "words"),
    [
        ({"sampling": {}}, "no (code -32021); Client(sampling=…) offers it"),
        ({"roots": {}, "elicitation": {"url": {}}},
         "no (code -32021); Client(elicitation=…, roots=…, url_elicitation=True) offers it"),
        ({"sampling": {"tools": {}}}, "no (code -32021); Client(sampling=…, sampling_tools=True) offers it"),
        ({"sampling": None}, "no (code -32021); Client(sampling=…) offers it"),
        ({"extensions": {"x/y": {}}}, "no (code -32021)"),
        ([], "no (code -32021)"), ("elicitation", "no (code -32021)"),
    ],
)  # fmt: skip
def test_what_would_offer_a_capability(required: Any, words: str) -> None:
    """V26-13, BASE-09: the error says with which options of a client there is what the server misses."""
    error = rpc_error(ErrorResponse(1, -32021, "no", {"requiredCapabilities": required}))
    assert str(error) == words and isinstance(error, exceptions.MissingCapability) and error.message == "no"
