"""The rules of 2024-11-05: those of a session without an id, whose stream is all there is."""

from __future__ import annotations

import pytest

from streamhttp_client import Session, jsonrpc
from streamhttp_client.protocol.era import Era
from streamhttp_client.protocol.two_channels import TwoChannelsEra
from streamhttp_client.protocol.versions import REVISIONS

SESSION = Session("http://h/sse", "an-id-that-somebody-put-here", "2024-11-05")
MESSAGE = jsonrpc.Notification("notifications/initialized")


@pytest.mark.parametrize("session", [None, SESSION])
def test_headers(session: Session | None) -> None:
    """O-03: neither a session nor a revision is named in headers, which this revision does not know."""
    era: Era = TwoChannelsEra()
    assert era.message_headers(session, MESSAGE) == {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    assert era.stream_headers(SESSION) == {"accept": "text/event-stream", "cache-control": "no-store"}
    assert era.end_headers(SESSION) == {}


def test_what_the_era_has() -> None:
    """O-03: everything comes on one stream, closing it is the end, and it is never resumed."""
    era = TwoChannelsEra()
    assert era.revision.name == "2024-11-05" and era.revision.two_channels
    assert (era.listening, era.ends_session, era.server_asks) == ("channel", False, True)
    assert not era.session_lasts and era.hears_of_roots
    assert not era.may_resume("e-1") and not era.may_resume("")


def test_a_later_revision_on_the_old_transport() -> None:
    """O-03: a server that kept the transport may agree on a later revision; only the messages are of that one."""
    era = TwoChannelsEra(REVISIONS["2025-06-18"])
    assert era.revision.name == "2025-06-18"
    assert "mcp-protocol-version" not in era.message_headers(SESSION, MESSAGE)


def test_cancelling_is_a_notification() -> None:
    """K-07, O-03: closing the stream would cancel all calls, so one is cancelled by a message."""
    assert TwoChannelsEra().cancellation(7, "why") == jsonrpc.Notification(
        "notifications/cancelled", {"requestId": 7, "reason": "why"}
    )


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 410, 429, 500, 503])
def test_when_the_session_is_gone(status: int) -> None:
    """O-03: 400 and 404 to a message say that its stream is not known; before the handshake, they do not."""
    era = TwoChannelsEra()
    assert era.session_is_gone(status, SESSION) is (status in (400, 404))
    assert not era.session_is_gone(status, None)
