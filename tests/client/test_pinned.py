"""A client that is to speak one revision and no other: with servers that speak it, and with those that do not."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import pytest

from streamhttp_client import (
    Client,
    HTTPStatusError,
    LocalProtocolError,
    StreamHTTPError,
    UnsupportedVersion,
)
from streamhttp_client.client.eras import KNOWN_SERVERS
from tests.client._kinds import (
    CHANNEL_BEGINS,
    MODERN,
    SESSION_BEGINS,
    AnyServer,
    connect_to,
    keys,
    not_yet,
    works,
)
from tests.support.rawserver import Peer, Request, rpc_refusal

Script = Callable[[Peer, Request], None]


@pytest.mark.parametrize("kind", ["modern", "both"])
def test_modern_only(_nothing_left: None, kind: str) -> None:
    """V26-04: a pinned modern revision needs no probe; the first request goes out at once."""
    with AnyServer(kind) as server, connect_to(server, protocol=MODERN) as client:
        assert keys(server) == [] and client.era == "stateless"
        works(client)
        assert keys(server) == ["tools/call"]


@pytest.mark.parametrize("name", ["2025-11-25", "2025-06-18", "2025-03-26"])
@pytest.mark.parametrize("kind", ["session", "both"])
def test_one_session_revision_only(_nothing_left: None, kind: str, name: str) -> None:
    """V26-08, L25-04: a pinned session revision is offered at once, and nothing is learned of the server from it."""
    with AnyServer(kind, protocol_version=name) as server:
        with connect_to(server, protocol=name) as client:
            works(client)
            assert client.era == "session" and client.session.protocol_version == name
        assert keys(server) == [*SESSION_BEGINS, "tools/call", "DELETE"]
        assert KNOWN_SERVERS.first_step(server.url) is None


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("2025-03-26", {"roots": {"listChanged": True}, "sampling": {}}),
        ("2025-06-18", {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}),
    ],
)
def test_only_what_the_revision_has_is_declared(session_server: AnyServer, name: str, declared: object) -> None:
    """L25-06: callbacks for what came later stand by in vain, and the server is not told of them."""
    session_server.protocol_version = name
    every = {"roots": [], "sampling": dict, "elicitation": dict, "url_elicitation": True, "sampling_tools": True}
    with connect_to(session_server, protocol=name, **every) as client:
        works(client)
    assert session_server.seen("initialize")[0].json["params"]["capabilities"] == declared


def test_http_sse_only(channel_server: AnyServer) -> None:
    """O-03, H26-21: pinned to 2024-11-05, the stream is opened at once."""
    with connect_to(channel_server, protocol="2024-11-05") as client:
        works(client)
        assert client.era == "http+sse"
    assert keys(channel_server) == [*CHANNEL_BEGINS, "tools/call"]


@pytest.mark.parametrize("kind", ["session", "channel"])
def test_modern_only_and_an_older_server(_nothing_left: None, kind: str) -> None:
    """V26-11: the error says which revision was wanted, and what to do about it; nothing older was tried."""
    with AnyServer(kind) as server:
        client = connect_to(server, protocol=MODERN)
        for use in (works, lambda client: client.list_tools(), lambda client: client.session):
            with pytest.raises(UnsupportedVersion, match=r"2026-07-28.*protocol='auto'") as caught:
                use(client)
            assert caught.value.requested == MODERN
        client.close()
        assert set(keys(server)) <= {"tools/call", "tools/list", "server/discover"}


@pytest.mark.parametrize("versions", [["2025-11-25"], ["2025-06-18", "2025-11-25"]])
def test_modern_only_and_a_server_that_names_others(modern_server: AnyServer, versions: list[str]) -> None:
    """V26-03, V26-11: -32022 to a request is the error that names what the server speaks."""
    modern_server.on("tools/call", rpc_refusal(400, -32022, "no", {"supported": versions, "requested": MODERN}))
    client = connect_to(modern_server, protocol=MODERN)
    with pytest.raises(UnsupportedVersion) as caught:
        works(client)
    client.close()
    assert caught.value.supported == tuple(versions) and caught.value.code == -32022
    assert keys(modern_server) == ["tools/call"]


@pytest.mark.parametrize("name", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_one_session_revision_and_a_modern_server(modern_server: AnyServer, name: str) -> None:
    """V26-11: a server that knows no handshake is an error that says which revision was wanted, and what to do."""
    client = connect_to(modern_server, protocol=name)
    with pytest.raises(UnsupportedVersion, match=rf"{name}.*protocol='auto'") as caught:
        client.connect()
    client.close()
    assert caught.value.requested == name and keys(modern_server) == ["initialize"]


@pytest.mark.parametrize("name", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_one_session_revision_and_a_modern_server_that_names_its_own(modern_server: AnyServer, name: str) -> None:
    """V26-11: what the server says that it speaks is in the error."""
    modern_server.on("initialize", rpc_refusal(400, -32022, "no", {"supported": [MODERN], "requested": name}))
    client = connect_to(modern_server, protocol=name)
    with pytest.raises(UnsupportedVersion, match=f"{name}.*{MODERN}") as caught:
        client.connect()
    client.close()
    assert caught.value.supported == (MODERN,) and keys(modern_server) == ["initialize"]


def test_one_session_revision_and_a_server_with_another(session_server: AnyServer) -> None:
    """L25-05, L25-08: a counter-offer is not accepted, and the session that came with it is ended."""
    client = connect_to(session_server, protocol="2025-06-18")
    with pytest.raises(UnsupportedVersion) as caught:
        client.connect()
    client.close()
    assert caught.value.supported == ("2025-11-25",)
    assert keys(session_server) == ["initialize", "DELETE"] and session_server.sessions == set()


@pytest.mark.parametrize("name", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_one_session_revision_and_http_sse(channel_server: AnyServer, name: str) -> None:
    """H26-21, L25-08: pinned to another revision, no stream of HTTP+SSE is opened; the error asks for the address."""
    client = connect_to(channel_server, protocol=name)
    with pytest.raises(HTTPStatusError, match="404.*is this the address of an MCP endpoint"):
        client.connect()
    client.close()
    assert keys(channel_server) == ["initialize"]


@pytest.mark.parametrize("kind", ["modern", "session", "both"])
def test_http_sse_only_and_a_newer_server(_nothing_left: None, kind: str) -> None:
    """V26-11, L25-08: a server without such a stream says so by its status, and no message is sent."""
    with AnyServer(kind) as server:
        client = connect_to(server, protocol="2024-11-05")
        with pytest.raises(HTTPStatusError) as caught:
            client.connect()
        client.close()
        assert caught.value.status in (400, 405) and keys(server) == ["GET"]


def test_http_sse_only_and_another_revision_on_it(channel_server: AnyServer) -> None:
    """L25-05: pinned to 2024-11-05, a server that kept the transport for a later revision is refused."""

    def later(peer: Peer, request: Request) -> None:
        channel_server._channel.accept(peer)
        found = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        channel_server._channel.say({"jsonrpc": "2.0", "id": request.id, "result": found})

    channel_server.on("initialize", later)
    client = connect_to(channel_server, protocol="2024-11-05")
    with pytest.raises(UnsupportedVersion) as caught:
        client.connect()
    client.close()
    assert caught.value.supported == ("2025-06-18",)


@pytest.mark.parametrize("refusal", [400, 404, 405])
@pytest.mark.parametrize(
    ("protocol", "kind"),
    [("2024-11-05", "session"), ("2024-11-05", "modern"), ("2025-11-25", "channel"), ("2025-03-26", "channel")],
)
def test_the_error_names_the_only_revision(_nothing_left: None, protocol: str, kind: str, refusal: int) -> None:
    """V26-11, H26-21: a refusal that may well be the revision's fault says that no other was tried, and why."""
    with AnyServer(kind, refusal=refusal) as server:
        if protocol == "2024-11-05":
            server.on("GET", lambda peer, request: peer.respond(refusal))
        with not_yet(server, protocol=protocol) as client:
            with pytest.raises(HTTPStatusError, match=f"only revision {protocol} was tried, as the caller wanted"):
                client.connect()
            with pytest.raises(HTTPStatusError) as caught:
                works(client)
        assert str(caught.value).count("only revision") == 1 and caught.value.status == refusal


