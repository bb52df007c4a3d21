"""The session era answers questions; nobody else needs to know which revision is spoken."""

from __future__ import annotations

import pytest

from streamhttp_client import HTTPStatusError, RemoteProtocolError, RPCError, Session, jsonrpc
from streamhttp_client.protocol.stateful import StatefulEra
from streamhttp_client.protocol.versions import REVISIONS, Revision

SESSION = Session("http://h/mcp", "the-id", "2025-06-18")
ANONYMOUS = Session("http://h/mcp", None, "2025-06-18")
PING = jsonrpc.Request(1, "ping")

SPOKEN = [revision for revision in REVISIONS.values() if revision.handshake]
eras = pytest.mark.parametrize("revision", SPOKEN, ids=[revision.name for revision in SPOKEN])


@eras
def test_headers_of_a_post(revision: Revision) -> None:
    """H25-02, H25-20, H25-23: a POST accepts both kinds of answer, and carries session and revision."""
    assert StatefulEra(revision).message_headers(SESSION, PING) == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-session-id": "the-id",
        "mcp-protocol-version": "2025-06-18",
    }


@eras
def test_headers_before_the_handshake(revision: Revision) -> None:
    """H25-24: before the handshake there is neither a session nor a revision to name."""
    assert StatefulEra(revision).message_headers(None, PING) == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }


@eras
def test_headers_of_a_stream(revision: Revision) -> None:
    """H25-12, H25-20, H25-23: a GET asks for a stream, of this session, at this revision, and never from a cache."""
    assert StatefulEra(revision).stream_headers(SESSION) == {
        "accept": "text/event-stream",
        "cache-control": "no-store",
        "mcp-session-id": "the-id",
        "mcp-protocol-version": "2025-06-18",
    }


@eras
def test_headers_of_the_end(revision: Revision) -> None:
    """H25-20, H25-22, H25-23: DELETE names the session and the revision."""
    assert StatefulEra(revision).end_headers(SESSION) == {
        "mcp-session-id": "the-id",
        "mcp-protocol-version": "2025-06-18",
    }


@eras
def test_a_server_without_sessions(revision: Revision) -> None:
    """H25-23: without a session id the revision is sent all the same; 404 means what it says."""
    era = StatefulEra(revision)
    assert era.end_headers(ANONYMOUS) == {"mcp-protocol-version": "2025-06-18"}
    assert not era.session_is_gone(404, ANONYMOUS)


def test_404_means_that_the_session_is_gone() -> None:
    """H25-21, O-04: 404 to a request that named a session, and no other status, ends it."""
    era = StatefulEra(REVISIONS["2025-03-26"])
    assert era.session_is_gone(404, SESSION)
    assert not era.session_is_gone(404, None)
    for status in (200, 400, 401, 403, 405, 410, 500):
        assert not era.session_is_gone(status, SESSION)


@eras
def test_a_stream_resumes_after_an_id(revision: Revision) -> None:
    """H25-17, O-01: where an event had an id, the stream can be opened again, at each of the revisions."""
    era = StatefulEra(revision)
    assert era.may_resume("e-1")
    assert not era.may_resume("")


@eras
def test_cancelling_is_a_notification(revision: Revision) -> None:
    """H25-10, H25-11, K-07: cancelling is said in a notification; closing the stream says nothing."""
    era = StatefulEra(revision)
    assert era.cancellation(7, "why") == jsonrpc.Notification(
        "notifications/cancelled", {"requestId": 7, "reason": "why"}
    )


@eras
def test_what_the_era_has(revision: Revision) -> None:
    """H25-09, H25-12, H25-22: answers by POST, a listening stream, and an end that is told."""
    era = StatefulEra(revision)
    assert era.server_asks and era.listening == "get" and era.ends_session and era.keeps_wishes
    assert era.session_lasts and era.hears_of_roots
    assert not era.caches and not era.mirrors_arguments


@eras
def test_requests_say_nothing_of_the_client(revision: Revision) -> None:
    """X9, X10: version, capabilities and log level are agreed once, and no request repeats them."""
    era, params = StatefulEra(revision), {"name": "x"}
    assert era.dress(params, log_level="debug") is params
    assert era.dress(None, log_level=None) is None


@eras
def test_every_result_is_whole(revision: Revision) -> None:
    """X5: there are no rounds of input, whatever a result says of itself."""
    assert StatefulEra(revision).result_kind("tools/call", {"resultType": "input_required"}) == "complete"


@eras
@pytest.mark.parametrize("code", [-32020, -32021, -32022])
def test_refusals_of_another_era(revision: Revision, code: int) -> None:
    """V26-08: an error that only servers of 2026-07-28 know, and no other, is a reason to find out again."""
    era = StatefulEra(revision)
    assert era.is_foreign(RPCError("?", code=code, status=400))
    assert not era.is_foreign(RPCError("?", code=-32600, status=400))
    assert not era.is_foreign(HTTPStatusError("?", status=400, headers={}, url=""))


@pytest.mark.parametrize("value", ["a", "!", "~", "".join(map(chr, range(0x21, 0x7F))), "x" * 8192])
def test_session_ids_that_can_be(value: str) -> None:
    """H25-26: any visible ASCII characters, as they came."""
    assert StatefulEra(REVISIONS["2025-11-25"]).check_session_id(value) == value


@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a\tb", "a\r\nb: c", "a\x00", "a\x7f", "é", "a\xa0", "\u2028", "x" * 8193]
)
def test_session_ids_that_cannot_be(value: str) -> None:
    """H25-19, H25-26: nothing else is sent back, and none is repeated in the error."""
    with pytest.raises(RemoteProtocolError, match="visible ASCII") as caught:
        StatefulEra(REVISIONS["2025-11-25"]).check_session_id(value)
    assert not value.strip() or value not in str(caught.value)
