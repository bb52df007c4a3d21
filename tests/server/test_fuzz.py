"""Whatever is sent, the answer is one of those that are meant, and the server goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamhttp_client.server import Server
from tests.server.kit import Direct

SETTINGS = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
METHODS = [
    "initialize",
    "ping",
    "logging/setLevel",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "notifications/cancelled",
    "no/such",
]
NAMES = ["name", "arguments", "uri", "ref", "argument", "value", "type", "cursor", "level", "requestId", "_meta"]
VALUES = ["echo", "greet", "test://{id}", "test://1", "ref/prompt", "ref/resource", "debug", ""]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(VALUES)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=4),
    max_leaves=12,
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | json_values},
    optional={
        "id": st.integers() | st.text() | json_values,
        "method": st.sampled_from(METHODS) | json_values,
        "params": st.dictionaries(st.sampled_from(NAMES), json_values) | json_values,
        "result": json_values,
        "error": json_values,
    },
)


@pytest.fixture(scope="module")
def direct() -> Iterator[Direct]:
    server = Server("fuzz", "1", page_size=1)

    @server.tool()
    def echo(value: Any = None, count: int = 1, ctx: Any = None) -> Any:
        return value

    server.tool("say")(lambda text="": text)
    server.resource("test://{id}")(lambda id: id)
    server.resource("test://a")(lambda: "a")
    server.prompt("greet")(lambda name="": name)
    server.completion(prompt="greet", argument="name")(lambda typed, known: [typed, *known])
    app = server.wsgi(keepalive=0.05)
    yield Direct(app).initialize()
    assert app.close()


def check(direct: Direct, body: bytes, caplog: pytest.LogCaptureFixture, **headers: str | None) -> None:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "streamhttp_client.server"), direct.post(body, **headers) as reply:
        assert reply.status in (200, 202, 400, 404), reply.status
        text = reply.body()
    if reply.status == 202:
        assert text == b""
    elif reply.headers["content-type"] == "application/json":
        answer = json.loads(text)
        assert answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
    assert not caplog.records, caplog.text


@SETTINGS
@given(message=messages | json_values)
def test_any_message(direct: Direct, caplog: pytest.LogCaptureFixture, message: Any) -> None:
    """JSON of any shape, in and around the methods that there are."""
    check(direct, json.dumps(message).encode(), caplog)
    assert direct.answer("ping") == {}


@SETTINGS
@given(body=st.binary(max_size=200))
def test_any_bytes(direct: Direct, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    check(direct, body, caplog)


texts = st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)


@SETTINGS
@given(
    session=texts,
    version=texts,
    accept=texts,
    host=texts,
    origin=texts,
    last=texts,
    method=st.sampled_from(["GET", "POST"]),
)
def test_any_headers(
    direct: Direct,
    session: str | None,
    version: str | None,
    accept: str | None,
    host: str | None,
    origin: str | None,
    last: str | None,
    method: str,
) -> None:
    """Each is refused with a status that says why, or let through; none is a failure of the server."""
    headers = {"MCP_PROTOCOL_VERSION": version, "ORIGIN": origin, "LAST_EVENT_ID": last}
    for name, value in (("MCP_SESSION_ID", session), ("ACCEPT", accept), ("HOST", host)):
        if value is not None:
            headers[name] = value
    with direct.send(method, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', **headers) as reply:
        assert reply.status in (200, 400, 403, 404, 406, 410, 421, 503)
        if reply.headers["content-type"] == "application/json":
            reply.json()
