"""That no caller holds all sessions of a store, so that others get none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from .sessions import ServerSession, open_session
from .stores.base import Store, StoreFull

__all__ = ["Hoards"]

_log = logging.getLogger("streamhttp_client.server")

# Who holds more than this part of all sessions gives some of them to others, that part of theirs at once.
_PART = 8
# Seconds between two searches of a full store: each looks at all sessions.
_SEARCH_INTERVAL = 1.0
# Seconds for which somebody from whom sessions were taken gets no others, which would be those.
_HOLD_OFF = 60.0


class Hoards:
    """Opens sessions; in a full store some are taken for it from whoever has most. Any thread may call it.

    Args:
        store: Where the sessions are.
        end: Told of each that is taken, by its key.
        clock: Monotonic; injected by tests.
    """

    def __init__(self, store: Store, end: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._end = end
        self._clock = clock
        self._next_search = 0.0
        # Who was found to hold too many, and which of them can be spared; then who gave, and until when to wait.
        self._found: tuple[str | None, list[str]] | None = None
        self._held_off: tuple[str | None, float] | None = None

    def open_session(self, fields: Mapping[str, Any], principal: str | None) -> ServerSession:
        """Keep a new session for a caller who is known by name.

        Raises:
            StoreFull: There is no room, also not among the sessions of others.
        """
        held_off = self._held_off
        if held_off is not None and held_off[0] == principal and self._clock() < held_off[1]:
            raise StoreFull("this caller has too many of all sessions")
        try:
            return open_session(self._store, fields)
        except StoreFull:
            if not self._make_room(principal):
                raise
        return open_session(self._store, fields)

    def _make_room(self, principal: str | None) -> bool:
        """Take some from another caller who has far too many, as if they had expired."""
        now = self._clock()
        if now >= self._next_search:
            self._next_search = now + _SEARCH_INTERVAL
            self._found = self._search()
        if self._found is None or self._found[0] == principal:
            return False
        (who, spare), self._found = self._found, None
        self._held_off = who, now + _HOLD_OFF
        for name in spare:
            self._store.delete_session(name)
            self._end(name)
        _log.warning("there are too many sessions: %d of a caller who has most were ended", len(spare))
        return True

    def _search(self) -> tuple[str | None, list[str]] | None:
        held: dict[str | None, list[str]] = {}
        for name, fields in self._store.iter_sessions():
            if "revision" in fields:  # the others are tasks and subscriptions
                held.setdefault(fields.get("principal"), []).append(name)
        who = max(held, key=lambda principal: len(held[principal]), default=None)
        names = held.get(who, [])
        if len(names) <= sum(map(len, held.values())) // _PART:
            return None
        return who, names[: -(-len(names) // _PART)]
