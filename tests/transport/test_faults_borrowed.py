"""The same faults through a ``requests.Session`` of the caller's, where urllib3 and http.client read the answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamhttp_client import RemoteProtocolError
from tests.support.rawserver import Peer, RawMCPServer, Request
from tests.transport import (
    test_faults_answers,
    test_faults_cancel,
    test_faults_cut,
    test_faults_listen,
    test_faults_session,
    test_faults_silence,
    test_faults_wire,
)
from tests.transport._faults import borrowed_sessions, open_client, result

_MODULES = (
    test_faults_answers,
    test_faults_cancel,
    test_faults_cut,
    test_faults_listen,
    test_faults_session,
    test_faults_silence,
    test_faults_wire,
)

_INTERIM = "http.client takes an interim answer for the final one; see test_an_interim_answer_is_an_error"
_CUT_HEAD = "http.client takes the end of the connection for the end of the headers"

# What cannot hold here, by the beginning of the test's name, and why.
_EXCEPT = {
    "test_interim_answers_are_skipped": _INTERIM,
    "test_a_call_that_may_have_run_is_not_repeated[fin-in_the_headers]": _CUT_HEAD,
    "test_an_idempotent_call_is_repeated[fin-in_the_headers]": _CUT_HEAD,
    "test_a_read_is_repeated[in_the_headers]": _CUT_HEAD,
    "test_an_endless_head_is_bounded": "http.client ends it after 100 lines, and calls it a broken connection",
    "test_an_unasked_answer_on_an_idle_connection": "http.client drops what it read ahead, so all stays right",
    "test_a_request_that_the_server_takes_back_is_not_answered": "urllib3 cannot say whether data is waiting",
    "test_ctrl_c_in_a_call": "the child process makes its own client",
}

# What comes after the bytes, and so is the same whoever reads them.
_SAME = {
    "test_a_handshake_of_the_wrong_shape",
    "test_a_list_of_the_wrong_shape",
    "test_a_result_of_the_wrong_shape",
    "test_a_session_id_that_cannot_be",
    "test_what_is_not_json_rpc",
}


@pytest.fixture(autouse=True)
def _borrowed(request: pytest.FixtureRequest, _nothing_left: None) -> Iterator[None]:
    for name, reason in _EXCEPT.items():
        if request.node.name.startswith(name):
            pytest.skip(reason)
    with borrowed_sessions():
        yield


for _module in _MODULES:
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and callable(_test) and _name not in _SAME:
            globals()[_name] = _test


@pytest.mark.parametrize("status", [102, 103])
def test_an_interim_answer_is_an_error(status: int) -> None:
    """The call with the interim answer says so, and the final answer behind it never reaches the next call."""

    def script(peer: Peer, request: Request) -> None:
        peer.send_head(status)
        peer.respond_json(result(request, {"content": [{"type": "text", "text": "late"}]}))

    with RawMCPServer() as server, open_client(server) as client:
        client.list_tools()
        server.on("tools/call", script, lambda peer, request: peer.respond_json(result(request)))
        with pytest.raises(RemoteProtocolError, match=str(status)):
            client.call_tool("echo")
        assert client.call_tool("echo").text == "ok"
