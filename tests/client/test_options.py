"""Bad input is a clear error before anything is sent; good options reach the wire."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from streamhttp_client import (
    CapabilityError,
    Client,
    LocalProtocolError,
    RetryPolicy,
    Timeout,
    UnsupportedVersion,
)
from streamhttp_client.protocol.models import Implementation
from tests.client._peer import fail, open_client
from tests.support.rawserver import RawMCPServer, RawServer

# --- options


@pytest.mark.parametrize(
    "url",
    ["", "mcp.example.com/mcp", "/mcp", "ftp://h/mcp", "http://", "http://[::1/mcp", "http://h:99999/", "http://h h/"]
    + [None, 7, b"http://h/", ["http://h/"], "http://h/\r\nx: y"],
)
def test_addresses_that_cannot_be(url: Any) -> None:
    """A bad URL is told when the client is made, and what was expected is named."""
    with pytest.raises(LocalProtocolError, match="address|URL"):
        Client(url)


async def for_asyncio(*_: object) -> None:
    """A callback as the official SDK has it, which nobody here would await."""


class ForAsyncio:
    async def __call__(self, params: object) -> None:
        """The same as an object."""

    async def method(self, event: object) -> None:
        """The same as a method."""


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("headers", {"x": "a\r\nb: c"}), ("headers", {"x": "a\nb"}), ("headers", {"x y": "a"}), ("headers", {"x": 7}),
        ("headers", {"": "a"}), ("headers", "x: a"), ("headers", [1]),
        ("protocol", "2024-10-07"), ("protocol", "latest"), ("protocol", ""), ("protocol", None), ("protocol", 2025),
        ("timeout", 0), ("timeout", -1), ("timeout", "5"), ("timeout", (3, 5)), ("timeout", math.nan),
        ("timeout", True), ("retry", 3), ("retry", "never"), ("retry", {}),
        ("sampling", "function"), ("sampling", 7), ("elicitation", {}), ("elicitation", True),
        ("roots", 7), ("roots", True),
        ("sampling", for_asyncio), ("elicitation", ForAsyncio()), ("roots", for_asyncio), ("on_log", for_asyncio),
        ("on_log", functools.partial(functools.partial(for_asyncio), 1)),
        ("on_log", "print"), ("on_notification", 7), ("on_session_renewed", "renew"),
        ("on_session_expired", "ignore"), ("on_session_expired", None),
        ("max_message_size", 0), ("max_message_size", -1), ("max_message_size", 1.5), ("max_message_size", True),
        ("max_message_size", "64M"),
        ("auth", 7), ("auth", "user:password"), ("auth", ("user",)),
        ("http", "session"), ("http", 7),
        ("client_info", 7), ("client_info", "name"), ("client_info", {}), ("client_info", {"name": 7, "version": "1"}),
    ],
)  # fmt: skip
def test_options_that_cannot_be(server: RawMCPServer, option: str, value: Any) -> None:
    """Each option is checked before anything is sent: at the latest when the client connects."""
    with pytest.raises(LocalProtocolError):
        with open_client(server, **{option: value}):
            pass
    assert server.accepted == 0


@pytest.mark.parametrize(
    "callback",
    [Mock(), MagicMock(), print, functools.partial(print, end="")],
    ids=["mock", "magic", "builtin", "partial"],
)
def test_anything_that_can_be_called_is_a_callback(server: RawMCPServer, callback: Any) -> None:
    """Mocks, builtins and partials too."""
    with open_client(server, on_log=callback, elicitation=callback) as client:
        assert client.call_tool("echo", on_progress=callback).text == "ok"


def test_options_have_names_only(server: RawMCPServer) -> None:
    """After the address everything is keyword-only, so that it can be added to."""
    with pytest.raises(TypeError):
        Client(server.url, ("user", "pw"))  # type: ignore[call-arg]


# --- arguments


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.call_tool(""),
        lambda client: client.call_tool(None),
        lambda client: client.call_tool(7),
        lambda client: client.call_tool("t", 7),
        lambda client: client.call_tool("t", "text"),
        lambda client: client.call_tool("t", [1]),
        lambda client: client.call_tool("t", {1: "a"}),
        lambda client: client.call_tool("t", {"a": object()}),
        lambda client: client.call_tool("t", {"a": {1, 2}}),
        lambda client: client.call_tool("t", {"a": b"bytes"}),
        lambda client: client.call_tool("t", {"a": float("nan")}),
        lambda client: client.call_tool("t", {"a": "\ud800"}),
        lambda client: client.call_tool("t", meta=7),
        lambda client: client.call_tool("t", timeout=0),
        lambda client: client.call_tool("t", timeout="soon"),
        lambda client: client.call_tool("t", on_progress="print"),
        lambda client: client.call_tool("t", on_log=7),
        lambda client: client.stream_tool("t", on_progress=7).result,
        lambda client: client.call_tool("t", on_progress=for_asyncio),
        lambda client: client.listen(ForAsyncio().method),
        lambda client: client.wait_task(7),
        lambda client: client.wait_task(None),
        lambda client: client.read_resource(""),
        lambda client: client.read_resource(None),
        lambda client: client.subscribe_resource(7),
        lambda client: client.get_prompt(""),
        lambda client: client.get_prompt("p", [1]),
        lambda client: client.complete(7, {"name": "a", "value": "b"}),
        lambda client: client.complete({"type": "ref/prompt", "name": "p"}, {"value": "b"}),
        lambda client: client.set_logging_level("loud"),
        lambda client: client.set_logging_level(""),
        lambda client: client.request(""),
        lambda client: client.request(None),
        lambda client: client.request("m", [1]),
        lambda client: client.request("m", {1: 2}),
        lambda client: client.request("m", {"a": object()}),
        lambda client: client.notify("", {}),
        lambda client: client.notify("n", 7),
        lambda client: client.notify("n", {"a": float("inf")}),
        lambda client: client.get_task(""),
        lambda client: client.send_roots_list_changed(),
        lambda client: client.resume_call("nonsense"),
        lambda client: client.resume_call("{}"),
        lambda client: client.resume_call(7),
        lambda client: client.resume_call(None),
        lambda client: client.connect(timeout=-1),
        lambda client: client.listen("print"),
        lambda client: client.listen(timeout="soon"),
    ],
)
def test_arguments_that_cannot_be(server: RawMCPServer, call: Callable[[Any], Any]) -> None:
    """H25-03, G-01: what cannot be a message is the caller's error, and reaches no server; the client still works."""
    with open_client(server) as client:
        known = len(server.requests)
        with pytest.raises(LocalProtocolError):
            call(client)
        assert len(server.requests) == known
        assert client.call_tool("echo").text == "ok"


