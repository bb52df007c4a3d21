"""Signatures become schemas, and arguments are checked against them: with msgspec, without it, and by
hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import Context
from streamhttp_client.server.arguments import ArgumentError, Signature, read_signature
from streamhttp_client.server.outputs import output_schema


def plain(
    name: Annotated[str, "who"],
    rows: int,
    ctx: Context,
    rate: float = 0.5,
    loud: bool = False,
    tags: list[str] = [],  # noqa: B006
    counts: Optional[dict[str, int]] = None,  # noqa: UP045
    mode: Literal["fast", "slow"] = "fast",
    either: int | str = 0,
    rest: Any = None,
) -> str:
    return ""


@pytest.fixture(params=["msgspec", "without"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Signature]:
    if request.param == "msgspec":
        pytest.importorskip("msgspec")
    else:
        monkeypatch.setitem(sys.modules, "msgspec", None)
    return lambda function, **options: read_signature(function, Context, **options)


def test_schema(read: Callable[..., Signature]) -> None:
    """Both ways give the same picture of plain hints; the context is no argument."""
    signature = read(plain)
    schema = signature.input_schema
    assert signature.context == "ctx"
    assert schema["type"] == "object" and schema["additionalProperties"] is False
    assert schema["required"] == ["name", "rows"]
    properties = schema["properties"]
    assert list(properties) == ["name", "rows", "rate", "loud", "tags", "counts", "mode", "either", "rest"]
    assert properties["name"] == {"type": "string", "description": "who"}
    assert properties["rows"] == {"type": "integer"}
    assert properties["rate"] == {"type": "number", "default": 0.5}
    assert properties["loud"] == {"type": "boolean", "default": False}
    assert properties["tags"]["items"] == {"type": "string"}
    assert set(properties["mode"]["enum"]) == {"fast", "slow"}
    assert {"type": "null"} in properties["counts"]["anyOf"]
    assert "title" not in schema


GOOD = {"name": "a", "rows": 1}


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({}, {}),
        ({"rate": 2}, {"rate": 2.0}),
        ({"tags": ["x"], "counts": {"a": 1}}, {"tags": ["x"], "counts": {"a": 1}}),
        ({"counts": None, "either": "x", "rest": [{}]}, {"counts": None, "either": "x", "rest": [{}]}),
    ],
)
def test_good_arguments(read: Callable[..., Signature], extra: Any, found: Any) -> None:
    values = read(plain).convert({**GOOD, **extra})
    assert {**GOOD, **found}.items() <= values.items()
    assert "ctx" not in values


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"rows": 1}, "'name'"),
        ({"name": "a", "rows": "1"}, "'rows'"),
        ({"name": "a", "rows": True}, "'rows'"),
        ({"name": "a", "rows": 1.5}, "'rows'"),
        ({**GOOD, "tags": ["x", 1]}, "tags["),
        ({**GOOD, "counts": {"a": "b"}}, "counts"),
        ({**GOOD, "mode": "medium"}, "'mode'"),
        ({**GOOD, "either": []}, "'either'"),
        ({**GOOD, "more": 1}, "'more'"),
        ({**GOOD, "ctx": {}}, "'ctx'"),
    ],
)
def test_bad_arguments(read: Callable[..., Signature], arguments: Any, named: str) -> None:
    """The error names the argument, and nothing of the function's inside."""
    with pytest.raises(ArgumentError) as caught:
        read(plain).convert(arguments)
    assert named in str(caught.value)


def test_mutable_defaults_are_not_shared(read: Callable[..., Signature]) -> None:
    def collect(into: list[str] = []) -> None:  # noqa: B006
        into.append("x")

    signature = read(collect)
    for _ in range(2):
        values = signature.convert({})
        assert values.get("into", []) == []


def test_explicit_schema_is_sent_as_it_is(read: Callable[..., Signature]) -> None:
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}

    def takes_any(**arguments: Any) -> None: ...

    def takes_one(a: int) -> None: ...

    assert read(takes_any, input_schema=schema).input_schema == schema
    assert read(takes_any, input_schema=schema).convert({"what": 1}) == {"what": 1}
    one = read(takes_one, input_schema=schema)
    assert one.convert({"a": "not checked here"}) == {"a": "not checked here"}
    for bad in ({}, {"a": 1, "b": 2}):
        with pytest.raises(ArgumentError):
            one.convert(bad)


def test_what_cannot_be_called_by_name_is_refused(read: Callable[..., Signature]) -> None:
    def positional(a: int, /) -> None: ...

    def several(*a: int) -> None: ...

    def unknown(a: object) -> None: ...

    for function in (positional, several, unknown):
        with pytest.raises(LocalProtocolError):
            read(function)


def test_context_imported_where_the_function_is_made() -> None:
    """As in a factory of applications, which imports inside."""

    def make() -> Any:
        from streamhttp_client.server.context import Context as Imported  # noqa: F401

        def tool(ctx: Elsewhere.Context) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        tool.__annotations__["ctx"] = "Context"
        tool.__globals__.pop("Context", None)
        return tool

    kept = Context
    try:
        assert read_signature(make(), kept).context == "ctx"
    finally:
        globals()["Context"] = kept


def test_unresolvable_hint() -> None:
    def broken(a: NoSuchName) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(LocalProtocolError, match="NoSuchName"):
        read_signature(broken, Context)


@dataclass
class Point:
    x: int
    y: int


class Size(TypedDict):
    width: int


def test_objects_with_msgspec() -> None:
    """Dataclasses arrive as such, and their schemas are in the tool's own."""
    pytest.importorskip("msgspec")

    def move(to: Point, by: Annotated[list[Point], "steps"]) -> None: ...

    signature = read_signature(move, Context)
    assert signature.input_schema["$defs"]["Point"]["required"] == ["x", "y"]
    assert signature.convert({"to": {"x": 1, "y": 2}, "by": []}) == {"to": Point(1, 2), "by": []}
    with pytest.raises(ArgumentError, match=r"'by\[.*\]\.y'"):
        signature.convert({"to": {"x": 1, "y": 2}, "by": [{"x": 1, "y": "no"}]})


def test_output_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results with fields have one; others have none, as "outputSchema" must be of an object."""
    pytest.importorskip("msgspec")
    for kind in (Point, Size):
        schema = output_schema(kind)
        assert schema is not None and schema["type"] == "object" and schema["required"]
    for other in (int, str, dict, list[int], None, Any):
        assert output_schema(other) is None
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert output_schema(Point) is None
