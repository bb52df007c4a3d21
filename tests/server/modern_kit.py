"""A small client of revision 2026-07-28, by hand: over sockets, and straight into a WSGI application."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.server.kit import Direct, Reply, Wire, events

REVISION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
TASKS = {"extensions": {f"{PREFIX}tasks": {}}}
ALL = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
CLIENT = {**ALL, **TASKS}

_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def meta(capabilities: Any = None, **more: Any) -> dict[str, Any]:
    """The metadata of a request; further fields of the protocol by their short names."""
    fields = {
        f"{PREFIX}protocolVersion": REVISION,
        f"{PREFIX}clientInfo": {"name": "kit", "version": "1"},
        f"{PREFIX}clientCapabilities": {} if capabilities is None else capabilities,
    }
    return fields | {key if key == "progressToken" else PREFIX + key: value for key, value in more.items()}


def named(method: str, params: dict[str, Any]) -> str | None:
    """The value of ``Mcp-Name``, encoded where it must be."""
    name = params.get(_NAMED_BY.get(method, "taskId" if method.startswith("tasks/") else ""))
    if not isinstance(name, str):
        return None
    plain = name.isascii() and name.isprintable() and name == name.strip()
    return name if plain else f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def parse(content_type: str, body: bytes) -> list[Any]:
    """The messages of an answer."""
    if content_type == "text/event-stream":
        return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]
    return [json.loads(body)]


class ModernDirect(Direct):
    """Requests to a WSGI application in this process, through the checker of the standard library."""

    def __init__(self, app: Callable[..., Any], capabilities: Any = None) -> None:
        super().__init__(app)
        self.capabilities = capabilities

    def ask(self, method: str, params: Any = None, **headers: str | None) -> Reply:
        """Send a request as it should be; headers replace those, and None leaves one out."""
        params = dict(params or {})
        params.setdefault("_meta", meta(self.capabilities))
        given: dict[str, str | None] = {"MCP_PROTOCOL_VERSION": REVISION, "MCP_METHOD": method}
        given["MCP_NAME"] = named(method, params)
        return self.request(method, params, **given | headers)

    def messages(self, method: str, params: Any = None, **headers: str | None) -> list[Any]:
        with self.ask(method, params, **headers) as reply:
            return parse(reply.headers["content-type"], reply.body())

    def result(self, method: str, params: Any = None, **headers: str | None) -> Any:
        """The result, or the error object."""
        answer = self.messages(method, params, **headers)[-1]
        return answer.get("result", answer.get("error"))

    def call(self, name: str, arguments: Any = None, **more: Any) -> Any:
        """The result of a tool, or the error object."""
        return self.result("tools/call", {"name": name, "arguments": arguments or {}, **more})

    def status(self, method: str, params: Any = None, **headers: str | None) -> tuple[int, int | None]:
        """HTTP status and error code."""
        with self.ask(method, params, **headers) as reply:
            answer = parse(reply.headers["content-type"], reply.body())[-1]
        return reply.status, answer.get("error", {}).get("code")


class ModernWire(Wire):
    """The same over real sockets; each request has a connection of its own."""

    def ask(self, method: str, params: Any = None, **headers: str) -> Any:
        """Send a request as it should be; return the HTTP response."""
        params = dict(params or {})
        params.setdefault("_meta", meta(self.capabilities))
        fields = {"Mcp_Protocol_Version": REVISION, "Mcp_Method": method}
        if (name := named(method, params)) is not None:
            fields["Mcp_Name"] = name
        return self.request(method, params, **fields | headers)

    def messages(self, method: str, params: Any = None, **headers: str) -> Iterator[Any]:
        """The messages of an answer, as they come."""
        with self.ask(method, params, **headers) as response:
            if response.headers["Content-Type"] == "text/event-stream":
                for event in events(response):
                    yield json.loads(event["data"])
            else:
                yield json.loads(response.read())

    def answer_to(self, method: str, params: Any = None, **headers: str) -> Any:
        """The result, or the error object."""
        *_, last = self.messages(method, params, **headers)
        return last.get("result", last.get("error"))
