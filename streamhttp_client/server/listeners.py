"""The streams on which a client listens for what no call asked for, and what is sent there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import jsonrpc
from .sessions import ServerSession, new_token
from .stores.base import Store, StoreFull
from .subscriptions import is_subscription, pass_on

__all__ = ["listen", "tell"]

# Listening streams of one session; a client has no use for many, and each holds a connection and a thread.
_MAX_LISTENERS = 4


def listen(store: Store, session: ServerSession) -> tuple[str, int] | None:
    """Choose the log for a GET without ``Last-Event-ID``: log, and the number after which it is to be read.

    A stream whose client has gone is taken up where it was left, since a client that comes back without an id wants the
    same. If all have readers there is one more: "The client MAY remain connected to multiple SSE streams
    simultaneously" (MCP 2025-11-25, basic/transports).

    Returns:
        None if the session is gone.

    Raises:
        StoreFull: The session has as many as may be.
    """
    assert session.session_id is not None
    for log in reversed(session.listeners):
        position = store.position(session.session_id, log)
        if position is not None:
            return log, _oldest_held(store, session.session_id, log, position)
    gone = [log for log in session.listeners if store.read(session.session_id, log, 0).state == "gone"]
    gone = [log for log in gone if not store.append(session.session_id, log, None)]  # else it is only long
    if len(session.listeners) - len(gone) >= _MAX_LISTENERS:
        raise StoreFull(f"the session has {_MAX_LISTENERS} listening streams already")
    log = "g" + new_token()
    if not store.create_log(session.session_id, log):
        return None
    # One field for each, so that two that come at the same time do not undo each other.
    changes: dict[str, int | None] = {f"listener:{old}": None for old in gone}
    store.update_session(session.session_id, changes | {f"listener:{log}": session.next_listener})
    return log, 0


def _oldest_held(store: Store, session: str, log: str, position: int) -> int:
    """Where to go on: at the position, or, if too much was said meanwhile, before the oldest entry that is held."""
    if store.read(session, log, position).state != "gone":
        return position
    lost, held = position, store.append(session, log, None)
    while held - lost > 1:
        middle = (lost + held) // 2
        if store.read(session, log, middle).state == "gone":
            lost = middle
        else:
            held = middle
    return held


def tell(store: Store, method: str, params: dict[str, Any] | None, wanted: Callable[[ServerSession], bool]) -> int:
    """Send a notification to all sessions that listen and want it; return how many those are.

    "The server MUST send each of its JSON-RPC messages on only one of the connected streams": the newest that
    is connected, since an older one may be dead without anybody knowing it yet.
    """
    data = jsonrpc.dump(jsonrpc.Notification(method, params))
    told = 0
    for session_id, fields in store.iter_sessions("listener:"):
        if is_subscription(fields):
            told += pass_on(store, session_id, fields, method, params)
            continue
        session = ServerSession(session_id, fields)
        if session.listeners and wanted(session):
            told += _say(store, session_id, session.listeners, data)
    return told


def _say(store: Store, session: str, logs: tuple[str, ...], data: bytes) -> bool:
    """Write to the newest log with a reader; if there is none, to the newest, for a client that comes back."""
    if len(logs) > 1:
        for log in reversed(logs):
            # None also says that the log is gone; then it takes nothing.
            if store.position(session, log) is None and store.append(session, log, data):
                return True
    return bool(store.append(session, logs[-1], data))
