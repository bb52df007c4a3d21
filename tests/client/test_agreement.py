"""Finding out how a server speaks, against every kind of server and every answer to the probe."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamhttp_client import (
    AuthenticationError,
    CallTimeout,
    Client,
    ClientClosed,
    ConnectionFailed,
    ContentTypeError,
    HeaderMismatch,
    HTTPStatusError,
    InvalidParams,
    MissingCapability,
    StreamHTTPError,
    Timeout,
    UnsupportedVersion,
)
from streamhttp_client.client import agreement
from streamhttp_client.client.eras import KNOWN_SERVERS
from streamhttp_client.protocol.versions import LATEST, REVISIONS
from tests.client._kinds import (
    CHANNEL_BEGINS,
    ERAS,
    MODERN,
    ONCE,
    SESSION_BEGINS,
    AnyServer,
    connect_to,
    keys,
    not_yet,
    works,
)
from tests.client._peer import AT_ONCE, BOUND
from tests.support.legacyserver import LegacyServer
from tests.support.rawserver import Peer, RawMCPServer, Request, refusing_port, rpc_refusal
from tests.transport._faults import InThread, within

Script = Callable[[Peer, Request], None]


# --- answers to the probe
# ----------------------------------------------------------------------------------------------------------------------


def test_a_modern_server(modern_server: AnyServer) -> None:
    """V26-04, V26-05, V26-10: one probe, and then each request says all; what the server said of itself is known."""
    with connect_to(modern_server) as client:
        assert keys(modern_server) == ["server/discover"]
        works(client)
        assert client.era == "stateless" and client.negotiation == ("the server answered server/discover",)
        session = client.session
        assert session.protocol_version == MODERN and session.session_id is None
        assert session.server_info is not None and session.server_info.name == "raw"
        assert session.capabilities is not None and session.capabilities.declares("tools")
    assert keys(modern_server) == ["server/discover", "tools/call"]  # and no DELETE


def test_a_server_of_both_eras(_nothing_left: None) -> None:
    """V26-05: a server that speaks both is spoken to as a modern one."""
    with AnyServer("both") as server, connect_to(server) as client:
        works(client)
        assert client.era == "stateless" and "initialize" not in keys(server)


def as_stream(peer: Peer, request: Request) -> None:
    """The answer of a modern server on an event stream, after a comment and what has no place there."""
    peer.start_stream()
    peer.comment()
    peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
    peer.event({"jsonrpc": "2.0", "id": "ask", "method": "roots/list"})
    peer.event_result(
        request, {"resultType": "complete", "supportedVersions": [MODERN], "capabilities": {"tools": {}}}, id="e-1"
    )
    peer.end_stream()


@pytest.mark.parametrize("kind", [*ERAS, "both"])
@pytest.mark.parametrize("read", [None, BOUND])
def test_there_need_not_be_a_limit(_nothing_left: None, kind: str, read: float | None) -> None:
    """A client without a deadline finds out how a server speaks like any other."""
    with AnyServer(kind) as server, connect_to(server, timeout=Timeout(read=read, total=None)) as client:
        works(client)


def test_the_time_is_over_before_the_probe(modern_server: AnyServer) -> None:
    """L25-07: the error is that of a deadline, and nothing is sent."""
    with not_yet(modern_server, timeout=1e-9) as client, pytest.raises(CallTimeout, match="no time was left"):
        client.connect()
    assert keys(modern_server) == []


def test_the_answer_may_be_a_stream(modern_server: AnyServer) -> None:
    """H26-03, H26-04, V26-05, X4: the probe is answered by a stream as well; nothing that it asks gets an answer."""
    modern_server.on("server/discover", as_stream)
    with connect_to(modern_server) as client:
        works(client)
        assert client.era == "stateless"
    assert keys(modern_server) == ["server/discover", "tools/call"]


def text(status: int, body: bytes = b"no", **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda peer, request: peer.respond(status, body, content_type="text/plain", headers=named)


def html(status: int) -> Script:
    return lambda peer, request: peer.respond(status, b"<html>no</html>", content_type="text/html")


def json_body(value: Any, status: int = 200) -> Script:
    return lambda peer, request: peer.respond_json(value, status)


def result(value: Any) -> Script:
    return lambda peer, request: peer.respond_result(request, value)


def empty_stream(peer: Peer, request: Request) -> None:
    peer.start_stream()
    peer.end_stream()


def foreign_id(peer: Peer, request: Request) -> None:
    peer.respond_json({"jsonrpc": "2.0", "id": "somebody", "result": {"supportedVersions": [MODERN]}})


def cut(peer: Peer, request: Request) -> None:
    peer.send_head(200, {"Content-Type": "application/json", "Content-Length": "100"})
    peer.cut()


LEGACY_ANSWERS: dict[str, Script] = {
    "400 text": text(400),
    "400 empty": text(400, b""),
    "400 foreign error": rpc_refusal(400, -32000, "Bad Request: Server not initialized"),
    "400 error without id": json_body({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}, 400),
    "400 other JSON": json_body({"error": "no"}, 400),
    "400 -32602": rpc_refusal(400, -32602),
    "404 HTML": html(404),
    "404 foreign error": rpc_refusal(404, -32001, "Session not found"),
    "405": text(405, b"", Allow="GET"),
    "406": text(406),
    "415": text(415),
    "422": text(422),
    "500": text(500),
    "500 error": rpc_refusal(500, -32603),
    "501": text(501),
    "200 error": rpc_refusal(200, -32601),
    "200 error -32602": rpc_refusal(200, -32602),
    "200 empty result": result({}),
    "200 result of another shape": result({"supportedVersions": "2026-07-28", "capabilities": {}}),
    "200 result of an unknown type": result({"resultType": "odd", "supportedVersions": [MODERN], "capabilities": {}}),
    "200 no object": result([]),
    "200 null": json_body(None),
    "200 no JSON": lambda peer, request: peer.respond(200, b"{", content_type="application/json"),
    "200 HTML": html(200),
    "200 empty": lambda peer, request: peer.respond(200),
    "200 of another request": foreign_id,
    "200 empty stream": empty_stream,
    "202": lambda peer, request: peer.respond(202),
    "204": lambda peer, request: peer.respond(204),
    "cut": cut,
    "closed": lambda peer, request: peer.cut(),
    "reset": lambda peer, request: peer.reset(),
}


@pytest.mark.parametrize("name", LEGACY_ANSWERS)
def test_answers_of_older_servers(session_server: AnyServer, name: str) -> None:
    """V26-05, V26-07, V26-12: after any answer that is not of a modern server, ``initialize`` is said, and nothing is
    asked twice.
    """
    session_server.on("server/discover", LEGACY_ANSWERS[name])
    with connect_to(session_server, retry=ONCE) as client:
        works(client)
        assert client.era == "session" and client.session.protocol_version == "2025-11-25"
        first, second = client.negotiation
        assert first.startswith("the server answered server/discover with") and "2025-11-25" in second
    assert keys(session_server) == ["server/discover", *SESSION_BEGINS, "tools/call", "DELETE"]
    initialize = session_server.seen("initialize")[0]
    assert initialize.header("MCP-Protocol-Version") is None  # no header of the modern era on the handshake: H25-24
    assert initialize.header("Mcp-Method") is None and "_meta" not in initialize.json["params"]


def test_a_silent_server(session_server: AnyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-05, V26-07: a server that says nothing to a method that it does not know is asked in the older way."""
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.2)
    session_server.on("server/discover", lambda peer, request: peer.hold())
    # Any other limit that there is ends after half of the time: a busy machine is not to be taken for that.
    with within(BOUND), connect_to(session_server, timeout=4 * BOUND) as client:
        works(client)
        assert client.era == "session" and "no answer" in client.negotiation[0]
    assert keys(session_server)[:2] == ["server/discover", "initialize"]


