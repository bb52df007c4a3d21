"""What the tests of the stateless era share: a client of it, and answers for its scripted server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamhttp_client import Client, RetryPolicy
from streamhttp_client.client.eras import KNOWN_SERVERS
from streamhttp_client.protocol.versions import LATEST
from tests.client._peer import BOUND
from tests.support.rawserver import Peer, RawServer, Request

__all__ = [
    "ALL",
    "CAPABILITIES",
    "DONE",
    "LOG_LEVEL",
    "TASKS",
    "acknowledge",
    "answered",
    "asks",
    "complete",
    "elicit",
    "kept",
    "log_levels",
    "meta_of",
    "no_other_requests",
    "only_posts",
    "open_modern",
    "text",
]

PREFIX = "io.modelcontextprotocol/"
CAPABILITIES, LOG_LEVEL, TASKS = f"{PREFIX}clientCapabilities", f"{PREFIX}logLevel", f"{PREFIX}tasks"
DONE: dict[str, Any] = {"resultType": "complete", "content": [{"type": "text", "text": "ok"}]}

#: Capabilities of a server that can do all there is.
ALL: dict[str, Any] = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "extensions": {TASKS: {}},
}

Answer = Callable[[Peer, Request], None]


def open_modern(server: RawServer, *, known: bool = True, **options: Any) -> Client:
    """A client that does not wait between attempts.

    Args:
        server: Whose client.
        known: Whether it knows already that this server is of the era; else it probes.
        **options: Of the client.
    """
    if known:
        KNOWN_SERVERS.learn(server.url, LATEST)
    else:
        KNOWN_SERVERS.forget(server.url)
    return Client(server.url, **{"timeout": BOUND, "retry": RetryPolicy(attempts=4, base=0.0), **options})


def meta_of(request: Request) -> dict[str, Any]:
    """``_meta`` of a request, which every one must have."""
    meta: dict[str, Any] = request.json["params"]["_meta"]
    return meta


def log_levels(requests: list[Request]) -> list[str | None]:
    """The level that each of them asks for."""
    return [meta_of(request).get(LOG_LEVEL) for request in requests]


def complete(**members: Any) -> dict[str, Any]:
    """A result that is the last word."""
    return {"resultType": "complete", **members}


def text(words: str) -> dict[str, Any]:
    """The result of a tool that says so."""
    return complete(content=[{"type": "text", "text": words}])


def kept(milliseconds: Any, scope: str = "private", **members: Any) -> dict[str, Any]:
    """A result that may be kept for so long."""
    return complete(ttlMs=milliseconds, cacheScope=scope, **members)


def asks(requests: Mapping[str, Any] | None = None, state: Any = None) -> dict[str, Any]:
    """A result that asks for something first."""
    result: dict[str, Any] = {"resultType": "input_required"}
    if requests is not None:
        result["inputRequests"] = dict(requests)
    if state is not None:
        result["requestState"] = state
    return result


def elicit(message: str = "Your name?", **properties: Any) -> dict[str, Any]:
    """The request to ask the user something."""
    schema = {"type": "object", "properties": properties or {"name": {"type": "string"}}}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def answered(request: Request) -> tuple[Any, Any]:
    """The answers and the state that a request carries; a member that is not there is "-"."""
    params = request.json["params"]
    return params.get("inputResponses", "-"), params.get("requestState", "-")


def acknowledge(
    peer: Peer, request: Request, honoured: Mapping[str, Any] | None = None
) -> Callable[..., None]:
    """Open the stream of a subscription; returns what sends a notification on it."""
    meta = {f"{PREFIX}subscriptionId": request.id}

    def tell(method: str, **params: Any) -> None:
        peer.event({"jsonrpc": "2.0", "method": method, "params": {"_meta": meta, **params}})

    wanted = request.json["params"]["notifications"]
    peer.start_stream()
    tell("notifications/subscriptions/acknowledged", notifications=wanted if honoured is None else dict(honoured))
    return tell


def only_posts(server: RawServer) -> bool:
    """Whether nothing came but POSTs of single requests and notifications, without what belongs to sessions."""
    return all(
        request.method == "POST"
        and isinstance(request.json, dict)
        and "method" in request.json
        and request.header("Mcp-Session-Id") is None
        and request.header("Last-Event-ID") is None
        for request in server.requests
    )


def no_other_requests(server: RawServer, *keys: str) -> bool:
    """Whether these came, in this order, and nothing else; no notification in particular."""
    return [request.key for request in server.requests] == list(keys)
