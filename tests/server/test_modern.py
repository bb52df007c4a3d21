"""The stateless era at the endpoint: which era a request is of, what it must say of itself, and how it is answered."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from streamhttp_client.exceptions import LocalProtocolError, RPCError
from streamhttp_client.protocol.versions import REVISIONS, Revision
from streamhttp_client.server import Context, Header, Server, WSGIApp
from tests.server.kit import PATIENCE, Direct
from tests.server.modern_kit import PREFIX, REVISION, ModernDirect, meta

INFO = {f"{PREFIX}serverInfo": {"name": "test", "version": "1.0", "title": "Test"}}


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses are asked for here, so a handler has all the time to come to its error."""
    monkeypatch.setattr("streamhttp_client.server.modern._DECIDE", PATIENCE)


@pytest.fixture
def modern(app: WSGIApp) -> ModernDirect:
    return ModernDirect(app)


# --- which era
# ----------------------------------------------------------------------------------------------------------------------


def test_both_eras_at_one_url(app: WSGIApp, modern: ModernDirect) -> None:
    """V26-05, V26-07: each request chooses for itself; a handshake opens a session beside stateless requests."""
    session = Direct(app).initialize()
    assert session.tool("add", {"a": 2}) == {"content": [{"type": "text", "text": "3"}]}
    assert modern.call("add", {"a": 2})["content"] == [{"type": "text", "text": "3"}]
    assert session.answer("ping") == {}
    assert modern.status("ping") == (404, -32601)


def test_only_the_stateless_era(server: Server) -> None:
    """H26-07: GET and DELETE have 405 and ``Allow: POST``, a session id is ignored and none is given."""
    app = server.wsgi(protocol="2026-07-28")
    direct = ModernDirect(app)
    for method in ("GET", "DELETE", "PUT"):
        with direct.send(method, MCP_SESSION_ID="0" * 32) as reply:
            assert (reply.status, reply.headers["allow"]) == (405, "POST")
    with direct.ask("tools/list", MCP_SESSION_ID="0" * 32, LAST_EVENT_ID="s0:1") as reply:
        assert reply.status == 200
        assert "mcp-session-id" not in reply.headers
    app.close()


def test_handshake_where_there_is_none(server: Server) -> None:
    """V26-11: the error of ``initialize`` names the revisions, since an older client shows nothing else."""
    app = server.wsgi(protocol="2026-07-28")
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}
    with Direct(app).request("initialize", params) as reply:
        error = reply.json()["error"]
    assert (reply.status, error["code"]) == (400, -32022)
    assert error["data"] == {"supported": [REVISION], "requested": "2025-11-25"}
    assert REVISION in error["message"]
    with Direct(app).request("tools/list", MCP_PROTOCOL_VERSION="2025-11-25") as reply:
        assert (reply.status, reply.json()["error"]["code"]) == (400, -32022)
    with Direct(app).request("tools/list") as reply:
        assert reply.status == 400
    app.close()


def test_only_the_session_era(server: Server) -> None:
    """V26-07: what is no recognised modern error lets a client of both eras fall back."""
    app = server.wsgi(protocol="2025-11-25")
    with ModernDirect(app).ask("server/discover") as reply:
        assert (reply.status, reply.json()["error"]["code"]) == (400, -32600)
    assert Direct(app).initialize().tool("add", {"a": 1})["content"]
    app.close()


def test_unknown_choice_of_eras(server: Server) -> None:
    """A revision that is not one of the three words is refused when the endpoint is made."""
    with pytest.raises(LocalProtocolError, match="protocol must be"):
        server.wsgi(protocol="2025-06-18")  # type: ignore[arg-type]


def test_reads_are_refused_in_this_era(modern: ModernDirect) -> None:
    """H26-07: GET and DELETE that name this revision have 405, also where sessions are served."""
    for method in ("GET", "DELETE"):
        with modern.send(method, MCP_PROTOCOL_VERSION=REVISION) as reply:
            assert reply.status == 405