def test_bad_arguments_do_not_even_connect(server: RawMCPServer) -> None:
    """Before the first call there is no connection, and a call that cannot be made opens none."""
    client = open_client(server)
    for call in (lambda: client.call_tool("t", {1: 2}), lambda: client.request("")):  # type: ignore[dict-item]
        with pytest.raises(LocalProtocolError):
            call()
    assert server.accepted == 0
    client.close()


@pytest.mark.parametrize("saved", ["", "nonsense", "{}", "[]", '{"url": 7}', '{"url": "ftp://h/"}', b"\xff", None, 7])
def test_what_is_no_saved_session(saved: Any) -> None:
    """``Client.resume`` says so at once."""
    with pytest.raises(LocalProtocolError):
        Client.resume(saved)


# --- capabilities

PROMPT = {"type": "ref/prompt", "name": "p"}


@pytest.mark.parametrize(
    ("capabilities", "call"),
    [
        ({}, lambda client: client.list_tools()),
        ({}, lambda client: client.call_tool("t")),
        ({"tools": {}}, lambda client: client.list_resources()),
        ({"tools": {}}, lambda client: client.list_resource_templates()),
        ({"tools": {}}, lambda client: client.read_resource("a:b")),
        ({"resources": {}}, lambda client: client.subscribe_resource("a:b")),
        ({"resources": {"subscribe": False}}, lambda client: client.subscribe_resource("a:b")),
        ({"resources": {}}, lambda client: client.unsubscribe_resource("a:b")),
        ({"resources": {}}, lambda client: client.list_prompts()),
        ({"resources": {}}, lambda client: client.get_prompt("p")),
        ({"prompts": {}}, lambda client: client.complete(PROMPT, {"name": "a", "value": ""})),
        ({"prompts": {}}, lambda client: client.set_logging_level("info")),
        ({"tools": {}}, lambda client: client.call_tool_as_task("t")),
        ({"tools": {}, "tasks": {}}, lambda client: client.call_tool_as_task("t")),
        ({"tasks": {"requests": {}}}, lambda client: client.list_tasks()),
        ({"tasks": {"list": {}}}, lambda client: client.cancel_task("1")),
    ],
)  # fmt: skip
def test_what_the_server_did_not_declare(capabilities: dict[str, Any], call: Callable[[Client], Any]) -> None:
    """L25-06, L25-08, G-01, T-14, S25-01: "use only negotiated capabilities": a missing one is an error of our own."""
    with RawMCPServer(capabilities=capabilities) as server, open_client(server) as client:
        known = len(server.requests)
        with pytest.raises(CapabilityError, match="did not declare"):
            call(client)
        assert len(server.requests) == known
        client.send_ping()


