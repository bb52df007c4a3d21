"""Every verb, with the client finding out by itself how each peer speaks: 2026-07-28, or sessions."""

from __future__ import annotations

import pytest

from streamhttp_client import InvalidParams, LogMessage, RPCError, ToolError
from tests.live.clients import Traffic, eventually, for_peers, meet
from tests.live.peers import MODERN, OLDER, Peer
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live

ALL = [*MODERN, *OLDER]
STREAMING = [kind for kind in ALL if not kind.json]
#: With a separator that JSON allows and naive line splitting breaks at, and a character outside the first plane.
TEXT = "grüß\u2028dich\u0085 \U0001f600\r\n"

_META = "io.modelcontextprotocol/"


def is_modern(peer: Peer) -> bool:
    return peer.kind in MODERN


@for_peers(*ALL)
def test_the_server_says_who_it_is(peer: Peer) -> None:
    """V26-04, V26-07: asked by `server/discover` or in the handshake, a server tells the same of itself."""
    with meet(peer) as client:
        session = client.session
        assert client.era == ("stateless" if is_modern(peer) else "session")
        assert session.protocol_version == ("2026-07-28" if is_modern(peer) else "2025-11-25")
        assert session.server_info is not None and session.server_info.name == "peer"
        assert session.instructions == "Ask me anything."
        assert session.capabilities is not None and session.capabilities.tools is not None
        assert (session.session_id is None) is (is_modern(peer) or peer.kind.stateless)


@for_peers(*ALL)
def test_tools_come_over_all_pages(peer: Peer) -> None:
    """T-01, T-04: the peers page by ten, each with cursors of its own kind."""
    with meet(peer) as client:
        tools = client.list_tools()
        names = [tool.name for tool in tools]
        assert len(names) == len(set(names)) > 30
        assert [name for name in names if name.startswith("filler_")] == [f"filler_{n:02}" for n in range(24)]
        by_name = {tool.name: tool for tool in tools}
        echo, add = by_name["echo"], by_name["add"]
        assert echo.description == "Give the text back."
        assert echo.annotations is not None and echo.annotations.read_only_hint is True
        assert set(add.input_schema["properties"]) == {"a", "b"}
        assert add.output_schema is not None and "total" in add.output_schema["properties"]
        assert next(iter(client.iter_tools())).name == names[0]


@for_peers(*(kind for kind in MODERN if kind.environment == "fastmcp"))
def test_a_cursor_that_the_server_never_gave_is_refused(peer: Peer) -> None:
    """T-04: the refusal is about the parameter, and about no more than that. (The other peers' pages are our own.)"""
    with meet(peer) as client:
        with pytest.raises(InvalidParams, match="no!"):
            client.request("tools/list", {"cursor": "no!"})
        assert len(client.list_tools()) > 30


@for_peers(*ALL)
def test_a_tool_gives_text(peer: Peer) -> None:
    """H26-03, BASE-01: JSON or an event stream, in UTF-8 either way."""
    with meet(peer) as client:
        result = client.call_tool("echo", {"text": TEXT})
        assert result.text == TEXT
        assert result.is_error is False


@for_peers(*ALL)
def test_a_tool_gives_a_structured_value(peer: Peer) -> None:
    """T-05: it is checked against the tool's schema on the way."""
    with meet(peer) as client:
        result = client.call_tool("add", {"a": 2, "b": 40})
        assert result.structured_content == {"total": 42}
        assert result.data == {"total": 42}


@for_peers(*(kind for kind in MODERN if kind.environment == "npm2"))
def test_a_structured_value_need_not_be_an_object(peer: Peer) -> None:
    """T-06, T-05: a list is one too, and is checked as such. (mcp 2.3 and fastmcp 4.1 wrap what is no object.)"""
    with meet(peer) as client:
        result = client.call_tool("numbers")
        assert result.structured_content == [1, 2, 3]
        assert result.data == [1, 2, 3]


@for_peers(*ALL)
def test_a_tool_that_fails_raises_or_is_told_apart(peer: Peer) -> None:
    """T-08: a failure of the tool is no failure of the protocol."""
    with meet(peer) as client:
        with pytest.raises(ToolError, match="because") as caught:
            client.call_tool("fail", {"reason": "because"})
        assert caught.value.result.is_error
        result = client.call_tool("fail", {"reason": "because"}, raise_on_error=False)
        assert result.is_error and "because" in result.text