@pytest.mark.parametrize("stateless", [False, True])
def test_handshake_in_modern_dress(server: Server, stateless: bool) -> None:
    """X17, X10: what this era does not have is no method, whatever other eras do with it."""
    app = server.wsgi(stateless=stateless)
    direct = ModernDirect(app)
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/list", "nonsense"):
        assert direct.status(method) == (404, -32601), method
    app.close()


# --- what a request says of itself
# ----------------------------------------------------------------------------------------------------------------------


def test_discover(modern: ModernDirect) -> None:
    """V26-04, V26-10: revisions, capabilities, instructions and who the server is, without anything before."""
    result = modern.result("server/discover")
    assert result.pop("capabilities")["tools"] == {"listChanged": True}
    assert result == {
        "resultType": "complete",
        "supportedVersions": [REVISION, "2025-11-25", "2025-06-18", "2025-03-26"],
        "instructions": "Use it well.",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": INFO,
    }


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in meta().items() if name != PREFIX + key}


@pytest.mark.parametrize(
    ("fields", "headers", "code"),
    [
        ({}, {}, -32602),
        (without("protocolVersion"), {}, -32602),
        (without("clientCapabilities"), {}, -32602),
        ({**meta(), f"{PREFIX}protocolVersion": 7}, {}, -32602),
        ({**meta(), f"{PREFIX}clientCapabilities": []}, {}, -32602),
        ({**meta(), f"{PREFIX}clientInfo": "me"}, {}, -32602),
        ({**meta(), f"{PREFIX}logLevel": "loud"}, {}, -32602),
        ({**meta(), f"{PREFIX}logLevel": ["info"]}, {}, -32602),
        (None, {}, -32602),
        (meta(), {"MCP_PROTOCOL_VERSION": None}, -32020),
        (meta(), {"MCP_PROTOCOL_VERSION": "2025-11-25"}, -32020),
        (meta(), {"MCP_PROTOCOL_VERSION": "2030-01-01"}, -32020),
        ({**meta(), f"{PREFIX}protocolVersion": "2030-01-01"}, {}, -32020),
        ({**meta(), f"{PREFIX}protocolVersion": "2030-01-01"}, {"MCP_PROTOCOL_VERSION": "2030-01-01"}, -32022),
        ({}, {"MCP_PROTOCOL_VERSION": "2030-01-01"}, -32022),
        (meta(), {"MCP_METHOD": None}, -32020),
        (meta(), {"MCP_METHOD": "TOOLS/LIST"}, -32020),
        (meta(), {"MCP_METHOD": "prompts/list"}, -32020),
        (meta(), {"MCP_METHOD": "=?base64?dG9vbHMvbGlzdA==?="}, -32020),
    ],
)
def test_malformed_requests(modern: ModernDirect, fields: Any, headers: Any, code: int) -> None:
    """V26-01, H26-08, H26-09: 400 with the code for what is wrong, and with the id of the request."""
    with modern.ask("tools/list", {"_meta": fields}, **headers) as reply:
        answer = reply.json()
    assert (reply.status, answer["error"]["code"], answer["id"]) == (400, code, 1)


def test_unsupported_version(modern: ModernDirect) -> None:
    """V26-03: the error says what was asked for and what there is."""
    fields = {**meta(), f"{PREFIX}protocolVersion": "1900-01-01"}
    error = modern.result("tools/list", {"_meta": fields}, MCP_PROTOCOL_VERSION="1900-01-01")
    supported = modern.result("server/discover")["supportedVersions"]
    assert error["data"] == {"supported": supported, "requested": "1900-01-01"}


@pytest.mark.parametrize(("fields", "status"), [(without("clientInfo"), 200), (meta(logLevel="debug"), 200)])
def test_what_may_be_left_out(modern: ModernDirect, fields: Any, status: int) -> None:
    """V26-02: who the client is and what it wants to hear are its own affair."""
    assert modern.status("tools/list", {"_meta": fields}) == (status, None)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("add", 200),
        ("  add\t", 200),
        ("=?base64?YWRk?=", 200),
        (None, 400),
        ("ADD", 400),
        ("=?base64?YWRk=?=", 400),
        ("=?BASE64?YWRk?=", 400),
        ("add\x80", 400),
    ],
)
def test_name_header(modern: ModernDirect, name: str | None, status: int) -> None:
    """H26-10, H26-11: ``Mcp-Name`` is decoded, and then must be the very name in the body."""
    code = None if status == 200 else -32020
    assert modern.status("tools/call", {"name": "add", "arguments": {"a": 1}}, MCP_NAME=name) == (status, code)


