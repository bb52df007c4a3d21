"""What is kept of a server's results: for whom, for how long, and what makes it go."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import warnings
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamhttp_client.client.cache import CACHEABLE, ResultCache

METHODS = sorted(CACHEABLE)


class Clock:
    """Time that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> ResultCache:
    return ResultCache(clock=clock)


def fresh(name: Any = "a", ttl: Any = 60_000, **more: Any) -> dict[str, Any]:
    return {"resultType": "complete", "ttlMs": ttl, "cacheScope": "private", "tools": [{"name": name}], **more}


# --- what is kept
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_results_that_may_be_kept(cache: ResultCache, method: str) -> None:
    """C26-10: the results of six requests are kept as they came, without ``resultType`` too."""
    for result in (fresh(), {"ttlMs": 1, "x": [None, 1.5, "é\\ud800"]}):
        assert cache.put(method, {"uri": "u"}, result)
        assert cache.get(method, {"uri": "u"}) == result
    assert len(cache) == 1


@pytest.mark.parametrize(
    "method", ["tools/call", "prompts/get", "completion/complete", "subscriptions/listen", "tasks/get", "ping", ""]
)
def test_requests_whose_results_are_not_kept(cache: ResultCache, method: str) -> None:
    """C26-10: what was done is not done by looking it up."""
    assert not cache.put(method, None, fresh())
    assert cache.get(method) is None
    assert len(cache) == 0


@pytest.mark.parametrize("params", [{"inputResponses": {}}, {"requestState": "s"}, {"requestState": None, "uri": "u"}])
def test_retries_are_not_kept(cache: ResultCache, params: dict[str, Any]) -> None:
    """C26-02: a result that answers more than its key says is neither kept nor found."""
    assert cache.put("resources/read", {"uri": "u"}, fresh())
    assert not cache.put("resources/read", {"uri": "u", **params}, fresh("b"))
    assert cache.get("resources/read", {"uri": "u", **params}) is None
    assert cache.get("resources/read", {"uri": "u"}) == fresh()


@pytest.mark.parametrize("kind", ["input_required", "task", "", 7, [], True])
def test_interim_results_are_not_kept(cache: ResultCache, kind: Any) -> None:
    """C26-02: a question is not an answer, whatever hints it carries."""
    assert not cache.put("resources/read", {"uri": "u"}, fresh(resultType=kind))
    assert cache.get("resources/read", {"uri": "u"}) is None


@pytest.mark.parametrize("result", [None, [], "x", 7, {"ttlMs": 9, "x": object()}, {"ttlMs": 9, "x": {1j: 2}}])
def test_what_is_no_result(cache: ResultCache, result: Any) -> None:
    """C26-02: what is no JSON object is not kept, and not an error here."""
    assert not cache.put("tools/list", None, result)
    assert cache.get("tools/list") is None


def test_parameters_that_are_no_json(cache: ResultCache) -> None:
    """C26-01: parameters that cannot be compared have no results."""
    assert not cache.put("tools/list", {"cursor": object()}, fresh())
    assert cache.get("tools/list", {"cursor": {1, 2}}) is None
    deep: Any = []
    for _ in range(sys.getrecursionlimit() * 50):
        deep = [deep]
    assert not cache.put("tools/list", {"cursor": deep}, fresh())
    assert not cache.put("tools/list", None, fresh(deep=deep))


def test_what_is_taken_out_is_ones_own(cache: ResultCache) -> None:
    """C26-01: neither who puts nor who gets can change what others get."""
    result = fresh()
    cache.put("tools/list", None, result)
    result["tools"].clear()
    taken = cache.get("tools/list")
    assert taken == fresh()
    taken["tools"][0]["name"] = "changed"
    assert cache.get("tools/list") == fresh()


# --- which one it is
# ----------------------------------------------------------------------------------------------------------------------