@for_peers(*ALL)
def test_resources_are_listed_and_read(peer: Peer) -> None:
    """H26-10: the address goes into a header as well, and texts and bytes come back whole."""
    with meet(peer) as client:
        resources = {resource.name: resource for resource in client.list_resources()}
        assert {"greeting", "logo"} <= set(resources)
        assert (resources["logo"].uri, resources["logo"].mime_type) == ("note://logo", "image/png")
        text = client.read_resource("note://greeting")
        assert text.contents[0].uri == "note://greeting"
        assert text.text == "grüß dich\u2028twice"
        (blob,) = client.read_resource("note://logo").contents
        assert blob.data_bytes == bytes(range(256))


@for_peers(*ALL)
def test_templates_are_listed_and_their_resources_read(peer: Peer) -> None:
    """T-04: templates are listed beside the resources."""
    with meet(peer) as client:
        templates = {template.name: template.uri_template for template in client.list_resource_templates()}
        assert templates["item"] == "note://item/{name}"
        assert client.read_resource("note://item/seven").text == "item seven"


@for_peers(*MODERN)
def test_a_missing_resource_is_a_wrong_parameter(peer: Peer) -> None:
    """T-11, X8: -32602 with HTTP 400 or 200 is the answer to this request, and nothing about the era."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        with pytest.raises(InvalidParams, match="note://missing") as caught:
            client.read_resource("note://missing")
        assert caught.value.code == -32602
        assert "initialize" not in traffic.methods()
        assert client.era == "stateless"


@for_peers(*MODERN)
def test_an_unknown_method_is_no_missing_endpoint(peer: Peer) -> None:
    """V26-12: HTTP 404 with -32601 in it is about the method, and the client goes on as before."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        with pytest.raises(RPCError) as caught:
            client.request("no/such/method", {})
        assert caught.value.code == -32601
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
        assert client.era == "stateless"
    assert "initialize" not in traffic.methods()
    assert traffic.methods().count("no/such/method") == 1


@for_peers(*ALL)
def test_prompts_are_listed_and_filled_in(peer: Peer) -> None:
    """T-12, H26-10: the prompt's name goes into a header too."""
    with meet(peer) as client:
        prompts = {prompt.name: prompt for prompt in client.list_prompts()}
        arguments = {argument.name: bool(argument.required) for argument in prompts["greet"].arguments}
        assert (prompts["greet"].description, arguments) == ("Greet someone.", {"name": True, "style": False})
        filled = client.get_prompt("greet", {"name": "Ann", "style": "formal"})
        (message,) = filled.messages
        assert message.role == "user"
        assert message.content.text == "Greet Ann in a formal way."
        with pytest.raises(RPCError):
            client.get_prompt("no such prompt")


@for_peers(*ALL)
def test_arguments_are_completed(peer: Peer) -> None:
    """T-13: with what the server has for a beginning, and with nothing."""
    with meet(peer) as client:
        found = client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "style", "value": "f"})
        assert list(found.completion.values) == ["formal", "friendly", "frosty"]
        nothing = client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "style", "value": "x"})
        assert list(nothing.completion.values) == []


@for_peers(*STREAMING)
def test_progress_and_logs_come_on_the_stream_of_their_call(peer: Peer) -> None:
    """P-01, P-05, G-02, H26-03: in the order in which the tool reports, and logs because they were asked for."""
    traffic = Traffic(peer)
    seen: list[tuple[float, float | None, str | None]] = []
    logs: list[LogMessage] = []
    with meet(peer) as client:
        result = client.call_tool(
            "work",
            {"steps": 3},
            on_progress=lambda progress: seen.append((progress.progress, progress.total, progress.message)),
            on_log=logs.append,
        )
    assert result.text == "did 3"
    assert seen == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]
    assert [log.level for log in logs] == ["info"] * 3
    assert "finished 3" in str(logs[-1].data)
    (call,) = [message for message in traffic.messages() if message["method"] == "tools/call"]
    meta = call["params"]["_meta"]
    assert meta["progressToken"] == call["id"]
    assert meta.get(f"{_META}logLevel") == ("info" if is_modern(peer) else None)


@for_peers(*(kind for kind in MODERN if not kind.json))
def test_nothing_is_reported_that_nobody_asked_for(peer: Peer) -> None:
    """G-02, P-05: neither a log level nor a progress token is sent, and the server keeps silent."""
    traffic = Traffic(peer)
    heard: list[object] = []
    with meet(peer, on_notification=heard.append) as client:
        assert client.call_tool("work", {"steps": 3}).text == "did 3"
    (call,) = [message for message in traffic.messages() if message["method"] == "tools/call"]
    about_us = {f"{_META}{name}" for name in ("protocolVersion", "clientInfo", "clientCapabilities")}
    assert set(call["params"]["_meta"]) == about_us
    assert heard == []