def test_name_header_of_a_resource(server: Server) -> None:
    """H26-10: of a resource it is the URI."""
    server.resource("x://ünï")(lambda: "text")
    app = server.wsgi()
    direct = ModernDirect(app)
    assert direct.result("resources/read", {"uri": "x://ünï"})["contents"] == [{"uri": "x://ünï", "text": "text"}]
    assert direct.status("resources/read", {"uri": "x://ünï"}, MCP_NAME="x://other") == (400, -32020)
    app.close()


def test_what_is_no_request(modern: ModernDirect) -> None:
    """H26-02, X4: a notification has 202 and no body, whatever it says; responses and batches are refused."""
    fields: dict[str, str | None] = {"MCP_PROTOCOL_VERSION": REVISION}
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    with modern.post(note, **fields) as reply:
        assert (reply.status, reply.body()) == (202, b"")
    for message in ({"jsonrpc": "2.0", "id": 1, "result": {}}, [note], [note, note]):
        with modern.post(message, **fields) as reply:
            assert (reply.status, reply.json()["error"]["code"]) == (400, -32600)


# --- results
# ----------------------------------------------------------------------------------------------------------------------


def test_every_result_says_what_it_is(server: Server) -> None:
    """BASE-06, BASE-19: ``resultType`` and the server's own name stand on each; what a handler gave stays beside."""

    @server.tool()
    def tagged() -> Any:
        return {"content": ["x"], "_meta": {"example.com/a": 1}}

    server.prompt()(hello)
    app = server.wsgi()
    direct = ModernDirect(app)
    for method, params in (("tools/list", {}), ("prompts/get", {"name": "hello"}), ("prompts/list", {})):
        result = direct.result(method, params)
        assert (result["resultType"], result["_meta"]) == ("complete", INFO)
    assert direct.call("tagged")["_meta"] == {**INFO, "example.com/a": 1}
    app.close()


def hello() -> str:
    return "Hello"


def test_missing_resource(server: Server) -> None:
    """X14, T-11: -32602 with the URI, where the session era has -32002."""
    server.resource("x://there")(hello)
    server.resource("x://number/{value}")(number)
    app = server.wsgi()
    direct = ModernDirect(app)
    for uri in ("x://none", "x://number/many"):
        error = direct.result("resources/read", {"uri": uri})
        assert (error["code"], error["data"]) == (-32602, {"uri": uri})
    assert Direct(app).initialize().answer("resources/read", {"uri": "x://none"})["code"] == -32002
    app.close()


def number(value: int) -> str:
    return str(value)


@pytest.mark.parametrize(
    ("raised", "sent"), [(-32002, -32602), (-32042, -32603), (-32099, -32603), (-32021, -32021), (1, 1)]
)
def test_codes_of_handlers(server: Server, raised: int, sent: int) -> None:
    """BASE-09: codes that this revision reserves or has given up do not leave the server."""

    @server.tool()
    def refuse() -> None:
        raise RPCError("no", code=raised)

    app = server.wsgi()
    assert ModernDirect(app).call("refuse")["code"] == sent
    app.close()


def test_methods_without_their_capability() -> None:
    """L25-06: what the server does not offer is no method, until it does."""
    server = Server("bare", "1")
    app = server.wsgi()
    direct = ModernDirect(app)
    methods = ("tools/list", "resources/list", "resources/templates/list", "prompts/list", "completion/complete")
    for method in methods:
        assert direct.status(method) == (404, -32601)
    server.tool(name="hello")(hello)
    assert direct.status("tools/list") == (200, None)
    app.close()


def test_unknown_tools_and_bad_arguments(modern: ModernDirect) -> None:
    """T-08: an unknown tool is an error of the protocol, wrong arguments are one of the tool."""
    assert modern.call("none")["code"] == -32602
    result = modern.call("add", {"a": "x"})
    assert (result["isError"], result["resultType"]) == (True, "complete")
    result = modern.call("explode")
    assert result["isError"] and "hunter2" not in str(result)


