"""How a client finds out by which rules a server speaks, remembers it, and copes when it has changed."""

from __future__ import annotations

import pickle
import queue
import threading
from typing import Any

import pytest

from streamhttp_client import Client, LogMessage, RetryPolicy, Session, StreamHTTPError, UnsupportedVersion
from tests.live.clients import BOUND, Background, Traffic, ask, eventually, for_peers, meet
from tests.live.peers import EVERYTHING, MODERN, OLDER, STRICT, Kind, Peer, running
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live

SSE = Kind("mcp1", legacy=True, watched=True)


def speak(peer: Peer | str, **options: Any) -> Client:
    """A client that does not list the tools for the sake of a result's schema, so that requests can be counted."""
    return meet(peer, check_results=False, **options)


def echo(client: Client) -> str:
    return client.call_tool("echo", {"text": "hi"}).text


# --- the first time, and every other time -------------------------------------------------------------------


@for_peers(*MODERN)
def test_a_server_of_2026_is_asked_once_and_known_from_then_on(peer: Peer) -> None:
    """V26-04, V26-05, V26-08, V26-10: one question; another client of the same server asks nothing and just calls."""
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert client.negotiation == ("the server answered server/discover",)
        assert echo(client) == "hi"
    assert traffic.methods() == ["server/discover", "tools/call"]
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert client.era == "stateless"
        assert client.negotiation == ("as this endpoint was known to speak",)
        assert traffic.methods() == []
        assert echo(client) == "hi"
        assert client.session.server_info is not None  # which is asked for when it is wanted
    assert traffic.methods() == ["tools/call", "server/discover"]


@for_peers(*OLDER)
def test_a_server_of_sessions_is_probed_once(peer: Peer) -> None:
    """V26-05, V26-07, V26-08, L25-01: its refusal is no modern error, so that it is shaken hands with."""
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert client.era == "session"
        assert "HTTP 400" in client.negotiation[0]
        assert client.negotiation[-1] == "initialize agreed on 2025-11-25"
        assert echo(client) == "hi"
    assert traffic.methods()[:3] == ["server/discover", "initialize", "notifications/initialized"]
    assert "mcp-session-id" not in traffic.notes()[1]["headers"]
    assert "mcp-protocol-version" not in traffic.notes()[1]["headers"]
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert echo(client) == "hi"
    assert traffic.methods()[0] == "initialize"
    assert "server/discover" not in traffic.methods()


