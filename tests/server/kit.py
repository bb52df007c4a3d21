"""A small MCP client of raw HTTP, so that the server is tested without the client half."""

from __future__ import annotations

import http.client
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from wsgiref.validate import validator

BOTH = "application/json, text/event-stream"
# Bound on every wait of a test, in seconds; reached only when something is broken.
PATIENCE = 10.0


class Wire:
    """One session over real sockets; each request has a connection of its own unless it is given one."""

    def __init__(self, url: str, revision: str = "2025-11-25", **capabilities: Any) -> None:
        parts = urlsplit(url)
        self.address = parts.netloc
        self.path = parts.path
        self.revision = revision
        self.capabilities = capabilities
        self.session: str | None = None
        self.fixed: dict[str, str] = {}
        self._next = 0

    def headers(self, **extra: str) -> dict[str, str]:
        headers = {"Accept": BOTH, "Content-Type": "application/json", **self.fixed}
        if self.session is not None:
            headers |= {"Mcp-Session-Id": self.session, "Mcp-Protocol-Version": self.revision}
        return headers | {name.replace("_", "-"): value for name, value in extra.items()}

    def send(self, method: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request(method, self.path, body, self.headers(**headers))
        response = connection.getresponse()
        if connection.sock is not None:
            connection.sock.close()  # it stays open for as long as the response reads from it
        return response

    def post(self, message: Any, **headers: str) -> http.client.HTTPResponse:
        return self.send("POST", json.dumps(message).encode(), **headers)

    def next_id(self) -> int:
        self._next += 1
        return self._next

    def request(self, method: str, params: Any = None, **headers: str) -> http.client.HTTPResponse:
        message = {"jsonrpc": "2.0", "id": self.next_id(), "method": method}
        if params is not None:
            message["params"] = params
        return self.post(message, **headers)

    def call(self, tool: str, arguments: Any = None, *, token: Any = None) -> http.client.HTTPResponse:
        params: dict[str, Any] = {"name": tool, "arguments": arguments or {}}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return self.request("tools/call", params)

    def result(self, method: str, params: Any = None) -> Any:
        """The result of a request that is answered by JSON or by a stream; an error object if it failed."""
        with self.request(method, params) as response:
            if response.headers["Content-Type"] == "text/event-stream":
                answer = [json.loads(event["data"]) for event in events(response) if event["data"]][-1]
            else:
                answer = json.loads(response.read())
        return answer.get("result", answer.get("error"))

    def tool(self, name: str, arguments: Any = None) -> Any:
        return self.result("tools/call", {"name": name, "arguments": arguments or {}})

    def initialize(self) -> Wire:
        params = {
            "protocolVersion": self.revision,
            "capabilities": self.capabilities,
            "clientInfo": {"name": "wire", "version": "1"},
        }
        with self.request("initialize", params) as response:
            assert response.status == 200
            self.session = response.headers["Mcp-Session-Id"]
            assert json.loads(response.read())["result"]["protocolVersion"] == self.revision
        with self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}) as response:
            assert (response.status, response.read()) == (202, b"")
        return self


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, str]]:
    """The events of a stream as dicts, with ``data`` always there; comments are left out."""
    fields: dict[str, str] = {}
    while line := response.readline():
        text = line.decode().rstrip("\n")
        if not text:
            if fields:
                yield {"data": ""} | fields
            fields = {}
        elif not text.startswith(":"):
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")


def cut(response: http.client.HTTPResponse) -> None:
    """Break the connection without reading the rest."""
    response.close()


class Reply:
    """One answer of a WSGI application that was called directly. A context manager, since a stream must be
    closed.
    """

    def __init__(self, app: Callable[..., Any], environ: dict[str, Any]) -> None:
        self.headers: dict[str, str] = {}

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            self.status = int(status.split()[0])
            self.headers.update({name.lower(): value for name, value in headers})
            return lambda data: None

        self._chunks = app(environ, start_response)
        self.chunks = iter(self._chunks)

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self._chunks, "close"):
            self._chunks.close()

    def body(self) -> bytes:
        return b"".join(self.chunks)

    def json(self) -> Any:
        return json.loads(self.body())


class Direct:
    """One session with a WSGI application in this process, through the checker of the standard library."""

    def __init__(self, app: Callable[..., Any], path: str = "/mcp") -> None:
        self.app = validator(app)
        self.path = path
        self.session: str | None = None
        self._next = 0

    def send(self, method: str, body: bytes = b"", **headers: str | None) -> Reply:
        """Call the application. A header that is None is left out, also one that is usually there."""
        fields: dict[str, str | None] = {
            "HTTP_HOST": "localhost:8000",
            "HTTP_ACCEPT": BOTH,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_MCP_SESSION_ID": self.session,
        }
        fields.update(
            {
                name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}": value
                for name, value in headers.items()
            }
        )
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        return Reply(self.app, environ | {name: value for name, value in fields.items() if value is not None})

    def post(self, message: Any, **headers: str | None) -> Reply:
        return self.send("POST", message if isinstance(message, bytes) else json.dumps(message).encode(), **headers)

    def request(self, method: str, params: Any = None, **headers: str | None) -> Reply:
        self._next += 1
        message = {"jsonrpc": "2.0", "id": self._next, "method": method}
        return self.post(message if params is None else message | {"params": params}, **headers)

    def answer(self, method: str, params: Any = None, **headers: str | None) -> Any:
        """The result of a request, or its error object."""
        with self.request(method, params, **headers) as reply:
            if reply.headers["content-type"] == "text/event-stream":
                lines = reply.body().decode().splitlines()
                answer = json.loads([line for line in lines if line.startswith("data: ")][-1][6:])
            else:
                answer = reply.json()
        return answer.get("result", answer.get("error"))

    def tool(self, name: str, arguments: Any = None) -> Any:
        return self.answer("tools/call", {"name": name, "arguments": arguments or {}})

    def initialize(self, revision: str = "2025-11-25", **headers: str | None) -> Direct:
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "direct", "version": "1"}}
        with self.request("initialize", params, **headers) as reply:
            assert reply.status == 200, reply.body()
            self.session = reply.headers.get("mcp-session-id")
            assert reply.json()["result"]["protocolVersion"] == revision
        return self