def test_pages(server: Server) -> None:
    """T-01, C26-09: pages work as before, and each has hints of its own."""
    paged = Server("paged", "1", page_size=1, ttl=2.5, cache_scope="public")
    paged.tool(name="a")(hello)
    paged.tool(name="b")(hello)
    app = paged.wsgi()
    direct = ModernDirect(app)
    first = direct.result("tools/list")
    second = direct.result("tools/list", {"cursor": first["nextCursor"]})
    for page, name in ((first, "a"), (second, "b")):
        assert [tool["name"] for tool in page["tools"]] == [name]
        assert (page["ttlMs"], page["cacheScope"]) == (2500, "public")
    assert direct.result("tools/list", {"cursor": ""})["code"] == -32602
    app.close()


def test_hints_of_resources() -> None:
    """C26-10: what is read has the hints of its resource, and lists have those of the server."""
    server = Server("hints", "1", ttl=60)
    server.resource("x://kept", ttl=5, cache_scope="public")(hello)
    server.resource("x://number/{value}", ttl=1)(number)
    app = server.wsgi()
    direct = ModernDirect(app)
    found = [direct.result("resources/read", {"uri": uri}) for uri in ("x://kept", "x://number/1")]
    assert [(each["ttlMs"], each["cacheScope"]) for each in found] == [(5000, "public"), (1000, "private")]
    for method in ("server/discover", "resources/list", "resources/templates/list"):
        assert direct.result(method)["ttlMs"] == 60_000
    assert "ttlMs" not in Direct(app).initialize().answer("resources/list")
    app.close()


@pytest.mark.parametrize("hints", [{"ttl": -1}, {"cache_scope": "mine"}])
def test_hints_that_are_none(hints: Any) -> None:
    """C26-03: "Servers MUST provide a ttlMs value that is >= 0"."""
    with pytest.raises(LocalProtocolError):
        Server("bad", "1", **hints)
    with pytest.raises(LocalProtocolError):
        Server("bad", "1").resource("x://a", **hints)(hello)


# --- headers of arguments
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirroring() -> Iterator[ModernDirect]:
    server = Server("mirror", "1")

    @server.tool()
    def deploy(
        region: Annotated[str, Header("Region"), "Where"],
        count: Annotated[int, Header("Count")] = 1,
        dry: Annotated[bool, Header("Dry-Run")] = False,
    ) -> str:
        return f"{region} {count} {dry}"

    app = server.wsgi()
    yield ModernDirect(app)
    app.close()


def test_schema_of_a_mirrored_argument(mirroring: ModernDirect) -> None:
    """H26-13: the annotation is in the schema, beside what else is said of the argument."""
    (tool,) = mirroring.result("tools/list")["tools"]
    properties = tool["inputSchema"]["properties"]
    assert properties["region"] == {"type": "string", "description": "Where", "x-mcp-header": "Region"}
    assert (properties["count"]["x-mcp-header"], properties["dry"]["x-mcp-header"]) == ("Count", "Dry-Run")


@pytest.mark.parametrize(
    ("arguments", "headers", "status"),
    [
        ({"region": "eu"}, {"REGION": "eu"}, 200),
        ({"region": "eu"}, {"REGION": " eu\t"}, 200),
        ({"region": "é"}, {"REGION": f"=?base64?{base64.b64encode('é'.encode()).decode()}?="}, 200),
        ({"region": "eu", "count": 42}, {"REGION": "eu", "COUNT": "42.0"}, 200),
        ({"region": "eu", "dry": True}, {"REGION": "eu", "DRY_RUN": "true"}, 200),
        ({"region": "eu"}, {"REGION": "eu", "OTHER": "ignored"}, 200),
        ({"region": "eu"}, {}, 400),
        ({"region": "eu"}, {"REGION": "us"}, 400),
        ({"region": "eu"}, {"REGION": "eu", "COUNT": "1"}, 400),
        ({"region": "eu", "count": 42}, {"REGION": "eu", "COUNT": "43"}, 400),
        ({"region": "eu", "dry": True}, {"REGION": "eu", "DRY_RUN": "True"}, 400),
        ({"region": "Hello"}, {"REGION": "=?base64?SGVsbG8?="}, 400),
    ],
)
def test_mirrored_arguments(mirroring: ModernDirect, arguments: Any, headers: Any, status: int) -> None:
    """H26-12, H26-14, H26-15, H26-18: headers must say what the body says, and nothing that it does not."""
    fields = {f"MCP_PARAM_{name}": value for name, value in headers.items()}
    code = None if status == 200 else -32020
    assert mirroring.status("tools/call", {"name": "deploy", "arguments": arguments}, **fields) == (status, code)