def test_a_silent_server_and_little_time(session_server: AnyServer) -> None:
    """V26-05: silence on the probe does not use up the whole time of the call that needs the answer."""
    session_server.on("server/discover", lambda peer, request: peer.hold())
    with within(BOUND), connect_to(session_server, timeout=2.0) as client:
        works(client)
        assert client.era == "session"


@pytest.mark.parametrize("versions", [["2025-11-25", "2025-06-18"], ["2025-06-18", "2099-01-01"], ["2025-03-26"]])
def test_a_refusal_with_only_session_revisions(session_server: AnyServer, versions: list[str]) -> None:
    """V26-03, V26-06: of the revisions that the server names, the newest is offered in the handshake."""
    newest = max(name for name in versions if name in REVISIONS)
    session_server.protocol_version = newest
    session_server.on("server/discover", rpc_refusal(400, -32022, "no", {"supported": versions, "requested": MODERN}))
    with connect_to(session_server) as client:
        works(client)
        assert client.era == "session" and client.session.protocol_version == newest
    assert session_server.seen("initialize")[0].json["params"]["protocolVersion"] == newest


def test_an_answer_with_only_session_revisions(session_server: AnyServer) -> None:
    """V26-10: a server that answers the probe, and names revisions with a handshake, gets one."""
    session_server.on("server/discover", {"supportedVersions": ["2025-06-18", "2025-11-25"], "capabilities": {}})
    with connect_to(session_server) as client:
        works(client)
        assert client.era == "session" and client.session.protocol_version == "2025-11-25"
        assert keys(session_server)[:2] == ["server/discover", "initialize"]


