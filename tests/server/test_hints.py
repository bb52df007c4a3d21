"""What is said of a handler when it is registered: its name, its hints, and nothing that would take a list from all
clients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Optional

import pytest

from streamhttp_client.exceptions import LocalProtocolError
from streamhttp_client.server import Context, Header, Server
from tests.server.kit import Direct
from tests.server.modern_kit import ModernDirect

pytest.importorskip("msgspec")


@pytest.fixture
def server() -> Server:
    return Server("test", "1")


def listed(server: Server) -> Any:
    (tool,) = Direct(server.wsgi()).initialize().answer("tools/list")["tools"]
    return tool


def properties(server: Server) -> Any:
    return listed(server)["inputSchema"]["properties"]


def text(result: Any) -> str:
    return str(result["content"][0]["text"])


MISSING = object()


def test_defaults_without_a_json_form(server: Server) -> None:
    """They stay out of the schema: a NaN in it would take the whole list of tools from all clients."""

    @server.tool()
    def wait(longest: float = math.inf, least: float = math.nan, what: Any = MISSING, how: Any = print) -> bool:
        return longest == math.inf and least != least and what is MISSING and how is print

    assert [value.get("default") for value in properties(server).values()] == [None] * 4
    assert text(Direct(server.wsgi()).initialize().tool("wait")) == "true"


@pytest.mark.parametrize("schema", [{"minimum": math.nan}, {"title": "\ud800"}, {"default": MISSING}])
def test_what_cannot_be_sent_cannot_be_registered(server: Server, schema: Any) -> None:
    """One bad tool shall not take the list of all from everybody."""
    with pytest.raises(LocalProtocolError, match=r"tool 'bad'.*cannot be sent"):
        server.tool("bad", input_schema={"type": "object", "properties": {"a": schema}})(lambda a: a)
    assert not len(server.tools)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"input_schema": ["a"]}, "mapping"),
        ({"input_schema": {"type": "string"}}, "'type': 'object'"),
        ({"input_schema": {}}, "'type': 'object'"),
        ({"output_schema": "text"}, "mapping"),
        ({"annotations": ["readOnlyHint"]}, "mapping"),
        ({"meta": 5}, "mapping"),
        ({"description": 5}, "description"),
        ({"title": b"x"}, "title"),
        ({"title": "\udc80"}, "surrogate|encode"),
        ({"name": 5}, "tool name"),
        ({"name": ""}, "tool name"),
        ({"task": "always"}, "task must be"),
    ],
)
def test_wrong_options_of_tools(server: Server, options: Any, problem: str) -> None:
    """They are found out when the server is written, and not by its clients."""
    with pytest.raises(LocalProtocolError, match=problem):
        server.tool(**options)(server.notify_resource_updated)


def test_other_things_that_cannot_be_listed(server: Server) -> None:
    with pytest.raises(LocalProtocolError, match="description"):
        server.prompt(description=5)(lambda: "")  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="mimeType"):
        server.resource("a://b", name="b", media_type=5)(lambda: "")  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="instructions"):
        Server("a", "1", "\ud800")


def test_decorators_without_parentheses(server: Server) -> None:
    """They would register nothing, without a word."""
    for decorator in (server.tool, server.resource, server.prompt):
        with pytest.raises(LocalProtocolError, match="parentheses"):
            decorator(lambda: "")  # type: ignore[arg-type]


def test_none_as_a_default(server: Server) -> None:
    """``rows: int = None`` takes the null that its schema shows, and texts around the hint stay, in all versions of
    Python.
    """

    @server.tool()
    def old(
        rows: int = None,  # type: ignore[assignment]
        described: Annotated[int, "how many"] = None,  # type: ignore[assignment]
        inside: Optional[Annotated[int, "how much"]] = None,  # noqa: UP045
        anything: Any = None,
    ) -> str:
        return repr((rows, described, inside, anything))

    found = properties(server)
    assert found["described"]["description"] == "how many" and found["inside"]["description"] == "how much"
    for name in ("rows", "described", "inside"):
        assert {"type": "null"} in found[name]["anyOf"] and found[name]["default"] is None
    arguments = dict.fromkeys(found)
    assert text(Direct(server.wsgi()).initialize().tool("old", arguments)) == "(None, None, None, None)"


@pytest.mark.parametrize("hint", [Annotated[str, Header("Region")], Annotated[Optional[str], Header("Region")]])  # noqa: UP045
def test_a_header_that_may_be_left_out(server: Server, hint: Any) -> None:
    """None is its default and nothing that a caller can say, since a header cannot say it."""

    def order(region: Any = None) -> str:
        return repr(region)

    order.__annotations__["region"] = hint
    server.tool()(order)
    assert properties(server)["region"] == {"type": "string", "x-mcp-header": "Region"}
    session = ModernDirect(server.wsgi())
    assert text(session.call("order")) == "None"
    with session.ask("tools/call", {"name": "order", "arguments": {"region": "eu"}}, MCP_PARAM_REGION="eu") as reply:
        assert text(reply.json()["result"]) == "'eu'"


def test_keys_that_are_numbers(server: Server) -> None:
    """JSON has only strings as keys, in arguments and in results."""

    @dataclass
    class Names:
        by_number: dict[int, str]

    def names(given: dict[int, str]) -> Any:
        return Names({key + 1: value for key, value in given.items()})

    names.__annotations__["return"] = Names
    server.tool()(names)
    session = Direct(server.wsgi()).initialize()
    assert session.tool("names", {"given": {"1": "a"}})["structuredContent"] == {"by_number": {"2": "a"}}
    assert "argument 'given', a key in it: expected `int`" in text(session.tool("names", {"given": {"x": "a"}}))


def test_fields_that_are_none(server: Server) -> None:
    """Of a dataclass only its fields are a result, not what belongs to the class."""

    @dataclass
    class Row:
        scale: InitVar[int]
        x: int = 1
        limit: ClassVar[int] = 7

        def __post_init__(self, scale: int) -> None:
            self.x *= scale

    server.tool("row")(lambda: Row(5))
    assert Direct(server.wsgi()).initialize().tool("row")["structuredContent"] == {"x": 5}


def use(rows: int, ctx: Annotated[Context, "not for callers"]) -> str:
    """Use the context."""
    return type(ctx).__name__


def two(a: Context, b: Context) -> str:
    return ""


def many(*ctx: Context) -> str:
    return ""


def before(ctx: Context, /, rows: int = 1) -> str:
    return ""


def test_the_context_is_known_in_any_form(server: Server) -> None:
    server.tool()(use)
    assert list(properties(server)) == ["rows"]
    assert text(Direct(server.wsgi()).initialize().tool("use", {"rows": 1})) == "Context"
    for function, problem in ((two, "not 'a' and 'b'"), (many, "by name"), (before, "by name")):
        with pytest.raises(LocalProtocolError, match=problem):
            server.tool()(function)


class Desk:
    """Answers."""

    def look(self, rows: int) -> str:
        return str(rows)

    def __call__(self, rows: int) -> str:
        return str(rows)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@functools.lru_cache
def cached(rows: int) -> int:
    return rows


def passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(lambda *args, **named: function(*args, **named))


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (functools.partial(add, b=1), {"a": "1"}),
        (functools.partial(functools.partial(add, 1)), {"b": "1"}),
        (Desk(), {"rows": "1"}),
        (Desk().look, {"rows": "1"}),
        (cached, {"rows": "1"}),
        (passed_on(add), {"a": "1", "b": 2}),
        (passed_on(passed_on(Desk().look)), {"rows": "1"}),
    ],
)
def test_hints_are_found_whatever_is_called(server: Server, function: Any, arguments: Any) -> None:
    """Else its arguments would not be checked at all."""
    server.tool("t")(function)
    assert "expected `int`, got `str`" in text(Direct(server.wsgi()).initialize().tool("t", arguments))


def test_a_partial_says_what_it_does(server: Server) -> None:
    """The docstring is that of the function, not that of ``functools.partial``."""
    server.tool("add_one")(functools.partial(add, b=1))
    assert listed(server)["description"] == "Add two numbers."


def spoken(rows: "how many rows there are") -> str:  # type: ignore[valid-type] # noqa: F722, UP037
    return ""


def nowhere(rows: "Nowhere") -> str:  # type: ignore[name-defined] # noqa: F821, UP037
    return ""


def secret(__rows: int) -> str:
    return ""


def folder(rows: int, where: Path = Path()) -> str:
    return ""


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (functools.partial(add, 1), "no name of its own"),
        (Desk(), "no name of its own"),
        (classmethod(add), "must be a function"),
        (property(add), "must be a function"),
        (5, "must be a function"),
        (Desk.look, r"look\(\) is a method"),
        (spoken, r"spoken\(\): a type hint cannot be read"),
        (nowhere, r"nowhere\(\): 'Nowhere' in a type hint cannot be found"),
        (secret, "'__rows': a name must not begin with two underscores"),
        (folder, "parameter 'where' with the hint <class 'pathlib.*input_schema="),
        (dict.fromkeys, "by name|does not say"),
    ],
)
def test_errors_say_what_to_do(server: Server, function: Any, problem: str) -> None:
    with pytest.raises(LocalProtocolError, match=problem):
        server.tool()(function)


def test_results_that_are_no_objects(server: Server) -> None:
    """X13: before 2026-07-28 structured content is an object, and so is what its schema is of."""
    server.tool("rows", output_schema={"type": "array", "items": {"type": "integer"}})(lambda: [1, 2])
    old, new = Direct(server.wsgi()).initialize(), ModernDirect(server.wsgi())
    assert "outputSchema" not in old.answer("tools/list")["tools"][0]
    assert old.tool("rows") == {"content": [{"type": "text", "text": "[1, 2]"}]}
    assert new.result("tools/list")["tools"][0]["outputSchema"]["type"] == "array"
    assert new.call("rows")["structuredContent"] == [1, 2]


def test_bytes_in_any_form_and_expressions(server: Server) -> None:
    server.tool("view")(lambda: memoryview(b"abc"))
    server.resource("a://view", name="view")(lambda: memoryview(b"abc"))
    server.tool("expression")(lambda: (number for number in range(3)))
    session = Direct(server.wsgi()).initialize()
    assert session.tool("view")["content"][0]["resource"]["blob"] == "YWJj"
    assert session.answer("resources/read", {"uri": "a://view"})["contents"][0]["blob"] == "YWJj"
    assert session.tool("expression")["isError"]  # and not an empty result


# --- what a handler says meanwhile


@pytest.mark.parametrize("token", [None, 7])
@pytest.mark.parametrize(
    ("what", "sent", "fails"),
    [
        (math.nan, None, False),
        (math.inf, None, False),
        (None, None, True),
        ("3", None, True),
        (Decimal("0.5"), 0.5, False),
        (True, 1, False),
    ],
)
def test_progress_that_is_no_number(server: Server, what: Any, sent: Any, fails: bool, token: Any) -> None:
    """A handler fares the same whether anybody asked for its progress or not."""

    @server.tool()
    def report(ctx: Context) -> str:
        ctx.progress(what)
        return "done"

    params: dict[str, Any] = {"name": "report"}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    with Direct(server.wsgi()).initialize().request("tools/call", params) as reply:
        body = reply.body().decode()
    assert ('"isError":true' in body) == fails
    assert ('"progress":' in body) == (sent is not None and token is not None)
    if '"progress":' in body:
        assert f'"progress":{float(sent)}' in body


@pytest.mark.parametrize("data", ["\ud800", object(), [math.nan]])
def test_messages_that_cannot_be_sent(server: Server, data: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They are left out with a line in the log; that a tool says something is no reason for it to fail."""

    @server.tool()
    def say(ctx: Context) -> str:
        ctx.log("error", data)
        ctx.progress(1, 2, "\ud800")
        ctx.progress(2, 2, 5)  # type: ignore[arg-type]
        return "done"

    params = {"name": "say", "_meta": {"progressToken": 1}}
    with Direct(server.wsgi()).initialize().request("tools/call", params) as reply:
        body = reply.body().decode()
    assert '"text":"done"' in body and body.count("notifications/progress") == 1 and '"message":"5"' in body
    assert len([record for record in caplog.records if "left out" in record.message]) == 2


