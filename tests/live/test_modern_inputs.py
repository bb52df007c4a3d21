"""What servers of 2026-07-28 want to know before they finish a call: rounds of input, answered or put off."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import Client, InputRequired, LocalProtocolError, MissingCapability
from tests.live.clients import Background, Traffic, ask, for_peers, meet
from tests.live.peers import MODERN, Kind, Peer
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live

DEFAULTS = {"name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": True}


def accept(**content: Any) -> Callable[[Any], dict[str, Any]]:
    """An elicitation callback that accepts and says this."""
    return lambda params: {"action": "accept", "content": content}


def model(params: Any) -> dict[str, Any]:
    """A sampling callback."""
    return {"role": "assistant", "content": {"type": "text", "text": "so much"}, "model": "abacus"}


def later(params: Any) -> Any:
    """An elicitation callback that puts its answer off.

    It is there to be offered: "Servers MUST NOT send an inputRequests that the client has not declared support for"
    (basic/patterns/mrtr). npm 2.4 keeps to that; mcp 2.3 and fastmcp 4.1 ask all the same.
    """
    return NotImplemented


def rounds(traffic: Traffic, method: str = "tools/call") -> list[dict[str, Any]]:
    """The requests that a call was made with."""
    return [message for message in traffic.messages() if message["method"] == method]


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters without what a round adds to them."""
    return {name: value for name, value in params.items() if name not in ("inputResponses", "requestState", "_meta")}


@for_peers(*MODERN)
def test_the_user_is_asked_by_the_callback_of_the_session_era(peer: Peer) -> None:
    """M26-02, M26-06, M26-10, E-02, E-04, X5: on the thread of the call; the same request again, with another id."""
    traffic = Traffic(peer)
    threads: list[threading.Thread] = []

    def elicitation(params: Any) -> dict[str, Any]:
        threads.append(threading.current_thread())
        assert params.message == "Who are you?"
        assert params.requested_schema.properties["age"].default == 30
        return {"action": "accept", "content": {"name": "Zoe", "note": "hi"}}

    with meet(peer, elicitation=elicitation) as client:
        answer = ask(client, "want_user", question="Who are you?")
    assert answer == {"action": "accept", "content": {**DEFAULTS, "name": "Zoe", "note": "hi"}}
    assert threads == [threading.current_thread()]
    first, second = rounds(traffic)
    assert first["id"] != second["id"]
    assert plain(first["params"]) == plain(second["params"])
    assert "inputResponses" not in first["params"]
    assert set(second["params"]["inputResponses"]) == {"who"}
    # Nothing but requests went to the server: no response, and no notification.
    assert all("method" in message and "id" in message for message in traffic.messages())


@for_peers(*MODERN)
@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_the_user_may_refuse(peer: Peer, action: str) -> None:
    """E-03, M26-02: which is an answer like any other."""
    with meet(peer, elicitation=lambda params: {"action": action}) as client:
        assert ask(client, "want_user", question="?") == {"action": action, "content": None}


