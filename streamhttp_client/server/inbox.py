"""What a client tells a call that runs: answers to what it asked, and that it is cancelled.

It comes in other POSTs, perhaps to other processes, so it goes through a log of the store, the call's inbox. Several
threads of a handler may look at the same time, each for what it waits for. So nobody takes anything out: each reads on
from a :class:`Place` of its own.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable

from .. import jsonrpc
from ..exceptions import ClientClosed, RemoteProtocolError
from .stores.base import Store, StoreClosed, StoreError

__all__ = ["Inbox", "Place", "canonical", "inbox_of", "inbox_of_answer"]

_log = logging.getLogger("streamhttp_client.server")


def canonical(request_id: jsonrpc.RequestId) -> str:
    """An id as a text in ASCII, which tells 1 from "1"."""
    return str(request_id) if type(request_id) is int else json.dumps(request_id)


def inbox_of(request_id: jsonrpc.RequestId) -> str:
    """The log that holds what is meant for the call with this id."""
    return "i" + canonical(request_id)


def inbox_of_answer(answer_id: jsonrpc.RequestId) -> str | None:
    """The inbox to which an answer of the client belongs, or None if no call can have asked with this id.

    The id of a server's request is ``number~id`` with the id of the client's call, so any process can tell.
    """
    # Not all that a client can write is a name for a store: a lone surrogate has no UTF-8.
    if not isinstance(answer_id, str) or not answer_id.isascii():
        return None
    number, separator, call = answer_id.partition("~")
    return "i" + call if separator and number.isdigit() else None


class Place:
    """How far somebody has read."""

    __slots__ = ("life", "number")

    def __init__(self, life: int, number: int) -> None:
        self.life = life
        self.number = number


class Inbox:
    """The inbox of one call. Any thread may call it.

    Args:
        pause: Waits some seconds where the store cannot, or until the call ends.
    """

    def __init__(self, store: Store, session: str, name: str, pause: Callable[[float], object]) -> None:
        self._store = store
        self._session = session
        self._name = name
        self._pause = pause
        # Guards the fields below; held while the log is begun.
        self._lock = threading.Lock()
        #: Whether there is one.
        self.begun = False
        # The call has ended: it is not begun any more, by a thread that has outlived its handler.
        self._over = False
        # Which log of this name it is, since an expired one is begun anew; and what of it was read by anybody.
        self._life = 0
        self._known = 0

    def begin(self) -> None:
        """Begin it, unless that was done.

        Raises:
            ClientClosed: The session has ended, or the call.
        """
        with self._lock:
            if not self.begun:
                if self._over:
                    raise ClientClosed("the call has ended")
                if not self._store.create_log(self._session, self._name):
                    raise ClientClosed("the session has ended")
                self.begun = True

    def drop(self) -> None:
        """Drop it for good, if there is one."""
        with self._lock:
            self._over = True
        if self.begun:
            self._store.delete_log(self._session, self._name)

    def place(self) -> Place:
        """Where to begin to read for an answer to what is asked after this."""
        with self._lock:
            return Place(self._life, self._known)

    def read(self, place: Place, wait: float) -> list[jsonrpc.Message] | None:
        """What comes after a place, which moves on; None if the session or the call has ended.

        Nothing comes while the store is away: the handler shall not fail because of a moment. Who waits, comes again.

        Raises:
            ClientClosed: The store was closed, here.
        """
        try:
            page = self._store.read(self._session, self._name, place.number, wait=wait)
            if page.state == "gone":
                return [] if self._renew(place) else None
        except StoreClosed:
            raise ClientClosed("the server has stopped") from None
        except StoreError:
            _log.debug("the store cannot say what the client answered", exc_info=True)
            self._pause(wait)
            return []
        found: list[jsonrpc.Message] = []
        for number, data in page.entries:
            place.number = number
            try:
                found.extend(jsonrpc.parse(data))
            except RemoteProtocolError:  # pragma: no cover - it was parsed before it was put here
                continue
        with self._lock:
            if place.life == self._life:
                self._known = max(self._known, place.number)
        return found

    def _renew(self, place: Place) -> bool:
        """Go on in the inbox of now, begun anew if it has expired, since the handler did not look for long; False if
        the session has ended, or the call.
        """
        with self._lock:
            if self._over:
                return False
            if place.life == self._life:
                if self._store.get_session(self._session) is None:
                    return False
                if not self._store.create_log(self._session, self._name):
                    return False
                self._life += 1
                self._known = 0
            place.life, place.number = self._life, 0
            return True
