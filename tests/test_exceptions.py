"""The error tree: drawn as it is, and nothing of it lost on the way to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

import streamhttp_client
from streamhttp_client import exceptions
from streamhttp_client._headers import Headers
from streamhttp_client.exceptions import StreamHTTPError
from streamhttp_client.protocol.models.tools import ToolResult
from streamhttp_client.protocol.session import StreamCursor

CLASSES = [getattr(exceptions, name) for name in exceptions.__all__]

HTTP_FACTS = {"status": 403, "headers": Headers({"retry-after": "1"}), "body": b"no", "url": "http://h/mcp"}
NETWORK_FACTS = {"may_have_executed": False, "resumable": True, "cursor": StreamCursor(7, "e-1"), "attempts": 3}
TRANSFER_FACTS = {"bytes_kept": 12, "resumable": True, "attempts": 2}
ASKING = {
    "resultType": "input_required",
    "inputRequests": {"login": {"method": "elicitation/create", "params": {"message": "m"}}},
    "requestState": "s \u00e9",
}
RPC_FACTS = {"code": -32602, "data": {"a": [1]}, "status": 400, "headers": Headers({"a": "b"}), "body": b"{}"}


def facts_for(kind: type[StreamHTTPError]) -> dict[str, Any]:
    """What a class takes by keyword, all of it other than the defaults."""
    if issubclass(kind, exceptions.TransferRefused):
        return {**HTTP_FACTS, **TRANSFER_FACTS}
    if issubclass(kind, exceptions.HTTPStatusError):
        return HTTP_FACTS
    if issubclass(kind, exceptions.TransportError):
        return NETWORK_FACTS
    if issubclass(kind, exceptions.TransferError):
        return TRANSFER_FACTS
    if issubclass(kind, exceptions.RPCError):
        return RPC_FACTS
    own: dict[type[StreamHTTPError], dict[str, Any]] = {
        exceptions.MessageTooLarge: {"limit": 8},
        exceptions.ContentTypeError: {
            "content_type": "text/html", "status": 200, "headers": Headers({"a": "b"}), "body": b"<html>",
        },
        exceptions.InvalidResult: {"result": {"a": 1}},
        exceptions.UnsupportedVersion: {
            "requested": "2025-11-25", "supported": ("2030-01-01",), "code": -32022, "data": {"a": 1}, "status": 400,
            "headers": Headers({"a": "b"}), "body": b"{}",
        },
        exceptions.InputRequired: {"method": "tools/call", "params": {"name": "t"}, "result": ASKING},
        exceptions.ToolError: {"result": ToolResult(content=())},
    }  # fmt: skip
    return own.get(kind, {})


def example(kind: type[StreamHTTPError]) -> StreamHTTPError:
    if kind is exceptions.MissingExtra:
        return exceptions.MissingExtra("checking results", "schema")
    return kind("what happened", **facts_for(kind))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_can_be_raised_with_facts(kind: type[StreamHTTPError]) -> None:
    """BASE-10: each error keeps its facts as attributes, and its text first; none is an error of the peer by chance."""
    error = example(kind)
    for name, value in facts_for(kind).items():
        assert getattr(error, name) == value
    assert str(error)
    assert isinstance(error, StreamHTTPError)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_pickles(kind: type[StreamHTTPError], protocol: int) -> None:
    """What comes out of a pickle is the same class with the same text and all attributes, set later or not."""
    error = example(kind)
    error.note = "set later"  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.args == error.args
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_copies(kind: type[StreamHTTPError]) -> None:
    """concurrent.futures and celery copy errors too."""
    for again in (copy.copy(example(kind)), copy.deepcopy(example(kind))):
        assert type(again) is kind
        assert str(again) == str(example(kind))
        assert again.__dict__.keys() == example(kind).__dict__.keys()


def test_a_cause_does_not_keep_an_error_from_pickling() -> None:
    """The cause is of this process and stays here; the rest goes."""
    error = exceptions.ConnectionLost("lost", attempts=4)
    error.__cause__ = OSError(lambda: None)  # cannot be pickled
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.attempts) == ("lost", 4)


def drawn() -> dict[str, tuple[list[str], str | None]]:
    """Of each class in the drawing: the builtin named beside it, and the class above it."""
    drawing = (exceptions.__doc__ or "").partition("::\n")[2].partition("\n\nEach error")[0]
    found: dict[str, tuple[list[str], str | None]] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        if not line.strip():
            continue
        branch = re.match(r"^ {4}(?:([│ ]   )*)(?:[├└]── )?", line)
        assert branch is not None
        depth = 0 if "──" not in branch.group() else (len(branch.group()) - 4) // 4
        rest = line[branch.end() :]
        # Several classes may stand on one line, when there is nothing to say of each.
        names = re.match(r"\w+(?:, \w+)*", rest)
        assert names is not None, line
        builtin = re.match(r" \((\w+)\)", rest[names.end() :])
        for name in names.group().split(", "):
            found[name] = ([builtin.group(1)] if builtin else [], above[depth - 1] if depth else None)
            above[depth:] = [name]
    return found


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """L25-08: all classes are drawn, below the class they derive from, with the builtin that they are as well."""
    tree = drawn()
    assert sorted(tree) == sorted(exceptions.__all__)
    for name, (also, above) in tree.items():
        kind = getattr(exceptions, name)
        if above is None:
            assert kind is StreamHTTPError
            continue
        bases = [base.__name__ for base in kind.__bases__]
        assert bases[0] == above, f"{name} is drawn below {above} and derives from {bases}"
        assert bases[1:] == also, f"{name} is drawn with {also} and derives from {bases}"


def test_all_is_all() -> None:
    """``__all__`` has every class of the module and nothing else."""
    defined = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, StreamHTTPError)
    }
    assert set(exceptions.__all__) == defined


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (exceptions.LocalProtocolError, ValueError),
        (exceptions.CapabilityError, ValueError),
        (exceptions.MissingExtra, ImportError),
        (exceptions.ReadTimeout, TimeoutError),
        (exceptions.CallTimeout, TimeoutError),
        (exceptions.TransferTimeout, TimeoutError),
        (exceptions.TargetExists, FileExistsError),
    ],
)
def test_errors_are_builtins_as_well(kind: type[StreamHTTPError], builtin: type[Exception]) -> None:
    """L25-08: code that knows only builtins catches what it would expect, also after pickling."""
    with pytest.raises(builtin, match="what happened|checking results"):
        raise pickle.loads(pickle.dumps(example(kind)))


def test_missing_extra_names_the_command() -> None:
    """The error for an optional package says what to install."""
    error = exceptions.MissingExtra("checking results", "schema")
    assert str(error) == "checking results needs an optional package: pip install 'streamhttp-client[schema]'"
    assert error.extra == "schema"


def test_rpc_errors_hold_the_peers_words() -> None:
    """BASE-10: the peer's message is kept as it came, beside the text that names the code."""
    error = exceptions.InvalidParams("bad", code=-32602, data=[1])
    assert (error.message, error.code, error.data, str(error)) == ("bad", -32602, [1], "bad (code -32602)")
    assert (error.status, error.headers, error.body) == (None, {}, b"")