def test_the_revision_is_refused_once(modern_server: AnyServer) -> None:
    """V26-03, V26-06: a revision that the server names after refusing it is tried once more."""
    refusal = rpc_refusal(400, -32022, "no", {"supported": [MODERN], "requested": MODERN})
    modern_server.on("server/discover", refusal, modern_server.answer)
    with connect_to(modern_server) as client:
        works(client)
        assert client.era == "stateless"
    assert keys(modern_server) == ["server/discover", "server/discover", "tools/call"]


def test_the_revision_is_refused_for_ever(modern_server: AnyServer) -> None:
    """V26-03: a server that names what it refuses is asked twice, and then given up."""
    modern_server.on("server/discover", rpc_refusal(400, -32022, "no", {"supported": [MODERN], "requested": MODERN}))
    client = connect_to(modern_server)
    with pytest.raises(UnsupportedVersion) as caught:
        client.connect()
    client.close()
    assert caught.value.supported == (MODERN,) and caught.value.code == -32022
    assert keys(modern_server) == ["server/discover"] * 2


@pytest.mark.parametrize("supported", [[], ["2099-01-01"], ["1900-01-01", "draft"]])
@pytest.mark.parametrize("refuses", [True, False])
def test_no_revision_in_common(modern_server: AnyServer, supported: list[str], refuses: bool) -> None:
    """V26-03, V26-06, V26-10, L25-08: the error says what the server speaks, and no handshake is tried."""
    answer = {"supportedVersions": supported, "capabilities": {}}
    refusal = rpc_refusal(400, -32022, "no", {"supported": supported, "requested": MODERN})
    modern_server.on("server/discover", refusal if refuses else answer)
    client = connect_to(modern_server)
    with pytest.raises(UnsupportedVersion) as caught:
        client.connect()
    client.close()
    assert caught.value.supported == tuple(supported) and caught.value.requested == MODERN
    assert keys(modern_server) == ["server/discover"]
    assert KNOWN_SERVERS.first_step(modern_server.url) is None


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (rpc_refusal(400, -32020), HeaderMismatch),
        (rpc_refusal(400, -32021, "no", {"requiredCapabilities": {"sampling": {}}}), MissingCapability),
        (rpc_refusal(400, -32022), UnsupportedVersion),
        (rpc_refusal(400, -32022, "no", {"supported": "all"}), UnsupportedVersion),
    ],
)
def test_modern_errors_are_no_reason_for_a_handshake(
    modern_server: AnyServer, refusal: Script, error: type[StreamHTTPError]
) -> None:
    """V26-06, V26-13, X8: a server that refuses the probe in modern terms is modern; the error is passed on."""
    modern_server.on("server/discover", refusal)
    client = connect_to(modern_server)
    with pytest.raises(error) as caught:
        client.connect()
    client.close()
    assert keys(modern_server) == ["server/discover"]
    if isinstance(caught.value, MissingCapability):
        assert caught.value.required_capabilities == {"sampling": {}}


def test_a_modern_server_that_does_not_know_the_probe(modern_server: AnyServer) -> None:
    """V26-12, X7: 404 with -32601 is an unknown method on a modern server; one goes on as with any other."""
    modern_server.on("server/discover", rpc_refusal(404, -32601))
    with connect_to(modern_server) as client:
        works(client)
        assert client.era == "stateless"
        assert client.session.server_info is None  # asked again where the answer is wanted, and not before
    assert keys(modern_server) == ["server/discover", "tools/call", "server/discover"]


