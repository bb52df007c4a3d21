"""The decision table, row by row: what a server answered, and what is to be done next."""

from __future__ import annotations

from typing import Any

import pytest

from streamhttp_client import (
    AuthenticationError,
    ConnectionLost,
    ContentTypeError,
    HeaderMismatch,
    HTTPStatusError,
    InvalidParams,
    InvalidResult,
    MethodNotFound,
    MissingCapability,
    ReadTimeout,
    RemoteProtocolError,
    RPCError,
    StreamHTTPError,
    UnsupportedVersion,
)
from streamhttp_client.protocol.negotiation import (
    Step,
    after_discovery,
    after_handshake,
    after_probe,
    is_modern_error,
    looks_legacy,
    supported,
)
from streamhttp_client.protocol.versions import LATEST, REVISIONS

MODERN = "2026-07-28"
SESSIONS = [name for name, revision in REVISIONS.items() if revision.handshake]


def status(code: int) -> HTTPStatusError:
    """A refusal by HTTP status, whose body is no JSON-RPC error."""
    kind = AuthenticationError if code in (401, 403) else HTTPStatusError
    return kind("no", status=code, headers={}, url="http://h/mcp")


def rpc(code: int, http: int | None = None, data: Any = None) -> RPCError:
    """A JSON-RPC error, in an answer with an HTTP error status or in a good one."""
    kinds = {-32601: MethodNotFound, -32602: InvalidParams, -32020: HeaderMismatch, -32021: MissingCapability}
    return kinds.get(code, RPCError)("no", code=code, data=data, status=http)


def unsupported(*names: Any, data: Any = None) -> UnsupportedVersion:
    """-32022, with the revisions that the server names, or with other data."""
    said = {"supported": list(names), "requested": MODERN} if data is None else data
    return UnsupportedVersion("no", requested=MODERN, code=-32022, data=said, status=400)


def what(step: Step) -> tuple[str, str | None]:
    """A step without its words, which must be there."""
    assert step.why
    return step.action, None if step.revision is None else step.revision.name


# --- the server has answered the probe
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "step"),
    [
        ([MODERN], ("speak", MODERN)),
        (["2025-06-18", MODERN, "2025-11-25"], ("speak", MODERN)),
        (["2099-01-01", MODERN], ("speak", MODERN)),
        (["2025-06-18", "2025-11-25"], ("shake", "2025-11-25")),
        (["2024-11-05"], ("shake", "2024-11-05")),
    ],
)
def test_an_answer_names_the_revisions(versions: list[str], step: tuple[str, str]) -> None:
    """V26-10: of the revisions that the server names, the newest that is spoken here is taken, in its own way."""
    assert what(after_discovery(versions)) == step
    assert what(after_discovery(iter(versions))) == step


@pytest.mark.parametrize("versions", [[], ["2099-01-01"], ["2026-7-28", "draft"]])
def test_an_answer_without_a_revision_in_common(versions: list[str]) -> None:
    """V26-03, V26-10, L25-08: none in common is an error, which names what was wanted and what there is."""
    with pytest.raises(UnsupportedVersion) as caught:
        after_discovery(versions)
    assert caught.value.requested == MODERN and caught.value.supported == tuple(versions)
    assert caught.value.code is None  # it was found here, and not said by the server
    for name in versions or ["no revision"]:
        assert name in str(caught.value)


def test_an_endless_list_of_revisions() -> None:
    """V26-03: the error stays readable, whatever the server sends; the whole list is in its attribute."""
    names = [f"unknown-{number}" for number in range(10_000)]
    with pytest.raises(UnsupportedVersion) as caught:
        after_discovery(names)
    assert len(str(caught.value)) < 300 and len(caught.value.supported) == 10_000


# --- the server has refused the probe
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "tried", "step"),
    [
        ([MODERN], [MODERN], ("probe", MODERN)),  # it may have changed its mind
        ([MODERN, "2025-11-25"], [MODERN], ("probe", MODERN)),
        ([MODERN, "2025-11-25"], [MODERN, MODERN], ("shake", "2025-11-25")),
        (["2025-11-25", "2025-06-18"], [MODERN], ("shake", "2025-11-25")),
        (["2024-11-05"], [MODERN], ("shake", "2024-11-05")),
        ([MODERN], [MODERN, MODERN], ("fail", None)),  # it never ends otherwise
        (["2025-03-26", 7, None], [MODERN], ("shake", "2025-03-26")),
    ],
)
def test_the_revision_was_refused(names: list[Any], tried: list[str], step: tuple[str, str | None]) -> None:
    """V26-03, V26-06, X8: -32022 is no reason for ``initialize``: a revision that the server names is taken."""
    assert what(after_probe(unsupported(*names), tried)) == step


