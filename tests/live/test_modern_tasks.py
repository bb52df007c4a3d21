"""Calls that the server makes tasks of: the extension `io.modelcontextprotocol/tasks`, as fastmcp 4.1 has it."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client import CallCancelled, InputRequired, ToolError
from tests.live.clients import Background, Traffic, ask, eventually, for_peers, meet
from tests.live.peers import MODERN, Peer

pytestmark = pytest.mark.live

OFFERING = [kind for kind in MODERN if kind.environment == "fastmcp"]
OTHERS = [kind for kind in MODERN if kind not in OFFERING]


def ann(params: Any) -> dict[str, Any]:
    """An elicitation callback."""
    return {"action": "accept", "content": {"name": "Ann"}}


@for_peers(*OFFERING)
def test_a_call_that_becomes_a_task_is_waited_for(peer: Peer) -> None:
    """T-17: asked after at the server's interval, under the name that a gateway needs; the tool ran once."""
    traffic = Traffic(peer)
    with meet(peer) as client, meet(peer) as other:
        with Background(lambda: client.call_tool("simmer", {"name": "waited"}).text) as running:
            eventually(lambda: traffic.methods().count("tasks/get") >= 2, "the task is asked after")
            other.call_tool("open_gate", {"name": "waited"})
        assert running.value == "simmered waited"
        assert ask(other, "counts", name="waited") == {"started": 1, "cancelled": 0}
    asked = [note for note in traffic.notes() if note["headers"]["mcp-method"] == "tasks/get"]
    assert all(note["headers"]["mcp-name"] == note["body"]["params"]["taskId"] for note in asked)
    called = next(message for message in traffic.messages() if message["params"].get("name") == "simmer")
    offered = called["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"]
    assert offered == {"io.modelcontextprotocol/tasks": {}}


@for_peers(*OFFERING)
def test_a_task_outlives_the_client_that_began_it(peer: Peer) -> None:
    """T-17, H26-22: its id is all that another client needs."""
    with meet(peer) as client:
        task = client.call_tool_as_task("simmer", {"name": "outlived"})
        assert task.status == "working" and not task.is_terminal  # type: ignore[union-attr]
        task_id = task.task_id  # type: ignore[union-attr]
    with meet(peer) as client:
        assert client.get_task(task_id).status == "working"
        client.call_tool("open_gate", {"name": "outlived"})
        assert client.wait_task(task_id).text == "simmered outlived"
        assert client.get_task(task_id).status == "completed"
        assert client.get_task_result(task_id).text == "simmered outlived"


@for_peers(*OFFERING)
def test_what_a_task_asks_is_answered(peer: Peer) -> None:
    """T-17, M26-02: by the callback that answers calls, and by ``tasks/update``."""
    traffic = Traffic(peer)
    with meet(peer, elicitation=ann) as client:
        assert client.call_tool("simmer_asking").text == "simmered for Ann"
    methods = traffic.methods()
    assert methods.count("tasks/update") == 1
    assert methods.count("tools/call") == 1


@for_peers(*OFFERING)
def test_what_a_task_asks_can_be_answered_later(peer: Peer) -> None:
    """T-17, M26-08: the error carries all that another client needs to go on with the task."""
    with meet(peer, elicitation=lambda params: NotImplemented) as client:
        with pytest.raises(InputRequired) as caught:
            client.call_tool("simmer_asking")
    (name,) = caught.value.requests
    with meet(peer) as client:
        result = client.continue_call(caught.value.to_json(), {name: ann(None)})
    assert result.text == "simmered for Ann"


@for_peers(*OFFERING)
def test_a_task_that_fails_is_a_tool_that_fails(peer: Peer) -> None:
    """T-17, T-08."""
    with meet(peer) as client:
        with pytest.raises(ToolError, match="burnt") as caught:
            client.call_tool("simmer_over", {"reason": "burnt"})
        assert caught.value.result.is_error


@for_peers(*OFFERING)
def test_the_iterator_shows_how_the_task_stands(peer: Peer) -> None:
    """T-17: the task itself is an event, each time that it has changed."""
    with meet(peer) as client, meet(peer) as other:
        with client.stream_tool("simmer", {"name": "shown"}) as call:
            first = next(call)
            assert first.status == "working"  # type: ignore[union-attr]
            assert call.task is not None and call.task.task_id == first.task_id  # type: ignore[union-attr]
            other.call_tool("open_gate", {"name": "shown"})
            rest = list(call)
            assert rest[-1].status == "completed"  # type: ignore[union-attr]
            assert call.result.text == "simmered shown"


@for_peers(*OFFERING)
def test_leaving_the_block_cancels_the_task(peer: Peer) -> None:
    """T-17, K-07: by ``tasks/cancel``, since closing a stream would not; the tool stops."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        with client.stream_tool("simmer", {"name": "cancelled-task"}) as call:
            task = next(call)
            eventually(lambda: ask(client, "counts", name="cancelled-task")["started"] == 1, "the task runs")
        assert traffic.methods().count("tasks/cancel") == 1
        eventually(lambda: client.get_task(task.task_id).status == "cancelled", "it is cancelled")  # type: ignore[union-attr]
        with pytest.raises(CallCancelled):
            client.wait_task(task.task_id)  # type: ignore[union-attr]


@for_peers(*OFFERING)
def test_a_task_is_cancelled_by_its_id(peer: Peer) -> None:
    """T-17: the answer is an empty one, so the client asks how the task stands."""
    with meet(peer) as client:
        task = client.call_tool_as_task("simmer", {"name": "ended"})
        client.cancel_task(task.task_id)  # type: ignore[union-attr]
        eventually(lambda: client.get_task(task.task_id).status == "cancelled", "it is cancelled")  # type: ignore[union-attr]


@for_peers(*OTHERS)
def test_a_server_without_tasks_just_answers(peer: Peer) -> None:
    """V26-09, T-17: the offer costs nothing, and the result comes at once."""
    traffic = Traffic(peer)
    with meet(peer) as client:
        result = client.call_tool_as_task("echo", {"text": "hi"})
        assert result.text == "hi"  # type: ignore[union-attr]
    assert "tasks/get" not in traffic.methods()
