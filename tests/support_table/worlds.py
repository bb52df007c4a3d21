"""Servers of one revision each, and nothing else, with one face: what a proof does is the same for all of them.

A `World` is such a server with what differs between revisions in the way of *saying* something: a result, messages
before it, a question to the client. What differs in meaning is for the proofs. At the end, `World.look_back` judges
every request that came by what all requests of the revision must be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamhttp_client import Client, RetryPolicy
from tests.support.legacyserver import LegacyServer
from tests.support.rawserver import ModernMCPServer, Peer, RawMCPServer, RawServer, Request

__all__ = [
    "BOUND",
    "OK",
    "PREFIX",
    "LegacyWorld",
    "ModernWorld",
    "SessionWorld",
    "World",
    "meta_of",
    "note",
    "open_world",
]

BOUND = 15.0  # seconds; no call comes near unless it fails
PREFIX = "io.modelcontextprotocol/"
OK: dict[str, Any] = {"content": [{"type": "text", "text": "ok"}]}

Answer = Callable[[Peer, Request], None]
#: A message, or what makes one for a request.
Before = dict[str, Any] | Callable[[Request], dict[str, Any]]


def note(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A notification of the server."""
    return {"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": dict(params)})}


def meta_of(request: Request) -> dict[str, Any]:
    """``_meta`` of a request; empty if it has none."""
    meta = (request.json.get("params") or {}).get("_meta")
    return meta if isinstance(meta, dict) else {}


