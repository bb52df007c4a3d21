"""Plays the client in the public conformance suite: one function per scenario.

The suite starts this file with the URL of its server as the last argument and the scenario's name in
``MCP_CONFORMANCE_SCENARIO``; scenarios that need data (the auth ones) get it as JSON in
``MCP_CONFORMANCE_CONTEXT``. It must leave with 0. What each scenario asks, and where its server differs from
others, stands with its function.

A further scenario is one function with ``@scenario("its-name")``, and its name in the list of the test
beside.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from streamhttp_client import Client

Scenario = Callable[[str], None]
SCENARIOS: dict[str, Scenario] = {}

REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Register the function that plays the scenario called ``name``."""

    def register(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return register


@scenario("initialize")
def initialize(url: str) -> None:
    """Connect, ask for tools, leave.

    That server declares no capability at all, so only a raw request may ask for tools. It answers every method
    it does not know, ``server/discover`` among them, with an empty result, and the ``initialized`` notification
    with 200 and a response without an id. It has no sessions and refuses GET with 400.
    """
    with Client(url) as client:
        assert client.session.protocol_version == REVISION
        assert client.request("tools/list") == {"tools": []}


@scenario("tools_call")
def tools_call(url: str) -> None:
    """Call ``add_numbers`` with two numbers. No sessions there; GET and DELETE are 404."""
    with Client(url) as client:
        assert [tool.name for tool in client.list_tools()] == ["add_numbers"]
        assert client.call_tool("add_numbers", {"a": 5, "b": 3}).text == "The sum of 5 and 3 is 8"


@scenario("elicitation-sep1034-client-defaults")
def elicitation_defaults(url: str) -> None:
    """Accept a form without filling in anything: the client has to put in the defaults of all five kinds.

    The question is not related to the call: it comes on the GET stream, and the call waits for its answer. So
    a client that can be asked has to hold that stream open while it calls.
    """

    def accept(params: Any) -> dict[str, Any]:
        return {"action": "accept", "content": {}}

    with Client(url, elicitation=accept) as client:
        result = client.call_tool("test_client_elicitation_defaults", {})
        assert result.text.startswith("Elicitation completed"), result.text


@scenario("sse-retry")
def sse_retry(url: str) -> None:
    """Call a tool whose stream is closed behind its first event, and collect the result with a GET.

    The server negotiates 2025-03-26 and still sends an event id and ``retry: 500``. The last GET it sees has
    to come 450 to 700 ms after it closed the stream, with ``Last-Event-ID``; it answers there and leaves that
    stream open.
    """
    with Client(url) as client:
        result = client.call_tool("test_reconnection", {})
        assert result.text == "Reconnection test completed successfully"


@scenario("json-schema-2020-12-preservation")
def schema_preservation(url: str) -> None:
    """Send the input schema of one tool back as an argument of another, with nothing stripped."""
    with Client(url) as client:
        (tool,) = (tool for tool in client.list_tools() if tool.name == "json_schema_2020_12_tool")
        assert client.call_tool("json_schema_echo", {"schema": tool.input_schema}).text == "echoed"


@scenario("request-metadata")
def request_metadata(url: str) -> None:
    """Say in each request who asks, in which revision. The first one is refused, whatever it says."""
    options: dict[str, Any] = {"sampling": _decline, "elicitation": _decline, "roots": []}
    with Client(url, **options) as client:
        assert client.session.protocol_version == REVISION
        client.request("tools/list")  # it declares nothing


@scenario("sep-2322-client-request-state")
def request_state(url: str) -> None:
    """Answer questions in rounds, with and without a state, and call another tool between question and answer."""

    def confirm(params: Any) -> dict[str, Any]:
        assert client.call_tool("test_mrtr_unrelated", {}).text == "unrelated-ok"
        return {"action": "accept", "content": {"confirmed": True}}

    with Client(url, elicitation=confirm) as client:
        texts = [
            client.call_tool(name, {}).text
            for name in ("test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_no_result_type")
        ]
        assert texts == ["echo-state-ok", "no-state-ok", "no-result-type-test-ok"]


@scenario("http-standard-headers")
def standard_headers(url: str) -> None:
    """Use each verb, so that the method and the name of each are seen in the headers."""
    with Client(url) as client:
        for tool in client.list_tools():
            client.call_tool(tool.name, {})
        for resource in client.list_resources():
            client.read_resource(resource.uri)
        for prompt in client.list_prompts():
            client.get_prompt(prompt.name)


@scenario("http-custom-headers")
def custom_headers(url: str) -> None:
    """Make the calls that the suite names; their annotated arguments are to be seen in headers too."""
    context = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])
    with Client(url) as client:
        client.list_tools()
        for call in context["toolCalls"]:
            client.call_tool(call["name"], call["arguments"])


@scenario("http-invalid-tool-headers")
def invalid_tool_headers(url: str) -> None:
    """Call every tool that is listed: those whose annotations break the rules must not be among them."""
    with Client(url) as client:
        for tool in client.list_tools():
            client.call_tool(tool.name, {name: "x" for name in tool.input_schema.get("properties", {})})


@scenario("json-schema-ref-no-deref")
def no_dereference(url: str) -> None:
    """List a tool whose schema refers to another document, which must not be fetched."""
    with Client(url) as client:
        (tool,) = client.list_tools()
        assert tool.name == "lookup_user"


def _decline(params: Any) -> None:
    """An answer to nothing: these servers never ask."""


def main() -> None:
    name = os.environ["MCP_CONFORMANCE_SCENARIO"]
    if name not in SCENARIOS:
        sys.exit(f"no function plays the scenario {name!r}")
    SCENARIOS[name](sys.argv[-1])


if __name__ == "__main__":
    main()
