"""JSON-RPC messages: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client import LocalProtocolError, RemoteProtocolError, jsonrpc
from streamhttp_client.jsonrpc import ErrorResponse, Message, Notification, Request, Response

GOOD: list[tuple[str, Message]] = [
    ('{"jsonrpc":"2.0","id":1,"method":"ping"}', Request(1, "ping")),
    ('{"jsonrpc":"2.0","id":"a","method":"ping","params":{}}', Request("a", "ping", {})),
    ('{"jsonrpc":"2.0","id":"","method":"x","params":null}', Request("", "x", None)),
    ('{"jsonrpc":"2.0","id":-7,"method":"x"}', Request(-7, "x")),
    ('{"jsonrpc":"2.0","method":"n","params":{"a":[1]}}', Notification("n", {"a": [1]})),
    ('{"jsonrpc":"2.0","id":0,"result":null}', Response(0, None)),
    ('{"jsonrpc":"2.0","id":"1","result":{"b":2}}', Response("1", {"b": 2})),
    (
        '{"jsonrpc":"2.0","id":3,"error":{"code":-1,"message":"m","data":[0]}}',
        ErrorResponse(3, -1, "m", [0]),
    ),
    ('{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}', ErrorResponse(None, -1, "m")),
    ('{"jsonrpc":"2.0","error":{"code":-1,"message":"m"}}', ErrorResponse(None, -1, "m")),
    # Several servers are sloppy with the message, which is for humans anyway.
    ('{"jsonrpc":"2.0","id":1,"error":{"code":-32000}}', ErrorResponse(1, -32000, "")),
    ('{"jsonrpc":"2.0","id":1,"error":{"code":5,"message":null}}', ErrorResponse(1, 5, "")),
    # Members from the future are no reason to refuse a message.
    ('{"jsonrpc":"2.0","id":1,"result":{},"more":true}', Response(1, {})),
    (' \n\t{"jsonrpc":"2.0","method":"n"}\r\n ', Notification("n")),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_messages_are_read(text: str, expected: Message) -> None:
    """BASE-01, BASE-05: each kind of message is told by its members, from text and from bytes alike."""
    assert jsonrpc.parse(text) == [expected]
    assert jsonrpc.parse(text.encode()) == [expected]


@pytest.mark.parametrize("message", [message for _, message in GOOD])
def test_messages_are_written_as_they_are_read(message: Message) -> None:
    """BASE-02: what is written is one line of UTF-8 JSON, and reads back as the same message."""
    data = jsonrpc.dump(message)
    assert b"\n" not in data and b"\r" not in data
    assert jsonrpc.parse(data) == [message]


def test_a_notification_has_no_id() -> None:
    """BASE-05: "Notifications MUST NOT include an ID", MCP 2025-11-25, basic/index."""
    assert "id" not in json.loads(jsonrpc.dump(Notification("notifications/initialized")))


@pytest.mark.parametrize(
    "value", [None, True, False, 1.0, 1.5, [], {}, [1]], ids=lambda value: json.dumps(value)
)
@pytest.mark.parametrize("rest", ['"method":"ping"', '"result":{}'])
def test_ids_of_other_types_are_refused(value: Any, rest: str) -> None:
    """BASE-02: an id is a string or an integer; "Unlike base JSON-RPC, the ID MUST NOT be null"."""
    with pytest.raises(RemoteProtocolError, match="'id' must be a string or an integer"):
        jsonrpc.parse(f'{{"jsonrpc":"2.0","id":{json.dumps(value)},{rest}}}')


@pytest.mark.parametrize(
    "value", [True, False, 1.0, [], {}], ids=lambda value: json.dumps(value)
)
def test_an_error_has_no_id_or_a_good_one(value: Any) -> None:
    """BASE-04: only null, or no id at all, says that the id could not be read."""
    with pytest.raises(RemoteProtocolError, match="'id'"):
        jsonrpc.parse(f'{{"jsonrpc":"2.0","id":{json.dumps(value)},"error":{{"code":1,"message":""}}}}')


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nonsense",
        "{",
        '{"jsonrpc":"2.0","method":"n"} {}',
        '{"jsonrpc":"2.0","id":1,"result":NaN}',
        '{"jsonrpc":"2.0","id":1,"result":Infinity}',
        '{"jsonrpc":"2.0","id":1,"result":-Infinity}',
        '\ufeff{"jsonrpc":"2.0","method":"n"}',
        "{'jsonrpc':'2.0'}",
    ],
)
def test_what_is_not_json(text: str) -> None:
    """Text that is no JSON is the peer's error; NaN and Infinity are Python's JSON, and nobody else's."""
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        jsonrpc.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "1",
        '"text"',
        "true",
        "[]",
        "{}",
        "[1]",
        "[[]]",
        '{"id":1,"result":{}}',
        '{"jsonrpc":"1.0","id":1,"result":{}}',
        '{"jsonrpc":2.0,"id":1,"result":{}}',
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}',
        '{"jsonrpc":"2.0","id":1,"error":null}',
        '{"jsonrpc":"2.0","id":1,"error":"text"}',
        '{"jsonrpc":"2.0","id":1,"error":{}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":"-32000","message":""}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":""}}',
        '{"jsonrpc":"2.0","id":1,"method":null}',
        '{"jsonrpc":"2.0","id":1,"method":7}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}',
        '{"jsonrpc":"2.0","method":"m","params":"text"}',
        '[{"jsonrpc":"2.0","method":"m"}, 1]',
    ],
)
def test_what_is_not_json_rpc(text: str) -> None:
    """BASE-01: JSON that is no JSON-RPC 2.0 message is the peer's error, and says what came."""
    with pytest.raises(RemoteProtocolError, match="expected|must be") as caught:
        jsonrpc.parse(text)
    assert len(str(caught.value)) < 200


