"""HTTP+SSE of 2024-11-05 with a server of the official SDK: the transport alone, driven by hand."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamhttp_client import CallTimeout, ConnectionLost, Session, SessionExpired, Timeout, TransportError, jsonrpc
from streamhttp_client.net.http import HTTP
from streamhttp_client.net.retry import Effort, RetryPolicy
from streamhttp_client.protocol import calls
from streamhttp_client.protocol.two_channels import TwoChannelsEra
from streamhttp_client.transport.http_sse import HTTPSSETransport
from tests.live.clients import BOUND, eventually, for_peers
from tests.live.peers import LEGACY, Peer, running

pytestmark = pytest.mark.live

ERA = TwoChannelsEra()


def effort(seconds: float = BOUND) -> Effort:
    return Effort(Timeout(total=seconds), RetryPolicy(attempts=4, base=0.01))


class Talk:
    """A session, and what its server asks and reports."""

    def __init__(self, transport: HTTPSSETransport) -> None:
        self.transport = transport
        self.session: Session | None = None
        self._ids = itertools.count(1)

    def shake(self) -> None:
        """Begin a session."""
        self.session = None
        client = {"name": "t", "version": "1"}
        offer = calls.initialize("2024-11-05", capabilities={"sampling": {}, "roots": {}}, client_info=client)
        result = offer.parse(self.run(offer)[-1].result)
        assert result.protocol_version == "2024-11-05"
        session = Session(self.transport.url, None, result.protocol_version, result.server_info, result.capabilities)
        self.transport.post(ERA, session, calls.initialized(), effort())
        self.session = session

    def run(self, operation: calls.Operation[Any], seconds: float = BOUND) -> list[Any]:
        """All that comes for a request; what the server asks is answered."""
        number = next(self._ids)
        params = {**(operation.params or {}), "_meta": {"progressToken": number}}
        limits = effort(seconds)
        request = jsonrpc.Request(number, operation.method, params)
        exchange = self.transport.request(ERA, self.session, request, limits)
        messages = []
        try:
            for message in exchange:
                messages.append(message)
                if isinstance(message, jsonrpc.Request):
                    answer = jsonrpc.Response(message.id, ANSWERS[message.method])
                    self.transport.post(ERA, self.session, answer, limits)
        except TransportError:
            cancelling = ERA.cancellation(number, "the test is over")
            assert cancelling is not None
            try:
                self.transport.post(ERA, self.session, cancelling, effort())
            except SessionExpired:
                pass
            raise
        finally:
            exchange.close()
        assert isinstance(messages[-1], jsonrpc.Response), messages[-1]
        return messages

    def tool(self, name: str, arguments: dict[str, Any] | None = None, seconds: float = BOUND) -> str:
        """The text of a tool's result."""
        operation = calls.call_tool(name, arguments)
        return str(operation.parse(self.run(operation, seconds)[-1].result).text)


ANSWERS = {
    "sampling/createMessage": {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"},
    "roots/list": {"roots": [{"uri": "file:///tmp"}]},
}


@contextmanager
def talking(peer: Peer) -> Iterator[Talk]:
    http = HTTP()
    transport = HTTPSSETransport(http, peer.url, max_message_size=1024 * 1024)
    try:
        talk = Talk(transport)
        talk.shake()
        yield talk
    finally:
        transport.close()
        http.close()


@for_peers(*LEGACY)
def test_verbs(peer: Peer) -> None:
    """O-03: the handshake, a list and a call, with the answers on the one stream."""
    with talking(peer) as talk:
        listed = calls.list_tools()
        names = [tool.name for tool in listed.parse(talk.run(listed)[-1].result).tools]
        assert {"echo", "work", "ask_model"} <= set(names)
        assert talk.tool("echo", {"text": "grüß\u2028dich"}) == "grüß\u2028dich"


@for_peers(*LEGACY)
def test_progress_and_logs(peer: Peer) -> None:
    """O-03, P-02: progress and log messages come to the call that brought them about, in order."""
    with talking(peer) as talk:
        *reports, _ = talk.run(calls.call_tool("work", {"steps": 3}))
        methods = [message.method for message in reports]
        assert methods == ["notifications/progress", "notifications/message"] * 3
        assert [message.params["progress"] for message in reports[::2]] == [1, 2, 3]


@for_peers(*LEGACY)
def test_the_server_asks(peer: Peer) -> None:
    """O-03, E-01: requests of the server come on the stream, and are answered by POST."""
    with talking(peer) as talk:
        assert talk.tool("ask_model", {"prompt": "?"}) == "m said hi"
        assert json.loads(talk.tool("ask_roots")) == ["file:///tmp"]
        assert talk.tool("ping") == "pong"


@for_peers(*LEGACY)
def test_listening(peer: Peer) -> None:
    """O-03: what belongs to no call is heard by who listens."""
    with talking(peer) as talk:
        listening = talk.transport.listen(effort())
        talk.tool("grow", {"name": "grown_on_the_old_stream"})
        heard = next(iter(listening))
        assert isinstance(heard, jsonrpc.Notification) and heard.method == "notifications/tools/list_changed"


@for_peers(*LEGACY)
def test_threads(peer: Peer) -> None:
    """Calls of several threads go on beside each other on the one stream, one of them held open."""
    with talking(peer) as talk:
        results: dict[str, str] = {}

        def work(name: str, run: Callable[[], str]) -> threading.Thread:
            def keep() -> None:
                results[name] = run()

            thread = threading.Thread(target=keep, daemon=True)
            thread.start()
            return thread

        held = work("held", lambda: talk.tool("gated", {"name": "g", "before": 2, "after": 2}))
        others = [
            work(f"{number}", lambda number=number: talk.tool("echo", {"text": str(number)}))  # type: ignore[misc]
            for number in range(8)
        ]
        for thread in others:
            thread.join(BOUND)
        assert "held" not in results
        talk.tool("open_gate", {"name": "g"})
        held.join(BOUND)
        assert results == {"held": "passed g", **{str(number): str(number) for number in range(8)}}


@for_peers(*LEGACY)
def test_cancelling(peer: Peer) -> None:
    """K-07: a call that has timed out is cancelled by a message, and the stream serves on."""
    with talking(peer) as talk:
        with pytest.raises(CallTimeout):
            talk.tool("gated", {"name": "late", "before": 1, "after": 0}, seconds=0.5)
        eventually(
            lambda: json.loads(talk.tool("counts", {"name": "late"}))["cancelled"] == 1, "the server stopped the call"
        )


def test_a_server_that_goes_and_comes_back() -> None:
    """O-03: the call is lost with the stream, the next one is not sent, and a new session is begun on a new stream."""
    with running(LEGACY[0]) as first, talking(first) as talk:
        lost: list[BaseException] = []

        def call() -> None:
            try:
                talk.tool("gated", {"name": "lost", "before": 1, "after": 0})
            except BaseException as error:
                lost.append(error)

        caller = threading.Thread(target=call, daemon=True)
        caller.start()
        eventually(lambda: json.loads(talk.tool("counts", {"name": "lost"}))["started"] == 1, "the call has begun")
        first.stop()
        caller.join(BOUND)
        assert isinstance(lost[0], ConnectionLost) and lost[0].may_have_executed
        with pytest.raises(SessionExpired):
            talk.tool("echo", {"text": "x"})
        with running(LEGACY[0]) as second:
            talk.transport.url = second.url
            talk.shake()
            assert talk.tool("echo", {"text": "again"}) == "again"
            talk.transport.close()
