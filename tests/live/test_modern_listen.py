"""What servers of 2026-07-28 tell to those who listen: the stream that answers `subscriptions/listen`."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest

from streamhttp_client import ClientClosed, RetryPolicy, TransportError
from tests.live.clients import BOUND, Background, Traffic, eventually, for_peers, meet
from tests.live.peers import MODERN, Peer
from tests.support.cutter import Cutter, How

pytestmark = pytest.mark.live

#: fastmcp 4.1 does not know `subscriptions/listen`.
LISTENING = [kind for kind in MODERN if kind.environment != "fastmcp"]
URI = "note://greeting"
ALL_LISTS = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


def announce(peer: Peer, what: str, name: str = "") -> None:
    """Have the peer tell those who listen that something has changed; another client does it."""
    with meet(peer) as client:
        client.call_tool("announce", {"what": what, "name": name})


@for_peers(*LISTENING)
def test_what_was_asked_for_is_agreed_to_and_comes(peer: Peer) -> None:
    """S26-01, S26-02, S26-03, S26-08, X11: each list, and the resources that were subscribed to, and no others."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        client.subscribe_resource(URI)
        assert [method for method in traffic.methods() if "subscribe" in method] == []
        with client.listen() as listener:
            assert listener.available is True
            assert listener.honoured == {**ALL_LISTS, "resourceSubscriptions": [URI]}
            announce(peer, "prompts")
            announce(peer, "resources")
            announce(peer, "updated", "note://logo")
            announce(peer, "updated", URI)
            events = [next(listener) for _ in range(3)]
    assert [event.method for event in events] == [
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    ]
    assert events[-1].uri == URI
    (request,) = [message for message in traffic.messages() if message["method"] == "subscriptions/listen"]
    assert request["params"]["notifications"] == {**ALL_LISTS, "resourceSubscriptions": [URI]}
    assert {note["http"] for note in traffic.notes()} == {"POST"}


@for_peers(*LISTENING)
def test_a_callback_hears_on_a_thread_of_its_own(peer: Peer) -> None:
    """S26-01: and the client lists the tools anew after that."""
    name = f"{peer.kind.environment}_{'json' if peer.kind.json else 'sse'}_heard"
    heard: queue.Queue[Any] = queue.Queue()
    with meet(peer) as client:
        client.list_tools()
        with client.listen(lambda event: heard.put((event, threading.current_thread()))) as listener:
            assert listener.wait_open(BOUND)
            announce(peer, "tools", name)
            event, thread = heard.get(timeout=BOUND)
        assert event.method == "notifications/tools/list_changed"
        assert thread is not threading.current_thread() and thread.daemon
        assert name in {tool.name for tool in client.list_tools()}


@for_peers(*LISTENING)
def test_a_subscription_that_is_added_or_ended_is_asked_for_anew(peer: Peer) -> None:
    """S26-01, S26-05, X11: the old stream is closed, and the new one has the other filter."""
    heard: queue.Queue[Any] = queue.Queue()
    traffic = Traffic(peer)

    def filters() -> list[Any]:
        asked = [message for message in traffic.messages() if message["method"] == "subscriptions/listen"]
        return [message["params"]["notifications"].get("resourceSubscriptions") for message in asked]

    with meet(peer) as client, client.listen(heard.put) as listener:
        assert listener.wait_open(BOUND)
        client.subscribe_resource(URI)
        eventually(lambda: (listener.honoured or {}).get("resourceSubscriptions") == [URI], "the filter is agreed to")
        announce(peer, "updated", URI)
        assert heard.get(timeout=BOUND).uri == URI
        client.unsubscribe_resource(URI)
        eventually(lambda: "resourceSubscriptions" not in (listener.honoured or {}), "the filter is agreed to")
        announce(peer, "updated", URI)
        announce(peer, "prompts")
        assert heard.get(timeout=BOUND).method == "notifications/prompts/list_changed"
    assert filters() == [None, [URI], None]


@for_peers(*LISTENING)
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_stream_that_breaks_is_asked_for_again(peer: Peer, how: How) -> None:
    """S26-06, H26-05: with another id, and from then on; what was known of the tools is not trusted any more."""
    heard: queue.Queue[Any] = queue.Queue()
    traffic = Traffic(peer)
    with Cutter(peer.url) as cutter, meet(cutter.through(peer.url)) as client:
        with client.listen(heard.put) as listener:
            assert listener.wait_open(BOUND)
            announce(peer, "prompts")
            assert heard.get(timeout=BOUND).method == "notifications/prompts/list_changed"
            cutter.cut(how)
            eventually(lambda: traffic.methods().count("subscriptions/listen") == 2, "it is asked for again")

            def told() -> bool:
                announce(peer, "resources")
                return not heard.empty()

            eventually(told, "the new stream is open")
            assert heard.get(timeout=BOUND).method == "notifications/resources/list_changed"
    asked = [note for note in traffic.notes() if note["headers"].get("mcp-method") == "subscriptions/listen"]
    assert len({note["body"]["id"] for note in asked}) == 2
    assert all("last-event-id" not in note["headers"] for note in asked)