def test_a_ping_without_the_probe(modern_server: AnyServer) -> None:
    """X17, V26-12: a server that refuses ``server/discover`` as an unknown method is there all the same."""
    modern_server.on("server/discover", rpc_refusal(404, -32601))
    with connect_to(modern_server) as client:
        client.send_ping()
        client.send_ping()
        assert client.era == "stateless"
    assert keys(modern_server) == ["server/discover"] * 3


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_are_wanted(session_server: AnyServer, status: int) -> None:
    """V26-05: a refusal of the caller is passed on; neither ``initialize`` nor a GET is tried, and nothing learned."""
    session_server.on("server/discover", text(status, b"", WWW_Authenticate="Bearer"))
    client = connect_to(session_server)
    with pytest.raises(AuthenticationError) as caught:
        client.connect()
    assert caught.value.status == status
    session_server.on("server/discover", rpc_refusal(400, -32000))
    works(client)  # it may be asked again
    client.close()
    assert keys(session_server)[:3] == ["server/discover", "server/discover", "initialize"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server(modern_server: AnyServer, status: int) -> None:
    """V26-05: a server that asks to come back gets the same probe again."""
    modern_server.on("server/discover", text(status, b"", Retry_After="0"), text(status), modern_server.answer)
    with connect_to(modern_server) as client:
        works(client)
        assert client.era == "stateless"
    assert keys(modern_server) == ["server/discover"] * 3 + ["tools/call"]


def test_a_server_that_stays_busy(modern_server: AnyServer) -> None:
    """V26-05: 429 says nothing of how the server speaks, however often it comes."""
    modern_server.on("server/discover", text(429, b"", Retry_After="0"))
    client = connect_to(modern_server)
    with pytest.raises(HTTPStatusError) as caught:
        client.connect()
    client.close()
    assert caught.value.status == 429 and set(keys(modern_server)) == {"server/discover"}


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_moved_server(modern_server: AnyServer, status: int) -> None:
    """V26-05: a redirect of the probe is followed, body and all."""
    modern_server.on("server/discover", text(status, b"", Location="/elsewhere"), modern_server.answer)
    with connect_to(modern_server) as client:
        works(client)
        assert client.era == "stateless"
    assert [request.target for request in modern_server.requests][:2] == ["/mcp", "/elsewhere"]


@pytest.mark.parametrize("kind", ["modern", "session"])
def test_a_probe_that_was_lost(_nothing_left: None, kind: str) -> None:
    """V26-05, V26-08: a connection that breaks under the probe once does not make a modern server a broken one."""
    with AnyServer(kind) as server:
        server.on("server/discover", lambda peer, request: peer.reset(), server.answer)
        with connect_to(server) as client:
            works(client)
            assert client.era == ERAS[kind]


def test_nobody_is_there(_nothing_left: None) -> None:
    """V26-05: a server that cannot be reached is asked one question, and nothing is learned of it."""
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port.getsockname()[1]}/mcp"
        client = Client(url, timeout=BOUND, retry=ONCE)
        with pytest.raises(ConnectionFailed):
            client.connect()
        client.close()
        assert KNOWN_SERVERS.first_step(url) is None and client.era is None and client.negotiation == ()


# --- then the handshake, then HTTP+SSE
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [400, 404, 405])
def test_http_sse_is_the_last_resort(channel_server: AnyServer, refusal: int) -> None:
    """H25-25, H26-20, H26-21, O-03: where probe and handshake are both unknown, a GET opens the stream of all."""
    channel_server.refusal = refusal
    with connect_to(channel_server) as client:
        works(client)
        assert client.era == "http+sse" and client.session.protocol_version == "2024-11-05"
        assert len(client.negotiation) == 3 and "HTTP+SSE" in client.negotiation[2]
    assert keys(channel_server) == ["server/discover", "initialize", *CHANNEL_BEGINS, "tools/call"]
    assert [request.target for request in channel_server.requests][3:] == ["/messages"] * 3


@pytest.mark.parametrize("status", [401, 403, 406, 429, 500, 501])
def test_other_refusals_open_no_stream(session_server: AnyServer, status: int) -> None:
    """H25-25, H26-20, H26-21: after another refusal of the handshake nothing older is tried."""
    session_server.on("initialize", text(status))
    client = connect_to(session_server, retry=ONCE)
    with pytest.raises(HTTPStatusError) as caught:
        client.connect()
    client.close()
    assert caught.value.status == status
    assert keys(session_server) == ["server/discover", "initialize"]


