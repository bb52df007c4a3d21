"""Named things that are listed page by page."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from .. import jsonrpc
from ..exceptions import LocalProtocolError, RPCError
from .results import plain

__all__ = ["Listing", "cache_hints", "listed"]


class _Listed(Protocol):
    def to_wire(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=_Listed)


def cache_hints(ttl: float, scope: str) -> tuple[int, str]:
    """Seconds and a scope as results carry them (MCP 2026-07-28, server/utilities/caching).

    Raises:
        LocalProtocolError: One of them is not allowed.
    """
    if not isinstance(ttl, (int, float)) or not 0 <= ttl < 1e9:
        raise LocalProtocolError(f"ttl must be 0 or more seconds, got {ttl!r}")
    if scope not in ("public", "private"):
        raise LocalProtocolError(f"cache_scope must be 'public' or 'private', got {scope!r}")
    return int(ttl * 1000), scope


_TEXTS = frozenset(("name", "version", "title", "description", "instructions", "mimeType", "uri", "uriTemplate"))
_OBJECTS = frozenset(("annotations", "inputSchema", "outputSchema", "_meta"))


def listed(what: str, **members: Any) -> dict[str, Any]:
    """The members that are not None, as clients are told of them.

    They are checked when they are registered, since what cannot be sent, or is of the wrong kind, would take the
    whole list from all clients.

    Raises:
        LocalProtocolError: One of them is not of its kind, or has no JSON form.
    """
    found: dict[str, Any] = {}
    for key, value in members.items():
        if value is None:
            continue
        if key in _TEXTS and not isinstance(value, str):
            raise LocalProtocolError(f"{what}: {key} must be a str, got {value!r:.60}")
        if key in _OBJECTS and not isinstance(value, Mapping):
            raise LocalProtocolError(f"{what}: {key} must be a mapping, got {value!r:.60}")
        try:
            found[key] = plain(value)
            jsonrpc.dump(jsonrpc.Notification("", {key: found[key]}))
        except (TypeError, RecursionError, LocalProtocolError) as error:
            raise LocalProtocolError(f"{what}: {key} cannot be sent: {error.__cause__ or error}") from error
    return found


class Listing(Generic[T]):
    """An ordered mapping that may change while the server runs.

    Args:
        key: Name of the array in the result, such as ``"tools"``.
        page_size: Items on one page; None puts all on one.
    """

    def __init__(self, key: str, page_size: int | None) -> None:
        if page_size is not None and (not isinstance(page_size, int) or page_size < 1):
            raise LocalProtocolError(f"page_size must be 1 or more, or None, got {page_size!r:.60}")
        self._key = key
        self._page_size = page_size
        # Guards changes; the mapping is replaced whole, so readers need no lock.
        self._lock = threading.Lock()
        self._items: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, name: str, item: T) -> None:
        """Add one.

        Raises:
            LocalProtocolError: The name is taken.
        """
        with self._lock:
            if name in self._items:
                raise LocalProtocolError(f"{self._key}: the name {name!r} is taken")
            self._items = {**self._items, name: item}

    def remove(self, name: str) -> None:
        """Remove one; KeyError if there is none."""
        with self._lock:
            left = dict(self._items)
            del left[name]
            self._items = left

    def get(self, name: str) -> T | None:
        return self._items.get(name)

    def values(self) -> list[T]:
        return list(self._items.values())

    def page(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a list method: the page that ``params["cursor"]`` names, the first without one.

        Raises:
            RPCError: "Invalid cursors SHOULD result in an error with code -32602" (MCP,
                server/utilities/pagination).
        """
        cursor = params.get("cursor")
        begin = 0 if cursor is None else _read_cursor(cursor)
        items = list(self._items.values())
        if begin and begin >= len(items):
            raise _bad_cursor()
        end = len(items) if self._page_size is None else begin + self._page_size
        result: dict[str, Any] = {self._key: [item.to_wire() for item in items[begin:end]]}
        if end < len(items):
            result["nextCursor"] = base64.urlsafe_b64encode(b"after %d" % end).decode("ascii")
        return result


def _read_cursor(cursor: Any) -> int:
    try:
        word, _, number = base64.urlsafe_b64decode(cursor.encode("ascii")).partition(b" ")
        if word == b"after" and number.isdigit() and len(number) < 10:
            return int(number)
    except (ValueError, AttributeError):
        pass
    raise _bad_cursor()


def _bad_cursor() -> RPCError:
    return RPCError("the cursor is not one of this list", code=jsonrpc.INVALID_PARAMS)
