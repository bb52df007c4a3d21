"""Rounds of a request: what a server asks for, and what it is sent then."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamhttp_client.exceptions import InvalidResult, LocalProtocolError
from streamhttp_client.protocol.inputs import (
    ASKING_METHODS,
    WantedInput,
    check_result_type,
    read,
    retry_params,
)
from streamhttp_client.protocol.models import ElicitResult, ListRootsResult, Root

QUESTIONS: dict[str, Any] = {
    "login": {"method": "elicitation/create", "params": {"mode": "form", "message": "m", "requestedSchema": {}}},
    "capital": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
    "folders": {"method": "roots/list"},
}
ASKING: dict[str, Any] = {"resultType": "input_required", "inputRequests": QUESTIONS, "requestState": "s-1"}


def wanted(result: dict[str, Any], method: str = "tools/call") -> WantedInput:
    found = read(result, method)
    assert found is not None
    return found


# --- the type of a result
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [{}, {"content": []}, {"resultType": None}, {"resultType": "complete"}])
def test_a_result_that_does_not_say_is_complete(result: dict[str, Any]) -> None:
    """BASE-06: without ``resultType`` a result is complete, as in the revisions before."""
    assert check_result_type(result) == "complete"
    assert read(result, "tools/call") is None
    assert read(result, "tools/list") is None


@pytest.mark.parametrize("result", [None, [], "x", 7, True])
def test_what_is_no_object_is_for_its_reader(result: Any) -> None:
    """BASE-06: a result that is no object has no type; whoever reads it refuses it."""
    assert read(result, "tools/call") is None


@pytest.mark.parametrize("kind", ["task", "Complete", "", "partial", 7, True, [], {}, ["complete"], "x" * 999])
def test_unknown_types_are_invalid(kind: Any) -> None:
    """BASE-07: a type that is not known makes the result invalid, whatever else is in it."""
    result = {"resultType": kind, "content": []}
    with pytest.raises(InvalidResult, match="resultType must be 'complete' or 'input_required', got ") as caught:
        read(result, "tools/call")
    assert caught.value.result is result
    assert len(str(caught.value)) < 150


def test_types_of_extensions() -> None:
    """BASE-07: a type that an extension brought is known where the request offered that extension, and only there."""
    result = {"resultType": "task", "taskId": "t"}
    assert check_result_type(result, {"task"}) == "task"
    assert read(result, "tools/call", known=("task",)) is None
    with pytest.raises(InvalidResult, match="must be 'complete' or 'input_required' or 'other', got 'task'"):
        read(result, "tools/call", known=("other",))


# --- questions
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(ASKING_METHODS))
def test_questions_are_read(method: str) -> None:
    """M26-01, M26-02: the questions are there by the server's names, each with its method and parameters."""
    asked = wanted(ASKING, method)
    assert asked.requests is not None
    assert list(asked.requests) == ["login", "capital", "folders"]
    assert {key: request.to_wire() for key, request in asked.requests.items()} == QUESTIONS
    assert (asked.state, asked.result) == ("s-1", ASKING)
    assert pickle.loads(pickle.dumps(asked)) == asked


@pytest.mark.parametrize("method", ["tools/list", "server/discover", "completion/complete", "tasks/get", "x"])
def test_questions_in_the_wrong_place(method: str) -> None:
    """M26-01: only three requests may be answered with questions."""
    with pytest.raises(InvalidResult, match=f"a result of '{method}' must not ask for input"):
        read(ASKING, method)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "must have 'inputRequests' or 'requestState'"),
        ({"inputRequests": None, "requestState": None}, "must have 'inputRequests' or 'requestState'"),
        ({"inputRequests": []}, "inputRequests must be an object, got an array"),
        ({"inputRequests": {"a": "b"}}, "inputRequests.a must be an object, got 'b'"),
        ({"inputRequests": {"a": {}}}, "inputRequests.a.method is missing"),
        ({"inputRequests": {"a": {"method": 1}}}, "inputRequests.a.method must be a string, got 1"),
        ({"inputRequests": {"a": {"method": "m", "params": []}}}, "inputRequests.a.params must be an object"),
        ({"requestState": 7}, "requestState must be a string, got 7"),
        ({"requestState": {"a": 1}}, "requestState must be a string, got an object"),
    ],
)
def test_questions_in_the_wrong_shape(result: dict[str, Any], message: str) -> None:
    """M26-02, M26-04: questions that cannot be read are not answered, and a state is text."""
    with pytest.raises(InvalidResult, match=message):
        read({"resultType": "input_required", **result}, "tools/call")


def test_what_is_shown() -> None:
    """M26-04: neither the state nor the questions get into logs by chance."""
    assert repr(wanted(ASKING)) == "WantedInput(requests=['login', 'capital', 'folders'], state=..., result=...)"