def test_bytes_are_utf_8() -> None:
    """BASE-01: bytes are UTF-8; others are refused with the place, and without the document."""
    assert jsonrpc.parse('{"jsonrpc":"2.0","method":"grün\u2028\u0085"}'.encode()) == [
        Notification("grün\u2028\u0085")
    ]
    with pytest.raises(RemoteProtocolError, match="invalid UTF-8 at byte 3") as caught:
        jsonrpc.parse(b'{"s\xffecret":1}')
    assert "ecret" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """BASE-01: "JSON-RPC messages MUST be UTF-8 encoded"; json.loads would guess the others."""
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        jsonrpc.parse('{"jsonrpc":"2.0","method":"é"}'.encode(encoding))


def test_deep_nesting_is_refused() -> None:
    """A document nested without end is the peer's error, and no RecursionError."""
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        jsonrpc.parse('{"jsonrpc":"2.0","id":1,"result":' + "[" * 200_000)
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        jsonrpc.parse('{"jsonrpc":"2.0","id":1,"result":' + '{"a":' * 200_000)


def test_a_huge_integer_is_read_or_refused() -> None:
    """Python refuses to read integers of more than 4300 digits: that is the peer's error too."""
    assert jsonrpc.parse('{"jsonrpc":"2.0","id":1,"result":' + "9" * 1000 + "}") == [
        Response(1, int("9" * 1000))
    ]
    with pytest.raises(RemoteProtocolError, match="not JSON"):
        jsonrpc.parse('{"jsonrpc":"2.0","id":1,"result":' + "9" * 100_000 + "}")


def test_a_huge_id_is_an_id() -> None:
    """BASE-04: ids have no upper bound; they are compared as they came."""
    huge = 10**40
    assert jsonrpc.parse(jsonrpc.dump(Response(huge, {}))) == [Response(huge, {})]


def test_lone_surrogates() -> None:
    """An escaped lone surrogate of the peer is read; one of ours cannot be sent, and is refused before."""
    (message,) = jsonrpc.parse('{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}')
    assert message == Response(1, {"a": "\ud800"})
    with pytest.raises(LocalProtocolError, match="lone surrogate"):
        jsonrpc.dump(Request(1, "m", {"a": "\ud800"}))