@pytest.mark.parametrize("status", [400, 404, 405])
@pytest.mark.parametrize("get", ["405", "404", "500", "HTML", "no address", "cut"])
def test_no_mcp_server_at_all(session_server: AnyServer, status: int, get: str) -> None:
    """H25-25, L25-08: if the GET fails too, the error is that of the handshake, and nothing was learned."""

    def no_address(peer: Peer, request: Request) -> None:
        peer.start_stream()
        peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        peer.hold()

    scripts = {
        "405": text(405),
        "404": text(404),
        "500": text(500),
        "HTML": html(200),
        "no address": no_address,
        "cut": lambda peer, request: peer.cut(),
    }
    session_server.on("initialize", text(status))
    session_server.on("GET", scripts[get])
    client = connect_to(session_server, retry=ONCE)
    with pytest.raises(HTTPStatusError, match="address of an MCP endpoint|answered with 400") as caught:
        client.connect()
    client.close()
    assert caught.value.status == status
    assert keys(session_server) == ["server/discover", "initialize", "GET"]
    assert KNOWN_SERVERS.first_step(session_server.url) is None


@pytest.mark.parametrize("address", ["http://internal.example:8000/messages", "//elsewhere/x"])
def test_http_sse_behind_a_proxy_that_it_does_not_know(_nothing_left: None, address: str) -> None:
    """V26-07, O-03, BASE-09: a server that names an address of another origin is not spoken to, and the error says that
    this is why.
    """
    with LegacyServer(address) as server, not_yet(server) as client:
        with pytest.raises(HTTPStatusError, match="'endpoint' must name an address at http://127.0.0.1") as caught:
            client.connect()
        assert caught.value.status == 405
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_a_website(_nothing_left: None) -> None:
    """V26-07, L25-08: a server that answers everything with a page gets two questions, and the error asks for the
    address.
    """
    with RawMCPServer() as server:
        for key in ("server/discover", "initialize"):
            server.on(key, html(200))
        client = connect_to(server)
        with pytest.raises(ContentTypeError, match="address of an MCP endpoint"):
            client.connect()
        client.close()
        assert keys(server) == ["server/discover", "initialize"]


@pytest.mark.parametrize("name", ["500", "reset", "200 HTML", "400 text", "silence"])
def test_both_are_refused_in_modern_terms(modern_server: AnyServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-06, H26-20: a server that mangles every probe and refuses the handshake as a modern one is given up, soon and
    without a GET.
    """
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.2)
    modern_server.on("server/discover", LEGACY_ANSWERS.get(name, lambda peer, request: peer.hold()))
    with not_yet(modern_server) as client, within(AT_ONCE), pytest.raises(StreamHTTPError):
        client.connect()
    seen = keys(modern_server)
    assert set(seen) == {"server/discover", "initialize"} and len(seen) < 10


def test_a_handshake_refused_with_other_revisions(session_server: AnyServer) -> None:
    """V26-03, L25-08: the error says what the server speaks, and does not doubt that it is an MCP server."""
    refusal = rpc_refusal(400, -32022, "no such revision", {"supported": ["2099-01-01"], "requested": "2025-11-25"})
    session_server.on("initialize", refusal)
    with not_yet(session_server) as client, pytest.raises(UnsupportedVersion, match="no such revision") as caught:
        client.connect()
    assert caught.value.supported == ("2099-01-01",) and "address" not in str(caught.value)
    assert keys(session_server) == ["server/discover", "initialize"]


@pytest.mark.parametrize("name", ["502", "503s", "silence", "resets"])
def test_a_bad_minute_is_not_remembered(
    _nothing_left: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V26-08: what a gateway in trouble says, or silence, leads to a handshake; the next client asks anew."""
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.2)
    with AnyServer("both") as server:
        bad: dict[str, list[Script]] = {
            "502": [text(502)],
            "503s": [text(503, b"", Retry_After="0")] * 4,
            "silence": [lambda peer, request: peer.hold()],
            "resets": [lambda peer, request: peer.reset()] * 2,
        }
        server.on("server/discover", *bad[name], server.answer)
        with connect_to(server) as client:
            works(client)
            assert client.era == "session"
        assert KNOWN_SERVERS.first_step(server.url) is None
        assert KNOWN_SERVERS.first_step(f"{server.origin}/other") is None
        with connect_to(server) as client:
            works(client)
            assert client.era == "stateless"


