"""Which rules a server speaks by, told from what it answers: a decision table, and nothing else.

A client that knows nothing of a server probes it with ``server/discover``, a request of the stateless era. A server of
that era answers, or refuses with an error that only that era knows. Anything else is the answer of an older one, to
which ``initialize`` is said; and if that is refused as something unknown, the server may be one of 2024-11-05, where a
GET opens the one stream for everything.

Sources: MCP 2026-07-28, basic/versioning and basic/transports/streamable-http, Backward Compatibility.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from .._record import Record
from ..exceptions import HTTPStatusError, RPCError, StreamHTTPError, UnsupportedVersion
from ..jsonrpc import METHOD_NOT_FOUND
from .names import HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION
from .versions import LATEST, Revision, find_revision

__all__ = [
    "Step",
    "after_discovery",
    "after_handshake",
    "after_probe",
    "is_modern_error",
    "knows_no_handshake",
    "looks_legacy",
    "supported",
]

_MODERN_ERRORS = frozenset((HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION))

# Refusals that say nothing of what the server speaks: who asks, and how often, is the question.
_ABOUT_THE_CALLER = frozenset((401, 403, 407, 429))
# Statuses of a server that does not know the method, the path or the message. "If it fails with HTTP status code 400
# Bad Request, 404 Not Found, or 405 Method Not Allowed": ibid., HTTP+SSE Transport.
_UNKNOWN = frozenset((400, 404, 405))


class Step(Record):
    """What to do next.

    Attributes:
        action: ``"speak"`` the revision; ``"probe"`` with it; ``"shake"`` hands, offering it; open the one
            ``"channel"`` of 2024-11-05; or ``"fail"`` with the error that led here.
        revision: Which one; None where there is nothing to choose.
        why: In words, for people.
    """

    action: Literal["speak", "probe", "shake", "channel", "fail"]
    revision: Revision | None = None
    why: str = ""


def after_discovery(versions: Iterable[str]) -> Step:
    """The server has answered the probe, and named the revisions that it speaks.

    Raises:
        UnsupportedVersion: None of them is spoken here.
    """
    return _choose(versions, "speak", "the server answered server/discover")


def after_probe(error: StreamHTTPError, tried: Sequence[str]) -> Step:
    """The probe was refused.

    Args:
        error: How.
        tried: Names of the revisions with which it was probed, one for each probe.

    Raises:
        UnsupportedVersion: The server speaks none that is spoken here.
    """
    code, status = getattr(error, "code", None), getattr(error, "status", None)
    if is_modern_error(error):
        versions = supported(error)
        if code != UNSUPPORTED_VERSION or versions is None:
            return Step("fail", None, "the server refused the probe, in terms of 2026-07-28")
        # Each is tried once more if the server names it after refusing it: it may have changed its mind meanwhile.
        left = [name for name in versions if tried.count(name) < 2]
        if versions and not left:
            return Step("fail", None, "the server refused each revision that it names")
        return _choose(left, "probe", "the server refused the revision")
    if status in _ABOUT_THE_CALLER:
        return Step("fail", None, f"the server answered with HTTP {status}")
    if status == 404 and code == METHOD_NOT_FOUND:
        return Step("speak", LATEST, "the server does not know server/discover, and says so as 2026-07-28 has it")
    words = f"HTTP {status}" if status is not None else f"error {code}" if code is not None else "no answer"
    return Step("shake", None, f"the server answered server/discover with {words}")


def after_handshake(error: StreamHTTPError, *, probed: bool) -> Step:
    """``initialize`` was refused.

    Args:
        error: How.
        probed: Whether the server was probed before, so that it is not of the stateless era.

    Raises:
        UnsupportedVersion: The server is of the stateless era, and speaks none of it that is spoken here.
    """
    if knows_no_handshake(error):
        if probed:
            return Step("fail", None, "the server refused both the probe and the handshake")
        return Step("probe", LATEST, "the server knows no handshake")
    status = getattr(error, "status", None)
    if status in _UNKNOWN:
        return Step("channel", None, f"the server answered initialize with HTTP {status}")
    return Step("fail", None, "initialize failed")


def is_modern_error(error: StreamHTTPError) -> bool:
    """Whether only servers of 2026-07-28 and later refuse so."""
    return isinstance(error, (RPCError, UnsupportedVersion)) and getattr(error, "code", None) in _MODERN_ERRORS


def knows_no_handshake(error: StreamHTTPError) -> bool:
    """Whether ``initialize`` was refused as servers of the stateless era refuse it."""
    code, status = getattr(error, "code", None), getattr(error, "status", None)
    return is_modern_error(error) or (status == 404 and code == METHOD_NOT_FOUND)


def looks_legacy(error: StreamHTTPError) -> bool:
    """Whether the refusal of a request of the stateless era is rather one of an older server, or of none at all."""
    status = getattr(error, "status", None)
    if status not in _UNKNOWN or is_modern_error(error):
        return False
    if isinstance(error, RPCError):
        # A server of the era answers 404 to an unknown method, and 400 to parameters that it cannot use.
        return not (status == 404 and error.code == METHOD_NOT_FOUND) and error.code != -32602
    return isinstance(error, HTTPStatusError)


def supported(error: StreamHTTPError) -> tuple[str, ...] | None:
    """The revisions that a server named when it refused ours, or None if that is not what it says."""
    data = getattr(error, "data", None)
    versions = data.get("supported") if isinstance(data, dict) else None
    if not isinstance(versions, list):
        return None
    return tuple(name for name in versions if isinstance(name, str))


def _choose(versions: Iterable[str], action: Literal["speak", "probe"], why: str) -> Step:
    """The newest revision of those that is spoken here, in the way in which one begins with it."""
    names = tuple(versions)
    known = [revision for name in names if (revision := find_revision(name)) is not None]
    newest = max(known, key=lambda revision: revision.name, default=None)
    if newest is None:
        raise UnsupportedVersion(
            f"the server speaks {', '.join(map(repr, names))[:200] or 'no revision'}, and none that is spoken here",
            requested=LATEST.name,
            supported=names,
        )
    return Step("shake" if newest.handshake else action, newest, why)
