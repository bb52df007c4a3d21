"""Results that a server lets its clients keep for a while (MCP 2026-07-28, server/utilities/caching).

Strategy: a cache belongs to one endpoint and holds results as JSON text, so that what is taken out is the taker's own
and what it costs is known. An entry is kept for the milliseconds that the server named, and not longer; nothing is
fetched here, nor asked for again because time has passed. A notification of a change drops what it is about at once.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.names import CLIENT_INFO, LOG_LEVEL

__all__ = ["CACHEABLE", "ResultCache"]

CACHEABLE = frozenset((
    "prompts/list", "resources/list", "resources/read", "resources/templates/list", "server/discover", "tools/list",
))  # fmt: skip
"""The requests whose results carry hints (Cacheable Results)."""

# What a notification makes stale (Interaction with Notifications).
_STALE_AFTER: Mapping[str, tuple[str, ...]] = {
    "notifications/tools/list_changed": ("tools/list",),
    "notifications/prompts/list_changed": ("prompts/list",),
    "notifications/resources/list_changed": ("resources/list", "resources/templates/list"),
    "notifications/resources/updated": ("resources/read",),
}

# Members of `_meta` that are of one request alone, and say nothing of what is asked. All others may: a gateway may look
# at any, so results are told apart by them.
_OF_ONE_REQUEST = frozenset((
    "progressToken", "traceparent", "tracestate", "baggage", CLIENT_INFO, LOG_LEVEL,
))  # fmt: skip

# A number of milliseconds that floats can still count, so that no server can make us fail with a larger one.
_LONGEST_MS = 2.0**53

# The partition of the key under which everybody finds an entry; others are in a tuple, so none can be called so.
_EVERYBODY = ("public",)

_Key = tuple[tuple[str | None, ...], str, str]


class _Entry:
    __slots__ = ("fresh_until", "text", "uri")

    def __init__(self, text: str, fresh_until: float, uri: str | None) -> None:
        self.text = text
        self.fresh_until = fresh_until
        self.uri = uri


class ResultCache:
    """Fresh results of one endpoint. Threads share it, and nothing in it blocks.

    It pickles as an empty one: what it holds is fresh by the clock of this process, and may be private.

    Args:
        clock: Seconds from any beginning, never backwards.
        max_entries: Results to keep at most; 0 keeps none. The one that was not used for longest goes first.
        max_bytes: Characters of JSON to keep at most, results and keys together.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = 256,
        max_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        # Guards all below. Nobody waits for anything while holding it, and JSON is read and written outside.
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()  # the one used last is last
        self._size = 0
        self._changes = 0
        self._changed: dict[str, int] = {}  # method -> number of the last change that made its results stale

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (self._max_entries, self._max_bytes)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<ResultCache of {len(self._entries)} results, {self._size} bytes>"

    def mark(self) -> int:
        """Return a mark of this moment, for :meth:`put`: taken before a request is sent, it tells whether a change was
        announced while the answer was on its way.
        """
        return self._changes

    def get(
        self, method: str, params: Mapping[str, Any] | None = None, partition: str | None = None
    ) -> dict[str, Any] | None:
        """Return a result that is still fresh, or None.

        Args:
            method: The request.
            params: Its parameters. Of ``_meta``, what is of one request alone does not count.
            partition: Names the authorization under which it would be sent, such as a digest of it; None is without.

        Returns:
            The result as the server sent it; the caller's own.
        """
        asked = _key(method, params)
        if asked is None:
            return None
        self._after_fork()
        now = self._clock()
        with self._lock:
            for whose in ((partition,), _EVERYBODY):
                key = (whose, method, asked)
                entry = self._entries.get(key)
                if entry is None:
                    continue
                if now < entry.fresh_until:  # "fresh while: now < t_received + ttlMs"
                    self._entries.move_to_end(key)
                    text = entry.text
                    break
                self._drop(key)
            else:
                return None
        result: dict[str, Any] = json.loads(text)
        return result

    def put(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        result: Any,
        partition: str | None = None,
        *,
        since: int | None = None,
    ) -> bool:
        """Keep a result that has just arrived, if it may be kept; whatever was there for the same request goes.

        Args:
            method: The request.
            params: Its parameters.
            result: The result as the server sent it.
            partition: As for :meth:`get`. A result with ``cacheScope`` ``"public"`` is for all of them.
            since: What :meth:`mark` returned before the request was sent. The result is not kept if a change of its
                kind was announced since. None if nobody listens.

        Returns:
            Whether it is kept.
        """
        asked = _key(method, params)
        if asked is None:
            return False
        self._after_fork()
        text, seconds = _storable(result)
        public = text is not None and result.get("cacheScope") == "public"
        fresh_until = self._clock() + seconds
        size = 0 if text is None else _size(asked, text)
        with self._lock:
            for whose in ((partition,), _EVERYBODY):
                self._drop((whose, method, asked))
            late = since is not None and self._changed.get(method, 0) > since
            if text is None or late or size > self._max_bytes or self._max_entries < 1:
                return False
            uri = params.get("uri") if params is not None else None
            key = (_EVERYBODY if public else (partition,), method, asked)
            self._entries[key] = _Entry(text, fresh_until, uri if isinstance(uri, str) else None)
            self._size += size
            while len(self._entries) > self._max_entries or self._size > self._max_bytes:
                self._drop(next(iter(self._entries)))
        return True

    def invalidate(self, notification_method: str, params: Mapping[str, Any] | None = None) -> int:
        """Drop what a notification makes stale, for all authorizations; the number of results dropped.

        An update of a resource also makes those stale above it, whose URI it begins with: "This might be a
        sub-resource of the one that the client actually subscribed to" (ResourceUpdatedNotification).
        """
        methods = _STALE_AFTER.get(notification_method)
        if methods is None:
            return 0
        uri = params.get("uri") if isinstance(params, Mapping) else None
        if notification_method != "notifications/resources/updated" or not isinstance(uri, str):
            return self._drop_all(methods)
        return self._drop_all(methods, lambda entry: entry.uri is None or uri.startswith(entry.uri))

    def drop_pages(self, method: str) -> int:
        """Drop all pages of a list, because the server does not know a cursor any more; the number dropped."""
        return self._drop_all((method,))

    def clear(self) -> None:
        """Drop everything."""
        self._drop_all(tuple(CACHEABLE))

    def _drop_all(self, methods: tuple[str, ...], stale: Callable[[_Entry], bool] | None = None) -> int:
        self._after_fork()
        with self._lock:
            self._changes += 1
            for method in methods:
                self._changed[method] = self._changes
            found = [
                key for key, entry in self._entries.items() if key[1] in methods and (stale is None or stale(entry))
            ]
            for key in found:
                self._drop(key)
        return len(found)

    def _drop(self, key: _Key) -> None:
        """Forget one entry, if it is there; with the lock held."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= _size(key[2], entry.text)

    def _after_fork(self) -> None:
        """Begin anew in a forked child, where another thread of the parent may hold the lock for ever."""
        if self._pid != os.getpid():
            self._begin()


def _empty(max_entries: int, max_bytes: int) -> ResultCache:
    return ResultCache(max_entries=max_entries, max_bytes=max_bytes)


def _size(asked: str, text: str) -> int:
    return len(asked) + len(text)


def _key(method: str, params: Mapping[str, Any] | None) -> str | None:
    """What is asked, in one form of all that mean the same; None if its result must not be kept."""
    if method not in CACHEABLE:
        return None
    if not params:
        return "{}"
    # "requests carrying inputResponses or requestState MUST NOT be cached, as they depend on inputs that are not part
    # of the cache key." Cache Key
    if "inputResponses" in params or "requestState" in params:
        return None
    asked = {name: value for name, value in params.items() if name != "_meta"}
    meta = params.get("_meta")
    if isinstance(meta, Mapping):
        meta = {name: value for name, value in meta.items() if name not in _OF_ONE_REQUEST}
    if meta:
        asked["_meta"] = meta
    try:
        return json.dumps(asked, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return None  # no JSON; whoever sends it will say so


def _storable(result: Any) -> tuple[str | None, float]:
    """The text of a result, and the seconds for which it is fresh; None if it is not to be kept."""
    if not isinstance(result, Mapping):
        return None, 0.0
    milliseconds = result.get("ttlMs")
    if (
        isinstance(milliseconds, bool)
        or not isinstance(milliseconds, (int, float))
        or not milliseconds > 0
        or milliseconds == math.inf
        # An interim result, or one of an extension, is not the one that was asked for.
        or result.get("resultType") not in (None, "complete")
    ):
        return None, 0.0
    try:
        return json.dumps(result, separators=(",", ":")), min(milliseconds, _LONGEST_MS) / 1000
    except (TypeError, ValueError, RecursionError):
        return None, 0.0