def test_the_escape_hatch_needs_no_capability() -> None:
    """``request`` sends what the caller says, whatever the server declared."""
    with RawMCPServer(capabilities={}) as server, open_client(server) as client:
        assert client.request("tools/list")["tools"][0]["name"] == "echo"


# --- the handshake


def initialize_of(server: RawServer) -> dict[str, Any]:
    (request,) = server.seen("initialize")
    params: dict[str, Any] = request.json["params"]
    return params


def test_the_handshake_comes_first(server: RawMCPServer) -> None:
    """L25-01, L25-02, L25-03, L25-04, H25-24: initialize with the latest revision and without a header for it, then
    the notification that it is done, and only then anything else."""
    client = open_client(server)
    assert server.accepted == 0
    client.call_tool("echo")
    keys = [request.key for request in server.requests]
    assert keys[:2] == ["initialize", "notifications/initialized"]
    assert keys[2:] == ["tools/call"]
    first = server.requests[0]
    assert first.json["params"]["protocolVersion"] == "2025-11-25"
    assert first.json["params"]["capabilities"] == {}
    assert set(first.json["params"]["clientInfo"]) >= {"name", "version"}
    assert first.header("MCP-Protocol-Version") is None
    assert first.header("MCP-Session-Id") is None
    client.close()


def test_every_later_request_names_session_and_revision(server: RawMCPServer) -> None:
    """H25-01, H25-02, H25-20, H25-22, H25-23: POST, GET and DELETE, requests, notifications and answers alike."""
    from tests.client._peer import asking

    answers: list[Any] = []
    server.on("tools/call", asking(server, ("ping", None), answers=answers))
    with open_client(server) as client:
        client.call_tool("echo")
        client.notify("notifications/custom")
        assert list(client.listen()) == []
    first, *later = server.requests
    assert {request.key for request in later} == {
        "notifications/initialized", "tools/call", "response", "notifications/custom", "GET", "DELETE",
    }  # fmt: skip
    for request in later:
        assert request.header("MCP-Session-Id") == "session-1"
        assert request.header("MCP-Protocol-Version") == "2025-11-25"
        if request.method == "POST":
            assert request.header("Accept") == "application/json, text/event-stream"
            assert request.header("Content-Type") == "application/json"
    (listening,) = server.seen("GET")
    assert listening.header("Accept") == "text/event-stream"


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
def test_an_older_server(revision: str) -> None:
    """L25-04, L25-06, O-01: a server that counters with an older revision gets it, in every later header."""
    with RawMCPServer(protocol_version=revision) as server, open_client(server) as client:
        assert client.session.protocol_version == revision
        client.call_tool("echo")
        assert initialize_of(server)["protocolVersion"] == "2025-11-25"
        assert server.requests[-1].header("MCP-Protocol-Version") == revision


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_revision_that_is_asked_for(revision: str) -> None:
    """``protocol=`` is what is offered."""
    with RawMCPServer(protocol_version=revision) as server, open_client(server, protocol=revision) as client:
        assert initialize_of(server)["protocolVersion"] == revision
        assert client.session.protocol_version == revision


