"""Structured results against the tool's output schema, with and without jsonschema."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from streamhttp_client import Client, InvalidResult
from streamhttp_client.client import validation
from streamhttp_client.client.validation import OutputChecker
from streamhttp_client.protocol.models.tools import Tool, ToolResult
from tests.client._peer import open_client
from tests.support.rawserver import Peer, RawMCPServer, RawServer, Request

jsonschema = pytest.importorskip("jsonschema", reason="results are checked with the extra [schema]")

POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


def serve(server: RawMCPServer, schema: Any, structured: Any = ..., **result: Any) -> None:
    """A tool ``t`` with an output schema, and a result for it."""
    tool = {"name": "t", "inputSchema": {"type": "object"}}
    server.on("tools/list", {"tools": [tool if schema is None else {**tool, "outputSchema": schema}]})
    content = {"content": [{"type": "text", "text": "{}"}], **result}
    server.on("tools/call", content if structured is ... else {**content, "structuredContent": structured})


def call(server: RawMCPServer, **options: Any) -> Any:
    with open_client(server, **options) as client:
        client.list_tools()
        return client.call_tool("t")


@pytest.mark.parametrize("value", [{"x": 1}, {"x": 1.5, "more": [None]}])
def test_a_result_that_fits(server: RawMCPServer, value: Any) -> None:
    """T-05: what fits is handed out as it came."""
    serve(server, POINT, value)
    assert call(server).structured_content == value


@pytest.mark.parametrize("value", [{}, {"x": "1"}, {"x": None}])
def test_a_result_that_does_not_fit(server: RawMCPServer, value: Any) -> None:
    """T-05: what does not is an error that names the tool and the place, and carries the result."""
    serve(server, POINT, value)
    with pytest.raises(InvalidResult, match="tool 't' does not fit its output schema at") as caught:
        call(server)
    assert caught.value.result.structured_content == value


def test_a_result_without_its_structure(server: RawMCPServer) -> None:
    """T-05: "Servers MUST provide structured results that conform": none at all does not."""
    serve(server, POINT)
    with pytest.raises(InvalidResult, match="no structured content"):
        call(server)


def test_a_failure_needs_no_structure(server: RawMCPServer) -> None:
    """T-05, T-08: a tool's own failure is told as that."""
    serve(server, POINT, isError=True)
    with open_client(server) as client:
        client.list_tools()
        assert client.call_tool("t", raise_on_error=False).is_error


def test_a_tool_without_a_schema(server: RawMCPServer) -> None:
    """T-05: there is nothing to check against."""
    serve(server, None, {"anything": 1})
    assert call(server).data == {"anything": 1}


def test_the_tools_are_listed_for_it_once(server: RawMCPServer) -> None:
    """T-05: a schema that was never seen cannot be checked, so the tools are listed, and only once."""
    serve(server, POINT, {"x": "wrong"})
    with open_client(server) as client:
        for _ in range(2):
            with pytest.raises(InvalidResult):
                client.call_tool("t")
    assert len(server.seen("tools/list")) == 1


def test_checking_may_be_turned_off(server: RawMCPServer) -> None:
    """``check_results=False``: nothing is checked, and nothing listed for it."""
    serve(server, POINT, {"x": "wrong"})
    with open_client(server, check_results=False) as client:
        assert client.call_tool("t").data == {"x": "wrong"}
    assert server.seen("tools/list") == []


def test_the_newest_schema_counts(server: RawMCPServer) -> None:
    """T-05: after the tools were listed again, what was known of them is replaced."""
    serve(server, POINT, {"x": "text"})
    with open_client(server) as client:
        client.list_tools()
        with pytest.raises(InvalidResult):
            client.call_tool("t")
        serve(server, {"type": "object", "properties": {"x": {"type": "string"}}}, {"x": "text"})
        client.list_tools()
        assert client.call_tool("t").data == {"x": "text"}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"p": {"prefixItems": [{"type": "integer"}], "items": False}}}, {"p": [1]}, {"p": [1, 2]}),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "dependentRequired": {"a": ["b"]}}, {}, {"a": 1}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"p": {"items": [{"type": "integer"}]}}},
         {"p": [1, "x"]}, {"p": ["x"]}),
        ({"$schema": "https://json-schema.org/draft/2019-09/schema", "dependentRequired": {"a": ["b"]}}, {}, {"a": 1}),
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"x": {"$ref": "#/$defs/n"}}}, {"x": 1}, {"x": "1"}),
        ({"properties": {"x": {"$dynamicRef": "#n"}}, "$defs": {"n": {"$dynamicAnchor": "n", "type": "integer"}}},
         {"x": 1}, {"x": "1"}),
        ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": {}}}]}, {"a": 1}, {"b": 1}),
    ],
    ids=["default-2020", "2020", "draft-7", "2019", "ref", "dynamic-ref", "unevaluated"],
)  # fmt: skip
def test_dialects(server: RawMCPServer, schema: Any, good: Any, bad: Any) -> None:
    """BASE-13, T-05: 2020-12 where nothing is said, and the dialect that is named where one is."""
    serve(server, schema, good)
    assert call(server).structured_content == good
    serve(server, schema, bad)
    with pytest.raises(InvalidResult, match="does not fit"):
        call(server)