@pytest.mark.parametrize("names", [[], ["2099-01-01"]])
def test_the_revision_was_refused_and_none_is_in_common(names: list[str]) -> None:
    """V26-03, L25-08: an error is surfaced if there is no compatible revision."""
    with pytest.raises(UnsupportedVersion) as caught:
        after_probe(unsupported(*names), [MODERN])
    assert caught.value.supported == tuple(names)


@pytest.mark.parametrize(
    "error",
    [
        rpc(-32020, 400),
        rpc(-32021, 400, {"requiredCapabilities": {"sampling": {}}}),
        rpc(-32020),  # in an answer with status 200 too: the code says it
        rpc(-32021, 404),
        rpc(-32022, 400),
        unsupported(data={"supported": "2026-07-28"}),
        unsupported(data={}),
        unsupported(data=["2025-11-25"]),
        unsupported(data="2025-11-25"),
    ],
)
def test_the_probe_was_refused_in_modern_terms(error: StreamHTTPError) -> None:
    """V26-06, X8: after an error that only servers of 2026-07-28 know, ``initialize`` is never sent."""
    assert what(after_probe(error, [MODERN])) == ("fail", None)


@pytest.mark.parametrize("code", [401, 403, 407, 429])
def test_who_asks_is_the_question(code: int) -> None:
    """V26-05: a refusal of the caller says nothing of how the server speaks, and is passed on."""
    step = after_probe(status(code), [MODERN])
    assert what(step) == ("fail", None) and str(code) in step.why
    assert what(after_probe(rpc(-32000, code), [MODERN])) == ("fail", None)


def test_404_with_an_unknown_method_is_modern() -> None:
    """V26-12, X7: 404 with -32601 says that a server of 2026-07-28 does not know the method."""
    assert what(after_probe(rpc(-32601, 404), [MODERN])) == ("speak", MODERN)


@pytest.mark.parametrize(
    "error",
    [
        status(400),
        status(404),
        status(405),
        status(406),
        status(415),
        status(500),
        status(501),
        status(502),
        status(503),
        rpc(-32600, 400),
        rpc(-32000, 400),
        rpc(-32602, 400),
        rpc(-32001, 404),
        rpc(-32601, 400),
        rpc(-32601, 200),
        rpc(-32601),
        rpc(-32602),
        ContentTypeError("?", content_type="text/html", status=200, headers={}),
        InvalidResult("an empty result"),
        RemoteProtocolError("202"),
        ReadTimeout("silence"),
        ConnectionLost("reset"),
    ],
)
def test_any_other_refusal_is_legacy(error: StreamHTTPError) -> None:
    """V26-05, V26-07, V26-12: whatever is not a modern error leads to ``initialize``."""
    assert what(after_probe(error, [MODERN])) == ("shake", None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (status(405), "HTTP 405"),
        (rpc(-32601), "error -32601"),
        (rpc(-32000, 400), "HTTP 400"),
        (ReadTimeout("?"), "no answer"),
    ],
)
def test_the_words_say_what_came(error: StreamHTTPError, words: str) -> None:
    """V26-07: people are told what the server had answered."""
    assert after_probe(error, [MODERN]).why == f"the server answered server/discover with {words}"


# --- the server has refused the handshake
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [rpc(-32020, 400), rpc(-32021, 400), unsupported(MODERN), unsupported(data={}), rpc(-32601, 404)],
)
def test_the_handshake_is_not_known(error: StreamHTTPError) -> None:
    """V26-06, V26-12, H25-25, H26-20: a modern error to ``initialize`` leads to a probe, and never to HTTP+SSE."""
    assert what(after_handshake(error, probed=False)) == ("probe", MODERN)
    assert what(after_handshake(error, probed=True)) == ("fail", None)


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize("code", [400, 404, 405])
def test_the_endpoint_knows_no_post(code: int, probed: bool) -> None:
    """H25-25, H26-20: 400, 404 or 405 to ``initialize`` leads to the GET of 2024-11-05, whatever else is in them."""
    assert what(after_handshake(status(code), probed=probed)) == ("channel", None)
    assert what(after_handshake(rpc(-32600, code), probed=probed)) == ("channel", None)
    assert str(code) in after_handshake(status(code), probed=probed).why


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        *map(status, (401, 403, 406, 415, 429, 500, 501, 503)),
        rpc(-32601),
        rpc(-32602),
        rpc(-32603, 500),
        ContentTypeError("?", content_type="text/html", status=200, headers={}),
        ReadTimeout("silence"),
        ConnectionLost("reset"),
    ],
)
def test_the_handshake_failed(error: StreamHTTPError, probed: bool) -> None:
    """H25-25, H26-20: any other failure of ``initialize`` is passed on; nothing older is tried."""
    assert what(after_handshake(error, probed=probed)) == ("fail", None)


