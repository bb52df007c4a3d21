"""Sessions and cursors: thin values that are saved and restored, and keep their secret."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client import LocalProtocolError, Session, StreamCursor
from streamhttp_client.protocol.models.server_info import Implementation, ServerCapabilities

CURSOR = StreamCursor(7, "e-7", "tools/call", "crunch", 500)
SESSION = Session(
    url="https://example.com/mcp?tenant=1",
    session_id="visible-and-secret",
    protocol_version="2025-11-25",
    server_info=Implementation.from_wire({"name": "s", "version": "1", "future": [1]}),
    capabilities=ServerCapabilities.from_wire({"tools": {"listChanged": True}, "x": {"y": 1}}),
    instructions="be kind\nalways",
    cursors=(CURSOR, StreamCursor("text-id", "", "resources/read")),
)


@pytest.mark.parametrize("session", [SESSION, Session("http://h/mcp"), Session("http://h/", cursors=(CURSOR,))])
def test_a_session_comes_back_from_json(session: Session) -> None:
    """Nothing is lost between two processes, unknown members of the server's words included."""
    assert Session.from_json(session.to_json()) == session
    assert Session.from_json(session.to_json().encode()) == session
    assert Session.from_json(session.to_json()).to_json() == session.to_json()


def test_a_session_of_another_release_is_read() -> None:
    """Members that this release does not know are no error, and those that it knows may be missing."""
    assert Session.from_json('{"url": "http://h/", "future": {"a": 1}}') == Session("http://h/")


def test_sessions_and_cursors_pickle_and_are_frozen() -> None:
    """They hold neither lock nor connection."""
    for value in (SESSION, CURSOR):
        assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(AttributeError):
        SESSION.session_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        CURSOR.last_event_id = "other"  # type: ignore[misc]


def test_the_session_id_is_not_shown() -> None:
    """H25-19: what is printed ends in logs, and whoever has the id may act in the session."""
    for shown in (repr(SESSION), str(SESSION), f"{SESSION}", repr([SESSION]), repr({"a": SESSION})):
        assert "visible-and-secret" not in shown
    assert "<hidden>" in repr(SESSION)
    assert "session_id=None" in repr(Session("http://h/"))


@pytest.mark.parametrize("cursor", [CURSOR, StreamCursor(0, ""), StreamCursor("é\u2028", "\tü", "x", None, 0)])
def test_a_cursor_comes_back_from_json(cursor: StreamCursor) -> None:
    """The string form is the whole of it."""
    assert StreamCursor.from_json(cursor.to_json()) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "1", "null", '"text"', "{}", b"\xff\xfe\x00", b"{}",
        '{"url": null}', '{"url": 7}', '{"url": ["http://h/"]}',
        '{"url": "http://h/", "session_id": 7}', '{"url": "http://h/", "protocol_version": {}}',
        '{"url": "http://h/", "instructions": []}', '{"url": "http://h/", "cursors": {}}',
        '{"url": "http://h/", "cursors": "abc"}', '{"url": "http://h/", "cursors": [1]}',
        '{"url": "http://h/", "cursors": [{}]}',
        '{"url": "http://h/", "cursors": [{"request_id": true, "last_event_id": ""}]}',
    ],
)  # fmt: skip
def test_what_is_no_session_is_refused(text: str | bytes) -> None:
    """Anything but a saved session is the caller's error, and says what was expected."""
    with pytest.raises(LocalProtocolError, match="session|cursor"):
        Session.from_json(text)


@pytest.mark.parametrize(
    "change",
    [{"server_info": 1}, {"server_info": {}}, {"capabilities": []}, {"capabilities": {"tools": 1}}],
)
def test_a_session_with_a_broken_description_is_refused(change: dict[str, Any]) -> None:
    """What the server said of itself is checked as well: the saved text is to blame, not a server."""
    with pytest.raises(LocalProtocolError):
        Session.from_json(json.dumps({"url": "http://h/", **change}))


def test_a_text_nested_without_end_is_refused() -> None:
    """No RecursionError comes out of a file."""
    with pytest.raises(LocalProtocolError):
        Session.from_json('{"url":' + "[" * 200_000)
    with pytest.raises(LocalProtocolError):
        StreamCursor.from_json("[" * 200_000)


@pytest.mark.parametrize("value", [None, 7, [], object()])
def test_what_is_no_text_is_refused(value: Any) -> None:
    """The wrong type of argument is named as that, too."""
    with pytest.raises(LocalProtocolError):
        Session.from_json(value)
    with pytest.raises(LocalProtocolError):
        StreamCursor.from_json(value)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"request_id": 1}, {"last_event_id": "a"}, {"request_id": None, "last_event_id": "a"},
        {"request_id": True, "last_event_id": "a"}, {"request_id": 1.5, "last_event_id": "a"},
        {"request_id": [], "last_event_id": "a"}, {"request_id": 1, "last_event_id": 2},
        {"request_id": 1, "last_event_id": None}, {"request_id": 1, "last_event_id": "a", "method": 3},
        {"request_id": 1, "last_event_id": "a", "method": None}, {"request_id": 1, "last_event_id": "a", "name": 3},
        {"request_id": 1, "last_event_id": "a", "retry_ms": "5"},
        {"request_id": 1, "last_event_id": "a", "retry_ms": True},
    ],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(fields: dict[str, Any]) -> None:
    """A cursor with a member missing or of another type would resume the wrong thing."""
    with pytest.raises(LocalProtocolError, match="cursor"):
        StreamCursor.from_json(json.dumps(fields))


def test_a_cursor_ignores_what_it_does_not_know() -> None:
    """A newer release may have stored more."""
    assert StreamCursor.from_json('{"request_id": 1, "last_event_id": "a", "future": 1}') == StreamCursor(1, "a")


texts = st.text()
# What a server can give as a header: nothing that would end the line.
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))
cursors = st.builds(
    StreamCursor, st.integers() | texts, values, texts, st.none() | texts, st.none() | st.integers(0)
)
sessions = st.builds(
    Session,
    texts,
    st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    st.none() | values,
    st.none() | st.builds(lambda name: Implementation.from_wire({"name": name, "version": "1"}), texts),
    st.none(),
    st.none() | texts,
    st.lists(cursors, max_size=3).map(tuple),
    st.sampled_from([None, "stateless", "session", "http+sse"]),
)


@given(sessions)
def test_every_session_comes_back(session: Session) -> None:
    """T-03, whatever is in it: the text holds the session and its calls' cursors, and no page cursor."""
    assert Session.from_json(session.to_json()) == session
    assert set(json.loads(session.to_json())) == {
        "url", "session_id", "protocol_version", "server_info", "capabilities", "instructions", "cursors",
        "era",
    }  # fmt: skip


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(
        ["url", "session_id", "protocol_version", "server_info", "capabilities", "instructions", "cursors"]
    ),
    json_values,
)
def test_any_value_anywhere_is_read_or_refused(name: str, value: Any) -> None:
    """A damaged file is a session or a LocalProtocolError, and nothing else."""
    fields = {**json.loads(SESSION.to_json()), name: value}
    try:
        Session.from_json(json.dumps(fields)).to_json()
    except LocalProtocolError:
        pass


@given(st.binary() | st.text())
def test_any_text_is_read_or_refused(data: bytes | str) -> None:
    """The same for what is no session at all."""
    with pytest.raises(LocalProtocolError):
        Session.from_json(data)
    with pytest.raises(LocalProtocolError):
        StreamCursor.from_json(data)
