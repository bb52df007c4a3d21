"""The streams on which a client listens for what no call asked for, and what is sent there."""

from __future__ import annotations

from collections.abc import Callable

from .. import jsonrpc
from .sessions import ServerSession, new_token
from .stores.base import Store, StoreFull

__all__ = ["listen", "tell"]

# Listening streams of one session; a client has no use for many, and each holds a connection and a thread.
_MAX_LISTENERS = 4


def listen(store: Store, session: ServerSession) -> tuple[str, int] | None:
    """Choose the log for a GET without ``Last-Event-ID``: log, and the number after which it is to be read.

    A stream whose client has gone is taken up where it was left, since a client that comes back without an id
    wants
    the same. If all have readers there is one more: "The client MAY remain connected to multiple SSE streams
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
            return log, position
    kept = tuple(log for log in session.listeners if store.read(session.session_id, log, 0).state != "gone")
    if len(kept) >= _MAX_LISTENERS:
        raise StoreFull(f"the session has {_MAX_LISTENERS} listening streams already")
    log = "g" + new_token()
    if not store.create_log(session.session_id, log):
        return None
    store.update_session(session.session_id, {"listeners": [*kept, log]})
    return log, 0


def tell(store: Store, method: str, params: dict[str, str] | None, wanted: Callable[[ServerSession], bool]) -> int:
    """Send a notification to all sessions that listen and want it; return how many those are.

    "The server MUST send each of its JSON-RPC messages on only one of the connected streams": the newest,
    since an older one may be dead without anybody knowing it yet.
    """
    data = jsonrpc.dump(jsonrpc.Notification(method, params))
    told = 0
    for session_id, fields in store.iter_sessions():
        session = ServerSession(session_id, fields)
        if session.listeners and wanted(session):
            told += bool(store.append(session_id, session.listeners[-1], data))
    return told