# --- the next attempt
# ----------------------------------------------------------------------------------------------------------------------

ORIGINAL: dict[str, Any] = {"name": "t", "arguments": {"a": [1]}, "_meta": {"progressToken": 3}}
ANSWERS: dict[str, Any] = {
    "folders": ListRootsResult([Root("file:///a")]),
    "login": ElicitResult("accept", {"name": "octocat"}),
    "capital": {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"},
}


def test_the_retry_repeats_the_original() -> None:
    """M26-02, M26-10: the original parameters, the answers by the server's names, the state; and nothing is changed."""
    before = copy.deepcopy((ORIGINAL, ASKING))
    params = retry_params(ORIGINAL, wanted(ASKING), ANSWERS)
    assert params == {
        **ORIGINAL,
        "inputResponses": {
            "login": {"action": "accept", "content": {"name": "octocat"}},
            "capital": {"role": "assistant", "content": {"type": "text", "text": "Paris"}, "model": "m"},
            "folders": {"roots": [{"uri": "file:///a"}]},
        },
        "requestState": "s-1",
    }
    assert list(params["inputResponses"]) == list(QUESTIONS)
    assert (ORIGINAL, ASKING) == before
    assert json.loads(json.dumps(params)) == params
    params["name"] = params["inputResponses"] = None
    assert before == (ORIGINAL, ASKING)


@given(st.text())
def test_the_state_is_sent_back_as_it_is(state: str) -> None:
    """M26-04: no character of the state is touched, also where it is empty or looks like something."""
    result = {"resultType": "input_required", "requestState": state}
    params = retry_params({}, wanted(result))
    assert params == {"requestState": state}
    assert params["requestState"] is state


def test_no_state_was_given() -> None:
    """M26-05: without a state, none is sent, not even null, nor that of an earlier round."""
    result = {"resultType": "input_required", "inputRequests": {}}
    assert retry_params(ORIGINAL, wanted(result)) == {**ORIGINAL, "inputResponses": {}}
    earlier = {**ORIGINAL, "inputResponses": {"old": {}}, "requestState": "old"}
    assert retry_params(earlier, wanted(result)) == {**ORIGINAL, "inputResponses": {}}
    assert "requestState" in earlier


def test_no_questions_were_asked() -> None:
    """M26-03: with a state alone there is nothing to answer, and no answers are sent."""
    result = {"resultType": "input_required", "requestState": "later"}
    assert retry_params(None, wanted(result)) == {"requestState": "later"}
    earlier = {"uri": "a", "inputResponses": {"old": {}}, "requestState": "old"}
    assert retry_params(earlier, wanted(result), {}) == {"uri": "a", "requestState": "later"}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (None, r"missing \['capital', 'folders', 'login'\], not asked for \[\]"),
        ({"login": {}}, r"missing \['capital', 'folders'\], not asked for \[\]"),
        ({**ANSWERS, "more": {}}, r"missing \[\], not asked for \['more'\]"),
        ({**ANSWERS, "login": None}, "the answer to 'login' must be a mapping, got NoneType"),
        ({**ANSWERS, "login": "octocat"}, "the answer to 'login' must be a mapping, got str"),
    ],
)
def test_every_question_has_its_answer(answers: Any, message: str) -> None:
    """M26-02: nothing is sent before there is an answer to each question, under its name."""
    with pytest.raises(LocalProtocolError, match=message):
        retry_params(ORIGINAL, wanted(ASKING), answers)


def test_two_requests_side_by_side() -> None:
    """M26-07: what one request is asked for does not get into the parameters of another."""
    shared = {"name": "t"}
    one = retry_params(shared, wanted({"resultType": "input_required", "requestState": "1"}))
    two = retry_params(shared, wanted({"resultType": "input_required", "requestState": "2"}))
    assert (one, two, shared) == (
        {"name": "t", "requestState": "1"}, {"name": "t", "requestState": "2"}, {"name": "t"},
    )  # fmt: skip


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "resultType": JSON | st.sampled_from(["complete", "input_required"]),
        "inputRequests": JSON | st.dictionaries(st.text(max_size=3), st.fixed_dictionaries({"method": st.text()})),
        "requestState": JSON,
    },
)


@given(JSON | MEMBERS)
def test_any_result_is_read_or_refused(result: Any) -> None:
    """BASE-07, M26-02: any JSON is an answer, a round that can be gone on with, or invalid."""
    try:
        asked = read(result, "tools/call")
    except InvalidResult:
        return
    if asked is not None:
        params = retry_params({"name": "t"}, asked, dict.fromkeys(asked.requests or {}, {}))
        assert params.get("requestState") == result.get("requestState")
        assert (params.get("inputResponses") or {}).keys() == (result.get("inputRequests") or {}).keys()