@for_peers(*(kind for kind in LISTENING if kind.environment == "mcp2"))
def test_a_server_may_end_it_gracefully(peer: Peer) -> None:
    """S26-06: its result is no failure, for a server says so when it stops; it is asked again, and heard again."""
    heard: queue.Queue[Any] = queue.Queue()
    traffic = Traffic(peer)
    with meet(peer) as client:
        with client.listen(heard.put) as listener:
            assert listener.wait_open(BOUND)
            with meet(peer) as other:
                assert other.call_tool("hang_up").text == "hung up"
            eventually(lambda: traffic.methods().count("subscriptions/listen") == 2, "it is asked for again")

            def told() -> bool:
                announce(peer, "prompts")
                return not heard.empty()

            eventually(told, "the new stream is open")
            assert heard.get(timeout=BOUND).method == "notifications/prompts/list_changed"
            assert listener.failure is None
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"


@for_peers(*(kind for kind in MODERN if kind not in LISTENING))
def test_a_server_that_knows_no_subscriptions_has_nothing_to_tell(peer: Peer) -> None:
    """S26-02, V26-12: fastmcp 4.1 answers that it does not know the method; the iteration just ends."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        with client.listen() as listener:
            assert listener.available is False
            assert list(listener) == []
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
        assert client.era == "stateless"
    assert traffic.methods().count("subscriptions/listen") == 1


@for_peers(*LISTENING)
def test_two_clients_hear_each_for_itself(peer: Peer) -> None:
    """S26-04: each stream has an id of its own, and the filter that it asked for."""
    with meet(peer) as one, meet(peer) as other:
        one.subscribe_resource("note://item/1")
        other.subscribe_resource("note://item/2")
        with one.listen() as first, other.listen() as second:
            for uri in ("note://item/2", "note://item/1"):
                announce(peer, "updated", uri)
            assert next(first).uri == "note://item/1"
            assert next(second).uri == "note://item/2"


@for_peers(*LISTENING)
def test_calls_go_on_while_one_listens(peer: Peer) -> None:
    """S26-08: progress of a call comes on its own stream; the listening one holds up nothing."""
    heard: queue.Queue[Any] = queue.Queue()
    seen: list[float] = []
    with meet(peer) as client, client.listen(heard.put) as listener:
        assert listener.wait_open(BOUND)
        client.call_tool("work", {"steps": 3}, on_progress=lambda progress: seen.append(progress.progress))
        announce(peer, "prompts")
        assert heard.get(timeout=BOUND).method == "notifications/prompts/list_changed"
        assert heard.empty()
    assert seen == ([] if peer.kind.json else [1, 2, 3])


@for_peers(*LISTENING)
def test_closing_the_client_wakes_a_blocked_listener(peer: Peer) -> None:
    """S26-05: it hears that its client is closed, and at once."""
    client = meet(peer)
    listener = client.listen()

    def listen() -> None:
        with pytest.raises(ClientClosed):
            next(listener)

    with Background(listen):
        eventually(lambda: listener.available is True, "the stream is open")
        client.close()


@for_peers(*LISTENING)
def test_closing_a_listener_just_ends_its_iteration(peer: Peer) -> None:
    """S26-05: no notification is sent; the stream is closed."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        listener = client.listen()
        with Background(lambda: list(listener)) as heard:
            eventually(lambda: listener.available is True, "the stream is open")
            listener.close()
        assert heard.value == []
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
    assert "notifications/cancelled" not in traffic.methods()


@for_peers(*LISTENING)
def test_a_server_that_is_gone_ends_it_with_an_error(peer: Peer) -> None:
    """S26-06: after as many attempts as the policy allows, and not for ever."""
    with Cutter(peer.url) as cutter:
        client = meet(cutter.through(peer.url), retry=RetryPolicy(attempts=2, base=0.01))
        with client, client.listen() as listener:
            cutter.refuse()
            cutter.cut("rst")
            with pytest.raises(TransportError):
                next(listener)