# --- what an error says
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-32020, -32021, -32022])
def test_modern_errors(code: int) -> None:
    """V26-06, BASE-09, X8: three codes have one meaning each, and only servers of 2026-07-28 use them."""
    assert is_modern_error(rpc(code, 400)) and is_modern_error(rpc(code))
    assert is_modern_error(UnsupportedVersion("?", requested=MODERN, code=code))


@pytest.mark.parametrize(
    "error",
    [
        *(rpc(code, 400) for code in (-32700, -32600, -32601, -32602, -32603, -32000, -32001, -32019, -32002, -32042)),
        *(rpc(code, 400) for code in (-32019, -32023, -32099, 32020, -1, 0)),
        status(400),
        UnsupportedVersion("found here", requested=MODERN),
        ConnectionLost("reset"),
        RemoteProtocolError("?"),
    ],
)
def test_errors_that_are_not_modern(error: StreamHTTPError) -> None:
    """V26-07, BASE-08, BASE-09: no other code is taken for a modern one; -32000 to -32019 mean nothing here."""
    assert not is_modern_error(error)


@pytest.mark.parametrize(
    ("error", "legacy"),
    [
        (status(400), True),
        (status(404), True),
        (status(405), True),
        (status(401), False),
        (status(429), False),
        (status(500), False),
        (status(503), False),
        (rpc(-32600, 400), True),
        (rpc(-32000, 400), True),
        (rpc(-32001, 404), True),
        (rpc(-32601, 400), True),
        (rpc(-32601, 404), False),  # an unknown method
        (rpc(-32602, 400), False),  # parameters that it cannot use
        (rpc(-32602, 404), False),
        (rpc(-32600), False),
        (rpc(-32603, 500), False),
        (rpc(-32020, 400), False),
        (rpc(-32021, 404), False),
        (unsupported(MODERN), False),
        (ConnectionLost("reset"), False),
        (RemoteProtocolError("?"), False),
    ],
)
def test_refusals_that_look_legacy(error: StreamHTTPError, legacy: bool) -> None:
    """V26-08, V26-12, X7, X8: 400, 404 and 405 look so, unless their body is an error of a modern server."""
    assert looks_legacy(error) is legacy


def test_an_error_of_another_kind_with_such_a_status() -> None:
    """V26-08: only an answer of the server can look so, and no error that merely carries a status."""
    error = UnsupportedVersion("found here", requested=MODERN, status=400)
    assert not looks_legacy(error)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"supported": [MODERN, "2025-11-25"]}, (MODERN, "2025-11-25")),
        ({"supported": []}, ()),
        ({"supported": ["a", 1, None, {"b": 2}]}, ("a",)),
        ({"supported": MODERN}, None),
        ({"supported": None}, None),
        ({"supported": {"a": 1}}, None),
        ({"requested": MODERN}, None),
        ([MODERN], None),
        (MODERN, None),
        (None, None),
    ],
)
def test_what_the_server_names(data: Any, names: tuple[str, ...] | None) -> None:
    """V26-03: the revisions of an error are read, and what is not of that shape is no list of revisions."""
    assert supported(RPCError("?", code=-32022, data=data)) == names
    assert supported(UnsupportedVersion("?", requested="", code=-32022, data=data)) == names


def test_errors_without_data_name_nothing() -> None:
    """V26-03: an error that is no JSON-RPC error names no revision."""
    assert supported(status(400)) is None and supported(ConnectionLost("reset")) is None


@pytest.mark.parametrize("name", SESSIONS)
def test_each_session_revision_needs_a_handshake(name: str) -> None:
    """V26-10: a revision of the session era is never spoken without a handshake, by whatever way it was named."""
    assert what(after_discovery([name])) == what(after_probe(unsupported(name), [MODERN])) == ("shake", name)


def test_the_latest_is_what_the_table_probes_with() -> None:
    """V26-05: the modern revision is tried first; there is but one."""
    assert LATEST.name == MODERN and not LATEST.handshake
    assert [name for name, revision in REVISIONS.items() if not revision.handshake] == [MODERN]