@pytest.mark.parametrize(("wanted", "offered"), [("2025-06-18", "2025-11-25"), ("auto", "2024-10-07"), ("auto", "1.0")])
def test_a_revision_that_is_not_acceptable(wanted: str, offered: str) -> None:
    """L25-05, L25-08: another one than was pinned, or one that is unknown: a typed error, and no call is made."""
    with RawMCPServer(protocol_version=offered) as server:
        client = open_client(server, protocol=wanted)
        with pytest.raises(UnsupportedVersion) as caught:
            client.connect()
        assert caught.value.supported == (offered,)
        client.close()
        # The session that the server has begun may be ended, and nothing else may be said in it.
        assert [request.key for request in server.requests if request.key != "DELETE"] == ["initialize"]


def test_a_refused_offer_is_followed_by_a_better_one(server: RawMCPServer) -> None:
    """L25-04: a server that refuses and lists what it speaks is offered the newest of those."""
    data = {"supported": ["2024-11-05", "2025-03-26", "2025-06-18"], "requested": "2025-11-25"}
    server.protocol_version = "2025-06-18"
    server.on("initialize", fail(-32602, "Unsupported protocol version", data), lambda p, r: server.answer(p, r))
    with open_client(server) as client:
        assert client.session.protocol_version == "2025-06-18"
        offers = [request.json["params"]["protocolVersion"] for request in server.seen("initialize")]
        assert offers == ["2025-11-25", "2025-06-18"]


@pytest.mark.parametrize(
    ("options", "declared"),
    [
        ({}, {}),
        ({"sampling": lambda params: None}, {"sampling": {}}),
        ({"sampling": lambda params: None, "sampling_tools": True}, {"sampling": {"tools": {}}}),
        ({"sampling_tools": True, "url_elicitation": True}, {}),
        ({"elicitation": lambda params: None}, {"elicitation": {}}),
        ({"elicitation": lambda params: None, "url_elicitation": True}, {"elicitation": {"form": {}, "url": {}}}),
        ({"roots": lambda: []}, {"roots": {"listChanged": True}}),
        ({"roots": []}, {"roots": {"listChanged": True}}),
    ],
)
def test_what_is_declared(server: RawMCPServer, options: dict[str, Any], declared: dict[str, Any]) -> None:
    """E-01, L25-06: only what has a handler, with the parts that it supports; an empty object means forms only."""
    with open_client(server, **options):
        assert initialize_of(server)["capabilities"] == declared


@pytest.mark.parametrize("as_model", [True, False])
def test_who_we_say_we_are(server: RawMCPServer, as_model: bool) -> None:
    """``client_info`` goes out as it was given, as a mapping or a model."""
    info = {"name": "script", "version": "3", "title": "A script"}
    with open_client(server, client_info=Implementation.from_wire(info) if as_model else info):
        assert initialize_of(server)["clientInfo"] == info


def test_options_reach_the_wire(server: RawMCPServer) -> None:
    """Headers and credentials go with every request."""
    with open_client(server, headers={"X-Tenant": "7"}, auth=("user", "pw")) as client:
        client.call_tool("echo")
    for request in server.requests:
        assert request.header("X-Tenant") == "7"
        assert request.header("Authorization") == "Basic dXNlcjpwdw=="


def test_the_session_tells_what_was_agreed() -> None:
    """Server info, capabilities and instructions are there for the asking; asking connects."""

    def initialize(peer: Any, request: Any) -> None:
        result = {
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "instructions": "be kind",
            "serverInfo": {"name": "s", "version": "9"},
        }  # fmt: skip
        peer.respond_result(request, result)

    with RawMCPServer(sessions=False) as server:
        server.on("initialize", initialize)
        client = open_client(server)
        session = client.session
        assert session.server_info is not None and session.server_info.name == "s"
        assert session.capabilities is not None and session.capabilities.declares("tools")
        assert (session.instructions, session.session_id, session.url) == ("be kind", None, server.url)
        client.close()
        assert server.seen("DELETE") == []  # there is no session to end


def test_limits_and_policies_are_values(server: RawMCPServer) -> None:
    """A Timeout and a RetryPolicy may be shared by any number of clients."""
    timeout, retry = Timeout(total=7), RetryPolicy(attempts=2)
    for _ in range(2):
        with open_client(server, timeout=timeout, retry=retry) as client:
            client.send_ping()