def test_other_requests_have_other_results(cache: ResultCache) -> None:
    """C26-01, C26-09: results are found for the same method and parameters alone; each page is one of its own."""
    requests: list[tuple[str, Any]] = [
        ("tools/list", None),
        ("tools/list", {"cursor": ""}),
        ("tools/list", {"cursor": "2"}),
        ("tools/list", {"cursor": 2}),
        ("tools/list", {"cursor": None}),
        ("prompts/list", None),
        ("resources/read", {"uri": "a"}),
        ("resources/read", {"uri": "A"}),
        ("resources/read", {"uri": "a", "x": {"b": [1], "a": True}}),
        ("resources/read", {"uri": "a", "x": {"b": [1], "a": 1}}),
        ("resources/read", {"uri": "a", "_meta": {"com.example/tenant": "1"}}),
        ("resources/read", {"uri": "a", "_meta": {"com.example/tenant": "2"}}),
    ]
    for number, (method, params) in enumerate(requests):
        assert cache.get(method, params) is None
        assert cache.put(method, params, fresh(number))
    for number, (method, params) in enumerate(requests):
        assert cache.get(method, params) == fresh(number)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, {}),
        (None, {"_meta": {}}),
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
        (
            {"uri": "u", "_meta": {"progressToken": 1, "traceparent": "t", "tracestate": "s", "baggage": "b"}},
            {"uri": "u", "_meta": {"io.modelcontextprotocol/logLevel": "debug"}},
        ),
        ({"_meta": {"io.modelcontextprotocol/clientInfo": {"name": "c"}, "x": 1}}, {"_meta": {"x": 1}}),
    ],
)
def test_the_same_request_in_other_words(cache: ResultCache, one: Any, other: Any) -> None:
    """C26-01: the order of members means nothing, nor does what is of one request alone."""
    cache.put("resources/list", one, fresh())
    assert cache.get("resources/list", other) == fresh()
    cache.put("resources/list", other, fresh("b"))
    assert cache.get("resources/list", one) == fresh("b")
    assert len(cache) == 1


# --- for how long
# ----------------------------------------------------------------------------------------------------------------------


def test_freshness(cache: ResultCache, clock: Clock) -> None:
    """C26-03, C26-04: fresh until the milliseconds have passed, and then it is to be fetched again."""
    cache.put("tools/list", None, fresh(ttl=1500))
    clock.now += 1.499
    assert cache.get("tools/list") is not None
    clock.now += 0.001
    assert cache.get("tools/list") is None
    assert len(cache) == 0
    cache.put("tools/list", None, fresh("b", ttl=0.5))
    assert cache.get("tools/list") == fresh("b", ttl=0.5)


def test_each_page_has_its_own_time(cache: ResultCache, clock: Clock) -> None:
    """C26-09: the clock of a page starts when that page came."""
    cache.put("tools/list", None, fresh(1, ttl=1000))
    clock.now += 0.9
    cache.put("tools/list", {"cursor": "2"}, fresh(2, ttl=1000))
    clock.now += 0.5
    assert cache.get("tools/list") is None
    assert cache.get("tools/list", {"cursor": "2"}) == fresh(2, ttl=1000)


@pytest.mark.parametrize(
    "ttl", [0, 0.0, -1, -0.5, None, "60000", True, [60000], {}, float("nan"), float("inf"), -float("inf")]
)
def test_hints_that_say_no(cache: ResultCache, ttl: Any) -> None:
    """C26-03: zero, less, absent and nonsense are all stale at once, and replace what was fresh."""
    assert cache.put("tools/list", None, fresh())
    assert not cache.put("tools/list", None, fresh(ttl=ttl))
    assert cache.get("tools/list") is None
    assert not cache.put("tools/list", None, {"tools": []})


@pytest.mark.parametrize("ttl", [2**53, 10**400, 1e308])
def test_very_long_times(cache: ResultCache, clock: Clock, ttl: Any) -> None:
    """C26-03: no number of a server makes us fail."""
    assert cache.put("tools/list", None, {"ttlMs": ttl})
    clock.now += 1e9
    assert cache.get("tools/list") == {"ttlMs": ttl}


def test_time_alone_asks_for_nothing(cache: ResultCache, clock: Clock) -> None:
    """C26-05: nothing happens because time has passed: there is no thread, and the clock is read when asked alone."""
    before = set(threading.enumerate())
    cache.put("tools/list", None, fresh(ttl=1))
    clock.now += 10
    assert set(threading.enumerate()) <= before and len(cache) == 1


# --- for whom
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["private", "Public", "", None, 7, ["public"], "shared"])
def test_private_results_stay_with_their_authorization(cache: ResultCache, scope: Any) -> None:
    """C26-07: what is not said to be public is found under the same authorization alone."""
    for partition in ("token-1", "token-2", None, "public"):
        assert cache.get("tools/list", None, partition) is None
        assert cache.put("tools/list", None, fresh(partition, cacheScope=scope), partition)
    for partition in ("token-1", "token-2", None, "public"):
        assert cache.get("tools/list", None, partition) == fresh(partition, cacheScope=scope)


def test_public_results_are_for_everybody(cache: ResultCache) -> None:
    """C26-07: a public result is found under any authorization, and replaced by the next from anybody."""
    cache.put("tools/list", None, fresh("a", cacheScope="public"), "token-1")
    assert cache.get("tools/list", None, "token-2") == fresh("a", cacheScope="public")
    assert cache.get("tools/list") == fresh("a", cacheScope="public")
    cache.put("tools/list", None, fresh("b", cacheScope="public"))
    assert cache.get("tools/list", None, "token-1") == fresh("b", cacheScope="public")
    assert len(cache) == 1


