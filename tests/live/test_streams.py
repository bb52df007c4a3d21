"""What arrives while a call runs: progress and log messages, in order and on the right call."""

from __future__ import annotations

import pytest

from streamhttp_client import Progress
from tests.live.clients import Background, connect, for_peers
from tests.live.peers import STATEFUL, STATELESS, Peer

pytestmark = pytest.mark.live

STREAMING = [*STATEFUL, *(kind for kind in STATELESS if not kind.json)]


def text_of(message: object) -> object:
    """The text of a log message; fastmcp wraps it."""
    data = message.data  # type: ignore[attr-defined]
    return data["msg"] if isinstance(data, dict) else data


@for_peers(*STREAMING)
def test_progress_and_logs_come_in_order_before_the_result(peer: Peer) -> None:
    seen: list[object] = []
    with connect(peer) as client:
        result = client.call_tool(
            "work",
            {"steps": 5},
            on_progress=lambda progress: seen.append((progress.progress, progress.total, progress.message)),
            on_log=lambda message: seen.append((message.level, text_of(message))),
        )
    assert result.text == "did 5"
    expected: list[object] = []
    for step in range(1, 6):
        expected += [(step, 5, f"step {step}"), ("info", f"finished {step}")]
    assert seen == expected


@for_peers(*STREAMING)
def test_logs_go_to_the_client_s_callback_too(peer: Peer) -> None:
    seen: list[object] = []
    with connect(peer, on_log=lambda message: seen.append(text_of(message))) as client:
        client.call_tool("work", {"steps": 2})
    assert seen == ["finished 1", "finished 2"]


@for_peers(*STREAMING)
def test_a_call_is_an_iterator_of_what_arrives(peer: Peer) -> None:
    with connect(peer) as client, client.stream_tool("work", {"steps": 3}) as call:
        kinds = [type(event).__name__ for event in call]
        assert call.result.text == "did 3"
    assert kinds == ["Progress", "LogMessage"] * 3


@for_peers(*STREAMING)
def test_events_arrive_while_the_call_runs(peer: Peer) -> None:
    """The first progress is here although the server waits for us to go on."""
    name = "live-events"
    with (
        connect(peer) as client,
        client.stream_tool("gated", {"name": name, "before": 1, "after": 1}) as call,
    ):
        first = next(call)
        assert isinstance(first, Progress) and first.progress == 1
        assert not call.done
        client.call_tool("open_gate", {"name": name})
        second = next(call)
        assert isinstance(second, Progress) and second.progress == 2
        assert call.result.text == f"passed {name}"


@for_peers(*STREAMING)
def test_two_calls_of_one_client_keep_their_progress_apart(peer: Peer) -> None:
    """Both run at the same time, on two threads, and each callback sees its own."""
    seen: dict[str, list[float]] = {"left": [], "right": []}
    with connect(peer) as client:

        def call(name: str, before: int) -> str:
            return client.call_tool(
                "gated",
                {"name": f"apart-{name}", "before": before, "after": 1},
                on_progress=lambda progress: seen[name].append(progress.progress),
            ).text

        with Background(lambda: call("left", 1)) as left, Background(lambda: call("right", 4)) as right:
            for name in ("left", "right"):
                client.call_tool("open_gate", {"name": f"apart-{name}"})
    assert (left.value, right.value) == ("passed apart-left", "passed apart-right")
    assert seen == {"left": [1, 2], "right": [1, 2, 3, 4, 5]}
