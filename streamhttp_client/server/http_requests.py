"""Reading one HTTP request: body, types, and what its headers say."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .. import jsonrpc
from ..exceptions import RemoteProtocolError
from .http_answers import HTTPError

__all__ = ["check_accept", "read_messages"]

_JSON = "application/json"
# Messages of one POST, since each may cost much more than its bytes.
_MAX_BATCH = 100
# Characters of a request's id; clients use small numbers or UUIDs.
_MAX_ID = 256


def check_accept(environ: Mapping[str, Any], *needed: str) -> None:
    """Refuse a request that could not take the answer.

    Raises:
        HTTPError: 406.
    """
    ranges = _ranges(environ.get("HTTP_ACCEPT", ""))
    for kind in needed:
        if not ranges & {kind, f"{kind.partition('/')[0]}/*", "*/*"}:
            raise HTTPError(406, f"the Accept header must list {' and '.join(needed)}")


@functools.lru_cache(maxsize=64)
def _ranges(accept: str) -> frozenset[str]:
    """The media ranges of an Accept header, without those that it excludes (RFC 9110, section 12.5.1)."""
    found = set()
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not any(re.fullmatch(r"q=0(\.0{0,3})?", parameter) for parameter in parameters):
            found.add(kind)
    return frozenset(found)


def read_messages(environ: Mapping[str, Any], max_body: int) -> tuple[list[jsonrpc.Message], bool]:
    """Read the messages of a POST, and whether they came as a batch.

    Raises:
        HTTPError: 415, 411, 413, or 400 with the JSON-RPC code for what is wrong.
    """
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        raise HTTPError(415, f"the content type must be {_JSON}")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        raise HTTPError(415, "the body must not be compressed")
    body = _read_body(environ, max_body)
    try:
        messages = jsonrpc.parse(body)
    except RemoteProtocolError as error:
        # JSON-RPC 2.0 tells "Invalid JSON was received" from "The JSON sent is not a valid Request object".
        broken = isinstance(error.__cause__, (ValueError, RecursionError))
        raise HTTPError(400, str(error), code=jsonrpc.PARSE_ERROR if broken else jsonrpc.INVALID_REQUEST) from None
    _refuse_surrogates(body)
    if len(messages) > _MAX_BATCH:
        raise HTTPError(400, f"a batch may have at most {_MAX_BATCH} messages")
    for message in messages:
        if isinstance(message, jsonrpc.Request) and isinstance(message.id, str) and len(message.id) > _MAX_ID:
            # Ids name what the store keeps.
            raise HTTPError(400, f"'id' may have at most {_MAX_ID} characters")
    return messages, body.lstrip()[:1] == b"["


# What a surrogate begins with, where it is one of a pair or not. Another backslash before it makes a text of it.
_maybe_surrogate = re.compile(rb"\\u[dD][89a-fA-F]").search


def _refuse_surrogates(body: bytes) -> None:
    r"""Refuse what JSON can spell (``"\ud800"``) and UTF-8 cannot carry: stores could not keep it, nor answers have it.

    Raises:
        HTTPError: 400.
    """
    if _maybe_surrogate(body) is None:
        return
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise HTTPError(400, "a text in the message has a lone surrogate, which UTF-8 cannot carry") from None
    except RecursionError:
        raise HTTPError(400, "the message is nested too deeply") from None


def _read_body(environ: Mapping[str, Any], max_body: int) -> bytes:
    declared = environ.get("CONTENT_LENGTH") or ""
    # 18 digits are more than any limit, and few enough for int().
    if not declared.isascii() or declared and not declared.isdigit() or len(declared) > 18:
        raise HTTPError(400, "Content-Length must be a number")
    if not declared and not environ.get("wsgi.input_terminated"):
        # Without a length, PEP 3333 gives no safe way to find the end.
        raise HTTPError(411, "Content-Length is needed")
    size = int(declared) if declared else max_body + 1
    if declared and size > max_body:
        # What is not read is for the WSGI server to drop, or to close the connection for: "Connection" is a header
        # that PEP 3333 forbids to applications.
        raise HTTPError(413, f"the body must be at most {max_body} bytes")
    try:
        body = b"".join(_pieces(environ["wsgi.input"], size))
    except OSError as error:
        # The peer has gone, was too slow, or its chunks are none; servers tell by errors of their own.
        raise HTTPError(400, "the body could not be read to its end") from error
    if declared and len(body) < size:
        raise HTTPError(400, "the body ended early")
    if len(body) > max_body:
        raise HTTPError(413, f"the body must be at most {max_body} bytes")
    return body


def _pieces(source: Any, size: int) -> Iterator[bytes]:
    """Up to ``size`` bytes. In pieces, so that no more memory is taken than has come."""
    while size > 0 and (piece := source.read(min(size, 1 << 16))):
        yield piece
        size -= len(piece)
