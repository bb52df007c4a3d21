"""Results that a server lets its clients keep: the peers say 60 seconds, so that a test never sees one get stale."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.clients import BOUND, Traffic, ask, eventually, for_peers, meet
from tests.live.peers import MODERN, OLDER, Kind, Peer

pytestmark = pytest.mark.live

COUNTER = "note://counter"
#: fastmcp 4.1 does not know `subscriptions/listen`.
LISTENING = [kind for kind in MODERN if kind.environment != "fastmcp"]


def count(traffic: Traffic, method: str) -> int:
    return traffic.methods().count(method)


@for_peers(*MODERN)
def test_what_is_fresh_is_not_asked_again(peer: Peer) -> None:
    """C26-03, C26-10: the resource counts how often it was read, and the peer how often it was asked."""
    with meet(peer) as client:
        first = client.read_resource(COUNTER)
        assert first.ttl_ms == 60_000
        traffic = Traffic(peer)
        assert client.read_resource(COUNTER).text == first.text
        tools = client.list_tools()
        pages = count(traffic, "tools/list")
        assert client.list_tools() == tools
        assert count(traffic, "resources/read") == 0
        assert count(traffic, "tools/list") == pages > 3


@for_peers(*MODERN)
def test_the_caller_may_want_it_new(peer: Peer) -> None:
    """C26-04, C26-06: ``"refresh"`` asks and keeps; ``"off"`` asks, and leaves what is kept alone."""
    with meet(peer) as client:
        first = int(client.read_resource(COUNTER).text)
        assert int(client.read_resource(COUNTER, cache="off").text) == first + 1
        assert int(client.read_resource(COUNTER).text) == first
        assert int(client.read_resource(COUNTER, cache="refresh").text) == first + 2
        assert int(client.read_resource(COUNTER).text) == first + 2


@for_peers(*MODERN)
def test_other_parameters_are_another_request(peer: Peer) -> None:
    """C26-01: neither of another address, nor of another client."""
    with meet(peer) as client, meet(peer) as other:
        assert client.read_resource("note://item/one").text == "item one"
        assert client.read_resource("note://item/two").text == "item two"
        first = int(client.read_resource(COUNTER).text)
        assert int(other.read_resource(COUNTER).text) == first + 1


@for_peers(*(Kind(name, watched=True) for name in ("mcp2", "npm2")))
def test_what_the_server_does_not_let_be_kept_is_asked_again(peer: Peer) -> None:
    """C26-03: a time of 0, which is what these peers say of prompts. (fastmcp has one time for all.)"""
    with meet(peer) as client:
        client.list_prompts()
        traffic = Traffic(peer)
        client.list_prompts()
        assert count(traffic, "prompts/list") == 1


@for_peers(*MODERN)
def test_what_depends_on_answers_is_not_kept(peer: Peer) -> None:
    """C26-02: "requests carrying inputResponses or requestState MUST NOT be cached", nor interim results."""
    names = iter(("Ann", "Bob"))

    def elicitation(params: Any) -> dict[str, Any]:
        return {"action": "accept", "content": {"name": next(names)}}

    with meet(peer, elicitation=elicitation) as client:
        assert client.read_resource("note://asked/tea").text == "tea for Ann"
        assert client.read_resource("note://asked/tea").text == "tea for Bob"


@for_peers(*LISTENING)
def test_news_of_a_change_end_what_is_kept(peer: Peer) -> None:
    """C26-08: an update of the resource, and a change of the tools, which are listed anew with the new one."""
    name = f"{peer.kind.environment}_{'json' if peer.kind.json else 'sse'}_grown"
    with meet(peer) as client:
        client.subscribe_resource(COUNTER)
        with client.listen(lambda event: None) as listener:
            assert listener.wait_open(BOUND)
            first = int(client.read_resource(COUNTER).text)
            assert int(client.read_resource(COUNTER).text) == first
            client.call_tool("announce", {"what": "updated", "name": COUNTER})
            eventually(lambda: int(client.read_resource(COUNTER).text) == first + 1, "the update was heard of")
            assert name not in {tool.name for tool in client.list_tools()}
            client.call_tool("announce", {"what": "tools", "name": name})
            eventually(lambda: name in {tool.name for tool in client.list_tools()}, "the change was heard of")


@for_peers(*OLDER)
def test_nothing_is_kept_of_older_servers(peer: Peer) -> None:
    """C26-10: they do not say for how long, so each list is asked for."""
    with meet(peer) as client:
        client.list_prompts()
        traffic = Traffic(peer)
        client.list_prompts()
        assert count(traffic, "prompts/list") == 1
        assert ask(client, "counts", name="none")["started"] == 0
