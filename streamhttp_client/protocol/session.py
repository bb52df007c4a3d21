"""The thin state that a client carries from call to call, and from process to process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._record import Record
from ..exceptions import InvalidResult, LocalProtocolError
from .models.server_info import Implementation, ServerCapabilities

__all__ = ["Session", "StreamCursor", "StreamCursorLike", "is_session_id"]


class StreamCursor(Record):
    """Where an unfinished call stands: enough to collect its result later, even from another process.

    Attributes:
        request_id: The call's JSON-RPC id.
        last_event_id: The last event seen **on this call's stream**. Ids are cursors of one stream each
            (MCP 2025-11-25, Resumability and Redelivery); never use one for another call.
        method: What was called, such as ``"tools/call"``; it says how the result is to be read.
        name: The tool, where it was a tool.
        retry_ms: The reconnection time that the server asked for, or None.
    """

    request_id: str | int
    last_event_id: str
    method: str = "tools/call"
    name: str | None = None
    retry_ms: int | None = None

    def to_json(self) -> str:
        """Return the cursor as JSON text, for :meth:`Client.resume_call`. No credentials are in it."""
        return json.dumps(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}

    @classmethod
    def from_json(cls, text: str | bytes) -> StreamCursor:
        """Read what :meth:`to_json` wrote.

        Raises:
            LocalProtocolError: It is something else.
        """
        return cls._from_dict(_load(text, "a stream cursor"))

    @classmethod
    def _from_dict(cls, fields: Any) -> StreamCursor:
        if not isinstance(fields, Mapping):
            raise LocalProtocolError(f"a stream cursor must be an object, got {type(fields).__name__}")
        kinds: dict[str, tuple[type, ...]] = {
            "request_id": (str, int),
            "last_event_id": (str,),
            "method": (str,),
            "name": (str, type(None)),
            "retry_ms": (int, type(None)),
        }
        known = {name: fields[name] for name in kinds if name in fields}
        for name in ("request_id", "last_event_id"):
            if name not in known:
                raise LocalProtocolError(f"a stream cursor must have {name!r}")
        for name, value in known.items():
            if not isinstance(value, kinds[name]) or isinstance(value, bool):
                raise LocalProtocolError(f"{name!r} of a stream cursor has an unexpected value: {value!r:.40}")
        _sendable("last_event_id", known["last_event_id"])
        return cls(**known)


StreamCursorLike = StreamCursor | str


class Session(Record):
    """Which server, which session, and what was agreed with it. No I/O, no credentials, no lock: it pickles.

    The session id is a secret of its own: whoever has it may act in the session. Keep saved sessions as you keep
    cookies (MCP 2025-11-25, Session Management).

    Attributes:
        url: The endpoint, without user name and password.
        session_id: What the server gave as ``MCP-Session-Id``, or None if it keeps no session.
        protocol_version: The revision that was agreed.
        server_info, capabilities, instructions: What the server said of itself in the handshake.
        cursors: Calls that had not ended when this was taken.
        era: By which rules one talks: ``"stateless"``, ``"session"`` or ``"http+sse"``; None if it is not known. The
            last one cannot be taken up again: it ends with its stream, and another one begins in its place.
    """

    url: str
    session_id: str | None = None
    protocol_version: str | None = None
    server_info: Implementation | None = None
    capabilities: ServerCapabilities | None = None
    instructions: str | None = None
    cursors: tuple[StreamCursor, ...] = ()
    era: str | None = None

    def to_json(self) -> str:
        """Return the session as JSON text, for :meth:`Client.resume` in this or another process."""
        return json.dumps(
            {
                "url": self.url,
                "session_id": self.session_id,
                "protocol_version": self.protocol_version,
                "server_info": None if self.server_info is None else self.server_info.to_wire(),
                "capabilities": None if self.capabilities is None else self.capabilities.to_wire(),
                "instructions": self.instructions,
                "cursors": [cursor._to_dict() for cursor in self.cursors],
                "era": self.era,
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Session:
        """Read what :meth:`to_json` wrote, here or with another release.

        Raises:
            LocalProtocolError: It is something else.
        """
        fields = _load(text, "a session")
        texts = {name: fields.get(name) for name in ("url", "session_id", "protocol_version", "instructions", "era")}
        for name, value in texts.items():
            if not isinstance(value, str) and (name == "url" or value is not None):
                raise LocalProtocolError(f"{name!r} of a saved session must be a string, got {value!r:.40}")
        info, capabilities, cursors = (fields.get(name) for name in ("server_info", "capabilities", "cursors"))
        if texts["era"] not in (None, "stateless", "session", "http+sse"):
            raise LocalProtocolError(f"the saved 'era' is none that is known here: {texts['era']!r:.40}")
        if texts["session_id"] is not None and not is_session_id(texts["session_id"]):
            raise LocalProtocolError("the saved 'session_id' is none that a server could have given")
        if cursors is None:
            cursors = []
        if not isinstance(cursors, list):
            raise LocalProtocolError("'cursors' of a saved session must be an array")
        try:
            server_info = None if info is None else Implementation.from_wire(info)
            declared = None if capabilities is None else ServerCapabilities.from_wire(capabilities)
        except InvalidResult as error:  # which would blame the server
            raise LocalProtocolError(f"the saved session is damaged: {error}") from None
        return cls(
            url=fields["url"],
            session_id=texts["session_id"],
            protocol_version=texts["protocol_version"],
            server_info=server_info,
            capabilities=declared,
            instructions=texts["instructions"],
            cursors=tuple(StreamCursor._from_dict(cursor) for cursor in cursors),
            era=texts["era"],
        )

    def __repr__(self) -> str:
        """Everything but the session id and the query, since what is printed ends in logs."""
        shown = "None" if self.session_id is None else "<hidden>"
        url = self.url.partition("?")[0]
        return (
            f"Session(url={url!r}, session_id={shown}, protocol_version={self.protocol_version!r}, "
            f"server_info={self.server_info!r}, cursors={len(self.cursors)})"
        )


def is_session_id(value: str) -> bool:
    """Whether a server may give this as a session id.

    "The session ID MUST only contain visible ASCII characters (ranging from 0x21 to 0x7E)." MCP 2025-11-25,
    basic/transports, Session Management. At most 8 KiB: servers put up to a signed token into it.
    """
    return 0 < len(value) <= _MAX_HEADER_VALUE and _VISIBLE_ASCII.issuperset(value)


_VISIBLE_ASCII = frozenset(map(chr, range(0x21, 0x7F)))
# What servers give is far shorter; a header beyond 8 KiB is refused by most of them anyway.
_MAX_HEADER_VALUE = 8192


def _sendable(name: str, value: str) -> None:
    """Refuse a saved value that would not go out as the one header that it is for."""
    if len(value) > _MAX_HEADER_VALUE or any(char in "\r\n\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise LocalProtocolError(f"the saved {name!r} is no value that a server gave: it cannot be sent as a header")


def _load(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        # The text is not repeated: a save that was cut short holds the session id.
        kind = type(error).__name__
        raise LocalProtocolError(f"expected the JSON text of {what}, got something else ({kind})") from None
    if not isinstance(fields, dict):
        raise LocalProtocolError(f"expected the JSON object of {what}, got {type(fields).__name__}")
    return fields