@for_peers(EVERYTHING)
def test_the_npm_server_of_sessions_is_found_out_as_well(peer: Peer) -> None:
    """V26-07: server-everything, made with the npm SDK 1.x, has words of its own for what it does not know."""

    def sampling(params: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": {"type": "text", "text": "so much"}, "model": "abacus"}

    def elicitation(params: Any) -> dict[str, Any]:
        return {"action": "accept", "content": {"name": "Zoe"}}

    with speak(peer, sampling=sampling, elicitation=elicitation) as client:
        assert client.era == "session"
        assert client.session.protocol_version == "2025-11-25"
        assert client.call_tool("echo", {"message": "hi"}).text == "Echo: hi"
        assert "so much" in client.call_tool("trigger-sampling-request", {"prompt": "how much?"}).text
        assert "Zoe" in client.call_tool("trigger-elicitation-request").text
    with speak(peer) as client:
        assert client.negotiation[0] == "as this endpoint was known to speak"
        assert client.call_tool("echo", {"message": "again"}).text == "Echo: again"


@for_peers(SSE)
def test_a_server_of_two_channels_is_found_and_known_from_then_on(peer: Peer) -> None:
    """H26-20, H25-25, O-03, V26-08, H26-21: POST twice in vain, then a GET; the next client begins with the GET."""
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert client.era == "http+sse"
        assert echo(client) == "hi"
    # The first two are refused unread.
    assert traffic.methods()[:5] == ["POST", "POST", "GET", "initialize", "notifications/initialized"]
    assert ["mcp-method" in note["headers"] for note in traffic.notes()[:3]] == [True, False, False]
    traffic = Traffic(peer)
    with speak(peer) as client:
        assert client.era == "http+sse"
        assert client.negotiation[0] == "as this endpoint was known to speak"
        assert echo(client) == "hi"
    assert traffic.methods()[:2] == ["GET", "initialize"]
    assert not any("mcp-method" in note["headers"] for note in traffic.notes())


@for_peers(SSE)
def test_all_works_over_two_channels(peer: Peer) -> None:
    """O-03: tools, progress, logs, what the server asks, and what it tells unasked, all on the one stream."""
    seen: list[float] = []
    logs: list[LogMessage] = []
    heard: queue.Queue[Any] = queue.Queue()

    def sampling(params: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": {"type": "text", "text": "so much"}, "model": "abacus"}

    with speak(peer, sampling=sampling, roots=["file:///srv"]) as client:
        assert "gated" in {tool.name for tool in client.list_tools()}
        result = client.call_tool(
            "work", {"steps": 3}, on_progress=lambda progress: seen.append(progress.progress), on_log=logs.append
        )
        assert result.text == "did 3"
        assert client.call_tool("ask_model", {"prompt": "how much?"}).text == "abacus said so much"
        assert ask(client, "ask_roots") == ["file:///srv"]
        assert client.call_tool("ping").text == "pong"
        with client.listen(heard.put) as listener:
            assert listener.wait_open(BOUND)
            client.call_tool("grow", {"name": "grown"})
            assert heard.get(timeout=BOUND).method == "notifications/tools/list_changed"
        assert "grown" in {tool.name for tool in client.list_tools()}
    assert seen == [1, 2, 3]
    assert [log.level for log in logs] == ["info"] * 3


@for_peers(SSE)
def test_a_call_over_two_channels_is_cancelled(peer: Peer) -> None:
    """O-03, K-07: by a notification, since the stream is everybody's."""
    traffic = Traffic(peer)
    with speak(peer) as client:
        with client.stream_tool("gated", {"name": "channel-left", "before": 1, "after": 0}) as call:
            next(call)
        eventually(lambda: ask(client, "counts", name="channel-left")["cancelled"] == 1, "the server stopped the call")
    assert "notifications/cancelled" in traffic.methods()


@for_peers(*MODERN)
def test_threads_that_come_at_once_agree_once(peer: Peer) -> None:
    """V26-08: eight threads of one client, and one question to the server."""
    traffic = Traffic(peer)
    start = threading.Barrier(8)
    client = speak(peer)

    def call() -> str:
        start.wait(BOUND)
        return echo(client)

    calls = [Background(call) for _ in range(8)]
    for each in calls:
        each.__enter__()
    for each in calls:
        each.__exit__(None, None, None)
    client.close()
    assert [each.value for each in calls] == ["hi"] * 8
    assert traffic.methods().count("server/discover") == 1


# --- a session without a session ----------------------------------------------------------------------------


@for_peers(*MODERN)
def test_a_saved_session_is_taken_up_without_a_request(peer: Peer) -> None:
    """H26-22, H26-07, V26-08: what was agreed is in it, and nothing of it is held by the server."""
    with speak(peer) as client:
        saved = client.session.to_json()
    session = Session.from_json(saved)
    assert (session.session_id, session.protocol_version) == (None, "2026-07-28")
    traffic = Traffic(peer)
    with Client.resume(saved, timeout=BOUND, check_results=False) as client:
        assert client.era == "stateless"
        assert client.session.instructions == "Ask me anything."
        assert echo(client) == "hi"
    assert traffic.methods() == ["tools/call"]


@for_peers(*MODERN)
def test_a_pickled_client_goes_on(peer: Peer) -> None:
    """H26-22: in a worker, say; without a request, and with the subscriptions that it had."""
    subscribes = peer.kind.environment != "fastmcp"
    with speak(peer) as client:
        if subscribes:
            client.subscribe_resource("note://greeting")
        data = pickle.dumps(client)
    traffic = Traffic(peer)
    with pickle.loads(data) as copy:
        assert (echo(copy), copy.era) == ("hi", "stateless")
        with copy.listen() as listener:
            assert listener.available is subscribes
            if subscribes:
                assert listener.honoured["resourceSubscriptions"] == ["note://greeting"]
    assert traffic.methods() == ["tools/call", "subscriptions/listen"]


@for_peers(*MODERN)
def test_closing_says_nothing(peer: Peer) -> None:
    """H26-07, X6: there is nothing to end, and no GET was opened for what the server might ask."""
    traffic = Traffic(peer)
    client = speak(peer, elicitation=lambda params: None, sampling=lambda params: None, roots=[])
    echo(client)
    client.close()
    assert traffic.methods() == ["server/discover", "tools/call"]
    assert {note["http"] for note in traffic.notes()} == {"POST"}


# --- one revision and no other ------------------------------------------------------------------------------


@for_peers(*MODERN)
def test_a_revision_that_was_asked_for_needs_no_finding_out(peer: Peer) -> None:
    """V26-04: ``server/discover`` may be left out."""
    traffic = Traffic(peer)
    with speak(peer, protocol="2026-07-28") as client:
        assert echo(client) == "hi"
    assert traffic.methods() == ["tools/call"]


@for_peers(*OLDER, SSE)
def test_a_revision_that_the_server_does_not_speak_is_a_clear_error(peer: Peer) -> None:
    """V26-11: and the client does not fall back to what it was not asked for."""
    traffic = Traffic(peer)
    with speak(peer, protocol="2026-07-28") as client:
        with pytest.raises(StreamHTTPError) as caught:
            echo(client)
    # 2026-07-28 has no error that an older server could know: what it says itself is the best that can be told.
    assert "2026-07-28" in str(caught.value) or getattr(caught.value, "status", None) in (400, 404, 405)
    assert "initialize" not in traffic.methods() and "GET" not in traffic.methods()


@for_peers(STRICT)
def test_a_server_that_knows_no_sessions_says_so(peer: Peer) -> None:
    """V26-03, V26-11: the error has what the server speaks, and another revision is not spoken unasked."""
    traffic = Traffic(peer)
    with pytest.raises(UnsupportedVersion, match="2026-07-28") as caught:
        speak(peer, protocol="2025-11-25").connect()
    assert caught.value.requested == "2025-11-25"
    assert "2026-07-28" in caught.value.supported
    assert traffic.methods() == ["initialize"]
    with speak(peer) as client:
        assert (echo(client), client.era) == ("hi", "stateless")


@for_peers(*MODERN)
def test_sessions_can_be_asked_for_where_both_are_spoken(peer: Peer) -> None:
    """X6, X9, V26-10: the same server speaks 2025-11-25 with a client that wants that, and nothing is learned of it."""
    traffic = Traffic(peer)
    with speak(peer, protocol="2025-11-25") as client:
        assert client.era == "session"
        assert echo(client) == "hi"
    assert traffic.methods()[0] == "initialize"
    with speak(peer) as client:
        assert client.era == "stateless"


# --- a server that has become another -----------------------------------------------------------------------


@for_peers(Kind("mcp2", watched=True))
def test_a_server_that_is_replaced_by_an_older_one_is_found_out_anew(peer: Peer) -> None:
    """V26-08, V26-07: in the middle of a client's life, and by a client that relied on what was known."""
    with running(Kind("mcp1", watched=True)) as older, Cutter(peer.url) as cutter:
        url = cutter.through(peer.url)
        with speak(url) as client:
            assert (echo(client), client.era) == ("hi", "stateless")
            cutter.target = older.url  # type: ignore[assignment]
            cutter.cut("fin")
            assert (echo(client), client.era) == ("hi", "session")
            assert client.session.session_id is not None
        with speak(url) as client:
            assert (echo(client), client.era) == ("hi", "session")
        cutter.target = peer.url  # type: ignore[assignment]
        cutter.cut("fin")
        with speak(url) as client:
            assert echo(client) == "hi"


@for_peers(Kind("mcp2", watched=True))
def test_a_server_that_is_replaced_by_one_of_two_channels_is_found_out_anew(peer: Peer) -> None:
    """V26-08, H26-20: down to 2024-11-05 within one call."""
    with running(SSE) as oldest, Cutter(peer.url) as cutter:
        with speak(cutter.through(peer.url)) as client:
            assert (echo(client), client.era) == ("hi", "stateless")
            cutter.target = oldest.url  # type: ignore[assignment]
            cutter.cut("fin")
            assert (echo(client), client.era) == ("hi", "http+sse")


@for_peers(Kind("mcp1", watched=True))
def test_a_server_of_sessions_that_knows_only_2026_from_now_on_is_found_out_anew(peer: Peer) -> None:
    """V26-08, V26-03: its refusal names the revisions that it speaks."""
    with running(STRICT) as newer, Cutter(peer.url) as cutter:
        url = cutter.through(peer.url)
        with speak(url) as client:
            assert (echo(client), client.era) == ("hi", "session")
            cutter.target = newer.url  # type: ignore[assignment]
            cutter.cut("fin")
            with speak(url) as late:
                assert (echo(late), late.era) == ("hi", "stateless")
            assert (echo(client), client.era) == ("hi", "stateless")


@for_peers(Kind("mcp2", watched=True))
def test_a_saved_session_of_2026_is_of_use_with_an_older_server_too(peer: Peer) -> None:
    """V26-08: what was saved does not hold any more, and the call is made all the same."""
    with speak(peer) as client:
        saved = client.session.to_json()
    with running(Kind("mcp1", watched=True)) as older:
        with Client.resume(saved, url=older.url, timeout=BOUND) as client:
            assert (echo(client), client.era) == ("hi", "session")


@for_peers(SSE)
def test_a_server_of_two_channels_that_is_upgraded_is_found_out_anew(peer: Peer) -> None:
    """V26-08: in the middle of a client's life, and by a client that relied on what was known."""
    with running(Kind("mcp2", watched=True)) as newer, Cutter(peer.url) as cutter:
        url = cutter.through(peer.url)
        with speak(url) as client:
            assert (echo(client), client.era) == ("hi", "http+sse")
            cutter.target = newer.url  # type: ignore[assignment]
            cutter.cut("fin")
            with speak(url) as late:
                assert (echo(late), late.era) == ("hi", "stateless")
            assert (echo(client), client.era) == ("hi", "stateless")


@for_peers(SSE)
def test_a_client_over_two_channels_finds_out_by_itself_that_its_server_was_upgraded(peer: Peer) -> None:
    """V26-08: its stream has ended, and there is none any more."""
    with running(Kind("mcp2", watched=True)) as newer, Cutter(peer.url) as cutter:
        with speak(cutter.through(peer.url)) as client:
            assert (echo(client), client.era) == ("hi", "http+sse")
            cutter.target = newer.url  # type: ignore[assignment]
            cutter.cut("fin")
            assert (echo(client), client.era) == ("hi", "stateless")


def test_nobody_at_home_is_no_answer() -> None:
    """V26-05: a server that cannot be reached says nothing of how it speaks, and nothing is tried in its place."""
    with Cutter(("127.0.0.1", 9)) as cutter:
        cutter.refuse()
        with pytest.raises(StreamHTTPError) as caught:
            speak(cutter.through("http://127.0.0.1:9/mcp"), retry=RetryPolicy(attempts=2, base=0.01)).connect()
    assert not isinstance(caught.value, UnsupportedVersion)