def test_the_dialects_are_documented() -> None:
    """BASE-14: which dialects are known stands in the documentation."""
    text = OutputChecker.__doc__ or ""
    assert all(name in text for name in ("2020-12", "2019-09", "draft 7"))


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "https://example.com/dialect", "type": "object"}, {"$schema": "", "type": "object"},
        {"$schema": 5}, {"$schema": ["https://json-schema.org/draft/2020-12/schema"]},
        {"type": "objekt"}, {"type": 7}, {"properties": []}, {"minimum": "1"}, {"pattern": "("},
    ],
)  # fmt: skip
def test_schemas_that_cannot_be_used(server: RawMCPServer, schema: Any) -> None:
    """BASE-13: "report an unsupported dialect as an error", and a broken schema too: neither is a pass.

    The tool has run all the same, and the error has its result.
    """
    serve(server, {**schema, "properties": schema.get("properties", {"s": {"pattern": schema.get("pattern", "")}})},
          {"x": 1, "s": "text"})  # fmt: skip
    with pytest.raises(InvalidResult, match="output schema") as caught:
        call(server)
    assert caught.value.result.structured_content == {"x": 1, "s": "text"}


@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_references_are_never_fetched(server: RawMCPServer, keyword: str) -> None:
    """BASE-15, BASE-16: a reference to another document is refused, and nobody is asked for it."""

    def schema_server(peer: Peer) -> None:
        peer.read_request()
        peer.respond_json({})

    with RawServer(schema_server) as other:
        serve(server, {"properties": {"x": {keyword: f"{other.origin}/schema.json"}}}, {"x": 1})
        with pytest.raises(InvalidResult, match="cannot be used"):
            call(server)
        assert other.accepted == 0


@pytest.mark.parametrize("reference", ["#/nowhere", "other.json", "urn:x:y", "file:///etc/passwd", "#missing"])
def test_references_that_lead_nowhere(server: RawMCPServer, reference: str) -> None:
    """BASE-16: "reject (not pass) a schema with an unresolved" reference."""
    serve(server, {"properties": {"x": {"$ref": reference}}}, {"x": 1})
    with pytest.raises(InvalidResult, match="cannot be used"):
        call(server)


def test_references_in_a_circle(server: RawMCPServer) -> None:
    """BASE-17: a schema that refers to itself is used where it ends, and refused where it never does."""
    tree = {"properties": {"child": {"$ref": "#"}, "x": {"type": "integer"}}}
    serve(server, tree, {"child": {"child": {"x": 1}}})
    assert call(server).data
    serve(server, tree, {"child": {"child": {"x": "1"}}})
    with pytest.raises(InvalidResult, match="does not fit"):
        call(server)
    serve(server, {"$ref": "#"}, {"x": 1})
    with pytest.raises(InvalidResult):
        call(server)


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [nested(300), {"allOf": [{"type": "object"}] * 20_000}, {"properties": {"x": {"enum": [{}] * 20_000}}}],
    ids=["deep", "wide", "values"],
)
def test_schemas_that_are_too_large(server: RawMCPServer, schema: Any) -> None:
    """BASE-17: depth and number of subschemas are bounded."""
    serve(server, schema, {"x": 1})
    with pytest.raises(InvalidResult, match="too large"):
        call(server)


def test_a_large_schema_that_is_honest(server: RawMCPServer) -> None:
    """BASE-17: some thousand parts and some thirty levels are no attack."""
    schema = {"properties": {f"p{n}": {"type": "integer"} for n in range(3000)}, "allOf": [nested(30)]}
    serve(server, schema, {"p1": 1})
    assert call(server).data == {"p1": 1}


def test_without_jsonschema(
    server: RawMCPServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """T-05: where the extra is not installed the check is off, and the log says so once, with what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "jsonschema"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "jsonschema" else real(name, *more)
    )
    serve(server, POINT, {"x": "wrong"})
    with caplog.at_level(logging.INFO, "streamhttp_client"), open_client(server) as client:
        client.list_tools()
        for _ in range(3):
            assert client.call_tool("t").data == {"x": "wrong"}
    assert caplog.text.count("streamhttp-client[schema]") == 1


def test_many_threads_check(server: RawMCPServer) -> None:
    """One checker serves all threads of a client."""
    from tests.client._peer import BOUND
    from tests.transport._faults import InThread

    serve(server, POINT, {"x": 1})
    with open_client(server) as client:
        client.list_tools()

        def work(client: Client = client) -> int:
            return sum(client.call_tool("t").data["x"] for _ in range(10))

        threads = [InThread(work) for _ in range(8)]
        for thread in threads:
            thread.join(BOUND)
            assert (thread.error, thread.value) == (None, 10)


def test_the_structure_may_be_no_object(server: RawMCPServer) -> None:
    """T-05: in these revisions a structured result is an object; another value is refused or handed out as it is."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond_result(request, {"content": [], "structuredContent": [1]})

    server.on("tools/call", answer)
    with open_client(server) as client:
        try:
            assert client.call_tool("echo").structured_content == [1]
        except InvalidResult as error:
            assert error.result is not None


def test_what_is_kept_of_schemas_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """T-05: a server whose tools have ever new names does not fill the memory; each of its results is checked."""
    monkeypatch.setattr(validation, "_MAX_VALIDATORS", 2)
    checker = OutputChecker()
    right, wrong = (ToolResult.from_wire({"content": [], "structuredContent": {"x": x}}) for x in (1, "1"))
    for number in range(5):
        tool = Tool.from_wire({"name": f"t{number}", "inputSchema": {"type": "object"}, "outputSchema": POINT})
        checker.check(tool, right)
        with pytest.raises(InvalidResult):
            checker.check(tool, wrong)
        assert len(checker._validators) <= 2
