"""Calls that are given up, and calls whose connection breaks, in 2026-07-28: closing the stream is all there is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamhttp_client import CallCancelled, CallTimeout, ClientClosed, ConnectionLost, ReadTimeout, Timeout
from tests.live.clients import Background, Traffic, ask, eventually, for_peers, meet
from tests.live.peers import MODERN, Peer
from tests.support.cutter import Cutter, How

pytestmark = pytest.mark.live

STREAMING = [kind for kind in MODERN if not kind.json]
#: mcp 2.3, and fastmcp 4.1 with it, do not look whether the client is still there while they prepare a JSON body.
STOPPING = [kind for kind in MODERN if not kind.json or kind.environment == "npm2"]


@pytest.fixture
def cutter(peer: Peer) -> Iterator[Cutter]:
    with Cutter(peer.url) as proxy:
        yield proxy


def started(peer: Peer, name: str) -> None:
    """Wait until the peer is at work on a call."""
    with meet(peer) as client:
        eventually(lambda: ask(client, "counts", name=name)["started"] >= 1, "the call runs")


@for_peers(*STREAMING)
def test_a_call_is_cancelled_from_another_thread(peer: Peer) -> None:
    """K-01, K-07, X1, X3: the handler stops, and no notification was sent."""
    name = "modern-cancelled"
    traffic = Traffic(peer)
    with meet(peer) as client:
        with client.stream_tool("gated", {"name": name, "before": 1, "after": 0}) as call:
            next(call)  # it runs
            canceller = threading.Thread(target=call.cancel, daemon=True)
            canceller.start()
            with pytest.raises(CallCancelled):
                _ = call.result
            canceller.join(10)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")
    assert "notifications/cancelled" not in traffic.methods()


@for_peers(*STREAMING)
def test_leaving_the_block_cancels(peer: Peer) -> None:
    """K-07: also without a word, by going away."""
    name = "modern-left"
    with meet(peer) as client:
        with client.stream_tool("gated", {"name": name, "before": 1, "after": 0}) as call:
            next(call)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*STOPPING)
def test_a_timeout_cancels(peer: Peer) -> None:
    """K-06, K-07: before anything of the answer has come."""
    name = "modern-late"
    traffic = Traffic(peer)
    with meet(peer) as client:
        with pytest.raises(CallTimeout) as caught:
            client.call_tool("gated", {"name": name, "before": 0, "after": 0}, timeout=0.5)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.may_have_executed is True
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")
    assert "notifications/cancelled" not in traffic.methods()


@for_peers(*(kind for kind in MODERN if kind not in STOPPING))
def test_a_timeout_is_one_also_where_the_server_does_not_notice(peer: Peer) -> None:
    """K-03, K-06: answering with JSON, mcp 2.3 finishes what nobody waits for any more; the client has gone on.

    "Servers MUST treat closing the response stream as cancellation" (basic/patterns/cancellation): a deviation.
    """
    name = "modern-unnoticed"
    with meet(peer) as client:
        with pytest.raises(CallTimeout):
            client.call_tool("gated", {"name": name, "before": 0, "after": 0}, timeout=0.5)
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
        client.call_tool("open_gate", {"name": name})
        assert ask(client, "counts", name=name) == {"started": 1, "cancelled": 0}


@for_peers(*STREAMING)
def test_a_callback_that_raises_cancels(peer: Peer) -> None:
    """K-07: Ctrl-C too, which is the same to a call: an exception that the caller gets."""
    name = "modern-interrupted"

    def on_progress(progress: object) -> None:
        raise KeyboardInterrupt

    with meet(peer) as client:
        with pytest.raises(KeyboardInterrupt):
            client.call_tool("gated", {"name": name, "before": 1, "after": 0}, on_progress=on_progress)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*(kind for kind in STREAMING if kind.environment != "npm2"))
def test_a_server_that_is_silent_for_too_long_is_left(peer: Peer) -> None:
    """K-06, H26-06: nothing can be resumed; the stream is closed, which cancels the call."""
    name = "modern-silent"
    arguments = {"name": name, "before": 1, "after": 0}
    seen: list[object] = []
    with meet(peer) as client:
        with pytest.raises(ReadTimeout) as caught:
            client.call_tool("gated", arguments, timeout=Timeout(read=0.3), on_progress=seen.append)
        assert len(seen) == 1
        assert caught.value.may_have_executed is True and caught.value.resumable is False
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*(kind for kind in STREAMING if kind.environment == "npm2"))
def test_comments_are_no_silence_and_no_more_time(peer: Peer) -> None:
    """K-06, H26-04, S26-09: the peer sends one each 50 ms; what ends the call is its deadline."""
    name = "modern-commented"
    arguments = {"name": name, "before": 1, "after": 0}
    seen: list[object] = []
    with meet(peer) as client:
        with pytest.raises(CallTimeout):
            client.call_tool("gated", arguments, timeout=Timeout(read=0.5, total=1.5), on_progress=seen.append)
        assert len(seen) == 1
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*STREAMING)
def test_closing_the_client_cancels_its_calls(peer: Peer) -> None:
    """K-07: a thread that is blocked in a call is woken, and the server stops."""
    name = "modern-closed"
    client = meet(peer)

    def call() -> None:
        with pytest.raises(ClientClosed):
            client.call_tool("gated", {"name": name, "before": 1, "after": 0})

    with Background(call):
        started(peer, name)
        client.close()
    with meet(peer) as other:
        eventually(lambda: ask(other, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*MODERN)
@pytest.mark.parametrize("size", [1, 100, 200, 400, 800])
def test_a_reading_call_is_repeated_wherever_it_was_cut(peer: Peer, cutter: Cutter, size: int) -> None:
    """H26-05, H26-06, X2, X12: as a new request with a new id, by POST; within the head, the body, or an event."""
    text = "x" * 1000
    with meet(cutter.through(peer.url)) as client:
        client.list_tools()
        traffic = Traffic(peer)
        cutter.cut_after(size)
        assert client.call_tool("echo", {"text": text}).text == text
    assert cutter.cuts == 1
    calls = [note for note in traffic.notes() if note["headers"]["mcp-method"] == "tools/call"]
    assert len({note["body"]["id"] for note in calls}) == len(calls) == 2
    assert all(note["http"] == "POST" and "last-event-id" not in note["headers"] for note in traffic.notes())


@for_peers(*MODERN)
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_cut_call_that_may_have_done_something_is_not_repeated(peer: Peer, cutter: Cutter, how: How) -> None:
    """H26-06: the answer is lost, the error says so, and there is nothing to resume."""
    name = f"modern-lost-{how}"
    with meet(cutter.through(peer.url)) as client:
        client.list_tools()
        traffic = Traffic(peer)

        def call() -> object:
            with pytest.raises(ConnectionLost) as caught:
                client.call_tool("gated", {"name": name, "before": 2, "after": 0}, on_progress=lambda progress: None)
            return caught.value

        with Background(call) as running:
            started(peer, name)
            assert cutter.cut(how) >= 1
        assert running.value.may_have_executed is True
        assert running.value.resumable is False and running.value.cursor is None
        with meet(peer) as direct:
            direct.call_tool("open_gate", {"name": name})
            assert ask(direct, "counts", name=name)["started"] == 1
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
    assert {note["http"] for note in traffic.notes()} == {"POST"}


@for_peers(*STREAMING)
def test_a_cut_call_is_repeated_if_the_caller_says_that_it_may_be(peer: Peer, cutter: Cutter) -> None:
    """H26-06, X1: the first run is cancelled by the cut, and progress of the second is told as of another attempt."""
    name = "modern-again"
    seen: list[tuple[float, int]] = []
    with meet(cutter.through(peer.url)) as client, meet(peer) as direct:
        with client.stream_tool("gated", {"name": name, "before": 2, "after": 1}, idempotent=True) as call:
            for _ in range(2):
                event = next(call)
                seen.append((event.progress, event.attempt))
            first = call.request_id
            assert cutter.cut("rst") >= 1
            for event in call:
                seen.append((event.progress, event.attempt))
                if len(seen) == 4:
                    eventually(lambda: ask(direct, "counts", name=name)["cancelled"] == 1, "the first run stopped")
                    direct.call_tool("open_gate", {"name": name})
            assert call.result.text == f"passed {name}"
            assert call.request_id != first
        assert [progress for progress, _ in seen] == [1, 2, 1, 2, 3]
        assert seen[0][1] < seen[-1][1]
        assert ask(direct, "counts", name=name) == {"started": 2, "cancelled": 1}