def test_mirrored_arguments_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """H26-13: the annotation works without the extra, too."""
    monkeypatch.setitem(__import__("sys").modules, "msgspec", None)
    server = Server("mirror", "1")

    @server.tool()
    def deploy(region: Annotated[str, Header("Region")]) -> str:
        return region

    app = server.wsgi()
    arguments = {"name": "deploy", "arguments": {"region": "eu"}}
    assert ModernDirect(app).status("tools/call", arguments) == (400, -32020)
    assert ModernDirect(app).status("tools/call", arguments, MCP_PARAM_REGION="eu") == (200, None)
    app.close()


def test_annotations_that_break_a_rule() -> None:
    """H26-16: a tool that clients would have to drop is refused when it is registered."""
    server = Server("mirror", "1")

    def wrong(value: Annotated[float, Header("Value")]) -> None: ...

    def twice(a: Annotated[str, Header("Same")], b: Annotated[str, Header("same")]) -> None: ...

    for function in (wrong, twice):
        with pytest.raises(LocalProtocolError, match="x-mcp-header"):
            server.tool()(function)
    with pytest.raises(LocalProtocolError, match="underscore"):
        Header("my_region")
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "my_a"}}}
    with pytest.raises(LocalProtocolError, match="underscore"):
        server.tool(name="raw", input_schema=schema)(lambda **given: None)


# --- what a client can
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capabilities", "required"),
    [
        ({}, {"elicitation": {}}),
        ({"sampling": {}}, {"elicitation": {}}),
        ({"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
    ],
)
def test_missing_capability(server: Server, capabilities: Any, required: Any) -> None:
    """V26-13, M26-01: 400 and -32021 with what is missing, as a client declares it."""

    @server.tool()
    def ask(ctx: Context) -> str:
        return ctx.elicit("Well?").action

    app = server.wsgi()
    direct = ModernDirect(app, capabilities)
    error = direct.call("ask")
    assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": required})
    assert direct.status("tools/call", {"name": "ask"}) == (400, -32021)
    app.close()


def test_several_revisions_without_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is spoken as what it is, unless one alone is asked for."""
    monkeypatch.setitem(REVISIONS, "2027-01-01", Revision("2027-01-01", handshake=False))
    server = Server("several", "1")

    @server.tool()
    def which(ctx: Context) -> str:
        return ctx.session.revision.name

    app = server.wsgi()
    for name in ("2027-01-01", REVISION):
        params = {"name": "which", "_meta": meta() | {f"{PREFIX}protocolVersion": name}}
        result = ModernDirect(app).result("tools/call", params, MCP_PROTOCOL_VERSION=name)
        assert result["content"][0]["text"] == name
    with ModernDirect(app).send("GET", MCP_PROTOCOL_VERSION="2027-01-01") as reply:
        assert reply.status == 405
    app.close()
    app = server.wsgi(protocol=REVISION)
    assert ModernDirect(app).status("tools/call", params, MCP_PROTOCOL_VERSION="2027-01-01") == (400, -32020)
    params["_meta"] |= {f"{PREFIX}protocolVersion": "2027-01-01"}  # type: ignore[operator]
    error = ModernDirect(app).result("tools/call", params, MCP_PROTOCOL_VERSION="2027-01-01")
    assert (error["code"], error["data"]["supported"]) == (-32022, [REVISION])
    app.close()
