"""README's table of what is supported is complete, and each of its cells is proved against a peer of its revision."""

from __future__ import annotations

import pytest

from streamhttp_client import InputRequired, RetryPolicy
from streamhttp_client.protocol.versions import REVISIONS
from tests.support_table import client_rows, more_rows, server_rows, transport_rows
from tests.support_table.table import PROOFS, Proof, read_table
from tests.support_table.worlds import OK, open_world

TABLE = read_table()
assert client_rows and more_rows and server_rows and transport_rows  # importing them has registered their proofs


def test_the_table_is_complete() -> None:
    """It has a column for each revision that is spoken, each cell has a proof, and each proof a cell."""
    assert sorted({revision for revision, _ in TABLE}) == sorted(REVISIONS)
    assert sorted(TABLE.keys() - PROOFS.keys()) == []
    assert sorted(PROOFS.keys() - TABLE.keys()) == []


@pytest.mark.parametrize("key", [pytest.param(key, id=proof.id) for key, proof in PROOFS.items()])
def test_the_words_of_a_cell(key: tuple[str, str]) -> None:
    """They are those that its proof is about."""
    assert TABLE.get(key) == PROOFS[key].words


@pytest.mark.parametrize("proof", [pytest.param(proof, id=proof.id) for proof in PROOFS.values()])
def test_a_cell(proof: Proof) -> None:
    """What a cell says is so, on the wire and in the results, with a server that speaks this revision and no other."""
    with open_world(proof.revision) as world:
        proof.check(world)


@pytest.mark.parametrize("revision", REVISIONS)
def test_found_without_being_told(revision: str) -> None:
    """The client finds out by itself what a server speaks, and the next one of that server need not ask."""
    with open_world(revision, judged=False) as world:
        for _ in range(2):
            begin = len(world.server.requests)
            with world.client(protocol="auto") as client:
                assert client.call_tool("echo").text == "ok"
                assert client.connect().protocol_version == revision  # as it was found; nothing is sent
                assert client.negotiation
    world.look_back(begin)  # the second one has sent nothing that this revision does not know
    assert len(world.server.requests) < 2 * begin


@pytest.mark.parametrize("revision", ["2024-11-05", "2026-07-28"])
def test_broken_again_and_again(revision: str) -> None:
    """Repeated where safe: as often as the retry policy says, like everything else."""
    with open_world(revision) as world:
        breaks = world.breaks(transport_rows.progress)
        world.on("tools/call", breaks, breaks, breaks, OK)
        with world.client(retry=RetryPolicy(attempts=8, base=0.0)) as client:
            assert client.call_tool("echo", idempotent=True, on_progress=lambda event: None).text == "ok"
        assert len(world.calls) == 4


def test_what_in_rounds_means() -> None:
    """Where there is no callback, ``InputRequired`` holds all that ``continue_call()`` needs, also elsewhere."""
    with open_world("2026-07-28") as world:
        answers = world.asks("elicitation/create", {"mode": "form", **client_rows.FORM})
        with world.client() as client, pytest.raises(InputRequired) as caught:
            client.call_tool("echo", {"a": 1})
        saved = caught.value.to_json()
        reply = {"action": "accept", "content": {"name": "Ada"}}
        with world.client() as client:
            assert client.continue_call(saved, {"question": reply}).text == "ok"
        assert answers == [{"result": reply}]
        assert [call.json["params"]["arguments"] for call in world.calls] == [{"a": 1}] * 2
