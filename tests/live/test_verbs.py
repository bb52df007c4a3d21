"""Every verb of the client, against every peer in every mode."""

from __future__ import annotations

import pytest

from streamhttp_client import RPCError, ToolError
from tests.live.clients import ask, connect, for_peers
from tests.live.peers import JSON, STATEFUL, STATELESS, Peer

pytestmark = pytest.mark.live

ALL = [*STATEFUL, *JSON, *STATELESS]
#: With a separator that JSON allows and naive line splitting breaks at, and a character outside the first
#: plane.
TEXT = "grüß\u2028dich\u0085 \U0001f600\r\n"


@for_peers(*ALL)
def test_the_handshake_tells_who_is_there(peer: Peer) -> None:
    with connect(peer) as client:
        session = client.session
        assert session.protocol_version == "2025-11-25"
        assert session.server_info is not None and session.server_info.name == "peer"
        assert session.instructions == "Ask me anything."
        assert session.capabilities is not None and session.capabilities.tools is not None
        assert (session.session_id is None) is peer.kind.stateless


@for_peers(*ALL)
def test_tools_come_over_all_pages(peer: Peer) -> None:
    """The peers page by ten."""
    with connect(peer) as client:
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


@for_peers(*ALL)
def test_pages_are_walked_lazily(peer: Peer) -> None:
    with connect(peer) as client:
        assert next(iter(client.iter_tools())).name == client.list_tools()[0].name


@for_peers(*ALL)
def test_a_tool_gives_text(peer: Peer) -> None:
    with connect(peer) as client:
        result = client.call_tool("echo", {"text": TEXT})
        assert result.text == TEXT
        assert result.data == TEXT
        assert result.is_error is False


@for_peers(*ALL)
def test_a_tool_gives_a_structured_value(peer: Peer) -> None:
    with connect(peer) as client:
        result = client.call_tool("add", {"a": 2, "b": 40})
        assert result.structured_content == {"total": 42}
        assert result.data == {"total": 42}


@for_peers(*ALL)
def test_a_tool_that_fails_raises_or_is_told_apart(peer: Peer) -> None:
    with connect(peer) as client:
        with pytest.raises(ToolError, match="because") as caught:
            client.call_tool("fail", {"reason": "because"})
        assert caught.value.result.is_error
        result = client.call_tool("fail", {"reason": "because"}, raise_on_error=False)
        assert result.is_error and "because" in result.text


@for_peers(*ALL)
def test_resources_are_listed_and_read(peer: Peer) -> None:
    with connect(peer) as client:
        resources = {resource.name: resource for resource in client.list_resources()}
        assert set(resources) == {"greeting", "logo"}
        assert (resources["logo"].uri, resources["logo"].mime_type) == ("note://logo", "image/png")
        text = client.read_resource("note://greeting")
        assert text.contents[0].uri == "note://greeting"
        assert text.text == "grüß dich\u2028twice"
        (blob,) = client.read_resource("note://logo").contents
        assert blob.data_bytes == bytes(range(256))


@for_peers(*ALL)
def test_templates_are_listed_and_their_resources_read(peer: Peer) -> None:
    with connect(peer) as client:
        (template,) = client.list_resource_templates()
        assert template.uri_template == "note://item/{name}"
        assert client.read_resource("note://item/seven").text == "item seven"


@for_peers(*ALL)
def test_a_missing_resource_is_an_error_of_the_server(peer: Peer) -> None:
    """mcp 1.x gives it code 0, the others -32602; all name the URI."""
    with connect(peer) as client, pytest.raises(RPCError, match="note://missing") as caught:
        client.read_resource("note://missing")
    assert caught.value.code in (0, -32602)


@for_peers(*ALL)
def test_prompts_are_listed_and_filled_in(peer: Peer) -> None:
    with connect(peer) as client:
        (prompt,) = client.list_prompts()
        arguments = {argument.name: argument.required for argument in prompt.arguments}
        assert (prompt.name, prompt.description, arguments) == (
            "greet",
            "Greet someone.",
            {"name": True, "style": False},
        )
        filled = client.get_prompt("greet", {"name": "Ann", "style": "formal"})
        (message,) = filled.messages
        assert message.role == "user"
        assert message.content.text == "Greet Ann in a formal way."
        with pytest.raises(RPCError):
            client.get_prompt("no such prompt")


@for_peers(*ALL)
def test_arguments_are_completed(peer: Peer) -> None:
    with connect(peer) as client:
        found = client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "style", "value": "f"})
        assert list(found.completion.values) == ["formal", "friendly", "frosty"]
        nothing = client.complete({"type": "ref/prompt", "name": "greet"}, {"name": "style", "value": "x"})
        assert list(nothing.completion.values) == []


@for_peers(*ALL)
def test_the_server_is_pinged(peer: Peer) -> None:
    with connect(peer) as client:
        assert client.send_ping() is None


@for_peers(*(kind for kind in ALL if kind.environment != "fastmcp"))
def test_the_log_level_reaches_the_server(peer: Peer) -> None:
    with connect(peer) as client:
        for level in ("debug", "warning"):
            client.set_logging_level(level)
            assert ask(client, "whoami")["level"] == level


@for_peers(*ALL)
def test_every_request_names_the_session_and_the_revision(peer: Peer) -> None:
    with connect(peer) as client:
        seen = ask(client, "whoami")
        assert seen["session"] == client.session.session_id
        assert seen["revision"] == "2025-11-25"


@for_peers(*ALL)
def test_raw_requests_go_through(peer: Peer) -> None:
    """The escape hatch gives what is on the wire."""
    with connect(peer) as client:
        result = client.request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}})
        assert result["structuredContent"] == {"total": 2}
        with pytest.raises(RPCError) as caught:
            client.request("no/such/method", {})
        assert caught.value.code in (-32601, -32602)


@for_peers(*ALL)
def test_the_first_call_connects(peer: Peer) -> None:
    """Neither ``with`` nor anything else is needed before."""
    client = connect(peer)
    try:
        assert client.call_tool("echo", {"text": "hi"}).text == "hi"
    finally:
        client.close()


@for_peers(*ALL)
def test_auto_finds_a_revision_in_common(peer: Peer) -> None:
    with connect(peer, protocol="auto") as client:
        assert client.call_tool("echo", {"text": "hi"}).text == "hi"