@for_peers(*(kind for kind in MODERN if not kind.json))
def test_the_log_level_is_said_with_each_request(peer: Peer) -> None:
    """G-02, X10: what is too little is not sent, and there is no request that sets a level."""
    traffic = Traffic(peer)
    logs: list[LogMessage] = []
    with meet(peer, on_log=logs.append) as client:
        client.set_logging_level("error")
        client.call_tool("work", {"steps": 2})
        assert logs == []
        client.set_logging_level("debug")
        client.call_tool("work", {"steps": 2})
        assert [log.level for log in logs] == ["info", "info"]
    assert "logging/setLevel" not in traffic.methods()
    levels = [m["params"]["_meta"][f"{_META}logLevel"] for m in traffic.messages() if m["method"] == "tools/call"]
    assert levels == ["error", "debug"]


@for_peers(*(kind for kind in MODERN if kind.environment == "npm2" and not kind.json))
def test_comments_that_keep_a_stream_alive_are_no_messages(peer: Peer) -> None:
    """H26-04, S26-09: of a call that is held up, and of a listening stream on which nothing happens."""
    with Cutter(peer.url) as cutter, meet(cutter.through(peer.url)) as client, meet(peer) as other:
        arguments = {"name": "kept", "before": 1, "after": 1}
        with client.listen() as listener, client.stream_tool("gated", arguments) as call:
            assert next(call).progress == 1
            quiet = cutter.bytes_down
            eventually(lambda: cutter.bytes_down > quiet + 100, "comments come")
            other.call_tool("open_gate", {"name": "kept"})
            assert [event.progress for event in call] == [2]
            assert call.result.text == "passed kept"
            other.call_tool("announce", {"what": "prompts", "name": ""})
            assert next(listener).method == "notifications/prompts/list_changed"


@for_peers(*MODERN)
def test_every_request_says_all_that_it_takes(peer: Peer) -> None:
    """V26-01, V26-02, H26-01, H26-02, H26-07, H26-08, H26-09, H26-10: in ``_meta``, in headers, and by POST alone."""
    traffic = Traffic(peer)
    with meet(peer, client_info={"name": "someone", "version": "7"}) as client:
        client.list_tools(cache="off")
        client.call_tool("echo", {"text": "hi"})
        client.read_resource("note://item/one", cache="off")
        client.get_prompt("greet", {"name": "Ann"})
        client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "style", "value": "f"})
    notes = traffic.notes()
    assert len(notes) >= 9  # five pages of tools
    names = {"tools/call": "echo", "resources/read": "note://item/one", "prompts/get": "greet"}
    ids = [note["body"]["id"] for note in notes]
    assert len(set(ids)) == len(ids)
    for note in notes:
        body, headers = note["body"], note["headers"]
        meta = body["params"]["_meta"]
        assert note["http"] == "POST"
        assert meta[f"{_META}protocolVersion"] == headers["mcp-protocol-version"] == "2026-07-28"
        assert meta[f"{_META}clientInfo"] == {"name": "someone", "version": "7"}
        assert isinstance(meta[f"{_META}clientCapabilities"], dict)
        assert {"application/json", "text/event-stream"} <= {part.strip() for part in headers["accept"].split(",")}
        assert headers["mcp-method"] == body["method"]
        assert headers.get("mcp-name") == names.get(body["method"])
        assert not {"mcp-session-id", "last-event-id"} & set(headers)


@for_peers(*MODERN)
def test_a_name_that_no_header_can_hold_is_encoded(peer: Peer) -> None:
    """H26-11, H26-12: the server decodes it and compares it with the body; a plain value that looks encoded too."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        found = client.read_resource("note://item/grüß").text
        # The npm SDK hands over the address as it stands in a normalized one.
        assert found == ("item gr%C3%BC%C3%9F" if peer.kind.environment == "npm2" else "item grüß")
        with pytest.raises(InvalidParams) as caught:
            client.read_resource("=?base64?bm90ZTovL2xvZ28=?=")
        assert caught.value.code == -32602  # there is no such resource; headers that do not match are -32020
    sent = [note for note in traffic.notes() if note["headers"]["mcp-method"] == "resources/read"]
    assert [note["headers"]["mcp-name"] for note in sent] == [
        "=?base64?bm90ZTovL2l0ZW0vZ3LDvMOf?=",
        "=?base64?PT9iYXNlNjQ/Ym05MFpUb3ZMMnh2WjI4PT89?=",
    ]


@for_peers(*MODERN)
def test_arguments_that_want_it_go_into_headers(peer: Peer) -> None:
    """H26-11, H26-13, H26-14, H26-15: the server compares them with the body, so that its answer is the proof."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        client.list_tools()
        assert client.call_tool("route", {"region": "grüß", "count": 3, "urgent": True}).text.lower() == "grüß 3 true"
        assert client.call_tool("route", {"region": " west "}).text.lower() == " west  0 false"
    first, second = [note["headers"] for note in traffic.notes() if note["headers"]["mcp-method"] == "tools/call"]
    assert first["mcp-param-region"] == "=?base64?Z3LDvMOf?="
    assert (first["mcp-param-count"], first["mcp-param-urgent"]) == ("3", "true")
    assert second["mcp-param-region"] == "=?base64?IHdlc3Qg?="
    assert not {"mcp-param-count", "mcp-param-urgent"} & set(second)