def test_steps_of_nothing(server: Server) -> None:
    """A bare ``yield`` is a step, whether anybody asked for progress or not."""

    @server.tool()
    def step() -> Iterator[None]:
        yield
        yield

    params = {"name": "step", "_meta": {"progressToken": 1}}
    with Direct(server.wsgi()).initialize().request("tools/call", params) as reply:
        body = reply.body().decode()
    assert '"progress":1' in body and '"progress":2' in body and "isError" not in body


@pytest.mark.parametrize("era", [Direct, ModernDirect])
def test_a_context_that_was_kept(server: Server, era: Any) -> None:
    """When its call has ended, nobody can be asked any more, and nobody waits for an answer."""
    kept: list[Context] = []

    @server.tool()
    def keep(ctx: Context) -> str:
        kept.append(ctx)
        return ""

    capabilities = {"elicitation": {}, "sampling": {}, "roots": {}}
    if era is ModernDirect:
        ModernDirect(server.wsgi(), capabilities).call("keep")
    else:
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {}}
        session = Direct(server.wsgi())
        with session.request("initialize", params) as reply:
            session.session = reply.headers["mcp-session-id"]
        session.tool("keep")
    (ctx,) = kept
    for ask in (lambda: ctx.elicit("?"), ctx.roots, lambda: ctx.ask_sampling("?", max_tokens=1)):
        with pytest.raises(LocalProtocolError, match="the call has ended"):
            ask()
    ctx.progress(1)
    ctx.log("error", "late")
    assert not ctx.cancelled


def test_suggestions_that_are_no_texts(server: Server) -> None:
    """They go out as texts, as the protocol wants them; None is none."""
    server.completion(prompt="p", argument="a")(lambda typed, known: [1, Decimal("0.5")])
    server.completion(prompt="p", argument="b")(lambda typed, known: None)
    session = Direct(server.wsgi()).initialize()
    for argument, values in (("a", ["1", "0.5"]), ("b", [])):
        params = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": argument, "value": ""}}
        assert session.answer("completion/complete", params)["completion"]["values"] == values