def test_a_result_that_became_private(cache: ResultCache) -> None:
    """C26-07: once a server says private, what it called public before is no more for anybody."""
    cache.put("tools/list", None, fresh("all", cacheScope="public"), "token-1")
    cache.put("tools/list", None, fresh("mine"), "token-1")
    assert cache.get("tools/list", None, "token-1") == fresh("mine")
    assert cache.get("tools/list", None, "token-2") is None
    cache.put("tools/list", None, fresh("all", cacheScope="public"), "token-1")
    assert cache.get("tools/list", None, "token-1") == fresh("all", cacheScope="public")


# --- what makes it go
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notification", "stale"),
    [
        ("notifications/tools/list_changed", {"tools/list"}),
        ("notifications/prompts/list_changed", {"prompts/list"}),
        ("notifications/resources/list_changed", {"resources/list", "resources/templates/list"}),
        ("notifications/resources/updated", {"resources/read"}),
        ("notifications/progress", set()),
        ("notifications/roots/list_changed", set()),
        ("tools/list", set()),
    ],
)
def test_changes_that_are_announced(cache: ResultCache, notification: str, stale: set[str]) -> None:
    """C26-08: a notification makes what it is about stale at once, all pages of it, for everybody."""
    for method in METHODS:
        for partition in ("t", None):
            cache.put(method, None, fresh(), partition)
            cache.put(method, {"cursor": "2"}, fresh(), partition)
        cache.put(method, {"cursor": "3"}, fresh(cacheScope="public"))
    assert cache.invalidate(notification) == 5 * len(stale)
    for method in METHODS:
        left = [cache.get(method, params, who) for params in (None, {"cursor": "2"}) for who in ("t", None)]
        left.append(cache.get(method, {"cursor": "3"}, "x"))
        assert [result is None for result in left] == [method in stale] * 5


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("file:///d/a", {"file:///d/a", "file:///d/", "file:///d"}),
        ("file:///d", {"file:///d"}),
        ("file:///x", set()),
        (None, {"file:///d/a", "file:///d/b", "file:///d/", "file:///d"}),
        (7, {"file:///d/a", "file:///d/b", "file:///d/", "file:///d"}),
    ],
)
def test_resources_that_changed(cache: ResultCache, changed: Any, stale: set[str]) -> None:
    """C26-08: a resource that changed makes itself stale and what it is a part of; without a URI, all of them."""
    uris = ["file:///d/a", "file:///d/b", "file:///d/", "file:///d"]
    for uri in uris:
        cache.put("resources/read", {"uri": uri}, fresh(uri))
    cache.put("resources/list", None, fresh())
    assert cache.invalidate("notifications/resources/updated", {"uri": changed}) == len(stale)
    assert {uri for uri in uris if cache.get("resources/read", {"uri": uri}) is None} == stale
    assert cache.get("resources/list") is not None


def test_a_change_while_the_answer_is_on_its_way(cache: ResultCache) -> None:
    """C26-08: an answer that may be older than an announced change is not kept."""
    before = cache.mark()
    cache.invalidate("notifications/tools/list_changed")
    assert not cache.put("tools/list", None, fresh(), since=before)
    assert cache.get("tools/list") is None
    assert cache.put("prompts/list", None, fresh(), since=before), "another list is not concerned"
    assert cache.put("tools/list", None, fresh(), since=cache.mark())
    assert cache.put("tools/list", None, fresh())


def test_a_cursor_that_became_invalid(cache: ResultCache) -> None:
    """C26-09: with a cursor that the server does not know any more all pages go, and those of other lists stay."""
    for cursor in ("2", "3"):
        cache.put("tools/list", {"cursor": cursor}, fresh(), "t")
    cache.put("tools/list", None, fresh())
    cache.put("prompts/list", None, fresh())
    assert cache.drop_pages("tools/list") == 3
    assert cache.get("tools/list", {"cursor": "2"}, "t") is None
    assert cache.get("prompts/list") is not None
    assert cache.drop_pages("tools/list") == 0
    cache.clear()
    assert (len(cache), repr(cache)) == (0, "<ResultCache of 0 results, 0 bytes>")


# --- limits
# ----------------------------------------------------------------------------------------------------------------------


def test_not_too_many(clock: Clock) -> None:
    """C26-06: the result that was not used for longest goes first."""
    cache = ResultCache(clock=clock, max_entries=3)
    for uri in "abc":
        cache.put("resources/read", {"uri": uri}, fresh(uri))
    assert cache.get("resources/read", {"uri": "a"}) is not None
    cache.put("resources/read", {"uri": "d"}, fresh("d"))
    assert [cache.get("resources/read", {"uri": uri}) is None for uri in "abcd"] == [False, True, False, False]
    none = ResultCache(clock=clock, max_entries=0)
    assert not none.put("tools/list", None, fresh())


