"""Whatever is sent in the stateless era, the answer is one of those that are meant, and the server goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamhttp_client.server import Context, Header, Server
from tests.server.modern_kit import CLIENT, PREFIX, REVISION, ModernDirect, meta, named, parse

SETTINGS = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
METHODS = [
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
    "initialize",
    "no/such",
]
WORDS = ["ask", "mirror", "say", "task", "intro", "test://1", "name", "key", "accept", "ref/prompt", "", REVISION]
MEMBERS = [
    *("name", "arguments", "uri", "ref", "argument", "value", "type", "cursor", "taskId", "inputResponses"),
    *("requestState", "notifications", "resourceSubscriptions", "toolsListChanged", "action", "content", "key"),
]
FIELDS = ["protocolVersion", "clientCapabilities", "clientInfo", "logLevel"]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(WORDS)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS) | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)
texts = st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)


@pytest.fixture(scope="module")
def direct() -> Iterator[ModernDirect]:
    server = Server("fuzz", "1", page_size=1)

    @server.tool()
    def ask(ctx: Context, name: Any = None) -> Any:
        answer = ctx.elicit("Well?", {"type": "object", "properties": {"name": {"type": "string"}}}, key="key")
        return ctx.once("name", lambda: name) if answer.action == "accept" else answer.action

    @server.tool()
    def mirror(name: Annotated[str, Header("Name")] = "", value: Annotated[int, Header("Value")] = 0) -> str:
        return name

    server.tool("say")(lambda text="": text)
    server.tool("task", task=True)(lambda value=None: value)
    server.resource("test://{id}")(lambda id: id)
    server.prompt("intro")(lambda name="": name)
    server.completion(prompt="intro", argument="name")(lambda typed, known: [typed, *known])
    app = server.wsgi(keepalive=0.05)
    yield ModernDirect(app, CLIENT)
    assert app.close()


def check(direct: ModernDirect, params: Any, method: str, caplog: pytest.LogCaptureFixture, **headers: Any) -> None:
    caplog.clear()
    with (
        caplog.at_level(logging.WARNING, "streamhttp_client.server"),
        direct.request(method, params, **headers) as reply,
    ):
        assert reply.status in (200, 400, 404), reply.status
        answer = parse(reply.headers["content-type"], reply.body())[-1]
    assert answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
    if "result" in answer:
        assert reply.status == 200
        assert answer["result"]["resultType"] in ("complete", "input_required", "task")
        assert f"{PREFIX}serverInfo" in answer["result"]["_meta"]
    else:
        code = answer["error"]["code"]
        assert code != -32603 and not (-32019 <= code <= -32000)
        assert (reply.status == 404) == (code == -32601)
    assert not caplog.records, caplog.text


@SETTINGS
@given(method=st.sampled_from(METHODS), params=st.dictionaries(st.sampled_from(MEMBERS), json_values))
def test_any_parameters(
    direct: ModernDirect, caplog: pytest.LogCaptureFixture, method: str, params: dict[str, Any]
) -> None:
    """With the metadata and headers that fit, so that it reaches the methods."""
    params["_meta"] = meta(CLIENT)
    headers = {"MCP_PROTOCOL_VERSION": REVISION, "MCP_METHOD": method, "MCP_NAME": None}
    try:
        headers["MCP_NAME"] = named(method, params)
    except UnicodeEncodeError:
        pass
    check(direct, params, method, caplog, **headers)


@SETTINGS
@given(
    fields=st.dictionaries(st.sampled_from([PREFIX + name for name in FIELDS]) | st.text(), json_values) | json_values,
    version=texts | st.sampled_from([REVISION, "2025-11-25"]),
    method=texts | st.just("tools/call"),
    name=texts | st.just("mirror"),
    param=texts,
)
def test_any_metadata_and_headers(
    direct: ModernDirect,
    caplog: pytest.LogCaptureFixture,
    fields: Any,
    version: str | None,
    method: str | None,
    name: str | None,
    param: str | None,
) -> None:
    """A request that says anything of itself is refused with a reason, or answered."""
    params = {"name": "mirror", "arguments": {"name": "x"}, "_meta": fields}
    headers = {"MCP_METHOD": method, "MCP_NAME": name, "MCP_PARAM_NAME": param, "MCP_PROTOCOL_VERSION": version}
    check(direct, params, "tools/call", caplog, **headers)


@SETTINGS
@given(state=st.text() | st.binary(max_size=200).map(lambda data: data.hex()), cut=st.integers(0, 400))
def test_any_state(direct: ModernDirect, state: str, cut: int) -> None:
    """M26-04: nothing but a state that was given is taken."""
    given = direct.call("ask")["requestState"]
    for wrong in {state, given[:cut], given[cut:], given[:cut] + state + given[cut:]} - {given}:
        assert direct.call("ask", requestState=wrong)["code"] == -32602


@SETTINGS
@given(wanted=st.dictionaries(st.sampled_from(MEMBERS), json_values) | json_values)
def test_any_filter(direct: ModernDirect, wanted: Any) -> None:
    """S26-01: a filter is honoured, or refused."""
    with direct.ask("subscriptions/listen", {"notifications": wanted}) as reply:
        assert reply.status in (200, 400)
        first = next(reply.chunks)
    if reply.status == 200:
        message = json.loads(next(line for line in first.splitlines() if line.startswith(b"data: "))[6:])
        assert message["method"] == "notifications/subscriptions/acknowledged"
