"""That no caller holds all sessions of a store, so that others get none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .sessions import ServerSession, open_session
from .stores.base import SessionsFull, Store, StoreFull

__all__ = ["Hoards"]

_log = logging.getLogger("streamhttp_client.server")

# Who holds more than this part of all sessions gives some of them to others, that part of theirs at once.
_PART = 8
# Seconds between two searches of a full store: each looks at all sessions.
_SEARCH_INTERVAL = 1.0
# Seconds for which somebody from whom sessions were taken gets no others, which would be those.
_HOLD_OFF = 60.0


class _Hoard(NamedTuple):
    """Who holds a large part of all sessions, some of them that can be spared, and how many everybody has."""

    principal: str | None
    spare: list[str]
    numbers: Mapping[str | None, int]

    def is_too_much_for(self, other: str | None) -> bool:
        """Whether somebody else has so few that they shall be given some. Among those who have nearly as many it is no
        hoard: nobody shall grow by ending what others use.
        """
        return self.numbers[self.principal] > 2 * self.numbers.get(other, 0)


class Hoards:
    """Opens sessions; in a full store some are taken for who has few from whoever has most. Any thread may call it.

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
        # What was found and not yet taken; then who gave, and until when to wait.
        self._found: _Hoard | None = None
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
        except SessionsFull:  # who has most sessions is perhaps not who has filled the store otherwise
            if not self._make_room(principal):
                raise
        return open_session(self._store, fields)

    def _make_room(self, principal: str | None) -> bool:
        """Take some from another caller who has far too many, as if they had expired."""
        now = self._clock()
        if now >= self._next_search:
            self._next_search = now + _SEARCH_INTERVAL
            self._found = self._search()
        found = self._found
        if found is None or not found.is_too_much_for(principal):
            return False
        self._found = None
        self._held_off = found.principal, now + _HOLD_OFF
        for name in found.spare:
            self._store.delete_session(name)
            self._end(name)
        _log.warning("there are too many sessions: %d of a caller who has most were ended", len(found.spare))
        return True

    def _search(self) -> _Hoard | None:
        held: dict[str | None, list[str]] = {}
        for name, fields in self._store.iter_sessions():
            if "revision" in fields:  # the others are tasks and subscriptions
                held.setdefault(fields.get("principal"), []).append(name)
        who = max(held, key=lambda principal: len(held[principal]), default=None)
        names = held.get(who, [])
        if len(names) <= sum(map(len, held.values())) // _PART:
            return None
        return _Hoard(who, names[: -(-len(names) // _PART)], {each: len(found) for each, found in held.items()})