@for_peers(*MODERN)
def test_the_model_and_the_roots_are_asked_for(peer: Peer) -> None:
    """M26-02, E-01, E-14: and each of these is offered with every request, as nothing is remembered of the client."""
    traffic = Traffic(peer)
    with meet(peer, sampling=model, roots=lambda: [{"uri": "file:///srv/data", "name": "data"}]) as client:
        assert client.call_tool("want_model", {"prompt": "how much?"}).text == "abacus said so much"
        assert ask(client, "want_roots") == ["file:///srv/data"]
    offered = [m["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] for m in rounds(traffic)]
    assert len(offered) == 4
    assert all("sampling" in each and "roots" in each and "elicitation" not in each for each in offered)


@for_peers(*MODERN)
def test_several_questions_are_answered_in_one_round(peer: Peer) -> None:
    """M26-02: under the names that the server gave them, and all of them before the call is made again."""
    traffic = Traffic(peer)
    with meet(peer, sampling=model, elicitation=accept(name="Ann"), roots=["file:///srv"]) as client:
        assert ask(client, "want_all") == ["model", "roots", "who"]
    assert len(rounds(traffic)) == 2


@for_peers(*MODERN)
def test_a_state_comes_back_as_it_was(peer: Peer) -> None:
    """M26-04, M26-05, M26-07: byte for byte (mcp 2.3 seals it and would notice), and only where there was one.

    The peers put quotes, U+2028 and a character outside the first plane into theirs.
    """
    traffic = Traffic(peer)
    with meet(peer, elicitation=accept(name="Ann")) as client:
        assert ask(client, "want_twice") == {"kept": True, "first": "Ann", "second": "Ann"}
        ask(client, "want_user", question="?")
        client.call_tool("echo", {"text": "hi"})
    calls = [message["params"] for message in rounds(traffic)]
    answered = [[], ["first"], ["second"], [], ["who"], []]
    assert [sorted(params.get("inputResponses", {})) for params in calls] == answered
    assert ["requestState" in params for params in calls] == [False, True, True, False, False, False]


@for_peers(*MODERN)
def test_a_server_may_want_no_more_than_to_be_asked_again(peer: Peer) -> None:
    """M26-03, M26-05: a state alone is sent back, without answers, after the pause of any other attempt."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        assert client.call_tool("want_patience", {"times": 2}).text == "after 2"
    calls = [message["params"] for message in rounds(traffic)]
    assert len(calls) == 3
    assert all("inputResponses" not in params for params in calls)


@for_peers(*MODERN)
def test_a_server_that_is_never_content_is_given_up(peer: Peer) -> None:
    """M26-08: after ten rounds, with what it asked last."""
    traffic = Traffic(peer)
    with meet(peer, elicitation=accept(name="Ann")) as client:
        with pytest.raises(InputRequired, match="10 rounds") as caught:
            client.call_tool("want_ever_more")
        assert set(caught.value.requests) == {"more"}
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
    assert len(rounds(traffic)) == 12  # the first, its ten repetitions, and the echo


@for_peers(*MODERN)
def test_prompts_and_resources_ask_too(peer: Peer) -> None:
    """M26-01, M26-10: three methods may ask, each with the parameters that it had."""
    traffic = Traffic(peer)
    with meet(peer, elicitation=accept(name="Ann")) as client:
        assert client.get_prompt("asking").messages[0].content.text == "Greet Ann."
        assert client.read_resource("note://asked/tea").text == "tea for Ann"
    first, second = rounds(traffic, "prompts/get")
    assert plain(first["params"]) == plain(second["params"])
    first, second = rounds(traffic, "resources/read")
    assert plain(first["params"]) == plain(second["params"]) == {"uri": "note://asked/tea"}


@for_peers(*MODERN)
def test_what_a_callback_fails_at_is_not_answered(peer: Peer) -> None:
    """M26-09: its error is the caller's; none goes to the server, the call is not made again, and the client lives
    on.
    """
    traffic = Traffic(peer)

    def sampling(params: Any) -> dict[str, Any]:
        raise ValueError("the password is swordfish")

    with meet(peer, sampling=sampling) as client:
        with pytest.raises(ValueError, match="swordfish"):
            client.call_tool("want_model", {"prompt": "x"})
        assert client.call_tool("echo", {"text": "alive"}).text == "alive"
    assert len(rounds(traffic)) == 2
    assert "swordfish" not in json.dumps(traffic.messages())


@for_peers(*(kind for kind in MODERN if kind.environment == "npm2"))
def test_a_question_that_was_not_offered_to_be_answered_is_not_asked(peer: Peer) -> None:
    """V26-06, V26-13, M26-01: the refusal names what the server needs, and is about this call alone."""
    traffic = Traffic(peer)
    with meet(peer, sampling=model) as client:
        with pytest.raises(MissingCapability) as caught:
            client.call_tool("want_user", {"question": "?"})
        assert caught.value.code == -32021
        assert "elicitation" in caught.value.required_capabilities
        assert client.call_tool("want_model", {"prompt": "x"}).text == "abacus said so much"
        assert client.era == "stateless"
    assert "initialize" not in traffic.methods()


@for_peers(*(kind for kind in MODERN if kind.environment != "npm2"))
def test_a_question_that_was_not_offered_to_be_answered_is_left_open(peer: Peer) -> None:
    """M26-01, M26-09: mcp 2.3 and fastmcp 4.1 ask all the same, which they must not; nothing is answered."""
    traffic = Traffic(peer)
    with meet(peer, sampling=model) as client:
        with pytest.raises(InputRequired, match="elicitation/create") as caught:
            client.call_tool("want_user", {"question": "?"})
        assert set(caught.value.requests) == {"who"}
    assert len(rounds(traffic)) == 1


@for_peers(*(kind for kind in MODERN if kind.environment == "mcp2"))
def test_what_the_sdk_itself_asks_is_answered(peer: Peer) -> None:
    """M26-02, M26-04: for the dependencies of a tool, with a state of the SDK's own."""
    with meet(peer, elicitation=accept(name="Ann"), sampling=model) as client:
        assert client.call_tool("depend").text == "Ann: so much"


@for_peers(Kind("mcp2", watched=True))
def test_the_same_tool_asks_in_the_session_era_too(peer: Peer) -> None:
    """X5: by requests on the stream, and the same callbacks answer."""
    with meet(peer, protocol="2025-11-25", elicitation=accept(name="Ann"), sampling=model) as client:
        assert client.call_tool("depend").text == "Ann: so much"


@for_peers(*(kind for kind in MODERN if kind.environment == "mcp2"))
def test_a_dependency_that_the_client_cannot_meet_is_named(peer: Peer) -> None:
    """V26-13: the refusal says which capability the server needs."""
    with meet(peer, sampling=model) as client:
        with pytest.raises(MissingCapability) as caught:
            client.call_tool("depend")
        assert "elicitation" in caught.value.required_capabilities


@for_peers(*MODERN)
def test_a_callback_may_call_the_server(peer: Peer) -> None:
    """M26-07: another call between two rounds carries nothing of them."""
    traffic = Traffic(peer)
    clients: list[Client] = []

    def sampling(params: Any) -> dict[str, Any]:
        inner = clients[0].call_tool("echo", {"text": "from inside"}).text
        return {"role": "assistant", "content": {"type": "text", "text": inner}, "model": "m"}

    with meet(peer, sampling=sampling) as client:
        clients.append(client)
        assert client.call_tool("want_model", {"prompt": "x"}).text == "m said from inside"
    assert [set(message["params"]) for message in rounds(traffic)] == [
        {"name", "arguments", "_meta"},
        {"name", "arguments", "_meta"},
        {"name", "arguments", "inputResponses", "_meta"},
    ]


@for_peers(*MODERN)
def test_calls_side_by_side_keep_their_rounds_apart(peer: Peer) -> None:
    """M26-07, X12: four threads with one client, each with two rounds of its own."""
    with meet(peer, elicitation=accept(name="Ann")) as client:
        calls = [Background(lambda: [ask(client, "want_twice") for _ in range(3)]) for _ in range(4)]
        for call in calls:
            call.__enter__()
        for call in calls:
            call.__exit__(None, None, None)
    assert all(call.value == [{"kept": True, "first": "Ann", "second": "Ann"}] * 3 for call in calls)


@for_peers(*MODERN)
def test_a_question_that_nobody_answers_can_be_answered_later(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """M26-08, M26-04, M26-10, H26-22: from its JSON, by a client that knows nothing else; it asks on from there."""
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("want_twice")
    first = caught.value
    assert (first.method, set(first.requests)) == ("tools/call", {"first"})
    assert first.requests["first"]["method"] == "elicitation/create"
    assert first.state
    answer = {"action": "accept", "content": {"name": "Ann"}}
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.continue_call(first.to_json(), {"first": answer})
    second = InputRequired.from_json(caught.value.to_json())
    assert set(second.requests) == {"second"} and second.state != first.state
    with meet(peer, elicitation=later) as client:
        result = client.continue_call(second, {"second": {"action": "accept", "content": {"name": "Bob"}}})
    assert json.loads(result.text) == {"kept": True, "first": "Ann", "second": "Bob"}
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []  # it is no failure


@for_peers(*MODERN)
def test_a_callback_answers_the_rest_of_a_call_that_was_put_off(peer: Peer) -> None:
    """M26-02: only what it asks from then on."""
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("want_twice")
    with meet(peer, elicitation=accept(name="Zoe")) as client:
        answers = {"first": {"action": "accept", "content": {"name": "Ann"}}}
        result = client.continue_call(caught.value, answers)
    assert json.loads(result.text) == {"kept": True, "first": "Ann", "second": "Zoe"}


@for_peers(*MODERN)
def test_prompts_and_resources_can_be_put_off_as_well(peer: Peer) -> None:
    """M26-01, M26-10: the result is of the kind that the verb gives."""
    answers = {"who": {"action": "accept", "content": {"name": "Ann"}}}
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.get_prompt("asking")
        assert client.continue_call(caught.value, answers).messages[0].content.text == "Greet Ann."
        with pytest.raises(InputRequired) as caught:
            client.read_resource("note://asked/tea")
        assert client.continue_call(caught.value, answers).text == "tea for Ann"


@for_peers(*MODERN)
def test_answers_must_fit_the_questions(peer: Peer) -> None:
    """M26-02: "keys match the server's keys"; a missing or a strange one is found before anything is sent."""
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("want_user", {"question": "?"})
        traffic = Traffic(peer)
        for answers in ({}, {"who": {"action": "accept", "content": {}}, "whom": {"action": "decline"}}):
            with pytest.raises(LocalProtocolError):
                client.continue_call(caught.value, answers)
        assert traffic.notes() == []


@for_peers(*(kind for kind in MODERN if kind.environment == "mcp2"))
def test_a_state_that_was_changed_is_refused_by_the_server(peer: Peer) -> None:
    """M26-04: mcp 2.3 seals its state, so that its acceptance in the other tests proves the echo exact."""
    with meet(peer, elicitation=later) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("want_twice")
        saved = json.loads(caught.value.to_json())
        state = saved["result"]["requestState"]
        saved["result"]["requestState"] = state[:-2] + ("AA" if not state.endswith("AA") else "BB")
        with pytest.raises(Exception, match=r"(?i)state"):
            client.continue_call(json.dumps(saved), {"first": {"action": "accept", "content": {"name": "Ann"}}})


@for_peers(*MODERN)
def test_a_round_that_was_lost_is_repeated_where_that_is_safe(peer: Peer) -> None:
    """H26-06, M26-06, M26-10: cut in its second round, the call of a reading method goes on with that round."""
    with Cutter(peer.url) as cutter:

        def elicitation(params: Any) -> dict[str, Any]:
            cutter.cut_after(1)
            return {"action": "accept", "content": {"name": "Ann"}}

        with meet(cutter.through(peer.url), elicitation=elicitation) as client:
            client.connect()
            traffic = Traffic(peer)
            assert client.read_resource("note://asked/tea", cache="off").text == "tea for Ann"
        assert cutter.cuts == 1
    sent = rounds(traffic, "resources/read")
    assert ["inputResponses" in message["params"] for message in sent] == [False, True, True]
    assert len({message["id"] for message in sent}) == 3
    assert sent[1]["params"]["inputResponses"] == sent[2]["params"]["inputResponses"]
