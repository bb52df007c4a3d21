"""One answer, no matter what the network does: calls whose stream is cut are finished by resuming it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamhttp_client import ConnectionLost
from tests.live.clients import Background, ask, connect, for_peers
from tests.live.peers import SHARED, STATEFUL, STATELESS, Peer
from tests.support.cutter import Cutter, How

pytestmark = pytest.mark.live


@pytest.fixture
def cutter(peer: Peer) -> Iterator[Cutter]:
    with Cutter(peer.url) as proxy:
        yield proxy


@for_peers(*STATEFUL)
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_cut_call_gives_one_complete_answer(peer: Peer, cutter: Cutter, how: How) -> None:
    """Cut in the middle; what the server said meanwhile is collected; the tool ran once."""
    name = f"cut-{how}"
    seen: list[tuple[float, int]] = []
    with connect(peer) as direct, connect(cutter.through(peer.url)) as client:
        with client.stream_tool("gated", {"name": name, "before": 2, "after": 3}) as call:
            for _ in range(2):
                event = next(call)
                seen.append((event.progress, event.attempt))
            assert cutter.cut(how) >= 1
            direct.call_tool("open_gate", {"name": name})
            seen += [(event.progress, event.attempt) for event in call]
            assert call.result.text == f"passed {name}"
        assert [progress for progress, _ in seen] == [1, 2, 3, 4, 5]
        first, last = seen[0][1], seen[-1][1]
        assert first < last
        assert ask(direct, "counts", name=name) == {"started": 1, "cancelled": 0}


@for_peers(*STATEFUL)
def test_a_call_survives_many_cuts(peer: Peer, cutter: Cutter) -> None:
    """Cut anew after each progress, also before anything new came: the cursor never goes back."""
    name = "many-cuts"
    seen: list[float] = []
    with connect(peer) as direct, connect(cutter.through(peer.url)) as client:

        def on_progress(progress: object) -> None:
            seen.append(progress.progress)  # type: ignore[attr-defined]
            cutter.cut("rst")
            if len(seen) == 3:
                direct.call_tool("open_gate", {"name": name})

        arguments = {"name": name, "before": 3, "after": 3}
        result = client.call_tool("gated", arguments, on_progress=on_progress)
        assert result.text == f"passed {name}"
        assert seen == [1, 2, 3, 4, 5, 6]
        assert cutter.cuts >= 2  # several steps may have come in one piece
        assert ask(direct, "counts", name=name) == {"started": 1, "cancelled": 0}


@for_peers(*STATEFUL)
@pytest.mark.parametrize("size", [1, 150, 600, 900, 1200, 1500])
def test_a_cut_behind_any_byte_gives_the_same_answer(peer: Peer, cutter: Cutter, size: int) -> None:
    """Within the head, an event, between events: a read-only tool answers in any case."""
    with connect(cutter.through(peer.url)) as client:
        client.list_tools()
        cutter.cut_after(size)
        text = "x" * 1000
        assert client.call_tool("echo", {"text": text}, idempotent=True).text == text
        assert cutter.cuts == 1


@for_peers(*STATEFUL)
def test_a_stream_that_the_server_closes_is_polled(peer: Peer) -> None:
    """SEP-1699: the server hangs up in the middle of a call, and the client comes back for the rest."""
    name = "polled"
    seen: list[float] = []
    with connect(peer) as client, connect(peer) as other:

        def call() -> str:
            return client.call_tool(
                "polled", {"name": name}, on_progress=lambda progress: seen.append(progress.progress)
            ).text

        with Background(call) as running:
            other.call_tool("open_gate", {"name": name})
    assert running.value == f"polled {name}"
    assert seen == [1, 2]


@for_peers(*STATEFUL)
def test_the_client_stays_usable_after_every_connection_was_cut(peer: Peer, cutter: Cutter) -> None:
    with connect(cutter.through(peer.url)) as client:
        for number in range(5):
            assert client.call_tool("echo", {"text": str(number)}).text == str(number)
            cutter.cut("fin" if number % 2 else "rst")


@for_peers(*(kind for kind in STATELESS if kind.json))
def test_an_answer_that_cannot_be_collected_is_an_honest_error(peer: Peer, cutter: Cutter) -> None:
    """No events, no session: the call may have run, it is not repeated, and the error says so."""
    name = "honest"
    with connect(peer) as direct, connect(cutter.through(peer.url)) as client:
        client.list_tools()

        def call() -> object:
            with pytest.raises(ConnectionLost) as caught:
                client.call_tool("gated", {"name": name, "before": 0, "after": 0})
            return caught.value

        with Background(call) as running:
            while ask(direct, "counts", name=name)["started"] == 0:
                pass
            cutter.cut("rst")
        direct.call_tool("open_gate", {"name": name})
        assert running.value.may_have_executed is True
        assert running.value.resumable is False
        assert ask(direct, "counts", name=name)["started"] == 1


@for_peers(*SHARED)
def test_nobody_gets_the_answer_of_another_session(peer: Peer, cutter: Cutter) -> None:
    """A server whose sessions share an event store finds streams by request id alone, so ours must be our own."""
    name = "mine"
    with connect(peer) as other, connect(cutter.through(peer.url)) as client:
        with client.stream_tool("gated", {"name": name, "before": 1, "after": 1}) as call:
            next(call)
            cutter.cut("rst")
            for number in range(20):
                other.call_tool("echo", {"text": f"not yours: {number}"})
            other.call_tool("open_gate", {"name": name})
            assert call.result.text == f"passed {name}"