def test_a_json_rpc_refusal_names_the_only_revision_too(session_server: AnyServer) -> None:
    """V26-11: servers that want a session id of a GET say so as JSON-RPC, which would mislead without it."""
    session_server.on("GET", rpc_refusal(400, -32600, "the Mcp-Session-Id header is needed"))
    with not_yet(session_server, protocol="2024-11-05") as client:
        with pytest.raises(StreamHTTPError, match=r"Mcp-Session-Id.*only revision 2024-11-05 was tried") as caught:
            client.connect()
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@pytest.mark.parametrize("era", ["quantum", "", "Session"])
def test_a_saved_session_of_an_era_that_is_not_known(session_server: AnyServer, era: str) -> None:
    """BASE-10: it is refused here, before anything is sent by rules that nobody has named."""
    saved = {"url": session_server.url, "protocol_version": "2025-11-25", "session_id": "session-1", "era": era}
    with pytest.raises(LocalProtocolError, match="era"), Client.resume(json.dumps(saved)) as client:
        works(client)
    assert keys(session_server) == []


@pytest.mark.parametrize("wanted", ["2025-03-26", "2025-11-25", "2026-07-28"])
def test_a_saved_session_of_another_revision(session_server: AnyServer, wanted: str) -> None:
    """L25-08: a session that was agreed in one revision is not gone on with where another one is wanted."""
    with connect_to(session_server, end_session=False) as client:
        works(client)
        saved = client.session
    assert saved.protocol_version == "2025-11-25"
    if wanted == saved.protocol_version:
        with Client.resume(saved, protocol=wanted, listen_in_background=False) as client:
            works(client)
    else:
        with pytest.raises(LocalProtocolError, match=f"speaks revision '2025-11-25', and no other than {wanted}"):
            Client.resume(saved, protocol=wanted)
