"""What is asked of an event source, in a form that can be sent again with each reconnect. Pure."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from .._headers import check_header
from ..exceptions import LocalProtocolError

__all__ = ["DataLike", "HeadersLike", "ParamsLike", "body_of", "checked", "with_params"]

HeadersLike = Mapping[str, str] | Callable[[], Mapping[str, str]] | None
ParamsLike = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None
DataLike = bytes | str | Mapping[str, Any] | Callable[[], Iterable[bytes]] | None


def body_of(data: DataLike, json: Any) -> tuple[bytes | Callable[[], Iterable[bytes]] | None, dict[str, str]]:
    """The body in a form that can be sent again, and what the headers say of it."""
    if json is not None:
        if data is not None:
            raise LocalProtocolError("pass data or json, not both")
        try:
            return jsonlib.dumps(json, allow_nan=False).encode(), {"content-type": "application/json"}
        except (TypeError, ValueError) as error:
            raise LocalProtocolError(f"json cannot be written as JSON: {error}") from error
    if data is None or isinstance(data, bytes):
        return data, {}
    if isinstance(data, str):
        return data.encode(), {"content-type": "text/plain; charset=utf-8"}
    if isinstance(data, Mapping):
        return urlencode(_pairs(data)).encode(), {"content-type": "application/x-www-form-urlencoded"}
    if callable(data):
        return data, {}
    raise LocalProtocolError(
        f"data must be bytes, str, a mapping or a function that returns pieces, got {type(data).__name__}; "
        "an iterator could not be sent again with a reconnect"
    )


def checked(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The caller's headers with names in lower case, if they can be sent."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise LocalProtocolError(f"headers must be a mapping, got {type(headers).__name__}")
    for name, value in headers.items():
        check_header(name, value)
    return {name.lower(): value for name, value in headers.items()}


def with_params(url: str, params: Mapping[str, Any] | None) -> str:
    """The address with more fields in its query."""
    if not params:
        return url
    parts = urlsplit(url)
    more = urlencode(_pairs(params))
    return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more, fragment=""))


def _pairs(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Fields of a query or form, one for each value of a list or tuple."""
    if not isinstance(fields, Mapping):
        raise LocalProtocolError(f"params must be a mapping, got {type(fields).__name__}")
    pairs: list[tuple[str, Any]] = []
    for name, value in fields.items():
        values = value if isinstance(value, (list, tuple)) else (value,)
        pairs.extend((name, each) for each in values if each is not None)
    return pairs
