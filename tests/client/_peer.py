"""What the tests of the client share: answers for the scripted server, and a client without waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamhttp_client import Client, RetryPolicy
from streamhttp_client.client.eras import KNOWN_SERVERS
from streamhttp_client.protocol.versions import LATEST_SESSION
from tests.support.rawserver import Peer, RawMCPServer, RawServer, Request

__all__ = [
    "AT_ONCE",
    "BOUND",
    "EVERYTHING",
    "OK",
    "asking",
    "fail",
    "note",
    "open_client",
    "progress",
    "refuse",
    "stream",
    "token_of",
]

BOUND = 15.0  # seconds for a whole call; none comes near unless it fails
AT_ONCE = 2.0  # seconds within which a woken thread must be back, on a slow and busy machine
OK = {"content": [{"type": "text", "text": "ok"}]}

#: Capabilities of a server that can do all there is.
EVERYTHING: dict[str, Any] = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
}

Answer = Callable[[Peer, Request], None]


def open_client(server: RawServer, **options: Any) -> Client:
    """A client that does not wait between attempts, listens only if the test says so, and knows that a handshake is
    wanted.
    """
    KNOWN_SERVERS.learn(server.url, LATEST_SESSION)
    defaults = {"timeout": BOUND, "retry": RetryPolicy(attempts=4, base=0.0), "listen_in_background": False}
    return Client(server.url, **{**defaults, **options})


def token_of(request: Request) -> Any:
    """The progress token that came with a request; None if it did not ask for progress."""
    return ((request.json.get("params") or {}).get("_meta") or {}).get("progressToken")


def note(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A notification of the server."""
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": dict(params)})}


def progress(token: Any, value: Any, **more: Any) -> dict[str, Any]:
    """A progress notification."""
    return note("notifications/progress", {"progressToken": token, "progress": value, **more})


def stream(*before: Any, result: Any = None) -> Answer:
    """Answer with an event stream: ``before``, each a message or a function of the request, then the result."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for item in before:
            peer.event(item(request) if callable(item) else item)
        peer.event_result(request, OK if result is None else result)
        peer.end_stream()

    return answer


def asking(
    server: RawMCPServer, *questions: tuple[str, Any], answers: list[Any], result: Any = None
) -> Answer:
    """Answer with a stream on which the server asks first, and waits for each answer, which goes to ``answers``."""

    def answer(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for number, (method, params) in enumerate(questions):
            known = len(server.seen("response"))
            wire = {"jsonrpc": "2.0", "id": f"ask-{number}", "method": method}
            peer.event(wire if params is None else {**wire, "params": params})
            seen = server.wait_for(lambda seen, known=known: _responses(seen)[known:])  # type: ignore[misc]
            answers.append(_responses(seen)[known].json)
        peer.event_result(request, OK if result is None else result)
        peer.end_stream()

    return answer


def _responses(seen: Sequence[Request]) -> list[Request]:
    return [request for request in seen if request.key == "response"]


def fail(code: int, message: str = "no", data: Any = None, status: int = 200) -> Answer:
    """Answer with a JSON-RPC error."""

    def answer(peer: Peer, request: Request) -> None:
        error = {"code": code, "message": message, **({} if data is None else {"data": data})}
        peer.respond_json({"jsonrpc": "2.0", "id": request.id, "error": error}, status)

    return answer


def refuse(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with an HTTP status and nothing more."""

    def answer(peer: Peer, request: Request) -> None:
        peer.respond(status, b"", headers=headers)

    return answer
