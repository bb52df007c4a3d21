"""The reference server of the TypeScript SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.live.clients import connect, for_peers
from tests.live.peers import EVERYTHING, Peer

pytestmark = pytest.mark.live


@for_peers(EVERYTHING)
def test_its_tools_answer(peer: Peer) -> None:
    with connect(peer) as client:
        assert client.session.server_info is not None
        assert client.session.server_info.name == "mcp-servers/everything"
        names = {tool.name for tool in client.list_tools()}
        assert {"echo", "get-sum", "get-structured-content", "trigger-long-running-operation"} <= names
        assert client.call_tool("echo", {"message": "hi"}).text == "Echo: hi"
        assert "42" in client.call_tool("get-sum", {"a": 2, "b": 40}).text
        weather = client.call_tool("get-structured-content", {"location": "Chicago"})
        assert isinstance(weather.data, dict) and "temperature" in weather.data
        image = next(block for block in client.call_tool("get-tiny-image").content if block.type == "image")
        assert base64.b64decode(image.data).startswith(b"\x89PNG")


@for_peers(EVERYTHING)
def test_its_resources_and_prompts_are_there(peer: Peer) -> None:
    with connect(peer) as client:
        resources = client.list_resources()
        assert resources and client.read_resource(resources[0].uri).text
        templates = [template.uri_template for template in client.list_resource_templates()]
        assert "demo://resource/dynamic/text/{resourceId}" in templates
        assert "demo://resource/dynamic/text/7" in {
            part.uri for part in client.read_resource("demo://resource/dynamic/text/7").contents
        }
        prompts = {prompt.name: prompt for prompt in client.list_prompts()}
        assert [argument.name for argument in prompts["args-prompt"].arguments] == ["city", "state"]
        filled = client.get_prompt("args-prompt", {"city": "Paris"})
        assert "Paris" in filled.messages[0].content.text
        reference = {"type": "ref/prompt", "name": "completable-prompt"}
        found = client.complete(reference, {"name": "department", "value": "E"})
        assert "Engineering" in found.completion.values


@for_peers(EVERYTHING)
def test_progress_of_a_long_operation_comes_in_order(peer: Peer) -> None:
    seen: list[tuple[float, float | None]] = []
    with connect(peer) as client:
        client.call_tool(
            "trigger-long-running-operation",
            {"duration": 0.3, "steps": 3},
            on_progress=lambda progress: seen.append((progress.progress, progress.total)),
        )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@for_peers(EVERYTHING)
def test_it_asks_for_a_model_a_form_and_roots(peer: Peer) -> None:
    """Its tools for these appear only for clients that declared them."""

    def sampling(params: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": {"type": "text", "text": "so much"}, "model": "abacus"}

    def elicitation(params: Any) -> dict[str, Any]:
        return {"action": "accept", "content": {"name": "Zoe"}}

    with connect(
        peer, sampling=sampling, elicitation=elicitation, roots=lambda: [{"uri": "file:///srv/data"}]
    ) as client:
        assert "so much" in client.call_tool("trigger-sampling-request", {"prompt": "how much?"}).text
        assert "Zoe" in client.call_tool("trigger-elicitation-request").text
        assert "file:///srv/data" in client.call_tool("get-roots-list").text
