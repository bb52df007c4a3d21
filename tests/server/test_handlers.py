"""What handlers may be, what they are given, and what is sent of what they return."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Literal, Optional, TypedDict

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import Context, Server
from streamhttp_client.server.results import plain
from streamhttp_client.server.schemas import SchemaError, check_value
from tests.server.kit import Direct


@pytest.fixture
def server() -> Server:
    return Server("test", "1")


def direct(server: Server) -> Direct:
    return Direct(server.wsgi()).initialize()


def text(result: Any) -> str:
    return str(result["content"][0]["text"])


async def coroutine() -> str:
    return ""


async def async_generator() -> AsyncIterator[str]:
    yield ""


def generator() -> Iterator[str]:
    yield ""


class Callee:
    __name__ = "callee"

    async def __call__(self) -> str:
        return ""


@pytest.mark.parametrize("function", [coroutine, async_generator, Callee()])
def test_async_handlers_are_refused(server: Server, function: Any) -> None:
    """When they are registered, since nobody would ever await what they give."""
    for register in (
        server.tool("a"),
        server.prompt("a"),
        server.resource("a://b", name="a"),
        server.completion(prompt="a", argument="b"),
    ):
        with pytest.raises(LocalProtocolError, match="async"):
            register(function)


def test_generators_are_for_tools(server: Server) -> None:
    server.tool()(generator)
    for register in (server.prompt(), server.resource("a://b")):
        with pytest.raises(LocalProtocolError, match="generator"):
            register(generator)


def test_no_address_of_an_object_is_sent(server: Server) -> None:
    server.tool("give")(lambda: {"it": object()})
    result = direct(server).tool("give")
    assert result["isError"] and "0x" not in text(result)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"n": "x"}, "'n'"),
        ({}, "'n'"),
        ({"n": True}, "'n'"),
        ({"n": 1, "mode": "medium"}, "'mode'"),
        ({"n": 1, "rows": [{"id": "a"}, {"id": 1}]}, "'rows[1].id'"),
        ({"n": 1, "rows": [{}]}, "'rows[0].id'"),
        ({"n": 1, "other": 1}, "'other'"),
    ],
)
def test_explicit_schema_names_the_bad_argument(server: Server, arguments: Any, named: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "mode": {"enum": ["fast", "slow"]},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/row"}},
        },
        "required": ["n"],
        "additionalProperties": False,
        "$defs": {"row": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}},
    }

    @server.tool(input_schema=schema)
    def take(**given: Any) -> str:
        return repr(given)

    result = direct(server).tool("take", arguments)
    assert result["isError"] and named in text(result)
    assert "isError" not in direct(server).tool("take", {"n": 1.0, "mode": "slow", "rows": [{"id": "a"}]})


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"type": ["string", "integer"]}, True),
        (1.5, {"type": "integer"}, False),
        (None, {"type": "null"}, True),
        (True, {"enum": [1]}, False),
        (2, {"const": 1}, False),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, False),
        ({"a": 1}, {"additionalProperties": False, "patternProperties": {"a": {}}}, True),
        ({"a": 1}, {"properties": {"a": False}}, False),
        ([1], {"prefixItems": [{}], "items": False}, True),
        ("", {"minLength": 1}, False),
        ("ab", {"minLength": 2, "maxLength": 2}, True),
        ("abc", {"maxLength": 2}, False),
        (4, {"minimum": 5}, False),
        (5.5, {"minimum": 5, "maximum": 5.5}, True),
        (6, {"maximum": 5}, False),
        (float("nan"), {"minimum": 5}, False),
        (True, {"minimum": 5}, True),
        ("x", {"minimum": 5, "minItems": 5}, True),
        ("x", {"minLength": "5", "maxLength": None}, True),
        ([1, 2], {"maxItems": 1}, False),
        ([], {"minItems": 1}, False),
        ("b", {"oneOf": [{"const": "a", "title": "A"}]}, False),
        ("a", {"oneOf": [{"const": "a", "title": "A"}]}, True),
        (["b"], {"items": {"anyOf": [{"const": "a"}]}}, False),
        ("b", {"oneOf": [{"const": "a"}, {"type": "string"}]}, True),
        (1, {"$ref": "#"}, True),
        (1, {"$ref": "#/$defs/none"}, True),
        (1, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, True),
        (1, {"type": "of another kind"}, True),
        (1, {"type": 5, "enum": 5, "required": 5}, True),
        (1, True, True),
    ],
)
def test_check_value(value: Any, schema: Any, fits: bool) -> None:
    if fits:
        check_value(value, schema)
    else:
        with pytest.raises(SchemaError):
            check_value(value, schema)


class Color(Enum):
    RED = "red"


@dataclass
class Record:
    color: Color
    took: timedelta
    next: Optional[Record] = None  # noqa: UP045


class Shape(TypedDict):
    x: int


def test_structured_results_fit_their_schema(server: Server) -> None:
    """Enums go by their value and times as durations, as the derived schema says."""
    msgspec = pytest.importorskip("msgspec")
    jsonschema = pytest.importorskip("jsonschema")
    record = Record(Color.RED, timedelta(hours=1), Record(Color.RED, timedelta(microseconds=-1500)))

    @server.tool()
    def give() -> Record:
        return record

    session = direct(server)
    schema = session.answer("tools/list")["tools"][0]["outputSchema"]
    data = session.tool("give")["structuredContent"]
    jsonschema.validate(data, schema)
    assert data == msgspec.to_builtins(record)
    assert plain({Color.RED: timedelta(0)}) == {"red": "PT0S"}


@pytest.mark.parametrize("value", [None, {"z": 1}, {"x": "1"}, "text"])
def test_results_that_break_their_schema_are_not_sent(server: Server, value: Any, caplog: Any) -> None:
    """Clients check them too, and would fail with an error that says nothing to the one who can mend it."""
    pytest.importorskip("msgspec")

    def derived() -> Shape:
        return value  # type: ignore[no-any-return]

    server.tool()(derived)
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    server.tool("given", output_schema=schema)(lambda: value)
    session = direct(server)
    for name in ("derived", "given"):
        result = session.tool(name)
        assert result["isError"] and "structuredContent" not in result
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "value",
    [
        {"content": [{"a": 1}], "title": "t"},
        {"content": ["a"], "title": "t"},
        {"type": "text", "shape": 3},
        {"type": "image", "data": b"", "mimeType": "image/png"},
        {"type": ["text"], "text": "a"},
    ],
)
def test_data_that_looks_like_the_protocol_is_data(server: Server, value: Any) -> None:
    server.tool("give")(lambda: value)
    assert direct(server).tool("give")["structuredContent"] == plain(value)


@pytest.fixture(params=["msgspec", "without"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "msgspec":
        pytest.importorskip("msgspec")
    else:
        monkeypatch.setitem(sys.modules, "msgspec", None)
    return str(request.param)


def test_arguments_of_prompts_and_resources_are_converted(server: Server, kind: str) -> None:
    """They come as strings, and arrive as what the hints say."""

    @server.prompt()
    def ask(n: int, loud: bool = False, name: Optional[str] = None, mode: Literal["a", "b"] = "a") -> str:  # noqa: UP045
        return repr((n, loud, name, mode))

    @server.resource("row://{n}")
    def row(n: int) -> str:
        return repr(n)

    session = direct(server)
    arguments = {"n": "5", "loud": "true", "name": "null", "mode": "b"}
    messages = session.answer("prompts/get", {"name": "ask", "arguments": arguments})["messages"]
    assert messages[0]["content"]["text"] == "(5, True, 'null', 'b')"
    assert session.answer("resources/read", {"uri": "row://7"})["contents"][0]["text"] == "7"
    bad = session.answer("prompts/get", {"name": "ask", "arguments": {"n": "five"}})
    assert bad["code"] == -32602 and "'n'" in bad["message"]
    assert session.answer("resources/read", {"uri": "row://seven"})["code"] == -32002


def test_hints_that_no_string_can_become(server: Server, kind: str) -> None:
    def takes_list(rows: list[str]) -> str:
        return ""

    with pytest.raises(LocalProtocolError, match="'rows'"):
        server.prompt()(takes_list)


def test_whole_numbers(server: Server, kind: str) -> None:
    """JavaScript writes 1.0 and 1 for the same number."""

    @server.tool()
    def take(n: int, rate: float = 0.5, rows: list[int] = []) -> str:  # noqa: B006
        return repr((n, rate, rows))

    session = direct(server)
    assert text(session.tool("take", {"n": 1.0, "rate": 2.0, "rows": [3.0]})) == "(1, 2.0, [3])"
    for bad in ({"n": 1.5}, {"n": 1e300}, {"n": True}):
        assert "'n'" in text(session.tool("take", bad))


def test_optional_context(server: Server, kind: str) -> None:
    def either(ctx: Optional[Context] = None) -> str:  # noqa: UP045
        return "none" if ctx is None else "given"

    def union(ctx: Context | None = None) -> str:
        return either(ctx)

    functions: list[Callable[..., str]] = [either, union]
    for function in functions:
        server.tool()(function)
        assert text(direct(server).tool(function.__name__)) == "given"
