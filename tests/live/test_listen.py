"""Notifications that belong to no call, on the stream that a GET opens."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from typing import Any

import pytest

from streamhttp_client import Client, ClientClosed
from tests.live.clients import BOUND, Background, connect, eventually, for_peers
from tests.live.peers import STATEFUL, Peer
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live

SUBSCRIBING = [kind for kind in STATEFUL if kind.environment != "fastmcp"]
URI = "note://greeting"


@for_peers(*SUBSCRIBING)
def test_an_update_of_a_subscribed_resource_is_heard(peer: Peer) -> None:
    with connect(peer) as client, client.listen() as listener:
        client.subscribe_resource(URI)
        with Background(lambda: next(listener)) as waiting:
            eventually(lambda: listener.available is True, "the stream is open")
            assert client.call_tool("touch", {"uri": URI}).text == "announced"
        assert (waiting.value.method, waiting.value.uri) == ("notifications/resources/updated", URI)
        client.unsubscribe_resource(URI)
        assert client.call_tool("touch", {"uri": URI}).text == "nobody listens"


@for_peers(*SUBSCRIBING)
def test_a_callback_hears_on_a_thread_of_its_own(peer: Peer) -> None:
    name = f"{peer.kind.environment}_heard"
    heard: queue.Queue[Any] = queue.Queue()
    with connect(peer) as client:
        with client.listen(lambda event: heard.put((event, threading.current_thread()))) as listener:
            assert listener.wait_open(BOUND)
            client.call_tool("grow", {"name": name})
            event, thread = heard.get(timeout=BOUND)
        assert event.method == "notifications/tools/list_changed"
        assert thread is not threading.current_thread() and thread.daemon
        assert name in {tool.name for tool in client.list_tools()}


@for_peers(*SUBSCRIBING)
def test_a_listener_takes_its_stream_up_after_a_cut(peer: Peer) -> None:
    """What is announced while the connection is gone is heard too, and nothing is heard twice."""
    heard: queue.Queue[Any] = queue.Queue()
    with Cutter(peer.url) as cutter, connect(cutter.through(peer.url)) as client:
        with client.listen(heard.put) as listener:
            assert listener.wait_open(BOUND)
            client.subscribe_resource("note://item/1")
            client.subscribe_resource("note://item/2")
            client.call_tool("touch", {"uri": "note://item/1"})
            assert heard.get(timeout=BOUND).uri == "note://item/1"
            cutter.refuse()
            cutter.cut("rst")
            # A server announces to the session that made the call: the way around the proxy is that session.
            around = replace(client.session, url=peer.url)
            other = Client.resume(around.to_json(), timeout=BOUND)
            other.call_tool("touch", {"uri": "note://item/2"})
            cutter.refuse(False)
            assert heard.get(timeout=BOUND).uri == "note://item/2"
            assert heard.empty()
            other.close()


@for_peers(*STATEFUL)
def test_closing_the_client_wakes_a_blocked_listener(peer: Peer) -> None:
    """It hears that its client is closed, and at once."""
    client = connect(peer)
    listener = client.listen()

    def listen() -> None:
        with pytest.raises(ClientClosed):
            next(listener)

    with Background(listen):
        eventually(lambda: listener.available is True, "the stream is open")
        client.close()


@for_peers(*STATEFUL)
def test_closing_a_listener_just_ends_its_iteration(peer: Peer) -> None:
    with connect(peer) as client:
        listener = client.listen()
        with Background(lambda: list(listener)) as heard:
            eventually(lambda: listener.available is True, "the stream is open")
            listener.close()
        assert heard.value == []
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