def test_the_probes_own_refusal_is_told(modern_server: AnyServer) -> None:
    """V26-05, BASE-09: what a modern server has against the probe is what the caller reads, and not what it then says
    to a handshake that it does not know.
    """
    modern_server.on("server/discover", rpc_refusal(400, -32602, "clientInfo must have a title"))
    with not_yet(modern_server) as client, pytest.raises(InvalidParams, match="clientInfo must have a title"):
        client.connect()
    assert keys(modern_server) == ["server/discover", "initialize"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({}, "supportedVersions is missing"),
        ({"supportedVersions": [5, MODERN], "capabilities": {}}, r"supportedVersions\[0\] must be a string"),
        (html(200), "content type 'text/html'"),
        (lambda peer, request: peer.respond(302, headers={"Location": "ftp://elsewhere/"}), "ftp://elsewhere/"),
    ],
)
def test_what_is_wrong_with_the_probes_answer_is_told(
    modern_server: AnyServer, answer: dict[str, Any] | Script, words: str
) -> None:
    """V26-05, BASE-09: if a server refuses the handshake as a modern one, its answer to the probe is the trouble."""
    modern_server.on("server/discover", answer)
    with not_yet(modern_server) as client, pytest.raises(StreamHTTPError, match=words):
        client.connect()
    assert keys(modern_server) == ["server/discover", "initialize"]


def test_a_server_that_refuses_what_it_names(modern_server: AnyServer) -> None:
    """V26-10: a server that names only revisions with a handshake, and knows no handshake, is given up at once."""
    modern_server.on("server/discover", {"supportedVersions": ["2025-11-25"], "capabilities": {}})
    with not_yet(modern_server) as client, pytest.raises(HeaderMismatch):
        client.connect()
    assert keys(modern_server) == ["server/discover", "initialize"]