def test_not_too_large(clock: Clock) -> None:
    """C26-06: results are kept up to a number of bytes, and one that is larger is not kept at all."""
    cache = ResultCache(clock=clock, max_bytes=5000)
    for uri in "abc":
        assert cache.put("resources/read", {"uri": uri}, fresh(uri * 2000))
    assert [cache.get("resources/read", {"uri": uri}) is None for uri in "abc"] == [True, False, False]
    assert not cache.put("resources/read", {"uri": "b"}, fresh("b" * 6000))
    assert [cache.get("resources/read", {"uri": uri}) is None for uri in "abc"] == [True, True, False]


def test_what_is_shown(cache: ResultCache) -> None:
    """C26-07: no content gets into a log by chance."""
    cache.put("resources/read", {"uri": "secret"}, fresh("secret"))
    assert "secret" not in repr(cache)


def test_another_process(clock: Clock) -> None:
    """C26-07: it pickles empty, with its limits."""
    cache = ResultCache(clock=clock, max_entries=1, max_bytes=900)
    cache.put("tools/list", None, fresh())
    again = pickle.loads(pickle.dumps(cache))
    assert len(again) == 0
    assert again.put("tools/list", None, fresh()) and again.put("prompts/list", None, fresh())
    assert len(again) == 1
    assert not again.put("tools/list", None, fresh("x" * 900))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child(cache: ResultCache) -> None:
    """C26-07: a child begins with an empty cache and a lock that nobody holds."""
    cache.put("tools/list", None, fresh())
    with cache._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn where other threads run
        child = os.fork()
        if child == 0:
            try:
                ok = cache.get("tools/list") is None and cache.put("tools/list", None, fresh()) and len(cache) == 1
                os._exit(0 if ok else 1)
            except BaseException:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get("tools/list") == fresh()


def test_threads() -> None:
    """C26-01: many threads put, get and drop at once; each gets whole results of its own request."""
    cache = ResultCache(max_entries=20, max_bytes=20_000)
    wrong: list[Any] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(10)
        for turn in range(300):
            uri = f"u{(number + turn) % 30}"
            cache.put("resources/read", {"uri": uri}, fresh(uri))
            found = cache.get("resources/read", {"uri": uri})
            if found is not None and found != fresh(uri):
                wrong.append(found)
            if turn % 50 == 0:
                cache.invalidate("notifications/resources/updated", {"uri": uri})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert len(cache) <= 20
    cache.clear()
    assert (len(cache), cache._size) == (0, 0)


class Model(RuleBasedStateMachine):
    """C26-01, C26-03, C26-07: whatever is done in whatever order, only what may be found is found."""

    partitions = st.sampled_from([None, "t1", "t2"])
    uris = st.sampled_from(["a", "a/b", "c"])

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = ResultCache(clock=self.clock, max_entries=4, max_bytes=600)
        # (partition or "*", uri) -> (result, end): what may be found; limits may make it less.
        self.may: dict[tuple[Any, str], tuple[dict[str, Any], float]] = {}
        self.count = 0

    @rule(partition=partitions, uri=uris, ttl=st.sampled_from([0, 1000, 5000]), public=st.booleans())
    def put(self, partition: Any, uri: str, ttl: int, public: bool) -> None:
        self.count += 1
        result = fresh(self.count, ttl=ttl, cacheScope="public" if public else "private")
        kept = self.cache.put("resources/read", {"uri": uri}, result, partition)
        assert kept is (ttl > 0)
        self.may.pop((partition, uri), None)
        self.may.pop(("*", uri), None)
        if kept:
            self.may["*" if public else partition, uri] = (result, self.clock.now + ttl / 1000)
            assert self.cache.get("resources/read", {"uri": uri}, partition) == result

    @rule(partition=partitions, uri=uris)
    def get(self, partition: Any, uri: str) -> None:
        found = self.cache.get("resources/read", {"uri": uri}, partition)
        allowed = [
            result
            for who in (partition, "*")
            for result, end in [self.may.get((who, uri), (None, 0.0))]
            if result is not None and self.clock.now < end
        ]
        assert found is None or found in allowed

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(uri=uris)
    def update(self, uri: str) -> None:
        self.cache.invalidate("notifications/resources/updated", {"uri": uri})
        for key in [key for key in self.may if uri.startswith(key[1])]:
            del self.may[key]

    @invariant()
    def within_limits(self) -> None:
        assert len(self.cache) <= 4
        texts = [key[2] + entry.text for key, entry in self.cache._entries.items()]
        assert self.cache._size == sum(map(len, texts)) <= 600
        assert all(json.loads(entry.text) for entry in self.cache._entries.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
