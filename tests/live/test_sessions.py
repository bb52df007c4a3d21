"""Sessions: kept, ended, resumed here and elsewhere, lost and renewed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

import streamhttp_client
from streamhttp_client import Client, SessionExpired
from tests.live.clients import BOUND, REVISION, ask, connect, for_peers
from tests.live.peers import STATEFUL, STATELESS, Peer, running
from tests.support.cutter import Cutter

pytestmark = pytest.mark.live


def knows(peer: Peer, session_id: str) -> bool:
    """Whether the server still has this session, asked without our client."""
    response = requests.post(
        peer.url,
        json={"jsonrpc": "2.0", "id": 1, "method": "ping"},
        headers={
            "Accept": "application/json, text/event-stream",
            "Mcp-Session-Id": session_id,
            "MCP-Protocol-Version": REVISION,
        },
        timeout=BOUND,
    )
    assert response.status_code in (200, 404)
    return response.status_code == 200


def in_another_process(script: str, *arguments: str) -> str:
    """Run a script with the package under test and return what it printed; warnings are errors there too."""
    source = Path(streamhttp_client.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@for_peers(*STATEFUL)
def test_one_session_from_the_handshake_to_the_end(peer: Peer) -> None:
    with connect(peer) as client:
        session_id = client.session.session_id
        assert session_id is not None
        assert {ask(client, "whoami")["session"] for _ in range(3)} == {session_id}
        assert client.session.session_id == session_id
        assert knows(peer, session_id)
    assert not knows(peer, session_id)


@for_peers(*STATELESS)
def test_closing_without_a_session_ends_nothing(peer: Peer) -> None:
    """These servers answer DELETE with 405; nobody is bothered with that."""
    with connect(peer) as client:
        assert client.session.session_id is None
        assert client.call_tool("echo", {"text": "hi"}).text == "hi"


@for_peers(*STATEFUL)
def test_a_session_is_taken_up_in_the_same_process(peer: Peer) -> None:
    with connect(peer) as first:
        saved = first.session.to_json()
        with Client.resume(saved, timeout=BOUND) as second:
            assert second.session.session_id == first.session.session_id
            assert second.session.protocol_version == REVISION
            assert ask(second, "whoami")["session"] == first.session.session_id


@for_peers(*STATEFUL)
def test_a_session_is_taken_up_in_another_process(peer: Peer) -> None:
    script = """
import sys
from streamhttp_client import Client
with Client.resume(sys.argv[1], timeout=30) as client:
    print(client.call_tool("whoami").text)
"""
    with connect(peer) as client:
        assert client.session.session_id is not None
        printed = in_another_process(script, client.session.to_json())
        assert client.session.session_id in printed


@for_peers(*STATEFUL)
def test_a_call_is_finished_in_another_process(peer: Peer) -> None:
    """Its cursor is saved in the middle; whoever has it collects what was missed, and the result."""
    script = """
import sys
from streamhttp_client import Client
with Client.resume(sys.argv[1], timeout=30) as client:
    seen = []
    result = client.resume_call(sys.argv[2], on_progress=lambda progress: seen.append(int(progress.progress)))
    print(seen, result.text)
"""
    name = "another-process"
    with Cutter(peer.url) as cutter, connect(peer) as direct:
        client = connect(cutter.through(peer.url))
        call = client.stream_tool("gated", {"name": name, "before": 2, "after": 2})
        assert [next(call).progress for _ in range(2)] == [1, 2]
        cursor = call.cursor
        assert cursor is not None
        # As if this process had died: no cancellation and no DELETE reaches the server.
        cutter.cut("rst")
        direct.call_tool("open_gate", {"name": name})
        printed = in_another_process(script, client.session.to_json(), cursor.to_json())
        assert printed == f"[3, 4] passed {name}\n"
        assert ask(direct, "counts", name=name) == {"started": 1, "cancelled": 0}
        client.close()


@for_peers(*STATEFUL)
def test_a_lost_session_is_renewed(peer: Peer) -> None:
    """The server is restarted: it answers 404, and the call goes through in a new session."""
    renewed: list[Any] = []
    with running(peer.kind) as first, Cutter(first.url) as cutter:
        with connect(
            cutter.through(first.url), on_session_renewed=lambda *sessions: renewed.append(sessions)
        ) as client:
            old = client.session.session_id
            assert client.call_tool("echo", {"text": "before"}).text == "before"
            first.stop()
            with running(peer.kind) as second:
                cutter.target = second.url  # type: ignore[assignment]
                assert client.call_tool("echo", {"text": "after"}).text == "after"
                new = client.session.session_id
                assert new is not None and new != old
                assert len(renewed) == 1
                assert ask(client, "whoami")["session"] == new
                client.close()


@for_peers(*STATEFUL)
def test_a_lost_session_may_be_an_error(peer: Peer) -> None:
    with running(peer.kind) as first, Cutter(first.url) as cutter:
        with connect(cutter.through(first.url), on_session_expired="raise") as client:
            client.list_tools()
            first.stop()
            with running(peer.kind) as second:
                cutter.target = second.url  # type: ignore[assignment]
                with pytest.raises(SessionExpired) as caught:
                    client.call_tool("echo", {"text": "after"})
                assert caught.value.status == 404
                client.close()