@pytest.mark.parametrize("ending", ["none", "modern"])
def test_a_probe_that_is_kept_alive(_nothing_left: None, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """V26-05: a server that answers what it does not know with a stream of comments does not use up the time of the
    call: the handshake is said after a while. One that is slow, and answers in time, is heard.
    """
    monkeypatch.setattr(agreement, "_PROBE_SECONDS", 0.4)
    pause = threading.Event()

    def keep_alive(peer: Peer, request: Request) -> None:
        peer.start_stream()
        for count in range(10_000):
            peer.comment()
            pause.wait(0.02)
            if ending == "modern" and count == 2:
                found = {"resultType": "complete", "supportedVersions": [MODERN], "capabilities": {"tools": {}}}
                peer.event_result(request, found)
                peer.end_stream()
                return

    with AnyServer("both" if ending == "modern" else "session") as server:
        server.on("server/discover", keep_alive)
        with within(BOUND), connect_to(server, timeout=4 * BOUND) as client:
            works(client)
            assert client.era == ("stateless" if ending == "modern" else "session")


# --- threads, deadlines, ends
# ----------------------------------------------------------------------------------------------------------------------


def test_threads_that_begin_at_once_ask_once(modern_server: AnyServer) -> None:
    """V26-08: one thread finds out, the others wait for it."""
    client = connect_to(modern_server)
    start = threading.Barrier(8)

    def use() -> None:
        start.wait(BOUND)
        works(client)

    threads = [InThread(use) for _ in range(8)]
    for thread in threads:
        thread.join(BOUND)
        assert thread.error is None
    client.close()
    assert keys(modern_server).count("server/discover") == 1 and keys(modern_server).count("tools/call") == 8


def test_closing_during_the_probe(modern_server: AnyServer) -> None:
    """V26-05: a thread that waits for the answer to the probe is woken, and goes no step further."""
    modern_server.on("server/discover", lambda peer, request: peer.hold())
    client = connect_to(modern_server)
    thread = InThread(lambda: works(client))
    modern_server.wait_for(lambda seen: seen)
    with within(AT_ONCE):
        client.close()
        thread.join(AT_ONCE)
    assert isinstance(thread.error, ClientClosed) and keys(modern_server) == ["server/discover"]
    assert KNOWN_SERVERS.first_step(modern_server.url) is None


def test_cancelling_during_the_probe(modern_server: AnyServer) -> None:
    """V26-05, K-01: a call that is cancelled before the server was found out is not sent; the client stays usable."""
    modern_server.on("server/discover", lambda peer, request: peer.hold(), modern_server.answer)
    with not_yet(modern_server) as client:
        call = client.stream_tool("echo")
        thread = InThread(lambda: call.result)
        modern_server.wait_for(lambda seen: seen)
        with within(AT_ONCE):
            call.cancel()
            thread.join(AT_ONCE)
        assert isinstance(thread.error, ClientClosed)
        works(client)
    assert keys(modern_server) == ["server/discover", "server/discover", "tools/call"]


def test_the_deadline_passes_during_the_probe(modern_server: AnyServer) -> None:
    """V26-05, L25-07: the time of a call covers finding out; nothing was executed, and the client stays usable."""
    for key in ("server/discover", "initialize"):
        modern_server.on(key, lambda peer, request: peer.hold())
    with not_yet(modern_server) as client:
        with within(AT_ONCE), pytest.raises(CallTimeout) as caught:
            client.call_tool("echo", timeout=Timeout(total=0.3))
        assert not caught.value.may_have_executed
        assert modern_server.seen("tools/call") == []
        modern_server.on("server/discover", modern_server.answer)
        works(client)


@pytest.mark.parametrize("name", LEGACY_ANSWERS)
def test_failing_leaves_nothing(modern_server: AnyServer, name: str) -> None:
    """V26-05: whatever comes, no connection stays open behind an error that is kept, nor waits for the collector."""
    for key in ("server/discover", "initialize", "GET"):
        modern_server.on(key, LEGACY_ANSWERS[name])
    client = connect_to(modern_server, retry=ONCE)
    kept: list[BaseException] = []
    gc.disable()
    try:
        try:
            client.connect()
        except StreamHTTPError as error:
            kept.append(error)
        client.close()
        modern_server.wait_connected(0)
    finally:
        gc.enable()
    assert kept and pickle.loads(pickle.dumps(kept[0])).args == kept[0].args


# --- what the user is told
# ----------------------------------------------------------------------------------------------------------------------


def test_before_connecting(modern_server: AnyServer) -> None:
    """V26-05: nothing is claimed of a server that was not asked."""
    client = connect_to(modern_server)
    assert client.era is None and client.negotiation == () and keys(modern_server) == []
    client.close()
    assert client.era is None


def test_the_introduction_is_asked_for_when_it_is_needed(modern_server: AnyServer) -> None:
    """V26-04: where the probe is left out, the server is asked who it is once, and only for who wants to know."""
    KNOWN_SERVERS.learn(modern_server.url, LATEST)
    with connect_to(modern_server) as client:
        works(client)
        assert keys(modern_server) == ["tools/call"]
        assert client.era == "stateless" and client.negotiation == ("as this endpoint was known to speak",)
        first, second = client.session, client.session
        assert first.server_info is not None and first == second
        assert client.negotiation == ("as this endpoint was known to speak",)
    assert keys(modern_server) == ["tools/call", "server/discover"]


def test_who_the_server_says_it_is_changes_nothing(_nothing_left: None) -> None:
    """BASE-19: two servers that differ in name and version alone are sent the same, but for ids."""
    sent = []
    for name in ("raw", "mcp-proxy by somebody 0.0.1"):
        with AnyServer("modern") as server:
            info = {"io.modelcontextprotocol/serverInfo": {"name": name, "version": "0"}}
            said = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "_meta": info}
            server.on("server/discover", said)
            with connect_to(server) as client:
                works(client)
                client.list_tools()
                assert client.session.server_info is not None and client.session.server_info.name == name
            bodies = [{**request.json, "id": 0} for request in server.requests]
            fields = [[name for name, _ in request.headers] for request in server.requests]
            sent.append((bodies, fields))
    assert sent[0] == sent[1]


def test_the_log_names_the_change(_nothing_left: None, caplog: pytest.LogCaptureFixture) -> None:
    """V26-08: that a server speaks another revision now is in the log, with both."""
    caplog.set_level("INFO", "streamhttp_client")
    with AnyServer("session") as server:
        KNOWN_SERVERS.learn(server.url, LATEST)
        with connect_to(server) as client:
            works(client)
    assert any("2025-11-25" in record.getMessage() and MODERN in record.getMessage() for record in caplog.records)