class World(ABC):
    """See the module.

    Attributes:
        revision: The one that is spoken.
        server: Who speaks it.
    """

    revision: str
    server: RawServer
    _questions = 0

    def client(self, **options: Any) -> Client:
        """A client that wants this revision and no other; it never waits between attempts, of which there are two."""
        defaults: dict[str, Any] = {
            "protocol": self.revision,
            "timeout": BOUND,
            "retry": RetryPolicy(attempts=2, base=0.0),
            "listen_in_background": False,
        }
        return Client(self.server.url, **(defaults | options))

    @property
    def calls(self) -> list[Request]:
        """The calls of tools that came."""
        return self.server.seen("tools/call")

    def keys(self) -> list[str]:
        """What came, in order, without what begins and ends a session."""
        opening = ("initialize", "notifications/initialized", "DELETE", "server/discover")
        return [request.key for request in self.server.requests if request.key not in opening]

    @abstractmethod
    def declare(self, **capabilities: Any) -> None:
        """Have the server declare these capabilities, beside tools."""

    @abstractmethod
    def on(self, key: str, *answers: Mapping[str, Any] | Answer) -> None:
        """Answer requests of this key with results or scripts, one after the other; the last one serves all later ones.

        Requests that do not fit the revision are refused, and do not count.
        """

    @abstractmethod
    def says(self, *before: Before, result: Mapping[str, Any] = OK) -> Answer:
        """A script that sends messages while the request is under way, and then its result."""

    @abstractmethod
    def says_and_stops(self, *before: Before) -> Answer:
        """A script that sends messages, and then neither sends nor closes anything."""

    @abstractmethod
    def breaks(self, *before: Before) -> Answer:
        """A script that sends messages, and then cuts the connection on which the answer would come."""

    @abstractmethod
    def asks(self, method: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Have the next call of a tool ask something of the client first.

        Returns:
            A list that gets the answer: its ``result``, or its ``error``.
        """

    def _question(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """A request of the server, with an id that none had before."""
        self._questions += 1
        return {**note(method, params), "id": f"question-{self._questions}"}

    def look_back(self, start: int = 0) -> None:
        """Judge every request, from the one with this number on: "not in it" means that it never came."""
        for request in self.server.requests[start:]:
            names = {name.lower() for name, _ in request.headers}
            if request.method == "POST":
                assert isinstance(request.json, dict), "a batch, or no JSON"
                assert request.header("Content-Type") == "application/json"
            self.judge(request, {name for name in names if name.startswith("mcp-") or name == "last-event-id"})

    @abstractmethod
    def judge(self, request: Request, names: set[str]) -> None:
        """Judge a request.

        Args:
            request: It.
            names: The header fields of MCP that came with it, in lower case.
        """


class LegacyWorld(World):
    """2024-11-05."""

    revision = "2024-11-05"
    server: LegacyServer

    def __init__(self, server: LegacyServer) -> None:
        self.server = server

    def declare(self, **capabilities: Any) -> None:
        self.server.capabilities.update(capabilities)

    def on(self, key: str, *answers: Mapping[str, Any] | Answer) -> None:
        scripts = [self.says(result=answer) if isinstance(answer, Mapping) else answer for answer in answers]
        self.server.on(key, *[lambda server, peer, request, script=script: script(peer, request) for script in scripts])

    def _say(self, peer: Peer, request: Request, before: tuple[Before, ...], *last: dict[str, Any]) -> None:
        self.server.accept(peer)
        self.server.say(*(item(request) if callable(item) else item for item in before), *last)

    def says(self, *before: Before, result: Mapping[str, Any] = OK) -> Answer:
        def answer(peer: Peer, request: Request) -> None:
            self._say(peer, request, before, {"jsonrpc": "2.0", "id": request.id, "result": dict(result)})

        return answer

    def says_and_stops(self, *before: Before) -> Answer:
        return lambda peer, request: self._say(peer, request, before)

    def breaks(self, *before: Before) -> Answer:
        def answer(peer: Peer, request: Request) -> None:
            self._say(peer, request, before)
            self.server.streams[-1].cut()

        return answer

    def asks(self, method: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        question = self._question(method, params)

        def finish(peer: Peer, request: Request) -> None:
            self.server.accept(peer)
            answers.append(_answer_in(request, question))
            self.server.say({"jsonrpc": "2.0", "id": self.calls[-1].id, "result": OK})

        # Nobody waits here for the answer: it may come on this very connection.
        self.on("tools/call", self.says_and_stops(question))
        self.on("response", finish)
        return answers

    def judge(self, request: Request, names: set[str]) -> None:
        assert request.method in ("GET", "POST") and not names
        if request.method == "GET":
            assert (request.target, request.header("Accept")) == ("/mcp", "text/event-stream")
        else:
            assert request.target.startswith("/messages?session=")
            _knows_no_meta(request)


class SessionWorld(World):
    """2025-03-26 to 2025-11-25."""

    server: RawMCPServer

    def __init__(self, revision: str, server: RawMCPServer) -> None:
        self.revision = revision
        self.server = server

    def declare(self, **capabilities: Any) -> None:
        self.server.capabilities.update(capabilities)

    def on(self, key: str, *answers: Mapping[str, Any] | Answer) -> None:
        self.server.on(key, *[self._checked(answer) for answer in answers])

    def _checked(self, answer: Mapping[str, Any] | Answer) -> Answer:
        def check(peer: Peer, request: Request) -> None:
            if self.server.refuse(peer, request):
                return
            if isinstance(answer, Mapping):
                peer.respond_result(request, self._result(request, answer))
            else:
                answer(peer, request)

        return check

    def _result(self, request: Request, result: Mapping[str, Any]) -> dict[str, Any]:
        return dict(result)

    def _begin(self, peer: Peer, request: Request, before: tuple[Before, ...]) -> None:
        peer.start_stream()
        for item in before:
            peer.event(item(request) if callable(item) else item)

    def says(self, *before: Before, result: Mapping[str, Any] = OK) -> Answer:
        def answer(peer: Peer, request: Request) -> None:
            self._begin(peer, request, before)
            peer.event_result(request, self._result(request, result))
            peer.end_stream()

        return answer

    def says_and_stops(self, *before: Before) -> Answer:
        def answer(peer: Peer, request: Request) -> None:
            self._begin(peer, request, before)
            peer.wait_gone()

        return answer

    def breaks(self, *before: Before) -> Answer:
        def answer(peer: Peer, request: Request) -> None:
            peer.start_stream()
            for number, item in enumerate(before, 1):
                peer.event(item(request) if callable(item) else item, id=f"event-{number}")
            peer.cut()

        return answer

    def asks(self, method: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        question = self._question(method, params)

        def answer(peer: Peer, request: Request) -> None:
            peer.start_stream()
            peer.event(question)
            self.server.wait_for(lambda seen: seen[-1].key == "response")
            answers.append(_answer_in(self.server.requests[-1], question))
            peer.event_result(request, OK)
            peer.end_stream()

        self.on("tools/call", answer)
        return answers

    def judge(self, request: Request, names: set[str]) -> None:
        assert request.method in ("GET", "POST", "DELETE") and request.target == "/mcp"
        if request.method == "POST":
            accepted = (request.header("Accept") or "").split(", ")
            assert accepted == ["application/json", "text/event-stream"]
            _knows_no_meta(request)
        if request.key == "initialize":
            assert not names
        else:
            assert names - {"last-event-id"} == {"mcp-session-id", "mcp-protocol-version"}
            assert request.header("MCP-Protocol-Version") == self.revision
            assert "last-event-id" not in names or request.method == "GET"


class ModernWorld(SessionWorld):
    """2026-07-28."""

    server: ModernMCPServer

    def __init__(self, server: ModernMCPServer) -> None:
        super().__init__("2026-07-28", server)

    def _result(self, request: Request, result: Mapping[str, Any]) -> dict[str, Any]:
        kept = {}
        if request.key.endswith("/list") or request.key == "resources/read":
            kept = {"ttlMs": 0, "cacheScope": "private"}
        return {"resultType": "complete", **kept, **result}

    def asks(self, method: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        question = {"method": method, **({} if params is None else {"params": dict(params)})}

        def finish(peer: Peer, request: Request) -> None:
            params = request.json["params"]
            assert params["requestState"] == "state"
            answers.append({"result": params["inputResponses"]["question"]})
            peer.respond_result(request, self._result(request, OK))

        asked = {"inputRequests": {"question": question}, "requestState": "state"}
        self.on("tools/call", {"resultType": "input_required", **asked}, finish)
        return answers

    def judge(self, request: Request, names: set[str]) -> None:
        assert (request.method, request.target) == ("POST", "/mcp")
        assert names - {"mcp-name"} - {name for name in names if name.startswith("mcp-param-")} == {
            "mcp-protocol-version",
            "mcp-method",
        }
        assert request.header("MCP-Protocol-Version") == self.revision
        assert request.header("Mcp-Method") == request.key
        assert request.key not in (
            "initialize",
            "logging/setLevel",
            "notifications/cancelled",
            "notifications/initialized",
            "notifications/roots/list_changed",
            "ping",
            "resources/subscribe",
            "resources/unsubscribe",
            "response",
            "tasks/list",
            "tasks/result",
        )
        if request.id is not None:
            assert meta_of(request)[f"{PREFIX}protocolVersion"] == self.revision


@contextmanager
def open_world(revision: str, *, judged: bool = True) -> Iterator[World]:
    """The world of a revision. What came is judged at the end, unless the test does it."""
    world: World
    if revision == "2024-11-05":
        with LegacyServer() as legacy:
            world = LegacyWorld(legacy)
            yield world
    elif revision == "2026-07-28":
        with ModernMCPServer() as modern:
            world = ModernWorld(modern)
            yield world
    else:
        with RawMCPServer(protocol_version=revision, capabilities={"tools": {}}) as server:
            world = SessionWorld(revision, server)
            yield world
    if judged:
        world.look_back()


def _answer_in(request: Request, question: dict[str, Any]) -> dict[str, Any]:
    """What the client answers to a question."""
    message: dict[str, Any] = request.json
    assert (message.pop("jsonrpc"), message.pop("id")) == ("2.0", question["id"])
    return message


def _knows_no_meta(request: Request) -> None:
    """What every request of 2026-07-28 says of the client is in none of an older revision."""
    if isinstance(request.json, dict):
        assert not [name for name in meta_of(request) if name.startswith(PREFIX)]
