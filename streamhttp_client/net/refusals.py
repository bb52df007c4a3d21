"""What an HTTP answer that is no success means, for any service; MCP has its own reading of some."""

from __future__ import annotations

from ..exceptions import (
    AuthenticationError,
    ContentTypeError,
    HTTPStatusError,
    RemoteProtocolError,
    TransportError,
)
from .body import Response
from .retry import parse_retry_after
from .timeouts import Deadline

__all__ = ["MAX_ERROR_BODY", "is_temporary", "read_beginning", "status_error", "type_error"]

# Enough for a page of explanation; an error keeps it in memory for as long as it lives.
MAX_ERROR_BODY = 64 * 1024
# An error is worth waiting a moment for its explanation, not more.
_ERROR_BODY_SECONDS = 5.0


def is_temporary(status: int) -> bool:
    """Whether the same request may succeed later: timeouts, too many requests, and faults of the server.

    Not those of a server that does not know the method (501) or the version (505): it will not learn it meanwhile.
    """
    return status in (408, 429) or 500 <= status < 600 and status not in (501, 505)


def status_error(response: Response, method: str, deadline: Deadline) -> HTTPStatusError:
    """The error for an answer whose status is none of those that were asked for. The answer is read and
    closed.

    Raises:
        ClientClosed: The interrupt was fired meanwhile.
    """
    status = response.status
    kind = AuthenticationError if status in (401, 403) else HTTPStatusError
    reason = f" {response.reason}" if response.reason else ""
    url = _shown(response.url)
    body = read_beginning(response, deadline)
    message = f"{method} {url} was answered with {status}{reason}"
    if seconds := parse_retry_after(response.headers):
        message += f", and asked to come back in {seconds:.0f} s"  # when that is too long, it is why nobody does
    return kind(message, status=status, headers=response.headers, body=body, url=url)


def type_error(response: Response, expected: str, deadline: Deadline) -> ContentTypeError:
    """The error for an answer of another type than the one asked for. The answer is read and closed."""
    got = response.headers.get("content-type")
    body = read_beginning(response, deadline)
    shown = f"{got!r:.80}" if got else "none"
    return ContentTypeError(
        f"{_shown(response.url)} answered with content type {shown}, expected {expected}",
        content_type=got,
        status=response.status,
        headers=response.headers,
        body=body,
    )


def read_beginning(response: Response, deadline: Deadline) -> bytes:
    """At most 64 KiB of the body, if it comes soon; then close the answer."""
    soon = Deadline(deadline.within(_ERROR_BODY_SECONDS))
    parts: list[bytes] = []
    size = 0
    try:
        while size < MAX_ERROR_BODY and (data := response.body.read1(timeout=soon.remaining())):
            parts.append(data)
            size += len(data)
    except (TransportError, RemoteProtocolError):
        pass  # the status is known, and that is the news
    finally:
        response.body.close()
    return b"".join(parts)[:MAX_ERROR_BODY]


def _shown(url: str) -> str:
    """The address as it may be shown: queries carry tokens often enough."""
    return url.partition("?")[0]
