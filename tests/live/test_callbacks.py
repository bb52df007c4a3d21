"""What servers ask of the client in the middle of a call: sampling, elicitation, roots."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from streamhttp_client import Client, RPCError, ToolError
from tests.live.clients import ask, connect, for_peers
from tests.live.peers import STATEFUL, Peer

pytestmark = pytest.mark.live

#: Our error for the server comes back as the failure of the tool; mcp 2.x passes it on as the answer to the
#: call.
REFUSED = (ToolError, RPCError)

DEFAULTS = {"name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True}


@for_peers(*STATEFUL)
def test_the_model_is_asked_on_the_thread_of_the_call(peer: Peer) -> None:
    threads: list[threading.Thread] = []

    def sampling(params: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        assert params.messages[0].content.text == "how much?"
        assert params.max_tokens == 100
        return {"role": "assistant", "content": {"type": "text", "text": "so much"}, "model": "abacus"}

    with connect(peer, sampling=sampling) as client:
        result = client.call_tool("ask_model", {"prompt": "how much?"})
    assert result.text == "abacus said so much"
    assert threads == [threading.current_thread()]


@for_peers(*STATEFUL)
def test_defaults_fill_what_the_user_left_out(peer: Peer) -> None:
    """SEP-1034: the server gets every field that has a default; what the user gave wins."""

    def elicitation(params: Any) -> dict[str, Any]:
        assert params.message == "Who are you?"
        age = params.requested_schema.properties["age"]
        assert (age.type, age.default) == ("integer", 30)
        return {"action": "accept", "content": {"name": "Zoe", "note": "hi"}}

    with connect(peer, elicitation=elicitation) as client:
        answer = ask(client, "ask_user")
    assert answer == {"action": "accept", "content": {**DEFAULTS, "name": "Zoe", "note": "hi"}}


@for_peers(*STATEFUL)
@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_the_user_may_refuse(peer: Peer, action: str) -> None:
    with connect(peer, elicitation=lambda params: {"action": action}) as client:
        assert ask(client, "ask_user") == {"action": action, "content": None}


@for_peers(*STATEFUL)
def test_roots_are_told(peer: Peer) -> None:
    """Neither SDK relates this question to the call: it comes on the GET stream while the call waits."""
    with connect(peer, roots=lambda: [{"uri": "file:///srv/data", "name": "data"}]) as client:
        assert ask(client, "ask_roots") == ["file:///srv/data"]


@for_peers(*STATEFUL)
def test_a_callback_may_call_the_server(peer: Peer) -> None:
    """While the outer call waits for the answer, the same client makes another call on the same thread."""
    clients: list[Client] = []

    def sampling(params: Any) -> dict[str, Any]:
        inner = clients[0].call_tool("echo", {"text": "from inside"}).text
        return {"role": "assistant", "content": {"type": "text", "text": inner}, "model": "m"}

    with connect(peer, sampling=sampling) as client:
        clients.append(client)
        assert client.call_tool("ask_model", {"prompt": "x"}).text == "m said from inside"


@for_peers(*STATEFUL)
def test_a_callback_that_fails_is_an_error_for_the_server_and_no_secret(peer: Peer) -> None:
    """The tool fails, the client lives on, and the server does not learn what the exception said."""

    def sampling(params: Any) -> dict[str, Any]:
        raise ValueError("the password is swordfish")

    with connect(peer, sampling=sampling) as client:
        with pytest.raises(REFUSED, match="the client failed to handle the request") as caught:
            client.call_tool("ask_model", {"prompt": "x"})
        assert "swordfish" not in repr(vars(caught.value))
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"


@for_peers(*STATEFUL)
def test_what_was_not_declared_is_refused(peer: Peer) -> None:
    """Without a handler there is no capability, and a server that asks all the same is told so."""
    with connect(peer) as client:
        with pytest.raises(REFUSED, match="sampling/createMessage"):
            client.call_tool("ask_model", {"prompt": "x"})
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
