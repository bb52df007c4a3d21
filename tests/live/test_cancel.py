"""Calls that are given up: the server hears of it and stops."""

from __future__ import annotations

import threading

import pytest

from streamhttp_client import CallCancelled, CallTimeout
from tests.live.clients import ask, connect, eventually, for_peers
from tests.live.peers import STATEFUL, Peer

pytestmark = pytest.mark.live


@for_peers(*STATEFUL)
def test_a_call_is_cancelled_from_another_thread(peer: Peer) -> None:
    name = "cancelled"
    with connect(peer) as client:
        with client.stream_tool("gated", {"name": name, "before": 1, "after": 0}) as call:
            next(call)  # it runs
            canceller = threading.Thread(target=call.cancel, daemon=True)
            canceller.start()
            with pytest.raises(CallCancelled):
                _ = call.result
            canceller.join(10)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*STATEFUL)
def test_leaving_the_block_cancels(peer: Peer) -> None:
    name = "left"
    with connect(peer) as client:
        with client.stream_tool("gated", {"name": name, "before": 1, "after": 0}) as call:
            next(call)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")


@for_peers(*STATEFUL)
def test_a_timeout_cancels(peer: Peer) -> None:
    name = "late"
    with connect(peer) as client:
        with pytest.raises(CallTimeout) as caught:
            client.call_tool("gated", {"name": name, "before": 0, "after": 0}, timeout=0.5)
        assert isinstance(caught.value, TimeoutError)
        eventually(lambda: ask(client, "counts", name=name)["cancelled"] == 1, "the server stopped the call")