@pytest.mark.parametrize(
    ("data", "required"),
    [
        ({"requiredCapabilities": {"elicitation": {}}}, {"elicitation": {}}),
        ({"requiredCapabilities": []}, {}),
        ({"requiredCapabilities": None}, {}),
        ({}, {}),
        (None, {}),
        ("elicitation", {}),
    ],
)
def test_missing_capabilities_are_named(data: Any, required: dict[str, Any]) -> None:
    """V26-13: what the server needs is there to be read, and nonsense is nothing."""
    error = exceptions.MissingCapability("no", code=-32021, data=data)
    assert error.required_capabilities == required
    assert pickle.loads(pickle.dumps(error)).required_capabilities == required


def test_questions_are_carried_on() -> None:
    """M26-08: the error for questions that nobody answers carries all that it takes to go on in another process."""
    error = exceptions.InputRequired(
        "the server asks", method="tools/call", params={"name": "t", "arguments": {"a": [1]}}, result=ASKING
    )
    for again in (exceptions.InputRequired.from_json(error.to_json()), pickle.loads(pickle.dumps(error))):
        assert str(again) == "the server asks"
        assert again.__dict__ == error.__dict__
        assert again.requests == {"login": {"method": "elicitation/create", "params": {"message": "m"}}}
        assert (again.state, again.params) == ("s \u00e9", {"name": "t", "arguments": {"a": [1]}})
    assert "s \u00e9" not in str(error) and "s \u00e9" not in repr(error)
    bare = exceptions.InputRequired("x", method="resources/read", params=None, result={"requestState": 7})
    assert (bare.requests, bare.state, bare.params) == ({}, None, None)
    assert exceptions.InputRequired.from_json(bare.to_json().encode()).__dict__ == bare.__dict__


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "null", b"\xff", "[" * 100_000,
        '{"message": "m", "method": 1, "params": null, "result": {}}',
        '{"message": "m", "method": "m", "params": [], "result": {}}',
        '{"message": "m", "method": "m", "params": null, "result": []}',
        '{"message": "m", "method": "m", "result": {}}',
        '{"method": "m", "params": null, "result": {}}',
    ],
)  # fmt: skip
def test_what_is_no_saved_question(text: str | bytes) -> None:
    """M26-08: a text that is something else is the caller's mistake."""
    with pytest.raises(exceptions.LocalProtocolError, match="not the JSON text of an InputRequired error"):
        exceptions.InputRequired.from_json(text)


def test_public_errors_are_the_same_objects() -> None:
    """What is exported at the top is what is raised."""
    for name in set(exceptions.__all__) & set(streamhttp_client.__all__):
        assert getattr(streamhttp_client, name) is getattr(exceptions, name)