@pytest.mark.parametrize("text", ["\ud800", "a\udfff\ud800b", "\udc00é\ud83d"])
def test_what_is_echoed_is_echoed_exactly(text: str) -> None:
    """BASE-01: a lone surrogate that the peer has sent escaped goes back escaped, in a message that is ASCII."""
    request = Request(1, "m", {"state": text, "é": ["é"]})
    data = jsonrpc.dump(request, echoed=("state", "other"))
    assert data.isascii()
    assert json.loads(data)["params"] == request.params
    usual = Request(1, "m", {"state": "é"})
    assert jsonrpc.dump(usual, echoed=("state",)) == jsonrpc.dump(usual)


@pytest.mark.parametrize(
    "message",
    [
        Request(1, "m", {"state": "\ud800", "a": "\ud800"}),
        Request(1, "m", {"state": "a", "a": "\ud800"}),
        Request(1, "m\ud800", {"state": "\ud800"}),
        Request(1, "m\ud800"),
    ],
    ids=repr,
)
def test_what_is_not_echoed_must_be_text(message: Request) -> None:
    """What is ours must be Unicode all the same."""
    with pytest.raises(LocalProtocolError, match="lone surrogate"):
        jsonrpc.dump(message, echoed=("state",))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), {1, 2}, b"bytes", object(), 1j],
    ids=["nan", "inf", "-inf", "set", "bytes", "object", "complex"],
)
def test_what_has_no_json_form_is_refused(value: Any) -> None:
    """What cannot be written is the caller's error, before anything is sent."""
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        jsonrpc.dump(Request(1, "m", {"a": value}))


def test_a_circle_is_refused() -> None:
    """A value that holds itself, or is nested without end, has no JSON form either."""
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        jsonrpc.dump(Request(1, "m", circle))
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(LocalProtocolError, match="cannot be written as JSON"):
        jsonrpc.dump(Request(1, "m", {"deep": deep}))
    while deep:  # taken apart by hand: freeing it all at once would recurse as deep
        deep = deep.pop()


def test_batches() -> None:
    """O-02: an array holds the messages of a batch, in order; 2025-03-26 allowed it."""
    batch: list[Message] = [Request(1, "a"), Notification("b"), Response(2, {}), ErrorResponse(3, 4, "c")]
    data = jsonrpc.dump_batch(batch)
    assert json.loads(data) == [json.loads(jsonrpc.dump(message)) for message in batch]
    assert jsonrpc.parse(data) == batch


def test_messages_compare_by_kind_and_content() -> None:
    """Equal content in another kind of message is another message; none can be a key."""
    assert Request(1, "a") == Request(1, "a")
    assert Request(1, "a") != Notification("a")
    assert Response(1, {}) != Response(2, {})
    assert Response(1, {}) != 1
    with pytest.raises(TypeError):
        hash(Request(1, "a"))
    assert repr(Notification("a", {"b": 1})) == "Notification(method='a', params={'b': 1})"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inside: st.lists(inside, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inside, max_size=3),
    max_leaves=10,
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
ids = st.integers() | texts
params = st.none() | st.dictionaries(texts, json_values, max_size=3)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Request, ids, texts, params),
    st.builds(Notification, texts, params),
    st.builds(Response, ids, json_values),
    st.builds(ErrorResponse, st.none() | ids, st.integers(), texts, json_values),
)


@given(messages)
def test_every_message_comes_back(message: Message) -> None:
    """Whatever is written is read as the same message, from one line of bytes."""
    data = jsonrpc.dump(message)
    assert jsonrpc.parse(data) == jsonrpc.parse(data.decode()) == [message]
    assert not {10, 13} & set(data)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_reading_anything_gives_messages_or_a_protocol_error(data: bytes) -> None:
    """No bytes make anything but messages or the documented error."""
    try:
        read = jsonrpc.parse(data)
    except RemoteProtocolError:
        return
    assert read and all(isinstance(message, Message) for message in read)


@given(
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"]),
        st.just("2.0") | json_values | st.fixed_dictionaries({"code": json_values, "message": json_values}),
    )
)
def test_reading_any_members_gives_a_message_or_a_protocol_error(wire: dict[str, Any]) -> None:
    """The same for objects that have the members of a message with any values."""
    wire["jsonrpc"] = "2.0"
    try:
        (message,) = jsonrpc.parse(json.dumps(wire))
    except RemoteProtocolError:
        return
    assert isinstance(message, Message)