@for_peers(*(kind for kind in MODERN if kind.environment != "fastmcp"))
def test_a_tool_that_wants_a_header_that_cannot_be_is_left_out(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """H26-16, H26-17: it alone, with a warning that names it and the reason."""
    with meet(peer) as client:
        names = {tool.name for tool in client.list_tools()}
    assert "crooked" not in names and {"route", "filler_23"} <= names
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "crooked" in warning.getMessage() and "no such header" in warning.getMessage()


@for_peers(*(kind for kind in MODERN if kind.environment == "npm2"))
def test_an_empty_cursor_is_not_the_end(peer: Peer) -> None:
    """T-02, X18: the second page has it at this peer."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        names = {tool.name for tool in client.list_tools()}
    assert "filler_23" in names
    cursors = [m["params"].get("cursor") for m in traffic.messages() if m["method"] == "tools/list"]
    assert cursors[:3] == [None, "", "page-20"]


@for_peers(*MODERN)
def test_headers_that_were_not_known_of_are_learned(peer: Peer) -> None:
    """H26-18, V26-06: refused for a header that is missing, the client lists the tools and calls once more."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        assert client.call_tool("route", {"region": "west"}).text.lower() == "west 0 false"
    methods = [method for method in traffic.methods() if method != "server/discover"]
    assert methods[0] == methods[-1] == "tools/call"
    assert methods.count("tools/call") == 2
    assert set(methods[1:-1]) == {"tools/list"}


@for_peers(*MODERN)
def test_what_the_caller_puts_into_meta_arrives(peer: Peer) -> None:
    """BASE-12, V26-01: a trace context and keys of one's own, beside what every request carries."""
    traffic = Traffic(peer)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with meet(peer, check_results=False) as client:
        client.call_tool("echo", {"text": "hi"}, meta={"traceparent": trace, "example.com/order": 7})
    meta = traffic.messages()[-1]["params"]["_meta"]
    assert (meta["traceparent"], meta["example.com/order"]) == (trace, 7)
    assert meta[f"{_META}protocolVersion"] == "2026-07-28"


@for_peers(*MODERN)
def test_what_the_revision_no_longer_has_is_not_sent(peer: Peer) -> None:
    """X10, X17, E-14: a ping is a question that it does have, and a change of the roots is nothing to tell."""
    traffic = Traffic(peer)
    with meet(peer, roots=["file:///srv"], check_results=False) as client:
        assert client.send_ping() is None
        client.send_roots_list_changed()
        client.call_tool("echo", {"text": "hi"})
    assert traffic.methods() == ["server/discover", "server/discover", "tools/call"]
    offered = traffic.messages()[-1]["params"]["_meta"][f"{_META}clientCapabilities"]
    assert offered["roots"] == {}


@for_peers(*MODERN)
def test_a_notification_of_ones_own_is_taken(peer: Peer) -> None:
    """H26-01, H26-02, H26-09: 202 without a body is an answer."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        client.notify("notifications/custom", {"a": 1})
    (note,) = [note for note in traffic.notes() if "id" not in note["body"]]
    assert note["headers"]["mcp-protocol-version"] == "2026-07-28"
    assert note["headers"]["mcp-method"] == "notifications/custom"


@for_peers(*MODERN)
def test_a_large_answer_comes_whole(peer: Peer) -> None:
    """H26-03, BASE-01: a megabyte of text with characters of all lengths, there and back."""
    text = "aß\u2028\U0001f600" * 100_000
    with meet(peer, check_results=False) as client:
        assert client.call_tool("echo", {"text": text}).text == text
